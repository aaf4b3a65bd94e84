//! Snapshots over a node, of the newest blocks: who asks, and what is kept.
//!
//! What always holds: every wait ends at the caller's deadline; at most [`ReaderConfig::max_inflight`] transactions are read at once
//! (how, [`crate::rounds`] says); what is learnt of a block is known of those above it too, as far as it still is so there.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use arc_swap::ArcSwap;
use engine::{B256, EngineError, Missing, Transaction, WatchSet};
use tokio::sync::Semaphore;

use crate::{
    ask::Pin,
    codes::Codes,
    config::ReaderConfig,
    engines::{Engines, Task},
    facts::Facts,
    flight::Flights,
    head::HeadInfo,
    heads::Heads,
    node::{Node, NodeError},
    recording::Recording,
    snapshot::Snapshot,
};

/// Why state could not be read. The caller makes `Undecided` of it, with this as the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The deadline passed.
    #[error("the deadline passed before the state was read")]
    Deadline,
    /// This block is none of those kept, and the node does not know it.
    #[error("block {0} is not known")]
    UnknownHead(B256),
    /// No node gave it.
    #[error("state cannot be read: {0}")]
    Node(#[from] NodeError),
    /// It always needed something more.
    #[error("after {rounds} round trips there is still something missing: {missing}")]
    Rounds {
        /// Round trips made.
        rounds: u32,
        /// What is missing.
        missing: Missing,
    },
    /// The node answered, and this was not among it.
    #[error("the node does not give {0}")]
    NotGiven(Missing),
    /// Too many are waiting.
    #[error("too many transactions are being read; try again later")]
    Busy,
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The system refuses threads or a folder.
    #[error("cannot start reading state: {0}")]
    System(String),
}

pub(crate) struct Shared {
    pub(crate) node: Node,
    pub(crate) config: ReaderConfig,
    pub(crate) codes: Arc<Codes>,
    pub(crate) heads: ArcSwap<Heads>,
    /// Held by who follows the head.
    pub(crate) following: tokio::sync::Mutex<()>,
    pub(crate) engines: Engines,
    pub(crate) flights: Flights,
    /// Places for those who are read and those who wait for their turn.
    queue: Semaphore,
    gate: Semaphore,
    /// Reused by every execution that judges nothing.
    nothing: Arc<WatchSet>,
    /// Held while facts go up the line, so that no new head misses them.
    pub(crate) learning: Mutex<()>,
}

/// Snapshots of a chain's newest blocks. Cheap to clone; the threads of its engines end with the last clone.
#[derive(Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("chain_id", &self.chain_id())
            .field("head", self.head().head())
            .finish_non_exhaustive()
    }
}

/// Transactions that may wait for their turn, for each that is read.
const WAITING: usize = 64;

impl Reader {
    /// Starts at the node's newest block, knowing nothing but its header.
    ///
    /// # Errors
    /// When the node does not tell its newest block, or there are no threads or no folder to be had.
    pub async fn new(node: Node, config: ReaderConfig) -> Result<Self, Unavailable> {
        let block = node.newest().await?;
        let head = HeadInfo::new(
            &block.header.inner,
            block.header.hash,
            node.chain_id(),
            config.block_time.as_secs(),
        );
        let system = |error: std::io::Error| Unavailable::System(error.to_string());
        let codes = Codes::new(
            config.max_code_bytes,
            config.code_dir.as_deref(),
            config.max_code_dir_bytes,
        );
        let codes = codes.map_err(system)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let inflight = config.max_inflight.max(1);
        let engines = Engines::start(node.chain_id(), threads, inflight + 8).map_err(system)?;
        let included = block.transactions.hashes().collect();
        let first = Snapshot::empty(head, Arc::clone(&codes), config.max_slots, included);
        let heads = Heads::new(Arc::new(first), config.kept_heads);
        Ok(Self {
            shared: Arc::new(Shared {
                node,
                codes,
                heads: ArcSwap::from_pointee(heads),
                following: tokio::sync::Mutex::new(()),
                engines,
                flights: Flights::default(),
                queue: Semaphore::new(inflight.saturating_mul(1 + WAITING)),
                gate: Semaphore::new(inflight),
                nothing: Arc::default(),
                learning: Mutex::new(()),
                config,
            }),
        })
    }

    /// EIP-155 chain id.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.shared.node.chain_id()
    }

    /// The node that it reads.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.shared.node
    }

    /// The newest block. Takes no lock.
    #[must_use]
    pub fn head(&self) -> Arc<Snapshot> {
        Arc::clone(self.shared.heads.load().newest())
    }

    /// A block that is kept: one of the last [`ReaderConfig::kept_heads`], or one that a reorg left. Takes no lock.
    #[must_use]
    pub fn at(&self, hash: B256) -> Option<Arc<Snapshot>> {
        self.shared.heads.load().at(hash).cloned()
    }

    /// Executes the transaction on the state of this block under the environment of the next one, fetches what it reads and is not yet
    /// known, and gives exactly what it read.
    ///
    /// # Errors
    /// When the block is not kept, or what it reads cannot be had in time.
    pub async fn prestate(&self, head: B256, tx: &Transaction, deadline: Instant) -> Result<Recording, Unavailable> {
        let nothing = Arc::clone(&self.shared.nothing);
        self.judge(head, tx, &nothing, deadline).await
    }

    /// The same, judging these invariants: what they read is part of the recording, their verdicts are in its outcome.
    ///
    /// # Errors
    /// See [`Reader::prestate`].
    pub async fn judge(
        &self,
        head: B256,
        tx: &Transaction,
        set: &Arc<WatchSet>,
        deadline: Instant,
    ) -> Result<Recording, Unavailable> {
        self.judge_behind(head, &[], tx, set, deadline).await
    }

    /// The same on what these leave that go before it: its sender's with lower nonces, in their order. What they read is part of the
    /// recording too; their verdicts are not.
    ///
    /// # Errors
    /// See [`Reader::prestate`].
    pub async fn judge_behind(
        &self,
        head: B256,
        predecessors: &[Transaction],
        tx: &Transaction,
        set: &Arc<WatchSet>,
        deadline: Instant,
    ) -> Result<Recording, Unavailable> {
        let snapshot = self.at(head).ok_or(Unavailable::UnknownHead(head))?;
        let shared = &*self.shared;
        let _place = shared.queue.try_acquire().map_err(|_| Unavailable::Busy)?;
        let turn = tokio::time::timeout_at(deadline.into(), shared.gate.acquire());
        let _turn = turn.await.map_err(|_| Unavailable::Deadline)?;
        let task = Arc::new(Task {
            head,
            chain_id: self.chain_id(),
            env: snapshot.head().next.clone(),
            predecessors: predecessors.to_vec(),
            tx: tx.clone(),
            set: Arc::clone(set),
            deadline,
        });
        let begun = Instant::now();
        let recorded = self.rounds(&snapshot, &task).await;
        let outcome = match &recorded {
            Ok(recording) if recording.round_trips == 0 => "warm",
            Ok(_) => "cold",
            Err(_) => "unavailable",
        };
        metrics::histogram!("state_read_seconds", "outcome" => outcome).record(begun.elapsed().as_secs_f64());
        recorded
    }

    /// Adds facts to a snapshot, and to those above it as far as they are still so there.
    pub(crate) async fn learn(&self, snapshot: &Snapshot, facts: Facts) {
        let codes = &self.shared.codes;
        self.keep_codes(facts.codes.iter().map(|(hash, code)| (*hash, code.clone())).collect())
            .await;
        for (address, fact) in &facts.accounts {
            if let Some(account) = fact.account.flatten().filter(engine::Account::has_code) {
                codes.found_at(account.code_hash, *address);
            }
        }
        snapshot.learn(&facts);
        let _learning = self
            .shared
            .learning
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut facts = facts;
        for above in self.shared.heads.load().above(snapshot.hash()).iter().rev() {
            let Some(step) = above.step() else { break };
            facts = facts.after(&step.forth);
            if facts.is_empty() {
                break;
            }
            above.learn(&facts);
        }
    }

    pub(crate) async fn keep_codes(&self, codes: Vec<(B256, engine::Bytes)>) {
        let cache = &self.shared.codes;
        let unwritten: Vec<_> = codes
            .into_iter()
            .filter(|(hash, code)| cache.insert(*hash, code))
            .collect();
        if unwritten.is_empty() {
            return;
        }
        let cache = Arc::clone(cache);
        let written = tokio::task::spawn_blocking(move || {
            for (hash, code) in unwritten {
                cache.write(hash, &code);
            }
        });
        // That it failed is logged there; that it panicked changes nothing here.
        drop(written.await);
    }
}

pub(crate) fn pin(snapshot: &Snapshot) -> Pin {
    Pin {
        hash: snapshot.hash(),
        number: snapshot.head().number,
    }
}
