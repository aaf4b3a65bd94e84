//! Offers and places: what is raised, what goes ahead, what waits.

use alloy::primitives::U256;
use alloy::signers::local::PrivateKeySigner;
use sender::{Fees, Lane, Request, State, SubmitError};
use serde_json::json;
use testkit::Mining;

use crate::world::{GWEI, LONG, STEP, STEPS, World, broadcast, mined, pay, receiver};

#[tokio::test]
async fn a_hundred_at_once_have_a_hundred_nonces_without_a_gap() {
    let Some(world) = World::new(Mining::Interval(1)) else {
        return;
    };
    let sender = world.sender().await;
    let handles = futures::future::join_all((0..100).map(|number| sender.submit(pay(number, Lane::Report)))).await;
    let mut nonces = Vec::new();
    for handle in handles {
        nonces.push(mined(handle.unwrap().wait(LONG).await.unwrap()).nonce);
    }
    nonces.sort_unstable();
    assert_eq!(nonces, (0..100).collect::<Vec<u64>>());
    for number in 0..100 {
        assert_eq!(world.balance(receiver(number)).await, U256::from(1));
    }
    assert!(sender.queue().is_empty());
    sender.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_price_that_fell_behind_is_raised_until_it_is_mined() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let lanes = json!({ "lanes": { "claim": { "patience": 1, "horizon": 0, "margin_percent": 0 } } });
    let sender = world.open(&[&world.anvil.http()], lanes).await;
    let handle = sender.submit(pay(1, Lane::Claim)).await.unwrap();
    let first = handle.until(LONG, broadcast).await.unwrap();
    // The market runs away before the next block.
    for _ in 0..2 {
        world
            .raw("anvil_setNextBlockBaseFeePerGas", json!([U256::from(40 * GWEI)]))
            .await;
        world.mine(1).await;
    }
    let inclusion = mined(world.mine_until_end(&handle).await);
    let status = handle.status();
    assert!(status.bumps >= 1, "{status:?}");
    assert_ne!(Some(inclusion.transaction), first.transaction);
    assert_eq!(world.balance(receiver(1)).await, U256::from(1));
}

#[tokio::test]
async fn at_the_cap_it_says_so_and_stays() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let lanes = json!({ "lanes": { "report": { "patience": 1, "max_fee_cap": 2_000_000_000u64 } } });
    let sender = world.open(&[&world.anvil.http()], lanes).await;
    let handle = sender.submit(pay(1, Lane::Report)).await.unwrap();
    handle.until(LONG, broadcast).await.unwrap();
    let mut watch = handle.watch();
    for _ in 0..STEPS {
        world
            .raw("anvil_setNextBlockBaseFeePerGas", json!([U256::from(40 * GWEI)]))
            .await;
        world.mine(1).await;
        if tokio::time::timeout(STEP, watch.wait_for(|status| status.capped))
            .await
            .is_ok()
        {
            break;
        }
    }
    let status = handle.status();
    assert!(status.capped, "{status:?}");
    let State::Broadcast { fees, .. } = status.state else {
        panic!("{status:?}")
    };
    // The last raise that fits was made, and what is there stays.
    assert!(
        fees.max_fee <= 2 * GWEI && sender::fees::raised(fees.max_fee) > 2 * GWEI,
        "{fees:?}"
    );
    let inclusion = mined(world.mine_until_end(&handle).await);
    assert_eq!(
        Some(inclusion.transaction),
        status.transaction,
        "mined once the market came back"
    );
}

#[tokio::test]
async fn a_pause_takes_a_stuck_reports_nonce_and_the_report_follows() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let sender = world.sender().await;
    let reports = [
        sender.submit(pay(1, Lane::Report)).await.unwrap(),
        sender.submit(pay(2, Lane::Report)).await.unwrap(),
    ];
    for report in &reports {
        report.until(LONG, broadcast).await.unwrap();
    }
    let pause = sender.submit(pay(3, Lane::Pause)).await.unwrap();
    let status = pause.until(LONG, broadcast).await.unwrap();
    assert_eq!(status.state.nonce(), Some(0), "in front of everything");
    assert_eq!(reports[0].status().state, State::Replaced { nonce: 0 });
    world.mine(1).await;
    let paused = mined(pause.included(LONG).await.unwrap());
    assert_eq!((paused.nonce, paused.block), (0, 1), "in the very next block");
    let first = mined(world.mine_until_end(&reports[0]).await);
    assert_eq!(first.nonce, 2, "behind the other report");
    mined(world.mine_until_end(&reports[1]).await);
    for number in 1..=3 {
        assert_eq!(world.balance(receiver(number)).await, U256::from(1));
    }
}

#[tokio::test]
async fn a_pause_stands_ahead_of_the_attack_in_the_block() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let attacker: PrivateKeySigner = world.anvil.instance().keys()[1].clone().into();
    let attack = world
        .raw(
            "eth_sendTransaction",
            json!([{ "from": attacker.address(), "to": receiver(9), "value": "0x1", "gas": "0x5208",
                "maxFeePerGas": U256::from(90 * GWEI), "maxPriorityFeePerGas": U256::from(30 * GWEI) }]),
        )
        .await;
    let sender = world.sender().await;
    let beat = Some(Fees {
        max_fee: 90 * GWEI,
        priority_fee: 30 * GWEI,
    });
    let pause = sender
        .submit(Request {
            beat,
            ..pay(1, Lane::Pause)
        })
        .await
        .unwrap();
    assert!(pause.until(LONG, broadcast).await.unwrap().ahead);
    world.mine(1).await;
    let inclusion = mined(pause.included(LONG).await.unwrap());
    let block = world.raw("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(block["transactions"], json!([inclusion.transaction, attack]));
    // One that the cap cannot beat says so, before and after.
    let offer = sender.offer(Lane::Pause, beat.as_ref(), Some(50 * GWEI)).unwrap();
    assert!(offer.capped && !offer.ahead);
    assert!(sender.offer(Lane::Pause, beat.as_ref(), None).unwrap().ahead);
    let other = Request {
        beat,
        max_fee_cap: Some(50 * GWEI),
        ..pay(2, Lane::Pause)
    };
    assert!(
        !sender
            .submit(other)
            .await
            .unwrap()
            .until(LONG, broadcast)
            .await
            .unwrap()
            .ahead
    );
}

#[tokio::test]
async fn a_full_queue_refuses_reports_and_still_takes_a_pause() {
    let Some(world) = World::new(Mining::Manual) else {
        return;
    };
    let sender = world.open(&[&world.anvil.http()], json!({ "queue": 4 })).await;
    for number in 0..4 {
        sender.submit(pay(number, Lane::Report)).await.unwrap();
    }
    assert!(matches!(
        sender.submit(pay(4, Lane::Report)).await,
        Err(SubmitError::Full(4))
    ));
    sender.submit(pay(5, Lane::Pause)).await.unwrap();
    // A repetition is no new work.
    sender.submit(pay(0, Lane::Report)).await.unwrap();
}
