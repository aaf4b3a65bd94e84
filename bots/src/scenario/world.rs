//! The scenario's chain: whole state, next block's environment, and blocks that the engine executes.
//!
//! What always holds: a block is executed through the same [`Case`] that is recorded, by the same [`Replay`] that reads it
//! back later, so the record cannot expect what the engine would not give.

use alloy::consensus::constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_WITHDRAWALS};
use alloy::consensus::proofs::calculate_transaction_root;
use alloy::consensus::{Header, Transaction as _, TxEnvelope};
use alloy::eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, U256, keccak256};
use engine::case::{Case, CaseKind, Expect, Expected, ExpectedStatus};
use engine::replay::Replay;
use engine::{
    Account, AccountState, BlockEnv, CompleteState, Execution, Hardfork, Prestate, State as _, Status, Transaction,
};

use super::view::View;
use super::{CHAIN_ID, Ending, ScenarioError};

/// Gas limit of every block; EIP-1559 aims at half of it.
const GAS_LIMIT: u64 = 6_000_000;
/// Base fee of the first block, in wei.
const FIRST_BASE_FEE: u64 = 7_000_000_000;
/// Time of the genesis, in seconds since the Unix epoch.
const GENESIS_TIME: u64 = 1_760_000_000;
/// Seconds from block to block.
const BLOCK_TIME: u64 = 12;

/// A signed transaction with what is known of it beforehand.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The transaction.
    pub tx: TxEnvelope,
    /// Its sender.
    pub from: Address,
    /// How it must end.
    pub ending: Ending,
    /// What it does, for people.
    pub what: &'static str,
}

/// An executed block.
#[derive(Debug, Clone)]
pub struct Mined {
    /// The block as a recorded case, with what executing it gave.
    pub case: Case,
    /// What each transaction does, for people.
    pub labels: Vec<&'static str>,
}

/// The chain up to its head.
#[derive(Debug, Clone)]
pub struct World {
    seed: u64,
    state: CompleteState,
    env: BlockEnv,
    parent: B256,
}

impl World {
    /// A chain on which only these accounts have something.
    #[must_use]
    pub fn genesis(seed: u64, funds: &[(Address, U256)]) -> Self {
        let mut pre = Prestate::default();
        for (address, balance) in funds {
            let account = Some(Account {
                balance: *balance,
                ..Account::default()
            });
            pre.accounts.insert(
                *address,
                AccountState {
                    account,
                    ..AccountState::default()
                },
            );
        }
        let parent = keccak256(format!("portcullis scenario {seed} genesis"));
        pre.block_hashes.insert(0, parent);
        Self {
            seed,
            state: CompleteState(pre),
            env: environment(seed, 1, FIRST_BASE_FEE),
            parent,
        }
    }

    /// Base fee of the next block, in wei.
    #[must_use]
    pub const fn base_fee(&self) -> u64 {
        self.env.base_fee
    }

    /// Time of the next block, in seconds since the Unix epoch.
    #[must_use]
    pub const fn timestamp(&self) -> u64 {
        self.env.timestamp
    }

    /// Environment of the next block.
    #[must_use]
    pub const fn env(&self) -> &BlockEnv {
        &self.env
    }

    /// Hash of the head.
    #[must_use]
    pub const fn head(&self) -> B256 {
        self.parent
    }

    /// The whole state at the head.
    #[must_use]
    pub const fn state(&self) -> &CompleteState {
        &self.state
    }

    /// Executes a block of these transactions and goes on to the next.
    ///
    /// # Errors
    /// When one does not end as planned, or does not fit into the block.
    pub fn mine(&mut self, entries: &[Entry]) -> Result<Mined, ScenarioError> {
        let number = self.env.number;
        let failed = |why: String| ScenarioError::Engine { block: number, why };
        let transactions = entries
            .iter()
            .map(|entry| Transaction::with_sender(&entry.tx.encoded_2718(), entry.from))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(error.to_string()))?;
        let mut case = Case {
            id: format!("vault-reentrancy-block-{number}"),
            kind: CaseKind::Block,
            chain_id: CHAIN_ID,
            hardfork: Hardfork::Prague,
            relaxed: false,
            block: self.env.clone(),
            block_hash: None,
            parent_hash: Some(self.parent),
            transactions,
            pre: self.state.clone(),
            expect: Expect::default(),
            invariants: Vec::new(),
            inexpressible: Vec::new(),
        };

        let mut replay = Replay::new(case.clone());
        let mut gas_used = 0_u64;
        for (entry, step) in entries.iter().zip(replay.by_ref()) {
            let step = step.map_err(|error| failed(error.to_string()))?;
            if entry.tx.gas_limit() > GAS_LIMIT - gas_used {
                return Err(ScenarioError::Plan(format!(
                    "block {number}: {} does not fit into its gas",
                    entry.what
                )));
            }
            case.expect
                .per_tx
                .push(expected(number, step.index, entry, &step.outcome)?);
            gas_used += step.outcome.gas_used;
        }
        self.state = pruned(replay.state());
        case.expect.block_gas_used = Some(gas_used);
        let hash = self.hash(entries, gas_used);
        case.block_hash = Some(hash);

        self.parent = hash;
        self.state.0.block_hashes.insert(number, hash);
        let base_fee = calc_next_block_base_fee(gas_used, GAS_LIMIT, self.env.base_fee, BaseFeeParams::ethereum());
        self.env = environment(self.seed, number + 1, base_fee);
        Ok(Mined {
            case,
            labels: entries.iter().map(|entry| entry.what).collect(),
        })
    }

    /// Hash of the block's header. State and receipts roots are left empty in it: the hash names the block, it proves only its
    /// parent, environment and transactions.
    fn hash(&self, entries: &[Entry], gas_used: u64) -> B256 {
        let transactions: Vec<TxEnvelope> = entries.iter().map(|entry| entry.tx.clone()).collect();
        let blobs: usize = transactions
            .iter()
            .filter_map(TxEnvelope::blob_versioned_hashes)
            .map(<[B256]>::len)
            .sum();
        Header {
            parent_hash: self.parent,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: self.env.beneficiary,
            transactions_root: calculate_transaction_root(&transactions),
            number: self.env.number,
            gas_limit: self.env.gas_limit,
            gas_used,
            timestamp: self.env.timestamp,
            mix_hash: self.env.prevrandao.unwrap_or_default(),
            base_fee_per_gas: Some(self.env.base_fee),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(blobs as u64 * alloy::eips::eip4844::DATA_GAS_PER_BLOB),
            excess_blob_gas: self.env.excess_blob_gas,
            parent_beacon_block_root: Some(B256::ZERO),
            ..Header::default()
        }
        .hash_slow()
    }
}

impl View for World {
    fn balance(&self, address: Address) -> U256 {
        self.state
            .account(address)
            .ok()
            .flatten()
            .map(|account| account.balance)
            .unwrap_or_default()
    }

    fn word(&self, address: Address, slot: U256) -> U256 {
        self.state.storage(address, slot).unwrap_or_default()
    }

    fn base_fee(&self) -> u64 {
        self.env.base_fee
    }

    fn timestamp(&self) -> u64 {
        self.env.timestamp
    }
}

/// Blob gas never passes its target on this chain, so none of it is in excess.
fn environment(seed: u64, number: u64, base_fee: u64) -> BlockEnv {
    let proposer = keccak256(format!("portcullis scenario {seed} proposer {}", number % 3));
    BlockEnv {
        number,
        timestamp: GENESIS_TIME + number * BLOCK_TIME,
        beneficiary: Address::from_word(proposer),
        gas_limit: GAS_LIMIT,
        base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(keccak256(format!("portcullis scenario {seed} randao {number}"))),
        excess_blob_gas: Some(0),
        hardfork: Some(Hardfork::Prague),
    }
}

fn expected(block: u64, index: usize, entry: &Entry, execution: &Execution) -> Result<Expected, ScenarioError> {
    let (ending, status) = match &execution.status {
        Status::Success => (Some(Ending::Success), Some(ExpectedStatus::Success)),
        Status::Revert => (Some(Ending::Revert), Some(ExpectedStatus::Revert)),
        Status::Halt(_) => (Some(Ending::Halt), Some(ExpectedStatus::Halt)),
        Status::Invalid(_) => (None, None),
    };
    if ending != Some(entry.ending) {
        let (what, planned, ended) = (entry.what, entry.ending.name(), execution.status.to_string());
        return Err(ScenarioError::Surprise {
            block,
            index,
            what,
            planned,
            ended,
        });
    }
    Ok(Expected {
        gas_used: execution.gas_used,
        status,
        logs: Some(execution.logs),
    })
}

/// The same state without what need not be said: slots that are zero and accounts that do not exist.
fn pruned(state: &CompleteState) -> CompleteState {
    let mut state = state.clone();
    state.0.accounts.retain(|_, known| {
        known.storage.retain(|_, word| !word.is_zero());
        known.account.is_some()
    });
    state
}
