//! Recorded blocks as a feed.

use std::path::Path;

use engine::case::Case;
use platform::feed::pace::Pace;
use platform::feed::replay::ReplayFeed;
use platform::feed::{Feed, FeedError, FeedItem};
use platform::log::Event;
use tokio::sync::mpsc;
use wire::{ShippedPrestate, Wire};

use crate::world::{CHAIN, case, real_block, recording};

async fn read(path: &Path, position: Option<String>) -> (Vec<FeedItem>, Option<FeedError>) {
    let (sender, mut receiver) = mpsc::channel(4);
    Box::new(ReplayFeed::open(path, Pace::Max).unwrap()).start(position, sender);
    let mut items = Vec::new();
    while let Some(item) = receiver.recv().await {
        match item {
            Ok(item) => items.push(item),
            Err(error) => return (items, Some(error)),
        }
    }
    (items, None)
}

/// One word for each event.
fn outline(items: &[FeedItem]) -> Vec<String> {
    items
        .iter()
        .map(|item| match &item.event {
            Event::Head(head) => {
                let next = head
                    .next
                    .as_ref()
                    .map_or_else(|| "?".to_owned(), |env| env.number.to_string());
                format!("head {} +{} next {next}", head.number, head.included.len())
            }
            Event::Pending(_) => "tx".to_owned(),
            Event::FeedEnded(_) => "end".to_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn a_recording_is_heads_and_the_transactions_between_them() {
    let folder = tempfile::tempdir().unwrap();
    let (items, error) = read(&recording(folder.path()), None).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        outline(&items),
        [
            "head 99 +0 next 100",
            "tx",
            "tx",
            "tx",
            // 101 follows 100; 200 does not follow 101.
            "head 100 +3 next 101",
            "tx",
            "tx",
            "tx",
            "head 101 +3 next ?",
            "head 199 +0 next 200",
            "tx",
            "tx",
            "tx",
            "head 200 +3 next ?",
            "end",
        ]
    );
    // Each transaction names the head before it, which names the block that includes it.
    let mut newest = None;
    for item in &items {
        match &item.event {
            Event::Head(head) => newest = Some(head.hash.clone()),
            Event::Pending(pending) => assert_eq!(Some(&pending.head_hash), newest.as_ref()),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_transaction_comes_with_exactly_the_state_that_judging_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let (items, _) = read(&recording(folder.path()), None).await;
    let mut codes = std::collections::HashMap::new();
    let mut engine = engine::Engine::new(CHAIN);
    let (mut env, mut judged) = (None, 0);
    for item in items {
        for code in &item.codes {
            let (hash, code) = wire::code_from_wire(code).unwrap();
            assert!(codes.insert(hash, code).is_none(), "bytecode is given once");
        }
        match item.event {
            Event::Head(head) => env = head.next.map(|env| engine::BlockEnv::from_wire(&env).unwrap()),
            Event::Pending(pending) => {
                let transaction = engine::Transaction::from_wire(&pending.transaction.unwrap()).unwrap();
                let prestate = ShippedPrestate::from_wire(&pending.prestate.unwrap()).unwrap();
                let prestate = prestate.complete(|hash| codes.get(&hash).cloned()).unwrap();
                let outcome = engine
                    .judge(env.as_ref().unwrap(), &transaction, &prestate, &[])
                    .unwrap();
                assert_eq!(outcome.execution.unwrap().gas_used, 21_000);
                judged += 1;
            }
            _ => {}
        }
    }
    assert_eq!((judged, codes.len()), (9, 1));
}

#[tokio::test]
async fn from_each_position_the_rest_follows() {
    let folder = tempfile::tempdir().unwrap();
    let path = recording(folder.path());
    let (whole, _) = read(&path, None).await;
    for (i, item) in whole.iter().enumerate() {
        let (rest, error) = read(&path, Some(item.position.clone())).await;
        assert!(error.is_none(), "{error:?}");
        let events = |items: &[FeedItem]| items.iter().map(|item| item.event.clone()).collect::<Vec<_>>();
        // Behind the end there is only the end again; the log does not ask for it.
        let expected = events(&whole[(i + 1).min(whole.len() - 1)..]);
        assert_eq!(events(&rest), expected, "after {:?}", item.position);
    }
}

#[tokio::test]
async fn a_recording_that_was_exchanged_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = recording(folder.path());
    let (whole, _) = read(&path, None).await;
    Case::save([&case(150)], path.join("100.json.gz")).unwrap();
    let (items, error) = read(&path, Some(whole[1].position.clone())).await;
    assert!(items.is_empty());
    let error = error.unwrap();
    assert!(
        matches!(error, FeedError::Changed { .. }) && error.is_input(),
        "{error}"
    );
    let (_, error) = read(&path, Some("elsewhere".into())).await;
    assert!(matches!(error, Some(FeedError::Position(_))));
}

#[tokio::test]
async fn a_broken_case_in_the_middle_comes_after_everything_before_it() {
    for (name, content, says) in [
        ("truncated", &b"{\"schema\":\"evm-case/1\",\"id\":"[..], "truncated"),
        ("foreign", &b"{\"hello\":1}"[..], ""),
        ("no json", &b"portcullis"[..], ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = recording(folder.path());
        std::fs::write(path.join("101.json.gz"), content).unwrap();
        let (items, error) = read(&path, None).await;
        assert_eq!(
            outline(&items),
            ["head 99 +0 next 100", "tx", "tx", "tx", "head 100 +3 next ?"],
            "{name}"
        );
        let error = error.unwrap().to_string();
        assert!(error.contains("101.json.gz") && error.contains(says), "{name}: {error}");
        // Once it is mended, the feed goes on there, with the head that was not known before.
        Case::save([&case(101)], path.join("101.json.gz")).unwrap();
        let (rest, error) = read(&path, Some(items.last().unwrap().position.clone())).await;
        assert!(error.is_none());
        assert_eq!(outline(&rest)[..2], ["head 100 +0 next 101", "tx"]);
    }
}

#[tokio::test]
async fn a_broken_signature_names_file_and_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = recording(folder.path());
    let mut json = case(101).to_json();
    json["txs"][1]["r"] = "0x1".into();
    json["txs"][1].as_object_mut().unwrap().remove("raw");
    std::fs::write(path.join("101.json.gz"), json.to_string()).unwrap();
    let (items, error) = read(&path, None).await;
    assert_eq!(items.len(), 5);
    let error = error.unwrap().to_string();
    assert!(error.contains("101.json.gz") && error.contains("/txs/1"), "{error}");
}

#[tokio::test]
async fn real_blocks_replay_transaction_by_transaction() {
    for (name, transactions) in [("46147.json.gz", 1), ("930196.json.gz", 18)] {
        let Some(path) = real_block(name) else { return };
        let (items, error) = read(&path, None).await;
        assert!(error.is_none(), "{error:?}");
        let count = items
            .iter()
            .filter(|item| matches!(item.event, Event::Pending(_)))
            .count();
        assert_eq!(count, transactions, "{name}");
        assert_eq!(items.len(), transactions + 3, "parent, block and end besides");
    }
}
