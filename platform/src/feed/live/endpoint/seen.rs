//! Which transactions were passed on already, by whichever node.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use engine::B256;

/// Hashes that are known to be passed on, by any node.
const SEEN: usize = 1 << 17;

/// Hashes that need not be proven again.
#[derive(Debug, Default)]
pub(in super::super) struct Seen {
    hashes: Mutex<(HashSet<B256>, VecDeque<B256>)>,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, (HashSet<B256>, VecDeque<B256>)> {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, hash: &B256) -> bool {
        self.lock().0.contains(hash)
    }

    /// True for the first who says so.
    pub(super) fn insert(&self, hash: B256) -> bool {
        let mut seen = self.lock();
        let new = seen.0.insert(hash);
        if new {
            seen.1.push_back(hash);
            if seen.1.len() > SEEN
                && let Some(oldest) = seen.1.pop_front()
            {
                seen.0.remove(&oldest);
            }
        }
        new
    }

    /// It left the pool; when it is shown again, it is news.
    pub(in super::super) fn forget(&self, hash: &B256) {
        self.lock().0.remove(hash);
    }
}
