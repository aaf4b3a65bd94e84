//! `/v1/miners` and `/v1/validators`: the metagraph as it is, with scores and latencies over time.
//!
//! Incentives, dividends and trust are the ledger's, epoch by epoch. Scores, answers and latencies of miners are what validators tell
//! the platform; latencies of validators are what the platform measures, from the log to the report.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::paging::{Page, Paged, Paging};
use super::problem::Problem;
use super::{Reading, slot_of, ss58};
use crate::rest::{Rest, date};
use crate::standing::percentile_of;
use crate::store::{Epoch, NeuronRow, Told};

/// Points of a curve.
const POINTS: u64 = 60;
/// Epochs that are shown.
const EPOCHS: u32 = 60;
/// How far back windows are looked at.
const BACK_MS: u64 = 6 * 3600 * 1000;
/// The shortest step of a curve.
const STEP_MS: u64 = 20_000;
/// Reports whose times are looked at.
const REPORTS: u32 = 5_000;

/// A miner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MinerView {
    /// Its number.
    pub uid: u16,
    /// Its hotkey, ss58.
    pub hotkey: String,
    /// Where it serves.
    pub axon: Option<String>,
    /// RAO.
    pub stake: u64,
    /// Its share of the miners' reward, 0 to 1.
    pub incentive: f64,
    /// Median of the weights on it, 0 to 1.
    pub consensus: f64,
    /// RAO paid at the last epoch.
    pub emission: u64,
    /// The validators' mean score of it, 0 to 1.
    pub score: Option<f64>,
    /// In the last six hours: challenges sent to it.
    pub asked: u64,
    /// Answers in time.
    pub answered: u64,
    /// Answers that were the truth.
    pub correct: u64,
    /// Half of its newest answers were faster, microseconds.
    pub p50_us: Option<u64>,
    /// 99 of a hundred were, as the validator says that saw it slowest.
    pub p99_us: Option<u64>,
    /// Its incentive at each epoch.
    pub incentives: Vec<Point>,
    /// Its score over time.
    pub scores: Vec<Point>,
    /// Its 99th percentile over time, microseconds.
    pub latencies: Vec<Point>,
}

/// A validator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ValidatorView {
    /// Its number.
    pub uid: u16,
    /// Its hotkey, ss58.
    pub hotkey: String,
    /// Whether its weights are recent enough to count.
    pub active: bool,
    /// RAO.
    pub stake: u64,
    /// Its share of the validators' reward, 0 to 1.
    pub dividends: f64,
    /// Share of its weights that the consensus left standing, 0 to 1.
    pub trust: f64,
    /// RAO paid at the last epoch.
    pub emission: u64,
    /// Of the platform's newest 5,000 reports: how many are its.
    pub reports: u64,
    /// From the log to its report: half were faster, milliseconds.
    pub p50_ms: Option<u64>,
    /// 99 of a hundred were.
    pub p99_ms: Option<u64>,
    /// Its trust at each epoch.
    pub trusts: Vec<Point>,
    /// Its 99th percentile over time, milliseconds.
    pub latencies: Vec<Point>,
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// When, RFC 3339.
    pub at: String,
    /// How much.
    pub value: f64,
}

fn point(at_ms: u64, value: f64) -> Point {
    Point { at: date(at_ms), value }
}

fn share(of_65535: u16) -> f64 {
    f64::from(of_65535) / 65535.0
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
const fn float(value: u64) -> f64 {
    value as f64
}

/// The step at which a span has at most so many points.
fn step(first_ms: u64, last_ms: u64) -> u64 {
    (last_ms.saturating_sub(first_ms) / POINTS + 1).max(STEP_MS)
}

/// A hotkey's field at each epoch that it was on the metagraph.
fn over_epochs(epochs: &[Epoch], hotkey: &[u8; 32], field: fn(&NeuronRow) -> u16) -> Vec<Point> {
    let at = |epoch: &Epoch| {
        let neuron = epoch.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)?;
        Some(point(epoch.seen_at_ms, share(field(neuron))))
    };
    epochs.iter().filter_map(at).collect()
}

/// What is shown of a miner; `told` is of it alone, oldest first.
fn miner(neuron: &NeuronRow, epochs: &[Epoch], told: &[&Told], step_ms: u64) -> MinerView {
    let sum = |field: fn(&Told) -> u64| told.iter().map(|told| field(told)).sum();
    let mut steps: BTreeMap<u64, Vec<&Told>> = BTreeMap::new();
    for one in told {
        steps.entry(slot_of(one, step_ms)).or_default().push(one);
    }
    let score = |told: &[&Told]| {
        let sum: u64 = told.iter().map(|told| told.window.score).sum();
        (!told.is_empty()).then(|| float(sum) / 1e6 / float(told.len() as u64))
    };
    let slowest = |told: &[&Told]| told.iter().filter_map(|told| told.window.p99_us).max();
    let scores = steps
        .iter()
        .filter_map(|(at, told)| Some(point(*at, score(told)?)))
        .collect();
    let latencies = steps
        .iter()
        .filter_map(|(at, told)| Some(point(*at, float(slowest(told)?))))
        .collect();
    // The newest word of each validator.
    let newest: BTreeMap<[u8; 32], &Told> = told.iter().map(|told| (told.validator, *told)).collect();
    let newest = Vec::from_iter(newest.into_values());
    let mut medians: Vec<u64> = newest.iter().filter_map(|told| told.window.p50_us).collect();
    medians.sort_unstable();
    MinerView {
        uid: neuron.uid,
        hotkey: ss58(neuron.hotkey),
        axon: neuron.axon.clone(),
        stake: neuron.stake,
        incentive: share(neuron.incentive),
        consensus: share(neuron.consensus),
        emission: neuron.emission,
        score: score(&newest),
        asked: sum(|told| told.window.asked),
        answered: sum(|told| told.window.answered),
        correct: sum(|told| told.window.correct),
        p50_us: percentile_of(&medians, 50),
        p99_us: slowest(&newest),
        incentives: over_epochs(epochs, &neuron.hotkey, |neuron| neuron.incentive),
        scores,
        latencies,
    }
}

/// What is shown of a validator; `times` are when it reported and how long that took, oldest first.
fn validator(neuron: &NeuronRow, epochs: &[Epoch], times: &[(u64, u64)], step_ms: u64) -> ValidatorView {
    let sorted = |times: &mut dyn Iterator<Item = u64>| {
        let mut times = Vec::from_iter(times);
        times.sort_unstable();
        times
    };
    let all = sorted(&mut times.iter().map(|(_, took)| *took));
    let mut steps: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (at, took) in times {
        steps.entry(at / step_ms * step_ms).or_default().push(*took);
    }
    let latencies = steps.into_iter().filter_map(|(at, took)| {
        let slow = percentile_of(&sorted(&mut took.into_iter()), 99)?;
        Some(point(at, float(slow)))
    });
    ValidatorView {
        uid: neuron.uid,
        hotkey: ss58(neuron.hotkey),
        active: neuron.active,
        stake: neuron.stake,
        dividends: share(neuron.dividends),
        trust: share(neuron.validator_trust),
        emission: neuron.emission,
        reports: times.len() as u64,
        p50_ms: percentile_of(&all, 50),
        p99_ms: percentile_of(&all, 99),
        trusts: over_epochs(epochs, &neuron.hotkey, |neuron| neuron.validator_trust),
        latencies: latencies.collect(),
    }
}

/// The neurons of a page: those of the newest epoch that hold a permit, or do not.
fn paged(epochs: &[Epoch], paging: Paging, permit: bool) -> Vec<&NeuronRow> {
    let newest = epochs.last().map(|epoch| epoch.neurons.as_slice()).unwrap_or_default();
    let behind = |neuron: &&NeuronRow| paging.after.is_none_or(|after| u64::from(neuron.uid) > after);
    let of_page = newest.iter().filter(|neuron| neuron.permit == permit).filter(behind);
    of_page.take(paging.wanted() as usize).collect()
}

/// The miners, by uid
#[utoipa::path(get, path = "/v1/miners", tag = "v1", operation_id = "v1_miners_list", params(Paging),
    responses((status = 200, body = Page<MinerView>), Reading))]
pub(super) async fn miners(State(rest): State<Rest>, paging: Paging) -> Result<Paged<MinerView>, Problem> {
    let epochs = rest.store.epochs(EPOCHS).await?;
    let told = rest.store.told_of_miners(BACK_MS).await?;
    let at = |told: Option<&Told>| told.map_or(0, |told| told.told_at_ms);
    let step_ms = step(at(told.first()), at(told.last()));
    let mut of_miner: BTreeMap<[u8; 32], Vec<&Told>> = BTreeMap::new();
    for one in &told {
        of_miner.entry(one.window.miner).or_default().push(one);
    }
    let view = |neuron: &NeuronRow| {
        let told = of_miner.get(&neuron.hotkey).map(Vec::as_slice).unwrap_or_default();
        miner(neuron, &epochs, told, step_ms)
    };
    let views = paged(&epochs, paging, false).into_iter().map(view).collect();
    Ok(Paged::new("/v1/miners", paging, views, |view: &MinerView| {
        u64::from(view.uid)
    }))
}

/// The validators, by uid
#[utoipa::path(get, path = "/v1/validators", tag = "v1", operation_id = "v1_validators_list", params(Paging),
    responses((status = 200, body = Page<ValidatorView>), Reading))]
pub(super) async fn validators(State(rest): State<Rest>, paging: Paging) -> Result<Paged<ValidatorView>, Problem> {
    let epochs = rest.store.epochs(EPOCHS).await?;
    let reports = rest.store.report_times(REPORTS).await?;
    let at = |report: Option<&([u8; 32], u64, u64)>| report.map_or(0, |(_, at, _)| *at);
    let step_ms = step(at(reports.first()), at(reports.last()));
    let mut of_validator: BTreeMap<[u8; 32], Vec<(u64, u64)>> = BTreeMap::new();
    for (hotkey, at, took) in &reports {
        of_validator.entry(*hotkey).or_default().push((*at, *took));
    }
    let view = |neuron: &NeuronRow| {
        let times = of_validator.get(&neuron.hotkey).map(Vec::as_slice).unwrap_or_default();
        validator(neuron, &epochs, times, step_ms)
    };
    let views = paged(&epochs, paging, true).into_iter().map(view).collect();
    Ok(Paged::new("/v1/validators", paging, views, |view: &ValidatorView| {
        u64::from(view.uid)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standing::Window;

    fn neuron(uid: u16, permit: bool) -> NeuronRow {
        NeuronRow {
            uid,
            hotkey: [uid as u8; 32],
            axon: None,
            stake: 0,
            permit,
            active: true,
            incentive: 65535,
            dividends: 0,
            consensus: 0,
            validator_trust: 32768,
            emission: 0,
        }
    }

    fn told(validator: u8, at: u64, score: u64, p99_us: Option<u64>) -> Told {
        Told {
            validator: [validator; 32],
            told_at_ms: at,
            window: Window {
                miner: [4; 32],
                asked: 10,
                answered: 9,
                correct: 8,
                p50_us: p99_us.map(|us| us / 2),
                p99_us,
                score,
                weight: 0,
            },
        }
    }

    #[test]
    fn a_miner_is_what_its_validators_say_of_it() {
        let seen = [
            told(1, 1_000_000, 200_000, Some(900)),
            told(2, 1_000_005, 400_000, None),
            told(1, 1_060_000, 600_000, Some(500)),
        ];
        let epoch = Epoch {
            block: 1,
            seen_at_ms: 5,
            neurons: vec![neuron(4, false)],
        };
        let view = miner(&neuron(4, false), &[epoch], &Vec::from_iter(&seen), 20_000);
        assert_eq!((view.asked, view.answered, view.correct), (30, 27, 24));
        assert_eq!(
            (view.score, view.p50_us, view.p99_us),
            (Some(0.5), Some(250), Some(500))
        );
        let values = |points: &[Point]| {
            points
                .iter()
                .map(|point| (point.value * 10.0).round())
                .collect::<Vec<_>>()
        };
        assert_eq!(values(&view.scores), [3.0, 6.0], "the mean of two validators, then one");
        assert_eq!(values(&view.latencies), [9000.0, 5000.0]);
        assert_eq!(values(&view.incentives), [10.0]);
    }

    #[test]
    fn a_validator_is_as_fast_as_its_reports() {
        let times: Vec<(u64, u64)> = (1..=100).map(|n| (n * 1_000, n)).collect();
        let view = validator(&neuron(1, true), &[], &times, 50_000);
        assert_eq!((view.reports, view.p50_ms, view.p99_ms), (100, Some(50), Some(99)));
        assert_eq!(view.latencies.len(), 3);
        assert_eq!(validator(&neuron(1, true), &[], &[], 1).p99_ms, None);
    }

    #[test]
    fn pages_go_by_uid_and_begin_with_zero() {
        let neurons = (0..5).map(|uid| neuron(uid, uid % 2 == 1)).collect();
        let epochs = [Epoch {
            block: 1,
            seen_at_ms: 0,
            neurons,
        }];
        let uids = |after, permit| {
            let rows = paged(&epochs, Paging { after, limit: 1 }, permit);
            rows.iter().map(|row| row.uid).collect::<Vec<_>>()
        };
        assert_eq!(uids(None, false), [0, 2]);
        assert_eq!(uids(Some(0), false), [2, 4]);
        assert_eq!(uids(None, true), [1, 3]);
        assert!(step(0, 6_000_000) * POINTS > 6_000_000 && step(0, 10) == STEP_MS);
    }
}
