//! Miners and validators, as the report tells them: what all validators together saw, and what the ledger pays.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use protos::v1::{MinerScore, ValidatorStatusResponse};
use serde::{Deserialize, Serialize};

use super::share;
use crate::localnet::plan::{MinerPlan, Role, ValidatorPlan};

/// Longest latency that the merged histogram tells apart, in microseconds: a minute. Longer ones count as this.
const LATENCY_MAX_US: u64 = 60_000_000;

/// A miner, as all validators together saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Miner {
    /// Its uid.
    pub uid: u32,
    /// How it was told to behave. Nobody in the network knows this.
    pub role: Role,
    /// Challenges that it was sent.
    pub asked: u64,
    /// Answers that came in time and were well-formed.
    pub answered: u64,
    /// Share of its answers that were the truth, 0 to 1; 0 without answers.
    pub accuracy: f64,
    /// Median time from sending to a checked answer, in milliseconds; 0 without a sample.
    pub p50_ms: f64,
    /// 99th percentile of the same.
    pub p99_ms: f64,
    /// Its score, 0 to 1: the mean over validators, weighted by their stake.
    pub score: f64,
    /// Its share of the weights last set, 0 to 1: the mean over validators, weighted by their stake.
    pub weight: f64,
    /// Its share of the last epoch's incentive, 0 to 1, from the ledger.
    pub incentive: f64,
}

/// A validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// Its uid.
    pub uid: u32,
    /// Its stake at the end, in RAO.
    pub stake: u64,
    /// Items that it judged.
    pub judged: u64,
    /// How many of those went to its own engine.
    pub arbitrated: u64,
    /// Items that came again after a restart and were not counted again.
    pub repeated: u64,
    /// Epochs in which the ledger took its weights.
    pub weights_set: u64,
}

/// What the ledger says of one neuron at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Standing {
    /// In RAO.
    pub stake: u64,
    /// Share of the last epoch's incentive, 0 to 1.
    pub incentive: f64,
}

/// How large the subnet was in an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// The ledger's epoch.
    pub epoch: u64,
    /// Neurons that were registered, the owner's among them.
    pub population: u64,
    /// Everybody's stake, in RAO: what was emitted is staked.
    pub supply: u64,
}

impl Growth {
    /// By what the ledger says of every neuron.
    pub(crate) fn of(epoch: u64, standings: &BTreeMap<u32, Standing>) -> Self {
        Self {
            epoch,
            population: standings.len() as u64,
            supply: standings.values().map(|standing| standing.stake).sum(),
        }
    }
}

/// What one validator thinks, and how much that counts.
pub(super) struct View<'a> {
    pub(super) stake: f64,
    pub(super) scores: &'a [MinerScore],
}

/// A miner's line.
pub(super) fn miner(planned: &MinerPlan, views: &[View<'_>], standing: Standing) -> Miner {
    let seen_by = |view: &View<'_>| view.scores.iter().find(|score| score.uid == planned.uid).cloned();
    let scores: Vec<MinerScore> = views.iter().filter_map(seen_by).collect();
    let sum = |field: fn(&MinerScore) -> u64| scores.iter().map(field).sum::<u64>();
    let latency = merged(&scores);
    let quantile = |q: f64| {
        latency
            .as_ref()
            .map_or(0.0, |latency| latency.value_at_quantile(q) as f64 / 1_000.0)
    };
    let stake: f64 = views.iter().map(|view| view.stake).sum();
    let mean = |of: &dyn Fn(&View<'_>) -> f64| {
        if stake > 0.0 {
            views.iter().map(|view| view.stake * of(view)).sum::<f64>() / stake
        } else {
            0.0
        }
    };
    Miner {
        uid: planned.uid,
        role: planned.role,
        asked: sum(|score| score.asked),
        answered: sum(|score| score.answered),
        accuracy: share(sum(|score| score.correct), sum(|score| score.answered)),
        p50_ms: quantile(0.50),
        p99_ms: quantile(0.99),
        score: mean(&|view| seen_by(view).map_or(0.0, |score| score.score)),
        weight: mean(&|view| {
            let all: u64 = view.scores.iter().map(|score| u64::from(score.weight)).sum();
            seen_by(view).map_or(0.0, |score| share(u64::from(score.weight), all))
        }),
        incentive: standing.incentive,
    }
}

/// A validator's line.
pub(super) fn validator(
    planned: &ValidatorPlan,
    status: Option<&ValidatorStatusResponse>,
    standing: Standing,
) -> Validator {
    let of = |field: fn(&ValidatorStatusResponse) -> u64| status.map_or(0, field);
    Validator {
        uid: planned.uid,
        stake: standing.stake,
        judged: of(|status| status.judged),
        arbitrated: of(|status| status.arbitrated),
        repeated: of(|status| status.repeated),
        weights_set: of(|status| status.weights_set),
    }
}

/// All validators' samples of one miner's latency, in microseconds; `None` without any.
fn merged(scores: &[MinerScore]) -> Option<Histogram<u64>> {
    let mut all = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).ok()?;
    for bucket in scores.iter().flat_map(|score| &score.latency) {
        all.saturating_record_n(bucket.micros.clamp(1, LATENCY_MAX_US), bucket.count);
    }
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use protos::v1::LatencyBucket;

    use super::*;

    fn with_latency(buckets: &[(u64, u64)]) -> MinerScore {
        let latency = buckets
            .iter()
            .map(|(micros, count)| LatencyBucket {
                micros: *micros,
                count: *count,
            })
            .collect();
        MinerScore {
            latency,
            ..MinerScore::default()
        }
    }

    #[test]
    fn percentiles_are_of_all_validators_samples_together() {
        let all = merged(&[with_latency(&[(1_000, 98)]), with_latency(&[(900_000, 2)])]).unwrap();
        assert!((990..=1_010).contains(&all.value_at_quantile(0.5)));
        assert!((890_000..=910_000).contains(&all.value_at_quantile(0.99)));
        assert!(merged(&[]).is_none());
        assert_eq!(merged(&[with_latency(&[(u64::MAX, 1), (0, 1)])]).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn merging_loses_no_sample_and_keeps_the_order_of_percentiles(
            buckets in proptest::collection::vec((any::<u64>(), 1u64..1_000), 1..40),
        ) {
            let halves = buckets.split_at(buckets.len() / 2);
            let all = merged(&[with_latency(halves.0), with_latency(halves.1)]).unwrap();
            prop_assert_eq!(all.len(), buckets.iter().map(|(_, count)| count).sum::<u64>());
            prop_assert!(all.value_at_quantile(0.5) <= all.value_at_quantile(0.99));
        }
    }
}
