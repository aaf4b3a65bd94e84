//! Items under way: a bounded number at a time, each recorded once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protos::v1;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::gather::{self, BATCH};
use crate::intake::Intake;
use crate::judge::Judge;
use crate::progress::Progress;
use crate::store::{Judged, Store, StoreError};
use crate::withdrawn::{Why, Withdrawn};

/// A canary comes no later than this after its item.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Judges what comes out of `items`, `concurrency` at a time, and records it, until `shutdown`.
///
/// # Errors
/// The database fails.
pub(crate) async fn run(
    judge: Arc<Judge>,
    store: Store,
    mut items: mpsc::Receiver<Intake>,
    concurrency: usize,
    withdrawn: Arc<Withdrawn>,
    reports: Arc<Notify>,
    shutdown: CancellationToken,
) -> Result<(), StoreError> {
    let standing = store.standing().await?;
    let mut known = store.judged_after_low_water().await?;
    let progress = Arc::new(Mutex::new(Progress::resume(standing.low_water)));
    let turns = Arc::new(Semaphore::new(concurrency));
    let (results, recorded) = mpsc::channel(BATCH * 2);
    let recorder = tokio::spawn(record(store.clone(), recorded, Arc::clone(&progress), reports));
    let tracker = TaskTracker::new();
    let mut seen = None;

    loop {
        let intake = tokio::select! {
            () = shutdown.cancelled() => break,
            intake = items.recv() => match intake { Some(intake) => intake, None => break },
        };
        let cursor = intake.cursor();
        lock(&progress).begin(cursor);
        if known.remove(&cursor) {
            intake.passed(&withdrawn);
            lock(&progress).finish(cursor);
            store.count_repeated().await?;
            continue;
        }
        match intake {
            Intake::Passed(_) => lock(&progress).finish(cursor),
            Intake::Left { tx_hash, .. } => {
                withdrawn.passed(&tx_hash, cursor);
                lock(&progress).finish(cursor);
            }
            Intake::Malformed {
                tx_hash,
                set_version,
                error,
                ..
            } => {
                tracing::error!(cursor, tx = %tx_hash, %error, "the platform sent what cannot be judged");
                if results.send(Ok(malformed(cursor, tx_hash, set_version))).await.is_err() {
                    break;
                }
            }
            Intake::Pending(item) => {
                let turn = tokio::select! {
                    () = shutdown.cancelled() => break,
                    turn = Arc::clone(&turns).acquire_owned() => turn,
                };
                let hash = item.transaction.hash();
                let reason = withdrawn.reason(&hash, cursor);
                withdrawn.passed(&hash, cursor);
                if let Some(why) = reason {
                    drop(turn);
                    metrics::counter!("validator_withdrawn_total").increment(1);
                    tracing::debug!(cursor, tx = %hash, %why, "not judged");
                    if results
                        .send(Ok(skipped(cursor, hash, item.set.version, why)))
                        .await
                        .is_err()
                    {
                        break;
                    }
                    continue;
                }
                let pause = seen
                    .replace(item.seen)
                    .map(|before| item.seen.saturating_duration_since(before));
                let canary = judge.wants_canary();
                let (judge, results) = (Arc::clone(&judge), results.clone());
                if canary {
                    // It takes a turn like an item, and stands at a random place before the next one.
                    let turn = tokio::select! {
                        () = shutdown.cancelled() => break,
                        turn = Arc::clone(&turns).acquire_owned() => turn,
                    };
                    let wait = judge.part_of(pause.unwrap_or_default().min(LONGEST_PAUSE));
                    tracker.spawn(inspect(
                        Arc::clone(&judge),
                        wait,
                        results.clone(),
                        turn,
                        shutdown.clone(),
                    ));
                }
                tracker.spawn(async move {
                    let judged = judge.judge(*item).await;
                    drop(turn);
                    // When the recorder has ended, its error is what ends the validator.
                    let _ended = results.send(judged).await;
                });
            }
        }
        if recorder.is_finished() {
            break;
        }
    }
    // Items under way are not waited for: they are not recorded, so they come again.
    drop(results);
    tracker.close();
    tokio::select! {
        () = tracker.wait() => {}
        () = tokio::time::sleep(Duration::from_secs(2)) => {}
    }
    if recorder.is_finished() || tracker.is_empty() {
        recorder.await.unwrap_or(Ok(()))
    } else {
        Ok(())
    }
}

/// Asks a canary after `wait`. One that cannot be recorded ends the validator, as an item does.
async fn inspect<T>(
    judge: Arc<Judge>,
    wait: Duration,
    results: mpsc::Sender<Result<Judged, StoreError>>,
    turn: T,
    shutdown: CancellationToken,
) {
    let asked = async {
        // A sleep of no length would still wait for the timer's next tick.
        if wait >= Duration::from_millis(1) {
            tokio::time::sleep(wait).await;
        }
        judge.canary().await
    };
    let asked = tokio::select! {
        () = shutdown.cancelled() => return,
        asked = asked => asked,
    };
    drop(turn);
    if let Err(error) = asked {
        let _ended = results.send(Err(error)).await;
    }
}

/// One writer: takes what is judged, as much as there is, and records it in one transaction.
async fn record(
    store: Store,
    mut recorded: mpsc::Receiver<Result<Judged, StoreError>>,
    progress: Arc<Mutex<Progress>>,
    reports: Arc<Notify>,
) -> Result<(), StoreError> {
    loop {
        let batch = gather::next(&mut recorded).await;
        if batch.is_empty() {
            return Ok(());
        }
        let batch = batch.into_iter().collect::<Result<Vec<Judged>, StoreError>>()?;
        let low_water = {
            let mut progress = lock(&progress);
            batch.iter().for_each(|judged| progress.finish(judged.cursor));
            progress.low_water()
        };
        store.record(&batch, low_water).await?;
        metrics::counter!("validator_judged_total").increment(batch.len() as u64);
        reports.notify_one();
    }
}

fn lock(progress: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

fn malformed(cursor: u64, tx_hash: engine::B256, invariant_set_version: u64) -> Judged {
    let report = v1::TransactionReport {
        cursor,
        tx_hash: wire::hash_bytes(tx_hash),
        invariant_set_version,
        ..Default::default()
    };
    Judged {
        cursor,
        arbitrated: false,
        samples: Vec::new(),
        report,
        dispute: None,
    }
}

/// Not asked about, and so neither right nor wrong: only its record is kept.
fn skipped(cursor: u64, tx_hash: engine::B256, invariant_set_version: u64, why: Why) -> Judged {
    let mut judged = malformed(cursor, tx_hash, invariant_set_version);
    judged.report.skipped = why.to_string();
    judged
}

impl Intake {
    fn cursor(&self) -> u64 {
        match self {
            Self::Pending(item) => item.cursor,
            Self::Malformed { cursor, .. } | Self::Passed(cursor) | Self::Left { cursor, .. } => *cursor,
        }
    }

    /// What it says of others in the queue is said.
    fn passed(&self, withdrawn: &Withdrawn) {
        match self {
            Self::Pending(item) => withdrawn.passed(&item.transaction.hash(), item.cursor),
            Self::Left { cursor, tx_hash, .. } => withdrawn.passed(tx_hash, *cursor),
            Self::Malformed { .. } | Self::Passed(_) => {}
        }
    }
}
