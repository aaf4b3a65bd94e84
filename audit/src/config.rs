//! What an operator sets.
//!
//! ```toml
//! contract = "0x..."                    # the AuditManager
//! deployed_at = 21000000                # the block that it was created in: older ones are not read
//! endpoints = ["https://node.example", "env:BACKUP_NODE"]
//! data = "audit-data"                   # journal, database and lock of this node
//!
//! [operator]                            # reports and claims in the node's name; bounties go to its owner
//! keystore = "keys/operator.json"
//! password = "env:AUDIT_PASSWORD"
//!
//! [measure]
//! every = "5m"
//!
//! [claim]
//! enabled = false
//!
//! [alerts]
//! source = "node 7"
//! [[alerts.actions]]
//! id = "ops"
//! kind = "slack"
//! url = "env:SLACK_URL"
//! ```
//!
//! The environment (`PORTCULLIS_AUDIT_ENDPOINTS`, `PORTCULLIS_AUDIT_OPERATOR__KEYSTORE` ...) wins over the file, flags over both.
//! No file is needed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::Address;
use chain::wallets::WalletArgs;
use defence::config::ActionConfig;
use node::cli::NodeConfig;
use node::config::Secret;
use node::database::Place;
use sender::Keys;
use sender::client::{self, ClientError, wrong};
use sender::keys::KeyConfig;

/// Everything that can be set.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The AuditManager.
    pub contract: Address,
    /// The block that it was created in.
    #[serde(default)]
    pub deployed_at: u64,
    /// JSON-RPC nodes of the contract's chain, the preferred one first; each may be `env:NAME` or `file:PATH`.
    pub endpoints: Vec<Secret>,
    /// The chain that they must serve.
    #[serde(default)]
    pub chain_id: Option<u64>,
    /// Folder of the journal, the lock, and the database unless that is elsewhere.
    #[serde(default = "data")]
    pub data: PathBuf,
    /// Where the samples are: a path, or a PostgreSQL server. Without it `audit.db` in the data folder.
    #[serde(default)]
    pub database: Option<Place>,
    /// The private key that reports and claims.
    #[serde(default)]
    pub operator: Option<KeyConfig>,
    /// The node's id; without it the one whose operator this is.
    #[serde(default)]
    pub id: Option<u32>,
    /// Measuring the peers.
    #[serde(default)]
    pub measure: MeasureConfig,
    /// Reporting what was measured.
    #[serde(default)]
    pub report: DutyConfig,
    /// Claiming the own bounty.
    #[serde(default)]
    pub claim: DutyConfig,
    /// How peers are probed.
    #[serde(default)]
    pub probe: ProbeConfig,
    /// As whom miners are challenged.
    #[serde(default)]
    pub challenge: ChallengeConfig,
    /// Who is told.
    #[serde(default)]
    pub alerts: AlertConfig,
    /// How nodes are asked.
    #[serde(default)]
    pub rpc: RpcConfig,
    /// How transactions are sent: lanes, confirmations. Endpoints and keys are those above.
    #[serde(default)]
    pub sender: sender::Config,
    /// Health, metrics, logs.
    #[serde(default)]
    pub node: NodeConfig,
}

fn data() -> PathBuf {
    PathBuf::from("audit-data")
}

/// Measuring.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MeasureConfig {
    /// Whether it is done.
    pub enabled: bool,
    /// From one tick to the next.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
    /// Samples are kept for so long, in the chain's time. An epoch's must last until its verdict is sent.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            every: Duration::from_secs(300),
            keep: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// Reporting, or claiming.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DutyConfig {
    /// Whether it is done.
    pub enabled: bool,
    /// After a transaction that came to nothing, the pause before the next one. It is tried without limit.
    #[serde(with = "humantime_serde")]
    pub retry: Duration,
}

impl Default for DutyConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            retry: Duration::from_secs(60),
        }
    }
}

/// How peers are probed.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// `HOST:PORT` of servers that are always there: when none of them takes a connection, this auditor is offline itself, and measures
    /// nobody. Empty: it never is.
    pub references: Vec<String>,
    /// How long a connection may take.
    #[serde(with = "humantime_serde")]
    pub connect: Duration,
    /// How long health and status of a peer may take.
    #[serde(with = "humantime_serde")]
    pub answer: Duration,
    /// How long a miner has for a challenge.
    #[serde(with = "humantime_serde")]
    pub challenge: Duration,
    /// How long one peer may take, all steps together; then nothing is known of it.
    #[serde(with = "humantime_serde")]
    pub limit: Duration,
    /// Peers that are probed at the same time.
    pub at_once: usize,
    /// Blocks that a peer's head may lag behind.
    pub max_lag: u64,
    /// Nodes of the chain that the network watches, whose heads peers' heads are compared with. Without it those of the contract's chain;
    /// empty: heads are not compared.
    pub heads: Option<Vec<Secret>>,
    /// Peers on loopback and private networks are probed too: for a network on one machine. Otherwise such an address is unreachable.
    pub private_addresses: bool,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            references: vec![
                "1.1.1.1:443".to_owned(),
                "8.8.8.8:443".to_owned(),
                "9.9.9.9:443".to_owned(),
            ],
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(20),
            challenge: Duration::from_secs(5),
            limit: Duration::from_secs(55),
            at_once: 32,
            max_lag: 5,
            heads: None,
            private_addresses: false,
        }
    }
}

/// As whom miners are challenged: they answer hotkeys with a validator's permit only.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChallengeConfig {
    /// Whether they are.
    pub enabled: bool,
    /// The subnet's ledger, as in `http://127.0.0.1:9944`, or `finney`: who has a permit, and where miners serve.
    pub ledger: Option<String>,
    /// The subnet, where the ledger has several.
    pub netuid: Option<u16>,
    /// Hotkey file (Bittensor's JSON key file); without it, the wallet's.
    pub hotkey: Option<PathBuf>,
    /// The wallet, by btcli's names.
    pub wallet: WalletArgs,
}

/// Who is told of claims, bounties and troubles.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertConfig {
    /// Who speaks.
    pub source: String,
    /// The ways (docs/actions.md); none of them a pause.
    pub actions: Vec<ActionConfig>,
}

impl Default for AlertConfig {
    fn default() -> Self {
        Self {
            source: "audit".to_owned(),
            actions: Vec::new(),
        }
    }
}

/// How nodes are asked: every 2 s, for 2,000 blocks at a time; a head may be two minutes old.
pub type RpcConfig = client::RpcConfig<2_000, 2_000, 120>;

impl Config {
    /// Loads and checks it: `file`, then the environment, then `flags`.
    ///
    /// # Errors
    /// [`ClientError`] names the value; never a secret.
    pub fn load(file: Option<&Path>, flags: &impl serde::Serialize) -> Result<Self, ClientError> {
        let config: Self = node::config::load("audit", file, flags)?;
        config.check()?;
        Ok(config)
    }

    /// Whether the values fit together.
    ///
    /// # Errors
    /// [`ClientError::Value`].
    pub fn check(&self) -> Result<(), ClientError> {
        client::check(&self.endpoints, &self.sender, "`endpoints` and [operator]")?;
        self.rpc.check()?;
        if self.contract.is_zero() {
            return wrong("contract", "give the address of the AuditManager");
        }
        if self.id == Some(0) {
            return wrong("id", "nodes count from 1");
        }
        if self.measure.every.is_zero() {
            return wrong("measure.every", "above 0");
        }
        if self.report.retry.is_zero() || self.claim.retry.is_zero() {
            return wrong("report.retry, claim.retry", "above 0");
        }
        let probe = &self.probe;
        if probe.at_once == 0 || probe.connect.is_zero() || probe.answer.is_zero() || probe.challenge.is_zero() {
            return wrong("probe", "at_once, connect, answer and challenge are above 0");
        }
        if probe.limit < probe.connect {
            return wrong("probe.limit", "not below probe.connect");
        }
        if probe.references.iter().any(|reference| !reference.contains(':')) {
            return wrong("probe.references", "each is HOST:PORT");
        }
        if self.challenge.enabled && self.challenge.ledger.is_none() {
            return wrong(
                "challenge.ledger",
                "name the subnet's ledger, which says who has to answer us",
            );
        }
        if self.alerts.actions.iter().any(|action| action.kind.is_pause()) {
            return wrong("alerts.actions", "an auditor pauses nothing; use channels only");
        }
        Ok(())
    }

    /// The nodes of the contract's chain, for reading.
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

    /// The nodes of the chain that the network watches; `None`: heads are not compared.
    ///
    /// # Errors
    /// As of [`Config::nodes`].
    pub fn heads(&self) -> Result<Option<state::NodeConfig>, ClientError> {
        match &self.probe.heads {
            None => self.nodes().map(Some),
            Some(none) if none.is_empty() => Ok(None),
            Some(heads) => Ok(Some(state::NodeConfig {
                endpoints: client::urls("probe.heads", heads)?,
                request_timeout: self.rpc.timeout,
                ..state::NodeConfig::default()
            })),
        }
    }

    /// The sender's configuration: this auditor's endpoints, as far as they are `http(s)://`.
    ///
    /// # Errors
    /// When none is, or a secret is not where it is said to be.
    pub fn sender(&self) -> Result<sender::Config, ClientError> {
        self.sender.over(&self.endpoints, self.chain_id)
    }

    /// Decrypts the operator's key. Takes about a second, on purpose of the key file's format: call it off the runtime's threads.
    ///
    /// # Errors
    /// When it is not configured or cannot be used.
    pub fn keys(&self) -> Result<Keys, ClientError> {
        client::key("operator", self.operator.as_ref())
    }

    /// Where the samples are.
    #[must_use]
    pub fn place(&self) -> Place {
        match &self.database {
            Some(place) => place.clone(),
            None => Place::File(self.data.join("audit.db")),
        }
    }
}
