//! What a run came to: the JSON that `--report` writes, and the sums that it is made of.
//!
//! Every field is described, with its unit, in `docs/report.md`; a field is added, but never renamed or given another meaning, while
//! [`FORMAT`] stays the same.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use hdrhistogram::Histogram;
use protos::v1::{self, MinerScore, ValidatorStatusResponse};
use protos::{DecodeError, fixed, required};
use serde::{Deserialize, Serialize};

use super::gas::{GasComparison, GasMismatch};
use super::plan::{MinerPlan, NetworkPlan, Role, ValidatorPlan};

/// The version of the report's form.
pub const FORMAT: &str = "portcullis-localnet/1";

/// Longest latency that the merged histogram tells apart, in microseconds: a minute. Longer ones count as this.
const LATENCY_MAX_US: u64 = 60_000_000;

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// What was replayed.
    pub data: String,
    /// How fast: `realtime`, `max` or `N/s`.
    pub pace: String,
    /// The seed of the run.
    pub seed: u64,
    /// The recording was read to its end, and every assigned item was reported.
    pub complete: bool,
    /// Distinct transactions that the platform logged.
    pub transactions: u64,
    /// Of those, with at least one report.
    pub judged: u64,
    /// `Undecided` verdicts, over all reports.
    pub undecided: u64,
    /// Distinct transactions that somebody executed.
    pub executed: u64,
    /// Distinct transactions of which reports named different post-states.
    pub disputed: u64,
    /// Transactions of which the recording knows the gas.
    pub gas_compared: u64,
    /// Of those, reported with other gas or not executed.
    pub gas_mismatches: u64,
    /// The first of the mismatches.
    pub gas_mismatch_list: Vec<GasMismatch>,
    /// (transaction, validator) pairs that the platform handed out.
    pub assigned: u64,
    /// How many of them came back; never more than `assigned`.
    pub reported: u64,
    /// Challenges that miners were sent.
    pub challenges: u64,
    /// Challenges that were answered in time.
    pub answers: u64,
    /// Share of the answers that were the truth, 0 to 1; 0 without answers.
    pub agreement: f64,
    /// Reports that a validator's own engine decided.
    pub arbitrated: u64,
    /// Verdicts by kind, over all reports.
    pub verdicts: Verdicts,
    /// Seconds from the first logged transaction to the last report.
    pub judging_s: f64,
    /// `judged / judging_s`.
    pub tx_per_s: f64,
    /// Confirmed violations, oldest first.
    pub incidents: Vec<Incident>,
    /// By uid.
    pub miners: Vec<Miner>,
    /// By uid.
    pub validators: Vec<Validator>,
    /// What `--kill` did.
    pub kills: Vec<KillRecord>,
    /// Block of the ledger at the end.
    pub ledger_block: u64,
    /// Epochs that the ledger ran.
    pub ledger_epochs: u64,
}

/// Verdicts by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// The invariant holds after the transaction.
    pub holds: u64,
    /// The transaction breaks it.
    pub violated: u64,
    /// It could not be told.
    pub undecided: u64,
}

/// A confirmed violation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Name of the invariant.
    pub invariant: String,
    /// Its id in the registry.
    pub invariant_id: u64,
    /// The contract that it speaks of.
    pub contract: Address,
    /// Hash of the transaction.
    pub tx: B256,
    /// Who sent it.
    pub sender: Address,
    /// The invariant's value before the transaction (two's complement for signed types).
    pub pre: U256,
    /// And after it.
    pub post: U256,
    /// The hash of the whole witness, the same on every machine.
    pub witness_digest: B256,
    /// Validators that confirmed it.
    pub confirmations: u32,
    /// Milliseconds from a validator's reading it to its own engine's confirmation: the first reporter's.
    pub seen_to_confirmed_ms: f64,
    /// Reported before its block, or not included by the end of the recording.
    pub confirmed_before_inclusion: bool,
    /// Milliseconds from the report to the inclusion, negative when it was late; `null` when not included.
    pub ms_before_inclusion: Option<i64>,
}

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

/// A process that `--kill` killed and started again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KillRecord {
    /// Its name, as `validator-2`.
    pub process: String,
    /// Transactions that were judged when it was struck.
    pub at_judged: u64,
    /// Milliseconds until it served again.
    pub down_ms: u64,
}

/// What the ledger says of one neuron at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Standing {
    /// In RAO.
    pub stake: u64,
    /// Share of the last epoch's incentive, 0 to 1.
    pub incentive: f64,
}

/// Everything that was seen by the end of a run.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What was replayed.
    pub data: String,
    /// How fast.
    pub pace: String,
    /// The seed of the run.
    pub seed: u64,
    /// The platform's own counts.
    pub status: v1::StatusResponse,
    /// The platform's incidents, oldest first.
    pub incidents: Vec<v1::Incident>,
    /// Transactions of which reports named different post-states.
    pub disputed: u64,
    /// Reported gas beside recorded gas.
    pub gas: GasComparison,
    /// By uid: what each validator says.
    pub validators: BTreeMap<u32, ValidatorStatusResponse>,
    /// By uid: what the ledger says.
    pub standings: BTreeMap<u32, Standing>,
    /// What `--kill` did.
    pub kills: Vec<KillRecord>,
    /// From the first logged transaction to the last report.
    pub judging: std::time::Duration,
    /// Block of the ledger.
    pub ledger_block: u64,
    /// Epochs that the ledger ran.
    pub ledger_epochs: u64,
}

impl Report {
    /// Puts the report together.
    ///
    /// # Errors
    /// A field of an incident that has the wrong length.
    pub fn new(plan: &NetworkPlan, seen: Observed) -> Result<Self, DecodeError> {
        let status = seen.status;
        let judging_s = seen.judging.as_secs_f64();
        let views: Vec<View<'_>> = plan
            .validators
            .iter()
            .filter_map(|validator| {
                let status = seen.validators.get(&validator.uid)?;
                Some(View {
                    stake: validator.stake as f64,
                    scores: &status.miners,
                })
            })
            .collect();
        Ok(Self {
            format: FORMAT.to_owned(),
            data: seen.data,
            pace: seen.pace,
            seed: seen.seed,
            complete: is_complete(&status),
            transactions: status.transactions,
            judged: status.judged,
            undecided: status.undecided,
            executed: status.executed,
            disputed: seen.disputed,
            gas_compared: seen.gas.compared,
            gas_mismatches: seen.gas.mismatches,
            gas_mismatch_list: seen.gas.listed,
            assigned: status.assigned,
            reported: status.reported,
            challenges: status.challenges,
            answers: status.answers,
            agreement: share(status.agreed, status.answers),
            arbitrated: status.arbitrated,
            verdicts: Verdicts {
                holds: status.holds,
                violated: status.violated,
                undecided: status.undecided,
            },
            judging_s: rounded(judging_s),
            tx_per_s: if judging_s > 0.0 {
                rounded(status.judged as f64 / judging_s)
            } else {
                0.0
            },
            incidents: seen.incidents.iter().map(incident).collect::<Result<_, _>>()?,
            miners: plan
                .miners
                .iter()
                .map(|planned| {
                    miner(
                        planned,
                        &views,
                        seen.standings.get(&planned.uid).copied().unwrap_or_default(),
                    )
                })
                .collect(),
            validators: plan
                .validators
                .iter()
                .map(|planned| {
                    let standing = seen.standings.get(&planned.uid).copied().unwrap_or_default();
                    validator(planned, seen.validators.get(&planned.uid), standing)
                })
                .collect(),
            kills: seen.kills,
            ledger_block: seen.ledger_block,
            ledger_epochs: seen.ledger_epochs,
        })
    }

    /// Whether the run is a success: everything judged, and every gas as recorded.
    pub fn passed(&self) -> bool {
        self.complete && self.judged == self.transactions && self.gas_mismatches == 0
    }

    /// The least incentive of an honest miner, with its uid.
    pub fn least_honest(&self) -> Option<&Miner> {
        self.miners
            .iter()
            .filter(|miner| miner.role == Role::Honest)
            .min_by(|a, b| a.incentive.total_cmp(&b.incentive))
    }

    /// The miners that misbehaved and yet earn no less than some honest one.
    pub fn unpunished(&self) -> Vec<&Miner> {
        let Some(least) = self.least_honest() else {
            return Vec::new();
        };
        self.miners
            .iter()
            .filter(|miner| miner.role != Role::Honest && miner.incentive >= least.incentive)
            .collect()
    }
}

/// Whether the recording was read to its end and every item that was handed out came back.
pub fn is_complete(status: &v1::StatusResponse) -> bool {
    status.feed_ended && status.reported >= status.assigned && status.judged >= status.transactions
}

/// What one validator thinks, and how much that counts.
struct View<'a> {
    stake: f64,
    scores: &'a [MinerScore],
}

fn miner(planned: &MinerPlan, views: &[View<'_>], standing: Standing) -> Miner {
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

fn validator(planned: &ValidatorPlan, status: Option<&ValidatorStatusResponse>, standing: Standing) -> Validator {
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

fn incident(raw: &v1::Incident) -> Result<Incident, DecodeError> {
    let witness = required("incident.witness", raw.witness.as_ref())?;
    let included = (raw.included_at_ms > 0).then_some(raw.included_at_ms);
    let ahead = included.map(|at| signed_difference(at, raw.reported_at_ms));
    Ok(Incident {
        invariant: raw.invariant_name.clone(),
        invariant_id: raw.invariant_id,
        contract: Address::new(fixed("incident.contract", &raw.contract)?),
        tx: B256::new(fixed("incident.tx_hash", &raw.tx_hash)?),
        sender: Address::new(fixed("incident.tx_sender", &raw.tx_sender)?),
        pre: U256::from_be_bytes(fixed::<32>("incident.witness.pre", &witness.pre)?),
        post: U256::from_be_bytes(fixed::<32>("incident.witness.post", &witness.post)?),
        witness_digest: B256::new(fixed("incident.witness.digest", &witness.digest)?),
        confirmations: raw.confirmations,
        seen_to_confirmed_ms: raw.seen_to_confirmed_us as f64 / 1_000.0,
        confirmed_before_inclusion: ahead.is_none_or(|ms| ms > 0),
        ms_before_inclusion: ahead,
    })
}

/// All validators' samples of one miner's latency, in microseconds; `None` without any.
fn merged(scores: &[MinerScore]) -> Option<Histogram<u64>> {
    let mut all = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).ok()?;
    for bucket in scores.iter().flat_map(|score| &score.latency) {
        all.saturating_record_n(bucket.micros.clamp(1, LATENCY_MAX_US), bucket.count);
    }
    (!all.is_empty()).then_some(all)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn signed_difference(later: u64, earlier: u64) -> i64 {
    i64::try_from(i128::from(later) - i128::from(earlier)).unwrap_or(i64::MAX)
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use protos::v1::{LatencyBucket, Witness};

    use super::*;
    use crate::localnet::plan::Shape;

    pub(crate) fn network() -> NetworkPlan {
        NetworkPlan::new(Shape {
            validators: 2,
            miners: 4,
            lazy: 1,
            liar: 1,
            slow: 0,
            replicas: 2,
            seed: 7,
        })
        .unwrap()
    }

    fn score(uid: u32, asked: u64, answered: u64, correct: u64, weight: u32) -> MinerScore {
        MinerScore {
            uid,
            asked,
            answered,
            correct,
            weight,
            score: f64::from(weight) / 100.0,
            ..Default::default()
        }
    }

    pub(crate) fn attack() -> v1::Incident {
        v1::Incident {
            id: 1,
            invariant_id: 3,
            invariant_name: "the vault holds what it owes".into(),
            contract: vec![0xaa; 20].into(),
            tx_hash: vec![0xbb; 32].into(),
            tx_sender: vec![0xcc; 20].into(),
            witness: Some(Witness {
                pre: vec![1; 32].into(),
                post: vec![2; 32].into(),
                digest: vec![3; 32].into(),
            }),
            seen_to_confirmed_us: 12_345,
            logged_at_ms: 10_000,
            reported_at_ms: 10_020,
            included_at_ms: 10_660,
            confirmations: 2,
        }
    }

    pub(crate) fn observed() -> Observed {
        let plan = network();
        let uids: Vec<u32> = plan.miners.iter().map(|miner| miner.uid).collect();
        let view = |weights: [u32; 4]| ValidatorStatusResponse {
            judged: 50,
            weights_set: 3,
            miners: uids
                .iter()
                .zip(weights)
                .map(|(uid, weight)| score(*uid, 40, 20, 10, weight))
                .collect(),
            ..Default::default()
        };
        let incentive = |role| if role == Role::Honest { 0.4 } else { 0.1 };
        Observed {
            data: "a test".into(),
            pace: "60/s".into(),
            seed: 7,
            status: v1::StatusResponse {
                feed_ended: true,
                transactions: 50,
                judged: 50,
                executed: 50,
                assigned: 100,
                reported: 100,
                challenges: 400,
                answers: 200,
                agreed: 150,
                holds: 90,
                violated: 2,
                ..Default::default()
            },
            incidents: vec![attack()],
            disputed: 0,
            gas: GasComparison {
                compared: 50,
                mismatches: 0,
                listed: vec![],
            },
            validators: BTreeMap::from([(1, view([30, 10, 30, 30])), (2, view([10, 10, 40, 40]))]),
            standings: plan
                .miners
                .iter()
                .map(|miner| {
                    (
                        miner.uid,
                        Standing {
                            stake: 0,
                            incentive: incentive(miner.role),
                        },
                    )
                })
                .collect(),
            kills: vec![],
            judging: Duration::from_secs(4),
            ledger_block: 99,
            ledger_epochs: 4,
        }
    }

    #[test]
    fn sums_and_shares_come_out_as_by_hand() {
        let report = Report::new(&network(), observed()).unwrap();
        assert!(report.complete && report.passed());
        assert_eq!((report.agreement, report.tx_per_s), (0.75, 12.5));
        let first = &report.miners[0];
        assert_eq!((first.asked, first.answered, first.accuracy), (80, 40, 0.5));
        // Stakes 1250 and 1000: (1250 * 0.3 + 1000 * 0.1) / 2250.
        assert!((first.weight - 475.0 / 2250.0).abs() < 1e-12, "{}", first.weight);
        assert!((report.miners.iter().map(|miner| miner.weight).sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn an_incident_says_how_long_before_its_block_it_was_confirmed() {
        let found = incident(&attack()).unwrap();
        assert_eq!(
            (found.ms_before_inclusion, found.confirmed_before_inclusion),
            (Some(640), true)
        );
        assert!((found.seen_to_confirmed_ms - 12.345).abs() < 1e-9);

        let late = incident(&v1::Incident {
            included_at_ms: 10_000,
            ..attack()
        })
        .unwrap();
        assert_eq!(
            (late.ms_before_inclusion, late.confirmed_before_inclusion),
            (Some(-20), false)
        );
        let open = incident(&v1::Incident {
            included_at_ms: 0,
            ..attack()
        })
        .unwrap();
        assert_eq!(
            (open.ms_before_inclusion, open.confirmed_before_inclusion),
            (None, true)
        );
    }

    #[test]
    fn a_malformed_incident_is_named() {
        let error = incident(&v1::Incident {
            contract: vec![1].into(),
            ..attack()
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("incident.contract"), "{error}");
    }

    #[test]
    fn an_open_item_or_another_gas_fails_the_run() {
        let mut seen = observed();
        seen.status.reported = 99;
        let report = Report::new(&network(), seen).unwrap();
        assert!(!report.complete && !report.passed());

        let mut seen = observed();
        seen.gas.mismatches = 1;
        let report = Report::new(&network(), seen).unwrap();
        assert!(report.complete && !report.passed());
    }

    #[test]
    fn who_misbehaves_and_earns_as_much_is_found() {
        let plan = network();
        let liar = plan.miners.iter().find(|miner| miner.role == Role::Liar).unwrap().uid;
        let mut seen = observed();
        assert!(Report::new(&plan, seen.clone()).unwrap().unpunished().is_empty());
        seen.standings.insert(
            liar,
            Standing {
                stake: 0,
                incentive: 0.4,
            },
        );
        let report = Report::new(&plan, seen).unwrap();
        assert_eq!(
            report.unpunished().iter().map(|miner| miner.uid).collect::<Vec<_>>(),
            [liar]
        );
    }

    #[test]
    fn the_json_reads_back_and_has_the_promised_names() {
        let report = Report::new(&network(), observed()).unwrap();
        let json = serde_json::to_value(&report).unwrap();
        for name in [
            "transactions",
            "judged",
            "undecided",
            "executed",
            "gas_mismatches",
            "challenges",
            "agreement",
            "tx_per_s",
        ] {
            assert!(json[name].is_number(), "{name}");
        }
        for name in ["invariant", "tx", "pre", "post", "seen_to_confirmed_ms"] {
            assert!(!json["incidents"][0][name].is_null(), "incidents[].{name}");
        }
        for name in [
            "uid",
            "role",
            "asked",
            "answered",
            "accuracy",
            "p50_ms",
            "p99_ms",
            "score",
            "weight",
            "incentive",
        ] {
            assert!(!json["miners"][0][name].is_null(), "miners[].{name}");
        }
        assert!(json["validators"][0]["stake"].is_number());
        assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
    }

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
            ..score(4, 0, 0, 0, 0)
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
