//! The rule: which heads are kept, and which way leads from one to another.

use std::{collections::VecDeque, sync::Arc};

use engine::B256;

use crate::snapshot::Snapshot;

/// The heads that are kept: the chain as it is followed, and blocks that a reorg left aside.
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    /// Oldest first, each on the one before; never empty.
    line: VecDeque<Arc<Snapshot>>,
    newest: Arc<Snapshot>,
    aside: VecDeque<Arc<Snapshot>>,
    keep: usize,
}

impl Heads {
    pub(crate) fn new(first: Arc<Snapshot>, keep: usize) -> Self {
        Self {
            line: [Arc::clone(&first)].into(),
            newest: first,
            aside: VecDeque::new(),
            keep: keep.max(1),
        }
    }

    pub(crate) const fn newest(&self) -> &Arc<Snapshot> {
        &self.newest
    }

    /// The snapshot of this block, on the line or aside.
    pub(crate) fn at(&self, hash: B256) -> Option<&Arc<Snapshot>> {
        self.on_line(hash)
            .or_else(|| self.aside.iter().find(|snapshot| snapshot.hash() == hash))
    }

    pub(crate) fn on_line(&self, hash: B256) -> Option<&Arc<Snapshot>> {
        self.line.iter().rev().find(|snapshot| snapshot.hash() == hash)
    }

    pub(crate) fn aside(&self, hash: B256) -> Option<&Arc<Snapshot>> {
        self.aside.iter().find(|snapshot| snapshot.hash() == hash)
    }

    /// Blocks on the line above this one, from the newest down; nothing when it is not on the line.
    pub(crate) fn above(&self, hash: B256) -> Vec<Arc<Snapshot>> {
        let Some(place) = self.line.iter().position(|snapshot| snapshot.hash() == hash) else {
            return Vec::new();
        };
        self.line.iter().skip(place + 1).rev().cloned().collect()
    }

    /// Puts a block on top of the line.
    pub(crate) fn push(&mut self, snapshot: Arc<Snapshot>) {
        self.aside.retain(|aside| aside.hash() != snapshot.hash());
        self.newest = Arc::clone(&snapshot);
        self.line.push_back(snapshot);
        while self.line.len() > self.keep {
            self.line.pop_front();
        }
    }

    /// Takes the newest block off the line and lays it aside; the last one stays.
    pub(crate) fn pop(&mut self) -> Option<Arc<Snapshot>> {
        if self.line.len() < 2 {
            return None;
        }
        let popped = self.line.pop_back()?;
        self.newest = Arc::clone(self.line.back()?);
        self.aside.push_back(Arc::clone(&popped));
        while self.aside.len() > self.keep {
            self.aside.pop_front();
        }
        Some(popped)
    }
}

#[cfg(test)]
mod tests {
    use engine::{BlockEnv, U256};

    use super::*;
    use crate::{codes::Codes, head::HeadInfo};

    fn block(byte: u8, parent: u8) -> Arc<Snapshot> {
        let head = HeadInfo {
            number: 1,
            hash: B256::repeat_byte(byte),
            parent_hash: B256::repeat_byte(parent),
            timestamp: 0,
            next: BlockEnv {
                number: 2,
                timestamp: 1,
                beneficiary: engine::Address::ZERO,
                gas_limit: 0,
                base_fee: 0,
                difficulty: U256::ZERO,
                prevrandao: None,
                excess_blob_gas: None,
                hardfork: None,
            },
        };
        let codes = Codes::new(1000, None, 0).unwrap();
        Arc::new(Snapshot::empty(head, codes, 10, [].into()))
    }
    const fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    #[test]
    fn a_reorg_lays_blocks_aside_and_finds_them_again() {
        let mut heads = Heads::new(block(1, 0), 3);
        heads.push(block(2, 1));
        heads.push(block(3, 2));
        let above: Vec<_> = heads.above(hash(1)).iter().map(|snapshot| snapshot.hash()).collect();
        assert_eq!(above, [hash(3), hash(2)]);
        assert_eq!(heads.pop().unwrap().hash(), hash(3));
        assert_eq!(heads.newest().hash(), hash(2));
        assert!(heads.on_line(hash(3)).is_none() && heads.aside(hash(3)).is_some() && heads.at(hash(3)).is_some());
        heads.push(block(3, 2));
        assert!(heads.aside(hash(3)).is_none());
        assert!(heads.above(hash(9)).is_empty());
    }

    #[test]
    fn only_so_many_are_kept_and_never_none() {
        let mut heads = Heads::new(block(1, 0), 3);
        for byte in 2..10 {
            heads.push(block(byte, byte - 1));
        }
        assert!(heads.at(hash(6)).is_none() && heads.at(hash(7)).is_some());
        assert!(heads.pop().is_some() && heads.pop().is_some());
        assert!(heads.pop().is_none());
        assert_eq!(heads.newest().hash(), hash(7));
    }
}
