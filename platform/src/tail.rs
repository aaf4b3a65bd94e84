//! The newest part of the log, in memory: what streams read while they keep up, so that the database is asked only by those further
//! behind. Pure.
//!
//! What always holds: the items lie without a gap between them, so a page from here is what the database would give. An item whose
//! predecessor is missing begins a new tail.

use std::collections::VecDeque;

use protos::v1;

use crate::assignment::Hotkey;
use crate::log::{PAGE_BYTES, PAGE_ITEMS, Page};

/// An item of the log, for its readers.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    /// Its place in the log.
    pub cursor: u64,
    /// It, with its cursor; `None` where it is only in the database (it was too big for the broker).
    pub item: Option<v1::StreamItem>,
    /// The validators that it is for; `None`: all.
    pub readers: Option<Vec<Hotkey>>,
    /// Its encoded size.
    pub bytes: usize,
}

/// How much is kept, and how long a page is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Items in memory.
    pub items: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Items of a page.
    pub page_items: usize,
    /// A page ends as soon as it holds so many bytes.
    pub page_bytes: usize,
}

/// The newest items of the log.
#[derive(Debug)]
pub struct Tail {
    items: VecDeque<Delivered>,
    bytes: usize,
    limits: Limits,
}

impl Default for Tail {
    fn default() -> Self {
        Self::new(Limits {
            items: 16_384,
            bytes: 64 << 20,
            page_items: PAGE_ITEMS,
            page_bytes: PAGE_BYTES,
        })
    }
}

impl Tail {
    /// An empty one.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            limits,
        }
    }

    /// The newest cursor; 0 when nothing is here.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.items.back().map_or(0, |newest| newest.cursor)
    }

    /// Takes the next item. The oldest go where there is too much; one that is known already changes nothing.
    pub fn push(&mut self, next: Delivered) {
        if !self.items.is_empty() {
            if next.cursor <= self.last() {
                return;
            }
            if next.cursor != self.last() + 1 {
                self.items.clear();
                self.bytes = 0;
            }
        }
        self.bytes += next.bytes;
        self.items.push_back(next);
        while self.items.len() > self.limits.items || (self.bytes > self.limits.bytes && self.items.len() > 1) {
            self.bytes -= self.items.pop_front().map_or(0, |oldest| oldest.bytes);
        }
    }

    /// The items behind `after` for `reader`, as the database would give them; `None` where only the database can say.
    #[must_use]
    pub fn page(&self, reader: &Hotkey, after: u64) -> Option<Page> {
        let oldest = self.items.front()?.cursor;
        if after + 1 < oldest || after >= self.last() {
            return None;
        }
        let skipped = usize::try_from(after + 1 - oldest).ok()?;
        let mut page = Page {
            items: Vec::new(),
            through: after,
        };
        let mut bytes = 0;
        for delivered in self.items.iter().skip(skipped) {
            let is_for = delivered
                .readers
                .as_ref()
                .is_none_or(|readers| readers.contains(reader));
            if is_for {
                let Some(item) = &delivered.item else {
                    // The page ends before it; the next one comes from the database.
                    return (page.through > after).then_some(page);
                };
                page.items.push(item.clone());
                bytes += delivered.bytes;
            }
            page.through = delivered.cursor;
            if page.items.len() == self.limits.page_items || bytes >= self.limits.page_bytes {
                break;
            }
        }
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        items: 10,
        bytes: 1_000,
        page_items: 3,
        page_bytes: 250,
    };

    fn delivered(cursor: u64, readers: Option<Vec<u8>>, bytes: usize) -> Delivered {
        let item = v1::StreamItem {
            cursor,
            ..Default::default()
        };
        Delivered {
            cursor,
            item: (bytes <= 400).then_some(item),
            readers: readers.map(|numbers| numbers.into_iter().map(|n| [n; 32]).collect()),
            bytes,
        }
    }

    fn cursors(page: &Page) -> Vec<u64> {
        page.items.iter().map(|item| item.cursor).collect()
    }

    #[test]
    fn a_reader_gets_its_own_and_what_is_for_all_and_the_database_has_the_rest() {
        let mut tail = Tail::new(LIMITS);
        assert_eq!(tail.page(&[1; 32], 0), None);
        for cursor in 5..=8 {
            let readers = (cursor % 2 == 0).then(|| vec![1]);
            tail.push(delivered(cursor, readers, 10));
        }
        assert_eq!(tail.page(&[1; 32], 3), None, "4 is not here");
        let one = tail.page(&[1; 32], 4).unwrap();
        assert_eq!((cursors(&one), one.through), (vec![5, 6, 7], 7));
        let two = tail.page(&[2; 32], 4).unwrap();
        assert_eq!((cursors(&two), two.through), (vec![5, 7], 8));
        assert_eq!(
            tail.page(&[1; 32], 8),
            None,
            "what comes after the last one is not known here"
        );
    }

    #[test]
    fn a_gap_begins_a_new_tail_and_a_repetition_changes_nothing() {
        let mut tail = Tail::new(LIMITS);
        for cursor in [1, 2, 2, 1, 5] {
            tail.push(delivered(cursor, None, 10));
        }
        assert_eq!((tail.last(), tail.items.len(), tail.bytes), (5, 1, 10));
        assert_eq!(tail.page(&[1; 32], 2), None);
    }

    #[test]
    fn an_item_that_only_the_database_has_ends_the_page_before_it() {
        let mut tail = Tail::new(LIMITS);
        for (cursor, bytes) in [(1, 10), (2, 401), (3, 10)] {
            tail.push(delivered(cursor, Some(vec![1]), bytes));
        }
        let page = tail.page(&[1; 32], 0).unwrap();
        assert_eq!((cursors(&page), page.through), (vec![1], 1));
        assert_eq!(tail.page(&[1; 32], 1), None);
        let others = tail.page(&[2; 32], 0).unwrap();
        assert_eq!((cursors(&others), others.through), (vec![], 3));
    }

    proptest! {
        /// Whatever came and whoever asks from wherever: page after page gives exactly what is for the reader, once, in order.
        #[test]
        fn pages_join_to_what_is_there(
            steps in proptest::collection::vec((1u64..3, proptest::option::of(proptest::collection::vec(0u8..3, 0..3)), 1usize..450), 1..60),
            reader in 0u8..3,
            start in 0u64..60,
        ) {
            let (mut tail, mut all, mut cursor) = (Tail::new(LIMITS), Vec::new(), 0);
            for (step, readers, bytes) in steps {
                cursor += step;
                tail.push(delivered(cursor, readers.clone(), bytes));
                all.push((cursor, readers, bytes));
            }
            prop_assert!(tail.items.len() <= LIMITS.items);
            prop_assert!(tail.bytes <= LIMITS.bytes || tail.items.len() == 1);
            let (mut after, mut got) = (start, Vec::new());
            while let Some(page) = tail.page(&[reader; 32], after) {
                prop_assert!(page.through > after && page.items.len() <= LIMITS.page_items);
                got.extend(cursors(&page));
                after = page.through;
            }
            let expected: Vec<u64> = all
                .into_iter()
                .filter(|(cursor, readers, _)| {
                    (start + 1..=after).contains(cursor) && readers.as_ref().is_none_or(|readers| readers.contains(&reader))
                })
                .map(|(cursor, _, _)| cursor)
                .collect();
            prop_assert_eq!(got, expected);
        }
    }
}
