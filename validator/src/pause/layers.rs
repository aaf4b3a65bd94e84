//! Sources of one state: what came with the challenge, below it what an own node knows of the same block, and above both what is taken
//! for granted.
//!
//! What always holds: all are of one block; what none of them knows is missing.

use engine::{Account, Address, B256, Bytes, Prestate, State, StateError, U256};

/// `above` where it knows, else `below`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layers<'a, S> {
    pub(super) above: Option<&'a Prestate>,
    pub(super) below: &'a S,
}

impl<S: State> Layers<'_, S> {
    fn read<T>(&self, read: impl Fn(&dyn State) -> Result<T, StateError>) -> Result<T, StateError> {
        match self.above.map(|above| read(above)) {
            Some(Ok(known)) => Ok(known),
            _ => read(self.below),
        }
    }
}

impl<S: State> State for Layers<'_, S> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.read(|state| state.account(address))
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        self.read(|state| state.code(code_hash))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.read(|state| state.storage(address, slot))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.read(|state| state.block_hash(number))
    }
}

/// A slot that is taken to hold something else than it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumption {
    /// Whose.
    pub account: Address,
    /// Which.
    pub slot: U256,
    /// What it is taken to hold.
    pub value: U256,
}

/// `state`, but for what is assumed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Assuming<'a, S> {
    pub(super) assumed: &'a [Assumption],
    pub(super) state: S,
}

impl<S: State> State for Assuming<'_, S> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.state.account(address)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        self.state.code(code_hash)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let of = |assumed: &&Assumption| assumed.account == address && assumed.slot == slot;
        match self.assumed.iter().find(of) {
            Some(assumed) => Ok(assumed.value),
            None => self.state.storage(address, slot),
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.state.block_hash(number)
    }
}

#[cfg(test)]
mod tests {
    use engine::{AccountState, Missing};

    use super::*;

    fn with(slots: &[(u64, u64)]) -> Prestate {
        let mut state = Prestate::default();
        let mut account = AccountState::default();
        for (slot, value) in slots {
            account.storage.insert(U256::from(*slot), U256::from(*value));
        }
        state.accounts.insert(Address::ZERO, account);
        state
    }

    #[test]
    fn what_the_upper_one_does_not_know_the_lower_one_tells() {
        let (above, below) = (with(&[(1, 10)]), with(&[(1, 11), (2, 20)]));
        let both = Layers {
            above: Some(&above),
            below: &below,
        };
        let slot = |state: &dyn State, slot| state.storage(Address::ZERO, U256::from(slot));
        assert_eq!(slot(&both, 1), Ok(U256::from(10)));
        assert_eq!(slot(&both, 2), Ok(U256::from(20)));
        let missing = Missing::Slot(Address::ZERO, U256::from(3));
        assert_eq!(slot(&both, 3), Err(StateError::Missing(missing)));
        let only = Layers {
            above: None,
            below: &below,
        };
        assert_eq!(slot(&only, 1), Ok(U256::from(11)));
    }

    #[test]
    fn what_is_assumed_stands_above_what_is_so() {
        let state = with(&[(1, 10), (2, 20)]);
        let assumed = [Assumption {
            account: Address::ZERO,
            slot: U256::from(1),
            value: U256::from(7),
        }];
        let assuming = Assuming {
            assumed: &assumed,
            state,
        };
        let slot = |account, slot| assuming.storage(account, U256::from(slot));
        assert_eq!(slot(Address::ZERO, 1), Ok(U256::from(7)));
        assert_eq!(slot(Address::ZERO, 2), Ok(U256::from(20)));
        assert_ne!(slot(Address::repeat_byte(1), 1), Ok(U256::from(7)), "another account's");
    }
}
