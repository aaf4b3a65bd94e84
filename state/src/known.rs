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
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::diff::AccountDiff;

    const fn at(byte: u8) -> Address {
        Address::repeat_byte(byte)
    }
    fn with_balance(balance: u64) -> Account {
        Account {
            balance: U256::from(balance),
            ..Account::default()
        }
    }
    fn facts(byte: u8, account: Option<Account>, slots: &[(u64, u64)]) -> Facts {
        let mut facts = Facts::default();
        facts.set_account(at(byte), account);
        for (slot, value) in slots {
            facts.set_slot(at(byte), U256::from(*slot), U256::from(*value));
        }
        facts
    }

    #[test]
    fn an_absent_account_is_known_to_have_no_storage() {
        let mut known = Known::new(100);
        assert!(known.account(at(1)).is_err());
        assert!(known.learn(&facts(1, None, &[])));
        assert!(!known.learn(&facts(1, None, &[])), "nothing new");
        assert_eq!(known.account(at(1)), Ok(None));
        assert_eq!(known.storage(at(1), U256::from(5)), Ok(U256::ZERO));
    }

    #[test]
    fn an_account_that_comes_to_life_has_the_slots_that_it_wrote_and_no_others() {
        let mut known = Known::new(100);
        known.learn(&facts(1, None, &[]));
        let mut diff = Diff::default();
        diff.accounts.insert(
            at(1),
            AccountDiff {
                account: Change::Now(Some(with_balance(3))),
                storage: [(U256::from(1), U256::from(2))].into(),
                rest: Rest::Kept,
            },
        );
        known.apply(&diff);
        assert_eq!(known.account(at(1)), Ok(Some(with_balance(3))));
        assert_eq!(known.storage(at(1), U256::from(1)), Ok(U256::from(2)));
        assert_eq!(known.storage(at(1), U256::from(9)), Ok(U256::ZERO));
    }

    #[test]
    fn the_block_below_keeps_what_it_knew() {
        let mut below = Known::new(100);
        below.learn(&facts(1, Some(with_balance(1)), &[(1, 1)]));
        let mut above = below.clone();
        let mut diff = Diff::default();
        diff.forget(at(1));
        above.apply(&diff);
        assert!(above.account(at(1)).is_err() && above.storage(at(1), U256::from(1)).is_err());
        assert_eq!(below.storage(at(1), U256::from(1)), Ok(U256::from(1)));
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes_and_the_size_is_bounded() {
        let mut known = Known::new(1000);
        for byte in 0..=255_u8 {
            for round in 0..20_u64 {
                known.learn(&facts(byte, Some(with_balance(1)), &[(round, 7)]));
                known.learn(&facts(0, Some(with_balance(1)), &[(0, 7)]));
                assert!(known.size() <= 1000 + 4, "{}", known.size());
            }
        }
        assert_eq!(known.storage(at(0), U256::ZERO), Ok(U256::from(7)), "used all the time");
        assert!(known.storage(at(1), U256::ZERO).is_err(), "long ago");
    }

    #[test]
    fn only_the_hashes_that_can_be_asked_for_are_kept() {
        let mut known = Known::new(10);
        for number in 0..=300 {
            known.add_block_hash(number, B256::with_last_byte(u8::try_from(number % 251).unwrap()));
        }
        assert!(known.block_hash(44).is_err());
        assert_eq!(known.block_hash(45), Ok(B256::with_last_byte(45)));
    }

    /// Account, its balance (none: destroyed), whether it is created anew, and the slots written.
    type Touched = (u8, Option<u64>, bool, Vec<(u64, u64)>);

    /// One thing that happens to a small world.
    #[derive(Clone, Debug)]
    enum Event {
        /// A fact is read at the node.
        Read(u8, u64),
        /// A block changes it.
        Block(Vec<Touched>),
        /// A block of which only the touched accounts are known.
        Forget(u8),
    }

    fn event() -> impl Strategy<Value = Event> {
        let change = (
            0..6_u8,
            proptest::option::of(1..9_u64),
            any::<bool>(),
            prop::collection::vec((0..5_u64, 0..9_u64), 0..4),
        );
        prop_oneof![
            3 => (0..6_u8, 0..5_u64).prop_map(|(a, s)| Event::Read(a, s)),
            2 => prop::collection::vec(change, 1..4).prop_map(Event::Block),
            1 => (0..6_u8).prop_map(Event::Forget),
        ]
    }

    /// The truth: every account and slot.
    #[derive(Clone, Debug, Default)]
    struct World(BTreeMap<u8, (u64, BTreeMap<u64, u64>)>);

    impl World {
        fn account(&self, a: u8) -> Option<Account> {
            self.0.get(&a).map(|(balance, _)| with_balance(*balance))
        }
        fn slot(&self, a: u8, s: u64) -> u64 {
            self.0
                .get(&a)
                .and_then(|(_, slots)| slots.get(&s).copied())
                .unwrap_or(0)
        }
    }

    proptest! {
        /// Whatever is learnt, changed, forgotten and evicted: what is said is true.
        #[test]
        fn it_never_says_what_is_not_so(events in prop::collection::vec(event(), 1..60), limit in 4..40_usize) {
            let mut world = World::default();
            let mut known = Known::new(limit);
            for event in events {
                match event {
                    Event::Read(a, s) => {
                        known.learn(&facts(a, world.account(a), &[(s, world.slot(a, s))]));
                    }
                    Event::Forget(a) => {
                        world.0.insert(a, (77, BTreeMap::new()));
                        let mut diff = Diff::default();
                        diff.forget(at(a));
                        known.apply(&diff);
                    }
                    Event::Block(changes) => {
                        let mut diff = Diff::default();
                        for (a, balance, anew, slots) in changes {
                            let mut change = AccountDiff::default();
                            match balance {
                                None => {
                                    world.0.remove(&a);
                                    change.account = Change::Now(None);
                                    change.rest = Rest::Zero;
                                }
                                Some(balance) => {
                                    let entry = world.0.entry(a).or_default();
                                    entry.0 = balance;
                                    change.account = Change::Now(Some(with_balance(balance)));
                                    if anew {
                                        entry.1.clear();
                                        change.rest = Rest::Zero;
                                    }
                                    for (s, v) in slots {
                                        entry.1.insert(s, v);
                                        change.storage.insert(U256::from(s), U256::from(v));
                                    }
                                }
                            }
                            let mut one = Diff::default();
                            one.accounts.insert(at(a), change);
                            diff.then(one);
                        }
                        known.apply(&diff);
                    }
                }
                for a in 0..6 {
                    if let Ok(account) = known.account(at(a)) {
                        prop_assert_eq!(account, world.account(a));
                    }
                    for s in 0..5 {
                        if let Ok(value) = known.storage(at(a), U256::from(s)) {
                            prop_assert_eq!(value, U256::from(world.slot(a, s)), "slot {} of {}", s, a);
                        }
                    }
                }
            }
        }
    }
}
