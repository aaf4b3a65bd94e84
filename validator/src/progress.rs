//! Which items of the stream are done, when they are done out of order.
//!
//! The low-water mark is the cursor that a restart resumes from: everything at or before it is judged, and nothing after it
//! is forgotten.

use std::collections::BTreeSet;

/// Items under way, and the mark below them.
#[derive(Debug, Clone)]
pub struct Progress {
    under_way: BTreeSet<u64>,
    highest: u64,
}

impl Progress {
    /// Everything up to `low_water` is done.
    pub fn resume(low_water: u64) -> Self {
        Self {
            under_way: BTreeSet::new(),
            highest: low_water,
        }
    }

    /// An item was read from the stream. Items come in the order of their cursors.
    pub fn begin(&mut self, cursor: u64) {
        if cursor > self.highest {
            self.highest = cursor;
            self.under_way.insert(cursor);
        }
    }

    /// An item is done.
    pub fn finish(&mut self, cursor: u64) {
        self.under_way.remove(&cursor);
    }

    /// The greatest cursor at or before which everything is done.
    pub fn low_water(&self) -> u64 {
        self.under_way
            .first()
            .map_or(self.highest, |oldest| oldest.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_mark_waits_for_the_oldest() {
        let mut progress = Progress::resume(10);
        for cursor in [11, 13, 14] {
            progress.begin(cursor);
        }
        progress.finish(13);
        progress.finish(14);
        assert_eq!(progress.low_water(), 10, "11 is under way");
        progress.finish(11);
        assert_eq!(progress.low_water(), 14);
    }

    #[test]
    fn an_item_that_comes_again_does_not_hold_the_mark_back() {
        let mut progress = Progress::resume(10);
        progress.begin(9);
        assert_eq!(progress.low_water(), 10);
    }

    proptest! {
        #[test]
        fn nothing_unfinished_is_ever_below_the_mark(order in Just((1u64..60).collect::<Vec<_>>()).prop_shuffle(), begun in 1u64..60) {
            let mut progress = Progress::resume(0);
            (1..=begun).for_each(|cursor| progress.begin(cursor));
            let mut open: BTreeSet<u64> = (1..=begun).collect();
            for cursor in order.into_iter().filter(|c| *c <= begun) {
                progress.finish(cursor);
                open.remove(&cursor);
                prop_assert!(open.iter().all(|c| *c > progress.low_water()));
                prop_assert!(open.contains(&(progress.low_water() + 1)) || progress.low_water() == begun);
            }
        }
    }
}
