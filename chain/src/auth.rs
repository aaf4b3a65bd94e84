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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::ReplayLimits;
    use proptest::prelude::*;
    use std::sync::Arc;

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
            Caller {
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
                tag: Bytes::new(),
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
    fn a_message_is_for_one_receiver_or_for_anybody() {
        let [for_me, for_anybody] = [Some(&miner()), None]
            .map(|receiver| Head::of(&seal_with_nonce(&validator(), receiver, PATH, &b"x"[..], NOW)).unwrap());
        let me = miner();
        assert!(for_me.is_for(Some(&me)).is_ok() && for_anybody.is_for(None).is_ok());
        assert_eq!(
            for_anybody.is_for(Some(&me)).unwrap_err().kind(),
            AuthKind::WrongReceiver
        );
        let refused = for_me.is_for(None).unwrap_err();
        assert_eq!(refused.kind(), AuthKind::WrongReceiver);
        assert!(refused.to_string().ends_with("not for anybody"), "{refused}");
    }

    #[tokio::test]
    async fn an_answers_tag_convinces_its_receiver_alone_and_its_signature_everybody() {
        let keys = |seed| Arc::new(SharedKeys::new(Arc::new(Keypair::from_seed([seed; 32]))));
        let sealed = keys(1).seal(&miner(), PATH, &b"verdicts"[..], now_ns());
        let checks = || Checks::new(Some(miner()));
        let receiver = || checks().sharing(keys(2));
        let sender = receiver().open(&sealed, PATH).await.unwrap().hotkey;
        assert_eq!(sender, validator().account());
        assert_eq!(authentic(&sealed, PATH).unwrap().hotkey, sender);
        // Without the key the signature is looked at.
        assert!(checks().open(&sealed, PATH).await.is_ok());

        let altered = |change: fn(&mut v1::Signed)| {
            let mut altered = sealed.clone();
            change(&mut altered);
            altered
        };
        for altered in [
            altered(|signed| signed.payload = Bytes::from_static(b"other verdicts")),
            altered(|signed| signed.nonce_ns += 1),
            altered(|signed| signed.tag = Bytes::from_static(&[0; 32])),
            // Whoever is on the way must not make a sender look like one who signs wrongly.
            altered(|signed| signed.signature = Bytes::from_static(&[0; 64])),
        ] {
            let refused = receiver().open(&altered, PATH).await.unwrap_err();
            assert_eq!(refused.kind(), AuthKind::BadSignature);
        }
        let short = altered(|signed| signed.tag = Bytes::from_static(&[0; 31]));
        let refused = receiver().open(&short, PATH).await.unwrap_err();
        assert_eq!(refused.kind(), AuthKind::MalformedRequest);

        // The tag of one who signs with anything: that shows as soon as it is held to its word.
        let keys = keys(1);
        let mut wrong = sealed.clone();
        wrong.signature = Bytes::from_static(&[0; 64]);
        let digest = BodyDigest::of_both(&wrong.payload, &wrong.signature);
        let peer = keys.with(&miner()).unwrap();
        let tag = peer.tag(PATH, &digest, wrong.nonce_ns, validator().address());
        wrong.tag = Bytes::copy_from_slice(&tag);
        assert!(receiver().open(&wrong, PATH).await.is_ok());
        assert_eq!(authentic(&wrong, PATH).unwrap_err().kind(), AuthKind::BadSignature);
    }

    #[test]
    fn what_was_signed_once_can_be_shown_for_ever_but_not_altered() {
        let old = sealed(b"verdicts", 1);
        assert_eq!(authentic(&old, PATH).unwrap().hotkey, validator().account());
        assert!(authentic(&old, "/elsewhere").is_err());
        let altered = v1::Signed {
            payload: Bytes::from_static(b"other verdicts"),
            ..old
        };
        assert_eq!(authentic(&altered, PATH).unwrap_err().kind(), AuthKind::BadSignature);
    }
}
