//! What an operator sets.
//!
//! ```toml
//! agent = "0x..."                       # the Agent contract
//! deployed_at = 21000000                # the block that it was created in: older ones are not read
//! endpoints = ["https://node.example", "env:BACKUP_NODE"]
//! data = "keeper-data"                  # journal and memory of this keeper
//!
//! [worker]                              # executes jobs
//! keystore = "keys/worker.json"
//! password = "env:KEEPER_PASSWORD"
//!
//! [admin]                               # owns stake and rewards; better not on the machine that runs
//! keystore = "keys/admin.json"
//! password = "file:/run/secrets/admin"
//!
//! [sender.lanes.pause]
//! max_fee_cap = 2_000_000_000_000
//! ```
//!
//! The environment (`PORTCULLIS_KEEPER_ENDPOINTS`, `PORTCULLIS_KEEPER_WORKER__KEYSTORE` ...) wins over the file, flags over both.
//! No file is needed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use node::cli::NodeConfig;
use node::config::Secret;
use sender::keys::{KeyConfig, KeyError};
use sender::{Keys, Lane};
use url::Url;

/// Everything that can be set.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The Agent contract.
    pub agent: Address,
    /// The block that it was created in.
    #[serde(default)]
    pub deployed_at: u64,
    /// JSON-RPC nodes, the preferred one first; each may be `env:NAME` or `file:PATH`.
    pub endpoints: Vec<Secret>,
    /// The chain that they must serve.
    #[serde(default)]
    pub chain_id: Option<u64>,
    /// Folder of the journal and of what is remembered across restarts.
    #[serde(default = "data")]
    pub data: PathBuf,
    /// The private key that executes jobs.
    #[serde(default)]
    pub worker: Option<KeyConfig>,
    /// The private key that owns the keeper; without it the worker's.
    #[serde(default)]
    pub admin: Option<KeyConfig>,
    /// The keeper's number; without it the one whose worker this is.
    #[serde(default)]
    pub keeper: Option<u64>,
    /// How jobs are watched and executed.
    #[serde(default)]
    pub jobs: JobsConfig,
    /// How state is read and kept.
    #[serde(default)]
    pub state: state::ReaderConfig,
    /// How nodes are asked.
    #[serde(default)]
    pub rpc: RpcConfig,
    /// How transactions are sent: lanes, relay, confirmations. Endpoints and keys are those above.
    #[serde(default)]
    pub sender: sender::Config,
    /// Health, metrics, logs.
    #[serde(default)]
    pub node: NodeConfig,
}

fn data() -> PathBuf {
    PathBuf::from("keeper-data")
}

/// How nodes are asked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RpcConfig {
    /// How often the nodes are asked for a new head.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// How long a node may take for an answer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Blocks whose logs are asked for at a time.
    pub log_range: u64,
    /// A head that is older, by the wall clock, makes the keeper unhealthy.
    #[serde(with = "humantime_serde")]
    pub max_head_age: Duration,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(250),
            timeout: Duration::from_secs(5),
            log_range: 5_000,
            max_head_age: Duration::from_secs(90),
        }
    }
}

/// How jobs are watched and executed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsConfig {
    /// Heads in a row at which a resolver must say yes. A defence job needs one.
    pub confirm_heads: u32,
    /// Time for all resolvers of a head; those that have not had their turn wait for the next head.
    #[serde(with = "humantime_serde")]
    pub resolver_time: Duration,
    /// Most gas that one execution is sent with; jobs that need more are not executed. EIP-7825 allows no more than 2^24.
    pub max_gas: u64,
    /// Consecutive failures that are forgiven; one more sets the job aside.
    pub forgive: u32,
    /// Executions under way at most; further ones wait for the next head. A defence job is never held up by it.
    pub max_under_way: usize,
    /// Blocks that an execution may take to be mined, as a deadline in block time; then it is withdrawn.
    #[serde(with = "humantime_serde")]
    pub give_up_after: Duration,
    /// Execute assigned jobs although the base fee is above their cap, paid up to the cap.
    pub accept_max_base_fee: bool,
    /// Rewards stay in the contract until `keeper withdraw`, which costs less gas for each execution.
    pub accrue: bool,
    /// Most jobs that are followed.
    pub max_jobs: usize,
    /// Only these contracts' jobs are executed; empty: all.
    pub only: Vec<Address>,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            confirm_heads: 3,
            resolver_time: Duration::from_secs(2),
            max_gas: 16_777_216,
            forgive: 5,
            max_under_way: 256,
            give_up_after: Duration::from_secs(300),
            accept_max_base_fee: false,
            accrue: false,
            max_jobs: 200_000,
            only: Vec::new(),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Unknown, missing or of the wrong form.
    #[error(transparent)]
    Load(#[from] node::config::ConfigError),
    /// A private key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Values that do not fit.
    #[error("{field}: {reason}")]
    Value {
        /// Which.
        field: &'static str,
        /// Why.
        reason: String,
    },
}

fn wrong<T>(field: &'static str, reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value {
        field,
        reason: reason.into(),
    })
}

/// Whose key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Executes jobs.
    Worker,
    /// Owns stake and rewards.
    Admin,
}

impl Config {
    /// Loads and checks it: `file`, then the environment, then `flags`.
    ///
    /// # Errors
    /// [`ConfigError`] names the value; never a secret.
    pub fn load(file: Option<&Path>, flags: &impl serde::Serialize) -> Result<Self, ConfigError> {
        let config: Self = node::config::load("keeper", file, flags)?;
        config.check()?;
        Ok(config)
    }

    /// Whether the values fit together.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.endpoints.is_empty() {
            return wrong("endpoints", "name at least one node (http:// or https://)");
        }
        if self.agent.is_zero() {
            return wrong("agent", "give the address of the Agent contract");
        }
        if !self.sender.endpoints.is_empty() || !self.sender.keys.is_empty() {
            return wrong(
                "sender",
                "endpoints and keys of a keeper are `endpoints`, [worker] and [admin]",
            );
        }
        for lane in Lane::ALL {
            let key = self.sender.lanes.of(lane).key;
            if key != "default" {
                return wrong(
                    "sender.lanes",
                    format!("{lane} names the key `{key}`, but a keeper has one worker"),
                );
            }
        }
        if !(1..=1000).contains(&self.jobs.confirm_heads) {
            return wrong("jobs.confirm_heads", "1 to 1000");
        }
        if !(100_000..=1_000_000_000).contains(&self.jobs.max_gas) {
            return wrong("jobs.max_gas", "100000 to 1000000000");
        }
        if self.jobs.max_under_way == 0 || self.jobs.max_jobs == 0 {
            return wrong("jobs", "max_under_way and max_jobs are at least 1");
        }
        if self.rpc.log_range == 0 {
            return wrong("rpc.log_range", "at least 1");
        }
        if self.rpc.poll.is_zero() || self.rpc.timeout.is_zero() {
            return wrong("rpc", "poll and timeout are above 0");
        }
        Ok(())
    }

    /// The addresses of the nodes, for reading.
    ///
    /// # Errors
    /// When one is no address, without repeating it: it may hold a key.
    pub fn nodes(&self) -> Result<state::NodeConfig, ConfigError> {
        let mut endpoints = Vec::with_capacity(self.endpoints.len());
        for (place, secret) in self.endpoints.iter().enumerate() {
            let text = secret.reveal()?;
            match Url::parse(text.trim()) {
                Ok(url) => endpoints.push(url),
                Err(error) => return wrong("endpoints", format!("number {}: {error}", place + 1)),
            }
        }
        Ok(state::NodeConfig {
            endpoints,
            chain_id: self.chain_id,
            request_timeout: self.rpc.timeout,
            ..state::NodeConfig::default()
        })
    }

    /// The sender's configuration: this keeper's endpoints, as far as they are `http(s)://`.
    ///
    /// # Errors
    /// When none is, or a secret is not where it is said to be.
    pub fn sender(&self) -> Result<sender::Config, ConfigError> {
        let mut endpoints = Vec::with_capacity(self.endpoints.len());
        for secret in &self.endpoints {
            if secret.reveal()?.trim().starts_with("http") {
                endpoints.push(secret.clone());
            }
        }
        if endpoints.is_empty() {
            return wrong(
                "endpoints",
                "transactions are sent over http:// or https://: name at least one such node",
            );
        }
        Ok(sender::Config {
            endpoints,
            chain_id: self.chain_id,
            ..self.sender.clone()
        })
    }

    /// Decrypts the key of a role. Takes about a second, on purpose of the key file's format: call it off the runtime's threads.
    ///
    /// # Errors
    /// When it is not configured or cannot be used.
    pub fn keys(&self, role: Role) -> Result<Keys, ConfigError> {
        let source = match role {
            Role::Worker => self.worker.as_ref(),
            Role::Admin => self.admin.as_ref().or(self.worker.as_ref()),
        };
        let Some(source) = source else {
            return wrong(
                if role == Role::Worker { "worker" } else { "admin" },
                "give a key: `keystore` with `password`, or `hex`",
            );
        };
        Ok(Keys::load(&[("default".to_owned(), source.clone())].into())?)
    }
}
