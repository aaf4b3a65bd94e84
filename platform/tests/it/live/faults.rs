//! Nodes that lie, hang, answer errors and flood: the reason is told, the other one takes over, the stream goes on.

use std::time::Duration;

use alloy::providers::Provider;
use engine::Address;
use platform::feed::live::LiveOptions;
use platform::log::Event;
use testkit::{Fault, Mining, Proxy, anvil};

use super::person::Person;
use super::world::{CHAIN, Live, heights, includes, mine, one_call_a_block, options};
use crate::world::open;

#[tokio::test]
async fn a_node_that_goes_bad_is_left_with_the_reason_and_taken_up_again_when_it_is_good() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let options = LiveOptions {
        // What hangs is left after it; whoever answers on a busy machine is not.
        request_timeout: Duration::from_secs(3),
        max_message_bytes: 1 << 20,
        ..options()
    };
    let proxy = Proxy::before(&anvil.http(), Duration::ZERO).await;
    let folder = tempfile::tempdir().unwrap();
    let urls = [proxy.url().to_owned(), anvil.ws()];
    let mut live = Live::start(&urls, options, open(folder.path()).await, None);
    let alice = Person::new(&anvil, 0);
    let faults = [
        (Fault::Hang, "no answer within 3s"),
        (Fault::Unavailable, "HTTP status 503"),
        (
            Fault::Error(-32000, "out of order".into()),
            "error -32000: out of order",
        ),
        (Fault::Garbage, "malformed answer"),
        (Fault::Flood(2 << 20), "floods: more than 1048576 bytes"),
    ];
    let mut nonce = 0;
    live.settles(|status| status.endpoints.iter().all(|node| node.connected) && !status.head_hash.is_empty())
        .await;
    for (fault, reason) in faults {
        proxy.set_fault(Some(fault.clone()));
        let status = live.settles(|status| !status.endpoints[0].connected).await;
        assert!(status.endpoints[0].error.contains(reason), "{fault:?}: {status:?}");
        let hash = alice.send(&alice.transfer(nonce, 5)).await;
        let pending = live.pending(hash).await;
        assert!(
            pending.prestate.is_some(),
            "{fault:?}: the state is read from the other node"
        );
        mine(&anvil).await;
        nonce += 1;
        live.head(|head| head.number == nonce).await;
        let status = live.settles(|status| status.endpoints[1].followed).await;
        assert_eq!(status.gaps, 0, "one node was always heard");
        proxy.set_fault(None);
        live.settles(|status| status.endpoints[0].connected && status.endpoints[0].error.is_empty())
            .await;
    }
}

#[tokio::test]
async fn a_node_of_another_chain_is_never_listened_to() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let proxy = Proxy::before(&anvil.http(), Duration::ZERO).await;
    proxy.set_fault(Some(Fault::ChainId(1)));
    let folder = tempfile::tempdir().unwrap();
    let options = LiveOptions {
        chain_id: Some(CHAIN),
        ..options()
    };
    let urls = [proxy.url().to_owned(), anvil.ws()];
    let mut live = Live::start(&urls, options, open(folder.path()).await, None);
    let alice = Person::new(&anvil, 0);
    let hash = alice.send(&alice.transfer(0, 5)).await;
    assert!(live.pending(hash).await.prestate.is_some());
    let status = live.settles(|status| !status.endpoints[0].error.is_empty()).await;
    let expected = "it is of chain 1, the feed follows chain 31337";
    assert_eq!(
        (status.endpoints[0].error.as_str(), status.endpoints[0].connected),
        (expected, false)
    );
    assert_eq!(status.endpoints[0].first, 0);
}

#[tokio::test]
async fn the_chain_of_the_log_is_followed_and_read_whatever_the_first_node_says() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let proxy = Proxy::before(&anvil.http(), Duration::ZERO).await;
    proxy.set_fault(Some(Fault::ChainId(1)));
    let folder = tempfile::tempdir().unwrap();
    let block = anvil.provider().get_block_by_number(0.into()).await.unwrap().unwrap();
    let position = serde_json::json!({
        "chain_id": CHAIN,
        "number": 0,
        "hash": block.header.hash,
        "parent": block.header.inner.parent_hash,
    });
    // Nothing but the log says which chain it is.
    let urls = [proxy.url().to_owned(), anvil.http()];
    let store = open(folder.path()).await;
    let mut live = Live::start(&urls, options(), store, Some(position.to_string()));
    let alice = Person::new(&anvil, 0);
    let hash = alice.send(&alice.transfer(0, 5)).await;
    let pending = live.pending(hash).await;
    assert!(
        pending.prestate.is_some(),
        "its state is read from the node of the chain"
    );
    let status = live.settles(|status| !status.endpoints[0].error.is_empty()).await;
    assert!(status.endpoints[0].error.contains("it is of chain 1"), "{status:?}");
}

#[tokio::test]
async fn when_no_node_is_heard_the_gap_is_told_and_no_head_is_missing_after_it() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let proxy = Proxy::before(&anvil.http(), Duration::ZERO).await;
    let folder = tempfile::tempdir().unwrap();
    let mut live = Live::start(&[proxy.url().to_owned()], options(), open(folder.path()).await, None);
    live.head(|head| head.number == 0).await;
    proxy.set_fault(Some(Fault::Unavailable));
    live.settles(|status| !status.endpoints[0].connected).await;
    for _ in 0..4 {
        mine(&anvil).await;
    }
    let alice = Person::new(&anvil, 0);
    let hash = alice.send(&alice.transfer(0, 5)).await;
    proxy.set_fault(None);
    live.pending(hash).await;
    let events: Vec<Event> = live.history.iter().map(|item| item.event.clone()).collect();
    assert_eq!(heights(&events), [0, 1, 2, 3, 4]);
    let status = live.status.snapshot();
    assert_eq!((status.gaps, status.missed_heads), (1, 3), "{status:?}");
    assert!(
        status.gap_ms > 0 && status.last_gap.contains("3 heads before 4"),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_node_is_polled_by_what_it_has() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let lacks = |methods: &[&str]| {
        Some(Fault::Unsupported(
            methods.iter().map(|&method| method.to_owned()).collect(),
        ))
    };
    let cases = [
        (None, "filter"),
        (lacks(&["eth_newPendingTransactionFilter"]), "content"),
        (lacks(&["eth_newPendingTransactionFilter", "txpool_content"]), "content"),
    ];
    let alice = Person::new(&anvil, 0);
    for (nonce, (fault, mode)) in (0..).zip(cases) {
        let proxy = Proxy::before(&anvil.http(), Duration::ZERO).await;
        proxy.set_fault(fault);
        let folder = tempfile::tempdir().unwrap();
        let mut live = Live::start(&[proxy.url().to_owned()], options(), open(folder.path()).await, None);
        let status = live
            .settles(|status| status.endpoints[0].connected && status.head_hash.len() == 32)
            .await;
        assert_eq!(status.endpoints[0].mode, mode);
        let hash = alice.send(&alice.transfer(nonce, 5)).await;
        live.pending(hash).await;
        mine(&anvil).await;
        live.settles(|status| status.included >= 1).await;
    }
}

#[tokio::test]
async fn a_transaction_whose_state_cannot_be_read_is_shown_without_it_and_again_at_the_next_head() {
    let Some(anvil) = anvil(Mining::Manual, &[]) else {
        return;
    };
    let proxy = Proxy::before(&anvil.http(), Duration::ZERO).await;
    let reads = [
        "debug_traceCall",
        "eth_createAccessList",
        "eth_getProof",
        "eth_getBalance",
        "eth_getStorageAt",
    ];
    let unread = Fault::Unsupported(reads.map(str::to_owned).to_vec());
    let folder = tempfile::tempdir().unwrap();
    let options = LiveOptions {
        record_deadline: Duration::from_secs(3),
        ..options()
    };
    let mut live = Live::start(&[proxy.url().to_owned()], options, open(folder.path()).await, None);
    live.head(|head| head.number == 0).await;
    one_call_a_block(&anvil).await;
    mine(&anvil).await;
    live.head(|head| head.number == 1).await;
    proxy.set_fault(Some(unread));
    let (alice, bob) = (Person::new(&anvil, 0), Person::new(&anvil, 1));
    let waits = alice.send(&alice.keep(0, Address::repeat_byte(0x77), 1, 5)).await;
    let mined = bob.send(&bob.keep(0, Address::repeat_byte(0x78), 1, 50)).await;
    for _ in 0..2 {
        let Event::Pending(pending) = live.next().await else {
            panic!("{:?}", live.history.last())
        };
        assert!(pending.prestate.is_none());
    }
    assert_eq!(live.status.snapshot().without_prestate, 2);
    proxy.set_fault(None);
    mine(&anvil).await;
    let head = live.head(|head| head.number == 2).await;
    assert!(includes(&head, mined) && !includes(&head, waits));
    let again = live.pending(waits).await;
    assert_eq!(again.head_hash, head.hash);
    assert!(again.prestate.is_some());
}
