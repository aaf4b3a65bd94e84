//! The rules in numbers: what is opened, what is refused, and in which order.

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
