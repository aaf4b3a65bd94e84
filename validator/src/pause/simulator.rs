//! The simulation's shell: on the newest block that an own node knows, with the challenge's own state where it is of that block.
//!
//! What always holds: every wait ends at the caller's deadline; the engine runs on a thread of its own kind, never on the runtime's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Address, B256, BlockEnv, Bytes, Engine, Invariant, Prestate, Transaction, WatchSet};
use state::{BlockRef, Node, NodeConfig, Reader, ReaderConfig, Snapshot, Unavailable};
use url::Url;

use super::layers::Layers;
use super::simulate::{Found, Why, pause_call, simulate};

/// Most times that a simulation is begun again with what it lacked.
const ROUNDS: usize = 24;

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
    /// Whom the pause calls.
    pub contract: Address,
    /// With what.
    pub calldata: Bytes,
    /// The attack's transactions, in order.
    pub attack: Vec<Transaction>,
    /// What it breaks.
    pub invariant: Invariant,
    /// How it was judged, where this process did.
    pub sighting: Option<Arc<Sighting>>,
}

/// Tries pauses.
#[derive(Debug, Clone)]
pub struct Simulator {
    reader: Reader,
    /// Who would send the pause.
    account: Address,
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

    /// Goes to the nodes' newest block; the steps to it.
    ///
    /// # Errors
    /// The nodes do not answer.
    pub async fn follow(&self) -> Result<Vec<state::HeadChange>, Unavailable> {
        let node = self.reader.node();
        let newest = node.block(BlockRef::Latest, false, node.patience()).await?;
        match newest {
            Some(block) if block.header.hash != self.reader.head().hash() => {
                self.reader.advance(block.header.hash).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Reads what a pause would read, so that it is there when it is needed.
    ///
    /// # Errors
    /// The nodes do not give it by the deadline.
    pub async fn warm(&self, contract: Address, calldata: &Bytes, deadline: Instant) -> Result<(), Unavailable> {
        let head = self.reader.head().hash();
        if let Ok(pause) = pause_call(self.chain_id(), self.account, contract, calldata, self.gas_limit) {
            self.reader.prestate(head, &pause, deadline).await?;
        }
        Ok(())
    }

    /// What the pause would do by itself on the newest state: its status, and the gas that it uses.
    ///
    /// # Errors
    /// The nodes do not give the state by the deadline.
    pub async fn alone(
        &self,
        contract: Address,
        calldata: &Bytes,
        deadline: Instant,
    ) -> Result<engine::Execution, Unavailable> {
        let pause = pause_call(self.chain_id(), self.account, contract, calldata, self.gas_limit);
        let pause = pause.map_err(|error| broken(&error))?;
        let recording = self
            .reader
            .prestate(self.reader.head().hash(), &pause, deadline)
            .await?;
        let undecided = || broken(&"the engine gave no execution");
        recording.outcome.execution.ok_or_else(undecided)
    }

    /// Whether the pause would stop the attack, and on which block that was tried.
    ///
    /// # Errors
    /// The state cannot be read by the deadline.
    pub async fn run(&self, trial: Trial, deadline: Instant) -> Result<(Found, u64), Unavailable> {
        let snapshot = self.snapshot(trial.sighting.as_deref(), deadline).await;
        let number = snapshot.head().number;
        let pause = pause_call(
            self.chain_id(),
            self.account,
            trial.contract,
            &trial.calldata,
            self.gas_limit,
        );
        let pause = pause.map_err(|error| broken(&error))?;
        let set = WatchSet::new(vec![trial.invariant.clone().into()]).map_err(|error| broken(&error))?;
        let case = Arc::new(Case {
            chain_id: self.chain_id(),
            shipped: trial.sighting.filter(|sighting| sighting.head == snapshot.hash()),
            snapshot: Arc::clone(&snapshot),
            pause,
            attack: trial.attack,
            set,
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
                self.reader.fetch(&snapshot, vec![missing], deadline).await?;
                continue;
            }
            primed = true;
            let head = snapshot.hash();
            self.reader.prestate(head, &case.pause, deadline).await?;
            for tx in case.attack.iter().filter(|_| case.shipped.is_none()) {
                self.reader.prestate(head, tx, deadline).await?;
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
    pause: Transaction,
    attack: Vec<Transaction>,
    set: WatchSet,
    deadline: Instant,
}

impl Case {
    fn run(&self) -> Result<Found, Unavailable> {
        let state = Layers {
            above: self.shipped.as_ref().and_then(|sighting| sighting.prestate.as_ref()),
            below: &*self.snapshot,
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
