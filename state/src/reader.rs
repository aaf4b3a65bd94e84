//! Snapshots over a node: executes on what is known, fetches what was missing, executes again.
//!
//! What always holds: an execution never waits for a node, and a node is asked at most once for a thing at a time; every wait ends at
//! the caller's deadline; at most [`ReaderConfig::max_inflight`] transactions are read at once.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use arc_swap::ArcSwap;
use engine::{B256, EngineError, Missing, Transaction, WatchSet};
use tokio::sync::Semaphore;

use crate::{
    ask::{self, Pin, Request},
    codes::Codes,
    config::{Prefetch, ReaderConfig},
    engines::{self, Engines, MOST_WANTED, Run, Task},
    facts::Facts,
    flight::{Flights, What, landed},
    head::HeadInfo,
    heads::Heads,
    node::{Node, NodeError},
    recording::Recording,
    snapshot::{Snapshot, knows},
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
    flights: Flights,
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

    /// Fetches what of these pieces the snapshot does not know, in one round trip, and waits for what others are fetching; at most 256,
    /// the rest is left out. For those who execute on a [`Snapshot`] themselves.
    ///
    /// # Errors
    /// When no node gives them in time.
    pub async fn fetch_pieces(
        &self,
        snapshot: &Arc<Snapshot>,
        wanted: Vec<Missing>,
        deadline: Instant,
    ) -> Result<(), Unavailable> {
        self.fetch(snapshot, wanted, deadline).await
    }

    async fn rounds(&self, snapshot: &Arc<Snapshot>, task: &Arc<Task>) -> Result<Recording, Unavailable> {
        let shared = &*self.shared;
        let mut way = shared.config.prefetch;
        let mut round_trips = 0;
        loop {
            let look_ahead = way == Prefetch::Rounds;
            let wants = match self.execute(snapshot, task, look_ahead).await? {
                Run::Done(mut recording) => {
                    recording.round_trips = round_trips;
                    return Ok(*recording);
                }
                Run::Wants(wants) => wants,
            };
            let missing = wants.first().copied().unwrap_or(Missing::Account(task.tx.sender()));
            if round_trips >= shared.config.max_rounds {
                return Err(Unavailable::Rounds {
                    rounds: round_trips,
                    missing,
                });
            }
            match way {
                Prefetch::Trace if shared.node.supports("debug_traceCall") => {
                    way = if self.trace(snapshot, task).await? {
                        Prefetch::Rounds
                    } else {
                        Prefetch::AccessList
                    };
                    round_trips += 1;
                }
                Prefetch::Trace => way = Prefetch::AccessList,
                Prefetch::AccessList => {
                    way = Prefetch::Rounds;
                    if shared.node.supports("eth_createAccessList") {
                        round_trips += self.access_list(snapshot, task).await?;
                    }
                }
                Prefetch::Rounds => {
                    let mut wants = wants;
                    wants.extend(obvious(task));
                    self.fetch(snapshot, wants, task.deadline).await?;
                    round_trips += 1;
                    self.given(snapshot, missing)?;
                }
                Prefetch::OneByOne => {
                    self.fetch(snapshot, vec![missing], task.deadline).await?;
                    round_trips += 1;
                    self.given(snapshot, missing)?;
                }
            }
        }
    }

    /// `Err` when it was fetched and is not there: code of which nobody knows the place.
    fn given(&self, snapshot: &Snapshot, what: Missing) -> Result<(), Unavailable> {
        match what {
            Missing::Code(hash) if !knows(snapshot, what) && self.shared.codes.place_of(hash).is_none() => {
                Err(Unavailable::NotGiven(what))
            }
            _ => Ok(()),
        }
    }

    async fn execute(&self, snapshot: &Snapshot, task: &Arc<Task>, look_ahead: bool) -> Result<Run, Unavailable> {
        let (view, codes, work) = (snapshot.view(), Arc::clone(&self.shared.codes), Arc::clone(task));
        let done = self
            .shared
            .engines
            .run(task.deadline, move |engine| {
                let run = engines::run(engine, &work, &view, &codes, look_ahead);
                (run, view)
            })
            .await?;
        let (run, view) = done;
        let run = run?;
        if let Run::Done(recording) = &run
            && view.is_ageing()
        {
            // Used: it stays.
            snapshot.learn(&Facts::from(&recording.prestate));
        }
        Ok(run)
    }

    /// Everything that the transaction reads, in one round trip; false when the node refuses to tell.
    async fn trace(&self, snapshot: &Arc<Snapshot>, task: &Task) -> Result<bool, Unavailable> {
        let (claim, others) = self
            .shared
            .flights
            .claim(snapshot.hash(), [What::Transaction(task.tx.hash())]);
        if claim.mine().is_empty() {
            wait(others, task.deadline).await?;
            return Ok(true);
        }
        let pin = pin(snapshot);
        let mut request = Request::default();
        // Each as if it were alone: what it finds otherwise behind the others is fetched in the next round.
        task.transactions().for_each(|tx| request.add_trace(pin, tx));
        for what in ask::obvious(&task.tx, task.env.beneficiary).into_iter().take(2) {
            if !knows(&**snapshot, what) {
                request.add(pin, what, None);
            }
        }
        let answers = match self.shared.node.batch(request.calls.clone(), task.deadline).await {
            Ok(answers) => answers,
            // Learnt while it was asked.
            Err(NodeError::Unsupported(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if let Some(Err(refused)) = answers.first()
            && answers.iter().all(Result::is_err)
        {
            // It may refuse a whole batch for one call in it.
            tracing::debug!(tx = %task.tx.hash(), error = %refused, "the node refuses to trace");
            return Ok(false);
        }
        let (facts, refused) = request.read(pin, &answers)?;
        if let Some(error) = &refused {
            tracing::debug!(tx = %task.tx.hash(), %error, "the node refuses to trace");
        }
        self.learn(snapshot, facts).await;
        Ok(refused.is_none())
    }

    /// What the node's access list names, in two round trips; gives how many were made.
    async fn access_list(&self, snapshot: &Arc<Snapshot>, task: &Task) -> Result<u32, Unavailable> {
        let call = ask::access_list(pin(snapshot), &task.tx);
        let mut named = obvious(task);
        let asked = self.shared.node.batch(vec![call], task.deadline).await;
        match asked.map(|answers| answers.first().map(ask::read_access_list)) {
            Ok(Some(Ok(list))) => named.extend(list),
            Ok(Some(Err(NodeError::Rpc(error)))) => {
                tracing::debug!(tx = %task.tx.hash(), %error, "the node gives no access list");
            }
            Err(NodeError::Unsupported(_)) => return Ok(0),
            Ok(Some(Err(error))) | Err(error) => return Err(error.into()),
            Ok(None) => {}
        }
        self.fetch(snapshot, named, task.deadline).await?;
        Ok(2)
    }

    /// Fetches what of this the snapshot does not know, in one round trip, and waits for what others are fetching. For who executes on
    /// a snapshot by himself, as several transactions one after the other. Code is given only where it is known whose it is.
    ///
    /// # Errors
    /// When no node gives it in time.
    pub async fn fetch(
        &self,
        snapshot: &Arc<Snapshot>,
        wanted: Vec<Missing>,
        deadline: Instant,
    ) -> Result<(), Unavailable> {
        let shared = &*self.shared;
        let mut unknown: Vec<Missing> = Vec::new();
        for what in wanted {
            if unknown.len() < MOST_WANTED && !unknown.contains(&what) && !knows(&**snapshot, what) {
                unknown.push(what);
            }
        }
        let (claim, others) = shared
            .flights
            .claim(snapshot.hash(), unknown.into_iter().map(What::Key));
        let pin = pin(snapshot);
        let mut request = Request::default();
        for what in claim.mine() {
            if let What::Key(what) = *what {
                let place = match what {
                    Missing::Code(hash) => shared.codes.place_of(hash),
                    _ => None,
                };
                request.add(pin, what, place);
            }
        }
        if !request.calls.is_empty() {
            let answers = shared.node.batch(request.calls.clone(), deadline).await?;
            let (facts, _) = request.read(pin, &answers)?;
            self.learn(snapshot, facts).await;
        }
        drop(claim);
        wait(others, deadline).await
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

/// What executing the transactions reads in any case.
fn obvious(task: &Task) -> Vec<Missing> {
    let all = task.transactions();
    all.flat_map(|tx| ask::obvious(tx, task.env.beneficiary)).collect()
}

pub(crate) fn pin(snapshot: &Snapshot) -> Pin {
    Pin {
        hash: snapshot.hash(),
        number: snapshot.head().number,
    }
}

async fn wait(others: Vec<tokio::sync::watch::Receiver<()>>, deadline: Instant) -> Result<(), Unavailable> {
    tokio::time::timeout_at(deadline.into(), landed(others))
        .await
        .map_err(|_| Unavailable::Deadline)
}
