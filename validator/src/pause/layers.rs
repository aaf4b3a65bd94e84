//! Two sources of one state: what came with the challenge, and below it what an own node knows of the same block.
//!
//! What always holds: both are of one block; what neither knows is missing.

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
}
