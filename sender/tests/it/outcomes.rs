//! What a request comes to when it does not simply go through.

use std::time::Duration;

use alloy::primitives::{B256, Bytes, U256, address};
use alloy::signers::local::PrivateKeySigner;
use sender::{Cancelled, Failure, Keys, Lane, Outcome, Request, Sender, State};
use serde_json::json;
use testkit::{Fault, Mining, Proxy};

use crate::world::{LONG, World, broadcast, config, key, mined, pay, receiver};

#[tokio::test]
async fn an_empty_purse_is_a_named_outcome() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let poor = PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap();
    let config = config(&[&world.anvil.http()], &json!({}));
    let sender = Sender::open(&config, &Keys::single(poor), &world.journal())
        .await
        .unwrap();
    let outcome = sender
        .submit(pay(1, Lane::Claim))
        .await
        .unwrap()
        .wait(LONG)
        .await
        .unwrap();
    assert!(
        matches!(outcome, Outcome::Failed(Failure::InsufficientFunds(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_revert_is_an_outcome_with_its_gas() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    // PUSH0 PUSH0 REVERT
    let contract = address!("0x00000000000000000000000000000000000bad00");
    world.raw("anvil_setCode", json!([contract, "0x5f5ffd"])).await;
    let sender = world.sender().await;
    let call = |name: &str, gas| Request {
        gas,
        ..Request::call(key(name), Lane::Claim, contract, Bytes::new())
    };
    let estimated = sender.submit(call("estimated", None)).await.unwrap();
    let outcome = estimated.wait(LONG).await.unwrap();
    assert!(
        matches!(outcome, Outcome::Failed(Failure::WouldRevert(_))),
        "{outcome:?}"
    );
    let forced = sender.submit(call("forced", Some(50_000))).await.unwrap();
    forced.until(LONG, broadcast).await.unwrap();
    let inclusion = mined(world.mine_until_end(&forced).await);
    assert!(
        !inclusion.success && inclusion.gas_used > 21_000 && inclusion.revert.is_some(),
        "{inclusion:?}"
    );
}

#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_left_for_the_next_one() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let proxy = Proxy::before(&world.anvil.http(), Duration::ZERO).await;
    let sender = world.open(&[proxy.url()], json!({})).await;
    proxy.set_fault(Some(Fault::Unavailable));
    // Another holder of the key is faster while our node is away.
    let own = world.signer().address();
    world
        .raw(
            "eth_sendTransaction",
            json!([{ "from": own, "to": receiver(9), "value": "0x1", "gas": "0x5208" }]),
        )
        .await;
    world.mine(1).await;
    proxy.set_fault(None);
    let handle = sender.submit(pay(1, Lane::Claim)).await.unwrap();
    mined(world.mine_until_end(&handle).await);
    assert_eq!(world.balance(receiver(1)).await, U256::from(1));
}

#[tokio::test]
async fn a_cancelled_one_is_not_mined_and_its_nonce_is_used_up() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let sender = world.sender().await;
    let handle = sender.submit(pay(1, Lane::Report)).await.unwrap();
    handle.until(LONG, broadcast).await.unwrap();
    assert_eq!(sender.cancel(&key("pay/1")).await.unwrap(), Cancelled::UnderWay);
    handle
        .until(LONG, |state| matches!(state, State::Replaced { .. }))
        .await
        .unwrap();
    let outcome = world.mine_until_end(&handle).await;
    assert_eq!(outcome, Outcome::Failed(Failure::Cancelled));
    assert_eq!((world.balance(receiver(1)).await, world.nonce().await), (U256::ZERO, 1));
    assert_eq!(sender.cancel(&key("pay/1")).await.unwrap(), Cancelled::TooLate);
    assert_eq!(sender.cancel(&key("never")).await.unwrap(), Cancelled::Unknown);
}

#[tokio::test]
async fn a_passed_deadline_ends_it() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let sender = world.sender().await;
    let late = Request {
        deadline: Some(1),
        ..pay(1, Lane::Claim)
    };
    let outcome = sender.submit(late).await.unwrap().wait(LONG).await.unwrap();
    assert_eq!(outcome, Outcome::Failed(Failure::Expired));
    assert_eq!(world.nonce().await, 0);
}
