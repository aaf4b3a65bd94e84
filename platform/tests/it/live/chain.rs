//! Pending transactions, replacements, drops and reorgs of a real node.

use std::collections::BTreeSet;

use alloy::providers::ext::AnvilApi;
use alloy::rpc::types::anvil::ReorgOptions;
use engine::{Address, B256, BlockEnv, Engine, Transaction};
use platform::log::Event;
use testkit::{Mining, TestAnvil, anvil};
use wire::{ShippedPrestate, Wire};

use super::person::{Person, created};
use super::world::{CHAIN, Live, assert_true, hash_of, includes, mine, one_call_a_block, options};
use crate::world::open;

/// A feed over this address of the node, on a database of its own.
async fn live(url: String) -> (Live, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    (Live::start(&[url], options(), store, None), folder)
}

/// Over a WebSocket and by polling: each type is shown before it is mined, with the state that its execution reads.
async fn every_type(url: impl Fn(&TestAnvil) -> String) {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let (mut live, _folder) = live(url(&anvil)).await;
    live.head(|head| head.number == 0).await;
    let person = |number| Person::new(&anvil, number);
    let raws = [
        person(0).legacy(0),
        person(1).with_access_list(0),
        person(2).transfer(0, 5),
        person(3).blob(0),
        person(4).delegation(0),
    ];
    let mut expected = BTreeSet::new();
    for raw in &raws {
        expected.insert(person(9).send(raw).await);
    }
    let mut codes = std::collections::HashMap::new();
    let mut types = BTreeSet::new();
    let head = live.history[0].event.clone();
    let Event::Head(head) = head else { panic!("{head:?}") };
    let env = BlockEnv::from_wire(head.next.as_ref().unwrap()).unwrap();
    while !expected.is_empty() {
        let Event::Pending(pending) = live.next().await else {
            panic!("{:?}", live.history.last())
        };
        assert!(expected.remove(&hash_of(&pending)), "each is shown once");
        assert_eq!(pending.head_hash, head.hash);
        for code in &live.history.last().unwrap().codes {
            let (hash, code) = wire::code_from_wire(code).unwrap();
            codes.insert(hash, code);
        }
        let transaction = Transaction::from_wire(pending.transaction.as_ref().unwrap()).unwrap();
        types.insert(transaction.tx_type());
        let prestate = ShippedPrestate::from_wire(&pending.prestate.expect("its state")).unwrap();
        let prestate = prestate.complete(|hash| codes.get(&hash).cloned()).unwrap();
        let outcome = Engine::new(CHAIN).judge(&env, &transaction, &prestate, &[]).unwrap();
        assert_eq!(
            outcome.execution.unwrap().status,
            engine::Status::Success,
            "type {}",
            transaction.tx_type()
        );
    }
    assert_eq!(types, BTreeSet::from([0, 1, 2, 3, 4]));
    mine(&anvil).await;
    let head = live.head(|head| head.number == 1).await;
    assert_eq!(head.included.len(), 5, "none was mined before it was shown");
    live.settles(|status| status.pending == 0 && status.included == 5).await;
}

#[tokio::test]
async fn transactions_of_every_type_are_told_over_a_websocket_before_they_are_mined() {
    every_type(TestAnvil::ws).await;
}

#[tokio::test]
async fn transactions_of_every_type_are_found_by_polling_before_they_are_mined() {
    every_type(TestAnvil::http).await;
}

#[tokio::test]
async fn what_waits_already_when_the_feed_starts_is_taken_up() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let alice = Person::new(&anvil, 0);
    let hash = alice.send(&alice.transfer(0, 5)).await;
    let (mut live, _folder) = live(anvil.ws()).await;
    live.pending(hash).await;
}

#[tokio::test]
async fn blocks_at_intervals_include_what_was_shown_before() {
    let Some(anvil) = anvil(Mining::Interval(1), &[]) else {
        return;
    };
    let (mut live, _folder) = live(anvil.ws()).await;
    live.head(|_| true).await;
    let alice = Person::new(&anvil, 0);
    let mut hashes = Vec::new();
    for nonce in 0..20 {
        hashes.push(alice.send(&alice.transfer(nonce, 5)).await);
    }
    live.settles(|status| status.included == 20).await;
    let mut waiting: BTreeSet<B256> = BTreeSet::new();
    for item in &live.history {
        match &item.event {
            Event::Pending(pending) => drop(waiting.insert(hash_of(pending))),
            Event::Head(head) => {
                for hash in hashes.iter().filter(|hash| includes(head, **hash)) {
                    assert!(waiting.remove(hash), "{hash} is mined before it was shown");
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(hashes.iter().all(|hash| live.shown(*hash) >= 1));
}

#[tokio::test]
async fn a_replaced_transaction_is_told_and_the_new_one_is_shown() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let (mut live, _folder) = live(anvil.ws()).await;
    let alice = Person::new(&anvil, 0);
    let old = alice.send(&alice.transfer(0, 5)).await;
    live.pending(old).await;
    let new = alice.send(&alice.transfer(0, 50)).await;
    let mut told = false;
    let mut shown = false;
    while !(told && shown) {
        match live.next().await {
            Event::Replaced(replaced) => {
                assert_eq!((&replaced.old_hash[..], &replaced.new_hash[..]), (&old[..], &new[..]));
                told = true;
            }
            Event::Pending(pending) if hash_of(&pending) == new => shown = true,
            _ => {}
        }
    }
    mine(&anvil).await;
    let head = live.head(|head| head.number == 1).await;
    assert!(includes(&head, new) && !includes(&head, old));
    live.settles(|status| status.pending == 0 && status.replaced == 1).await;
}

#[tokio::test]
async fn a_transaction_that_the_node_forgets_is_dropped_and_may_come_back() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let (mut live, _folder) = live(anvil.ws()).await;
    let alice = Person::new(&anvil, 0);
    let raw = alice.transfer(0, 5);
    let hash = alice.send(&raw).await;
    live.pending(hash).await;
    anvil.provider().anvil_drop_transaction(hash).await.unwrap();
    let reason = live
        .until(|event| match event {
            Event::Dropped(dropped) => {
                assert_eq!(&dropped.hash[..], &hash[..]);
                Some(dropped.reason.clone())
            }
            _ => None,
        })
        .await;
    assert_eq!(reason, "no node knows it any more");
    assert_eq!(alice.send(&raw).await, hash);
    live.pending(hash).await;
}

#[tokio::test]
async fn a_reorg_orphans_heads_and_what_they_included_waits_again() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let (mut live, _folder) = live(anvil.ws()).await;
    live.head(|head| head.number == 0).await;
    let alice = Person::new(&anvil, 0);
    let hash = alice.send(&alice.transfer(0, 5)).await;
    live.pending(hash).await;
    mine(&anvil).await;
    let old = live.head(|head| includes(head, hash)).await;
    mine(&anvil).await;
    let older = live.head(|head| head.number == 2).await;
    // Two empty blocks take the place of both.
    let reorg = ReorgOptions {
        depth: 2,
        tx_block_pairs: Vec::new(),
    };
    anvil.provider().anvil_reorg(reorg).await.unwrap();
    let head = live.head(|head| !head.orphaned.is_empty()).await;
    assert_eq!(head.orphaned, [older.hash, old.hash]);
    let mut at = Some(head);
    let newest = loop {
        match at.take() {
            Some(head) if head.number == 2 => break head,
            _ => at = Some(live.head(|_| true).await),
        }
    };
    let again = live.pending(hash).await;
    assert_eq!(again.head_hash, newest.hash);
    let sender = alice.address();
    let prestate = again.prestate.expect("its state on the new chain");
    let account = prestate
        .accounts
        .iter()
        .find(|account| account.address == sender.as_slice())
        .unwrap();
    assert_eq!(account.nonce, 0, "on the new chain it was never sent");
    let status = live.status.snapshot();
    assert_eq!((status.orphaned, status.included), (2, 1));
}

#[tokio::test]
async fn after_a_reorg_every_slot_that_is_shown_is_what_the_node_says() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let (mut live, _folder) = live(anvil.ws()).await;
    let node = anvil.provider();
    let (alice, bob, carol) = (Person::new(&anvil, 0), Person::new(&anvil, 1), Person::new(&anvil, 2));
    let contract = created(alice.address(), 0);
    alice.send(&alice.creation(0)).await;
    mine(&anvil).await;
    live.head(|head| head.number == 1).await;
    let written = bob.send(&bob.keep(0, contract, 7, 50)).await;
    live.pending(written).await;
    mine(&anvil).await;
    live.head(|head| includes(head, written)).await;
    let waits = carol.send(&carol.keep(0, contract, 3, 5)).await;
    let before = live.pending(waits).await;
    assert_eq!(assert_true(&node, &before).await, 1);
    let kept = |pending: &protos::v1::PendingTransaction| {
        let accounts = pending.prestate.iter().flat_map(|prestate| &prestate.accounts);
        let mut slots = accounts.flat_map(|account| &account.storage);
        slots.next().map(|slot| slot.value[31])
    };
    assert_eq!(kept(&before), Some(7), "what the block wrote");

    let reorg = ReorgOptions {
        depth: 1,
        tx_block_pairs: Vec::new(),
    };
    node.anvil_reorg(reorg).await.unwrap();
    let head = live.head(|head| !head.orphaned.is_empty()).await;
    let mut again = std::collections::BTreeMap::new();
    while again.len() < 2 {
        if let Event::Pending(pending) = live.next().await
            && pending.head_hash == head.hash
        {
            assert_eq!(assert_true(&node, &pending).await, 1);
            again.insert(hash_of(&pending), kept(&pending));
        }
    }
    assert_eq!(again[&waits], Some(0), "on the new chain nobody wrote it");
    assert_eq!(again[&written], Some(0), "what the old block included waits again");
}

#[tokio::test]
async fn a_head_leaves_alone_what_it_does_not_touch_and_the_rest_is_judged_anew() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let (mut live, _folder) = live(anvil.ws()).await;
    let (alice, bob, carol) = (Person::new(&anvil, 0), Person::new(&anvil, 1), Person::new(&anvil, 2));
    let contract = created(alice.address(), 0);
    alice.send(&alice.creation(0)).await;
    mine(&anvil).await;
    live.head(|head| head.number == 1).await;

    one_call_a_block(&anvil).await;
    mine(&anvil).await;
    live.head(|head| head.number == 2).await;
    let touched = bob.send(&bob.keep(0, contract, 7, 5)).await;
    let untouched = carol.send(&carol.keep(0, Address::repeat_byte(0x77), 1, 5)).await;
    let mut awaited = BTreeSet::from([touched, untouched]);
    while !awaited.is_empty() {
        let Event::Pending(pending) = live.next().await else {
            panic!("{:?}", live.history.last())
        };
        awaited.remove(&hash_of(&pending));
    }
    let changes = alice.send(&alice.keep(1, contract, 3, 50)).await;
    live.pending(changes).await;
    mine(&anvil).await;
    let head = live.head(|head| includes(head, changes)).await;
    assert_eq!(head.included.len(), 1);
    let again = live.pending(touched).await;
    assert_eq!(again.head_hash, head.hash);
    let kept = again
        .prestate
        .unwrap()
        .accounts
        .into_iter()
        .find(|account| account.address == contract.as_slice());
    let slots = kept.unwrap().storage;
    assert_eq!(
        (slots.len(), slots[0].value[31]),
        (1, 3),
        "what the block wrote is what it reads now"
    );
    let status = live.settles(|status| status.carried_over >= 1).await;
    assert_eq!((status.rejudged, live.shown(untouched)), (1, 1), "{status:?}");
}
