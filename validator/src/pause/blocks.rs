//! What the newest blocks include, and in which order: who was first, the attack or the pause?
//!
//! Pure. It remembers a bounded number of blocks; a block that a reorg takes away is forgotten.

use std::collections::VecDeque;
use std::sync::Arc;

use engine::B256;

/// Blocks that are remembered.
const KEPT: usize = 128;

/// Where a transaction stands: by block, then by place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number of the block.
    pub block: u64,
    /// Place in the block, from 0.
    pub index: usize,
}

/// The newest blocks, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Blocks(VecDeque<(u64, B256, Arc<[B256]>)>);

impl Blocks {
    /// A block was added to the chain.
    pub fn add(&mut self, number: u64, hash: B256, included: Arc<[B256]>) {
        self.remove(hash);
        self.0.push_back((number, hash, included));
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// A block left the chain.
    pub fn remove(&mut self, hash: B256) {
        self.0.retain(|(_, known, _)| *known != hash);
    }

    /// The newest block that is remembered.
    #[must_use]
    pub fn newest(&self) -> Option<u64> {
        self.0.back().map(|(number, ..)| *number)
    }

    /// Where this transaction stands.
    #[must_use]
    pub fn place(&self, transaction: B256) -> Option<Place> {
        self.0.iter().rev().find_map(|(block, _, included)| {
            let index = included.iter().position(|hash| *hash == transaction)?;
            Some(Place { block: *block, index })
        })
    }

    /// The first of these transactions, by where it stands.
    #[must_use]
    pub fn first(&self, transactions: &[B256]) -> Option<(Place, B256)> {
        transactions
            .iter()
            .filter_map(|hash| Some((self.place(*hash)?, *hash)))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    #[test]
    fn the_first_is_found_by_block_and_then_by_place() {
        let mut blocks = Blocks::default();
        blocks.add(7, hash(70), [hash(1), hash(2)].into());
        blocks.add(8, hash(80), [hash(3)].into());
        assert_eq!(blocks.place(hash(2)), Some(Place { block: 7, index: 1 }));
        assert_eq!(blocks.first(&[hash(3), hash(2)]).unwrap().1, hash(2));
        assert_eq!(blocks.first(&[hash(9)]), None);
        assert_eq!(blocks.newest(), Some(8));
    }

    #[test]
    fn a_block_that_left_the_chain_includes_nothing() {
        let mut blocks = Blocks::default();
        blocks.add(7, hash(70), [hash(1)].into());
        blocks.remove(hash(70));
        assert_eq!(blocks.place(hash(1)), None);
        blocks.add(7, hash(71), [hash(2), hash(1)].into());
        assert_eq!(blocks.place(hash(1)), Some(Place { block: 7, index: 1 }));
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut blocks = Blocks::default();
        for number in 0..1_000_u64 {
            let word = B256::from(engine::U256::from(number));
            blocks.add(number, word, [word].into());
        }
        assert_eq!(blocks.place(B256::from(engine::U256::from(871))), None);
        assert!(blocks.place(B256::from(engine::U256::from(872))).is_some());
    }
}
