//! Signed requests: each counts once, for this ledger, this method and this message.

use chain::auth::sign::signed_with_nonce;
use chain::auth::{self, AuthKind, metadata};
use chain::{AccountId, LedgerError, Refusal, wire};
use protos::v1;
use protos::v1::ledger_client::LedgerClient;
use tonic::transport::Channel;

use super::TEMPO;
use crate::world::{TAO, World, overrides, pair};

/// Any path; only a signature's.
const REGISTER: &str = "/portcullis.v1.Ledger/Register";
const ADD_STAKE: &str = "/portcullis.v1.Ledger/AddStake";

/// What signs nothing by itself.
async fn unsigning(world: &World) -> LedgerClient<Channel> {
    LedgerClient::connect(world.served.url()).await.unwrap()
}

#[tokio::test]
async fn a_replayed_stale_altered_or_misaddressed_request_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let world = World::open(home.path(), overrides(TEMPO)).await;
    let me = world.served.local.genesis_id();
    let mut client = unsigning(&world).await;
    world.register(&[1]).await;
    let kind = |error: tonic::Status| match wire::from_status(&error, "", 0) {
        LedgerError::Unauthenticated { kind, .. } => kind,
        other => panic!("{other:?}"),
    };
    let sign = |receiver: &AccountId, nonce_ns| {
        let call = v1::AddStakeCall { amount: TAO };
        signed_with_nonce(call, ADD_STAKE, &pair(1), Some(receiver), nonce_ns)
    };
    let stake = |nonce_ns| sign(&me, nonce_ns);
    // The same signature over another message.
    fn moved<C>(signed: tonic::Request<v1::AddStakeCall>, call: C) -> tonic::Request<C> {
        let (metadata, extensions, _) = signed.into_parts();
        tonic::Request::from_parts(metadata, extensions, call)
    }

    let nonce = auth::now_ns();
    assert_eq!(client.add_stake(stake(nonce)).await.unwrap().into_inner().stake, TAO);
    assert_eq!(
        kind(client.add_stake(stake(nonce)).await.unwrap_err()),
        AuthKind::ReplayedRequest
    );
    let stale = stake(auth::now_ns() - 11_000_000_000);
    assert_eq!(kind(client.add_stake(stale).await.unwrap_err()), AuthKind::StaleRequest);
    let early = stake(auth::now_ns() + 30_000_000_000);
    assert_eq!(
        kind(client.add_stake(early).await.unwrap_err()),
        AuthKind::FutureRequest
    );
    let altered = moved(stake(auth::now_ns()), v1::AddStakeCall { amount: 9 * TAO });
    assert_eq!(
        kind(client.add_stake(altered).await.unwrap_err()),
        AuthKind::BadSignature
    );
    // Signed for another method: the same bytes would mean something else there.
    let elsewhere = moved(stake(auth::now_ns()), v1::RegisterCall {});
    assert_eq!(
        kind(client.register(elsewhere).await.unwrap_err()),
        AuthKind::BadSignature
    );
    let misaddressed = sign(&AccountId::new([7; 32]), auth::now_ns());
    assert_eq!(
        kind(client.add_stake(misaddressed).await.unwrap_err()),
        AuthKind::WrongReceiver
    );
    let mut impostor = stake(auth::now_ns());
    let other = pair(2).account().to_string().parse().unwrap();
    impostor.metadata_mut().insert(metadata::HOTKEY_KEY, other);
    assert_eq!(
        kind(client.add_stake(impostor).await.unwrap_err()),
        AuthKind::BadSignature
    );
    let mut malformed = stake(auth::now_ns());
    malformed
        .metadata_mut()
        .insert(metadata::NONCE_KEY, "soon".parse().unwrap());
    let status = client.add_stake(malformed).await.unwrap_err();
    assert!(status.message().contains(metadata::NONCE_KEY), "{status:?}");
    assert_eq!(kind(status), AuthKind::MalformedRequest);
    // What nobody signed reaches no handler.
    let bare = v1::AddStakeCall { amount: TAO };
    assert_eq!(
        kind(client.add_stake(bare).await.unwrap_err()),
        AuthKind::MalformedRequest
    );
    assert_eq!(
        world.state().by_hotkey(&pair(1).account()).unwrap().stake,
        TAO,
        "only the honest one counted"
    );

    // The guard's memory of what was accepted survives a restart.
    let nonce = auth::now_ns();
    client.add_stake(stake(nonce)).await.unwrap();
    let world = world.restart().await;
    let error = unsigning(&world).await.add_stake(stake(nonce)).await.unwrap_err();
    assert_eq!(kind(error), AuthKind::ReplayedRequest);
}

#[tokio::test]
async fn the_nonce_of_a_refused_operation_stays_used() {
    let home = tempfile::tempdir().unwrap();
    let world = World::open(home.path(), overrides(TEMPO)).await;
    let me = world.served.local.genesis_id();
    let mut client = unsigning(&world).await;
    world.register(&[1]).await;
    let nonce = auth::now_ns();
    let signed = || signed_with_nonce(v1::RegisterCall {}, REGISTER, &pair(1), Some(&me), nonce);
    let first = wire::from_status(&client.register(signed()).await.unwrap_err(), "", 0);
    assert_eq!(first, LedgerError::Refused(Refusal::HotKeyAlreadyRegisteredInSubNet));
    let second = wire::from_status(&client.register(signed()).await.unwrap_err(), "", 0);
    assert!(
        matches!(
            second,
            LedgerError::Unauthenticated {
                kind: AuthKind::ReplayedRequest,
                ..
            }
        ),
        "{second}"
    );
}
