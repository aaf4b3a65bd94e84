//! What becomes of a transaction that waits.

use std::fmt;
use std::time::Duration;

use engine::B256;

use super::RIVALS;

/// Why a transaction was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DropReason {
    /// An included transaction has used its nonce, or a later one of its sender.
    NonceUsed {
        /// The included one.
        by: B256,
    },
    /// No node that is listened to knows it any more.
    Forgotten,
    /// It is part of an old block that was not followed.
    IncludedUnseen(u64),
    /// It has waited too long.
    Expired(Duration),
    /// Too many wait; it waited longest.
    Full(usize),
    /// Too many of the same sender and nonce wait; it pays least.
    Outbid,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonceUsed { by } => write!(f, "its nonce was used by transaction {by}"),
            Self::Forgotten => f.write_str("no node knows it any more"),
            Self::IncludedUnseen(number) => write!(f, "block {number} includes it, which was not followed"),
            Self::Expired(age) => write!(f, "it waited longer than {}", humantime::format_duration(*age)),
            Self::Full(limit) => write!(f, "more than {limit} transactions wait"),
            Self::Outbid => write!(
                f,
                "more than {RIVALS} transactions of its sender and nonce wait, and it pays least"
            ),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEvent {
    /// It waits now: it is new, or a reorg has put it back.
    Pending(B256),
    /// It gave way to another one.
    Replaced {
        /// Waits no more.
        old: B256,
        /// Waits in its place.
        new: B256,
    },
    /// It is part of a block.
    Included {
        /// Waits no more.
        hash: B256,
        /// The block.
        block: B256,
    },
    /// It waits no more.
    Dropped {
        /// It.
        hash: B256,
        /// Why.
        reason: DropReason,
    },
}
