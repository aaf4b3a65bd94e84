//! From a feed into the log: at its pace, in batches, each transaction assigned.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{AHEAD, Feed, FeedError, FeedItem};
use crate::assignment::assign;
use crate::log::{Batch, Entry, Event, FeedLog, Progress};
use crate::validators::Validators;

/// The most items that are appended together.
const BATCH: usize = AHEAD;

/// How transactions are distributed.
#[derive(Debug, Clone, Copy)]
pub struct Distribution {
    /// How many validators judge each transaction.
    pub replicas: usize,
    /// How many must have a stream open before the feed starts.
    pub min_validators: usize,
}

/// Runs `feed` into `log` until it ends, fails, or `shutdown`. It goes on where the log says that it stopped.
///
/// # Errors
/// [`FeedError`]; what came before the error is logged.
pub async fn pump(
    feed: Box<dyn Feed>,
    log: Arc<dyn FeedLog>,
    validators: Arc<Validators>,
    distribution: Distribution,
    shutdown: CancellationToken,
) -> Result<(), FeedError> {
    let name = feed.name().to_owned();
    let mut position = match log.position(&name).await? {
        Some((_, true)) => {
            tracing::info!(feed = name, "the recording was read to its end before");
            return Ok(());
        }
        Some((position, false)) => Some(position),
        None => None,
    };
    tokio::select! {
        () = validators.at_least(distribution.min_validators) => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    tracing::info!(
        feed = name,
        position = position.as_deref().unwrap_or("beginning"),
        "the feed starts"
    );
    let (sender, mut items) = mpsc::channel(AHEAD);
    feed.start(position.clone(), sender);

    let mut pending: Option<FeedItem> = None;
    // The feed's time 0 on our clock, set by its first item.
    let mut origin: Option<Instant> = None;
    loop {
        let first = match pending.take() {
            Some(item) => item,
            None => tokio::select! {
                item = items.recv() => item.ok_or(FeedError::Died)??,
                () = shutdown.cancelled() => return Ok(()),
            },
        };
        let start = *origin.get_or_insert_with(|| Instant::now().checked_sub(first.due).unwrap_or_else(Instant::now));
        tokio::select! {
            () = tokio::time::sleep_until(start + first.due) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let (batch, failed) = collect(first, &mut items, start, &mut pending);

        // Streams may all have closed meanwhile; what is due then still goes to validators of the metagraph.
        let candidates = tokio::select! {
            candidates = validators.candidates() => candidates,
            () = shutdown.cancelled() => return Ok(()),
        };
        let ended = batch.iter().any(|item| matches!(item.event, Event::FeedEnded(_)));
        let to = batch.last().map(|item| item.position.clone()).unwrap_or_default();
        let progress = Progress {
            feed: name.clone(),
            from: position,
            to: to.clone(),
            ended,
        };
        // From its first sight to its place in the log: a transaction's trace begins here.
        let traced: Vec<_> = batch.iter().filter_map(|item| begin_trace(item, start)).collect();
        log.append(assigned(batch, &candidates, distribution.replicas, progress))
            .await?;
        drop(traced);
        position = Some(to);

        if let Some(error) = failed {
            return Err(error);
        }
        if ended {
            tracing::info!(feed = name, "the feed has ended");
            return Ok(());
        }
    }
}

/// The items that are due together with the first one; what is not due yet is put into `pending`, an error comes last.
fn collect(
    first: FeedItem,
    items: &mut mpsc::Receiver<Result<FeedItem, FeedError>>,
    start: Instant,
    pending: &mut Option<FeedItem>,
) -> (Vec<FeedItem>, Option<FeedError>) {
    let mut batch = vec![first];
    let now = Instant::now();
    while batch.len() < BATCH {
        match items.try_recv() {
            Ok(Ok(item)) if start + item.due <= now => batch.push(item),
            Ok(Ok(item)) => {
                *pending = Some(item);
                break;
            }
            Ok(Err(error)) => return (batch, Some(error)),
            Err(_) => break,
        }
    }
    (batch, None)
}

fn transaction_hash(item: &FeedItem) -> Option<engine::B256> {
    match &item.event {
        Event::Pending(pending) => wire::transaction_hash(pending.transaction.as_ref()?).ok(),
        _ => None,
    }
}

fn begin_trace(item: &FeedItem, start: Instant) -> Option<node::trace::Span<'static>> {
    let span = node::trace::transaction(transaction_hash(item)?);
    Some(span.began_before(item.seen.unwrap_or(start + item.due).elapsed()))
}

fn assigned(items: Vec<FeedItem>, candidates: &[[u8; 32]], replicas: usize, progress: Progress) -> Batch {
    let mut batch = Batch {
        entries: Vec::with_capacity(items.len()),
        codes: Vec::new(),
        progress: Some(progress),
    };
    let mut transactions = 0;
    for item in items {
        let tx_hash = transaction_hash(&item);
        batch.codes.extend(item.codes);
        transactions += u64::from(tx_hash.is_some());
        let assigned = tx_hash
            .map(|hash| assign(hash, candidates, replicas))
            .unwrap_or_default();
        batch.entries.push(Entry {
            event: item.event,
            assigned,
        });
    }
    metrics::counter!("platform_transactions_total").increment(transactions);
    batch
}
