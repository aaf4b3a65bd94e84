//! Why a ledger did not do what it was asked: the chain's own refusals, and everything that is not a refusal.
//!
//! A [`Refusal`] has the name that Subtensor gives it, so that an operator finds it in Bittensor's documents and so that
//! the embedded ledger and the real chain are handled by the same code. Over gRPC it comes back as the same value
//! (see [`crate::wire`]).

use strum::{AsRefStr, EnumString, VariantNames};

use crate::auth::{AuthError, AuthKind};

/// A call that the chain's rules refuse. A variant's name is Subtensor's, and its message begins with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, AsRefStr, EnumString, VariantNames)]
#[cfg_attr(test, derive(strum::EnumIter))]
pub enum Refusal {
    /// A second registration of one hotkey.
    #[error("HotKeyAlreadyRegisteredInSubNet: the hotkey is registered already")]
    HotKeyAlreadyRegisteredInSubNet,
    /// No uid is left.
    #[error("NoNeuronIdAvailable: every uid of the subnet is taken")]
    NoNeuronIdAvailable,
    /// Not enough to pay a registration or a stake.
    #[error("NotEnoughBalanceToStake: the balance, with what the faucet still gives, is less than the amount")]
    NotEnoughBalanceToStake,
    /// Stake on a hotkey that the chain does not know.
    #[error("HotKeyAccountNotExists: the hotkey is not registered; register it before staking")]
    HotKeyAccountNotExists,
    /// A stake of nothing.
    #[error("AmountTooLow: the amount must be more than zero")]
    AmountTooLow,
    /// An axon of an unregistered hotkey.
    #[error("HotKeyNotRegisteredInNetwork: the hotkey is not registered; register it before serving an axon")]
    HotKeyNotRegisteredInNetwork,
    /// An address that no axon can have.
    #[error("InvalidIpAddress: an axon cannot have this IP address (loopback is for a development ledger)")]
    InvalidIpAddress,
    /// Port 0.
    #[error("InvalidPort: an axon cannot have port 0")]
    InvalidPort,
    /// A second axon too soon.
    #[error("ServingRateLimitExceeded: an axon was served too recently; again from block {retry_at_block}")]
    ServingRateLimitExceeded {
        /// First block at which it would be taken.
        retry_at_block: u64,
    },
    /// Uids and values of different number.
    #[error("WeightVecNotEqualSize: there must be as many values as uids")]
    WeightVecNotEqualSize,
    /// More uids than the subnet has.
    #[error("UidsLengthExceedUidsInSubNet: more weights than the subnet has uids")]
    UidsLengthExceedUidsInSubNet,
    /// Weights of an unregistered hotkey.
    #[error("HotKeyNotRegisteredInSubNet: the hotkey is not registered")]
    HotKeyNotRegisteredInSubNet,
    /// Weights of a hotkey without the stake for it.
    #[error("NotEnoughStakeToSetWeights: the hotkey's stake is below the threshold")]
    NotEnoughStakeToSetWeights,
    /// A validator of an old version.
    #[error("IncorrectWeightVersionKey: the version key is older than the subnet asks for; update the validator")]
    IncorrectWeightVersionKey,
    /// Weights again too soon.
    #[error("SettingWeightsTooFast: weights were set too recently; again from block {retry_at_block}")]
    SettingWeightsTooFast {
        /// First block at which they would be taken.
        retry_at_block: u64,
    },
    /// Weights of a neuron that is no validator.
    #[error("NeuronNoValidatorPermit: the neuron has no validator permit; permits are given at the end of a tempo")]
    NeuronNoValidatorPermit,
    /// One uid twice.
    #[error("DuplicateUids: a uid stands twice")]
    DuplicateUids,
    /// A uid that nobody has.
    #[error("UidVecContainInvalidOne: a uid is not one of the subnet")]
    UidVecContainInvalidOne,
    /// Too few weights.
    #[error("WeightVecLengthIsLow: fewer weights than the subnet asks for")]
    WeightVecLengthIsLow,
    /// Plain weights where commits are asked for.
    #[error("CommitRevealEnabled: the subnet takes committed weights only; commit them first")]
    CommitRevealEnabled,
    /// A commit where plain weights are asked for.
    #[error("CommitRevealDisabled: the subnet takes plain weights only; set them without a commit")]
    CommitRevealDisabled,
    /// A time-locked commit of another version.
    #[error(
        "IncorrectCommitRevealVersion: the commit is not of the version that the subnet asks for; update the validator"
    )]
    IncorrectCommitRevealVersion,
    /// An eleventh open commit.
    #[error("TooManyUnrevealedCommits: ten commits of the hotkey are open already; reveal them first")]
    TooManyUnrevealedCommits,
    /// A reveal without a commit.
    #[error("NoWeightsCommitFound: the hotkey has no open commit")]
    NoWeightsCommitFound,
    /// A reveal of something else.
    #[error("InvalidRevealCommitHashNotMatch: the weights are not those of any open commit")]
    InvalidRevealCommitHashNotMatch,
    /// A reveal too late.
    #[error("ExpiredWeightCommit: the epoch in which this commit could be revealed is over; commit again")]
    ExpiredWeightCommit,
    /// A reveal too early.
    #[error("RevealTooEarly: the epoch in which this commit can be revealed has not begun")]
    RevealTooEarly,
    /// A commit sealed to the past.
    #[error(
        "InvalidRevealRound: the beacon has signed that round already: nothing would be hidden; seal to a later one"
    )]
    InvalidRevealRound,
    /// One weight too large.
    #[error("MaxWeightExceeded: one weight is a larger share of the row than the subnet allows")]
    MaxWeightExceeded,
    /// Another subnet.
    #[error("SubnetNotExists: the ledger has no subnet of that number")]
    SubnetNotExists,
    /// A commit too soon after the last.
    #[error("CommittingWeightsTooFast: weights were committed too recently; again from block {retry_at_block}")]
    CommittingWeightsTooFast {
        /// First block at which it would be taken.
        retry_at_block: u64,
    },
    /// A question about a uid that nobody has.
    #[error("UidNotFound: no neuron has this uid")]
    UidNotFound,
    /// A refusal that this program does not know: a newer ledger's, or another pallet's.
    #[error("{name}: refused by the ledger")]
    #[strum(transparent, default)]
    Other {
        /// The name that the ledger gave.
        name: String,
    },
}

impl Refusal {
    /// Subtensor's name of it.
    pub fn name(&self) -> &str {
        self.as_ref()
    }

    /// The first block at which the same call may be taken, where waiting is all that helps.
    pub fn retry_at_block(&self) -> Option<u64> {
        match self {
            Self::ServingRateLimitExceeded { retry_at_block }
            | Self::SettingWeightsTooFast { retry_at_block }
            | Self::CommittingWeightsTooFast { retry_at_block } => Some(*retry_at_block),
            _ => None,
        }
    }

    /// The refusal of that name; one that is unknown, or lacks its block, becomes [`Refusal::Other`].
    pub fn from_name(name: &str, retry_at_block: Option<u64>) -> Self {
        match (name.parse(), retry_at_block) {
            (Ok(Self::ServingRateLimitExceeded { .. }), Some(retry_at_block)) => {
                Self::ServingRateLimitExceeded { retry_at_block }
            }
            (Ok(Self::SettingWeightsTooFast { .. }), Some(retry_at_block)) => {
                Self::SettingWeightsTooFast { retry_at_block }
            }
            (Ok(Self::CommittingWeightsTooFast { .. }), Some(retry_at_block)) => {
                Self::CommittingWeightsTooFast { retry_at_block }
            }
            (Ok(known), _) if known.retry_at_block().is_none() => known,
            _ => Self::Other { name: name.to_owned() },
        }
    }
}

/// Why a ledger did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The chain's rules say no. Nothing changed.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The signed request was not accepted. Nothing changed.
    #[error("{}: {message}", .kind.name())]
    Unauthenticated {
        /// Which check failed.
        kind: AuthKind,
        /// What the ledger said.
        message: String,
    },
    /// The request itself is malformed. Nothing changed.
    #[error("malformed request: {0}")]
    Invalid(String),
    /// Too many operations are waiting. Nothing changed; try again later.
    #[error("the ledger is busy: too many operations are waiting, try again later")]
    Busy,
    /// The ledger's database failed. Nothing changed.
    #[error("the ledger's storage failed: {0}")]
    Storage(String),
    /// The ledger is shutting down. Nothing changed.
    #[error("the ledger is shutting down")]
    Closed,
    /// The ledger cannot be reached. A mutation may or may not have taken effect.
    #[error("ledger {endpoint} cannot be reached: {reason}")]
    Unavailable {
        /// Where it was sought.
        endpoint: String,
        /// What failed.
        reason: String,
    },
    /// No answer in time. A mutation may or may not have taken effect.
    #[error("ledger {endpoint} did not answer within {after_ms} ms")]
    Deadline {
        /// Whom we asked.
        endpoint: String,
        /// How long we waited.
        after_ms: u64,
    },
    /// An answer that makes no sense.
    #[error("ledger {endpoint} answered what cannot be understood: {reason}")]
    Protocol {
        /// Whom we asked.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl LedgerError {
    /// The refusal, if the chain's rules said no.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl From<AuthError> for LedgerError {
    fn from(error: AuthError) -> Self {
        Self::Unauthenticated {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    /// One of each refusal.
    pub(crate) fn all() -> impl Iterator<Item = Refusal> {
        let names = Refusal::iter().map(|refusal| refusal.name().to_owned());
        let names = names.chain(["SubtokenDisabled".to_owned()]);
        names.map(|name| Refusal::from_name(&name, Some(u64::MAX)))
    }

    #[test]
    fn a_refusal_survives_its_name_and_its_message_begins_with_it() {
        for refusal in all() {
            assert_eq!(Refusal::from_name(refusal.name(), refusal.retry_at_block()), refusal);
            assert!(
                refusal.to_string().starts_with(&format!("{}:", refusal.name())),
                "{refusal}"
            );
        }
        let without_its_block = Refusal::from_name("SettingWeightsTooFast", None);
        assert!(
            matches!(&without_its_block, Refusal::Other { name } if name == "SettingWeightsTooFast"),
            "{without_its_block}"
        );
    }
}
