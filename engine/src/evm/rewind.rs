//! The way back through a traced run, one write at a time.
//!
//! revm's journal is an undo log, so that the state at any point of the run is had by undoing what came after: nothing is
//! executed again, and a view can be called on it. Each step undoes the latest write or log that is still there; at the end the
//! journal is as it was before the transaction.

use alloy::primitives::Log;
use revm::{
    context::journal::JournalEntry, context_interface::journaled_state::entry::JournalEntryTr as _,
    primitives::hardfork::SpecId,
};

use super::{
    machine::Machine,
    post_state::Written,
    trace::{self, Trace},
};
use crate::{Address, Call, U256};

/// What a step undid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// A write, by its place in the journal.
    Write {
        entry: usize,
        written: [Option<(Address, Written)>; 2],
    },
    /// A log, by its place among the logs.
    Log { index: usize, log: Log },
}

/// A traced run that has ended, and how far back it has been undone.
pub(crate) struct Rewind<'m, 't> {
    machine: &'m mut Machine,
    trace: &'t Trace<'t>,
    /// For each log how many entries the journal had when it was emitted.
    marks: Vec<usize>,
}

impl<'m, 't> Rewind<'m, 't> {
    pub(super) const fn new(machine: &'m mut Machine, trace: &'t Trace<'t>, marks: Vec<usize>) -> Self {
        Self { machine, trace, marks }
    }

    /// The machine, with the state as it was at this point.
    pub(crate) const fn machine(&self) -> &Machine {
        self.machine
    }

    /// The same, to call views on it.
    pub(crate) const fn machine_mut(&mut self) -> &mut Machine {
        self.machine
    }

    /// Undoes the latest write or log; `None` at the beginning.
    pub(crate) fn step(&mut self) -> Option<Undone> {
        let journal = self.machine.journal_mut()?;
        let since_spurious_dragon = journal.cfg.spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
        loop {
            let entries = journal.journal.len();
            if let Some(index) = journal.logs.len().checked_sub(1)
                && self.marks.get(index).is_none_or(|mark| *mark >= entries)
            {
                return journal.logs.pop().map(|log| Undone::Log { index, log });
            }
            let entry = journal.journal.pop()?;
            let written = written(&entry);
            entry.revert(
                &mut journal.state,
                Some(&mut journal.transient_storage),
                since_spurious_dragon,
            );
            if written.iter().any(Option::is_some) {
                let entry = entries - 1;
                return Some(Undone::Write { entry, written });
            }
        }
    }

    /// The calls down to what was undone.
    pub(crate) fn path(&self, undone: &Undone) -> Vec<Call> {
        match undone {
            Undone::Write { entry, .. } => self.trace.path(*entry),
            Undone::Log { index, .. } => self.trace.path_of_log(*index),
        }
    }

    /// The calls down to the write that took this slot across a bound. To be asked before the first step.
    pub(crate) fn crossing(&self, contract: Address, slot: U256, holds: &dyn Fn(U256) -> Option<bool>) -> Vec<Call> {
        let entry = self
            .machine
            .journal()
            .and_then(|journal| trace::crossing(journal, contract, slot, holds));
        entry.map_or_else(Vec::new, |entry| self.trace.path(entry))
    }

    /// The calls down to the last write of anything that `reads` recognises. To be asked before the first step.
    pub(crate) fn last_write(&self, reads: &dyn Fn(Address, Written) -> bool) -> Vec<Call> {
        let read = |entry: &JournalEntry| {
            written(entry)
                .into_iter()
                .flatten()
                .any(|(address, what)| reads(address, what))
        };
        let entry = self
            .machine
            .journal()
            .and_then(|journal| journal.journal.iter().rposition(read));
        entry.map_or_else(Vec::new, |entry| self.trace.path(entry))
    }
}

/// What an entry of the journal wrote, of at most two accounts.
pub(super) const fn written(entry: &JournalEntry) -> [Option<(Address, Written)>; 2] {
    match entry {
        JournalEntry::StorageChanged { key, address, .. } => [Some((*address, Written::Slot(*key))), None],
        JournalEntry::AccountDestroyed { address, target, .. } => {
            [Some((*address, Written::Destroyed)), Some((*target, Written::Balance))]
        }
        JournalEntry::BalanceTransfer { from, to, .. } => {
            [Some((*from, Written::Balance)), Some((*to, Written::Balance))]
        }
        JournalEntry::BalanceChange { address, .. } => [Some((*address, Written::Balance)), None],
        JournalEntry::NonceChange { address, .. } | JournalEntry::NonceBump { address } => {
            [Some((*address, Written::Nonce)), None]
        }
        JournalEntry::AccountCreated { address, .. } | JournalEntry::CodeChange { address, .. } => {
            [Some((*address, Written::Code)), None]
        }
        _ => [None, None],
    }
}
