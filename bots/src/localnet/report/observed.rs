//! What was seen by the end of a run, and the report that is made of it.

use std::collections::BTreeMap;
use std::time::Duration;

use protos::DecodeError;
use protos::v1::{self, ValidatorStatusResponse};

use super::incidents::incident;
use super::members::{Growth, Standing, View, miner, validator};
use super::services::{self, Audited, Service};
use super::{FORMAT, KillRecord, Live, Report, Verdicts, rounded, share};
use crate::localnet::gas::GasComparison;
use crate::localnet::plan::NetworkPlan;

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
    pub back_within: Option<Duration>,
    /// From the first logged transaction to the last report.
    pub judging: Duration,
    /// Block of the ledger.
    pub ledger_block: u64,
    /// Epochs that the ledger ran.
    pub ledger_epochs: u64,
    /// Everything that was assigned came back, by the end that was waited for.
    pub complete: bool,
    /// Of a living chain.
    pub live: Option<Live>,
    /// The processes that only a living chain has.
    pub services: Vec<Service>,
    /// What auditors say, by the process that they say it of.
    pub audited: BTreeMap<String, Audited>,
    /// How large the subnet was, epoch by epoch.
    pub growth: Vec<Growth>,
}

impl Report {
    /// Puts the report together.
    ///
    /// # Errors
    /// A field of an incident that has the wrong length.
    pub fn new(plan: &NetworkPlan, seen: Observed) -> Result<Self, DecodeError> {
        let status = seen.status;
        let judging_s = seen.judging.as_secs_f64();
        let standing = |uid: u32| seen.standings.get(&uid).copied().unwrap_or_default();
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
        let mut report = Self {
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
                .map(|planned| miner(planned, &views, standing(planned.uid)))
                .collect(),
            validators: plan
                .validators
                .iter()
                .map(|planned| validator(planned, seen.validators.get(&planned.uid), standing(planned.uid)))
                .collect(),
            kills: seen.kills,
            back_within_ms: seen
                .back_within
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            ledger_block: seen.ledger_block,
            ledger_epochs: seen.ledger_epochs,
            live: seen.live,
            services: Vec::new(),
            growth: seen.growth,
        };
        report.services = services::all(&report, seen.services, &seen.audited);
        Ok(report)
    }
}
