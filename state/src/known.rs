//! What is known of one block's state: a persistent map, so that the next block's shares all that did not change.
//!
//! Applying a diff costs by the diff, cloning costs nothing. It is bounded: facts live in two generations. What is learnt, changed or
//! used goes into the young one; when that is half the limit, it becomes the old one and what was old is forgotten. A fact is
//! therefore kept at least until as many others as half the limit were used after it.
//!
//! What always holds: a fact in the young generation hides one about the same key in the old one; absent accounts have no storage;
//! an account that is `whole` has its slots in one generation and every other slot of it is zero.

use engine::{Account, Address, B256, Missing, Prestate, StateError, U256};
use rpds::HashTrieMapSync;

use crate::{
    diff::{Change, Diff, Rest},
    facts::Facts,
};

/// What is known of one account.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// `None`: not known; `Some(None)`: known not to exist.
    account: Option<Option<Account>>,
    slots: HashTrieMapSync<U256, U256>,
    /// Slots that are not listed are zero.
    whole: bool,
}

#[derive(Clone, Debug, Default)]
struct Generation {
    accounts: HashTrieMapSync<Address, Entry>,
    /// Accounts and slots.
    size: usize,
}

/// Facts about the state of one block.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    young: Generation,
    old: Generation,
    /// Hashes of blocks by number.
    block_hashes: HashTrieMapSync<u64, B256>,
    limit: usize,
}

/// Blocks back that `BLOCKHASH` reaches.
const BLOCK_HASHES: u64 = 256;

impl Entry {
    fn size(&self) -> usize {
        1 + self.slots.size()
    }

    fn slot(&self, slot: U256) -> Option<U256> {
        match self.slots.get(&slot) {
            Some(value) => Some(*value),
            None if self.whole || self.account == Some(None) => Some(U256::ZERO),
            None => None,
        }
    }
}

impl Generation {
    fn change(&mut self, address: Address, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.accounts.get_mut(&address) {
            let before = entry.size();
            change(entry);
            let after = entry.size();
            self.size = (self.size + after).saturating_sub(before);
        } else {
            let mut entry = Entry::default();
            change(&mut entry);
            self.size += entry.size();
            self.accounts.insert_mut(address, entry);
        }
    }

    fn remove(&mut self, address: Address) {
        if let Some(entry) = self.accounts.get(&address) {
            self.size = self.size.saturating_sub(entry.size());
            self.accounts.remove_mut(&address);
        }
    }
}

impl Known {
    /// Knows nothing; will hold at most `limit` accounts and slots.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            young: Generation::default(),
            old: Generation::default(),
            block_hashes: HashTrieMapSync::default(),
            limit: limit.max(2),
        }
    }

    /// Accounts and slots held.
    pub(crate) const fn size(&self) -> usize {
        self.young.size + self.old.size
    }

    /// True when the old generation holds anything.
    pub(crate) const fn has_old(&self) -> bool {
        self.old.size > 0
    }

    pub(crate) fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let of = |generation: &Generation| generation.accounts.get(&address).and_then(|entry| entry.account);
        of(&self.young)
            .or_else(|| of(&self.old))
            .ok_or(StateError::Missing(Missing::Account(address)))
    }

    pub(crate) fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let of = |generation: &Generation| generation.accounts.get(&address).and_then(|entry| entry.slot(slot));
        of(&self.young)
            .or_else(|| of(&self.old))
            .ok_or(StateError::Missing(Missing::Slot(address, slot)))
    }

    /// Everything that is known, in a shape that can be walked through. Accounts of which only slots are known are listed with them and
    /// as not existing.
    pub(crate) fn contents(&self) -> Prestate {
        let mut contents = Prestate::default();
        for generation in [&self.old, &self.young] {
            for (address, entry) in generation.accounts.iter() {
                let known = contents.accounts.entry(*address).or_default();
                known.account = self.account(*address).ok().flatten();
                known
                    .storage
                    .extend(entry.slots.iter().map(|(slot, value)| (*slot, *value)));
            }
        }
        contents.block_hashes = self
            .block_hashes
            .iter()
            .map(|(number, hash)| (*number, *hash))
            .collect();
        contents
    }

    pub(crate) fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.block_hashes
            .get(&number)
            .copied()
            .ok_or(StateError::Missing(Missing::BlockHash(number)))
    }

    /// Says which block has this number.
    pub(crate) fn add_block_hash(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert_mut(number, hash);
        if let Some(out) = number.checked_sub(BLOCK_HASHES) {
            self.block_hashes.remove_mut(&out);
        }
    }

    /// Adds facts about this block's state and renews those that are known. What is known is not overwritten: it is the same.
    ///
    /// Gives false, and does nothing, when all of it is known and young.
    pub(crate) fn learn(&mut self, facts: &Facts) -> bool {
        let mut news = false;
        for (address, fact) in &facts.accounts {
            let entry = self.young.accounts.get(address);
            let account_is_new = fact.account.is_some() && entry.is_none_or(|entry| entry.account.is_none());
            let new_slots: Vec<_> = fact
                .storage
                .iter()
                .filter(|(slot, _)| entry.is_none_or(|entry| entry.slot(**slot).is_none()))
                .map(|(slot, value)| (*slot, *value))
                .collect();
            if !account_is_new && new_slots.is_empty() {
                continue;
            }
            news = true;
            self.young.change(*address, |entry| {
                if entry.account.is_none() {
                    entry.account = fact.account;
                }
                for (slot, value) in new_slots {
                    entry.slots.insert_mut(slot, value);
                }
            });
        }
        for (number, hash) in &facts.block_hashes {
            if !self.block_hashes.contains_key(number) {
                self.block_hashes.insert_mut(*number, *hash);
                news = true;
            }
        }
        if news {
            self.rotate();
        }
        news
    }

    /// Goes on to the state after this diff.
    pub(crate) fn apply(&mut self, diff: &Diff) {
        if diff.everything {
            self.young = Generation::default();
            self.old = Generation::default();
            return;
        }
        for (address, change) in &diff.accounts {
            if change.rest == Rest::Unknown && change.account == Change::Unknown && change.storage.is_empty() {
                self.young.remove(*address);
                self.old.remove(*address);
                continue;
            }
            if change.rest != Rest::Kept {
                let account = self.account(*address).ok();
                self.young.remove(*address);
                self.old.remove(*address);
                if let Some(account) = account {
                    self.young.change(*address, |entry| entry.account = Some(account));
                }
            } else if matches!(change.account, Change::Now(_) | Change::Unknown) || !change.storage.is_empty() {
                // An account that did not exist had no storage; nor has it any other now.
                self.settle_absent(*address);
            }
            if change.account == Change::Unknown {
                self.forget_account(*address);
            }
            self.young.change(*address, |entry| {
                match change.account {
                    Change::Now(account) => entry.account = Some(account),
                    Change::Unknown => entry.account = None,
                    Change::Kept => {}
                }
                for (slot, value) in &change.storage {
                    entry.slots.insert_mut(*slot, *value);
                }
                if change.rest == Rest::Zero {
                    entry.whole = true;
                }
            });
        }
        self.rotate();
    }

    /// An account known not to exist becomes one known to be whole: its storage stays known when it comes to life.
    fn settle_absent(&mut self, address: Address) {
        if self.account(address) == Ok(None) {
            self.old.remove(address);
            self.young.change(address, |entry| {
                entry.account = Some(None);
                entry.whole = true;
            });
        }
    }

    fn forget_account(&mut self, address: Address) {
        for generation in [&mut self.young, &mut self.old] {
            if let Some(entry) = generation.accounts.get_mut(&address) {
                entry.account = None;
            }
        }
    }

    fn rotate(&mut self) {
        if self.young.size > self.limit / 2 {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

#[cfg(test)]
mod tests;
