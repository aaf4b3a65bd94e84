//! Prestates, and the bytecode that travels apart from them.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{KECCAK256_EMPTY, keccak256};
use engine::{Account, AccountState, B256, Bytes, Prestate};
use protos::{DecodeError, v1};

use crate::Wire;
use crate::evm::{address, address_bytes, hash, hash_bytes, word, word_bytes};

/// A prestate as it arrived: complete but for its bytecode, which is known by hash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShippedPrestate {
    state: Prestate,
    code_hashes: BTreeSet<B256>,
}

impl ShippedPrestate {
    /// The bytecodes that the execution loads.
    pub fn code_hashes(&self) -> impl Iterator<Item = B256> + '_ {
        self.code_hashes.iter().copied()
    }

    /// The accounts that the transaction touches: nothing else can change by it.
    pub fn touches(&self, account: &engine::Address) -> bool {
        self.state.accounts.contains_key(account)
    }

    /// [`Prestate::digest`] of it.
    #[must_use]
    pub fn state_digest(&self) -> B256 {
        self.state.digest()
    }

    /// How much it holds: accounts, slots and block hashes.
    #[must_use]
    pub fn words(&self) -> usize {
        let slots: usize = self.state.accounts.values().map(|account| account.storage.len()).sum();
        self.state.accounts.len() + slots + self.state.block_hashes.len()
    }

    /// The whole prestate, with bytecode from `lookup`.
    ///
    /// # Errors
    /// The hashes that `lookup` does not know.
    pub fn complete(mut self, lookup: impl Fn(B256) -> Option<Bytes>) -> Result<Prestate, Vec<B256>> {
        let mut missing = Vec::new();
        for code_hash in self.code_hashes {
            match lookup(code_hash) {
                Some(code) => {
                    self.state.codes.insert(code_hash, code);
                }
                None => missing.push(code_hash),
            }
        }
        if missing.is_empty() {
            Ok(self.state)
        } else {
            Err(missing)
        }
    }
}

impl From<Prestate> for ShippedPrestate {
    fn from(mut state: Prestate) -> Self {
        let code_hashes = std::mem::take(&mut state.codes).into_keys().collect();
        Self { state, code_hashes }
    }
}

impl Wire for ShippedPrestate {
    type Message = v1::Prestate;

    fn to_wire(&self) -> v1::Prestate {
        v1::Prestate {
            accounts: self
                .state
                .accounts
                .iter()
                .map(|(address, account)| account_to_wire(*address, account))
                .collect(),
            block_hashes: self
                .state
                .block_hashes
                .iter()
                .map(|(number, hash)| v1::BlockHash {
                    number: *number,
                    hash: hash_bytes(*hash),
                })
                .collect(),
            code_hashes: self.code_hashes.iter().copied().map(hash_bytes).collect(),
        }
    }

    fn from_wire(message: &v1::Prestate) -> Result<Self, DecodeError> {
        let mut accounts = BTreeMap::new();
        for account in &message.accounts {
            let at = address("prestate.accounts.address", &account.address)?;
            if accounts.insert(at, account_from_wire(account)?).is_some() {
                return Err(DecodeError::invalid(
                    "prestate.accounts",
                    format!("{at} is listed twice"),
                ));
            }
        }
        let mut block_hashes = BTreeMap::new();
        for block in &message.block_hashes {
            block_hashes.insert(block.number, hash("prestate.block_hashes.hash", &block.hash)?);
        }
        let code_hashes = message
            .code_hashes
            .iter()
            .map(|h| hash("prestate.code_hashes", h))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            state: Prestate {
                accounts,
                codes: BTreeMap::new(),
                block_hashes,
            },
            code_hashes,
        })
    }
}

fn account_to_wire(address: engine::Address, state: &AccountState) -> v1::AccountState {
    let storage = state
        .storage
        .iter()
        .map(|(key, value)| v1::Slot {
            key: word_bytes(*key),
            value: word_bytes(*value),
        })
        .collect();
    let mut message = v1::AccountState {
        address: address_bytes(address),
        storage,
        ..Default::default()
    };
    if let Some(account) = &state.account {
        message.exists = true;
        message.balance = word_bytes(account.balance);
        message.nonce = account.nonce;
        if account.code_hash != KECCAK256_EMPTY {
            message.code_hash = hash_bytes(account.code_hash);
        }
    }
    message
}

fn account_from_wire(message: &v1::AccountState) -> Result<AccountState, DecodeError> {
    let account = if message.exists {
        Some(Account {
            balance: word("prestate.accounts.balance", &message.balance)?,
            nonce: message.nonce,
            code_hash: match message.code_hash.len() {
                0 => KECCAK256_EMPTY,
                _ => hash("prestate.accounts.code_hash", &message.code_hash)?,
            },
        })
    } else {
        None
    };
    let storage = message
        .storage
        .iter()
        .map(|slot| {
            Ok((
                word("prestate.accounts.storage.key", &slot.key)?,
                word("prestate.accounts.storage.value", &slot.value)?,
            ))
        })
        .collect::<Result<_, DecodeError>>()?;
    Ok(AccountState { account, storage })
}

/// A bytecode as a message.
pub fn code_to_wire(code_hash: B256, code: &Bytes) -> v1::Code {
    v1::Code {
        hash: hash_bytes(code_hash),
        bytecode: code.clone().into(),
    }
}

/// A bytecode, which must have the hash that it is sent under.
///
/// # Errors
/// Another length of the hash, or another hash.
pub fn code_from_wire(message: &v1::Code) -> Result<(B256, Bytes), DecodeError> {
    let named = hash("code.hash", &message.hash)?;
    let code = Bytes::from(message.bytecode.clone());
    let actual = keccak256(&code);
    if actual != named {
        return Err(DecodeError::invalid(
            "code.hash",
            format!("names {named}, the bytecode hashes to {actual}"),
        ));
    }
    Ok((named, code))
}
