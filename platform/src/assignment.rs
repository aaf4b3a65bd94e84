//! Which validators judge a transaction: rendezvous hashing (Thaler and Ravishankar, "A Name-Based Mapping Scheme for
//! Rendezvous", 1996).
//!
//! Each validator has a rank for each transaction that depends on these two alone; the `replicas` highest are chosen. So
//! when a validator leaves, only its own transactions move, and each of them moves to one other validator.

use alloy::primitives::{B256, Keccak256};

/// A validator's sr25519 public key.
pub type Hotkey = [u8; 32];

/// The `replicas` validators of `candidates` that judge the transaction `tx_hash`, highest rank first; all of them, when
/// there are no more. `candidates` must not repeat a hotkey; their order does not matter.
#[must_use]
pub fn assign(tx_hash: B256, candidates: &[Hotkey], replicas: usize) -> Vec<Hotkey> {
    let mut ranked: Vec<(B256, Hotkey)> = candidates
        .iter()
        .map(|hotkey| (rank(tx_hash, hotkey), *hotkey))
        .collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.truncate(replicas);
    ranked.into_iter().map(|(_, hotkey)| hotkey).collect()
}

/// `keccak256(tx_hash || hotkey)`, compared as a number.
fn rank(tx_hash: B256, hotkey: &Hotkey) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(tx_hash);
    hasher.update(hotkey);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use alloy::primitives::keccak256;
    use proptest::prelude::*;

    use super::*;

    fn validators(n: u8) -> Vec<Hotkey> {
        (0..n).map(|i| [i; 32]).collect()
    }

    proptest! {
        #[test]
        fn exactly_as_many_as_there_can_be_and_none_twice(tx: [u8; 32], n in 0u8..20, replicas in 0usize..8) {
            let chosen = assign(tx.into(), &validators(n), replicas);
            prop_assert_eq!(chosen.len(), replicas.min(n.into()));
            prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
        }

        #[test]
        fn the_order_of_the_candidates_does_not_matter(tx: [u8; 32], n in 1u8..20, replicas in 1usize..4, turn in 0usize..20) {
            let mut candidates = validators(n);
            let chosen = assign(tx.into(), &candidates, replicas);
            candidates.rotate_left(turn % usize::from(n));
            prop_assert_eq!(assign(tx.into(), &candidates, replicas), chosen);
        }

        #[test]
        fn who_leaves_is_replaced_by_one_and_nothing_else_moves(tx: [u8; 32], n in 2u8..20, leaver in 0u8..20, replicas in 1usize..4) {
            let all = validators(n);
            let gone = [leaver % n; 32];
            let rest: Vec<Hotkey> = all.iter().copied().filter(|hotkey| *hotkey != gone).collect();
            let before: BTreeSet<Hotkey> = assign(tx.into(), &all, replicas).into_iter().collect();
            let after: BTreeSet<Hotkey> = assign(tx.into(), &rest, replicas).into_iter().collect();
            let kept: BTreeSet<Hotkey> = before.iter().copied().filter(|hotkey| *hotkey != gone).collect();
            prop_assert!(after.is_superset(&kept));
            if !before.contains(&gone) {
                prop_assert_eq!(after, before);
            }
        }
    }

    #[test]
    fn every_validator_gets_its_share() {
        let (candidates, replicas, transactions) = (validators(10), 2, 20_000u64);
        let mut share: BTreeMap<Hotkey, u64> = BTreeMap::new();
        for i in 0..transactions {
            for hotkey in assign(keccak256(i.to_be_bytes()), &candidates, replicas) {
                *share.entry(hotkey).or_default() += 1;
            }
        }
        // Binomial with mean 4,000 and deviation 57: five deviations either way.
        assert_eq!(share.len(), 10);
        for (hotkey, got) in share {
            assert!((3_717..=4_283).contains(&got), "validator {}: {got}", hotkey[0]);
        }
    }
}
