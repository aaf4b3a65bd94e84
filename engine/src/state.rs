//! What the engine reads: the state of one pinned block, behind one small trait.
//!
//! Whoever implements [`State`] answers for one block only and never guesses: what it does not know is
//! [`StateError::Missing`], what it cannot reach is [`StateError::Broken`].

use std::{cell::RefCell, collections::BTreeMap, fmt};

use alloy::primitives::{KECCAK256_EMPTY, Keccak256, keccak256};
use auto_impl::auto_impl;

use crate::{Address, B256, Bytes, U256};

/// An account without its storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Wei.
    pub balance: U256,
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// Keccak-256 of the code; that of the empty string when it has none.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            balance: U256::ZERO,
            nonce: 0,
            code_hash: KECCAK256_EMPTY,
        }
    }
}

impl Account {
    /// True when it has code.
    #[must_use]
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK256_EMPTY && !self.code_hash.is_zero()
    }
}

/// A piece of state that a source does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Missing {
    /// Whether there is such an account, and what it holds.
    Account(Address),
    /// The code with this hash.
    Code(B256),
    /// One storage slot.
    Slot(Address, U256),
    /// The hash of the block with this number.
    BlockHash(u64),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(address) => write!(f, "account {address}"),
            Self::Code(hash) => write!(f, "code {hash}"),
            Self::Slot(address, slot) => write!(f, "slot {slot:#x} of {address}"),
            Self::BlockHash(number) => write!(f, "hash of block {number}"),
        }
    }
}

/// Why a state source gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It does not know this; the verdict is undecided.
    #[error("missing state: {0}")]
    Missing(Missing),
    /// It is broken or unreachable; judging fails.
    #[error("state source broken: {0}")]
    Broken(String),
}

/// The state of one block.
///
/// An account that the source knows not to exist is `Ok(None)`, a slot known to be empty is `Ok(U256::ZERO)`.
#[auto_impl(&, Arc)]
pub trait State {
    /// The account at this address.
    ///
    /// # Errors
    /// When the source does not know or is broken. The same holds for the other methods.
    fn account(&self, address: Address) -> Result<Option<Account>, StateError>;
    /// The code with this hash; never asked for the hash of the empty string.
    ///
    /// # Errors
    /// See [`State::account`].
    fn code(&self, code_hash: B256) -> Result<Bytes, StateError>;
    /// The same question where the bytes are not needed, since the engine has analysed them before. A source that never lacks the
    /// code of an account that it gives need not look for it.
    ///
    /// # Errors
    /// See [`State::account`].
    fn has_code(&self, code_hash: B256) -> Result<(), StateError> {
        self.code(code_hash).map(drop)
    }
    /// One storage slot of an account.
    ///
    /// # Errors
    /// See [`State::account`].
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError>;
    /// The hash of one of the last 256 blocks.
    ///
    /// # Errors
    /// See [`State::account`].
    fn block_hash(&self, number: u64) -> Result<B256, StateError>;
}

/// One account of a [`Prestate`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// `None`: known not to exist.
    pub account: Option<Account>,
    /// The slots that are known, zero or not.
    pub storage: BTreeMap<U256, U256>,
}

/// An account of which no slot is known.
impl From<Account> for AccountState {
    fn from(account: Account) -> Self {
        Self {
            account: Some(account),
            storage: BTreeMap::new(),
        }
    }
}

/// A part of a block's state, exact: what is not listed is missing, not zero.
///
/// This is what travels with a challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prestate {
    /// Accounts by address.
    pub accounts: BTreeMap<Address, AccountState>,
    /// Code by its hash.
    pub codes: BTreeMap<B256, Bytes>,
    /// Block hashes by number.
    pub block_hashes: BTreeMap<u64, B256>,
}

impl Prestate {
    /// Adds a contract, or whatever else has code: the account with its code's hash, the code under that hash, and these slots.
    pub fn insert_contract(
        &mut self,
        address: Address,
        account: Account,
        code: Bytes,
        storage: impl IntoIterator<Item = (U256, U256)>,
    ) {
        let code_hash = keccak256(&code);
        self.codes.insert(code_hash, code);
        let known = AccountState {
            account: Some(Account { code_hash, ..account }),
            storage: storage.into_iter().collect(),
        };
        self.accounts.insert(address, known);
    }

    /// Tells one state from another: Keccak-256 over accounts, slots and block hashes in the order of their keys.
    ///
    /// Of an execution's own reads (what a [`Recorder`] wrote down) it is the same on every machine that executed the same
    /// transaction on the same state, and another as soon as one value was another. Code is covered by the accounts' code hashes.
    ///
    /// Encoding: for each account its address, 0 (does not exist) or 1 with balance, nonce and code hash, the number of its slots, and
    /// each slot's key and value; then each block's number and hash. Integers are big-endian, of their types' full width.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let mut hasher = Keccak256::new();
        hasher.update((self.accounts.len() as u64).to_be_bytes());
        for (address, state) in &self.accounts {
            hasher.update(address);
            match &state.account {
                None => hasher.update([0]),
                Some(account) => {
                    hasher.update([1]);
                    hasher.update(account.balance.to_be_bytes::<32>());
                    hasher.update(account.nonce.to_be_bytes());
                    hasher.update(account.code_hash);
                }
            }
            hasher.update((state.storage.len() as u64).to_be_bytes());
            for (slot, value) in &state.storage {
                hasher.update(slot.to_be_bytes::<32>());
                hasher.update(value.to_be_bytes::<32>());
            }
        }
        hasher.update((self.block_hashes.len() as u64).to_be_bytes());
        for (number, hash) in &self.block_hashes {
            hasher.update(number.to_be_bytes());
            hasher.update(hash);
        }
        hasher.finalize()
    }
}

impl State for Prestate {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let known = self
            .accounts
            .get(&address)
            .ok_or(StateError::Missing(Missing::Account(address)))?;
        Ok(known.account)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        self.codes
            .get(&code_hash)
            .cloned()
            .ok_or(StateError::Missing(Missing::Code(code_hash)))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.accounts
            .get(&address)
            .and_then(|known| known.storage.get(&slot).copied())
            .ok_or(StateError::Missing(Missing::Slot(address, slot)))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.block_hashes
            .get(&number)
            .copied()
            .ok_or(StateError::Missing(Missing::BlockHash(number)))
    }
}

/// A whole small state: an account that is not listed does not exist, a slot that is not listed is zero.
///
/// Codes and block hashes that are not listed are missing all the same. This is what a recorded case holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompleteState(pub Prestate);

impl State for CompleteState {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        Ok(self.0.accounts.get(&address).and_then(|known| known.account))
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        self.0.code(code_hash)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        Ok(self
            .0
            .accounts
            .get(&address)
            .and_then(|known| known.storage.get(&slot).copied())
            .unwrap_or_default())
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.0.block_hash(number)
    }
}

/// Passes reads through and writes down what was answered: the exact [`Prestate`] of an execution.
#[derive(Debug)]
pub struct Recorder<S> {
    inner: S,
    seen: RefCell<Prestate>,
}

impl<S: State> Recorder<S> {
    /// Records what is read from `inner` from now on.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            seen: RefCell::default(),
        }
    }

    /// What was read. Errors are not part of it.
    #[must_use]
    pub fn into_prestate(self) -> Prestate {
        self.seen.into_inner()
    }
}

impl<S: State> State for Recorder<S> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let account = self.inner.account(address)?;
        self.seen.borrow_mut().accounts.entry(address).or_default().account = account;
        Ok(account)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        let code = self.inner.code(code_hash)?;
        self.seen.borrow_mut().codes.insert(code_hash, code.clone());
        Ok(code)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let value = self.inner.storage(address, slot)?;
        // Storage of an account that was never asked for itself would make the record claim that it does not exist.
        if !self.seen.borrow().accounts.contains_key(&address) {
            self.account(address)?;
        }
        self.seen
            .borrow_mut()
            .accounts
            .entry(address)
            .or_default()
            .storage
            .insert(slot, value);
        Ok(value)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        let hash = self.inner.block_hash(number)?;
        self.seen.borrow_mut().block_hashes.insert(number, hash);
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_account() -> Prestate {
        let mut state = Prestate::default();
        let known = AccountState {
            account: Some(Account::default()),
            storage: [(U256::from(1), U256::from(9))].into(),
        };
        state.accounts.insert(Address::repeat_byte(1), known);
        state.accounts.insert(Address::repeat_byte(2), AccountState::default());
        state
    }

    #[test]
    fn a_prestate_never_takes_the_unknown_for_zero() {
        let state = one_account();
        let (here, absent, unknown) = (
            Address::repeat_byte(1),
            Address::repeat_byte(2),
            Address::repeat_byte(3),
        );
        assert_eq!(state.account(here), Ok(Some(Account::default())));
        assert_eq!(state.account(absent), Ok(None));
        assert_eq!(
            state.account(unknown),
            Err(StateError::Missing(Missing::Account(unknown)))
        );
        assert_eq!(state.storage(here, U256::from(1)), Ok(U256::from(9)));
        assert_eq!(
            state.storage(here, U256::from(2)),
            Err(StateError::Missing(Missing::Slot(here, U256::from(2))))
        );
        assert_eq!(
            state.code(B256::repeat_byte(5)),
            Err(StateError::Missing(Missing::Code(B256::repeat_byte(5))))
        );
        assert_eq!(state.block_hash(5), Err(StateError::Missing(Missing::BlockHash(5))));
    }

    #[test]
    fn a_digest_tells_each_value_and_not_where_code_came_from() {
        type Change = fn(&mut Prestate);
        let changes: [Change; 7] = [
            |state| drop(state.accounts.remove(&Address::repeat_byte(2))),
            |state| state.accounts.get_mut(&Address::repeat_byte(2)).unwrap().account = Some(Account::default()),
            |state| {
                state
                    .accounts
                    .get_mut(&Address::repeat_byte(1))
                    .unwrap()
                    .account
                    .as_mut()
                    .unwrap()
                    .nonce = 1
            },
            |state| state.accounts.get_mut(&Address::repeat_byte(1)).unwrap().account = None,
            |state| {
                let slots = &mut state.accounts.get_mut(&Address::repeat_byte(1)).unwrap().storage;
                slots.insert(U256::from(1), U256::from(8));
            },
            |state| {
                let slots = &mut state.accounts.get_mut(&Address::repeat_byte(1)).unwrap().storage;
                slots.insert(U256::from(2), U256::ZERO);
            },
            |state| {
                state.block_hashes.insert(1, B256::ZERO);
            },
        ];
        let mut digests = vec![one_account().digest()];
        for change in changes {
            let mut state = one_account();
            change(&mut state);
            digests.push(state.digest());
        }
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len());
        let mut with_code = one_account();
        with_code.codes.insert(B256::ZERO, Bytes::new());
        assert_eq!(with_code.digest(), one_account().digest());
    }

    #[test]
    fn a_complete_state_knows_that_the_rest_is_empty_but_not_code_or_block_hashes() {
        let state = CompleteState(one_account());
        assert_eq!(state.account(Address::repeat_byte(3)), Ok(None));
        assert_eq!(state.storage(Address::repeat_byte(1), U256::from(2)), Ok(U256::ZERO));
        assert!(state.code(B256::repeat_byte(5)).is_err());
        assert!(state.block_hash(5).is_err());
    }

    #[test]
    fn a_recording_answers_what_was_asked_and_nothing_else() {
        let whole = CompleteState(one_account());
        let recorder = Recorder::new(&whole);
        let (here, absent) = (Address::repeat_byte(1), Address::repeat_byte(3));
        recorder.storage(here, U256::from(7)).unwrap();
        recorder.account(absent).unwrap();
        let recorded = recorder.into_prestate();
        assert_eq!(recorded.account(here), Ok(Some(Account::default())));
        assert_eq!(recorded.account(absent), Ok(None));
        assert_eq!(recorded.storage(here, U256::from(7)), Ok(U256::ZERO));
        assert!(recorded.storage(here, U256::from(1)).is_err());
        assert!(recorded.account(Address::repeat_byte(2)).is_err());
    }
}
