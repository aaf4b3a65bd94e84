//! Where a new head stands to the chain that is followed: a rule without a socket.
//!
//! The newest blocks are remembered by hash, number and parent. A head that is announced extends them, leads away from one of
//! them (a reorg), or has ancestors that are not known yet and must be fetched first.

use std::collections::VecDeque;

use engine::B256;

/// Heads that are remembered; a reorg that goes deeper is a gap.
pub const REMEMBERED: usize = 128;

/// A block's place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Height.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The hash of the block before it.
    pub parent: B256,
}

/// What an announced head amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// It is part of the chain already.
    Known,
    /// This ancestor is needed first.
    Fetch(B256),
    /// The chain goes on with these.
    Adopt(Adoption),
}

/// How the chain goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// Leave the chain, newest first.
    pub orphaned: Vec<B256>,
    /// How many blocks between the old head and the adopted ones are not known.
    pub missed: u64,
}

/// The chain that is followed.
#[derive(Debug, Clone, Default)]
pub struct Heads {
    links: VecDeque<Link>,
}

impl Heads {
    /// A chain of which only the newest head is known.
    #[must_use]
    pub fn from_newest(newest: Link) -> Self {
        Self {
            links: VecDeque::from([newest]),
        }
    }

    /// The newest head.
    #[must_use]
    pub fn newest(&self) -> Option<Link> {
        self.links.back().copied()
    }

    /// Whether this block is part of the chain, as far as it is remembered.
    #[must_use]
    pub fn contains(&self, hash: &B256) -> bool {
        self.links.iter().rev().any(|link| link.hash == *hash)
    }

    /// Where `fetched` stands: an announced head, and behind it those of its ancestors that were fetched so far, newest first.
    #[must_use]
    pub fn place(&self, fetched: &[Link]) -> Placement {
        let (Some(first), Some(last)) = (fetched.first(), fetched.last()) else {
            return Placement::Known;
        };
        if self.contains(&first.hash) {
            return Placement::Known;
        }
        let Some(newest) = self.newest() else {
            return Placement::Adopt(Adoption {
                orphaned: Vec::new(),
                missed: 0,
            });
        };
        if let Some(at) = self.links.iter().rposition(|link| link.hash == last.parent) {
            let orphaned = self.links.iter().skip(at + 1).rev().map(|link| link.hash).collect();
            return Placement::Adopt(Adoption { orphaned, missed: 0 });
        }
        let oldest = self.links.front().map_or(0, |link| link.number);
        if fetched.len() < REMEMBERED && last.number > oldest && last.number > 0 {
            return Placement::Fetch(last.parent);
        }
        // Too far apart to be connected: what was known is forgotten, not orphaned block by block.
        let orphaned = self
            .links
            .iter()
            .rev()
            .filter(|link| link.number >= last.number)
            .map(|link| link.hash)
            .collect();
        Placement::Adopt(Adoption {
            orphaned,
            missed: last.number.saturating_sub(newest.number + 1),
        })
    }

    /// Takes the blocks over (oldest first) that [`Heads::place`] placed.
    pub fn adopt(&mut self, adoption: &Adoption, adopted: impl IntoIterator<Item = Link>) {
        if adoption.missed > 0 {
            self.links.clear();
        }
        self.links.retain(|link| !adoption.orphaned.contains(&link.hash));
        self.links.extend(adopted);
        while self.links.len() > REMEMBERED {
            self.links.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Block `number` of the fork `fork`.
    fn name(number: u64, fork: u8) -> B256 {
        let mut hash = B256::repeat_byte(fork);
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    }

    fn link(number: u64, fork: u8, parent_fork: u8) -> Link {
        Link {
            number,
            hash: name(number, fork),
            parent: name(number.saturating_sub(1), parent_fork),
        }
    }

    fn chain(numbers: std::ops::RangeInclusive<u64>) -> Heads {
        let mut heads = Heads::default();
        for number in numbers {
            let link = link(number, 0, 0);
            let Placement::Adopt(adoption) = heads.place(&[link]) else {
                panic!("block {number} has no place")
            };
            heads.adopt(&adoption, [link]);
        }
        heads
    }

    fn adopt(orphaned: &[B256], missed: u64) -> Placement {
        Placement::Adopt(Adoption {
            orphaned: orphaned.to_vec(),
            missed,
        })
    }

    #[test]
    fn a_child_extends_the_chain_and_a_copy_does_not() {
        let heads = chain(1..=3);
        assert_eq!(heads.place(&[link(3, 0, 0)]), Placement::Known);
        assert_eq!(heads.place(&[link(2, 0, 0)]), Placement::Known);
        assert_eq!(heads.place(&[link(4, 0, 0)]), adopt(&[], 0));
    }

    #[test]
    fn missing_ancestors_are_asked_for_until_they_connect() {
        let heads = chain(1..=3);
        assert_eq!(heads.place(&[link(6, 0, 0)]), Placement::Fetch(name(5, 0)));
        assert_eq!(
            heads.place(&[link(6, 0, 0), link(5, 0, 0)]),
            Placement::Fetch(name(4, 0))
        );
        assert_eq!(
            heads.place(&[link(6, 0, 0), link(5, 0, 0), link(4, 0, 0)]),
            adopt(&[], 0)
        );
    }

    #[test]
    fn a_reorg_steps_back_to_the_common_ancestor() {
        let mut heads = chain(1..=5);
        // 4' and 5' and 6' take the place of 4 and 5.
        let fork = [link(6, 1, 1), link(5, 1, 1), link(4, 1, 0)];
        assert_eq!(heads.place(&fork[..1]), Placement::Fetch(name(5, 1)));
        let Placement::Adopt(adoption) = heads.place(&fork) else {
            panic!("not connected")
        };
        assert_eq!(adoption.orphaned, [name(5, 0), name(4, 0)]);
        heads.adopt(&adoption, fork.into_iter().rev());
        assert_eq!(heads.newest(), Some(fork[0]));
        assert!(!heads.contains(&name(5, 0)) && heads.contains(&name(3, 0)));
        // A shorter fork is followed too, when that is what the node says.
        assert_eq!(
            heads.place(&[link(4, 2, 0)]),
            adopt(&[name(6, 1), name(5, 1), name(4, 1)], 0)
        );
    }

    #[test]
    fn what_is_too_far_away_is_a_gap() {
        let mut heads = chain(1..=3);
        let fetched: Vec<Link> = (0..REMEMBERED as u64).map(|back| link(1_000 - back, 0, 0)).collect();
        let placement = heads.place(&fetched);
        let oldest = fetched.last().unwrap().number;
        assert_eq!(placement, adopt(&[], oldest - 4));
        let Placement::Adopt(adoption) = placement else { return };
        heads.adopt(&adoption, fetched.into_iter().rev());
        assert!(!heads.contains(&name(3, 0)));
    }

    #[test]
    fn another_chain_of_lower_blocks_orphans_what_stands_above() {
        let mut heads = chain(100..=105);
        let placement = heads.place(&[link(3, 9, 9)]);
        let Placement::Adopt(adoption) = placement else {
            panic!("{placement:?}")
        };
        assert_eq!(adoption.orphaned.len(), 6);
        heads.adopt(&adoption, [link(3, 9, 9)]);
        assert_eq!(heads.newest(), Some(link(3, 9, 9)));
    }

    proptest! {
        /// Whatever is announced, in any order: the remembered chain is linked, and bounded.
        #[test]
        fn the_chain_is_always_linked(announced in prop::collection::vec((0u64..300, 0u8..3), 1..80)) {
            // Fork f leaves fork 0 at block 100 * f.
            let make = |number: u64, fork: u8| {
                let root = u64::from(fork) * 100;
                let own = if number >= root { fork } else { 0 };
                link(number, own, if number > root { own } else { 0 })
            };
            let mut heads = Heads::default();
            for (number, fork) in announced {
                let mut fetched = vec![make(number, fork)];
                let adoption = loop {
                    match heads.place(&fetched) {
                        Placement::Known => break None,
                        Placement::Adopt(adoption) => break Some(adoption),
                        Placement::Fetch(parent) => {
                            let below = fetched.last().unwrap().number - 1;
                            let link = make(below, fork);
                            prop_assert_eq!(link.hash, parent);
                            fetched.push(link);
                        }
                    }
                };
                if let Some(adoption) = adoption {
                    heads.adopt(&adoption, fetched.into_iter().rev());
                    prop_assert_eq!(heads.newest().unwrap().number, number);
                }
                prop_assert!(heads.links.len() <= REMEMBERED);
                for (before, after) in heads.links.iter().zip(heads.links.iter().skip(1)) {
                    prop_assert_eq!(after.parent, before.hash);
                }
            }
        }
    }
}
