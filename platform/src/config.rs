//! What `platform run` is configured with: TOML, then `PORTCULLIS_PLATFORM_*`, then flags.

use std::path::PathBuf;
use std::time::Duration;

use node::cli::{NodeArgs, NodeConfig};
use node::config::Secret;
use node::database::Place;
use node::tls::TlsOptions;
use serde::{Deserialize, Serialize};

use crate::audits::AuditOptions;
use crate::feed::live::LiveOptions;
use crate::feed::pace::Pace;
use crate::gate::GateOptions;
use crate::rest::options::HttpOptions;

/// Flags of `platform run`.
#[derive(Debug, Clone, clap::Args, Serialize)]
pub struct RunArgs {
    /// Where transactions come from: replay:PATH, a recorded case (.json, .ndjson, also .gz or .zst) or a folder of them; or a
    /// node's address, ws://.. or http://.., which may be given several times
    #[arg(long, value_name = "FEED")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    feed: Vec<String>,
    #[command(flatten)]
    #[serde(skip_serializing_if = "LiveArgs::is_empty")]
    live: LiveArgs,
    #[command(flatten)]
    #[serde(skip_serializing_if = "TlsArgs::is_empty")]
    tls: TlsArgs,
    #[command(flatten)]
    #[serde(skip_serializing_if = "HttpArgs::is_empty")]
    http: HttpArgs,
    #[command(flatten)]
    #[serde(skip_serializing_if = "BillingArgs::is_empty")]
    billing: BillingArgs,
    /// How fast a recording is replayed: realtime, max, or N/s [default: realtime]
    #[arg(long, value_name = "PACE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pace: Option<String>,
    /// The database: a SQLite file, made when it is not there, or postgres://USER:PASSWORD@HOST:PORT/NAME, which several platforms
    /// may share; also env:NAME or file:PATH, where that address is [default: platform.db]
    #[arg(long, value_name = "DATABASE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<String>,
    /// The NATS servers that carry the log between platforms on one database, as in nats://HOST:4222, with commas between
    #[arg(long, value_name = "URLS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<String>,
    /// The subnet's ledger: http://HOST:PORT, an embedded one; or the real chain: finney, test, local, ws://.. or wss://.. (several
    /// nodes with commas between)
    #[arg(long, value_name = "LEDGER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<String>,
    /// The subnet; needed on the real chain
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    netuid: Option<u16>,
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
    /// A TOML file; docs/platform.md shows one with its tables ([node], [http], [tls], [live], [billing], [audits])
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

/// Flags of the registry over HTTP.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
struct HttpArgs {
    /// Serve the registry over HTTP there, as in 127.0.0.1:8000
    #[arg(id = "http", long = "http", value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    listen: Option<String>,
    /// Written with that address once it is served
    #[arg(id = "http_ready_file", long = "http-ready-file", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_file: Option<PathBuf>,
}

impl HttpArgs {
    const fn is_empty(&self) -> bool {
        self.listen.is_none() && self.ready_file.is_none()
    }
}

/// Flags of the encryption.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
struct TlsArgs {
    /// Encrypt gRPC and HTTP: the certificate, followed by those of its issuers (PEM)
    #[arg(id = "tls_certificate", long = "tls-certificate", value_name = "FILE", requires = "tls_key")]
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(id = "tls_key", long = "tls-key", value_name = "FILE", requires = "tls_certificate")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
}

impl TlsArgs {
    const fn is_empty(&self) -> bool {
        self.certificate.is_none() && self.key.is_none()
    }
}

/// Flags of the gate.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
struct BillingArgs {
    /// A JSON-RPC endpoint of the chain that services are paid on; may be given several times
    #[arg(id = "billing_rpc", long = "billing-rpc", value_name = "URL")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rpc: Vec<String>,
}

impl BillingArgs {
    const fn is_empty(&self) -> bool {
        self.rpc.is_empty()
    }
}

/// Flags of a live feed.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
struct LiveArgs {
    /// The chain that every node must be of [default: that of the first one that answers]
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<u64>,
    /// How often a node that tells nothing unasked is asked [default: 500ms]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    poll_interval: Option<String>,
    /// From one block to the next [default: 12s]
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    block_time: Option<String>,
    /// How many transactions wait at most; more are dropped, oldest first [default: 20000]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_pending: Option<usize>,
}

impl LiveArgs {
    const fn is_empty(&self) -> bool {
        self.chain_id.is_none()
            && self.poll_interval.is_none()
            && self.block_time.is_none()
            && self.max_pending.is_none()
    }
}

/// The configuration of `platform run`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The feed: one `replay:PATH`, or the addresses of nodes. A single one may stand without brackets.
    #[serde(deserialize_with = "one_or_many")]
    pub feed: Vec<String>,
    /// How living nodes are followed.
    #[serde(default)]
    pub live: LiveOptions,
    /// How fast a recording is replayed.
    #[serde(default = "realtime")]
    pub pace: Pace,
    /// The database.
    #[serde(default = "database")]
    pub database: Place,
    /// The broker that carries the log between several platforms; may be `env:NAME` or `file:PATH`, since it may hold a password.
    #[serde(default)]
    pub broker: Option<Secret>,
    /// What is served over gRPC and HTTP is encrypted by this certificate.
    #[serde(default)]
    pub tls: Option<TlsOptions>,
    /// The ledger, as `--ledger` says it.
    pub ledger: String,
    /// The subnet.
    #[serde(default)]
    pub netuid: Option<u16>,
    /// How many validators judge each transaction.
    #[serde(default = "two")]
    pub replicas: usize,
    /// How many validators must have a stream open before the feed starts.
    #[serde(default = "one")]
    pub min_validators: usize,
    /// The registry over HTTP.
    #[serde(default)]
    pub http: HttpOptions,
    /// On which chain protocols pay for their protection, and how that is watched.
    #[serde(default)]
    pub billing: GateOptions,
    /// Whose audits are shown; without it, nobody's.
    #[serde(default)]
    pub audits: Option<AuditOptions>,
    /// How often the metagraph is read.
    #[serde(default = "interval", with = "humantime_serde")]
    pub metagraph_interval: Duration,
    /// What every binary has.
    #[serde(default)]
    pub node: NodeConfig,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a feed, or a list of feeds")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(feed) => vec![feed],
        OneOrMany::Many(feeds) => feeds,
    })
}
const fn realtime() -> Pace {
    Pace::Realtime
}
fn database() -> Place {
    Place::File("platform.db".into())
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
        if self.broker.is_some() && self.database.file().is_some() {
            return Err(
                "configuration: `broker`: is for several platforms, and `database` is one machine's file; use postgres://.."
                    .to_owned(),
            );
        }
        self.billing.endpoints()?;
        self.audits
            .as_ref()
            .map_or(Ok(()), |audits| audits.source().map(drop))
            .map_err(|error| format!("configuration: audits: {error}"))?;
        self.live.check()
    }
}
