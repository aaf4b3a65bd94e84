//! Reading what was never read before: how many round trips, and whether it is right.

use std::{sync::Arc, time::Duration};

use engine::{
    Comparison, Context, Engine, Invariant, State as _, Status, Transaction, U256, ValueType, Verdict, WatchSet,
    Watched,
};
use state::{Prefetch, Reader, ReaderConfig, Recording};
use testkit::Fault;

use crate::world::{World, reader_config, soon};

async fn read(reader: &Reader, tx: &Transaction) -> Recording {
    reader.prestate(reader.head().hash(), tx, soon()).await.unwrap()
}

/// That a swap was judged, on what was read and nothing else.
fn assert_swapped(recording: &Recording, tx: &Transaction) {
    let again = Engine::new(recording.chain_id)
        .record(&recording.env, tx, &recording.prestate)
        .unwrap();
    assert_eq!(again.outcome.execution.unwrap().status, Status::Success);
    let status = &recording.outcome.execution.as_ref().unwrap().status;
    assert_eq!(*status, Status::Success);
    let slots: usize = recording
        .prestate
        .accounts
        .values()
        .map(|known| known.storage.len())
        .sum();
    assert!(slots >= 8, "a swap reads more than {slots} slots");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_swap_takes_one_round_trip_and_a_warm_one_none() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::from_millis(20)).await;
    let reader = world.reader(proxy.url(), Prefetch::Trace).await;
    let swap = world.swap(1).await;
    let before = proxy.round_trips();
    let cold = read(&reader, &swap).await;
    assert_swapped(&cold, &swap);
    assert_eq!((cold.round_trips, proxy.round_trips() - before), (1, 1));
    let warm = read(&reader, &swap).await;
    assert_eq!(
        (warm.round_trips, proxy.round_trips() - before),
        (0, 1),
        "all of it is known"
    );
    assert_eq!(warm.prestate, cold.prestate);
    assert!(world.assert_true(&reader.head()).await > 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tracing_it_takes_two_and_one_read_at_a_time_takes_many() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::ZERO).await;
    let swap = world.swap(1).await;
    let mut trips = Vec::new();
    let mut read_by = Vec::new();
    for prefetch in [
        Prefetch::Trace,
        Prefetch::AccessList,
        Prefetch::Rounds,
        Prefetch::OneByOne,
    ] {
        let reader = world.reader(proxy.url(), prefetch).await;
        let before = proxy.round_trips();
        let recording = read(&reader, &swap).await;
        assert_swapped(&recording, &swap);
        world.assert_true(&reader.head()).await;
        assert_eq!(
            u64::from(recording.round_trips),
            proxy.round_trips() - before,
            "{prefetch:?}"
        );
        trips.push(recording.round_trips);
        read_by.push(recording.prestate);
    }
    println!("cold swap, round trips: trace, access list, rounds, one by one: {trips:?}");
    assert_eq!(trips[..2], [1, 2]);
    assert!(trips[2] <= trips[3] && trips[3] >= 3 * trips[1], "{trips:?}");
    assert!(
        read_by.iter().all(|prestate| *prestate == read_by[0]),
        "they all read the same"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_trace_is_asked_once_and_then_known() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::ZERO).await;
    proxy.set_fault(Some(Fault::Unsupported(vec!["debug_traceCall".into()])));
    let reader = world.reader(proxy.url(), Prefetch::Trace).await;
    let swap = world.swap(1).await;
    assert_eq!(
        read(&reader, &swap).await.round_trips,
        3,
        "one to learn it, then access list and batch"
    );
    let other = world.swap(2).await;
    assert!(read(&reader, &other).await.round_trips <= 2);
    assert_eq!(proxy.calls()["debug_traceCall"], 1);
    proxy.set_fault(Some(Fault::Unsupported(vec![
        "debug_traceCall".into(),
        "eth_createAccessList".into(),
    ])));
    let third = world.swap(3).await;
    let recording = read(&reader, &third).await;
    assert_swapped(&recording, &third);
    world.assert_true(&reader.head()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_want_the_same_ask_once() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::from_millis(50)).await;
    let reader = world.reader(proxy.url(), Prefetch::Trace).await;
    let swap = world.swap(1).await;
    let before = proxy.round_trips();
    let all = futures::future::join_all((0..20).map(|_| read(&reader, &swap))).await;
    assert!(all.iter().all(|recording| recording.prestate == all[0].prestate));
    assert_eq!(proxy.round_trips() - before, 1);
    // And by pieces: different transactions that read the same pair.
    let reader = world.reader(proxy.url(), Prefetch::Rounds).await;
    let (one, two) = (world.swap(1).await, world.swap(2).await);
    tokio::join!(read(&reader, &one), read(&reader, &two));
    let calls = proxy.calls();
    let reader = world.reader(proxy.url(), Prefetch::Rounds).await;
    read(&reader, &one).await;
    read(&reader, &two).await;
    let again = proxy.calls();
    let slots = |calls: &std::collections::BTreeMap<String, u64>| calls["eth_getStorageAt"];
    let (together, apart) = (slots(&calls), slots(&again) - slots(&calls));
    assert!(
        together <= apart,
        "together {together} slots, one after the other {apart}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_on_disk_after_a_restart_and_is_checked() {
    let Some(world) = World::new().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = ReaderConfig {
        code_dir: Some(folder.path().join("codes")),
        ..reader_config()
    };
    let node = world.node(&[&world.anvil.http()]).await;
    let reader = Reader::new(node.clone(), config.clone()).await.unwrap();
    let swap = world.swap(1).await;
    let recording = read(&reader, &swap).await;
    assert!(recording.prestate.codes.len() >= 3, "router, pair, token");
    let again = Reader::new(node, config).await.unwrap();
    for (hash, code) in &recording.prestate.codes {
        assert_eq!(again.head().code(*hash).as_ref(), Ok(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_judging_reads_is_fetched_and_recorded_too() {
    let Some(world) = World::new().await else { return };
    let reader = world.reader(&world.anvil.http(), Prefetch::Trace).await;
    // The pair's reserves, which a swap changes: never a billion tokens.
    let most = U256::from(10).pow(U256::from(20));
    let reserve = Invariant::new(
        7,
        "reserve",
        world.pair,
        U256::from(1),
        ValueType::Uint(112),
        0,
        Comparison::Lt,
        most,
    );
    let set = Arc::new(WatchSet::new(vec![Watched::Slot(reserve.unwrap())]).unwrap());
    let swap = world.swap(1).await;
    let recording = reader.judge(reader.head().hash(), &swap, &set, soon()).await.unwrap();
    assert_eq!(recording.outcome.judgements.len(), 1);
    let judgement = &recording.outcome.judgements[0];
    assert_eq!(
        judgement.verdict,
        Verdict::Holds,
        "it did not hold before: {:?}",
        judgement.transition
    );
    let alone = Engine::new(recording.chain_id)
        .judge_watched(
            &swap,
            Context::new(&recording.env, &recording.prestate, &set, &engine::Options::default()),
        )
        .unwrap();
    assert_eq!(alone.judgements, recording.outcome.judgements);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_cannot_be_included_is_an_answer() {
    let Some(world) = World::new().await else { return };
    let reader = world.reader(&world.anvil.http(), Prefetch::Trace).await;
    let nobody = engine::Address::repeat_byte(0x77);
    let call = contracts::Token::transferCall {
        to: nobody,
        value: U256::from(1),
    };
    let tx = world.pending(nobody, 5, world.a, &call);
    let recording = read(&reader, &tx).await;
    let status = recording.outcome.execution.unwrap().status;
    assert!(matches!(status, Status::Invalid(_)), "{status}");
    assert_eq!(recording.prestate.accounts[&nobody].account, None, "known not to exist");
}
