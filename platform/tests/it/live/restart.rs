//! The process and the node, stopped and started again.

use alloy::providers::Provider;
use alloy::providers::ext::AnvilApi;
use platform::log::Event;
use testkit::{Mining, anvil};

use super::person::{Person, created};
use super::world::{Pumped, Relay, assert_true, hash_of, heights, includes, shown};
use crate::world::open;

#[tokio::test]
async fn after_a_restart_the_log_goes_on_where_it_ended_and_nothing_is_logged_twice() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let [alice, bob, carol] = [0, 1, 2].map(|number| Person::new(&anvil, number));
    let mine = || async { anvil.provider().anvil_mine(Some(1), None).await.unwrap() };

    let first = Pumped::start(&anvil.ws(), open(folder.path()).await);
    let known = alice.send(&alice.transfer(0, 5)).await;
    first.until(|events| shown(events, known) == 1).await;
    first.stop().await;

    // Nothing has happened: what waited is known.
    let second = Pumped::start(&anvil.ws(), open(folder.path()).await);
    let other = bob.send(&bob.transfer(0, 5)).await;
    let events = second.until(|events| shown(events, other) == 1).await;
    assert_eq!((shown(&events, known), heights(&events)), (1, vec![0]));
    second.stop().await;

    // Three blocks meanwhile, the first with what waited and with one that nobody showed; and then one that waits.
    let unseen = carol.send(&carol.transfer(0, 5)).await;
    for _ in 0..3 {
        mine().await;
    }
    let late = carol.send(&carol.transfer(1, 5)).await;
    let third = Pumped::start(&anvil.ws(), open(folder.path()).await);
    let events = third.until(|events| shown(events, late) == 1).await;
    assert_eq!(heights(&events), [0, 1, 2, 3], "no head is missing");
    assert_eq!([known, other, unseen].map(|hash| shown(&events, hash)), [1, 1, 0]);
    let block = events.iter().find_map(|event| match event {
        Event::Head(head) if head.number == 1 => Some(head.clone()),
        _ => None,
    });
    assert!(
        [known, other, unseen]
            .iter()
            .all(|hash| includes(block.as_ref().unwrap(), *hash))
    );
    let status = third.status.snapshot();
    assert_eq!(
        (status.missed_heads, status.included, status.pending),
        (2, 2, 1),
        "{status:?}"
    );
    third.stop().await;
    drop(folder);
}

#[tokio::test]
async fn what_was_forgotten_while_nobody_looked_is_dropped_after_a_restart() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let alice = Person::new(&anvil, 0);
    let first = Pumped::start(&anvil.ws(), open(folder.path()).await);
    let hash = alice.send(&alice.transfer(0, 5)).await;
    first.until(|events| shown(events, hash) == 1).await;
    first.stop().await;
    anvil.provider().anvil_drop_transaction(hash).await.unwrap();
    let second = Pumped::start(&anvil.ws(), open(folder.path()).await);
    second
        .until(|events| {
            events
                .iter()
                .any(|event| matches!(event, Event::Dropped(dropped) if dropped.hash[..] == hash[..]))
        })
        .await;
    second.stop().await;
}

#[tokio::test]
async fn a_node_that_is_started_again_is_taken_up_with_the_right_state() {
    let Some(before) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let relay = Relay::to(&before).await;
    let folder = tempfile::tempdir().unwrap();
    let feed = Pumped::start(&relay.ws(), open(folder.path()).await);
    let alice = Person::new(&before, 0);
    let bob = Person::new(&before, 1);
    let included = alice.send(&alice.creation(0)).await;
    feed.until(|events| shown(events, included) == 1).await;
    before.provider().anvil_mine(Some(1), None).await.unwrap();
    feed.until(|events| heights(events) == [0, 1]).await;
    let contract = created(alice.address(), 0);
    bob.send(&bob.keep(0, contract, 7, 5)).await;
    before.provider().anvil_mine(Some(1), None).await.unwrap();
    feed.until(|events| heights(events) == [0, 1, 2]).await;

    let dump = before.provider().anvil_dump_state().await.unwrap();
    relay.lead_to(None);
    drop(before);
    let Some(after) = anvil(Mining::Manual, &[]) else {
        return;
    };
    assert!(after.provider().anvil_load_state(dump).await.unwrap());
    assert_eq!(after.provider().get_block_number().await.unwrap(), 2);
    relay.lead_to(Some(&after));

    let alice = Person::new(&after, 0);
    let hash = alice.send(&alice.keep(1, contract, 3, 5)).await;
    let events = feed.until(|events| shown(events, hash) >= 1).await;
    let pending = events.iter().rev().find_map(|event| match event {
        Event::Pending(pending) if hash_of(pending) == hash => Some(pending.clone()),
        _ => None,
    });
    let pending = pending.unwrap();
    assert_eq!(
        assert_true(&after.provider(), &pending).await,
        1,
        "every slot is what the new process says"
    );
    let prestate = pending.prestate.expect("its state, read from the new process");
    let slots: Vec<_> = prestate.accounts.iter().flat_map(|account| &account.storage).collect();
    assert_eq!(slots[0].value[31], 7, "what was written before the restart");
    let sender = prestate
        .accounts
        .iter()
        .find(|account| account.address == alice.address().as_slice())
        .unwrap();
    let balance = after.provider().get_balance(alice.address()).await.unwrap();
    assert_eq!(
        (sender.nonce, &sender.balance[..]),
        (1, &balance.to_be_bytes::<32>()[..])
    );
    assert_eq!(shown(&events, included), 1);
    let status = feed.status.snapshot();
    assert_eq!(status.gaps, 1, "{status:?}");
    assert!(status.endpoints[0].connections == 2 && status.gap_ms > 0, "{status:?}");
    feed.stop().await;
}
