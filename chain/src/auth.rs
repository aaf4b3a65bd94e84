//! Signatures after Bittensor's `btauth/1`. A request carries its signature as gRPC metadata: a tower layer makes it ([`sign`]), and
//! another one checks it before any handler ([`layer`]). What is to be kept and shown to others, an answer, carries it in the message
//! [`v1::Signed`].
//!
//! Two who call each other often need not sign each call: a tag by the key that they share ([`SharedKeys`]) stands in the signature's
//! place, over the same lines. It convinces the receiver and nobody else, so an answer carries its signature besides.
//!
//! Either covers method, body digest, nonce, sender and receiver, so that a message is good for one call of one
//! receiver. The checks run in the scheme's order: shape, receiver, freshness, signature, replay. The nonce is written
//! down only after the signature verified, so that nobody can burn another's nonces. Here are the rules, over plain values, with the
//! clock as an argument; [`now_ns`] is what a shell passes, and [`Checks`] is the shell.

pub mod admission;
mod checks;
mod error;
pub mod layer;
pub mod metadata;
mod shared;
pub mod sign;
#[cfg(test)]
mod tests;
mod verifier;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::bytes::Bytes;
use protos::v1;
use sha2::{Digest, Sha256};

use crate::account::AccountId;
use crate::replay::{ReplayError, ReplayGuard};
use crate::wallet::{self, Keypair, SignatureBytes, TagBytes};

pub use checks::Checks;
pub use error::{AuthError, AuthKind, STATUS_KEY};
pub use shared::SharedKeys;

/// First of the signed lines.
pub const VERSION: &str = "btauth/1";
/// Second of the signed lines: how it is shown that a message is its sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// By the sender's signature, to everybody.
    Signature,
    /// By a tag with the key that sender and receiver share, to the receiver.
    Tag,
}

impl Scheme {
    /// As it stands in the lines and in the metadata.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signature => "sr25519",
            Self::Tag => "sr25519-dh-hmac",
        }
    }
}

/// Third of the signed lines: gRPC calls are HTTP/2 POSTs.
pub const METHOD: &str = "POST";
/// A message older than this is refused.
pub const MAX_AGE: Duration = Duration::from_secs(10);
/// A message further in the future than this is refused.
pub const MAX_SKEW: Duration = Duration::from_secs(2);

/// Who signed what was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The key that signed.
    pub hotkey: AccountId,
    /// The message's nonce: Unix time in nanoseconds by the sender's clock.
    pub nonce_ns: u64,
}

/// The SHA-256 of a message's body, which is what is signed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest([u8; 32]);

impl BodyDigest {
    /// Of these bytes.
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// Of these bytes, one behind the other.
    fn of_both(body: &[u8], rest: &[u8]) -> Self {
        Self(Sha256::new().chain_update(body).chain_update(rest).finalize().into())
    }
}

/// The bytes that are signed: eight lines joined by `\n`, without a trailing newline. `sender` and `receiver` are ss58 addresses; of a
/// message for anybody the receiver is `-`.
pub fn message(
    scheme: Scheme,
    method: &str,
    target: &str,
    digest: &BodyDigest,
    nonce_ns: u64,
    sender: &str,
    receiver: Option<&str>,
) -> String {
    let (digest, nonce) = (hex_of(&digest.0), nonce_ns.to_string());
    let receiver = receiver.unwrap_or("-");
    let scheme = scheme.name();
    [VERSION, scheme, method, target, &digest, &nonce, sender, receiver].join("\n")
}

/// As [`hex::encode`], which takes a microsecond for each 32 bytes.
fn hex_of(bytes: &[u8]) -> String {
    let mut digits = vec![0; bytes.len() * 2];
    // The room is what is needed, and digits are text.
    let _fits = hex::encode_to_slice(bytes, &mut digits);
    String::from_utf8(digits).unwrap_or_default()
}

/// Signs `payload` for `receiver` and a call of `path` (`/portcullis.v1.Miner/Challenge`), at `now_ns` by [`now_ns`].
///
/// The nonce is `now_ns`, or one more than the last one of this process where that is later.
pub fn seal(
    keypair: &Keypair,
    receiver: Option<&AccountId>,
    path: &str,
    payload: impl Into<Bytes>,
    now_ns: u64,
) -> v1::Signed {
    seal_with_nonce(keypair, receiver, path, payload, fresh_nonce(now_ns))
}

/// `now_ns`, or one more than the last one of this process where that is later.
fn fresh_nonce(now_ns: u64) -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    next_nonce(&LAST, now_ns)
}

/// Signs like [`seal`], with a nonce that the caller answers for.
pub fn seal_with_nonce(
    keypair: &Keypair,
    receiver: Option<&AccountId>,
    path: &str,
    payload: impl Into<Bytes>,
    nonce_ns: u64,
) -> v1::Signed {
    let payload = payload.into();
    let address = receiver.map(AccountId::to_ss58);
    let digest = BodyDigest::of(&payload);
    let signature = sign(keypair, path, &digest, nonce_ns, address.as_deref());
    v1::Signed {
        payload,
        hotkey: Bytes::copy_from_slice(keypair.account().as_bytes()),
        receiver: receiver.map_or_else(Bytes::new, |receiver| Bytes::copy_from_slice(receiver.as_bytes())),
        nonce_ns,
        signature: Bytes::copy_from_slice(&signature),
        tag: Bytes::new(),
    }
}

/// `receiver` is an ss58 address.
fn sign(keypair: &Keypair, path: &str, digest: &BodyDigest, nonce_ns: u64, receiver: Option<&str>) -> SignatureBytes {
    let sender = keypair.address();
    let lines = message(Scheme::Signature, METHOD, path, digest, nonce_ns, sender, receiver);
    keypair.sign(lines.as_bytes())
}

/// Strictly increasing, and as near to the clock as that allows.
fn next_nonce(last: &AtomicU64, now_ns: u64) -> u64 {
    let next = |last: u64| now_ns.max(last.saturating_add(1));
    let before = last
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)))
        .unwrap_or_else(|unchanged| unchanged);
    next(before)
}

/// Checks that `signed` was sent to `me` for a call of `path`, freshly, by the key it states, and for the first time.
///
/// # Errors
/// [`AuthError`] says which check failed; the checks run in the order of its variants.
pub fn open(
    signed: &v1::Signed,
    me: &AccountId,
    path: &str,
    now_ns: u64,
    guard: &ReplayGuard,
) -> Result<Caller, AuthError> {
    let (head, signature) = (Head::of(signed)?, signature_of(signed)?);
    head.is_for(Some(me))?;
    head.is_fresh(now_ns)?;
    head.is_signed(&BodyDigest::of(&signed.payload), path, &signature)?;
    head.is_new(now_ns, guard)
}

/// Checks that `signed` was signed for `path` by the key it states, whenever and for whomever: for those to whom a message is shown
/// later on.
///
/// # Errors
/// [`AuthError::Malformed`] and [`AuthError::BadSignature`].
pub fn authentic(signed: &v1::Signed, path: &str) -> Result<Caller, AuthError> {
    let (head, signature) = (Head::of(signed)?, signature_of(signed)?);
    head.is_signed(&BodyDigest::of(&signed.payload), path, &signature)?;
    Ok(head.caller())
}

/// What a signed message says beside its body. The checks on it are to be made in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    hotkey: AccountId,
    receiver: Option<AccountId>,
    nonce_ns: u64,
}

/// What shows that a message is its sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Signature(SignatureBytes),
    Tag(TagBytes),
}

fn signature_of(signed: &v1::Signed) -> Result<SignatureBytes, AuthError> {
    Ok(protos::fixed("signed.signature", &signed.signature)?)
}

impl Head {
    fn of(signed: &v1::Signed) -> Result<Self, AuthError> {
        Ok(Self {
            hotkey: AccountId::new(protos::fixed("signed.hotkey", &signed.hotkey)?),
            receiver: match signed.receiver.len() {
                0 => None,
                _ => Some(AccountId::new(protos::fixed("signed.receiver", &signed.receiver)?)),
            },
            nonce_ns: signed.nonce_ns,
        })
    }

    const fn caller(&self) -> Caller {
        Caller {
            hotkey: self.hotkey,
            nonce_ns: self.nonce_ns,
        }
    }

    /// `None` is a service without a hotkey of its own: it takes only what is for anybody. Such a message, captured, is good at another
    /// service of the same kind as long as it is fresh. That must not matter there.
    fn is_for(&self, me: Option<&AccountId>) -> Result<(), AuthError> {
        if self.receiver.as_ref() == me {
            return Ok(());
        }
        Err(AuthError::WrongReceiver {
            receiver: self.receiver,
            me: me.copied(),
        })
    }

    fn is_fresh(&self, now_ns: u64) -> Result<(), AuthError> {
        check_freshness(self.nonce_ns, now_ns)
    }

    fn is_signed(&self, digest: &BodyDigest, path: &str, signature: &SignatureBytes) -> Result<(), AuthError> {
        let receiver = self.receiver.as_ref().map(AccountId::to_ss58);
        let sender = self.hotkey.to_ss58();
        let receiver = receiver.as_deref();
        let lines = message(
            Scheme::Signature,
            METHOD,
            path,
            digest,
            self.nonce_ns,
            &sender,
            receiver,
        );
        match wallet::verify(&self.hotkey, lines.as_bytes(), signature) {
            true => Ok(()),
            false => Err(AuthError::BadSignature { hotkey: self.hotkey }),
        }
    }

    /// Writes the nonce down.
    fn is_new(&self, now_ns: u64, guard: &ReplayGuard) -> Result<Caller, AuthError> {
        let Caller { hotkey, nonce_ns } = self.caller();
        guard.admit(hotkey, nonce_ns, now_ns).map_err(|error| match error {
            ReplayError::Seen => AuthError::Replayed { hotkey, nonce_ns },
            full => AuthError::TooMany(full),
        })?;
        Ok(self.caller())
    }
}

fn check_freshness(nonce_ns: u64, now_ns: u64) -> Result<(), AuthError> {
    const NS_PER_MS: u64 = 1_000_000;
    let (age, ahead) = (now_ns.saturating_sub(nonce_ns), nonce_ns.saturating_sub(now_ns));
    if u128::from(age) > MAX_AGE.as_nanos() {
        Err(AuthError::Stale {
            age_ms: age / NS_PER_MS,
        })
    } else if u128::from(ahead) > MAX_SKEW.as_nanos() {
        Err(AuthError::FromTheFuture {
            ahead_ms: ahead / NS_PER_MS,
        })
    } else {
        Ok(())
    }
}

/// The wall clock as Unix time in nanoseconds; fits until the year 2554.
pub fn now_ns() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}
