//! What an execution left on the journal, read off it. Nothing is cloned but what is asked for.

use alloy::primitives::Log;
use revm::state::EvmState;

use super::{
    changes::{self, Changes},
    machine::Machine,
};
use crate::{Account, Address, State, StateError, U256, judge::Words};

/// What a transaction did to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is gone, with everything in it.
    Destroyed,
    Balance,
    Nonce,
    Code,
    Slot(U256),
}

impl Machine {
    /// Walks through what the transaction changed. `interest` says for an account, and whether slots of it may have been written, what
    /// it is that matters of it, if anything; of accounts that were destroyed only that is said. With a slot come its words before
    /// and after.
    #[inline]
    pub(crate) fn written<T>(
        &self,
        mut interest: impl FnMut(Address, bool) -> Option<T>,
        mut on: impl FnMut(Address, &T, Written, Words),
    ) {
        let Some(state) = self.state() else { return };
        for (address, account) in state {
            let destroyed = changes::is_destroyed(account);
            if !account.is_touched() && !destroyed {
                continue;
            }
            let Some(interest) = interest(*address, destroyed || !account.storage.is_empty()) else {
                continue;
            };
            if destroyed {
                on(*address, &interest, Written::Destroyed, None);
                continue;
            }
            if account.is_changed() {
                let before = account.original_info();
                if before.balance != account.info.balance {
                    on(*address, &interest, Written::Balance, None);
                }
                if before.nonce != account.info.nonce {
                    on(*address, &interest, Written::Nonce, None);
                }
                if before.code_hash != account.info.code_hash || account.is_created_locally() {
                    on(*address, &interest, Written::Code, None);
                }
            }
            for (slot, words) in account.changed_storage_slots() {
                let words = Some((words.original_value, words.present_value));
                on(*address, &interest, Written::Slot(*slot), words);
            }
        }
    }

    /// The logs that the transaction left.
    pub(crate) fn logs(&self) -> &[Log] {
        self.journal().map_or(&[], |journal| &journal.logs)
    }

    /// A slot's word before and after the transaction. Asks the state source only for what the transaction did not read.
    pub(crate) fn words(&self, state: &dyn State, contract: Address, slot: U256) -> Result<(U256, U256), StateError> {
        changes::words(self.state(), state, contract, slot)
    }

    /// An account before and after the transaction; `None` when it does not exist.
    pub(crate) fn account(
        &self,
        state: &dyn State,
        address: Address,
    ) -> Result<(Option<Account>, Option<Account>), StateError> {
        changes::account(self.state(), self.spec(), state, address)
    }

    /// Reads a slot before and after the transaction; `None` when it was left as it was. Asks the state source only for a slot
    /// of a destroyed contract that the transaction itself did not read.
    pub(crate) fn slot(&self, state: &dyn State, contract: Address, slot: U256) -> Result<Words, StateError> {
        let Some(state_after) = self.state() else {
            return Ok(None);
        };
        changes::slot(state_after, state, contract, slot)
    }

    /// Everything that the transaction changed.
    pub(crate) fn changes(&self) -> Changes {
        let spec = self.spec();
        self.state()
            .map(|state| changes::changes(state, spec))
            .unwrap_or_default()
    }

    /// The accounts whose balance the transaction changed, with their wei before and after; one that does not exist has none.
    pub(crate) fn balances(&self) -> impl Iterator<Item = (Address, U256, U256)> {
        let spec = self.spec();
        self.state()
            .into_iter()
            .flatten()
            .filter_map(move |(address, account)| {
                let wei = |account: Option<Account>| account.map(|account| account.balance).unwrap_or_default();
                let (before, after) = changes::before_and_after(account, spec);
                let (before, after) = (wei(before), wei(after));
                (before != after).then_some((*address, before, after))
            })
    }

    fn state(&self) -> Option<&EvmState> {
        self.journal().map(|journal| &journal.state)
    }
}
