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
use sender::Keys;
use sender::client::{self, ClientError, wrong};
use sender::keys::KeyConfig;

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

/// How nodes are asked: every 250 ms, for 5,000 blocks at a time; a head may be 90 s old.
pub type RpcConfig = client::RpcConfig<250, 5_000, 90>;

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
    /// [`ClientError`] names the value; never a secret.
    pub fn load(file: Option<&Path>, flags: &impl serde::Serialize) -> Result<Self, ClientError> {
        let config: Self = node::config::load("keeper", file, flags)?;
        config.check()?;
        Ok(config)
    }

    /// Whether the values fit together.
    ///
    /// # Errors
    /// [`ClientError::Value`].
    pub fn check(&self) -> Result<(), ClientError> {
        client::check(&self.endpoints, &self.sender, "`endpoints`, [worker] and [admin]")?;
        self.rpc.check()?;
        if self.agent.is_zero() {
            return wrong("agent", "give the address of the Agent contract");
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
        Ok(())
    }

    /// The addresses of the nodes, for reading.
    ///
    /// # Errors
    /// When one is no address, without repeating it: it may hold a key.
    pub fn nodes(&self) -> Result<state::NodeConfig, ClientError> {
        Ok(state::NodeConfig {
            endpoints: client::urls("endpoints", &self.endpoints)?,
            chain_id: self.chain_id,
            request_timeout: self.rpc.timeout,
            ..state::NodeConfig::default()
        })
    }

    /// The sender's configuration: this keeper's endpoints, as far as they are `http(s)://`.
    ///
    /// # Errors
    /// When none is, or a secret is not where it is said to be.
    pub fn sender(&self) -> Result<sender::Config, ClientError> {
        self.sender.over(&self.endpoints, self.chain_id)
    }

    /// Decrypts the key of a role. Takes about a second, on purpose of the key file's format: call it off the runtime's threads.
    ///
    /// # Errors
    /// When it is not configured or cannot be used.
    pub fn keys(&self, role: Role) -> Result<Keys, ClientError> {
        match role {
            Role::Worker => client::key("worker", self.worker.as_ref()),
            Role::Admin => client::key("admin", self.admin.as_ref().or(self.worker.as_ref())),
        }
    }
}
