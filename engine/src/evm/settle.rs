//! From one transaction to the next on the same journal.
//!
//! revm keeps what it has loaded for the transactions that follow, but remembers what an account and a slot were when they were
//! loaded. Here they are made to look as if they had just been loaded, with the values that the transaction left: "before" is then
//! always right before the transaction in hand, and everything is cold again.

use revm::{
    primitives::hardfork::SpecId,
    state::{Account, AccountStatus, EvmState, TransactionId},
};

use super::{changes, machine::Machine};
use crate::{Address, U256};

impl Machine {
    /// Makes what the last execution left the state before the next.
    pub(crate) fn settle(&mut self) {
        let Some(journal) = self.journal_mut() else { return };
        journal.commit_tx();
        let spec = journal.cfg.spec;
        settle(&mut journal.state, spec);
    }

    /// From here on [`Machine::read`] counts anew. The journal must be settled.
    pub(crate) fn forget_reads(&mut self) {
        if let Some(journal) = self.journal_mut() {
            journal.commit_tx();
        }
    }

    /// Everything that was read since, also by calls that were undone: an account, or a slot of it.
    pub(crate) fn read(&self, each: &mut dyn FnMut(Address, Option<U256>)) {
        let Some(journal) = self.journal() else { return };
        let now = journal.transaction_id;
        for (address, account) in &journal.state {
            if account.transaction_id == now {
                each(*address, None);
            }
            for (slot, _) in account.storage.iter().filter(|(_, value)| value.transaction_id == now) {
                each(*address, Some(*slot));
            }
        }
    }

    /// Undoes the last execution, and what is left of it. What it loaded stays.
    pub(crate) fn discard(&mut self) {
        if let Some(journal) = self.journal_mut() {
            journal.discard_tx();
        }
    }
}

fn settle(state: &mut EvmState, spec: SpecId) {
    for account in state.values_mut() {
        if !account.is_touched() && !changes::is_destroyed(account) {
            continue;
        }
        let (_, after) = changes::before_and_after(account, spec);
        if after.is_none() {
            // "Created" keeps its storage from being asked of the state source. The number is that of the transaction that has ended.
            *account = Account::new_not_existing(TransactionId::ZERO).with_created_mark();
            continue;
        }
        account.set_current_info_as_original();
        let done = AccountStatus::Touched
            | AccountStatus::LoadedAsNotExisting
            | AccountStatus::CreatedLocal
            | AccountStatus::SelfDestructedLocal;
        account.status -= done;
        for slot in account.storage.values_mut() {
            slot.original_value = slot.present_value;
        }
    }
}
