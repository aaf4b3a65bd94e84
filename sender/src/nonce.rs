//! Which nonce a new transaction is given.
//!
//! Pure. What always holds: a nonce that carries a transaction of ours is never given again, neither is one below what is
//! settled, nor one at which somebody else's transaction waits; and no gap is left that could be filled, since nothing
//! behind a gap is ever mined.

/// What is known of an account's nonces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Transactions mined (`eth_getTransactionCount` at the head).
    pub mined: u64,
    /// The same with what waits in the node's pool, without gaps.
    pub pending: u64,
    /// One above the highest nonce that the journal knows to be final. A node that lags behind may report fewer as mined.
    pub settled: u64,
}

/// The lowest nonce that is free; `taken` answers whether one carries a transaction of ours.
#[must_use]
pub fn next(account: &Account, taken: impl Fn(u64) -> bool) -> u64 {
    // Below `pending` and not ours: somebody else holds the key too, and his transaction stands in the pool.
    let start = account
        .mined
        .max(account.settled)
        .max(lowest_behind_others(account, &taken));
    (start..u64::MAX).find(|nonce| !taken(*nonce)).unwrap_or(u64::MAX)
}

/// One above the highest nonce in the pool that is not ours; 0 where all are.
fn lowest_behind_others(account: &Account, taken: &impl Fn(u64) -> bool) -> u64 {
    (account.mined..account.pending)
        .rev()
        .find(|nonce| !taken(*nonce))
        .map_or(0, |nonce| nonce + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn given(mined: u64, pending: u64, settled: u64, ours: &[u64]) -> u64 {
        next(
            &Account {
                mined,
                pending,
                settled,
            },
            |nonce| ours.contains(&nonce),
        )
    }

    #[test]
    fn the_first_nonce_is_what_the_chain_says() {
        assert_eq!(given(5, 5, 0, &[]), 5);
    }

    #[test]
    fn ours_are_passed_over_and_a_gap_is_filled_first() {
        assert_eq!(given(5, 5, 0, &[5, 6, 7]), 8);
        assert_eq!(given(5, 6, 0, &[5, 7]), 6);
    }

    #[test]
    fn a_nonce_of_ours_that_the_pool_does_not_know_is_still_ours() {
        assert_eq!(given(5, 5, 0, &[5]), 6);
    }

    #[test]
    fn what_another_holder_of_the_key_has_in_the_pool_is_left_to_him() {
        assert_eq!(given(5, 8, 0, &[5]), 8);
    }

    #[test]
    fn a_node_that_lags_behind_the_journal_gives_nothing_back() {
        assert_eq!(given(3, 3, 7, &[7]), 8);
    }

    proptest! {
        #[test]
        fn never_a_nonce_that_is_in_use(
            mined in 0u64..50, ahead in 0u64..10, settled in 0u64..60, ours in proptest::collection::btree_set(0u64..70, 0..30),
        ) {
            let account = Account { mined, pending: mined + ahead, settled };
            let nonce = next(&account, |nonce| ours.contains(&nonce));
            prop_assert!(!ours.contains(&nonce));
            prop_assert!(nonce >= mined && nonce >= settled);
            prop_assert!((nonce..account.pending).all(|n| ours.contains(&n)));
            // Without a foreign holder no gap is left below it.
            let foreign: BTreeSet<u64> = (mined..mined + ahead).filter(|n| !ours.contains(n)).collect();
            if foreign.is_empty() {
                prop_assert!((mined.max(settled)..nonce).all(|n| ours.contains(&n)));
            }
        }
    }
}
