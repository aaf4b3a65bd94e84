//! What the operator of a contract's client sets, a process that reads the contract and sends to it: the same nodes for both, and one
//! key for all lanes. Then the nodes stand once, beside the table `[sender]` and not in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use node::config::Secret;
use node::exit::{Failure, OrConfiguration as _};
use url::Url;

use crate::keys::{DEFAULT, KeyConfig, KeyError, Keys};
use crate::{Config, Lane, OpenError, Sender};

/// Flags of a client: its nodes and its folder, as its configuration names them.
#[derive(Debug, Clone, Default, clap::Args, serde::Serialize)]
pub struct ClientArgs {
    /// A node (http, https, ws, wss), or `env:NAME`, `file:PATH`; several times, the preferred one first
    #[arg(long = "rpc", value_name = "URL", hide_env_values = true)]
    #[serde(rename = "endpoints", skip_serializing_if = "Vec::is_empty")]
    pub rpc: Vec<String>,
    /// Folder of the journal and of what else outlives the process
    #[arg(long, value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
}

/// How nodes are asked. The client's defaults: `POLL` in milliseconds, `LOG_RANGE` in blocks, `HEAD_AGE` in seconds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RpcConfig<const POLL: u64, const LOG_RANGE: u64, const HEAD_AGE: u64> {
    /// How often the nodes are asked for a new head.
    #[serde(with = "humantime_serde", default = "milliseconds::<POLL>")]
    pub poll: Duration,
    /// How long a node may take for an answer.
    #[serde(with = "humantime_serde", default = "milliseconds::<5_000>")]
    pub timeout: Duration,
    /// Blocks whose logs are asked for at a time.
    #[serde(default = "blocks::<LOG_RANGE>")]
    pub log_range: u64,
    /// A head that is older, by the wall clock, makes the client unhealthy.
    #[serde(with = "humantime_serde", default = "seconds::<HEAD_AGE>")]
    pub max_head_age: Duration,
}

const fn milliseconds<const COUNT: u64>() -> Duration {
    Duration::from_millis(COUNT)
}

const fn seconds<const COUNT: u64>() -> Duration {
    Duration::from_secs(COUNT)
}

const fn blocks<const COUNT: u64>() -> u64 {
    COUNT
}

impl<const POLL: u64, const LOG_RANGE: u64, const HEAD_AGE: u64> Default for RpcConfig<POLL, LOG_RANGE, HEAD_AGE> {
    fn default() -> Self {
        Self {
            poll: milliseconds::<POLL>(),
            timeout: milliseconds::<5_000>(),
            log_range: LOG_RANGE,
            max_head_age: seconds::<HEAD_AGE>(),
        }
    }
}

impl<const POLL: u64, const LOG_RANGE: u64, const HEAD_AGE: u64> RpcConfig<POLL, LOG_RANGE, HEAD_AGE> {
    /// Whether the values can be used.
    ///
    /// # Errors
    /// [`ClientError::Value`].
    pub fn check(&self) -> Result<(), ClientError> {
        if self.log_range == 0 || self.poll.is_zero() || self.timeout.is_zero() {
            return wrong("rpc", "log_range, poll and timeout are above 0");
        }
        Ok(())
    }
}

/// A client's configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
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

/// [`ClientError::Value`], as the result of a check.
///
/// # Errors
/// Always.
pub fn wrong<T>(field: &'static str, reason: impl Into<String>) -> Result<T, ClientError> {
    Err(ClientError::Value {
        field,
        reason: reason.into(),
    })
}

/// The addresses of the nodes in `field`, from where they are.
///
/// # Errors
/// When one is no address, without repeating it: it may hold a key.
pub fn urls(field: &'static str, secrets: &[Secret]) -> Result<Vec<Url>, ClientError> {
    let url = |(place, secret): (usize, &Secret)| match Url::parse(secret.reveal()?.trim()) {
        Ok(url) => Ok(url),
        Err(error) => wrong(field, format!("number {}: {error}", place + 1)),
    };
    secrets.iter().enumerate().map(url).collect()
}

/// Whether a client's nodes are given, and its table `[sender]` names neither nodes nor keys: there they are `instead`.
///
/// # Errors
/// [`ClientError::Value`].
pub fn check(endpoints: &[Secret], sender: &Config, instead: &str) -> Result<(), ClientError> {
    if endpoints.is_empty() {
        return wrong("endpoints", "name at least one node (http:// or https://)");
    }
    if !sender.endpoints.is_empty() || !sender.keys.is_empty() {
        return wrong("sender", format!("endpoints and keys stand elsewhere: {instead}"));
    }
    for lane in Lane::ALL {
        let key = sender.lanes.of(lane).key;
        if key != DEFAULT {
            return wrong(
                "sender.lanes",
                format!("{lane} names the key `{key}`, but there is one key for all lanes"),
            );
        }
    }
    Ok(())
}

/// The client's key, under the name that all lanes use. Takes about a second, on purpose of the key file's format: call it off the
/// runtime's threads.
///
/// # Errors
/// When it is not given in `field`, or cannot be used.
pub fn key(field: &'static str, source: Option<&KeyConfig>) -> Result<Keys, ClientError> {
    match source {
        Some(source) => Ok(Keys::load(&[(DEFAULT.to_owned(), source.clone())].into())?),
        None => wrong(field, "give a key: `keystore` with `password`, or `hex`"),
    }
}

impl Config {
    /// These settings for a client's nodes, as far as they are `http(s)://`.
    ///
    /// # Errors
    /// When none is, or one is not where it is said to be.
    pub fn over(&self, endpoints: &[Secret], chain_id: Option<u64>) -> Result<Self, ClientError> {
        let mut over_http = Vec::with_capacity(endpoints.len());
        for secret in endpoints {
            if secret.reveal()?.trim().starts_with("http") {
                over_http.push(secret.clone());
            }
        }
        if over_http.is_empty() {
            return wrong(
                "endpoints",
                "transactions are sent over http:// or https://: name at least one such node",
            );
        }
        Ok(Self {
            endpoints: over_http,
            chain_id,
            ..self.clone()
        })
    }
}

/// What `keys` reads, off the runtime's threads.
///
/// # Errors
/// Exit code 2.
pub async fn read_keys<K>(keys: K) -> Result<Keys, Failure>
where
    K: FnOnce() -> Result<Keys, ClientError> + Send + 'static,
{
    tokio::task::spawn_blocking(keys).await?.or_configuration()
}

/// Opens the sender with the journal there and the keys that `keys` reads.
///
/// # Errors
/// Exit code 2, or 3 when no node answers.
pub async fn open<K>(config: &Config, keys: K, journal: &Path) -> Result<Sender, Failure>
where
    K: FnOnce() -> Result<Keys, ClientError> + Send + 'static,
{
    let keys = read_keys(keys).await?;
    let opened = Sender::open(config, &keys, journal).await;
    opened.map_err(OpenError::into_failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LaneConfig, Lanes};

    type Rpc = RpcConfig<250, 5_000, 90>;

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::from((*text).to_owned())).collect()
    }

    #[test]
    fn a_clients_own_defaults_stay_where_only_one_value_is_given() {
        let rpc: Rpc = serde_json::from_value(serde_json::json!({ "timeout": "7s" })).unwrap();
        assert_eq!(
            rpc,
            Rpc {
                timeout: Duration::from_secs(7),
                ..Rpc::default()
            }
        );
        assert_eq!((rpc.poll, rpc.log_range), (Duration::from_millis(250), 5_000));
        rpc.check().unwrap();
        let never = Rpc { log_range: 0, ..rpc };
        assert!(never.check().unwrap_err().to_string().starts_with("rpc: "));
    }

    #[test]
    fn one_reads_over_all_nodes_and_sends_over_http() {
        let nodes = secrets(&["ws://localhost:1", " https://localhost:2\n"]);
        assert_eq!(urls("endpoints", &nodes).unwrap().len(), 2);
        let sender = Config::default().over(&nodes, Some(7)).unwrap();
        assert_eq!((sender.endpoints.len(), sender.chain_id), (1, Some(7)));
        let none = Config::default().over(&nodes[..1], None).unwrap_err().to_string();
        assert!(none.contains("http:// or https://"), "{none}");
    }

    #[test]
    fn what_is_no_address_is_named_by_its_place_and_not_repeated() {
        let error = urls("endpoints", &secrets(&["http://localhost:1", "s3cret"])).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("endpoints: number 2: ") && !error.contains("s3cret"),
            "{error}"
        );
    }

    #[test]
    fn nodes_and_keys_stand_once() {
        let nodes = secrets(&["http://localhost:1"]);
        let checked = |endpoints: &[Secret], sender: &Config| {
            check(endpoints, sender, "`endpoints` and [worker]").map_err(|error| error.to_string())
        };
        checked(&nodes, &Config::default()).unwrap();
        assert!(checked(&[], &Config::default()).unwrap_err().starts_with("endpoints: "));
        let twice = Config {
            endpoints: nodes.clone(),
            ..Config::default()
        };
        assert!(
            checked(&nodes, &twice)
                .unwrap_err()
                .contains("`endpoints` and [worker]")
        );
        let other = Config {
            lanes: Lanes {
                slash: LaneConfig {
                    key: Some("fast".to_owned()),
                    ..LaneConfig::default()
                },
                ..Lanes::default()
            },
            ..Config::default()
        };
        assert!(
            checked(&nodes, &other)
                .unwrap_err()
                .contains("slash names the key `fast`")
        );
        let missing = key("worker", None).unwrap_err().to_string();
        assert!(missing.starts_with("worker: give a key"), "{missing}");
    }
}
