//! What a run came to: the JSON that `--report` writes, and the sums that it is made of.
//!
//! Every field is described, with its unit, in `docs/report.md`; a field is added, but never renamed or given another meaning, while
//! [`FORMAT`] stays the same. [`incidents`] and [`members`] hold the parts about attacks and about miners and validators, [`live`] what
//! only a living chain has.

pub mod incidents;
pub mod live;
pub mod members;

use std::collections::BTreeMap;

use protos::DecodeError;
use protos::v1::{self, ValidatorStatusResponse};
use serde::{Deserialize, Serialize};

pub use incidents::Incident;
pub use live::Live;
pub use members::{Miner, Standing, Validator};

use self::incidents::incident;
use self::members::{View, miner, validator};
use super::chaos::Blow;
use super::gas::{GasComparison, GasMismatch};
use super::plan::{Member, NetworkPlan, Role};

/// The version of the report's form.
pub const FORMAT: &str = "portcullis-localnet/1";

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// What was replayed, or which chain was followed.
    pub data: String,
    /// How fast: `realtime`, `max` or `N/s`; of a living chain its block time.
    pub pace: String,
    /// The seed of the run.
    pub seed: u64,
    /// The recording was read to its end, or the living chain's story told to its end, and every assigned item was reported.
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
    /// What `--kill` and `--chaos` did.
    pub kills: Vec<KillRecord>,
    /// Within how many milliseconds whoever is struck must serve again; `null` where nothing was asked.
    #[serde(default)]
    pub back_within_ms: Option<u64>,
    /// Block of the ledger at the end.
    pub ledger_block: u64,
    /// Epochs that the ledger ran.
    pub ledger_epochs: u64,
    /// What was sent to a living chain and what became of it; `null` of a recording.
    #[serde(default)]
    pub live: Option<Live>,
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

/// A process that was struck.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KillRecord {
    /// Its name, as `validator-2`.
    pub process: String,
    /// Transactions that were judged when it was struck.
    pub at_judged: u64,
    /// How.
    #[serde(default)]
    pub blow: Blow,
    /// Milliseconds until it served again: from the kill, or from when a frozen one could go on.
    pub down_ms: u64,
}

/// Everything that was seen by the end of a run.
#[derive(Debug, Clone)]
pub struct Observed {
    /// What was replayed, or which chain was followed.
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
    /// What `--kill` and `--chaos` did.
    pub kills: Vec<KillRecord>,
    /// How soon whoever is struck must serve again, where something is asked.
    pub back_within: Option<std::time::Duration>,
    /// From the first logged transaction to the last report.
    pub judging: std::time::Duration,
    /// Block of the ledger.
    pub ledger_block: u64,
    /// Epochs that the ledger ran.
    pub ledger_epochs: u64,
    /// Everything that was assigned came back, by the end that was waited for.
    pub complete: bool,
    /// Of a living chain.
    pub live: Option<Live>,
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
            complete: seen.complete,
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
            back_within_ms: seen
                .back_within
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            ledger_block: seen.ledger_block,
            ledger_epochs: seen.ledger_epochs,
            live: seen.live,
        })
    }

    /// Why the run is no success; `None` when it is one: everything judged, every gas as recorded, and of a living chain nothing
    /// lost and the attack confirmed before its block.
    pub fn failure(&self) -> Option<String> {
        if !self.complete {
            let Self { reported, assigned, .. } = self;
            return Some(format!("{reported} of {assigned} assigned judgements were reported"));
        }
        if self.gas_mismatches > 0 {
            return Some(format!(
                "{} transactions used other gas than recorded",
                self.gas_mismatches
            ));
        }
        if self.judged + self.gave_way() != self.transactions {
            return Some(format!(
                "{} of {} transactions were judged",
                self.judged, self.transactions
            ));
        }
        let late = |kill: &&KillRecord| self.back_within_ms.is_some_and(|limit| kill.down_ms > limit);
        if let Some(late) = self.kills.iter().find(late) {
            return Some(format!("{} served again only after {} ms", late.process, late.down_ms));
        }
        // While the platform was down it saw nothing, and says so; that is what it was killed for.
        let deaf = self
            .kills
            .iter()
            .any(|kill| kill.process == Member::Platform.to_string());
        self.live.as_ref().filter(|_| !deaf).and_then(Live::failure)
    }

    /// Transactions that were replaced before their turn, so that nobody needed to judge them.
    pub fn gave_way(&self) -> u64 {
        let of = |live: &Live| live.replaced.saturating_sub(live.replaced_judged);
        self.live.as_ref().map_or(0, of)
    }

    /// Whether the run is a success.
    pub fn passed(&self) -> bool {
        self.failure().is_none()
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
    status.feed_ended && is_reported(status)
}

/// Whether every item that was handed out came back. On a living chain one that gave way before its turn comes back without a judgement.
pub fn is_reported(status: &v1::StatusResponse) -> bool {
    let gave_way = status.feed.as_ref().map_or(0, |feed| feed.replaced + feed.dropped);
    status.reported >= status.assigned && status.judged + gave_way >= status.transactions
}

pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use protos::v1::{MinerScore, Witness};

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
            ..Default::default()
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
            back_within: None,
            judging: Duration::from_secs(4),
            ledger_block: 99,
            ledger_epochs: 4,
            complete: true,
            live: None,
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
    fn an_open_item_or_another_gas_fails_the_run() {
        let mut seen = observed();
        (seen.status.reported, seen.complete) = (99, false);
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
    fn one_that_gave_way_before_its_turn_comes_back_without_a_judgement() {
        let mut status = v1::StatusResponse {
            transactions: 10,
            judged: 9,
            assigned: 20,
            reported: 20,
            ..Default::default()
        };
        assert!(!is_reported(&status));
        status.feed = Some(v1::FeedStatus {
            replaced: 1,
            ..Default::default()
        });
        assert!(is_reported(&status));
        status.reported = 19;
        assert!(!is_reported(&status), "an assignment is open");
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
}
