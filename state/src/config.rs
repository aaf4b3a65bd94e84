//! What a user sets about nodes and about the state kept of them.

use std::{fmt, path::PathBuf, time::Duration};

use serde::Deserialize;
use url::Url;

/// Which nodes to ask, and how patiently.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// `http(s)://..` or `ws(s)://..`, the preferred one first. May carry a key: it is never logged, only scheme, host and port.
    pub endpoints: Vec<Url>,
    /// EIP-155 chain id that every endpoint must have; `None`: that of the first endpoint that answers.
    pub chain_id: Option<u64>,
    /// How long one request may take.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long the first endpoint is waited for before the second one is asked as well.
    #[serde(with = "humantime_serde")]
    pub hedge_after: Duration,
    /// How often all endpoints are asked again, after a pause that doubles and is never quite the same, where none could be reached
    /// or all were too busy. Within the caller's deadline.
    pub retries: usize,
    /// The first of these pauses.
    #[serde(with = "humantime_serde")]
    pub retry_pause: Duration,
    /// Longest answer that is read; a longer one is a fault of the endpoint.
    pub max_response_bytes: usize,
    /// How long an endpoint is set aside after a fault; doubled with each further one.
    #[serde(with = "humantime_serde")]
    pub retry_after: Duration,
    /// The longest time that it is set aside.
    #[serde(with = "humantime_serde")]
    pub retry_at_most: Duration,
    /// How often the chain id of an endpoint in use is checked again. It travels in a batch with what is asked anyway.
    #[serde(with = "humantime_serde")]
    pub recheck: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            chain_id: None,
            request_timeout: Duration::from_secs(5),
            hedge_after: Duration::from_millis(250),
            retries: 2,
            retry_pause: Duration::from_millis(50),
            max_response_bytes: 64 << 20,
            retry_after: Duration::from_millis(500),
            retry_at_most: Duration::from_secs(30),
            recheck: Duration::from_secs(30),
        }
    }
}

/// Shows endpoints without what may be a key.
impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.endpoints.iter().map(label).collect();
        f.debug_struct("NodeConfig")
            .field("endpoints", &endpoints)
            .field("chain_id", &self.chain_id)
            .field("request_timeout", &self.request_timeout)
            .field("hedge_after", &self.hedge_after)
            .field("retries", &self.retries)
            .field("retry_pause", &self.retry_pause)
            .field("max_response_bytes", &self.max_response_bytes)
            .field("retry_after", &self.retry_after)
            .field("retry_at_most", &self.retry_at_most)
            .field("recheck", &self.recheck)
            .finish()
    }
}

/// Scheme, host and port: what of an endpoint may be shown. User, path and query may be a secret.
#[must_use]
pub fn label(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    match url.port() {
        Some(port) => format!("{}://{host}:{port}", url.scheme()),
        None => format!("{}://{host}", url.scheme()),
    }
}

/// How state that is not yet known is fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefetch {
    /// One round trip by `debug_traceCall` with `prestateTracer` where the node has it, else as [`Prefetch::AccessList`].
    #[default]
    Trace,
    /// Two round trips: `eth_createAccessList`, then one batch; else rounds of batches.
    AccessList,
    /// Rounds of batches: what the execution asked for, and what it would probably ask for next.
    Rounds,
    /// One read after the other, as a naive node client does. Slow: for comparison.
    OneByOne,
}

/// How much state is kept, and how it is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReaderConfig {
    /// Most accounts and slots kept of one head, together; what was not used for the longest time goes first.
    pub max_slots: usize,
    /// Most bytes of code kept in memory.
    pub max_code_bytes: u64,
    /// Folder that keeps code between runs, a file for each hash; `None`: nothing on disk.
    pub code_dir: Option<PathBuf>,
    /// Most bytes in that folder; the oldest files go first.
    pub max_code_dir_bytes: u64,
    /// Heads whose state is kept, so that a reorg of less depth is a step back and not a new start.
    pub kept_heads: usize,
    /// Time from a block to the next, to guess the next block's timestamp.
    #[serde(with = "humantime_serde")]
    pub block_time: Duration,
    /// How state is fetched.
    pub prefetch: Prefetch,
    /// Most round trips for one transaction.
    pub max_rounds: u32,
    /// Most transactions that are read at the same time; more wait for their turn within their deadline.
    pub max_inflight: usize,
}

impl Default for ReaderConfig {
    fn default() -> Self {
        Self {
            max_slots: 4_000_000,
            max_code_bytes: 256 << 20,
            code_dir: None,
            max_code_dir_bytes: 1 << 30,
            kept_heads: 64,
            block_time: Duration::from_secs(12),
            prefetch: Prefetch::Trace,
            max_rounds: 64,
            max_inflight: 256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_an_endpoint_is_never_shown() {
        let config = NodeConfig {
            endpoints: vec![
                "https://user:hunter2@node.example:8545/v3/s3cr3t?key=s3cr3t"
                    .parse()
                    .unwrap(),
            ],
            ..NodeConfig::default()
        };
        let shown = format!("{config:?}");
        assert!(shown.contains("https://node.example:8545"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn settings_are_read_with_units_and_unknown_ones_refused() {
        let read = |json: &str| serde_json::from_str::<NodeConfig>(json);
        let config = read(r#"{"endpoints":["ws://a:1"],"hedge_after":"20ms"}"#).unwrap();
        assert_eq!(config.hedge_after, Duration::from_millis(20));
        assert_eq!(config.request_timeout, NodeConfig::default().request_timeout);
        assert!(read(r#"{"hedge":"20ms"}"#).unwrap_err().to_string().contains("hedge"));
        let config: ReaderConfig = serde_json::from_str(r#"{"prefetch":"access-list"}"#).unwrap();
        assert_eq!(config.prefetch, Prefetch::AccessList);
    }
}
