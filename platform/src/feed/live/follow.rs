//! The live feed itself: what the nodes show goes through the pool's rule, is recorded at the head, and becomes items in order.
//!
//! One task owns the pool and the chain; nodes are listened to by tasks of their own. What always holds:
//! - an item of a transaction is logged before the item that says what became of it;
//! - a transaction is logged with the state that it reads, or, when that cannot be read in time, without it, and then again with
//!   it at a later head;
//! - a transaction is logged with those of its sender that wait and go before it, and again when these change ([`super::turns`]);
//! - what is heard and not logged yet is bounded: while it is at its bound, nothing more is taken from the nodes.

mod chain;
mod predecessors;
mod recording;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engine::{B256, Transaction, WatchSet, Watched};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use protos::v1;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use wire::{ShippedPrestate, Wire};

use super::body::ticket;
use super::check::{self, Checked};
use super::endpoint::{Heard, Seen, View};
use super::heads::Heads;
use super::lead::{Candidate, lead};
use super::pool::{DropReason, Pool, PoolEvent};
use super::record::{Recorded, StateSource, StaysGood, Unreadable};
use super::rpc::Client;
use super::status::{Count, LiveStatus};
use super::turns::Turns;
use super::{LiveOptions, Position};
use crate::feed::{FeedError, FeedItem};
use crate::log::{Event, Waiting};

/// Heard, but not logged: no more is taken from the nodes then.
const UNLOGGED: usize = 1024;
/// Transactions that are asked for at once whether the nodes still know them.
const CHECKED: usize = 500;
/// Bytecodes that are remembered as given; when it is full it is emptied, and some are given again.
const GIVEN_CODES: usize = 1 << 16;

/// Why following ends without an error: nobody takes items any more.
pub(super) struct Closed;

/// A transaction, the head, those that wait and go before it, and what it reads behind them.
type Done = (B256, B256, Vec<Arc<Transaction>>, Result<Recorded, Unreadable>);

/// What is kept with a transaction that waits.
struct Held {
    transaction: Arc<Transaction>,
    /// Whether what it read is still what it was, at each head since it was recorded; `None`: it is not.
    recorded: Option<StaysGood>,
    /// The digest of the state that its newest item carries, where it carries one.
    logged: Option<B256>,
    /// Those that waited before it when its newest item was made.
    before: Vec<B256>,
    /// How many of them went before it on the state of that item.
    behind: usize,
}

impl Held {
    fn new(transaction: Transaction, logged: Option<B256>) -> Self {
        Self {
            transaction: Arc::new(transaction),
            recorded: None,
            logged,
            before: Vec::new(),
            behind: 0,
        }
    }
}

/// The head that transactions are judged on.
#[derive(Debug, Clone, Copy)]
struct Newest {
    hash: B256,
    number: u64,
}

/// What the task works with from outside.
pub(super) struct Inputs {
    pub(super) heard: mpsc::Receiver<(usize, Heard)>,
    pub(super) bodies: mpsc::Receiver<(usize, Transaction)>,
    pub(super) watched: watch::Receiver<Arc<WatchSet>>,
}

pub(super) struct Follower {
    parts: Parts,
    pool: Pool<Held>,
    heads: Heads,
    newest: Option<Newest>,
    position: String,
    candidates: Vec<Candidate>,
    clients: Vec<Option<Client>>,
    /// Nobody was listened to since the last head: the heads between are missed ones.
    resuming: bool,
    unlogged: HashMap<B256, Arc<Transaction>>,
    /// To be recorded: those that were never logged, and those whose item is not good any more.
    first: VecDeque<B256>,
    again: VecDeque<B256>,
    under_way: HashSet<B256>,
    /// When whose transactions are recorded again because of what goes before them.
    turns: Turns,
    given: HashSet<B256>,
    watched: Arc<WatchSet>,
    /// Recordings under way for invariants that are no longer all that is in force.
    outdated: HashSet<B256>,
    checked: usize,
    origin: Instant,
}

/// What a follower works with.
pub(super) struct Parts {
    pub(super) options: LiveOptions,
    pub(super) chain_id: Arc<std::sync::OnceLock<u64>>,
    pub(super) status: LiveStatus,
    pub(super) state: Arc<dyn StateSource>,
    pub(super) view: watch::Sender<View>,
    pub(super) seen: Arc<Seen>,
    pub(super) items: mpsc::Sender<Result<FeedItem, FeedError>>,
}

impl Follower {
    /// Goes on behind `position`, with what waited then.
    pub(super) fn new(parts: Parts, nodes: usize, position: Option<Position>, waiting: Vec<Waiting>) -> Self {
        let mut follower = Self {
            pool: Pool::new(parts.options.limits()),
            parts,
            heads: Heads::default(),
            newest: None,
            position: String::new(),
            candidates: vec![Candidate::default(); nodes],
            clients: vec![None; nodes],
            resuming: position.is_some(),
            unlogged: HashMap::new(),
            first: VecDeque::new(),
            again: VecDeque::new(),
            under_way: HashSet::new(),
            turns: Turns::default(),
            given: HashSet::new(),
            watched: Arc::default(),
            outdated: HashSet::new(),
            checked: 0,
            origin: Instant::now(),
        };
        if let Some(position) = position {
            follower.heads = Heads::from_newest(position.link());
            follower.position = position.to_text();
            let heads = Arc::new(follower.heads.clone());
            follower.parts.view.send_modify(|view| view.heads = heads);
        }
        let now = follower.now();
        for Waiting {
            transaction,
            state_digest,
        } in waiting
        {
            // What was logged was proven before.
            if let Ok(transaction) = Transaction::from_wire(&transaction) {
                let held = Held::new(transaction, state_digest);
                follower.pool.restore(ticket(&held.transaction), held, now);
            }
        }
        // All of them are recorded again with the first head.
        let _restored = follower.pool.take_changed();
        follower
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Follows until nobody takes items any more.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let _closed = self.follow(&mut inputs).await;
    }

    async fn follow(&mut self, inputs: &mut Inputs) -> Result<std::convert::Infallible, Closed> {
        let Inputs { heard, bodies, watched } = inputs;
        let mut recording: FuturesUnordered<BoxFuture<'static, Done>> = FuturesUnordered::new();
        let mut checking: FuturesUnordered<BoxFuture<'static, Checked>> = FuturesUnordered::new();
        let mut ticks = tokio::time::interval(self.parts.options.check_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let items = self.parts.items.clone();
        self.watched = watched.borrow_and_update().clone();
        let mut watches = true;
        loop {
            self.begin_recording(&mut recording);
            self.parts.status.pending(self.pool.len());
            let turn = self.turns.next().map(|at| self.origin + at);
            let takes_bodies = self.newest.is_some() && self.unlogged.len() < UNLOGGED;
            tokio::select! {
                biased;
                () = items.closed() => return Err(Closed),
                Some((node, heard)) = heard.recv() => {
                    // What was shown before a block is taken before it, however much that is: at most what the channel holds.
                    let before = if self.newest.is_some() && matches!(heard, Heard::Chain(_)) { bodies.len() } else { 0 };
                    for _ in 0..before {
                        let Ok((_, transaction)) = bodies.try_recv() else { break };
                        self.body(transaction).await?;
                    }
                    self.hear(node, heard, &mut recording).await?;
                }
                Some(done) = recording.next(), if !recording.is_empty() => self.recorded(done).await?,
                Some(checked) = checking.next(), if !checking.is_empty() => self.gone(checked).await?,
                changed = watched.changed(), if watches => {
                    let set = watched.borrow_and_update().clone();
                    self.watch(set);
                    watches = changed.is_ok();
                }
                () = tokio::time::sleep_until(turn.unwrap_or(self.origin)), if turn.is_some() => self.take_turns(),
                _ = ticks.tick() => {
                    let events = self.pool.evict(self.now());
                    self.tell(events).await?;
                    if checking.is_empty() && let Some(check) = self.check() {
                        checking.push(check);
                    }
                }
                Some((_, transaction)) = bodies.recv(), if takes_bodies => self.body(transaction).await?,
                else => return Err(Closed),
            }
        }
    }

    /// Other invariants are in force. A slot that was not read cannot be written, so that what is recorded stays good for invariants over
    /// one slot; what an expression or a view reads that was not in force is recorded anew, of all that wait.
    fn watch(&mut self, set: Arc<WatchSet>) {
        let known = |watched: &Watched| self.watched.watched().contains(watched);
        let mut more = set
            .watched()
            .iter()
            .filter(|watched| !matches!(watched, Watched::Slot(_)));
        if more.any(|watched| !known(watched)) {
            let waiting = self.pool.waiting_since(self.now()).collect();
            self.record_again(waiting);
            self.outdated.extend(&self.under_way);
        }
        self.watched = set;
    }

    /// A transaction that a node shows for the first time.
    async fn body(&mut self, transaction: Transaction) -> Result<(), Closed> {
        let held = Held::new(transaction, None);
        let events = self.pool.hear(ticket(&held.transaction), held, self.now());
        self.tell(events).await
    }

    /// Puts what the pool's rule says into items, and queues what is to be recorded.
    async fn tell(&mut self, events: Vec<PoolEvent>) -> Result<(), Closed> {
        for event in events {
            match event {
                PoolEvent::Pending(hash) => {
                    if let Some(held) = self.pool.get_mut(&hash) {
                        held.recorded = None;
                        self.unlogged.insert(hash, Arc::clone(&held.transaction));
                        self.first.push_back(hash);
                    }
                }
                PoolEvent::Replaced { old, new } => {
                    self.flush(old).await?;
                    self.parts.status.count(Count::Replaced, 1);
                    let replaced = v1::Replaced {
                        old_hash: wire::hash_bytes(old),
                        new_hash: wire::hash_bytes(new),
                    };
                    self.give(Event::Replaced(replaced), Vec::new(), None).await?;
                }
                PoolEvent::Dropped { hash, reason } => {
                    self.flush(hash).await?;
                    self.parts.status.count(Count::Dropped, 1);
                    if !matches!(reason, DropReason::NonceUsed { .. }) {
                        self.parts.seen.forget(&hash);
                    }
                    let dropped = v1::Dropped {
                        hash: wire::hash_bytes(hash),
                        reason: reason.to_string(),
                    };
                    self.give(Event::Dropped(dropped), Vec::new(), None).await?;
                }
                PoolEvent::Included { hash, .. } => {
                    self.flush(hash).await?;
                    self.parts.status.count(Count::Included, 1);
                }
            }
        }
        self.look_behind();
        Ok(())
    }

    async fn hear(
        &mut self,
        node: usize,
        heard: Heard,
        recording: &mut FuturesUnordered<BoxFuture<'static, Done>>,
    ) -> Result<(), Closed> {
        match heard {
            Heard::Up(client) => self.connected(node, Some(client)),
            Heard::Down => self.connected(node, None),
            Heard::Height(height) => {
                if let Some(candidate) = self.candidates.get_mut(node) {
                    candidate.height = height;
                }
                self.choose();
            }
            Heard::Chain(blocks) => self.chain(blocks, recording).await?,
        }
        Ok(())
    }

    fn connected(&mut self, node: usize, client: Option<Client>) {
        if let Some(candidate) = self.candidates.get_mut(node) {
            candidate.connected = client.is_some();
            // A node that comes back may have been set back.
            candidate.height = 0;
        }
        if let Some(place) = self.clients.get_mut(node) {
            *place = client;
        }
        self.choose();
        if !self.candidates.iter().any(|candidate| candidate.connected) {
            self.resuming = true;
        }
    }

    fn choose(&mut self) {
        let before = self.parts.view.borrow().followed;
        let now = lead(before, &self.candidates);
        if now != before {
            self.parts.status.followed(now);
            tracing::info!(?before, ?now, "the heads of another node are followed");
            self.parts.view.send_modify(|view| view.followed = now);
        }
    }

    /// A look at the nodes for those that have waited for a while.
    fn check(&mut self) -> Option<BoxFuture<'static, Checked>> {
        let clients: Vec<Client> = self.clients.iter().flatten().cloned().collect();
        let before = self.now().checked_sub(self.parts.options.check_interval)?;
        let mut hashes: Vec<B256> = self
            .pool
            .waiting_since(before)
            .skip(self.checked)
            .take(CHECKED)
            .collect();
        if hashes.is_empty() && self.checked > 0 {
            self.checked = 0;
            hashes = self.pool.waiting_since(before).take(CHECKED).collect();
        }
        if hashes.is_empty() || clients.is_empty() {
            return None;
        }
        self.checked += hashes.len();
        Some(Box::pin(check::check(clients, hashes)))
    }

    async fn gone(&mut self, checked: Checked) -> Result<(), Closed> {
        let mut events = self.pool.give_up(&checked.forgotten, &DropReason::Forgotten);
        let newest = self.newest.map_or(0, |newest| newest.number);
        for (hash, block) in checked.included {
            // What was included just now will be seen in its block.
            if block + 2 <= newest {
                events.extend(self.pool.give_up(&[hash], &DropReason::IncludedUnseen(block)));
            }
        }
        self.checked = self.checked.saturating_sub(events.len());
        self.tell(events).await
    }

    async fn give_pending(
        &mut self,
        transaction: &Transaction,
        predecessors: &[Arc<Transaction>],
        head: B256,
        prestate: Option<engine::Prestate>,
    ) -> Result<(), Closed> {
        if self.given.len() >= GIVEN_CODES {
            self.given.clear();
        }
        let codes = prestate.iter().flat_map(|prestate| &prestate.codes);
        let fresh: Vec<v1::Code> = codes
            .filter(|(hash, _)| self.given.insert(**hash))
            .map(|(hash, code)| wire::code_to_wire(*hash, code))
            .collect();
        let pending = v1::PendingTransaction {
            transaction: Some(transaction.to_wire()),
            head_hash: wire::hash_bytes(head),
            prestate: prestate.map(|prestate| ShippedPrestate::from(prestate).to_wire()),
            predecessors: predecessors.iter().map(|predecessor| predecessor.to_wire()).collect(),
        };
        let hash = transaction.hash();
        let heard = self.pool.heard(&hash).map(|since| self.origin + since);
        self.give(Event::Pending(pending), fresh, heard).await?;
        self.pool.delivered(&hash);
        Ok(())
    }

    async fn give(&self, event: Event, codes: Vec<v1::Code>, seen: Option<Instant>) -> Result<(), Closed> {
        let item = FeedItem {
            event,
            codes,
            position: self.position.clone(),
            due: Duration::ZERO,
            seen,
        };
        self.parts.items.send(Ok(item)).await.map_err(|_| Closed)
    }
}
