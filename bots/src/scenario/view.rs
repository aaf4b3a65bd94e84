//! What people know when they plan: the state at the head, and the fee and time of the next block.
//!
//! The recorded chain answers out of its own state ([`super::world::World`]); of a living one, what planning reads is asked for
//! first ([`Asked`] finds out what that is) and answered from then on ([`Known`]). So the same story is planned on both.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{Address, U256};
use contracts::{Contract, layout};

use super::ScenarioError;

/// The head of a chain, as far as people look at it.
pub trait View {
    /// Wei of an account.
    fn balance(&self, address: Address) -> U256;

    /// One storage slot of a contract.
    fn word(&self, address: Address, slot: U256) -> U256;

    /// Base fee of the next block, in wei.
    fn base_fee(&self) -> u64;

    /// Time of the next block, in seconds since the Unix epoch.
    fn timestamp(&self) -> u64;

    /// A storage variable of a contract, by name.
    ///
    /// # Errors
    /// When there is no such variable.
    fn variable(&self, address: Address, contract: Contract, name: &str) -> Result<U256, ScenarioError> {
        let variable = layout::variable(contract, name)?;
        Ok(variable.extract(self.word(address, variable.slot)))
    }

    /// The element of a contract's mapping for an address.
    ///
    /// # Errors
    /// When there is no such variable.
    fn mapped(&self, address: Address, contract: Contract, name: &str, key: Address) -> Result<U256, ScenarioError> {
        Ok(self.word(address, layout::variable(contract, name)?.of(key)))
    }
}

/// What was asked of a view.
#[derive(Debug, Default)]
pub struct Reads {
    /// Accounts whose wei.
    pub balances: BTreeSet<Address>,
    /// Slots whose words.
    pub words: BTreeSet<(Address, U256)>,
}

/// Knows nothing (all of it is zero) and notes what it was asked.
#[derive(Debug, Default)]
pub struct Asked {
    balances: RefCell<BTreeSet<Address>>,
    words: RefCell<BTreeSet<(Address, U256)>>,
}

impl Asked {
    /// What it was asked.
    #[must_use]
    pub fn into_reads(self) -> Reads {
        Reads {
            balances: self.balances.into_inner(),
            words: self.words.into_inner(),
        }
    }
}

impl View for Asked {
    fn balance(&self, address: Address) -> U256 {
        self.balances.borrow_mut().insert(address);
        U256::ZERO
    }

    fn word(&self, address: Address, slot: U256) -> U256 {
        self.words.borrow_mut().insert((address, slot));
        U256::ZERO
    }

    fn base_fee(&self) -> u64 {
        0
    }

    fn timestamp(&self) -> u64 {
        0
    }
}

/// What was asked of a living chain at one head. What was not asked for is zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Wei by account.
    pub balances: BTreeMap<Address, U256>,
    /// Words by contract and slot.
    pub words: BTreeMap<(Address, U256), U256>,
    /// Base fee of the next block, in wei.
    pub base_fee: u64,
    /// Time of the next block, in seconds since the Unix epoch.
    pub timestamp: u64,
}

impl View for Known {
    fn balance(&self, address: Address) -> U256 {
        self.balances.get(&address).copied().unwrap_or_default()
    }

    fn word(&self, address: Address, slot: U256) -> U256 {
        self.words.get(&(address, slot)).copied().unwrap_or_default()
    }

    fn base_fee(&self) -> u64 {
        self.base_fee
    }

    fn timestamp(&self) -> u64 {
        self.timestamp
    }
}
