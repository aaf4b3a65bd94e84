//! The log as a table: cursors, pages, what is in force, what another process appends.

use std::time::Duration;

use engine::B256;
use platform::log::{Batch, Event, FeedLog, Log, LogError, Progress};
use platform::registry;
use platform::store::{CatalogError, Kind};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use prost::bytes::Bytes;
use protos::v1;
use tokio_util::sync::CancellationToken;

use crate::world::{assigned, batch, for_all, head, hotkey, open, pending, read_all};

fn cursors(items: &[v1::StreamItem]) -> Vec<u64> {
    items.iter().map(|item| item.cursor).collect()
}

const INVARIANT: &str =
    r#"{"contract":"0x1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d","type":">=","target":"1","storage":"0x0"}"#;

#[tokio::test]
async fn each_validator_reads_what_is_for_all_and_what_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    assert_eq!(
        store
            .append(batch(vec![
                for_all(head(1, &[])),
                assigned(1, &[1, 2]),
                assigned(2, &[2])
            ]))
            .await
            .unwrap(),
        3
    );
    assert_eq!(
        store
            .append(batch(vec![assigned(3, &[1]), for_all(head(2, &[1]))]))
            .await
            .unwrap(),
        5
    );

    assert_eq!(cursors(&read_all(store.as_ref(), &hotkey(1)).await), [1, 2, 4, 5]);
    assert_eq!(cursors(&read_all(store.as_ref(), &hotkey(2)).await), [1, 2, 3, 5]);
    assert_eq!(cursors(&read_all(store.as_ref(), &hotkey(3)).await), [1, 5]);
    let items = read_all(store.as_ref(), &hotkey(2)).await;
    assert_eq!(items[2].event, Some(Event::Pending(pending(2))));
}

#[tokio::test]
async fn what_is_in_force_at_a_cursor_is_the_last_head_and_the_last_set_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store.publish_first_set().await.unwrap();
    store
        .append(batch(vec![for_all(head(1, &[])), assigned(1, &[1])]))
        .await
        .unwrap();
    store
        .add_invariants(&registry::parse(INVARIANT).unwrap())
        .await
        .unwrap();
    store.append(batch(vec![for_all(head(2, &[]))])).await.unwrap();
    let at = async |cursor| cursors(&store.in_force(cursor).await.unwrap());
    assert_eq!(at(0).await, [0u64; 0]);
    assert_eq!(at(1).await, [1]);
    assert_eq!(at(3).await, [1, 2]);
    assert_eq!(at(4).await, [2, 4]);
    assert_eq!(at(u64::MAX).await, [4, 5]);
}

#[tokio::test]
async fn a_long_log_is_read_in_pages_without_gap_or_repetition() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for start in (0..1000).step_by(100) {
        store
            .append(batch(
                (start..start + 100).map(|n| assigned(n, &[(n % 3) as u8])).collect(),
            ))
            .await
            .unwrap();
    }
    for n in 0..3u8 {
        let items = read_all(store.as_ref(), &hotkey(n)).await;
        let expected: Vec<u64> = (0..1000).filter(|i| i % 3 == u64::from(n)).map(|i| i + 1).collect();
        assert_eq!(cursors(&items), expected);
    }
    // A page is short in bytes too: 3 items of 2 MiB do not come at once.
    let big = |n| {
        let mut entry = assigned(n, &[7]);
        if let Event::Pending(pending) = &mut entry.event {
            pending.transaction.as_mut().unwrap().raw = Bytes::from(vec![0; 2 << 20]);
        }
        entry
    };
    store
        .append(batch(vec![big(2000), big(2001), big(2002)]))
        .await
        .unwrap();
    let page = store.page(&hotkey(7), 0).await.unwrap();
    assert_eq!((cursors(&page.items), page.through), (vec![1001, 1002], 1002));
}

#[tokio::test]
async fn a_batch_of_a_feed_that_is_elsewhere_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (open(folder.path()).await, open(folder.path()).await);
    let from = |from: Option<&str>, to: &str, n| Batch {
        progress: Some(Progress {
            feed: "f".into(),
            from: from.map(str::to_owned),
            to: to.to_owned(),
            ended: false,
        }),
        ..batch(vec![assigned(n, &[1])])
    };
    ours.append(from(None, "a", 1)).await.unwrap();
    theirs.append(from(Some("a"), "b", 2)).await.unwrap();
    let error = ours.append(from(Some("a"), "b", 2)).await.unwrap_err();
    assert!(matches!(error, LogError::Overtaken { .. }), "{error}");
    assert_eq!(cursors(&read_all(ours.as_ref(), &hotkey(1)).await), [1, 2]);
    assert_eq!(ours.position("f").await.unwrap(), Some(("b".to_owned(), false)));
}

#[tokio::test]
async fn bytecode_is_kept_once_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let code = |n: u8| v1::Code {
        hash: wire::hash_bytes(B256::repeat_byte(n)),
        bytecode: vec![n].into(),
    };
    for codes in [vec![code(1), code(1)], vec![code(1), code(2)]] {
        store
            .append(Batch {
                codes,
                ..Batch::default()
            })
            .await
            .unwrap();
    }
    let both = [B256::repeat_byte(2), B256::repeat_byte(1)];
    assert_eq!(store.codes(&both).await.unwrap(), [code(2), code(1)]);
    let error = store.codes(&[B256::repeat_byte(3)]).await.unwrap_err().to_string();
    assert!(error.contains(&B256::repeat_byte(3).to_string()), "{error}");
}

#[tokio::test]
async fn a_change_by_another_process_is_logged_once_and_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (running, command) = (open(folder.path()).await, open(folder.path()).await);
    running.publish_first_set().await.unwrap();
    let mut grown = running.grown();
    let end = CancellationToken::new();
    let watching = tokio::spawn({
        let (running, end) = (running.clone(), end.clone());
        async move { running.watch_growth(end).await }
    });
    let ids = command
        .add_invariants(&registry::parse(INVARIANT).unwrap())
        .await
        .unwrap();
    assert_eq!(ids, [1]);
    command.remove_invariant(1).await.unwrap();
    let gone = command.remove_invariant(1).await;
    assert!(
        matches!(gone, Err(CatalogError::Unknown(Kind::Invariant, 1))),
        "{gone:?}"
    );
    // An id is never used again.
    assert_eq!(
        command
            .add_invariants(&registry::parse(INVARIANT).unwrap())
            .await
            .unwrap(),
        [2]
    );
    tokio::time::timeout(Duration::from_secs(60), grown.wait_for(|last| *last == 4))
        .await
        .unwrap()
        .unwrap();

    let sets: Vec<(u64, Vec<u64>)> = read_all(running.as_ref(), &hotkey(1))
        .await
        .into_iter()
        .filter_map(|item| match item.event {
            Some(Event::InvariantSet(set)) => Some((set.version, set.invariants.iter().map(|i| i.id).collect())),
            _ => None,
        })
        .collect();
    assert_eq!(sets, [(0, vec![]), (1, vec![1]), (2, vec![]), (3, vec![2])]);
    assert_eq!(running.invariant_set().await.unwrap().0, 3);
    end.cancel();
    watching.await.unwrap().unwrap();
}

#[test]
fn whatever_is_appended_by_whomever_cursors_rise_by_one() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let steps = proptest::collection::vec((0u8..3, 1usize..5), 1..12);
    TestRunner::new(ProptestConfig::with_cases(12))
        .run(&steps, |steps| {
            runtime.block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let handles = [open(folder.path()).await, open(folder.path()).await];
                let mut expected = 0;
                for (i, (what, n)) in steps.into_iter().enumerate() {
                    let store = &handles[i % 2];
                    expected += match what {
                        0 => {
                            let entries = (0..n).map(|j| assigned((i * 10 + j) as u64, &[1])).collect();
                            store.append(batch(entries)).await.unwrap();
                            n as u64
                        }
                        1 => {
                            store.append(batch(vec![for_all(head(i as u64, &[]))])).await.unwrap();
                            1
                        }
                        _ => {
                            store
                                .add_invariants(&registry::parse(INVARIANT).unwrap())
                                .await
                                .unwrap();
                            1
                        }
                    };
                }
                let items = read_all(handles[0].as_ref(), &hotkey(1)).await;
                prop_assert_eq!(cursors(&items), (1..=expected).collect::<Vec<_>>());
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_logged_again_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    store
        .append(batch(vec![assigned(1, &[1, 2]), assigned(2, &[1]), assigned(1, &[3])]))
        .await
        .unwrap();
    let status = store.status(None).await.unwrap();
    assert_eq!((status.transactions, status.assigned, status.last_cursor), (2, 4, 3));
}
