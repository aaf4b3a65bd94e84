//! Transactions that wait behind others of their sender: what they are shown with, and what the network makes of that.

use alloy::providers::ext::AnvilApi;
use engine::{
    Address, B256, BlockEnv, Bytes, Comparison, Context, Engine, Invariant, Options, Outcome, Reason, Status,
};
use engine::{Transaction, U256, ValueType, WatchSet};
use platform::feed::FeedItem;
use platform::log::Event;
use protos::v1;
use testkit::{Mining, TestAnvil, anvil};
use wire::{ShippedPrestate, Wire};

use super::person::Person;
use super::world::{CHAIN, Live, hash_of, includes, mine, one_call_a_block, options};
use crate::world::open;

const TILL: Address = Address::repeat_byte(0xc0);

/// Stores a call's value in slot 0, unless it was locked; locked by any call with data.
///
/// `CALLDATASIZE PUSH1 lock JUMPI, PUSH1 1 SLOAD PUSH1 end JUMPI, CALLVALUE PUSH0 SSTORE, end: JUMPDEST STOP,
/// lock: JUMPDEST PUSH1 1 PUSH1 1 SSTORE STOP`
const CODE: Bytes = alloy::primitives::bytes!("36600f57600154600d57345f555b005b600160015500");

/// A node that mines only when it is told to, with the till on it.
async fn node() -> Option<TestAnvil> {
    let anvil = anvil(Mining::Manual, &[])?;
    anvil.provider().anvil_set_code(TILL, CODE).await.unwrap();
    mine(&anvil).await;
    Some(anvil)
}

async fn live(anvil: &TestAnvil) -> (Live, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    (Live::start(&[anvil.ws()], options(), store, None), folder)
}

fn hashes(messages: &[v1::Transaction]) -> Vec<B256> {
    messages
        .iter()
        .map(|message| wire::transaction_hash(message).unwrap())
        .collect()
}

/// What everybody in the network makes of an item: at most 5 may be in the till.
fn judged(live: &Live, pending: &v1::PendingTransaction) -> Outcome {
    let codes: std::collections::HashMap<B256, Bytes> = live
        .history
        .iter()
        .flat_map(|item| &item.codes)
        .map(|code| wire::code_from_wire(code).unwrap())
        .collect();
    let env = live.history.iter().rev().find_map(|item| match &item.event {
        Event::Head(head) if head.hash == pending.head_hash => Some(BlockEnv::from_wire(head.next.as_ref()?).unwrap()),
        _ => None,
    });
    let transaction = Transaction::from_wire(pending.transaction.as_ref().unwrap()).unwrap();
    let before = wire::predecessors("predecessors", &pending.predecessors, &transaction).unwrap();
    let state = ShippedPrestate::from_wire(pending.prestate.as_ref().expect("its state")).unwrap();
    let state = state.complete(|hash| codes.get(&hash).cloned()).unwrap();
    let (word, most) = (ValueType::Uint(256), U256::from(5));
    let cap = Invariant::new(9, "cap", TILL, U256::ZERO, word, 0, Comparison::Le, most).unwrap();
    let set = WatchSet::new(vec![cap.into()]).unwrap();
    let options = Options::default();
    Engine::new(CHAIN)
        .judge_behind(
            &before,
            &transaction,
            Context::new(&env.unwrap(), &state, &set, &options),
        )
        .unwrap()
}

fn breaks(outcome: &Outcome) -> Option<(U256, U256)> {
    outcome.violations().next().map(|witness| (witness.pre, witness.post))
}

fn is_not_executable(outcome: &Outcome) -> bool {
    matches!(&outcome.undecided, Some(Reason::InvalidTransaction(why)) if why.contains("nonce"))
}

/// The next item of `hash` that stands behind exactly these.
async fn behind(live: &mut Live, hash: B256, before: &[B256]) -> v1::PendingTransaction {
    live.until(|event| match event {
        Event::Pending(pending) if hash_of(pending) == hash && hashes(&pending.predecessors) == before => {
            Some(pending.clone())
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn an_attack_behind_what_waits_is_found_when_that_comes_and_anew_when_it_changes() {
    let Some(anvil) = node().await else { return };
    let attacker = Person::new(&anvil, 1);
    let pay = |nonce, value, gwei| attacker.call(nonce, TILL, value, gwei, Bytes::new());
    // The node keeps it aside until the nonce below is there; who starts now reads it from there.
    let attack = attacker.send(&pay(1, 6, 5)).await;
    let (mut live, _folder) = live(&anvil).await;
    let alone = live.pending(attack).await;
    assert!(alone.predecessors.is_empty());
    assert!(is_not_executable(&judged(&live, &alone)), "there is a real gap");

    // A harmless one fills the gap: both can be in the next block.
    let harmless = attacker.send(&pay(0, 3, 5)).await;
    let found = behind(&mut live, attack, &[harmless]).await;
    let words = |pre: u64, post: u64| Some((U256::from(pre), U256::from(post)));
    assert_eq!(breaks(&judged(&live, &found)), words(3, 6));

    // It is replaced, again and again, in the end by one that locks the till: the attack does nothing any more.
    let richer = attacker.send(&pay(0, 4, 10)).await;
    let lock = attacker
        .send(&attacker.call(0, TILL, 0, 20, Bytes::from_static(&[1])))
        .await;
    assert_ne!(richer, lock);
    let tamed = behind(&mut live, attack, &[lock]).await;
    let outcome = judged(&live, &tamed);
    assert_eq!(
        (breaks(&outcome), outcome.execution.unwrap().status),
        (None, Status::Success)
    );

    // And by one that does not.
    let open = attacker.send(&pay(0, 2, 40)).await;
    let found = behind(&mut live, attack, &[open]).await;
    assert_eq!(breaks(&judged(&live, &found)), words(2, 6));
    assert!(
        live.history
            .iter()
            .all(|item| !matches!(&item.event, Event::Head(head) if includes(head, attack))),
        "all of this before anything was mined"
    );

    mine(&anvil).await;
    let head = live.head(|head| includes(head, attack)).await;
    assert!(includes(&head, open));
    live.settles(|status| status.pending == 0).await;
}

#[tokio::test]
async fn what_is_left_behind_a_block_that_takes_the_first_is_shown_behind_the_rest() {
    let Some(anvil) = node().await else { return };
    let sender = Person::new(&anvil, 1);
    let pay = |nonce, value| sender.call(nonce, TILL, value, 5, Bytes::new());
    let (mut live, _folder) = live(&anvil).await;
    live.head(|head| head.number == 1).await;
    let first = sender.send(&pay(0, 1)).await;
    let second = sender.send(&pay(1, 2)).await;
    let third = sender.send(&pay(2, 6)).await;
    let shown = behind(&mut live, third, &[first, second]).await;
    assert_eq!(breaks(&judged(&live, &shown)), Some((U256::from(2), U256::from(6))));

    // Only one fits into the block.
    one_call_a_block(&anvil).await;
    mine(&anvil).await;
    let head = live.head(|head| includes(head, first)).await;
    assert!(!includes(&head, second) && !includes(&head, third));
    let shown = behind(&mut live, third, &[second]).await;
    assert_eq!(shown.head_hash, head.hash);
    assert_eq!(breaks(&judged(&live, &shown)), Some((U256::from(2), U256::from(6))));
}

#[tokio::test]
async fn behind_sixteen_it_is_judged_and_behind_seventeen_it_is_not_executable() {
    let Some(anvil) = node().await else { return };
    let sender = Person::new(&anvil, 1);
    let mut sent = Vec::new();
    for nonce in 0..18 {
        let value = if nonce < 16 { 1 } else { 6 };
        sent.push(sender.send(&sender.call(nonce, TILL, value, 5, Bytes::new())).await);
    }
    let (mut live, _folder) = live(&anvil).await;
    let found = behind(&mut live, sent[16], &sent[..16]).await;
    assert_eq!(breaks(&judged(&live, &found)), Some((U256::from(1), U256::from(6))));
    let of_the_last = |item: &FeedItem| match &item.event {
        Event::Pending(pending) if hash_of(pending) == sent[17] => Some(pending.clone()),
        _ => None,
    };
    let beyond = match live.history.iter().rev().find_map(of_the_last) {
        Some(pending) => pending,
        None => live.pending(sent[17]).await,
    };
    assert!(beyond.predecessors.is_empty());
    assert!(is_not_executable(&judged(&live, &beyond)));

    // Once a block has taken the first ones, it is judged too.
    mine(&anvil).await;
    live.head(|head| includes(head, sent[17])).await;
    live.settles(|status| status.pending == 0).await;
}
