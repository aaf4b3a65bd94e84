//! The pause: tried in the engine first, sent ahead of the attack, and followed until it is in a block.
//!
//! ```text
//! PauseRequest -> simulate: attack alone, then pause and attack -- does not stop it --> CannotWin
//!                     | stops it
//!                 offer: ahead of the attack within the cap? ------ no ---------------> CannotWin
//!                     | yes
//!                 submit, follow: in a block ahead of the attack ---- yes ------------> Included
//!                     | outbid meanwhile: raised      +-- the attack was mined first -> CannotWin, and the pause goes on
//! ```
//!
//! A pause is a call of the protocol's, or a confirmation at its guard, with which keepers pause; what belongs together is judged together
//! ([`scheme`]). When no keeper is seen to act in time, the validator pauses at the guard itself.
//!
//! The rules are pure, each in a file of its own: [`scheme`], [`attack`], [`simulate`], [`blocks`], [`timing`]. What always holds: only a
//! pause that stops the attack in the engine is sent; for one key at most one transaction has an effect (the sender's journal); one pause
//! under way serves every incident that needs it.

pub mod attack;
pub mod blocks;
pub mod config;
mod decide;
mod flights;
mod follow;
mod guard;
mod layers;
mod rehearse;
pub mod scheme;
pub mod simulate;
pub mod simulator;
pub mod timing;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use defence::config::{ActionConfig, KeeperJob, Kind, Way};
use defence::{PauseError, PauseOutcome, PauseProgress, PauseRequest, PauseTarget, Pauser};
use engine::{B256, Transaction, Watched};
use futures::FutureExt;
use futures::future::BoxFuture;
use sender::{IdempotencyKey, Sender};
use state::{HeadChange, Unavailable};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::InvariantSet;

use self::attack::Rivals;
use self::blocks::Blocks;
use self::config::PauseConfig;
use self::flights::Flights;
pub use self::layers::Assumption;
pub use self::rehearse::rehearse;
use self::scheme::Worker;
use self::simulator::{Sighting, Simulator};

/// Sightings that are remembered: an attack is paused within seconds of it.
const SIGHTINGS: u64 = 1024;
/// Pauses that are kept warm.
const WARM: usize = 1024;
/// Pauses that were too late and are still followed.
const LATE: usize = 64;

/// A pause that was mined after it had been given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Its incident.
    pub incident: u64,
    /// For the timeline.
    pub detail: String,
}

/// Sends pauses.
pub struct Gatekeeper {
    simulator: Simulator,
    sender: Arc<Sender>,
    config: PauseConfig,
    sightings: moka::sync::Cache<B256, Arc<Sighting>>,
    set: Mutex<Arc<InvariantSet>>,
    blocks: Mutex<Blocks>,
    /// Changes with every new head.
    heads: watch::Sender<u64>,
    /// A new head was streamed.
    streamed: Notify,
    newest: Mutex<B256>,
    flights: Flights,
    /// Who would execute the jobs of the configured actions, as of the newest head.
    workers: Mutex<HashMap<KeeperJob, Option<Worker>>>,
    late: mpsc::Sender<Late>,
    followers: TaskTracker,
    /// How the configured actions pause.
    ways: Vec<PauseWay>,
}

/// A pause action, as far as it says what it pauses by.
#[derive(Debug, Clone)]
pub struct PauseWay {
    /// How.
    pub way: Way,
    /// Only for these invariants; all when it is empty.
    pub invariants: Vec<u64>,
}

impl PauseWay {
    /// Those of all pause actions.
    #[must_use]
    pub fn all(config: &defence::config::Config) -> Vec<Self> {
        let way = |action: &ActionConfig| match &action.kind {
            Kind::PauseAgent { way } => Some(Self {
                way: way.clone(),
                invariants: action.invariants.clone(),
            }),
            _ => None,
        };
        config.actions.iter().filter_map(way).collect()
    }
}

impl std::fmt::Debug for Gatekeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gatekeeper")
            .field("account", &self.simulator.account())
            .field("chain_id", &self.simulator.chain_id())
            .finish_non_exhaustive()
    }
}

impl Gatekeeper {
    /// Ready to pause; what was given up and is mined after all comes out of the channel.
    #[must_use]
    pub fn new(
        simulator: Simulator,
        sender: Arc<Sender>,
        config: PauseConfig,
        ways: Vec<PauseWay>,
    ) -> (Self, mpsc::Receiver<Late>) {
        let (late, mined_late) = mpsc::channel(LATE);
        let gatekeeper = Self {
            simulator,
            sender,
            config,
            sightings: moka::sync::Cache::new(SIGHTINGS),
            set: Mutex::default(),
            blocks: Mutex::default(),
            heads: watch::channel(0).0,
            streamed: Notify::new(),
            newest: Mutex::default(),
            flights: Flights::default(),
            workers: Mutex::default(),
            late,
            followers: TaskTracker::new(),
            ways,
        };
        (gatekeeper, mined_late)
    }

    /// What the platform streams: the head and the invariants in force.
    pub fn saw(&self, head: B256, set: &Arc<InvariantSet>) {
        let mut newest = lock(&self.newest);
        if *newest != head {
            *newest = head;
            self.streamed.notify_one();
        }
        drop(newest);
        let mut known = lock(&self.set);
        if known.version != set.version || known.invariants.len() != set.invariants.len() {
            *known = Arc::clone(set);
            self.streamed.notify_one();
        }
    }

    /// Remembers how an attack was judged; before the incident is stored.
    pub fn remember(&self, transaction: B256, sighting: Sighting) {
        self.sightings.insert(transaction, Arc::new(sighting));
    }

    /// Another transaction of an attack, or the same one behind others: pauses under way that are for this contract's invariant get ahead
    /// of it too.
    pub async fn repeated(&self, invariant: &Watched, predecessors: &[Transaction], transaction: &Transaction) {
        let rivals = Rivals::one(predecessors, transaction);
        for target in self.targets(invariant) {
            let keys = self.flights.repeated(&target, &rivals);
            self.outbid(&keys, &target).await;
        }
    }

    /// Raises what is on its way under these keys above what the target's pause must get ahead of.
    async fn outbid(&self, keys: &[IdempotencyKey], target: &PauseTarget) {
        let Some(fees) = self.flights.beat(target) else { return };
        for key in keys {
            if let Err(error) = self.sender.outbid(key, fees).await {
                tracing::warn!(%key, %error, "a pause cannot be raised");
            }
        }
    }

    /// What the configured actions pause by, for an invariant.
    fn targets(&self, invariant: &Watched) -> Vec<PauseTarget> {
        let of = |way: &&PauseWay| way.invariants.is_empty() || way.invariants.contains(&invariant.id());
        let target = |way: &PauseWay| way.way.of(invariant.contract());
        self.ways.iter().filter(of).map(target).collect()
    }

    /// How the newest of the attack's transactions was judged, where this process did.
    fn sighting(&self, request: &PauseRequest) -> Option<Arc<Sighting>> {
        self.sightings.get(&request.attack.last()?.tx_hash)
    }

    /// Follows the chain, and keeps warm what pauses read, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut warm: HashSet<PauseTarget> = HashSet::new();
        loop {
            match self.simulator.follow().await {
                Ok(steps) if steps.is_empty() => {}
                Ok(steps) => {
                    self.sender.new_head();
                    // Which keeper is drawn next, and so what an execution reads, is another thing in each block.
                    warm.retain(|target| matches!(target, PauseTarget::Call { .. }));
                    if self.took(steps) {
                        warm.clear();
                    }
                    self.heads.send_modify(|count| *count = count.wrapping_add(1));
                    self.find_workers().await;
                }
                Err(error) => tracing::warn!(%error, "the pauser's node does not tell its head"),
            }
            self.keep_warm(&mut warm).await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.streamed.notified() => {}
                () = tokio::time::sleep(self.config.poll) => {}
            }
        }
        self.followers.close();
    }

    /// Notes what the new blocks include; gives whether anything may be another now.
    fn took(&self, steps: Vec<HeadChange>) -> bool {
        let mut blocks = lock(&self.blocks);
        let mut everything = false;
        for step in steps {
            if step.reverted {
                blocks.remove(step.block);
            } else {
                blocks.add(step.head.number, step.block, step.included);
            }
            everything |= step.diff.everything;
        }
        everything
    }

    /// Who would execute the jobs that the configured actions rely on: asked once a head, not when there is no time.
    async fn find_workers(&self) {
        let job = |way: &PauseWay| match &way.way {
            Way::Guard(guarded) => guarded.keepers,
            Way::Call { .. } => None,
        };
        let jobs: Vec<KeeperJob> = self.ways.iter().filter_map(job).collect();
        match guard::workers(self.simulator.reader().node(), &jobs).await {
            Ok(workers) => *lock(&self.workers) = jobs.into_iter().zip(workers).collect(),
            Err(error) => tracing::debug!(%error, "the keepers of pause jobs cannot be read now"),
        }
    }

    /// Reads what the pauses of the invariants in force would read, once each: a new head carries it over.
    async fn keep_warm(&self, warm: &mut HashSet<PauseTarget>) {
        let set = Arc::clone(&lock(&self.set));
        let targets = set.invariants.iter().flat_map(|invariant| self.targets(invariant));
        for target in targets.take(WARM) {
            if warm.contains(&target) {
                continue;
            }
            let deadline = Instant::now() + self.config.simulation;
            let Ok(Ok(pause)) = self.scheme(&target, B256::ZERO).await else {
                continue;
            };
            match self.simulator.alone(&pause, deadline).await {
                // What cannot be executed to its end has read all that it can.
                Ok(_) | Err(Unavailable::Engine(_)) => {
                    warm.insert(target);
                }
                Err(error) => {
                    tracing::debug!(contract = %target.contract(), %error, "what a pause reads cannot be read now");
                    return;
                }
            }
        }
    }
}

impl Pauser for Gatekeeper {
    fn pause(&self, request: PauseRequest, progress: PauseProgress) -> BoxFuture<'_, Result<PauseOutcome, PauseError>> {
        async move { self.send(&request, &progress).await }.boxed()
    }

    fn rehearse(&self, request: PauseRequest) -> BoxFuture<'_, Result<String, PauseError>> {
        async move { rehearse(&self.simulator, &request, self.config.simulation).await }.boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cannot(reason: String) -> PauseOutcome {
    PauseOutcome::CannotWin { reason }
}

fn failed(error: &dyn std::fmt::Display) -> PauseError {
    PauseError {
        reason: error.to_string(),
    }
}
