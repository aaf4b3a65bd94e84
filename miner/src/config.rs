//! A miner's configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chain::RemoteLedger;
use node::cli::{NodeArgs, NodeConfig};
use node::exit::{Failure, OrConfiguration};
use serde::{Deserialize, Serialize};

use crate::behaviour::Behaviour;

/// Where the state of a challenge comes from. There is no default: a miner without a state source could only guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateSource {
    /// The prestate that comes with the challenge
    Challenge,
}

/// How long a call of the ledger may take.
const LEDGER_DEADLINE: Duration = Duration::from_secs(10);

/// Flags of `miner run`.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct Flags {
    /// Hotkey file (Bittensor's JSON key file)
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotkey: Option<PathBuf>,
    /// The subnet's ledger
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
    /// Where the state to execute on comes from
    #[arg(long, value_name = "SOURCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateSource>,
    /// Address that validators reach this miner at, when it is not the one it listens on
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub axon: Option<SocketAddr>,
    /// Engine threads (default: one for each core)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Challenges that may wait for a thread; more are refused (default 256)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<usize>,
    /// Misbehave, to try the network's defences
    #[arg(long, value_name = "KIND")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<Behaviour>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub node: NodeArgs,
}

/// What file, environment and flags come to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Hotkey file.
    pub hotkey: PathBuf,
    /// URL of the ledger.
    pub ledger: String,
    /// Where the state comes from.
    pub state: StateSource,
    /// Address that validators reach this miner at.
    #[serde(default)]
    pub axon: Option<SocketAddr>,
    /// Engine threads.
    #[serde(default = "cores")]
    pub threads: usize,
    /// Challenges that may wait.
    #[serde(default = "default_queue")]
    pub queue: usize,
    /// Bytecode kept in memory, bytes.
    #[serde(default = "default_code_cache")]
    pub code_cache_bytes: u64,
    /// How often the metagraph is read.
    #[serde(default = "default_metagraph_period", with = "humantime_serde")]
    pub metagraph_period: Duration,
    /// How it answers.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// What every node has.
    #[serde(default)]
    pub node: NodeConfig,
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
fn default_queue() -> usize {
    256
}
fn default_code_cache() -> u64 {
    256 << 20
}
fn default_metagraph_period() -> Duration {
    Duration::from_secs(5)
}

impl Config {
    /// Loads and checks it.
    ///
    /// # Errors
    /// Exit code 2, naming the key.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, Failure> {
        let config: Self = node::config::load("miner", file, flags).or_configuration()?;
        let positive = [("threads", config.threads), ("queue", config.queue)];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(Failure::configuration(eyre::eyre!(
                "configuration: `{key}` must be at least 1"
            )));
        }
        config.connect_ledger()?;
        Ok(config)
    }

    pub(crate) fn connect_ledger(&self) -> Result<RemoteLedger, Failure> {
        RemoteLedger::new(&self.ledger, LEDGER_DEADLINE).or_configuration()
    }
}
