//! Why a validator's weights are not set: the names under which metrics, status and an operator meet it.

use serde::{Deserialize, Serialize};

use super::answer::may_have_taken_effect;
use crate::error::{LedgerError, Refusal};

/// Why a validator does not set weights now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The newest weights are taken already, or no miner has earned one.
    NothingNew,
    /// The hotkey is not on the metagraph.
    NotRegistered,
    /// It has no validator permit.
    NoPermit,
    /// Its stake is below the threshold.
    NotEnoughStake,
    /// The subnet asks for a newer version of the validator.
    OldVersion,
    /// Weights were set too recently.
    RateLimit,
    /// The commit's epoch for revealing has not come.
    RevealLater,
    /// The last attempt failed.
    Retry,
    /// A call was sent and its answer never came.
    Unanswered,
    /// The ledger does not say what has to be known before.
    Unreachable,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NothingNew,
        Self::NotRegistered,
        Self::NoPermit,
        Self::NotEnoughStake,
        Self::OldVersion,
        Self::RateLimit,
        Self::RevealLater,
        Self::Retry,
        Self::Unanswered,
        Self::Unreachable,
    ];

    /// Its label in metrics and its name in the status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NothingNew => "nothing_new",
            Self::NotRegistered => "not_registered",
            Self::NoPermit => "no_permit",
            Self::NotEnoughStake => "not_enough_stake",
            Self::OldVersion => "old_version",
            Self::RateLimit => "rate_limit",
            Self::RevealLater => "reveal_later",
            Self::Retry => "retry",
            Self::Unanswered => "unanswered",
            Self::Unreachable => "unreachable",
        }
    }

    /// Which of them `error` amounts to.
    pub const fn of(error: &LedgerError) -> Self {
        match error {
            LedgerError::Refused(refusal) => match refusal {
                Refusal::SettingWeightsTooFast { .. } | Refusal::CommittingWeightsTooFast { .. } => Self::RateLimit,
                Refusal::NeuronNoValidatorPermit => Self::NoPermit,
                Refusal::NotEnoughStakeToSetWeights => Self::NotEnoughStake,
                Refusal::IncorrectWeightVersionKey | Refusal::IncorrectCommitRevealVersion => Self::OldVersion,
                Refusal::HotKeyNotRegisteredInSubNet => Self::NotRegistered,
                Refusal::RevealTooEarly | Refusal::TooManyUnrevealedCommits => Self::RevealLater,
                _ => Self::Retry,
            },
            error if may_have_taken_effect(error) => Self::Unanswered,
            _ => Self::Retry,
        }
    }

    /// What an operator reads.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::NothingNew => "the newest weights are taken, or no miner has earned one yet",
            Self::NotRegistered => "the hotkey is not registered any more: register it again",
            Self::NoPermit => "the hotkey has no validator permit: it needs more stake, and the next epoch to pass",
            Self::NotEnoughStake => "the hotkey's stake is below the subnet's threshold: add stake",
            Self::OldVersion => "the subnet asks for a newer version key: update the validator",
            Self::RateLimit => "weights were set less than the rate limit ago",
            Self::RevealLater => "weights are committed and wait for the epoch in which they are revealed",
            Self::Retry => "the last attempt failed and is made again",
            Self::Unanswered => "the ledger did not answer a call: the next blocks show whether it took effect",
            Self::Unreachable => "the ledger does not answer questions: check its address and that it runs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_name_under_which_an_operator_meets_it() {
        let lost = LedgerError::Deadline {
            endpoint: "here".to_owned(),
            after_ms: 1,
        };
        assert!(may_have_taken_effect(&lost) && !may_have_taken_effect(&LedgerError::Busy));
        for (error, why) in [
            (
                Refusal::SettingWeightsTooFast { retry_at_block: 1 }.into(),
                Why::RateLimit,
            ),
            (Refusal::NeuronNoValidatorPermit.into(), Why::NoPermit),
            (Refusal::IncorrectWeightVersionKey.into(), Why::OldVersion),
            (Refusal::HotKeyNotRegisteredInSubNet.into(), Why::NotRegistered),
            (Refusal::RevealTooEarly.into(), Why::RevealLater),
            (Refusal::WeightVecLengthIsLow.into(), Why::Retry),
            (LedgerError::Busy, Why::Retry),
            (lost, Why::Unanswered),
        ] {
            assert_eq!(Why::of(&error), why, "{error}");
        }
        let mut names: Vec<&str> = Why::ALL.iter().map(|why| why.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Why::ALL.len());
    }
}
