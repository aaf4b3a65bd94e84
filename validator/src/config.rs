//! A validator's configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chain::wallets::WalletArgs;
use defence::violation::Severity;
use node::cli::{NodeArgs, NodeConfig};
use node::exit::{Failure, OrConfiguration};
use serde::{Deserialize, Serialize};
use subtensor::neuron::{Identity, NeuronArgs};

use crate::audits::AuditOptions;
use crate::canary::CanaryParameters;
use crate::pause::config::PauseConfig;
use crate::platforms::Platforms;
use crate::score::ScoreParameters;

/// Flags of `validator run`.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub neuron: NeuronArgs,
    /// The platform that streams transactions and invariants, as in http://HOST:PORT; where several stand behind one database, all
    /// of them, with commas between
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// SQLite file with this validator's state (default: validator.db)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<PathBuf>,
    /// SQLite file with the incidents and alerts (default: the database's name with .defence.db)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defence_database: Option<PathBuf>,
    /// SQLite file with the transactions that pause (default: the database's name with .sender.db)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_journal: Option<PathBuf>,
    /// Make the drawing of miners repeatable (default: from the system's randomness)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Transactions judged at the same time (default 64)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
    /// Threads of the validator's own engine, for arbitration (default 1)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub node: NodeArgs,
}

/// What file, environment and flags come to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Hotkey file; without it, the wallet's.
    #[serde(default)]
    pub hotkey: Option<PathBuf>,
    /// The wallet, by btcli's names.
    #[serde(default)]
    pub wallet: WalletArgs,
    /// URL of the platform; of several behind one database, with commas between.
    pub platform: String,
    /// The certificate (PEM) that platforms at `https` addresses are known by; without it, the authorities that browsers trust.
    #[serde(default)]
    pub platform_ca: Option<PathBuf>,
    /// The ledger, as `--ledger` says it.
    pub ledger: String,
    /// The subnet.
    #[serde(default)]
    pub netuid: Option<u16>,
    /// SQLite file.
    #[serde(default = "default_database")]
    pub database: PathBuf,
    /// Seed of the drawing.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Transactions judged at the same time.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
    /// Threads of the validator's own engine.
    #[serde(default = "default_threads")]
    pub threads: usize,
    /// How long a miner may take.
    #[serde(default = "default_deadline", with = "humantime_serde")]
    pub deadline: Duration,
    /// The share of agreed answers that are executed again all the same, so that agreeing on a lie does not pay: 0 to 1.
    #[serde(default = "default_audit_rate")]
    pub audit_rate: f64,
    /// Violations in a row, known to the validator's own engine, that a miner must have found before an agreement stands on its word; 0
    /// takes every agreement as it is.
    #[serde(default = "default_proof")]
    pub proof: u32,
    /// Questions with a known answer.
    #[serde(default)]
    pub canary: CanaryParameters,
    /// Bytecode kept in memory, bytes; all of it is in the database.
    #[serde(default = "default_code_cache")]
    pub code_cache_bytes: u64,
    /// How often the metagraph is read.
    #[serde(default = "default_metagraph_period", with = "humantime_serde")]
    pub metagraph_period: Duration,
    /// Version key that goes with the weights.
    #[serde(default)]
    pub version_key: u64,
    /// The formula.
    #[serde(default)]
    pub score: ScoreParameters,
    /// What the audits of the network's nodes say of miners, as a factor of the score; without it, nothing.
    #[serde(default)]
    pub audits: Option<AuditOptions>,
    /// What is done about incidents; without it, they are only reported.
    #[serde(default)]
    pub defence: Option<defence::config::Config>,
    /// SQLite file with the incidents and alerts.
    #[serde(default)]
    pub defence_database: Option<PathBuf>,
    /// How bad an incident is.
    #[serde(default)]
    pub severity: SeverityConfig,
    /// How pauses are tried and sent.
    #[serde(default)]
    pub pause: PauseConfig,
    /// Nodes and private keys for the transactions that pause.
    #[serde(default)]
    pub sender: Option<sender::Config>,
    /// SQLite file with the transactions that pause.
    #[serde(default)]
    pub sender_journal: Option<PathBuf>,
    /// What every node has.
    #[serde(default)]
    pub node: NodeConfig,
}

/// How bad it is when an invariant is broken.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeverityConfig {
    /// Of every invariant that is not named.
    pub default: Severity,
    /// By the invariant's id.
    pub invariants: BTreeMap<String, Severity>,
}

impl SeverityConfig {
    /// How bad it is when this invariant is broken.
    #[must_use]
    pub fn of(&self, invariant: u64) -> Severity {
        self.invariants
            .get(&invariant.to_string())
            .copied()
            .unwrap_or(self.default)
    }
}

fn default_database() -> PathBuf {
    PathBuf::from("validator.db")
}
fn default_concurrency() -> usize {
    64
}
fn default_threads() -> usize {
    1
}
fn default_deadline() -> Duration {
    Duration::from_secs(12)
}
fn default_audit_rate() -> f64 {
    0.05
}
fn default_proof() -> u32 {
    3
}
fn default_code_cache() -> u64 {
    128 << 20
}
fn default_metagraph_period() -> Duration {
    Duration::from_secs(1)
}

impl Config {
    /// Loads and checks it.
    ///
    /// # Errors
    /// Exit code 2, naming the key.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, Failure> {
        let config: Self = node::config::load("validator", file, flags).or_configuration()?;
        config
            .check()
            .map_err(|reason| Failure::configuration(eyre::eyre!("configuration: {reason}")))?;
        config.identity().check()?;
        config.platforms()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        self.score.check()?;
        self.audits.as_ref().map_or(Ok(()), AuditOptions::check)?;
        self.canary.check()?;
        if self.concurrency == 0 || self.threads == 0 {
            return Err("`concurrency` and `threads` must be at least 1".into());
        }
        if !(0.0..=1.0).contains(&self.audit_rate) {
            return Err(format!("`audit_rate`: {} is not between 0 and 1", self.audit_rate));
        }
        self.check_defence()?;
        if self.deadline.is_zero() || self.deadline > Duration::from_secs(60) {
            return Err("`deadline`: must be above 0 and at most 60s".into());
        }
        Ok(())
    }

    /// Whose hotkey it has, and on which ledger.
    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            hotkey: self.hotkey.as_deref(),
            wallet: &self.wallet,
            ledger: &self.ledger,
            netuid: self.netuid,
        }
    }

    fn check_defence(&self) -> Result<(), String> {
        let ids = self.severity.invariants.keys();
        if let Some(id) = ids.into_iter().find(|id| id.parse::<u64>().is_err()) {
            return Err(format!("`severity.invariants.{id}`: is no id of an invariant"));
        }
        let Some(defence) = &self.defence else { return Ok(()) };
        defence.check()?;
        self.pause.check()?;
        let pause = defence.actions.iter().find(|action| action.kind.is_pause());
        match (&self.sender, pause) {
            (Some(sender), _) => sender.check().map_err(|error| error.to_string()),
            (None, Some(pause)) => Err(format!(
                "action `{}` is a pause, which needs a table [sender] with `endpoints` and `keys` (docs/defence.md)",
                pause.id
            )),
            (None, None) => Ok(()),
        }
    }

    /// Where the incidents are.
    #[must_use]
    pub fn defence_database(&self) -> PathBuf {
        let beside = || self.database.with_extension("defence.db");
        self.defence_database.clone().unwrap_or_else(beside)
    }

    /// Where the sender's journal is.
    #[must_use]
    pub fn sender_journal(&self) -> PathBuf {
        let beside = || self.database.with_extension("sender.db");
        self.sender_journal.clone().unwrap_or_else(beside)
    }

    pub(crate) fn sender_config(&self) -> Result<&sender::Config, Failure> {
        let missing = || Failure::configuration(eyre::eyre!("configuration: there is no table [sender]"));
        self.sender.as_ref().ok_or_else(missing)
    }

    /// The nodes that pauses are tried on.
    pub(crate) fn pause_nodes(&self) -> Result<Vec<url::Url>, Failure> {
        let sender = self.sender.as_ref().map_or(&[][..], |sender| &sender.endpoints);
        let (key, nodes) = match self.pause.nodes.as_slice() {
            [] => ("sender.endpoints", sender),
            nodes => ("pause.nodes", nodes),
        };
        let read = |node: &node::config::Secret| {
            // The address may hold a key: only what is wrong with it is said.
            let url = node.reveal().or_configuration()?;
            url.parse()
                .map_err(|error| Failure::configuration(eyre::eyre!("configuration: `{key}`: {error}")))
        };
        nodes.iter().map(read).collect()
    }

    pub(crate) fn platforms(&self) -> Result<Platforms, Failure> {
        Platforms::parse(&self.platform, self.platform_ca.as_deref()).or_configuration()
    }
}
