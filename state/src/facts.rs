//! Facts about one block's state, as answers of a node or readings of an execution bring them.

use std::collections::BTreeMap;

#[cfg(test)]
use engine::Missing;
use engine::{Account, Address, B256, Bytes, Prestate, U256};

use crate::diff::{Change, Diff};

/// Facts about one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fact {
    /// `None`: nothing is said; `Some(None)`: it does not exist.
    pub(crate) account: Option<Option<Account>>,
    pub(crate) storage: BTreeMap<U256, U256>,
}

/// Facts about the state of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) accounts: BTreeMap<Address, Fact>,
    pub(crate) codes: BTreeMap<B256, Bytes>,
    pub(crate) block_hashes: BTreeMap<u64, B256>,
}

impl Facts {
    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.codes.is_empty() && self.block_hashes.is_empty()
    }

    pub(crate) fn set_account(&mut self, address: Address, account: Option<Account>) {
        self.accounts.entry(address).or_default().account = Some(account);
    }

    pub(crate) fn set_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.accounts.entry(address).or_default().storage.insert(slot, value);
    }

    /// Adds others; where both speak, the others are believed.
    pub(crate) fn extend(&mut self, others: Self) {
        for (address, fact) in others.accounts {
            let entry = self.accounts.entry(address).or_default();
            if fact.account.is_some() {
                entry.account = fact.account;
            }
            entry.storage.extend(fact.storage);
        }
        self.codes.extend(others.codes);
        self.block_hashes.extend(others.block_hashes);
    }

    /// Those that are still so after the diff.
    pub(crate) fn after(mut self, diff: &Diff) -> Self {
        self.accounts.retain(|address, fact| {
            if diff.account(*address) != Change::Kept {
                fact.account = None;
            }
            fact.storage
                .retain(|slot, _| diff.slot(*address, *slot) == Change::Kept);
            fact.account.is_some() || !fact.storage.is_empty()
        });
        if diff.everything {
            self.block_hashes.clear();
        }
        self
    }

    /// True when it tells this.
    #[cfg(test)]
    pub(crate) fn tells(&self, what: Missing) -> bool {
        match what {
            Missing::Account(address) => self.accounts.get(&address).is_some_and(|fact| fact.account.is_some()),
            Missing::Slot(address, slot) => self
                .accounts
                .get(&address)
                .is_some_and(|fact| fact.storage.contains_key(&slot) || fact.account == Some(None)),
            Missing::Code(hash) => self.codes.contains_key(&hash),
            Missing::BlockHash(number) => self.block_hashes.contains_key(&number),
        }
    }
}

impl From<&Prestate> for Facts {
    fn from(prestate: &Prestate) -> Self {
        Self {
            accounts: prestate
                .accounts
                .iter()
                .map(|(address, known)| {
                    let fact = Fact {
                        account: Some(known.account),
                        storage: known.storage.clone(),
                    };
                    (*address, fact)
                })
                .collect(),
            codes: prestate.codes.clone(),
            block_hashes: prestate.block_hashes.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::AccountDiff;

    #[test]
    fn what_a_block_changed_is_no_longer_a_fact_and_the_rest_is() {
        let (a, b) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let mut facts = Facts::default();
        for address in [a, b] {
            facts.set_account(address, Some(Account::default()));
            facts.set_slot(address, U256::from(1), U256::from(1));
            facts.set_slot(address, U256::from(2), U256::from(2));
        }
        let mut diff = Diff::default();
        let change = AccountDiff {
            storage: [(U256::from(1), U256::from(9))].into(),
            ..AccountDiff::default()
        };
        diff.accounts.insert(a, change);
        diff.forget_account(b);
        let after = facts.clone().after(&diff);
        assert!(after.tells(Missing::Account(a)) && !after.tells(Missing::Account(b)));
        assert!(!after.tells(Missing::Slot(a, U256::from(1))) && after.tells(Missing::Slot(a, U256::from(2))));
        assert!(after.tells(Missing::Slot(b, U256::from(1))));
        assert!(facts.after(&Diff::everything()).is_empty());
    }
}
