//! What comes out: verdicts, why, and the evidence.

use std::fmt;

use alloy::primitives::Keccak256;

use crate::{Address, B256, Missing, U256};

/// The answer for one invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The transaction does not break the invariant (it may have been broken before: see [`Judgement::transition`]).
    Holds,
    /// The invariant held before the transaction and does not hold after it.
    Violated(Witness),
    /// It cannot be said, and why. Never to be taken for either of the others.
    Undecided(Reason),
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The state source does not know something that the execution or the invariant reads.
    #[error("missing state: {0}")]
    MissingState(Missing),
    /// The transaction cannot be included on this state under this environment.
    #[error("invalid transaction: {0}")]
    InvalidTransaction(String),
    /// The time given had passed.
    #[error("deadline passed")]
    Deadline,
    /// The engine cannot execute this block's rules or read this invariant.
    #[error("unsupported: {0}")]
    Unsupported(String),
}

/// Evidence of a violation: enough to check it by re-execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Invariant that is broken.
    pub invariant_id: u64,
    /// Transaction that breaks it.
    pub tx_hash: B256,
    /// Contract whose storage was read.
    pub contract: Address,
    /// Slot that was read.
    pub slot: U256,
    /// Decoded value before the transaction (two's complement when signed).
    pub pre: U256,
    /// Decoded value after the transaction.
    pub post: U256,
    /// Version of the engine that found it, [`crate::ENGINE_VERSION`].
    pub engine_version: String,
}

impl Witness {
    /// Identity of the evidence, the same on every machine:
    /// `keccak256("portcullis/witness/1" || invariant_id u64 || tx_hash || contract || slot || pre || post || len(engine_version)
    /// u64 || engine_version)`, numbers big-endian, slot, pre and post in 32 bytes.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update(b"portcullis/witness/1");
        hasher.update(self.invariant_id.to_be_bytes());
        hasher.update(self.tx_hash);
        hasher.update(self.contract);
        for word in [self.slot, self.pre, self.post] {
            hasher.update(word.to_be_bytes::<32>());
        }
        hasher.update((self.engine_version.len() as u64).to_be_bytes());
        hasher.update(self.engine_version.as_bytes());
        hasher.finalize()
    }
}

/// What the transaction did to an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The slot has the word it had before; nothing was evaluated.
    Untouched,
    /// It held before and holds after.
    Kept,
    /// It held before and does not after. Only this is a violation.
    Broke,
    /// It did not hold before and does after.
    Restored,
    /// It held neither before nor after.
    StayedBroken,
}

/// One invariant's judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which invariant.
    pub invariant_id: u64,
    /// The answer.
    pub verdict: Verdict,
    /// What happened to it; `None` when undecided.
    pub transition: Option<Transition>,
}

/// How the transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It ran to its end.
    Success,
    /// It reverted; only fees and nonces changed.
    Revert,
    /// It halted exceptionally and used up its gas; why.
    Halt(String),
    /// It cannot be included at all; why. Nothing changed.
    Invalid(String),
}

/// What executing the transaction gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// How it ended.
    pub status: Status,
    /// Gas used after refunds, as in a receipt; zero when invalid.
    pub gas_used: u64,
    /// Number of logs; zero unless it succeeded.
    pub logs: usize,
    /// Shows that the execution was done; identical on every machine.
    ///
    /// `keccak256("portcullis/post-state/1" || status u8 || gas_used u64 || logs u64 || account*)`, all numbers big-endian;
    /// status is 0 success, 1 revert, 2 halt, 3 invalid. One `account` for each account that the transaction changed, in rising
    /// order of address: `address || 0x00` when it does not exist afterwards, else
    /// `address || 0x01 || balance 32 bytes || nonce u64 || code_hash || count u64 || (slot 32 bytes || value 32 bytes)*`, with the
    /// final value of each slot whose value changed, in rising order of slot. An invalid transaction changes no account.
    pub post_state_digest: B256,
}

/// Everything that judging one transaction gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What executing it gave; `None` when it could not be executed to its end: then every judgement is undecided.
    pub execution: Option<Execution>,
    /// One judgement for each invariant, in the order given.
    pub judgements: Vec<Judgement>,
}

impl Outcome {
    /// The violations found, in the order of the invariants.
    pub fn violations(&self) -> impl Iterator<Item = &Witness> {
        self.judgements.iter().filter_map(|judgement| match &judgement.verdict {
            Verdict::Violated(witness) => Some(witness),
            Verdict::Holds | Verdict::Undecided(_) => None,
        })
    }
}

impl Judgement {
    pub(crate) const fn undecided(invariant_id: u64, reason: Reason) -> Self {
        Self {
            invariant_id,
            verdict: Verdict::Undecided(reason),
            transition: None,
        }
    }
}

impl Status {
    /// The byte that stands for it in [`Execution::post_state_digest`].
    pub(crate) const fn tag(&self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Revert => 1,
            Self::Halt(_) => 2,
            Self::Invalid(_) => 3,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Revert => f.write_str("revert"),
            Self::Halt(why) => write!(f, "halt: {why}"),
            Self::Invalid(why) => write!(f, "invalid: {why}"),
        }
    }
}
