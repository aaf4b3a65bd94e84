//! The follower's side of recording: what is begun, what came of it, and what is logged then.

use std::sync::Arc;

use engine::{B256, Transaction};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::super::record::{Recorded, Unreadable};
use super::super::status::Count;
use super::{Closed, Done, Follower};

impl Follower {
    /// Logs a transaction without its state, if it was not logged yet.
    pub(super) async fn flush(&mut self, hash: B256) -> Result<(), Closed> {
        let (Some(transaction), Some(newest)) = (self.unlogged.remove(&hash), self.newest) else {
            return Ok(());
        };
        self.parts.status.count(Count::WithoutPrestate, 1);
        self.give_pending(&transaction, &[], newest.hash, None).await
    }

    /// Queues transactions that wait, and whose items are not good any more.
    pub(super) fn record_again(&mut self, hashes: Vec<B256>) {
        for hash in hashes {
            if let Some(held) = self.pool.get_mut(&hash) {
                held.recorded = None;
                self.again.push_back(hash);
            }
        }
    }

    pub(super) fn begin_recording(&mut self, recording: &mut FuturesUnordered<BoxFuture<'static, Done>>) {
        let Some(newest) = self.newest else { return };
        while recording.len() < self.parts.options.recordings {
            let next = match self.first.pop_front() {
                Some(hash) => self
                    .unlogged
                    .get(&hash)
                    .map(|transaction| (hash, Arc::clone(transaction))),
                None => match self.again.pop_front() {
                    // What is good already was queued twice.
                    Some(hash) => self
                        .pool
                        .get(&hash)
                        .filter(|held| held.recorded.is_none())
                        .map(|held| (hash, Arc::clone(&held.transaction))),
                    None => return,
                },
            };
            let Some((hash, transaction)) = next else { continue };
            if !self.under_way.insert(hash) {
                continue;
            }
            let predecessors = self.predecessors(&hash);
            let limit = self.parts.options.record_deadline;
            let deadline = Instant::now() + limit;
            let recorded = self.parts.state.record(
                newest.hash,
                predecessors.clone(),
                transaction,
                Arc::clone(&self.watched),
                deadline.into_std(),
            );
            recording.push(Box::pin(async move {
                let late = |_| {
                    Err(Unreadable(format!(
                        "not read within {}",
                        humantime::format_duration(limit)
                    )))
                };
                let recorded = tokio::time::timeout_at(deadline, recorded).await.unwrap_or_else(late);
                (hash, newest.hash, predecessors, recorded)
            }));
        }
    }

    /// The state that a transaction reads was read, or could not be.
    pub(super) async fn recorded(&mut self, (hash, head, predecessors, result): Done) -> Result<(), Closed> {
        self.under_way.remove(&hash);
        let unlogged = self.unlogged.remove(&hash);
        let current = !self.outdated.remove(&hash);
        let is_newest = current && self.newest.is_some_and(|newest| newest.hash == head);
        if let Some(transaction) = unlogged {
            let prestate = match &result {
                Ok(recorded) => Some(recorded.prestate.clone()),
                Err(Unreadable(reason)) => {
                    tracing::debug!(tx = %hash, reason, "logged without its state");
                    self.parts.status.count(Count::WithoutPrestate, 1);
                    None
                }
            };
            let logged = prestate.as_ref().map(engine::Prestate::digest);
            self.give_pending(&transaction, going_before(&predecessors, &result), head, prestate)
                .await?;
            self.keep(hash, &predecessors, result.ok().filter(|_| is_newest), logged);
            if !is_newest {
                self.again.push_back(hash);
            }
            self.look_before(&hash);
            return Ok(());
        }
        let Some(held) = self.pool.get(&hash) else {
            return Ok(());
        };
        if !is_newest {
            self.again.push_back(hash);
            return Ok(());
        }
        let (transaction, before, alone) = (Arc::clone(&held.transaction), held.logged, held.behind == 0);
        let going = going_before(&predecessors, &result);
        match &result {
            Ok(recorded) => {
                let digest = recorded.prestate.digest();
                // Only where what was read before is not known any more: after a restart.
                if before == Some(digest) && !recorded.reads_environment && alone {
                    self.parts.status.count(Count::CarriedOver, 1);
                } else {
                    self.parts.status.count(Count::Rejudged, 1);
                    let prestate = recorded.prestate.clone();
                    self.give_pending(&transaction, going, head, Some(prestate)).await?;
                }
                self.keep(hash, &predecessors, result.ok(), Some(digest));
            }
            Err(Unreadable(reason)) => {
                // Once: its last item is not good any more. With each head it is tried again.
                if before.is_some() {
                    tracing::debug!(tx = %hash, reason, "logged again without its state");
                    self.parts.status.count(Count::WithoutPrestate, 1);
                    self.give_pending(&transaction, going, head, None).await?;
                }
                self.keep(hash, &predecessors, None, None);
            }
        }
        self.look_before(&hash);
        Ok(())
    }

    pub(super) fn keep(
        &mut self,
        hash: B256,
        predecessors: &[Arc<Transaction>],
        recorded: Option<Recorded>,
        logged: Option<B256>,
    ) {
        if let Some(held) = self.pool.get_mut(&hash) {
            held.behind = recorded.as_ref().map_or(0, |recorded| recorded.behind);
            held.before = predecessors.iter().map(|predecessor| predecessor.hash()).collect();
            held.recorded = recorded.map(Recorded::rule);
            held.logged = logged;
        }
    }
}

/// Those of the predecessors that go before a transaction, by what was recorded; all, where nothing could be.
fn going_before<'a>(
    predecessors: &'a [Arc<Transaction>],
    recorded: &Result<Recorded, Unreadable>,
) -> &'a [Arc<Transaction>] {
    let behind = recorded.as_ref().map_or(predecessors.len(), |recorded| recorded.behind);
    predecessors
        .get(predecessors.len().saturating_sub(behind)..)
        .unwrap_or_default()
}
