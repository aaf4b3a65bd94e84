//! A judged transaction and everything that the judgement rests on.

use engine::{B256, BlockEnv, EnvReads, Outcome, Prestate, Transaction};

/// What a transaction offers, which decides whether a block takes it and what it pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// EIP-2718 type.
    pub tx_type: u8,
    /// Most gas it may use.
    pub gas_limit: u64,
    /// Most it pays per gas in wei; its gas price before EIP-1559.
    pub max_fee_per_gas: u128,
    /// Most it pays per gas to the beneficiary in wei; `None` for types 0 and 1.
    pub max_priority_fee_per_gas: Option<u128>,
}

impl Terms {
    /// What it pays per gas in a block of this base fee (EIP-1559); before that its gas price.
    #[must_use]
    pub fn gas_price(&self, base_fee: u64) -> u128 {
        match self.max_priority_fee_per_gas {
            None => self.max_fee_per_gas,
            Some(tip) => self.max_fee_per_gas.min(u128::from(base_fee).saturating_add(tip)),
        }
    }
}

impl From<&Transaction> for Terms {
    fn from(tx: &Transaction) -> Self {
        Self {
            tx_type: tx.tx_type(),
            gas_limit: tx.gas_limit(),
            max_fee_per_gas: tx.max_fee_per_gas(),
            max_priority_fee_per_gas: tx.max_priority_fee_per_gas(),
        }
    }
}

/// A transaction executed (and judged, where a set was given) at a head, with exactly what was read for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Hash of the block whose state was read.
    pub head: B256,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The environment executed under: that of the block after the head.
    pub env: BlockEnv,
    /// What the transaction offers.
    pub terms: Terms,
    /// How many others were executed before it ([`crate::Reader::judge_behind`]).
    pub behind: usize,
    /// Every account, slot, code and block hash that was read. It suffices to execute the transaction again.
    pub prestate: Prestate,
    /// What was read of the environment, by instruction.
    pub env_reads: EnvReads,
    /// Execution and verdicts. A transaction that cannot be included (nonce, funds) is an answer, not a failure.
    pub outcome: Outcome,
    /// The beneficiary's account was read for nothing but its credit.
    pub only_credited: bool,
    /// What was executed may have looked at a balance, and so at what the sender was charged.
    pub sees_balances: bool,
    /// Round trips to a node that it took, one after the other; none when all was known.
    pub round_trips: u32,
}
