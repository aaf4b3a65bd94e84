//! Whether the state that came with a challenge is the chain's: a rule over two prestates.
//!
//! Executed on either, a transaction goes the same way up to the first value that differs, and the own state's reads hold that key:
//! so comparing what the own execution read finds every untruth that could change a verdict.

use std::fmt;

use engine::{Account, Address, B256, Prestate, U256};

/// One value that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// An account's balance, nonce or code.
    Account {
        /// Its address.
        address: Address,
        /// As it came.
        shipped: Option<Account>,
        /// As the own node has it.
        own: Option<Account>,
    },
    /// A storage slot.
    Slot {
        /// The account.
        address: Address,
        /// The slot.
        slot: U256,
        /// As it came.
        shipped: U256,
        /// As the own node has it.
        own: U256,
    },
    /// The hash of a block.
    BlockHash {
        /// The block's number.
        number: u64,
        /// As it came.
        shipped: B256,
        /// As the own node has it.
        own: B256,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = |account: &Option<Account>| match account {
            None => "no account".to_owned(),
            Some(account) => format!(
                "balance {}, nonce {}, code {}",
                account.balance, account.nonce, account.code_hash
            ),
        };
        match self {
            Self::Account { address, shipped, own } => {
                write!(
                    f,
                    "account {address}: sent as {}, is {}",
                    account(shipped),
                    account(own)
                )
            }
            Self::Slot {
                address,
                slot,
                shipped,
                own,
            } => write!(f, "slot {slot:#x} of {address}: sent as {shipped:#x}, is {own:#x}"),
            Self::BlockHash { number, shipped, own } => {
                write!(f, "hash of block {number}: sent as {shipped}, is {own}")
            }
        }
    }
}

/// The first value, in the order of keys, that both know and do not agree on. What came without a key that was read is no untruth:
/// whoever executes on it says that the state is missing.
pub fn difference(shipped: &Prestate, own: &Prestate) -> Option<Difference> {
    for (address, mine) in &own.accounts {
        let Some(theirs) = shipped.accounts.get(address) else {
            continue;
        };
        if theirs.account != mine.account {
            return Some(Difference::Account {
                address: *address,
                shipped: theirs.account,
                own: mine.account,
            });
        }
        for (slot, value) in &mine.storage {
            if let Some(sent) = theirs.storage.get(slot).filter(|sent| *sent != value) {
                return Some(Difference::Slot {
                    address: *address,
                    slot: *slot,
                    shipped: *sent,
                    own: *value,
                });
            }
        }
    }
    own.block_hashes.iter().find_map(|(number, mine)| {
        let theirs = shipped.block_hashes.get(number).filter(|theirs| *theirs != mine)?;
        Some(Difference::BlockHash {
            number: *number,
            shipped: *theirs,
            own: *mine,
        })
    })
}

#[cfg(test)]
mod tests {
    use engine::AccountState;

    use super::*;

    const HERE: Address = Address::repeat_byte(1);

    fn state(balance: u64, slots: &[(u64, u64)], hashes: &[(u64, u8)]) -> Prestate {
        let account = Some(Account {
            balance: U256::from(balance),
            ..Account::default()
        });
        let storage = slots
            .iter()
            .map(|(slot, value)| (U256::from(*slot), U256::from(*value)))
            .collect();
        Prestate {
            accounts: [(HERE, AccountState { account, storage })].into(),
            block_hashes: hashes
                .iter()
                .map(|(number, byte)| (*number, B256::repeat_byte(*byte)))
                .collect(),
            ..Prestate::default()
        }
    }

    #[test]
    fn every_kind_of_value_is_compared_and_named() {
        let own = state(5, &[(1, 2)], &[(9, 1)]);
        assert_eq!(difference(&own, &own), None);
        let said = |shipped: Prestate| difference(&shipped, &own).unwrap().to_string();
        assert!(said(state(6, &[(1, 2)], &[(9, 1)])).contains("sent as balance 6"));
        assert!(said(state(5, &[(1, 3)], &[(9, 1)])).contains("slot 0x1 of 0x0101"));
        assert!(said(state(5, &[(1, 2)], &[(9, 2)])).starts_with("hash of block 9"));
        let mut absent = own.clone();
        absent.accounts.insert(HERE, AccountState::default());
        assert!(said(absent).contains("sent as no account"));
    }

    #[test]
    fn what_only_one_of_them_knows_is_not_compared() {
        let own = state(5, &[(1, 2)], &[]);
        assert_eq!(difference(&state(5, &[(7, 7)], &[(3, 3)]), &own), None);
        assert_eq!(difference(&Prestate::default(), &own), None);
        assert_eq!(difference(&own, &Prestate::default()), None);
    }
}
