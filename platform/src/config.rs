//! What `platform run` is configured with: TOML, then `PORTCULLIS_PLATFORM_*`, then flags.

use std::path::PathBuf;
use std::time::Duration;

use node::cli::{NodeArgs, NodeConfig};
use serde::{Deserialize, Serialize};

use crate::feed::pace::Pace;

/// Flags of `platform run`.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub struct RunArgs {
    /// Where transactions come from: replay:PATH, a recorded case (.json, .ndjson, also .gz or .zst) or a folder of them
    #[arg(long, value_name = "FEED")]
    #[serde(skip_serializing_if = "Option::is_none")]
    feed: Option<String>,
    /// How fast a recording is replayed: realtime, max, or N/s [default: realtime]
    #[arg(long, value_name = "PACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pace: Option<String>,
    /// The SQLite database; made when it is not there [default: platform.db]
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<PathBuf>,
    /// The subnet's ledger, as in http://127.0.0.1:9944
    #[arg(long, value_name = "URL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<String>,
    /// How many validators judge each transaction [default: 2]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<usize>,
    /// How many validators must have a stream open before the feed starts [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_validators: Option<usize>,
    /// How often the metagraph is read from the ledger [default: 2s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    metagraph_interval: Option<String>,
    /// A TOML file; keys as the flags, with _ for -
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Check configuration and feed, and exit
    #[arg(long)]
    #[serde(skip)]
    pub(crate) check: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// The configuration of `platform run`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The feed, as in `replay:PATH`.
    pub feed: String,
    /// How fast a recording is replayed.
    #[serde(default = "realtime")]
    pub pace: Pace,
    /// The SQLite database.
    #[serde(default = "database")]
    pub database: PathBuf,
    /// The ledger's URL.
    pub ledger: String,
    /// How many validators judge each transaction.
    #[serde(default = "two")]
    pub replicas: usize,
    /// How many validators must have a stream open before the feed starts.
    #[serde(default = "one")]
    pub min_validators: usize,
    /// How often the metagraph is read.
    #[serde(default = "interval", with = "humantime_serde")]
    pub metagraph_interval: Duration,
    /// What every binary has.
    #[serde(default)]
    pub node: NodeConfig,
}

const fn realtime() -> Pace {
    Pace::Realtime
}
fn database() -> PathBuf {
    PathBuf::from("platform.db")
}
const fn two() -> usize {
    2
}
const fn one() -> usize {
    1
}
const fn interval() -> Duration {
    Duration::from_secs(2)
}

impl Config {
    /// What is wrong with a value though its form is right: the key, and why.
    ///
    /// # Errors
    /// One line.
    pub fn check(&self) -> Result<(), String> {
        if self.replicas == 0 {
            return Err("configuration: `replicas`: must be at least 1, else no transaction is judged".to_owned());
        }
        if !(Duration::from_millis(50)..=Duration::from_secs(3600)).contains(&self.metagraph_interval) {
            return Err("configuration: `metagraph_interval`: must be from 50ms to 1h".to_owned());
        }
        Ok(())
    }
}
