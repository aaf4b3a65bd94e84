//! Who gets how much from the faucet.
//!
//! Each account draws a fixed amount at a time, up to an allowance in all, as long as the faucet has something. An account that has
//! enough already gets nothing more and is funded all the same: asking twice is no way to drain a faucet.

use chain::AccountId;
use chain::local::params::Tao;
use serde::Serialize;

use crate::book::{Book, Purse};

/// What a faucet gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaucetRules {
    /// RAO at a time; who has as much already gets nothing.
    pub amount: u64,
    /// RAO for one account in all.
    pub allowance: u64,
}

impl Default for FaucetRules {
    /// A TAO at a time, ten in all.
    fn default() -> Self {
        Self {
            amount: 1_000_000_000,
            allowance: 10_000_000_000,
        }
    }
}

/// Why an account is not funded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Dry {
    /// The account had its share.
    #[error("the allowance of {} TAO is used up", Tao::from_rao(*.0))]
    AllowanceSpent(u64),
    /// There is nothing left.
    #[error("the faucet is exhausted: {} TAO are left", Tao::from_rao(*.0))]
    Exhausted(u64),
}

/// What became of one account that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drip {
    /// As it was given.
    pub account: String,
    /// Whether it has what the faucet gives.
    pub success: bool,
    /// RAO that it has now.
    pub balance: u64,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a purse holds after asking a faucet with so many RAO left, and what is left then.
///
/// # Errors
/// [`Dry`], and nothing changes.
pub fn drip(purse: Purse, left: u64, rules: &FaucetRules) -> Result<(Purse, u64), Dry> {
    if purse.balance >= rules.amount {
        return Ok((purse, left));
    }
    if purse.drawn.saturating_add(rules.amount) > rules.allowance {
        return Err(Dry::AllowanceSpent(rules.allowance));
    }
    let rest = left.checked_sub(rules.amount).ok_or(Dry::Exhausted(left))?;
    let filled = Purse {
        balance: purse.balance.saturating_add(rules.amount),
        drawn: purse.drawn.saturating_add(rules.amount),
    };
    Ok((filled, rest))
}

/// Funds an account of the book.
///
/// # Errors
/// [`Dry`], and nothing changes.
pub fn fund(book: &mut Book, address: AccountId, rules: &FaucetRules) -> Result<u64, Dry> {
    let before = book.purse(&address);
    let (purse, left) = drip(before, book.faucet, rules)?;
    if purse != before {
        book.purses.insert(address, purse);
        book.faucet = left;
    }
    Ok(purse.balance)
}

/// Funds whoever asks, each for itself: an address that is none, or an empty faucet, is an answer about that one.
pub fn serve(book: &mut Book, accounts: &[String], rules: &FaucetRules) -> Vec<Drip> {
    let mut answer = |account: &String| {
        let parsed = account.parse::<AccountId>().map_err(|error| error.to_string());
        let balance = parsed.as_ref().map_or(0, |address| book.purse(address).balance);
        let funded = parsed.and_then(|address| fund(book, address, rules).map_err(|dry| dry.to_string()));
        Drip {
            account: account.clone(),
            success: funded.is_ok(),
            balance: *funded.as_ref().unwrap_or(&balance),
            reason: funded.err(),
        }
    };
    accounts.iter().map(&mut answer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULES: FaucetRules = FaucetRules {
        amount: 10,
        allowance: 25,
    };

    fn purse(balance: u64, drawn: u64) -> Purse {
        Purse { balance, drawn }
    }

    #[test]
    fn an_account_draws_its_allowance_and_no_more() {
        assert_eq!(drip(purse(0, 0), 100, &RULES), Ok((purse(10, 10), 90)));
        assert_eq!(drip(purse(9, 10), 90, &RULES), Ok((purse(19, 20), 80)));
        assert_eq!(drip(purse(0, 20), 80, &RULES), Err(Dry::AllowanceSpent(25)));
        assert_eq!(
            drip(purse(10, 20), 80, &RULES),
            Ok((purse(10, 20), 80)),
            "it has enough"
        );
    }

    #[test]
    fn an_empty_faucet_says_so() {
        let dry = drip(purse(0, 0), 9, &RULES).unwrap_err();
        assert_eq!(dry, Dry::Exhausted(9));
        assert_eq!(dry.to_string(), "the faucet is exhausted: 0.000000009 TAO are left");
    }

    proptest! {
        #[test]
        fn nothing_is_made_and_nothing_lost(balance in 0u64..50, drawn in 0u64..50, left in 0u64..50) {
            if let Ok((after, rest)) = drip(purse(balance, drawn), left, &RULES) {
                prop_assert_eq!(after.balance + rest, balance + left);
                prop_assert!(after.drawn <= RULES.allowance.max(drawn));
                prop_assert!(after.balance >= RULES.amount);
            }
        }
    }
}
