//! A miner's configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chain::Tao;
use chain::wallets::WalletArgs;
use node::cli::{NodeArgs, NodeConfig};
use node::exit::{Failure, OrConfiguration};
use serde::{Deserialize, Serialize};
use subtensor::neuron::{Identity, NeuronArgs};

use crate::behaviour::Behaviour;

/// Where the state of a challenge comes from. There is no default: a miner without a state source could only guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateSource {
    /// The prestate that comes with the challenge; where none does, the own node if there is one
    Challenge,
    /// The own node, at the challenge's head, whatever comes with the challenge
    Node,
}

/// What a miner with a node of its own does about the prestates that come with challenges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// Takes them as they are
    #[default]
    Off,
    /// Compares some with the own node while it answers; a difference is logged and counted
    Log,
    /// Compares some before it answers; on a difference the answer is Undecided, with the reason
    Undecided,
}

/// Flags of `miner run`.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct Flags {
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub neuron: NeuronArgs,
    /// Where the state to execute on comes from
    #[arg(long, value_name = "SOURCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateSource>,
    /// A node of its own (http(s):// or ws(s)://); several may be given
    #[arg(long = "node", value_name = "URL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// Compare the prestates that come with challenges with the own node
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "log")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_prestate: Option<Check>,
    /// Of how many challenges one is compared (default 8)
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_one_in: Option<u64>,
    /// Address that validators reach this miner at, when it is not the one it listens on
    #[arg(long, value_name = "IP:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub axon: Option<SocketAddr>,
    /// Take challenges only from validators with at least this much stake (default: a permit is enough)
    #[arg(long, value_name = "TAO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validator_stake: Option<Tao>,
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
    /// Hotkey file; without it, the wallet's.
    #[serde(default)]
    pub hotkey: Option<PathBuf>,
    /// The wallet, by btcli's names.
    #[serde(default)]
    pub wallet: WalletArgs,
    /// The ledger, as `--ledger` says it.
    pub ledger: String,
    /// The subnet.
    #[serde(default)]
    pub netuid: Option<u16>,
    /// Where the state comes from.
    pub state: StateSource,
    /// Nodes of its own, the preferred one first. A URL may hold a key: it is never logged.
    #[serde(default)]
    pub nodes: Vec<url::Url>,
    /// Whether prestates are compared with the own node.
    #[serde(default)]
    pub check_prestate: Check,
    /// Of how many challenges with a prestate one is compared.
    #[serde(default = "default_check_one_in")]
    pub check_one_in: u64,
    /// Address that validators reach this miner at.
    #[serde(default)]
    pub axon: Option<SocketAddr>,
    /// Stake that a validator needs beside its permit.
    #[serde(default)]
    pub validator_stake: Tao,
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
fn default_check_one_in() -> u64 {
    8
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
        config.check_nodes()?;
        let one_in = usize::try_from(config.check_one_in).unwrap_or(usize::MAX);
        let positive = [
            ("threads", config.threads),
            ("queue", config.queue),
            ("check_one_in", one_in),
        ];
        if let Some((key, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(Failure::configuration(eyre::eyre!(
                "configuration: `{key}` must be at least 1"
            )));
        }
        config.identity().check()?;
        Ok(config)
    }

    /// What needs a node of its own has one.
    fn check_nodes(&self) -> Result<(), Failure> {
        let needs = match (self.state, self.check_prestate) {
            (StateSource::Node, _) => "`state` = \"node\"",
            (_, Check::Log | Check::Undecided) => "`check_prestate`",
            (StateSource::Challenge, Check::Off) => return Ok(()),
        };
        if self.nodes.is_empty() {
            return Err(Failure::configuration(eyre::eyre!(
                "configuration: {needs} needs a node of this miner's own: name one by `nodes` (--node URL)"
            )));
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
}
