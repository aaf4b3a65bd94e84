//! The engine's [`State`] as the database that revm reads.

use alloy::primitives::KECCAK256_EMPTY;
use revm::{
    bytecode::Bytecode,
    database_interface::{DBErrorMarker, Database},
    state::AccountInfo,
};

use super::codes::Codes;
use crate::{Address, B256, State, StateError, U256};

/// Why a read stopped the execution. Boxed: revm hands every step's result on by value, and one that is large for the sake of an
/// error that never comes costs a tenth of a plain transfer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    State(Box<StateError>),
    #[error("deadline passed")]
    Deadline,
}

impl From<StateError> for ReadError {
    fn from(error: StateError) -> Self {
        Self::State(Box::new(error))
    }
}

impl DBErrorMarker for ReadError {}

/// Reads for the time of one execution.
pub(super) struct StateDatabase<'a> {
    pub(super) state: &'a dyn State,
    pub(super) codes: &'a mut Codes,
    pub(super) expired: Option<&'a dyn Fn() -> bool>,
}

impl StateDatabase<'_> {
    /// `Err` once the deadline has passed.
    #[inline]
    pub(super) fn in_time(&self) -> Result<(), ReadError> {
        match self.expired {
            Some(expired) if expired() => Err(ReadError::Deadline),
            _ => Ok(()),
        }
    }
}

impl Database for StateDatabase<'_> {
    type Error = ReadError;

    // Called at one place of revm: inlined there, an account is not moved twice.
    #[inline(always)]
    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, ReadError> {
        self.in_time()?;
        Ok(self.state.account(address)?.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            // An account without code may say so by zero.
            code_hash: if account.code_hash.is_zero() {
                KECCAK256_EMPTY
            } else {
                account.code_hash
            },
            code: None,
            account_id: None,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, ReadError> {
        self.in_time()?;
        // The source is asked even for code that is known here: what an execution reads must not depend on what ran before.
        if let Some(known) = self.codes.known(code_hash) {
            let known = known.clone();
            self.state.has_code(code_hash)?;
            return Ok(known);
        }
        let code = self.state.code(code_hash)?;
        self.codes
            .analysed(code_hash, code)
            .map_err(|why| StateError::Broken(why).into())
    }

    #[inline]
    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, ReadError> {
        self.in_time()?;
        Ok(self.state.storage(address, slot)?)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, ReadError> {
        self.in_time()?;
        Ok(self.state.block_hash(number)?)
    }
}
