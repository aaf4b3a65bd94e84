//! Measuring, tick by tick, beside everything else.
//!
//! What always holds: the peers of the newest view are measured, and those of the one before while no newer comes; rows that the database
//! does not take wait for it, the oldest going first when they are too many; a tick that is late is made once, not once for each that was
//! missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use defence::notice::{Notice, Notices};
use defence::violation::Severity;
use node::clock;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::clock::Seen;
use crate::config::MeasureConfig;
use crate::health::Health;
use crate::manager::Duty;
use crate::probe::{Peer, Prober, Tick};
use crate::rule::measure::Outcome;
use crate::store::{Sample, Store};

/// Ticks that wait for the database at most.
const WAITING: usize = 288;

/// Whom to measure, and the chain's time.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The newest block's time, and when it was seen.
    pub seen: Seen,
    /// The duties then.
    pub duties: Arc<Vec<Duty>>,
}

/// Measures.
#[derive(Debug)]
pub struct Measurer {
    /// How often, and how long rows are kept.
    pub config: MeasureConfig,
    /// Probes.
    pub prober: Prober,
    /// Where rows go.
    pub store: Store,
    /// Whom to measure.
    pub sights: watch::Receiver<Option<Sight>>,
    /// Where the newest tick is shown.
    pub health: Health,
    /// Who is told.
    pub notices: Notices,
    /// What the database has not taken yet, tick by tick.
    pub waiting: VecDeque<Vec<Sample>>,
}

impl Measurer {
    /// Measures at once, and then at every period, until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let first = tokio::select! {
            () = shutdown.cancelled() => return,
            first = self.sights.wait_for(Option::is_some) => first.is_ok(),
        };
        if !first {
            return;
        }
        let mut ticks = tokio::time::interval(self.config.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let Some(sight) = self.sights.borrow().clone() else {
                continue;
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.tick(&sight) => {}
            }
        }
        if !self.waiting.is_empty() {
            self.write().await;
        }
    }

    async fn tick(&mut self, sight: &Sight) {
        let begun = Instant::now();
        let (at, wall) = (sight.seen.time(begun), clock::unix_ms());
        let peers: Vec<Peer> = sight.duties.iter().map(|duty| duty.peer.clone()).collect();
        match self.prober.tick(&peers, at, wall).await {
            Tick::Offline => self.offline(wall),
            Tick::Measured(samples) => {
                self.measured(&samples, at, wall);
                if !samples.is_empty() {
                    self.waiting.push_back(samples);
                }
            }
        }
        metrics::histogram!("audit_tick_seconds").record(begun.elapsed().as_secs_f64());
        self.write().await;
        let oldest = at.saturating_sub(self.config.keep.as_secs());
        match self.store.forget_samples(oldest).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "old samples are removed"),
            Err(error) => tracing::warn!(%error, "old samples cannot be removed"),
        }
    }

    fn offline(&self, wall: u64) {
        metrics::counter!("audit_offline_ticks_total").increment(1);
        let mut since = None;
        self.health.update(|shown| {
            since = shown.offline_since_ms;
            shown.offline_since_ms.get_or_insert(wall);
        });
        if since.is_none() {
            tracing::warn!("no reference is reached: this auditor is offline itself, and measures nobody");
        }
    }

    fn measured(&self, samples: &[Sample], at: u64, wall: u64) {
        let count = |outcome: Outcome| samples.iter().filter(|sample| sample.row.outcome == outcome).count();
        let tick = (count(Outcome::Up), count(Outcome::Down), count(Outcome::Unknown));
        for (name, count) in [("up", tick.0), ("down", tick.1), ("unknown", tick.2)] {
            metrics::counter!("audit_samples_total", "outcome" => name).increment(count as u64);
        }
        for sample in samples.iter().filter(|sample| sample.row.outcome != Outcome::Up) {
            tracing::info!(
                peer = sample.subject,
                outcome = name(sample.row.outcome),
                step = sample.step,
                reason = sample.reason,
                "a peer does not do its work"
            );
        }
        let mut back = false;
        self.health.update(|shown| {
            back = shown.offline_since_ms.take().is_some();
            shown.measured_at = at;
            shown.measured_ms = wall;
            shown.tick = tick;
        });
        if back {
            tracing::info!("a reference is reached again");
        }
    }

    /// Writes what waits, the oldest tick first.
    async fn write(&mut self) {
        let waited = self.waiting.len() > 1;
        while let Some(samples) = self.waiting.front() {
            match self.store.add_samples(samples).await {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(error) => {
                    tracing::error!(%error, ticks = self.waiting.len(), "samples cannot be written; they wait");
                    self.health.error(&error.to_string());
                    if self.waiting.len() == 1 {
                        self.notices.tell(Notice {
                            severity: Severity::High,
                            subject: "samples cannot be written; they wait in memory".to_owned(),
                            text: error.to_string(),
                        });
                    }
                    break;
                }
            }
        }
        if self.waiting.len() > WAITING
            && let Some(lost) = self.waiting.pop_front()
        {
            metrics::counter!("audit_samples_lost_total").increment(lost.len() as u64);
            tracing::error!(
                samples = lost.len(),
                "too many samples wait for the database; the oldest tick is lost"
            );
        }
        let unwritten = self.waiting.iter().map(Vec::len).sum();
        if waited && unwritten == 0 {
            tracing::info!("the samples that waited are written");
        }
        self.health.update(|shown| shown.unwritten = unwritten);
    }
}

/// An outcome's name in logs, tables and files.
#[must_use]
pub const fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Up => "up",
        Outcome::Down => "down",
        Outcome::Unknown => "unknown",
    }
}
