//! The follower's side of predecessors: what goes before a transaction, and who is recorded again when that changes.
//!
//! What a block includes needs nothing here: at each new head all that stood behind others is recorded again anyway.

use std::collections::HashSet;
use std::sync::Arc;

use engine::{Address, B256, Transaction};
use wire::MOST_PREDECESSORS;

use super::Follower;

impl Follower {
    /// Those that wait and go before this one, in their order.
    pub(super) fn predecessors(&self, hash: &B256) -> Vec<Arc<Transaction>> {
        let before = self.pool.before(hash, MOST_PREDECESSORS);
        let held = before.iter().filter_map(|hash| self.pool.get(hash));
        held.map(|held| Arc::clone(&held.transaction)).collect()
    }

    /// After somebody came or left: what stands behind, and does something else now, is recorded again when its sender's turn comes.
    pub(super) fn look_behind(&mut self) {
        let now = self.now();
        let mut asked: HashSet<Address> = HashSet::new();
        for place in self.pool.take_changed() {
            // One that stood behind as many as may be is behind more now.
            let behind = self.pool.behind(place, MOST_PREDECESSORS + 1);
            let others: Vec<B256> = behind.into_iter().filter(|hash| self.stands_otherwise(hash)).collect();
            let (sender, _) = place;
            if !others.is_empty() && (asked.contains(&sender) || self.turns.ask(sender, now)) {
                asked.insert(sender);
                self.record_again(others);
            }
        }
    }

    /// After a transaction was logged: what goes before it may have changed while it was recorded.
    pub(super) fn look_before(&mut self, hash: &B256) {
        let now = self.now();
        if self.stands_otherwise(hash)
            && let Some(sender) = self.pool.sender(hash)
            && self.turns.ask(sender, now)
        {
            self.record_again(vec![*hash]);
        }
    }

    /// The turns that have come.
    pub(super) fn take_turns(&mut self) {
        for sender in self.turns.due(self.now()) {
            let sent = self.pool.sent_by(sender);
            let others = sent.into_iter().filter(|hash| self.stands_otherwise(hash)).collect();
            self.record_again(others);
        }
    }

    /// Whether other transactions go before this one than when it was logged last. Of one that was not logged yet it will be seen then.
    fn stands_otherwise(&self, hash: &B256) -> bool {
        let Some(held) = self.pool.get(hash) else { return false };
        !self.unlogged.contains_key(hash) && held.before != self.pool.before(hash, MOST_PREDECESSORS)
    }
}
