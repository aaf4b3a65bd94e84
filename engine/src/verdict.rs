//! What comes out: verdicts, why, and the evidence.

use std::fmt;

use alloy::primitives::{Keccak256, map::HashMap};

use crate::{Address, B256, Missing, U256, ValueType, WatchSet, Watched, lang::Wide};

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
    /// A view that the invariant reads gives no value.
    #[error("view of {contract}: {why}")]
    View {
        /// The contract that is called.
        contract: Address,
        /// Why there is no value.
        why: ViewError,
    },
    /// The expression has no value: division by zero, overflow, or a word that is none of its type.
    #[error("no value: {0}")]
    Arithmetic(String),
}

/// Why a static call gives no value. Never taken for a value, and never for a violation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// There is no code at the address: never deployed, or destroyed.
    #[error("there is no code at this address")]
    NoCode,
    /// The gas for one view ([`crate::Options::view_gas`]) did not suffice.
    #[error("out of gas at {gas}; the budget of one view does not suffice")]
    OutOfGas {
        /// What it was given.
        gas: u64,
    },
    /// The gas for all views of this judgement ([`crate::Options::views_gas`]) is used up.
    #[error("the gas budget of all views together is used up")]
    Budget,
    /// The time for one view ([`crate::Options::view_time`]) did not suffice.
    #[error("it took longer than one view may")]
    Time,
    /// It reverted.
    #[error("it reverted")]
    Reverted,
    /// It halted exceptionally; how.
    #[error("it halted: {0}")]
    Halted(String),
    /// It returned less than the word that is read: the ABI is not that of this contract.
    #[error("it returned {bytes} bytes where {needed} are read; check the ABI")]
    Short {
        /// Length of what it returned.
        bytes: usize,
        /// Length that is needed.
        needed: usize,
    },
    /// The word returned is no value of the type: the ABI is not that of this contract.
    #[error("it returned {word:#x}, which is no {value_type}; check the ABI")]
    Range {
        /// What was returned.
        word: U256,
        /// What was expected.
        value_type: ValueType,
    },
}

/// A value that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// How the invariant calls it.
    pub label: String,
    /// Contract or account that was read; zero where none is (block, transaction).
    pub contract: Address,
    /// The slot, where storage was read.
    pub slot: Option<U256>,
    /// Value before the transaction (two's complement when signed); `None` where there is none.
    pub pre: Option<U256>,
    /// Value after it.
    pub post: Option<U256>,
}

/// How a frame was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// `CALL` and its relatives.
    Call,
    /// `CREATE`, `CREATE2`, or a transaction without recipient.
    Create,
}

/// One frame of a call path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// 0 is the transaction's own.
    pub depth: u16,
    /// How it was entered.
    pub kind: CallKind,
    /// Who called.
    pub caller: Address,
    /// Whose storage it works on.
    pub address: Address,
    /// Whose code runs; differs from `address` in a delegate call.
    pub code: Address,
    /// First four bytes of the calldata; `None` when there are fewer, and in a creation.
    pub selector: Option<[u8; 4]>,
}

/// An invariant that a reverted frame had broken: nothing happened, but somebody tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which invariant.
    pub invariant_id: u64,
    /// The frame that had broken it and then reverted.
    pub frame: Call,
    /// Value before the transaction.
    pub pre: U256,
    /// Value when the frame reverted.
    pub at_revert: U256,
}

/// Evidence of a violation: enough to check it by re-execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Invariant that is broken.
    pub invariant_id: u64,
    /// Transaction that breaks it.
    pub tx_hash: B256,
    /// Contract whose storage was read, or that was called.
    pub contract: Address,
    /// Slot that was read; zero where `readings` say what was read.
    pub slot: U256,
    /// Decoded value before the transaction (two's complement when signed); of an expression: 1 when it held.
    pub pre: U256,
    /// Decoded value after the transaction; of an expression: 0, it does not hold.
    pub post: U256,
    /// Version of the engine that found it, [`crate::ENGINE_VERSION`].
    pub engine_version: String,
    /// What a view or an expression read, in its order; empty for an invariant over one slot.
    pub readings: Vec<Reading>,
    /// Calls from the transaction down to the write that crossed the bound; empty when it was not asked for or no frame wrote
    /// it. Found by a second run, and no part of the digest.
    pub path: Vec<Call>,
}

impl Witness {
    /// Identity of the evidence, the same on every machine:
    /// `keccak256("portcullis/witness/1" || invariant_id u64 || tx_hash || contract || slot || pre || post || len(engine_version)
    /// u64 || engine_version)`, numbers big-endian, slot, pre and post in 32 bytes.
    ///
    /// With readings it goes on: `|| "readings" || count u64 || (len(label) u64 || label || contract || slot? || pre? || post?)*`,
    /// where `x?` is `0x00` or `0x01 || x in 32 bytes`. The path is no part of it.
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
        if !self.readings.is_empty() {
            hasher.update(b"readings");
            hasher.update((self.readings.len() as u64).to_be_bytes());
            for reading in &self.readings {
                hasher.update((reading.label.len() as u64).to_be_bytes());
                hasher.update(reading.label.as_bytes());
                hasher.update(reading.contract);
                for word in [reading.slot, reading.pre, reading.post] {
                    match word {
                        None => hasher.update([0]),
                        Some(word) => {
                            hasher.update([1]);
                            hasher.update(word.to_be_bytes::<32>());
                        }
                    }
                }
            }
        }
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
    /// What happened to it; `None` when undecided, and when it holds but nothing is known of before.
    pub transition: Option<Transition>,
    /// Distance to the bound before and after; `None` when nothing was evaluated or what is compared is no number.
    pub margin: Option<Margins>,
}

/// Signed distance to the bound before and after a transaction, in the unit of what is compared: at least zero exactly when the
/// invariant holds. `a >= b` has `a - b`, `a > b` has `a - b - 1`, `a == b` has `-|a - b|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margins {
    /// Before.
    pub pre: Wide,
    /// After.
    pub post: Wide,
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
    ///
    /// All zero where it was not asked for ([`crate::Options::digest`]).
    pub post_state_digest: B256,
}

/// Everything that judging one transaction gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What executing it gave; `None` when it could not be executed to its end: then every judgement is undecided.
    pub execution: Option<Execution>,
    /// One judgement for each invariant, in the order given. From [`crate::Engine::judge_watched`]: only of those invariants that
    /// the transaction could have changed, in the order of the set; all others are untouched.
    pub judgements: Vec<Judgement>,
    /// Why nothing could be decided: then every invariant is undecided for this reason, listed or not.
    pub undecided: Option<Reason>,
    /// What a reverting transaction would have violated, where [`crate::Options::warnings`] asks for it.
    pub warnings: Vec<Warning>,
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

impl Outcome {
    /// Adds what judging a set leaves out, and puts all in the order of the set: whatever is not listed is untouched; undecided, for
    /// the reason of the whole, when nothing could be judged at all.
    pub fn complete(&mut self, set: &WatchSet) {
        let mut listed: HashMap<u64, Judgement> = self
            .judgements
            .drain(..)
            .map(|judgement| (judgement.invariant_id, judgement))
            .collect();
        let missing = |id| match &self.undecided {
            Some(reason) => Judgement::undecided(id, reason.clone()),
            None => Judgement {
                invariant_id: id,
                verdict: Verdict::Holds,
                transition: Some(Transition::Untouched),
                margin: None,
            },
        };
        let judged = |id| listed.remove(&id).unwrap_or_else(|| missing(id));
        self.judgements
            .extend(set.watched().iter().map(Watched::id).map(judged));
    }
}

impl Judgement {
    pub(crate) const fn undecided(invariant_id: u64, reason: Reason) -> Self {
        Self {
            invariant_id,
            verdict: Verdict::Undecided(reason),
            transition: None,
            margin: None,
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
