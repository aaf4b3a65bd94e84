//! What a block changed: new values by key, and what is no longer known.
//!
//! What always holds: a diff never claims more than it knows. A value that may have changed without anybody saying to what is
//! [`Change::Unknown`].

use std::collections::{BTreeMap, btree_map::Entry};

use engine::{Account, Address, B256, Bytes, U256};

/// What happened to one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It is what it was.
    #[default]
    Kept,
    /// It is this now.
    Now(T),
    /// It may be anything now.
    Unknown,
}

/// What happened to the slots of an account that a diff does not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// They are what they were.
    #[default]
    Kept,
    /// They are zero now: the account was created or destroyed.
    Zero,
    /// They may be anything now.
    Unknown,
}

/// What happened to one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountDiff {
    /// Balance, nonce and code hash; `Now(None)`: it does not exist any more.
    pub account: Change<Option<Account>>,
    /// New values of slots.
    pub storage: BTreeMap<U256, U256>,
    /// What became of all other slots.
    pub rest: Rest,
}

/// What one block, or several in a row, did to the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Changes by account.
    pub accounts: BTreeMap<Address, AccountDiff>,
    /// Code that appeared.
    pub codes: BTreeMap<B256, Bytes>,
    /// Nothing is known of what changed: every value may be another now.
    pub everything: bool,
}

impl AccountDiff {
    /// An account of which nothing is known any more.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            account: Change::Unknown,
            storage: BTreeMap::new(),
            rest: Rest::Unknown,
        }
    }

    fn then(&mut self, later: Self) {
        if later.rest != Rest::Kept {
            self.storage.clear();
            self.rest = later.rest;
        }
        self.storage.extend(later.storage);
        if later.account != Change::Kept {
            self.account = later.account;
        }
    }
}

impl Diff {
    /// The diff of which only this is known: anything may have changed.
    #[must_use]
    pub const fn everything() -> Self {
        Self {
            accounts: BTreeMap::new(),
            codes: BTreeMap::new(),
            everything: true,
        }
    }

    /// What became of an account.
    #[must_use]
    pub fn account(&self, address: Address) -> Change<Option<Account>> {
        if self.everything {
            return Change::Unknown;
        }
        self.accounts
            .get(&address)
            .map_or(Change::Kept, |change| change.account)
    }

    /// What became of a slot.
    #[must_use]
    pub fn slot(&self, address: Address, slot: U256) -> Change<U256> {
        if self.everything {
            return Change::Unknown;
        }
        let Some(change) = self.accounts.get(&address) else {
            return Change::Kept;
        };
        match (change.storage.get(&slot), change.rest) {
            (Some(value), _) => Change::Now(*value),
            (None, Rest::Kept) => Change::Kept,
            (None, Rest::Zero) => Change::Now(U256::ZERO),
            (None, Rest::Unknown) => Change::Unknown,
        }
    }

    /// Number of accounts and slots that it lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.values().map(|change| 1 + change.storage.len()).sum()
    }

    /// True when nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.everything && self.accounts.is_empty()
    }

    /// Adds what happened after it.
    pub fn then(&mut self, later: Self) {
        self.codes.extend(later.codes);
        if later.everything {
            self.everything = true;
            self.accounts.clear();
        }
        if self.everything {
            // After the unknown only what was said later is known, and a reader asks `everything` first.
            return;
        }
        for (address, change) in later.accounts {
            match self.accounts.entry(address) {
                Entry::Vacant(entry) => {
                    entry.insert(change);
                }
                Entry::Occupied(mut entry) => entry.get_mut().then(change),
            }
        }
    }

    /// Says that nothing is known of this account any more.
    pub fn forget(&mut self, address: Address) {
        self.accounts.insert(address, AccountDiff::unknown());
    }

    /// Says that balance, nonce and code of this account are not known any more; its storage is what it was.
    pub fn forget_account(&mut self, address: Address) {
        self.accounts.entry(address).or_default().account = Change::Unknown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(byte: u8) -> Address {
        Address::repeat_byte(byte)
    }
    fn slot(diff: &Diff, byte: u8, slot: u64) -> Change<U256> {
        diff.slot(at(byte), U256::from(slot))
    }
    fn wrote(byte: u8, slots: &[(u64, u64)]) -> Diff {
        let change = AccountDiff {
            storage: slots.iter().map(|(s, v)| (U256::from(*s), U256::from(*v))).collect(),
            ..AccountDiff::default()
        };
        Diff {
            accounts: [(at(byte), change)].into(),
            ..Diff::default()
        }
    }

    #[test]
    fn the_later_value_counts_and_what_nobody_touched_is_kept() {
        let mut diff = wrote(1, &[(1, 5), (2, 6)]);
        diff.then(wrote(1, &[(2, 7)]));
        diff.then(wrote(2, &[(1, 1)]));
        assert_eq!(slot(&diff, 1, 1), Change::Now(U256::from(5)));
        assert_eq!(slot(&diff, 1, 2), Change::Now(U256::from(7)));
        assert_eq!(slot(&diff, 1, 3), Change::Kept);
        assert_eq!(slot(&diff, 3, 1), Change::Kept);
        assert_eq!(diff.account(at(1)), Change::Kept);
        assert_eq!(diff.len(), 5);
    }

    #[test]
    fn an_account_destroyed_and_created_again_has_only_its_new_slots() {
        let mut diff = wrote(1, &[(1, 5)]);
        let mut gone = Diff::default();
        gone.accounts.insert(
            at(1),
            AccountDiff {
                account: Change::Now(None),
                rest: Rest::Zero,
                ..AccountDiff::default()
            },
        );
        diff.then(gone);
        diff.then(wrote(1, &[(2, 9)]));
        assert_eq!(slot(&diff, 1, 1), Change::Now(U256::ZERO));
        assert_eq!(slot(&diff, 1, 2), Change::Now(U256::from(9)));
        assert_eq!(diff.account(at(1)), Change::Now(None));
    }

    #[test]
    fn what_is_forgotten_stays_so_until_somebody_says_a_value() {
        let mut diff = wrote(1, &[(1, 5)]);
        diff.forget(at(1));
        assert_eq!(slot(&diff, 1, 1), Change::Unknown);
        assert_eq!(diff.account(at(1)), Change::Unknown);
        diff.then(wrote(1, &[(1, 6)]));
        assert_eq!(slot(&diff, 1, 1), Change::Now(U256::from(6)));
        assert_eq!(slot(&diff, 1, 2), Change::Unknown);
        diff.forget_account(at(2));
        assert_eq!(
            (diff.account(at(2)), slot(&diff, 2, 1)),
            (Change::Unknown, Change::Kept)
        );
    }

    #[test]
    fn after_a_block_of_which_nothing_is_known_nothing_is_known() {
        let mut diff = wrote(1, &[(1, 5)]);
        diff.then(Diff::everything());
        diff.then(wrote(1, &[(1, 6)]));
        assert_eq!(slot(&diff, 1, 1), Change::Unknown);
        assert_eq!(diff.account(at(9)), Change::Unknown);
        assert!(!diff.is_empty() && Diff::default().is_empty());
    }
}
