//! A feed of living nodes: their pending transactions and heads, over JSON-RPC.
//!
//! ```text
//! node --> endpoint: subscribed or polled, proven --+--> follower: pool's rule, chain, --> items, in order
//! node --> endpoint                               --+         |        carry-over
//!                                                             +--> state at the head: what each transaction reads
//! ```
//!
//! Each node is listened to by a task of its own and taken up again when it breaks off; the heads of one of them are followed, and
//! the transactions of all. A restart goes on with the chain where the log ends, and with what waited then.

pub mod body;
mod check;
mod endpoint;
mod follow;
pub mod heads;
pub mod lead;
pub mod pool;
mod reading;
pub mod record;
pub mod rpc;
pub mod status;
mod turns;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine::B256;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use url::Url;

use self::endpoint::{Endpoint, Listening, Seen, View};
use self::follow::{Follower, Inputs, Parts};
use self::heads::Link;
use self::reading::NodeState;
use self::record::StateSource;
use self::rpc::RpcLimits;
use self::status::LiveStatus;
use super::replay::InForce;
use super::{Feed, FeedError, FeedItem};
use crate::log::FeedLog;

/// Events of nodes, and proven transactions, that wait for the follower; when they are full, the nodes are held back.
const HEARD: usize = 64;
const BODIES: usize = 512;

/// How living nodes are followed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveOptions {
    /// EIP-155 chain id that every node must have; `None`: that of the first one that answers.
    pub chain_id: Option<u64>,
    /// How often a node that tells nothing unasked is asked.
    #[serde(with = "humantime_serde")]
    pub poll_interval: Duration,
    /// How often a node that tells is asked all the same, to see whether it is still there.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long a node has for an answer.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// The longest message that is taken from a node, bytes.
    pub max_message_bytes: usize,
    /// How often transactions are looked for that no node knows any more, after having waited for as long.
    #[serde(with = "humantime_serde")]
    pub check_interval: Duration,
    /// How many transactions wait at most.
    pub max_pending: usize,
    /// How long a transaction waits at most.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// Accounts and slots of the newest state that are kept, together; those not used for the longest time go first.
    pub max_slots: usize,
    /// Where bytecode is kept between runs; `None`: nowhere.
    pub code_dir: Option<PathBuf>,
    /// From one block to the next, for the environment of the next one.
    #[serde(with = "humantime_serde")]
    pub block_time: Duration,
    /// How many transactions are recorded at a time.
    pub recordings: usize,
    /// How long recording one may take; then it is logged without its state.
    #[serde(with = "humantime_serde")]
    pub record_deadline: Duration,
    /// How long bringing the state to a new head may take.
    #[serde(with = "humantime_serde")]
    pub advance_deadline: Duration,
    /// How long a new head waits for the recording of what it includes.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
}

impl Default for LiveOptions {
    fn default() -> Self {
        Self {
            chain_id: None,
            poll_interval: Duration::from_millis(500),
            heartbeat: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            max_message_bytes: 64 << 20,
            check_interval: Duration::from_secs(5),
            max_pending: 20_000,
            max_age: Duration::from_secs(3 * 3600),
            max_slots: 1_000_000,
            code_dir: None,
            block_time: Duration::from_secs(12),
            recordings: 64,
            record_deadline: Duration::from_secs(2),
            advance_deadline: Duration::from_secs(5),
            grace: Duration::from_millis(200),
        }
    }
}

impl LiveOptions {
    const fn limits(&self) -> pool::Limits {
        pool::Limits {
            waiting: self.max_pending,
            age: self.max_age,
        }
    }

    /// What is wrong with a value though its form is right: the key, and why.
    ///
    /// # Errors
    /// One line.
    pub fn check(&self) -> Result<(), String> {
        let least = Duration::from_millis(10);
        let durations = [
            ("poll_interval", self.poll_interval),
            ("heartbeat", self.heartbeat),
            ("request_timeout", self.request_timeout),
            ("check_interval", self.check_interval),
            ("record_deadline", self.record_deadline),
            ("advance_deadline", self.advance_deadline),
        ];
        if let Some((key, _)) = durations.into_iter().find(|(_, duration)| *duration < least) {
            return Err(format!("configuration: `live.{key}`: must be at least 10ms"));
        }
        if self.max_message_bytes < 1 << 16 {
            return Err(
                "configuration: `live.max_message_bytes`: must be at least 65536, else no block can be read".into(),
            );
        }
        if self.max_slots < 1_000 {
            return Err("configuration: `live.max_slots`: must be at least 1000, else nothing stays known".into());
        }
        if self.recordings == 0 || self.max_pending == 0 {
            return Err("configuration: `live.recordings` and `live.max_pending`: must be at least 1".into());
        }
        Ok(())
    }
}

/// Where a live feed goes on: behind this head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    chain_id: u64,
    number: u64,
    hash: B256,
    parent: B256,
}

impl Position {
    const fn at(chain_id: u64, link: Link) -> Self {
        Self {
            chain_id,
            number: link.number,
            hash: link.hash,
            parent: link.parent,
        }
    }

    const fn link(&self) -> Link {
        Link {
            number: self.number,
            hash: self.hash,
            parent: self.parent,
        }
    }

    fn to_text(self) -> String {
        // Numbers and hashes: writing them as JSON cannot fail.
        serde_json::to_string(&self).unwrap_or_default()
    }
}

/// Living nodes as a feed.
#[derive(Debug)]
pub struct LiveFeed {
    urls: Vec<Url>,
    options: LiveOptions,
    log: Arc<dyn FeedLog>,
    watched: InForce,
    status: LiveStatus,
    state: Arc<dyn StateSource>,
    /// Set by the configuration, the log's position or the first node that answers, whichever is first.
    chain_id: Arc<OnceLock<u64>>,
}

impl LiveFeed {
    /// The name under which the log keeps where a live feed stands: the chain goes on, whatever the nodes are called.
    pub const NAME: &'static str = "live";

    /// A feed of these nodes. `log` knows what waited before; `watched` are the invariants in force.
    #[must_use]
    pub fn new(urls: Vec<Url>, options: LiveOptions, log: Arc<dyn FeedLog>, watched: InForce) -> Self {
        let chain_id = Arc::default();
        let state = NodeState::new(&urls, &options, Arc::clone(&chain_id));
        Self {
            chain_id,
            ..Self::with_state(urls, options, log, watched, Arc::new(state))
        }
    }

    /// As [`LiveFeed::new`], with another source of state.
    #[must_use]
    pub fn with_state(
        urls: Vec<Url>,
        options: LiveOptions,
        log: Arc<dyn FeedLog>,
        watched: InForce,
        state: Arc<dyn StateSource>,
    ) -> Self {
        Self {
            status: LiveStatus::new(&urls),
            urls,
            options,
            log,
            watched,
            state,
            chain_id: Arc::default(),
        }
    }

    /// Where it stands, from now on.
    #[must_use]
    pub fn status(&self) -> LiveStatus {
        self.status.clone()
    }

    async fn follow(
        self,
        position: Option<String>,
        items: mpsc::Sender<Result<FeedItem, FeedError>>,
    ) -> Result<(), FeedError> {
        let position: Option<Position> = position
            .map(|text| serde_json::from_str(&text).map_err(|_| FeedError::Position(text)))
            .transpose()?;
        let chain_id = self.chain_id;
        let expected = match (self.options.chain_id, position) {
            (Some(expected), Some(position)) if expected != position.chain_id => {
                return Err(FeedError::Chain {
                    configured: expected,
                    logged: position.chain_id,
                });
            }
            (configured, position) => configured.or(position.map(|position| position.chain_id)),
        };
        if let Some(expected) = expected {
            let _first = chain_id.set(expected);
        }
        let waiting = self.log.waiting(self.options.max_pending).await?;
        if !waiting.is_empty() {
            tracing::info!(
                waiting = waiting.len(),
                "going on with what waited when the feed stopped"
            );
        }

        let (view, seen_view) = watch::channel(View::default());
        let seen = Arc::new(Seen::default());
        let (heard, hears) = mpsc::channel(HEARD);
        let (bodies, takes) = mpsc::channel(BODIES);
        let listening = Listening {
            limits: RpcLimits {
                timeout: self.options.request_timeout,
                message: self.options.max_message_bytes,
            },
            poll: self.options.poll_interval,
            heartbeat: self.options.heartbeat,
        };
        // Ended with this set.
        let mut listeners = JoinSet::new();
        for (index, url) in self.urls.iter().enumerate() {
            let endpoint = Endpoint {
                index,
                url: url.clone(),
                listening,
                chain: Arc::clone(&chain_id),
                view: seen_view.clone(),
                seen: Arc::clone(&seen),
                status: self.status.clone(),
                heard: heard.clone(),
                bodies: bodies.clone(),
            };
            listeners.spawn(endpoint.run());
        }
        let parts = Parts {
            options: self.options,
            chain_id,
            status: self.status,
            state: self.state,
            view,
            seen,
            items,
        };
        let inputs = Inputs {
            heard: hears,
            bodies: takes,
            watched: self.watched,
        };
        let follower = Follower::new(parts, self.urls.len(), position, waiting);
        tokio::select! {
            () = follower.run(inputs) => Ok(()),
            // They end only with the follower, unless one is broken.
            Some(Err(error)) = listeners.join_next() => {
                tracing::error!(%error, "a task that listens to a node is broken");
                Err(FeedError::Died)
            }
        }
    }
}

impl Feed for LiveFeed {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn start(self: Box<Self>, position: Option<String>, items: mpsc::Sender<Result<FeedItem, FeedError>>) {
        tokio::spawn(async move {
            let last = items.clone();
            if let Err(error) = self.follow(position, items).await {
                // When nobody listens any more the process is ending anyway.
                let _unheard = last.send(Err(error)).await;
            }
        });
    }
}
