//! A process that dies at any point and starts again: the log is as if nothing had happened.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use platform::feed::pace::Pace;
use platform::feed::pump::{Distribution, pump};
use platform::feed::replay::ReplayFeed;
use platform::log::{Batch, FeedLog, LogError, LogFuture, Waiting};
use platform::store::Store;
use platform::validators::Validators;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use protos::v1;
use tokio_util::sync::CancellationToken;

use crate::world::{open, permitted, read_all, recording};

/// Dies at its n-th append: before it is written, or after it is written and before anybody learns of it.
#[derive(Debug)]
struct Mortal {
    store: Arc<Store>,
    left: AtomicUsize,
    after_commit: bool,
}

impl FeedLog for Mortal {
    fn append(&self, batch: Batch) -> LogFuture<'_, u64> {
        Box::pin(async move {
            if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                if self.after_commit {
                    self.store.append(batch).await?;
                }
                return Err(LogError::Malformed {
                    what: "the process died".into(),
                });
            }
            self.store.append(batch).await
        })
    }
    fn position<'a>(&'a self, feed: &'a str) -> LogFuture<'a, Option<(String, bool)>> {
        self.store.position(feed)
    }
    fn waiting(&self, limit: usize) -> LogFuture<'_, Vec<Waiting>> {
        self.store.waiting(limit)
    }
}

/// Feeds the recording until it ends or the log dies at its `appends`-th append; true when it ended.
async fn feed(path: &Path, folder: &Path, appends: usize, after_commit: bool) -> bool {
    let store = open(folder).await;
    let log = Arc::new(Mortal {
        store,
        left: AtomicUsize::new(appends),
        after_commit,
    });
    let validators = Validators::new([]);
    validators.update(permitted(1..=3));
    // Not at full speed, where a whole recording is a batch or two: nearly each event is an append, and a point to die at.
    let feed = Box::new(ReplayFeed::open(path, Pace::PerSecond(500.0)).unwrap());
    let distribution = Distribution {
        replicas: 2,
        min_validators: 0,
    };
    let ended = pump(feed, log, validators, distribution, CancellationToken::new()).await;
    // The store is dropped without being closed, with whatever was under way.
    ended.is_ok()
}

async fn contents(folder: &Path) -> Vec<Vec<v1::StreamItem>> {
    let store = open(folder).await;
    let mut all = Vec::new();
    for hotkey in permitted(1..=3) {
        all.push(read_all(store.as_ref(), &hotkey).await);
    }
    all
}

#[test]
fn whenever_it_dies_the_log_comes_out_the_same() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = recording(place.path());
    let uninterrupted = runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        assert!(feed(&path, folder.path(), usize::MAX, false).await);
        contents(folder.path()).await
    });
    // 15 events; of the 9 transactions each goes to two of three validators.
    let assigned: usize = uninterrupted
        .iter()
        .flatten()
        .filter(|i| matches!(i.event, Some(v1::stream_item::Event::Pending(_))))
        .count();
    assert_eq!(assigned, 18);
    let deaths = proptest::collection::vec((1usize..10, any::<bool>()), 1..5);
    TestRunner::new(ProptestConfig::with_cases(16))
        .run(&deaths, |deaths| {
            runtime.block_on(async {
                let folder = tempfile::tempdir().unwrap();
                for (appends, after_commit) in deaths {
                    feed(&path, folder.path(), appends, after_commit).await;
                }
                prop_assert!(feed(&path, folder.path(), usize::MAX, false).await);
                prop_assert_eq!(contents(folder.path()).await, uninterrupted.clone());
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn a_feed_that_has_ended_adds_nothing_when_it_starts_again() {
    let place = tempfile::tempdir().unwrap();
    let path = recording(place.path());
    assert!(feed(&path, place.path(), usize::MAX, false).await);
    let once = contents(place.path()).await;
    assert!(feed(&path, place.path(), usize::MAX, false).await);
    assert_eq!(contents(place.path()).await, once);
    let store = open(place.path()).await;
    let name = format!("replay:{}", path.canonicalize().unwrap().display());
    let status = store.status(Some(&name)).await.unwrap();
    assert!(status.feed_ended);
    assert_eq!((status.transactions, status.assigned, status.last_cursor), (9, 18, 15));
}
