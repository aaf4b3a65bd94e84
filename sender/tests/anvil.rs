//! The sender against a real node: what is submitted is mined once, in order, whatever happens in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64, U256, address};
use alloy::providers::{DynProvider, Provider as _};
use alloy::signers::local::PrivateKeySigner;
use sender::{
    Cancelled, Config, Failure, Fees, Handle, IdempotencyKey, Keys, Lane, Outcome, Request, Sender, State, SubmitError,
};
use serde_json::{Value, json};
use testkit::{Fault, Mining, Proxy, TestAnvil, anvil};

const LONG: Duration = Duration::from_secs(30);
/// How long one block's news may take before the next block is made.
const STEP: Duration = Duration::from_millis(200);
const GWEI: u128 = 1_000_000_000;

/// A chain, a key with ether, a folder for the journal.
struct World {
    anvil: TestAnvil,
    node: DynProvider,
    folder: tempfile::TempDir,
}

impl World {
    fn new(mining: Mining) -> Option<Self> {
        let anvil = anvil(mining, &["--order", "fees"])?;
        let node = anvil.provider();
        Some(Self {
            anvil,
            node,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn signer(&self) -> PrivateKeySigner {
        self.anvil.instance().keys()[0].clone().into()
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("sender.db")
    }

    async fn open(&self, endpoints: &[&str], more: Value) -> Sender {
        Sender::open(&config(endpoints, &more), &Keys::single(self.signer()), &self.journal())
            .await
            .unwrap()
    }

    async fn sender(&self) -> Sender {
        self.open(&[&self.anvil.http()], json!({})).await
    }

    async fn raw(&self, method: &'static str, params: Value) -> Value {
        self.node
            .raw_request(method.into(), params)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn mine(&self, blocks: u64) {
        self.raw("anvil_mine", json!([U64::from(blocks)])).await;
    }

    /// Makes blocks until `handle` has ended.
    async fn mine_until_end(&self, handle: &Handle) -> Outcome {
        for _ in 0..100 {
            if let Ok(outcome) = handle.wait(STEP).await {
                return outcome;
            }
            self.mine(1).await;
        }
        panic!("did not end: {:?}", handle.status());
    }

    async fn balance(&self, account: Address) -> U256 {
        self.node.get_balance(account).await.unwrap()
    }

    async fn nonce(&self) -> u64 {
        self.node.get_transaction_count(self.signer().address()).await.unwrap()
    }

    /// The nonces of our transactions in the pool with their hashes.
    async fn pool(&self) -> Vec<(u64, B256)> {
        let content = self.raw("txpool_content", json!([])).await;
        let mut all = Vec::new();
        for part in ["pending", "queued"] {
            for (_, of) in content[part].as_object().into_iter().flatten() {
                for (nonce, transaction) in of.as_object().into_iter().flatten() {
                    all.push((
                        nonce.parse().unwrap(),
                        transaction["hash"].as_str().unwrap().parse().unwrap(),
                    ));
                }
            }
        }
        all.sort_unstable();
        all
    }
}

fn config(endpoints: &[&str], more: &Value) -> Config {
    let mut all =
        json!({ "endpoints": endpoints, "poll": "20ms", "timeout": "1s", "confirmations": 2, "max_in_flight": 128 });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn key(name: impl Into<String>) -> IdempotencyKey {
    IdempotencyKey::new(name).unwrap()
}

/// A receiver of its own for each number: what it has tells how often it was paid.
fn receiver(number: u64) -> Address {
    Address::left_padding_from(&(0xAA00_0000_0000 + number).to_be_bytes())
}

/// One wei to a receiver of its own.
fn pay(number: u64, lane: Lane) -> Request {
    let request = Request::call(key(format!("pay/{number}")), lane, receiver(number), Bytes::new());
    Request {
        value: U256::from(1),
        gas: Some(21_000),
        ..request
    }
}

fn mined(outcome: Outcome) -> sender::Inclusion {
    match outcome {
        Outcome::Mined(inclusion) => inclusion,
        other @ Outcome::Failed(_) => panic!("{other:?}"),
    }
}

fn broadcast(state: &State) -> bool {
    matches!(state, State::Broadcast { .. })
}

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
    for _ in 0..20 {
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
