//! Recorded cases: real blocks, attacks and single transactions with the state they need, as files of schema `evm-case/1`.
//!
//! [`CaseFile`] reads one file or a whole folder, one [`Case`] at a time; [`Case::to_json`] writes one. What a case claims is
//! checked where it can be: the hash of every transaction, its sender by its signature, the hash of every code.
//!
//! Extension over the recorded data: an invariant of kind `storage_slot` with predicate `compare` carries `value_type`, `offset`,
//! `comparison` and `target`, and so any [`Invariant`].

mod bounds;
mod error;
mod json;
mod parse;
mod reader;
mod transaction;
mod write;

use std::fmt;

pub use self::{
    error::{CaseError, Place},
    reader::CaseFile,
};
use crate::{B256, BlockEnv, CompleteState, Hardfork, Invariant, Transaction};

/// What a case was recorded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaseKind {
    /// Every transaction of a block.
    Block,
    /// One attack, with the invariants it breaks.
    Exploit,
    /// One transaction.
    Tx,
}

/// One recorded case, checked and ready to replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name of the case.
    pub id: String,
    /// What it was recorded from.
    pub kind: CaseKind,
    /// Chain it happened on.
    pub chain_id: u64,
    /// Rules it was recorded under.
    pub hardfork: Hardfork,
    /// True when the transactions carry no signature: see [`Transaction::unsigned`].
    pub relaxed: bool,
    /// Environment of its block. The rules stand in it (`block.hardfork`), except for real blocks of chain 1: theirs follow from
    /// number and time, and agree with `hardfork`.
    pub block: BlockEnv,
    /// Hash of the block, where recorded.
    pub block_hash: Option<B256>,
    /// Hash of the block before, where recorded.
    pub parent_hash: Option<B256>,
    /// In the order of the block.
    pub transactions: Vec<Transaction>,
    /// State before the first transaction: an account not listed does not exist, a slot not listed is zero. Codes and the
    /// hashes of earlier blocks are part of it.
    pub pre: CompleteState,
    /// What executing it must give.
    pub expect: Expect,
    /// Its own storage invariants, numbered by their place in the file.
    pub invariants: Vec<Invariant>,
    /// Names of its invariants that are no comparison of a stored value with a constant: balances, view calls, and bounds that
    /// no 256-bit number reaches.
    pub inexpressible: Vec<String>,
}

/// What executing a case must give, as far as it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// Gas of all transactions together.
    pub block_gas_used: Option<u64>,
    /// One for each transaction, in order; empty when nothing was recorded.
    pub per_tx: Vec<Expected>,
}

/// What executing one transaction must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Gas used after refunds.
    pub gas_used: u64,
    /// How it ended, where recorded.
    pub status: Option<ExpectedStatus>,
    /// Number of logs, where recorded.
    pub logs: Option<usize>,
}

/// How a recorded transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedStatus {
    /// It ran to its end.
    Success,
    /// It reverted.
    Revert,
    /// It halted exceptionally.
    Halt,
}

impl Expected {
    /// True when an execution gave what was recorded.
    #[must_use]
    pub fn agrees(&self, execution: &crate::Execution) -> bool {
        use crate::Status;
        let status = match self.status {
            None => !matches!(execution.status, Status::Invalid(_)),
            Some(ExpectedStatus::Success) => execution.status == Status::Success,
            Some(ExpectedStatus::Revert) => execution.status == Status::Revert,
            Some(ExpectedStatus::Halt) => matches!(execution.status, Status::Halt(_)),
        };
        status && self.gas_used == execution.gas_used && self.logs.is_none_or(|logs| logs == execution.logs)
    }
}

impl CaseKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Exploit => "exploit",
            Self::Tx => "tx",
        }
    }
}

impl fmt::Display for CaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
