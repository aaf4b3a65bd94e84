//! What a miner's work is worth, as whoever runs the community computes it: the subnet's validators have the rule, not this room.

use crate::arena::{Measured, percentile};

/// What one validator saw of a miner in one ceremony, and what is known of it beyond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Challenges sent to it.
    pub asked: u64,
    /// Answers in time.
    pub answered: u64,
    /// Answers that are the truth.
    pub correct: u64,
    /// Challenges in which something was violated.
    pub violating: u64,
    /// Of those, the answers that are the truth.
    pub found: u64,
    /// 99th percentile of the latency in microseconds, the way to this validator included.
    pub l99: Option<u64>,
    /// Challenges sent to it since it came.
    pub known_asked: u64,
    /// Challenges in which something was violated, in the ceremonies that are remembered.
    pub known_violating: u64,
    /// Of those, the answers that are the truth.
    pub known_found: u64,
}

impl Sample {
    /// What a validator saw whose link to the miner takes `link` microseconds; `known` are the sums over what is remembered.
    pub fn new(measured: &Measured, link: u64, known: Known) -> Self {
        Self {
            asked: measured.asked,
            answered: measured.answered,
            correct: measured.correct,
            violating: measured.violating,
            found: measured.found,
            l99: percentile(&measured.latencies, 99).map(|latency| latency + link),
            known_asked: known.asked,
            known_violating: known.violating,
            known_found: known.found,
        }
    }
}

/// What is known of a miner beyond one ceremony.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Challenges since it came.
    pub asked: u64,
    /// With a violation, in the ceremonies that are remembered.
    pub violating: u64,
    /// Of those, found.
    pub found: u64,
}

/// The rule of the score.
pub trait Scoring: Send + Sync {
    /// What a sample is worth, 0 or more; none when it shows nothing.
    fn score(&self, sample: &Sample) -> Option<f64>;

    /// The moving average after a ceremony.
    fn smooth(&self, before: f64, score: Option<f64>) -> f64;
}
