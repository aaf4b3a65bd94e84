//! Why a sender does not start, and why a request is not accepted.

use node::exit::{Code, Failure};

use crate::config::CheckError;
use crate::journal::JournalError;
use crate::keys::KeyError;
use crate::lane::Lane;
use crate::request::IdempotencyKey;
use crate::rpc::{AddressError, CallError};

/// A sender that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] CheckError),
    /// An address or the relay's identity is not where it is said to be.
    #[error("sender: {0}")]
    Secret(#[from] node::config::ConfigError),
    /// An address that cannot be used.
    #[error("sender: {0}")]
    Address(#[from] AddressError),
    /// A lane's key is not there.
    #[error("sender.lanes.{lane}: there is no key `{name}`; add sender.keys.{name}, or give the lane another key")]
    NoKey {
        /// The lane.
        lane: Lane,
        /// The key's name.
        name: String,
    },
    /// A private key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No node answers.
    #[error("sender: no node tells which chain it serves: {0}")]
    Unreachable(CallError),
    /// The nodes serve another chain than the configured one.
    #[error("sender.chain_id is {expected}, but the node serves chain {found}")]
    WrongChain {
        /// As configured.
        expected: u64,
        /// As the node says.
        found: u64,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl OpenError {
    /// How a process ends for it: exit code 3 when no node answers, else 2.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Unreachable(_) => Failure::new(Code::Indeterminate, self),
            _ => Failure::configuration(self),
        }
    }
}

/// A request that was not accepted. Nothing of it was stored, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too many are unfinished.
    #[error("{0} transactions are unfinished, no more are taken; wait for some to end, or raise sender.queue")]
    Full(usize),
    /// The key stands for another effect.
    #[error("`{0}` was submitted before with another receiver, value or input; give each effect its own key")]
    Conflict(IdempotencyKey),
    /// The sender is shut down.
    #[error("the sender is shut down")]
    Stopped,
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
