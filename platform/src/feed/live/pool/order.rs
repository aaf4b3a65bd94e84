//! Who waits behind whom: a sender's transactions in the order of their nonces.
//!
//! A transaction stands behind those of its sender that wait with the nonces right below its own. Of several that may be the one of a
//! nonce, that which pays most is taken for it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use engine::{Address, B256};

use super::{Entry, Pool};

impl<T> Pool<T> {
    /// Those that go before this one: the waiting ones of its sender with the nonces right below its own, without a gap, in their
    /// order. None when there are more than `most`.
    #[must_use]
    pub fn before(&self, hash: &B256, most: usize) -> Vec<B256> {
        let Some(entry) = self.waiting.get(hash) else {
            return Vec::new();
        };
        let (sender, mut nonce) = entry.ticket.place();
        let mut before = Vec::new();
        while let Some(below) = nonce.checked_sub(1)
            && let Some(best) = self.best(sender, below)
        {
            if before.len() == most {
                return Vec::new();
            }
            before.push(best);
            nonce = below;
        }
        before.reverse();
        before
    }

    /// Of those that wait at a place, the one that pays most; of equals, the one that came first.
    fn best(&self, sender: Address, nonce: u64) -> Option<B256> {
        let here = self.places.get(&(sender, nonce))?;
        let entries = here.iter().filter_map(|hash| self.waiting.get(hash));
        let pays = |entry: &&Entry<T>| (entry.ticket.max_fee, entry.ticket.priority_fee, Reverse(entry.order));
        entries.max_by_key(pays).map(|entry| entry.ticket.hash)
    }

    /// Those that wait behind a place, within `most` nonces of it.
    pub fn behind(&self, (sender, nonce): (Address, u64), most: usize) -> Vec<B256> {
        let last = nonce.saturating_add(u64::try_from(most).unwrap_or(u64::MAX));
        let places = self.places.range((sender, nonce.saturating_add(1))..=(sender, last));
        places.flat_map(|(_, hashes)| hashes.iter().copied()).collect()
    }

    /// Those of this sender that wait, in the order of their nonces.
    pub fn sent_by(&self, sender: Address) -> Vec<B256> {
        let places = self.places.range((sender, 0)..=(sender, u64::MAX));
        places.flat_map(|(_, hashes)| hashes.iter().copied()).collect()
    }

    /// Who sends one that waits.
    #[must_use]
    pub fn sender(&self, hash: &B256) -> Option<Address> {
        self.waiting.get(hash).map(|entry| entry.ticket.sender)
    }

    /// The places (sender and nonce) at which somebody came or left since this was asked last.
    pub fn take_changed(&mut self) -> BTreeSet<(Address, u64)> {
        std::mem::take(&mut self.changed)
    }
}
