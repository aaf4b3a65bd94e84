//! Who audits a node: drawn without replacement from the active nodes, with a hash of its own for each draw.
//!
//! What always holds: nobody is in a group twice, and no subject in its own.

use alloy::primitives::{B256, U256, keccak256};
use alloy::sol_types::SolValue as _;

/// What a group is drawn from. The hash is of the block before the first verdict of the epoch, so that a subject cannot choose among groups
/// by choosing when to claim.
pub fn seed(block_hash: B256, subject: u32, epoch: u32) -> B256 {
    keccak256((block_hash, subject, epoch).abi_encode())
}

/// How many audit a node when so many are active.
pub fn wanted(group_size: u8, active: usize, subject_is_active: bool) -> usize {
    active
        .saturating_sub(usize::from(subject_is_active))
        .min(group_size.into())
}

/// Adds members drawn from `active` to those who `stay`, until there are `size` or nobody is left.
///
/// A Fisher-Yates shuffle that stops early: the place `keccak256(seed . i) mod left` is drawn, and the last one left comes to it.
pub fn draw(active: &[u32], subject: u32, stay: &[u32], seed: B256, size: usize) -> Vec<u32> {
    let mut left = active.to_vec();
    let mut group = stay.to_vec();
    for i in 0_u64.. {
        if group.len() >= size || left.is_empty() {
            break;
        }
        let random = U256::from_be_bytes(keccak256((seed, U256::from(i)).abi_encode()).0);
        let place: usize = (random % U256::from(left.len())).saturating_to();
        let picked = left.swap_remove(place);
        if picked != subject && !stay.contains(&picked) {
            group.push(picked);
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn some_seed(number: u8) -> B256 {
        B256::repeat_byte(number)
    }

    #[test]
    fn sk_01_thirty_nodes_give_groups_of_24_others() {
        let active: Vec<u32> = (1..=30).collect();
        for subject in 1..=30 {
            let size = wanted(24, active.len(), true);
            let group = draw(&active, subject, &[], some_seed(7), size);
            let members: BTreeSet<u32> = group.iter().copied().collect();
            assert_eq!((group.len(), members.len()), (24, 24));
            assert!(!members.contains(&subject) && members.iter().all(|id| active.contains(id)));
        }
    }

    #[test]
    fn sk_02_a_small_network_gives_what_it_has() {
        let active: Vec<u32> = (1..=10).collect();
        assert_eq!(draw(&active, 3, &[], some_seed(1), wanted(24, 10, true)).len(), 9);
        assert_eq!(draw(&active, 99, &[], some_seed(1), wanted(24, 10, false)).len(), 10);
        assert!(draw(&[5], 5, &[], some_seed(1), wanted(24, 1, true)).is_empty());
    }

    /// Every other node is drawn for every place as often as any other, within what chance allows (five deviations).
    #[test]
    fn draws_are_even() {
        let active: Vec<u32> = (0..20).collect();
        let (mut first, mut any) = ([0_u32; 20], [0_u32; 20]);
        let rounds = 4_000_u32;
        for round in 0..rounds {
            let seed = seed(B256::ZERO, 7, round);
            let group = draw(&active, 7, &[], seed, 5);
            first[group[0] as usize] += 1;
            for member in group {
                any[member as usize] += 1;
            }
        }
        assert_eq!((first[7], any[7]), (0, 0));
        for id in (0..20).filter(|id| *id != 7) {
            let expected = f64::from(rounds) / 19.0;
            assert!(
                (f64::from(first[id]) - expected).abs() < 5.0 * expected.sqrt(),
                "{id}: {first:?}"
            );
            let expected = expected * 5.0;
            assert!(
                (f64::from(any[id]) - expected).abs() < 5.0 * expected.sqrt(),
                "{id}: {any:?}"
            );
        }
    }

    proptest! {
        /// Whatever is active and stays: who stays comes first, all are different, never the subject, and as many as can be.
        #[test]
        fn groups_are_whole(
            active in prop::collection::btree_set(1_u32..60, 0..40),
            subject in 1_u32..60,
            staying in 0_usize..5,
            size in 0_usize..30,
            seed in any::<[u8; 32]>(),
        ) {
            let active: Vec<u32> = active.into_iter().collect();
            let others: Vec<u32> = active.iter().copied().filter(|id| *id != subject).collect();
            let stay: Vec<u32> = others.iter().copied().take(staying.min(size)).collect();
            let group = draw(&active, subject, &stay, seed.into(), size);
            let members: BTreeSet<u32> = group.iter().copied().collect();
            prop_assert_eq!(group.len(), size.min(others.len()));
            prop_assert_eq!(members.len(), group.len());
            prop_assert!(group.starts_with(&stay) && members.iter().all(|id| others.contains(id)));
        }
    }
}
