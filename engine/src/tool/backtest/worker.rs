//! One thread's work: a case from its first transaction to its last, with an engine of its own.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use engine::{Engine, Options, Outcome, Replay, Watched, case::Case, replay::ReplayError};
use hdrhistogram::Histogram;

use super::{
    Progress,
    tally::{At, CaseTally, Mismatch},
};
use crate::tool::{exit::Failure, invariants::Invariants};

/// Transactions between two looks at whether to stop, and two signs of progress.
const STRIDE: usize = 16;

/// How long judging took, in nanoseconds.
pub(super) struct Latency(Histogram<u64>);

impl Latency {
    /// From a nanosecond to a minute, three digits.
    pub(super) fn new() -> Result<Self, Failure> {
        let minute = 60_000_000_000;
        Histogram::new_with_bounds(1, minute, 3)
            .map(Self)
            .map_err(|error| Failure::Machine(error.to_string()))
    }

    pub(super) fn add(&mut self, other: &Self) -> Result<(), Failure> {
        self.0
            .add(&other.0)
            .map_err(|error| Failure::Machine(error.to_string()))
    }

    fn record(&mut self, took: Duration) {
        self.0
            .saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Microseconds that this share (0 to 1) of the transactions did not exceed.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        micros(self.0.value_at_quantile(share))
    }

    pub(super) fn max(&self) -> f64 {
        micros(self.0.max())
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.mean() / 1000.0
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of at most a minute")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

pub(super) struct Worker<'a> {
    invariants: &'a Invariants,
    places: HashMap<u64, usize>,
    progress: &'a Progress,
    stop: &'a AtomicBool,
    engine: Option<Engine>,
    latency: Latency,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        invariants: &'a Invariants,
        progress: &'a Progress,
        stop: &'a AtomicBool,
    ) -> Result<Self, Failure> {
        let ids = invariants.set.watched().iter().map(Watched::id);
        Ok(Self {
            places: ids.zip(0..).collect(),
            invariants,
            progress,
            stop,
            engine: None,
            latency: Latency::new()?,
        })
    }

    pub(super) fn into_latency(self) -> Latency {
        self.latency
    }

    /// Judges each transaction of a case on what the ones before it left.
    pub(super) fn case(&mut self, case: Case) -> Result<CaseTally, Failure> {
        let mut tally = CaseTally {
            id: case.id.clone(),
            block: case.block.number,
            ..CaseTally::default()
        };
        let block_hash = case.block_hash;
        let watched = self.invariants.set.watched();
        let options = Options {
            warnings: true,
            ..Options::default()
        };
        let mut outcome = Outcome::default();
        let mut replay = Replay::new(case);
        if let Some(engine) = self.engine.take() {
            replay = replay.with_engine(engine);
        }
        let env = replay.env().clone();
        let mut since_progress = 0;
        loop {
            if since_progress == STRIDE {
                since_progress = 0;
                self.progress.judged(STRIDE as u64);
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(tally);
                }
            }
            let started = Instant::now();
            let Some(judged) = replay.judge_next(&self.invariants.set, &options, &mut outcome) else {
                break;
            };
            self.latency.record(started.elapsed());
            since_progress += 1;
            let judged = match judged {
                Ok(judged) => judged,
                Err(error @ ReplayError::Undecided { .. }) => {
                    tally.ends(&outcome, error.to_string());
                    break;
                }
                Err(error) => return Err(Failure::Machine(format!("{}: {error}", tally.id))),
            };
            let at = At {
                case: tally.id.clone(),
                block: env.number,
                index: judged.index,
                tx: judged.transaction.hash(),
                sender: judged.transaction.sender(),
            };
            let place = |id| {
                let place = *self.places.get(&id)?;
                Some((place, watched.get(place)?))
            };
            tally.outcome(&at, block_hash, &outcome, place);
            if let (Some(expected), Some(execution)) = (judged.expected, &outcome.execution) {
                let mismatch = (!expected.agrees(execution)).then(|| Mismatch {
                    at,
                    recorded_gas: expected.gas_used,
                    gas: execution.gas_used,
                    status: execution.status.to_string(),
                });
                tally.compared(mismatch);
            }
        }
        self.progress.judged(since_progress as u64);
        self.engine = Some(replay.into_engine());
        Ok(tally)
    }
}
