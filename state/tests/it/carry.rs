//! Pending verdicts over a new head.

use alloy::primitives::{Address, U256, keccak256};
use contracts::{Contract, Token};
use engine::Transaction;
use serde_json::{Value, json};
use state::{Prefetch, Recording, carries_over};

use crate::world::{World, soon};

const PENDING: u64 = 1000;

fn person(number: u64) -> Address {
    Address::from_word(keccak256(number.to_be_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_touched_a_hundredth_of_the_slots_leaves_nearly_all_verdicts_as_they_are() {
    let Some(world) = World::new().await else { return };
    let balance = contracts::layout::variable(Contract::Token, "balanceOf").unwrap();
    let held = engine::B256::from(U256::from(1_000_000));
    for number in 0..PENDING {
        let who = person(number);
        let _: Value = world.rpc("anvil_setBalance", json!([who, "0xde0b6b3a7640000"])).await;
        let slot = engine::B256::from(balance.of(who));
        let _: Value = world.rpc("anvil_setStorageAt", json!([world.a, slot, held])).await;
    }
    world.mine().await;
    let reader = world.reader(&world.anvil.http(), Prefetch::Trace).await;
    let head = reader.head().hash();
    let pending: Vec<Transaction> = (0..PENDING)
        .map(|number| {
            let to = person(PENDING + number);
            let value = U256::from(7);
            world.pending(person(number), 0, world.a, &Token::transferCall { to, value })
        })
        .collect();
    let mut recordings: Vec<Recording> = Vec::new();
    for some in pending.chunks(50) {
        let read = some.iter().map(|tx| reader.prestate(head, tx, soon()));
        recordings.extend(futures::future::join_all(read).await.into_iter().map(Result::unwrap));
    }
    let slots: usize = reader
        .head()
        .contents()
        .accounts
        .values()
        .map(|known| known.storage.len())
        .sum();
    // Ten transfers among those who have something pending: a hundredth of what is known.
    for number in 0..10 {
        let to = person(PENDING + number);
        world
            .send(
                person(number),
                world.a,
                Token::transferCall {
                    to,
                    value: U256::from(1),
                },
            )
            .await;
    }
    let changes = reader.advance(world.mine().await).await.unwrap();
    let [change] = &changes[..] else { panic!("{changes:?}") };
    let touched: usize = change.diff.accounts.values().map(|account| account.storage.len()).sum();
    assert!(touched * 100 >= slots * 9 / 10, "{touched} of {slots} slots");
    let asked = reader.node().round_trips();
    let carried: Vec<bool> = recordings
        .iter()
        .map(|recording| carries_over(recording, &change.diff, &change.head.next))
        .collect();
    assert_eq!(reader.node().round_trips(), asked);
    let count = carried.iter().filter(|carried| **carried).count();
    println!("{touched} of {slots} slots touched: {count} of {PENDING} verdicts carried over");
    assert_eq!(count, 990, "all but those of the ten");
    assert!(carried[..10].iter().all(|carried| !carried));
    // And they are what a new execution gives.
    for (index, (tx, carried)) in pending.iter().zip(&carried).enumerate().step_by(7) {
        let again = reader.prestate(reader.head().hash(), tx, soon()).await.unwrap();
        let status = |recording: &Recording| {
            let execution = recording.outcome.execution.clone().unwrap();
            (execution.status, execution.gas_used, execution.logs)
        };
        assert_eq!(status(&again) == status(&recordings[index]), *carried, "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_looks_at_the_time_and_is_judged_anew_at_every_head() {
    let Some(world) = World::new().await else { return };
    let reader = world.reader(&world.anvil.http(), Prefetch::Trace).await;
    let swap = world.swap(1).await;
    let recording = reader.prestate(reader.head().hash(), &swap, soon()).await.unwrap();
    assert!(recording.env_reads.contains(engine::EnvReads::TIMESTAMP));
    assert!(recording.only_credited && !recording.sees_balances);
    let _: Value = world.rpc("evm_increaseTime", json!([12])).await;
    let changes = reader.advance(world.mine().await).await.unwrap();
    assert!(!carries_over(&recording, &changes[0].diff, &changes[0].head.next));
}
