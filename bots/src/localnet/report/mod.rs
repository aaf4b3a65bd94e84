//! What a run came to: the JSON that `--report` writes, and the sums that it is made of.
//!
//! Every field is described, with its unit, in `docs/report.md`; a field is added, but never renamed or given another meaning, while
//! [`FORMAT`] stays the same. [`incidents`] and [`members`] hold the parts about attacks and about miners and validators, [`live`] what
//! only a living chain has, [`services`] every process; [`Observed`] is what it is made of, and [`page`] shows it to people.

pub mod incidents;
pub mod live;
pub mod members;
mod observed;
pub mod page;
pub mod services;

use protos::v1;
use serde::{Deserialize, Serialize};

pub use incidents::{Incident, Reading};
pub use live::Live;
pub use members::{Growth, Miner, Standing, Validator};
pub use observed::Observed;
pub use services::{Audited, Pause, Service};

use super::chaos::Blow;
use super::gas::GasMismatch;
use super::plan::{Member, Role};

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
    /// Every process, and what it did.
    #[serde(default)]
    pub services: Vec<Service>,
    /// How large the subnet was, epoch by epoch.
    #[serde(default)]
    pub growth: Vec<Growth>,
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

impl Report {
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
        if self.is_short() {
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
        self.live.as_ref().and_then(|live| live.failure(deaf))
    }

    /// Whether transactions were logged and neither judged nor overtaken. On a living chain others send too (keepers, auditors), so what
    /// was overtaken is as the platform counts it.
    fn is_short(&self) -> bool {
        match &self.live {
            None => self.judged != self.transactions,
            Some(live) => self.judged + live.feed.replaced + live.feed.dropped < self.transactions,
        }
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

pub(super) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
pub(crate) mod tests;
