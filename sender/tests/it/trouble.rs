//! Nodes and relays that do not do as they should, restarts, reorganisations.

use std::time::Duration;

use alloy::primitives::U256;
use sender::{Keys, Lane, Request, Sender, State, SubmitError};
use serde_json::json;
use testkit::{Fault, Mining, Proxy};

use crate::world::{LONG, World, broadcast, config, mined, pay, receiver};

#[tokio::test]
async fn a_reopened_sender_goes_on_with_the_same_bytes() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let sender = world.sender().await;
    let handle = sender.submit(pay(1, Lane::Claim)).await.unwrap();
    let before = handle.until(LONG, broadcast).await.unwrap();
    sender.shutdown().await.unwrap();
    assert!(handle.wait(LONG).await.is_err());
    drop(sender);

    let sender = world.sender().await;
    let again = sender.submit(pay(1, Lane::Claim)).await.unwrap();
    assert_eq!(
        again.until(LONG, broadcast).await.unwrap().transaction,
        before.transaction
    );
    mined(world.mine_until_end(&again).await);
    // Known even when it ended long ago.
    sender.shutdown().await.unwrap();
    drop(sender);
    let sender = world.sender().await;
    let ended = sender.submit(pay(1, Lane::Claim)).await.unwrap();
    assert!(matches!(ended.status().state, State::Final(_)));
    assert_eq!(world.balance(receiver(1)).await, U256::from(1));
    let other = Request {
        value: U256::from(2),
        ..pay(1, Lane::Claim)
    };
    assert!(matches!(sender.submit(other).await, Err(SubmitError::Conflict(_))));
}

#[tokio::test]
async fn a_reorganisation_puts_it_back_and_it_is_mined_once() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let sender = world.open(&[&world.anvil.http()], json!({ "confirmations": 6 })).await;
    world.mine(3).await;
    let handle = sender.submit(pay(1, Lane::Claim)).await.unwrap();
    handle.until(LONG, broadcast).await.unwrap();
    world.mine(1).await;
    let first = mined(handle.included(LONG).await.unwrap());
    world.raw("anvil_reorg", json!([2, []])).await;
    handle.until(LONG, broadcast).await.unwrap();
    let again = mined(world.mine_until_end(&handle).await);
    assert_ne!(again.block_hash, first.block_hash);
    assert_eq!(
        (world.balance(receiver(1)).await, world.nonce().await),
        (U256::from(1), 1)
    );
}

#[tokio::test]
async fn one_dead_endpoint_is_no_reason_to_wait() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let dead = Proxy::before(&world.anvil.http(), Duration::ZERO).await;
    let sender = world.open(&[dead.url(), &world.anvil.http()], json!({})).await;
    dead.set_fault(Some(Fault::Hang));
    let handle = sender.submit(pay(1, Lane::Pause)).await.unwrap();
    handle.until(LONG, broadcast).await.unwrap();
    mined(world.mine_until_end(&handle).await);
}

#[tokio::test]
async fn with_every_endpoint_down_it_waits_and_sends_when_one_is_back() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let proxy = Proxy::before(&world.anvil.http(), Duration::ZERO).await;
    let sender = world.open(&[proxy.url()], json!({})).await;
    let first = sender.submit(pay(1, Lane::Claim)).await.unwrap();
    first.until(LONG, broadcast).await.unwrap();
    proxy.set_fault(Some(Fault::Unavailable));
    let second = sender.submit(pay(2, Lane::Claim)).await.unwrap();
    let mut watch = second.watch();
    let told = watch.wait_for(|status| status.note.as_ref().is_some_and(|note| note.contains("503")));
    tokio::time::timeout(LONG, told).await.unwrap().unwrap();
    proxy.set_fault(None);
    mined(world.mine_until_end(&second).await);
    mined(world.mine_until_end(&first).await);
}

#[tokio::test]
async fn a_pause_behind_a_hung_node_is_out_before_its_answer() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let slow = Proxy::before(&world.anvil.http(), Duration::ZERO).await;
    let sender = world
        .open(&[&world.anvil.http(), slow.url()], json!({ "timeout": "60s" }))
        .await;
    sender
        .submit(pay(1, Lane::Report))
        .await
        .unwrap()
        .until(LONG, broadcast)
        .await
        .unwrap();
    slow.set_fault(Some(Fault::Hang));
    let report = sender.submit(pay(2, Lane::Report)).await.unwrap();
    report.until(LONG, broadcast).await.unwrap();
    let pause = sender.submit(pay(3, Lane::Pause)).await.unwrap();
    let status = pause.until(LONG, broadcast).await.unwrap();
    let timing = status.timing;
    assert!(
        timing.stored <= timing.signed && timing.signed <= timing.sent && timing.sent <= timing.accepted,
        "{timing:?}"
    );
}

#[tokio::test]
async fn the_relay_has_it_first_and_everybody_when_it_is_not_mined() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    // A relay that takes everything and gets nothing mined.
    let relay = Proxy::before(&world.anvil.http(), Duration::ZERO).await;
    relay.set_fault(Some(Fault::Error(-32000, "already known".to_owned())));
    let more = json!({ "relay": { "url": relay.url(), "public_after": 2 } });
    let sender = world.open(&[&world.anvil.http()], more).await;
    let handle = sender.submit(pay(1, Lane::Pause)).await.unwrap();
    assert!(handle.until(LONG, broadcast).await.unwrap().private);
    assert!(relay.calls().contains_key("eth_sendPrivateTransaction"));
    assert!(world.pool().await.is_empty(), "nobody else has seen it");
    mined(world.mine_until_end(&handle).await);
    assert_eq!(world.balance(receiver(1)).await, U256::from(1));
}

#[tokio::test]
async fn a_relay_that_refuses_is_passed_over_at_once() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let relay = Proxy::before(&world.anvil.http(), Duration::ZERO).await;
    relay.set_fault(Some(Fault::Unavailable));
    let sender = world
        .open(&[&world.anvil.http()], json!({ "relay": { "url": relay.url() } }))
        .await;
    let handle = sender.submit(pay(1, Lane::Pause)).await.unwrap();
    assert!(!handle.until(LONG, broadcast).await.unwrap().private);
    assert_eq!(world.pool().await.len(), 1);
}

#[tokio::test]
async fn a_second_sender_and_another_chain_are_refused() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let sender = world.sender().await;
    let again = Sender::open(
        &config(&[&world.anvil.http()], &json!({})),
        &Keys::single(world.signer()),
        &world.journal(),
    )
    .await;
    assert!(again.unwrap_err().to_string().contains("in use"));
    sender.shutdown().await.unwrap();
    drop(sender);
    let wrong = config(&[&world.anvil.http()], &json!({ "chain_id": 1 }));
    let refused = Sender::open(&wrong, &Keys::single(world.signer()), &world.journal()).await;
    assert!(refused.unwrap_err().to_string().contains("31337"));
}
