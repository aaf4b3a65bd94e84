//! Items that need no challenge any more, because the stream has moved on while they waited.
//!
//! The stream is read ahead of what is judged. What it says of a transaction that still waits here (it gave way, it was dropped, it
//! was logged anew under a newer head) is noted as it is read, and taken into account when the older item's turn comes. What always
//! holds: an item is withdrawn only by a later one; a note lasts until its own item is taken from the queue, so there are never more
//! notes than items in the queue.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::B256;

/// Why an item is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The transaction gave way to this one.
    ReplacedBy(B256),
    /// The transaction will not be included.
    Dropped,
    /// It was logged anew, at this cursor.
    LoggedAnew(u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReplacedBy(hash) => write!(f, "it was replaced by {hash} before its turn"),
            Self::Dropped => f.write_str("it was dropped before its turn"),
            Self::LoggedAnew(cursor) => write!(f, "item {cursor} took its place before its turn"),
        }
    }
}

/// What is noted of transactions in the queue.
#[derive(Debug, Default)]
pub struct Withdrawn {
    /// By hash, the newest item that says something of it.
    notes: Mutex<HashMap<B256, (u64, Why)>>,
}

impl Withdrawn {
    fn lock(&self) -> MutexGuard<'_, HashMap<B256, (u64, Why)>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The item at `cursor` was read; it withdraws all before it that are of the transaction `hash`.
    pub fn note(&self, hash: B256, cursor: u64, why: Why) {
        self.lock().insert(hash, (cursor, why));
    }

    /// Why the item at `cursor`, which is of the transaction `hash`, is not to be judged any more; `None` when it is.
    pub fn reason(&self, hash: &B256, cursor: u64) -> Option<Why> {
        let notes = self.lock();
        notes
            .get(hash)
            .filter(|(later, _)| *later > cursor)
            .map(|(_, why)| *why)
    }

    /// The item at `cursor` was taken from the queue: everything before it was taken too.
    pub fn passed(&self, hash: &B256, cursor: u64) {
        let mut notes = self.lock();
        if notes.get(hash).is_some_and(|(noted, _)| *noted <= cursor) {
            notes.remove(hash);
        }
    }

    /// How many notes there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const TX: B256 = B256::repeat_byte(1);

    #[test]
    fn only_a_later_item_withdraws_an_earlier_one() {
        let withdrawn = Withdrawn::default();
        withdrawn.note(TX, 5, Why::Dropped);
        assert_eq!(withdrawn.reason(&TX, 4), Some(Why::Dropped));
        assert_eq!(withdrawn.reason(&TX, 5), None);
        assert_eq!(withdrawn.reason(&TX, 6), None, "logged again after it was dropped");
        assert_eq!(withdrawn.reason(&B256::ZERO, 4), None);
    }

    #[test]
    fn a_note_lasts_until_its_own_item_is_taken() {
        let withdrawn = Withdrawn::default();
        withdrawn.note(TX, 5, Why::LoggedAnew(5));
        withdrawn.passed(&TX, 4);
        assert_eq!(withdrawn.reason(&TX, 4), Some(Why::LoggedAnew(5)));
        withdrawn.passed(&TX, 5);
        assert!(withdrawn.is_empty());
    }

    proptest! {
        /// Reading ahead by any number of items: exactly the newest item of a transaction in the queue is judged, unless it left.
        #[test]
        fn what_is_judged_is_what_was_newest_when_its_turn_came(
            items in prop::collection::vec((0u8..4, any::<bool>()), 1..80), ahead in 1usize..20,
        ) {
            let withdrawn = Withdrawn::default();
            let mut queue: VecDeque<(u64, B256, bool)> = VecDeque::new();
            let mut stream = (1u64..).zip(items).map(|(cursor, (tx, leaves))| (cursor, B256::repeat_byte(tx), leaves));
            loop {
                while queue.len() < ahead && let Some((cursor, hash, leaves)) = stream.next() {
                    withdrawn.note(hash, cursor, if leaves { Why::Dropped } else { Why::LoggedAnew(cursor) });
                    queue.push_back((cursor, hash, leaves));
                }
                prop_assert!(withdrawn.len() <= queue.len());
                let Some((cursor, hash, leaves)) = queue.pop_front() else { break };
                if !leaves {
                    let later = queue.iter().rev().find(|(_, other, _)| *other == hash);
                    let expected = later.map(|(later, _, leaves)| {
                        if *leaves { Why::Dropped } else { Why::LoggedAnew(*later) }
                    });
                    prop_assert_eq!(withdrawn.reason(&hash, cursor), expected);
                }
                withdrawn.passed(&hash, cursor);
            }
            prop_assert!(withdrawn.is_empty());
        }
    }
}
