//! The challenge: a question with one right answer.

use std::time::Duration;

use engine::{B256, BlockEnv, Transaction, Watched};
use protos::{DecodeError, required, v1};

use crate::evm::{hash, hash_bytes};
use crate::{ShippedPrestate, Wire, predecessors};

/// A transaction, the state to execute it on, and the invariants to judge. Immutable once made.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// Chosen at random by the validator.
    pub id: B256,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The block on whose state the transaction is executed.
    pub head_hash: B256,
    /// The block in which it would be included.
    pub env: BlockEnv,
    /// The version of the set from which the invariants are.
    pub invariant_set_version: u64,
    /// Those that the transaction could touch.
    pub invariants: Vec<Watched>,
    /// The transaction.
    pub transaction: Transaction,
    /// Waiting transactions of the same sender with the nonces below, in their order: executed first, on the same state.
    pub predecessors: Vec<Transaction>,
    /// The state to use; absent: the miner's own node at `head_hash`.
    pub prestate: Option<ShippedPrestate>,
    /// How long the validator waits, from the receipt on.
    pub deadline: Duration,
}

impl Wire for Challenge {
    type Message = v1::Challenge;

    fn to_wire(&self) -> v1::Challenge {
        v1::Challenge {
            id: hash_bytes(self.id),
            chain_id: self.chain_id,
            head_hash: hash_bytes(self.head_hash),
            env: Some(self.env.to_wire()),
            invariant_set_version: self.invariant_set_version,
            invariants: self.invariants.iter().map(Wire::to_wire).collect(),
            transaction: Some(self.transaction.to_wire()),
            prestate: self.prestate.as_ref().map(Wire::to_wire),
            deadline_ms: u32::try_from(self.deadline.as_millis()).unwrap_or(u32::MAX),
            predecessors: self.predecessors.iter().map(Wire::to_wire).collect(),
        }
    }

    fn from_wire(message: &v1::Challenge) -> Result<Self, DecodeError> {
        let transaction = Transaction::from_wire(required("challenge.transaction", message.transaction.as_ref())?)?;
        Ok(Self {
            id: hash("challenge.id", &message.id)?,
            chain_id: message.chain_id,
            head_hash: hash("challenge.head_hash", &message.head_hash)?,
            env: BlockEnv::from_wire(required("challenge.env", message.env.as_ref())?)?,
            invariant_set_version: message.invariant_set_version,
            invariants: message
                .invariants
                .iter()
                .map(Watched::from_wire)
                .collect::<Result<_, _>>()?,
            prestate: message.prestate.as_ref().map(ShippedPrestate::from_wire).transpose()?,
            deadline: Duration::from_millis(u64::from(message.deadline_ms)),
            predecessors: predecessors("challenge.predecessors", &message.predecessors, &transaction)?,
            transaction,
        })
    }
}
