//! Request signing after Bittensor's `btauth/1`: as gRPC metadata, checked by a tower layer ([`layer`]), or in the message
//! [`v1::Signed`], where what was signed is kept or passed on.
//!
//! The signature covers method, body digest, nonce, sender and receiver, so that a message is good for one call of one
//! receiver. [`open`] checks in the scheme's order: shape, receiver, freshness, signature, replay. The nonce is written
//! down only after the signature verified, so that nobody can burn another's nonces. The clock is an argument: these
//! are rules over plain values; [`now_ns`] is what a shell passes.

pub mod admission;
pub mod layer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost::bytes::Bytes;
use protos::v1;
use sha2::{Digest, Sha256};

use crate::account::AccountId;
use crate::replay::{ReplayError, ReplayGuard};
use crate::wallet::{self, Keypair, SignatureBytes};

/// First of the signed lines.
pub const VERSION: &str = "btauth/1";
/// Second of the signed lines: the only scheme that is accepted.
pub const SCHEME: &str = "sr25519";
/// Third of the signed lines: gRPC calls are HTTP/2 POSTs.
pub const METHOD: &str = "POST";
/// A message older than this is refused.
pub const MAX_AGE: Duration = Duration::from_secs(10);
/// A message further in the future than this is refused.
pub const MAX_SKEW: Duration = Duration::from_secs(2);

/// Who sent a message that [`open`] accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sender {
    /// The key that signed.
    pub hotkey: AccountId,
    /// The message's nonce: Unix time in nanoseconds by the sender's clock.
    pub nonce_ns: u64,
}

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A field of the wrong length.
    #[error("malformed signed request: {0}")]
    Malformed(#[from] protos::DecodeError),
    /// Addressed to somebody else, or to nobody.
    #[error("the request is for {}, not for {}", whom(.receiver.as_ref()), whom(.me.as_ref()))]
    WrongReceiver {
        /// Whom the sender addressed.
        receiver: Option<AccountId>,
        /// Who opened it; `None` for a service that takes only what is for anybody.
        me: Option<AccountId>,
    },
    /// Too old.
    #[error("the request is {age_ms} ms old, at most {} ms are allowed; is the sender's clock right?", MAX_AGE.as_millis())]
    Stale {
        /// Its age by our clock.
        age_ms: u64,
    },
    /// From the future.
    #[error("the request is {ahead_ms} ms in the future, at most {} ms are allowed; is the sender's clock right?", MAX_SKEW.as_millis())]
    FromTheFuture {
        /// How far, by our clock.
        ahead_ms: u64,
    },
    /// The signature is not the sender's over this method and body.
    #[error("the signature is not that of {hotkey} over this request")]
    BadSignature {
        /// The stated sender.
        hotkey: AccountId,
    },
    /// Seen before.
    #[error("the request of {hotkey} with nonce {nonce_ns} was received before")]
    Replayed {
        /// The sender.
        hotkey: AccountId,
        /// The nonce that comes twice.
        nonce_ns: u64,
    },
    /// More fresh requests than the replay guard remembers.
    #[error("too many requests at once: {0}")]
    TooMany(ReplayError),
}

/// The kinds of [`AuthError`], as they are named on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthKind {
    /// [`AuthError::Malformed`].
    MalformedRequest,
    /// [`AuthError::WrongReceiver`].
    WrongReceiver,
    /// [`AuthError::Stale`].
    StaleRequest,
    /// [`AuthError::FromTheFuture`].
    FutureRequest,
    /// [`AuthError::BadSignature`].
    BadSignature,
    /// [`AuthError::Replayed`].
    ReplayedRequest,
    /// [`AuthError::TooMany`].
    TooManyRequests,
}

impl AuthKind {
    const ALL: [Self; 7] = [
        Self::MalformedRequest,
        Self::WrongReceiver,
        Self::StaleRequest,
        Self::FutureRequest,
        Self::BadSignature,
        Self::ReplayedRequest,
        Self::TooManyRequests,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedRequest => "MalformedRequest",
            Self::WrongReceiver => "WrongReceiver",
            Self::StaleRequest => "StaleRequest",
            Self::FutureRequest => "FutureRequest",
            Self::BadSignature => "BadSignature",
            Self::ReplayedRequest => "ReplayedRequest",
            Self::TooManyRequests => "TooManyRequests",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl AuthError {
    /// Its kind.
    pub const fn kind(&self) -> AuthKind {
        match self {
            Self::Malformed(_) => AuthKind::MalformedRequest,
            Self::WrongReceiver { .. } => AuthKind::WrongReceiver,
            Self::Stale { .. } => AuthKind::StaleRequest,
            Self::FromTheFuture { .. } => AuthKind::FutureRequest,
            Self::BadSignature { .. } => AuthKind::BadSignature,
            Self::Replayed { .. } => AuthKind::ReplayedRequest,
            Self::TooMany(_) => AuthKind::TooManyRequests,
        }
    }
}

/// The metadata key that carries [`AuthKind::name`] in a gRPC status.
pub const STATUS_KEY: &str = "portcullis-auth";

impl From<&AuthError> for tonic::Status {
    fn from(error: &AuthError) -> Self {
        let code = match error.kind() {
            AuthKind::MalformedRequest => tonic::Code::InvalidArgument,
            AuthKind::TooManyRequests => tonic::Code::ResourceExhausted,
            _ => tonic::Code::Unauthenticated,
        };
        let mut status = Self::new(code, error.to_string());
        status.metadata_mut().insert(
            STATUS_KEY,
            tonic::metadata::MetadataValue::from_static(error.kind().name()),
        );
        status
    }
}

impl From<AuthError> for tonic::Status {
    fn from(error: AuthError) -> Self {
        Self::from(&error)
    }
}

fn whom(receiver: Option<&AccountId>) -> String {
    receiver.map_or_else(|| "anybody".to_owned(), AccountId::to_string)
}

/// The bytes that are signed: eight lines joined by `\n`, without a trailing newline.
pub fn message(
    method: &str,
    target: &str,
    body: &[u8],
    nonce_ns: u64,
    sender: &AccountId,
    receiver: Option<&AccountId>,
) -> String {
    let digest = hex::encode(Sha256::digest(body));
    let receiver = receiver.map_or_else(|| "-".to_owned(), AccountId::to_ss58);
    format!("{VERSION}\n{SCHEME}\n{method}\n{target}\n{digest}\n{nonce_ns}\n{sender}\n{receiver}")
}

/// Signs `payload` for a call of `path` (`/portcullis.v1.Miner/Challenge`), at `now_ns` by [`now_ns`].
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
    let sender = keypair.account();
    let signed = message(METHOD, path, &payload, nonce_ns, &sender, receiver);
    v1::Signed {
        payload,
        hotkey: Bytes::copy_from_slice(sender.as_bytes()),
        receiver: receiver.map_or_else(Bytes::new, |receiver| Bytes::copy_from_slice(receiver.as_bytes())),
        nonce_ns,
        signature: Bytes::copy_from_slice(&keypair.sign(signed.as_bytes())),
    }
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
) -> Result<Sender, AuthError> {
    open_for(signed, Some(me), path, now_ns, guard)
}

/// Like [`open`], for a service without a hotkey of its own: the request must be for anybody.
///
/// Such a request, captured, is good at another service of the same kind as long as it is fresh. That must not matter there.
///
/// # Errors
/// [`AuthError`] says which check failed.
pub fn open_unaddressed(
    signed: &v1::Signed,
    path: &str,
    now_ns: u64,
    guard: &ReplayGuard,
) -> Result<Sender, AuthError> {
    open_for(signed, None, path, now_ns, guard)
}

fn open_for(
    signed: &v1::Signed,
    me: Option<&AccountId>,
    path: &str,
    now_ns: u64,
    guard: &ReplayGuard,
) -> Result<Sender, AuthError> {
    let head = Head {
        hotkey: AccountId::new(protos::fixed("signed.hotkey", &signed.hotkey)?),
        signature: protos::fixed("signed.signature", &signed.signature)?,
        receiver: match signed.receiver.len() {
            0 => None,
            _ => Some(AccountId::new(protos::fixed("signed.receiver", &signed.receiver)?)),
        },
        nonce_ns: signed.nonce_ns,
    };
    check(&head, &signed.payload, me, path, now_ns, guard)
}

/// What a signed request says beside its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    hotkey: AccountId,
    receiver: Option<AccountId>,
    nonce_ns: u64,
    signature: SignatureBytes,
}

/// The checks, in the scheme's order.
fn check(
    head: &Head,
    body: &[u8],
    me: Option<&AccountId>,
    path: &str,
    now_ns: u64,
    guard: &ReplayGuard,
) -> Result<Sender, AuthError> {
    let Head {
        hotkey,
        receiver,
        nonce_ns,
        signature,
    } = *head;
    if receiver.as_ref() != me {
        return Err(AuthError::WrongReceiver {
            receiver,
            me: me.copied(),
        });
    }
    check_freshness(nonce_ns, now_ns)?;
    let expected = message(METHOD, path, body, nonce_ns, &hotkey, receiver.as_ref());
    if !wallet::verify(&hotkey, expected.as_bytes(), &signature) {
        return Err(AuthError::BadSignature { hotkey });
    }
    guard.admit(hotkey, nonce_ns, now_ns).map_err(|error| match error {
        ReplayError::Seen => AuthError::Replayed { hotkey, nonce_ns },
        full => AuthError::TooMany(full),
    })?;
    Ok(Sender { hotkey, nonce_ns })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::ReplayLimits;
    use proptest::prelude::*;

    const NOW: u64 = 1_752_076_800_000_000_000;
    const SECOND: u64 = 1_000_000_000;
    const PATH: &str = "/portcullis.v1.Miner/Challenge";

    fn validator() -> Keypair {
        Keypair::from_seed([1; 32])
    }
    fn miner() -> AccountId {
        Keypair::from_seed([2; 32]).account()
    }
    fn guard() -> ReplayGuard {
        ReplayGuard::new(ReplayLimits::default())
    }
    fn sealed(payload: &'static [u8], nonce: u64) -> v1::Signed {
        seal_with_nonce(&validator(), Some(&miner()), PATH, payload, nonce)
    }

    #[test]
    fn an_honest_request_is_opened_once() {
        let (guard, signed) = (guard(), sealed(b"challenge", NOW));
        let sender = open(&signed, &miner(), PATH, NOW + SECOND, &guard).unwrap();
        assert_eq!(
            sender,
            Sender {
                hotkey: validator().account(),
                nonce_ns: NOW
            }
        );

        let again = open(&signed, &miner(), PATH, NOW + 2 * SECOND, &guard).unwrap_err();
        assert_eq!(
            again,
            AuthError::Replayed {
                hotkey: validator().account(),
                nonce_ns: NOW
            }
        );
        // Signing the same message again gives another signature, but not another nonce.
        let resigned = sealed(b"challenge", NOW);
        assert_ne!(resigned.signature, signed.signature);
        assert_eq!(
            open(&resigned, &miner(), PATH, NOW, &guard).unwrap_err().kind(),
            AuthKind::ReplayedRequest
        );
    }

    #[test]
    fn a_request_is_good_for_ten_seconds_and_two_ahead() {
        let opened = |nonce, now| open(&sealed(b"x", nonce), &miner(), PATH, now, &guard());
        assert!(opened(NOW, NOW + 10 * SECOND).is_ok());
        assert_eq!(
            opened(NOW, NOW + 10 * SECOND + 1),
            Err(AuthError::Stale { age_ms: 10_000 })
        );
        assert!(opened(NOW + 2 * SECOND, NOW).is_ok());
        assert_eq!(
            opened(NOW + 2 * SECOND + 1, NOW),
            Err(AuthError::FromTheFuture { ahead_ms: 2_000 })
        );
        assert_eq!(opened(0, NOW).unwrap_err().kind(), AuthKind::StaleRequest);
        assert_eq!(opened(u64::MAX, NOW).unwrap_err().kind(), AuthKind::FutureRequest);
    }

    #[test]
    fn a_request_for_somebody_else_is_refused() {
        let other = Keypair::from_seed([3; 32]).account();
        let error = open(&sealed(b"x", NOW), &other, PATH, NOW, &guard()).unwrap_err();
        assert_eq!(
            error,
            AuthError::WrongReceiver {
                receiver: Some(miner()),
                me: Some(other)
            }
        );
        let to_anybody = seal_with_nonce(&validator(), None, PATH, &b"x"[..], NOW);
        let error = open(&to_anybody, &miner(), PATH, NOW, &guard()).unwrap_err();
        assert_eq!(
            error,
            AuthError::WrongReceiver {
                receiver: None,
                me: Some(miner())
            }
        );
    }

    #[test]
    fn every_altered_part_breaks_the_signature() {
        let honest = sealed(b"challenge", NOW);
        let bad = AuthError::BadSignature {
            hotkey: validator().account(),
        };
        let refused = |signed: &v1::Signed| open(signed, &miner(), PATH, NOW, &guard()).unwrap_err();

        assert_eq!(
            refused(&v1::Signed {
                payload: Bytes::from_static(b"another"),
                ..honest.clone()
            }),
            bad
        );
        assert_eq!(
            refused(&v1::Signed {
                nonce_ns: NOW + 1,
                ..honest.clone()
            }),
            bad
        );
        assert_eq!(
            open(&honest, &miner(), "/portcullis.v1.Miner/Other", NOW, &guard()).unwrap_err(),
            bad
        );
        let impostor = Keypair::from_seed([9; 32]).account();
        let stolen = v1::Signed {
            hotkey: Bytes::copy_from_slice(impostor.as_bytes()),
            ..honest.clone()
        };
        assert_eq!(refused(&stolen), AuthError::BadSignature { hotkey: impostor });
        // dendrite v10's hole: an empty signature is no signature.
        let unsigned = v1::Signed {
            signature: Bytes::new(),
            ..honest
        };
        assert_eq!(refused(&unsigned).kind(), AuthKind::MalformedRequest);
    }

    #[test]
    fn a_forged_request_does_not_burn_the_nonce() {
        let (guard, honest) = (guard(), sealed(b"challenge", NOW));
        let forged = v1::Signed {
            payload: Bytes::from_static(b"another"),
            ..honest.clone()
        };
        assert_eq!(
            open(&forged, &miner(), PATH, NOW, &guard).unwrap_err().kind(),
            AuthKind::BadSignature
        );
        assert!(open(&honest, &miner(), PATH, NOW, &guard).is_ok());
    }

    #[test]
    fn the_checks_run_in_the_schemes_order() {
        // Everything is wrong; each repair uncovers the next refusal.
        let guard = guard();
        let mut signed = seal_with_nonce(&validator(), None, PATH, &b"x"[..], NOW - 60 * SECOND);
        signed.signature = Bytes::from_static(&[0; 63]);
        let kind = |signed: &v1::Signed| open(signed, &miner(), PATH, NOW, &guard).map_err(|e| e.kind());
        assert_eq!(kind(&signed), Err(AuthKind::MalformedRequest));
        signed.signature = Bytes::from_static(&[0; 64]);
        assert_eq!(kind(&signed), Err(AuthKind::WrongReceiver));
        signed.receiver = Bytes::copy_from_slice(miner().as_bytes());
        assert_eq!(kind(&signed), Err(AuthKind::StaleRequest));
        signed.nonce_ns = NOW;
        assert_eq!(kind(&signed), Err(AuthKind::BadSignature));
        signed.signature = sealed(b"x", NOW).signature;
        assert!(kind(&signed).is_ok());
        assert_eq!(kind(&signed), Err(AuthKind::ReplayedRequest));
    }

    #[test]
    fn nonces_strictly_increase_even_when_the_clock_does_not() {
        let last = AtomicU64::new(0);
        let nonces: Vec<u64> = [NOW, NOW, NOW - 5, NOW + 7, NOW]
            .iter()
            .map(|now| next_nonce(&last, *now))
            .collect();
        assert_eq!(nonces, [NOW, NOW + 1, NOW + 2, NOW + 7, NOW + 8]);
    }

    #[test]
    fn kinds_survive_their_names() {
        for kind in AuthKind::ALL {
            assert_eq!(AuthKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(AuthKind::from_name("Nonsense"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_envelope_is_an_answer_and_no_panic(
            payload: Vec<u8>, hotkey: Vec<u8>, receiver: Vec<u8>, nonce_ns: u64, signature in proptest::collection::vec(any::<u8>(), 60..68),
        ) {
            let signed = v1::Signed {
                payload: payload.into(), hotkey: hotkey.into(), receiver: receiver.into(), nonce_ns, signature: signature.into(),
            };
            prop_assert!(open(&signed, &miner(), PATH, NOW, &guard()).is_err());
        }

        #[test]
        fn a_sealed_payload_is_opened_whatever_it_is(payload: Vec<u8>, seed: [u8; 32]) {
            let sender = Keypair::from_seed(seed);
            let signed = seal_with_nonce(&sender, Some(&miner()), PATH, payload, NOW);
            prop_assert_eq!(open(&signed, &miner(), PATH, NOW, &guard()).unwrap().hotkey, sender.account());
        }
    }

    #[test]
    fn a_request_for_anybody_is_opened_once_and_only_by_who_takes_such() {
        let signed = seal_with_nonce(&validator(), None, PATH, &b"stream"[..], NOW);
        let guard = guard();
        assert_eq!(
            open_unaddressed(&signed, PATH, NOW, &guard).unwrap().hotkey,
            validator().account()
        );
        let again = open_unaddressed(&signed, PATH, NOW, &guard).unwrap_err();
        assert_eq!(again.kind(), AuthKind::ReplayedRequest);
        assert_eq!(
            open(&signed, &miner(), PATH, NOW, &guard).unwrap_err().kind(),
            AuthKind::WrongReceiver
        );

        let addressed = sealed(b"stream", NOW + 1);
        let refused = open_unaddressed(&addressed, PATH, NOW, &guard).unwrap_err();
        assert_eq!(refused.kind(), AuthKind::WrongReceiver);
        assert!(refused.to_string().ends_with("not for anybody"), "{refused}");
    }
}
