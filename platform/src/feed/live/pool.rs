//! What becomes of pending transactions: a rule without clock or socket.
//!
//! A transaction waits until it is included, gives way to another of the same sender and nonce that pays more, or is dropped. A
//! reorg puts back what the blocks that left had taken, as far as the new chain has not taken it again.
//!
//! What always holds:
//! - A hash waits at most once; each way of leaving is told once.
//! - No transaction waits whose sender and nonce an included one has used on the chain that is followed.
//! - Memory is bounded: so many wait ([`Limits::waiting`]), each so long ([`Limits::age`]), and so many blocks and hashes are
//!   remembered. What was not delivered yet is never given up; it is bounded by whoever delivers.
//!
//! A transaction may stand behind others of its sender that wait ([`order`]).
//!
//! Several transactions of one sender and nonce may wait together (nodes need not agree which one they keep): a rival that pays
//! less is judged too, since it may be the one that is mined.

mod event;
mod order;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use engine::{Address, B256};

pub use self::event::{DropReason, PoolEvent};

/// Blocks whose effect can be taken back.
const UNDOABLE: usize = 128;
/// Hashes that are remembered after they left, so that a late copy is not taken for a new transaction.
const REMEMBERED: usize = 1 << 15;
/// Transactions of one sender and nonce that may wait together.
const RIVALS: usize = 4;

/// What is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transactions that wait.
    pub waiting: usize,
    /// How long one waits.
    pub age: Duration,
}

/// What the rule knows of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its hash.
    pub hash: B256,
    /// Who signed it.
    pub sender: Address,
    /// Its place in the sender's order.
    pub nonce: u64,
    /// The most that it pays for a unit of gas, wei (`gasPrice`, or `maxFeePerGas`).
    pub max_fee: u128,
    /// The most of that which goes to the proposer, wei.
    pub priority_fee: u128,
}

impl Ticket {
    fn place(&self) -> (Address, u64) {
        (self.sender, self.nonce)
    }

    /// Whether nodes would let it take the other's place: the cap is higher, and the tip not lower.
    fn outbids(&self, other: &Self) -> bool {
        self.max_fee > other.max_fee && self.priority_fee >= other.priority_fee
    }
}

/// A block, as far as the rule goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its hash.
    pub hash: B256,
    /// What it includes: hash, sender, nonce.
    pub included: Vec<(B256, Address, u64)>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    ticket: Ticket,
    since: Duration,
    order: u64,
    delivered: bool,
    payload: T,
}

/// What a block took out of the pool, to be put back when it leaves the chain.
#[derive(Debug)]
struct Taken<T> {
    hash: B256,
    included: HashSet<B256>,
    /// The greatest nonce that it used of each sender.
    used: HashMap<Address, u64>,
    /// Waited, and were included or lost their nonce by it.
    entries: Vec<Entry<T>>,
}

/// The pool of transactions that wait, each with what its user keeps with it.
#[derive(Debug)]
pub struct Pool<T> {
    limits: Limits,
    waiting: HashMap<B256, Entry<T>>,
    places: BTreeMap<(Address, u64), Vec<B256>>,
    /// By age: order of arrival, then hash.
    arrivals: BTreeSet<(u64, B256)>,
    blocks: VecDeque<Taken<T>>,
    /// Left otherwise than by a block: when, in the order of `left`.
    left_at: HashMap<B256, u64>,
    /// Oldest first. One that came back and left again stands here twice; only the newer place counts.
    left: VecDeque<(u64, B256)>,
    next: u64,
    /// Places at which somebody came or left since they were asked for last.
    changed: BTreeSet<(Address, u64)>,
}

impl<T> Pool<T> {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: HashMap::new(),
            places: BTreeMap::new(),
            arrivals: BTreeSet::new(),
            blocks: VecDeque::new(),
            left_at: HashMap::new(),
            left: VecDeque::new(),
            next: 0,
            changed: BTreeSet::new(),
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether this one waits, or is known to have left: another copy of it says nothing new.
    #[must_use]
    pub fn knows(&self, hash: &B256) -> bool {
        self.waiting.contains_key(hash) || self.left_at.contains_key(hash) || self.is_included(hash)
    }

    /// Whether this one waits.
    #[must_use]
    pub fn is_waiting(&self, hash: &B256) -> bool {
        self.waiting.contains_key(hash)
    }

    /// Whether an included transaction has used its nonce, or a later one.
    fn is_used(&self, ticket: &Ticket) -> bool {
        self.blocks
            .iter()
            .any(|block| block.used.get(&ticket.sender).is_some_and(|used| *used >= ticket.nonce))
    }

    fn is_included(&self, hash: &B256) -> bool {
        self.blocks.iter().any(|block| block.included.contains(hash))
    }

    /// What is kept with one that waits.
    #[must_use]
    pub fn get(&self, hash: &B256) -> Option<&T> {
        self.waiting.get(hash).map(|entry| &entry.payload)
    }

    /// What is kept with one that waits.
    pub fn get_mut(&mut self, hash: &B256) -> Option<&mut T> {
        self.waiting.get_mut(hash).map(|entry| &mut entry.payload)
    }

    /// Those that wait, oldest first, and whether they were delivered.
    pub fn waiting(&self) -> impl Iterator<Item = (B256, bool)> + '_ {
        self.arrivals
            .iter()
            .filter_map(|(_, hash)| Some((*hash, self.waiting.get(hash)?.delivered)))
    }

    /// Those that were delivered and have waited since before `before`, oldest first: the ones to ask the nodes about.
    pub fn waiting_since(&self, before: Duration) -> impl Iterator<Item = B256> + '_ {
        self.arrivals
            .iter()
            .filter_map(|(_, hash)| self.waiting.get(hash))
            .filter(move |entry| entry.delivered && entry.since < before)
            .map(|entry| entry.ticket.hash)
    }

    /// It was given on; from now on it may be given up.
    pub fn delivered(&mut self, hash: &B256) {
        if let Some(entry) = self.waiting.get_mut(hash) {
            entry.delivered = true;
        }
    }

    /// When a node first showed a transaction that waits.
    pub fn heard(&self, hash: &B256) -> Option<Duration> {
        self.waiting.get(hash).map(|entry| entry.since)
    }

    /// A node shows a transaction at `now` (of any clock that does not go back).
    pub fn hear(&mut self, ticket: Ticket, payload: T, now: Duration) -> Vec<PoolEvent> {
        let hash = ticket.hash;
        if self.waiting.contains_key(&hash) || self.is_included(&hash) || self.is_used(&ticket) {
            return Vec::new();
        }
        let rivals = self.places.get(&ticket.place()).cloned().unwrap_or_default();
        // A copy of one that gave way is late; of one that was dropped, it is back.
        if self.left_at.contains_key(&hash) && !rivals.is_empty() {
            return Vec::new();
        }
        let mut events = Vec::new();
        let outbid: Vec<B256> = rivals
            .iter()
            .filter(|rival| {
                self.waiting
                    .get(*rival)
                    .is_some_and(|rival| ticket.outbids(&rival.ticket))
            })
            .copied()
            .collect();
        if outbid.is_empty() && rivals.len() >= RIVALS {
            return Vec::new();
        }
        self.insert(ticket, payload, now, false);
        events.push(PoolEvent::Pending(hash));
        for old in outbid {
            if self.leave(&old).is_some() {
                events.push(PoolEvent::Replaced { old, new: hash });
            }
        }
        events
    }

    /// Takes back one that was delivered before this process started, without a word.
    pub fn restore(&mut self, ticket: Ticket, payload: T, now: Duration) {
        if !self.waiting.contains_key(&ticket.hash) {
            self.insert(ticket, payload, now, true);
        }
    }

    /// The chain goes on: blocks that left it (newest first), then blocks that came (oldest first).
    pub fn advance(&mut self, orphaned: &[B256], adopted: &[Block], now: Duration) -> Vec<PoolEvent> {
        let mut returned = Vec::new();
        for hash in orphaned {
            let Some(at) = self.blocks.iter().rposition(|block| block.hash == *hash) else {
                continue;
            };
            if let Some(block) = self.blocks.remove(at) {
                for entry in block.entries {
                    returned.push(entry.ticket.hash);
                    self.insert(entry.ticket, entry.payload, entry.since.max(now), entry.delivered);
                }
            }
        }
        let mut events = Vec::new();
        for block in adopted {
            self.include(block, &mut events);
        }
        // Only what the new chain has not taken as well is news.
        let mut told: Vec<PoolEvent> = returned
            .iter()
            .filter(|hash| self.waiting.contains_key(*hash))
            .map(|hash| PoolEvent::Pending(*hash))
            .collect();
        told.extend(events);
        told
    }

    fn include(&mut self, block: &Block, events: &mut Vec<PoolEvent>) {
        let mut taken = Taken {
            hash: block.hash,
            included: block.included.iter().map(|(hash, ..)| *hash).collect(),
            used: HashMap::new(),
            entries: Vec::new(),
        };
        for (_, sender, nonce) in &block.included {
            let used = taken.used.entry(*sender).or_default();
            *used = (*used).max(*nonce);
        }
        for (hash, sender, nonce) in &block.included {
            if let Some(entry) = self.remove(hash) {
                taken.entries.push(entry);
                events.push(PoolEvent::Included {
                    hash: *hash,
                    block: block.hash,
                });
            }
            // What stands at or before the used nonce can never be included.
            let beaten: Vec<B256> = self
                .places
                .range((*sender, 0)..=(*sender, *nonce))
                .flat_map(|(_, hashes)| hashes.iter().copied())
                .filter(|other| !taken.included.contains(other))
                .collect();
            for other in beaten {
                if let Some(entry) = self.remove(&other) {
                    taken.entries.push(entry);
                    events.push(PoolEvent::Dropped {
                        hash: other,
                        reason: DropReason::NonceUsed { by: *hash },
                    });
                }
            }
        }
        self.blocks.push_back(taken);
        if self.blocks.len() > UNDOABLE {
            self.blocks.pop_front();
        }
    }

    /// These will not be included, as far as anybody can tell; those that were not delivered yet stay.
    pub fn give_up(&mut self, hashes: &[B256], reason: &DropReason) -> Vec<PoolEvent> {
        let mut events = Vec::with_capacity(hashes.len());
        for hash in hashes {
            if self.waiting.get(hash).is_some_and(|entry| entry.delivered) && self.leave(hash).is_some() {
                events.push(PoolEvent::Dropped {
                    hash: *hash,
                    reason: reason.clone(),
                });
            }
        }
        events
    }

    /// Gives up the oldest of those that are delivered, as far as the limits ask for it.
    pub fn evict(&mut self, now: Duration) -> Vec<PoolEvent> {
        let Limits { waiting, age } = self.limits;
        let oldest = self.arrivals.iter().filter_map(|(_, hash)| self.waiting.get(hash));
        let delivered = oldest.filter(|entry| entry.delivered);
        let excess = self.waiting.len().saturating_sub(waiting);
        let given_up: Vec<(B256, DropReason)> = delivered
            .enumerate()
            .map_while(|(index, entry)| {
                let reason = if index < excess {
                    DropReason::Full(waiting)
                } else if now.saturating_sub(entry.since) > age {
                    DropReason::Expired(age)
                } else {
                    return None;
                };
                Some((entry.ticket.hash, reason))
            })
            .collect();
        let mut events = Vec::with_capacity(given_up.len());
        for (hash, reason) in given_up {
            if self.leave(&hash).is_some() {
                events.push(PoolEvent::Dropped { hash, reason });
            }
        }
        events
    }

    fn insert(&mut self, ticket: Ticket, payload: T, since: Duration, delivered: bool) {
        self.next += 1;
        self.arrivals.insert((self.next, ticket.hash));
        self.places.entry(ticket.place()).or_default().push(ticket.hash);
        self.changed.insert(ticket.place());
        self.left_at.remove(&ticket.hash);
        let entry = Entry {
            ticket,
            since,
            order: self.next,
            delivered,
            payload,
        };
        self.waiting.insert(ticket.hash, entry);
    }

    fn remove(&mut self, hash: &B256) -> Option<Entry<T>> {
        let entry = self.waiting.remove(hash)?;
        self.arrivals.remove(&(entry.order, *hash));
        let place = entry.ticket.place();
        self.changed.insert(place);
        if let Some(rivals) = self.places.get_mut(&place) {
            rivals.retain(|rival| rival != hash);
            if rivals.is_empty() {
                self.places.remove(&place);
            }
        }
        Some(entry)
    }

    /// Removes one that no block has taken.
    fn leave(&mut self, hash: &B256) -> Option<Entry<T>> {
        let entry = self.remove(hash)?;
        self.next += 1;
        self.left_at.insert(*hash, self.next);
        self.left.push_back((self.next, *hash));
        if self.left.len() > REMEMBERED
            && let Some((at, oldest)) = self.left.pop_front()
            && self.left_at.get(&oldest) == Some(&at)
        {
            self.left_at.remove(&oldest);
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests;
