//! The simulation's shell: on the newest block that an own node knows, with the challenge's own state where it is of that block.
//!
//! What always holds: every wait ends at the caller's deadline; the engine runs on a thread of its own kind, never on the runtime's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{
    Address, B256, BlockEnv, Context, Engine, Execution, Missing, Options, Prestate, Reason, Transaction, WatchSet,
    Watched,
};
use state::{Node, NodeConfig, Reader, ReaderConfig, Snapshot, Unavailable};
use url::Url;

use super::attack::Attack;
use super::layers::{Assuming, Assumption, Layers};
use super::scheme::{Scheme, unsigned};
use super::simulate::{Found, Why, simulate};

/// Most times that a simulation is begun again with what it lacked.
const ROUNDS: usize = 96;

/// An attack as it was judged.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// When the transaction reached the validator.
    pub seen: Instant,
    /// When the first answer claimed a violation.
    pub claimed: Instant,
    /// When the validator's own engine confirmed it.
    pub confirmed: Instant,
    /// The block on whose state it was judged.
    pub head: B256,
    /// The block under which it was judged.
    pub env: BlockEnv,
    /// What it reads on that state, where that came with it.
    pub prestate: Option<Prestate>,
}

/// What is to be tried.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The pause.
    pub pause: Scheme,
    /// The attack.
    pub attack: Attack,
    /// What it breaks.
    pub invariant: Watched,
    /// How it was judged, where this process did.
    pub sighting: Option<Arc<Sighting>>,
}

/// Tries pauses.
#[derive(Debug, Clone)]
pub struct Simulator {
    reader: Reader,
    /// Who would send the pause.
    account: Address,
    /// Most gas that it may use.
    gas_limit: u64,
}

impl Simulator {
    /// Connects to the nodes.
    ///
    /// # Errors
    /// No node answers as one of this chain.
    pub async fn open(
        nodes: Vec<Url>,
        chain_id: Option<u64>,
        account: Address,
        gas_limit: u64,
        timeout: Duration,
    ) -> Result<Self, Unavailable> {
        let nodes = NodeConfig {
            endpoints: nodes,
            chain_id,
            request_timeout: timeout,
            ..NodeConfig::default()
        };
        let node = Node::connect(nodes).await?;
        let reader = ReaderConfig {
            // What pauses and attacks read; the newest heads of it.
            max_slots: 200_000,
            max_code_bytes: 64 << 20,
            kept_heads: 16,
            ..ReaderConfig::default()
        };
        Ok(Self {
            reader: Reader::new(node, reader).await?,
            account,
            gas_limit,
        })
    }

    /// EIP-155 chain id of the nodes.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.reader.chain_id()
    }

    /// The state that it reads.
    #[must_use]
    pub const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Who would send the pause.
    #[must_use]
    pub const fn account(&self) -> Address {
        self.account
    }

    /// Most gas that its call may use.
    #[must_use]
    pub const fn gas_limit(&self) -> u64 {
        self.gas_limit
    }

    /// Goes to the nodes' newest block; the steps to it.
    ///
    /// # Errors
    /// The nodes do not answer.
    pub async fn follow(&self) -> Result<Vec<state::HeadChange>, Unavailable> {
        let newest = self.reader.node().newest().await?.header.hash;
        if newest == self.reader.head().hash() {
            return Ok(Vec::new());
        }
        self.reader.advance(newest).await
    }

    /// How each transaction of a pause would end on the newest state, after the ones before it. Whatever it reads is there afterwards.
    ///
    /// # Errors
    /// The nodes do not give the state by the deadline.
    pub async fn alone(&self, pause: &Scheme, deadline: Instant) -> Result<Vec<Execution>, Unavailable> {
        let snapshot = self.reader.head();
        let steps = Arc::new(self.transactions(pause)?);
        if let Some(first) = steps.first() {
            self.reader.prestate(snapshot.hash(), first, deadline).await?;
        }
        let nothing = Arc::new(WatchSet::new(Vec::new()).map_err(|error| broken(&error))?);
        for _ in 0..ROUNDS {
            let (state, steps, assumed) = (Arc::clone(&snapshot), Arc::clone(&steps), pause.assumed.clone());
            let (chain_id, nothing) = (self.chain_id(), Arc::clone(&nothing));
            let ran = tokio::task::spawn_blocking(move || {
                let expired = || Instant::now() >= deadline;
                let options = Options {
                    digest: false,
                    call_path: false,
                    expired: Some(&expired),
                    ..Options::default()
                };
                let env = &state.head().next;
                let state = Assuming {
                    assumed: &assumed,
                    state: &*state,
                };
                Engine::new(chain_id).judge_sequence(&steps, Context::new(env, &state, &nothing, &options))
            });
            let ran = ran
                .await
                .map_err(|error| broken(&error))?
                .map_err(Unavailable::Engine)?;
            let undecided = ran.each.iter().find_map(|outcome| outcome.undecided.as_ref());
            match undecided {
                Some(Reason::MissingState(missing)) => self.fetch(&snapshot, *missing, deadline).await?,
                Some(reason) => return Err(broken(reason)),
                None => return Ok(ran.each.into_iter().filter_map(|outcome| outcome.execution).collect()),
            }
        }
        Err(broken(&"there is always something more that it reads"))
    }

    async fn fetch(&self, snapshot: &Arc<Snapshot>, missing: Missing, deadline: Instant) -> Result<(), Unavailable> {
        self.reader.fetch(snapshot, vec![missing], deadline).await
    }

    fn transactions(&self, pause: &Scheme) -> Result<Vec<Transaction>, Unavailable> {
        let all = pause.steps.iter().map(|step| unsigned(self.chain_id(), step));
        all.collect::<Result<_, _>>().map_err(|error| broken(&error))
    }

    /// Whether the pause would stop the attack, and on which block that was tried.
    ///
    /// # Errors
    /// The state cannot be read by the deadline.
    pub async fn run(&self, trial: Trial, deadline: Instant) -> Result<(Found, u64), Unavailable> {
        let snapshot = self.snapshot(trial.sighting.as_deref(), deadline).await;
        let number = snapshot.head().number;
        let pause = self.transactions(&trial.pause)?;
        let set = WatchSet::of([trial.invariant]).map_err(|error| broken(&error))?;
        let case = Arc::new(Case {
            chain_id: self.chain_id(),
            shipped: trial.sighting.filter(|sighting| sighting.head == snapshot.hash()),
            snapshot: Arc::clone(&snapshot),
            pause,
            assumed: trial.pause.assumed,
            attack: trial.attack,
            set: Arc::new(set),
            deadline,
        });
        let mut primed = false;
        for _ in 0..ROUNDS {
            let running = Arc::clone(&case);
            let found = tokio::task::spawn_blocking(move || running.run()).await;
            let found = found.map_err(|error| broken(&error))??;
            let Found::Lacks(missing) = found else {
                return Ok((found, number));
            };
            if primed {
                self.fetch(&snapshot, missing, deadline).await?;
                continue;
            }
            primed = true;
            let head = snapshot.hash();
            if let Some(tx) = case.pause.first() {
                self.reader.prestate(head, tx, deadline).await?;
            }
            // Of the attack what judging it reads, too: the views of the invariant.
            if let (None, Some((last, before))) = (&case.shipped, case.attack.transactions.split_last()) {
                self.reader
                    .judge_behind(head, before, last, &case.set, deadline)
                    .await?;
            }
        }
        let reason = format!("after {ROUNDS} rounds there was still something missing");
        Ok((Found::Cannot(Why::Undecided(reason)), number))
    }

    /// The newest block: that of the attack where the node is not past it.
    async fn snapshot(&self, sighting: Option<&Sighting>, deadline: Instant) -> Arc<Snapshot> {
        let newest = self.reader.head();
        let Some(sighting) = sighting else { return newest };
        if newest.head().number >= sighting.env.number || newest.hash() == sighting.head {
            return newest;
        }
        let followed = tokio::time::timeout_at(deadline.into(), self.reader.advance(sighting.head)).await;
        if !matches!(followed, Ok(Ok(_))) {
            tracing::debug!(head = %sighting.head, "the node does not know the attack's head; its own newest one is taken");
        }
        self.reader.head()
    }
}

/// Everything that an engine's thread needs.
struct Case {
    chain_id: u64,
    shipped: Option<Arc<Sighting>>,
    snapshot: Arc<Snapshot>,
    pause: Vec<Transaction>,
    assumed: Vec<Assumption>,
    attack: Attack,
    set: Arc<WatchSet>,
    deadline: Instant,
}

impl Case {
    fn run(&self) -> Result<Found, Unavailable> {
        let state = Layers {
            above: self.shipped.as_ref().and_then(|sighting| sighting.prestate.as_ref()),
            below: &*self.snapshot,
        };
        let state = Assuming {
            assumed: &self.assumed,
            state,
        };
        let env = match &self.shipped {
            Some(sighting) => &sighting.env,
            None => &self.snapshot.head().next,
        };
        let expired = || Instant::now() >= self.deadline;
        let mut engine = Engine::new(self.chain_id);
        simulate(&mut engine, env, &self.pause, &self.attack, &self.set, &state, &expired).map_err(Unavailable::Engine)
    }
}

fn broken(error: &dyn std::fmt::Display) -> Unavailable {
    Unavailable::Engine(engine::EngineError::Evm(error.to_string()))
}
