//! One Ethereum node or relay over JSON-RPC (`POST`), and several of them together.
//!
//! Its own few lines instead of a general client, for three things that matter here: an answer has a size limit, a relay's
//! call is signed over its exact bytes, and no message ever contains an address' path, where passwords are. What always
//! holds: each call ends within its time limit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use alloy::primitives::keccak256;
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

/// The longest answer that is read: a block's hashes are some 100 KiB.
const MAX_ANSWER: usize = 8 << 20;

/// A call without a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The node answered with an error.
    #[error("{endpoint}: {method}: {message} (code {code})")]
    Answer {
        /// Host and port.
        endpoint: String,
        /// The method.
        method: &'static str,
        /// JSON-RPC's error code.
        code: i64,
        /// The node's words.
        message: String,
        /// More of it: a revert's output.
        data: Option<String>,
    },
    /// The node did not answer, or nothing that means anything.
    #[error("{endpoint}: {method}: {reason}; is the node running, and reachable from here?")]
    Unreachable {
        /// Host and port.
        endpoint: String,
        /// The method.
        method: &'static str,
        /// What went wrong.
        reason: String,
    },
}

/// An address that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL.
    #[error("a node's address is not a URL: {0}")]
    Url(String),
    /// A URL of something else.
    #[error("a node's address must be http:// or https://, not {0}://")]
    Scheme(String),
    /// No TLS on this machine.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// One node or relay.
pub(crate) struct Endpoint {
    name: String,
    url: Url,
    client: reqwest::Client,
    timeout: Duration,
    identity: Option<PrivateKeySigner>,
    id: AtomicU64,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.name).finish()
    }
}

impl Endpoint {
    /// A node at `address`; nothing is asked yet.
    pub(crate) fn new(
        address: &str,
        timeout: Duration,
        identity: Option<PrivateKeySigner>,
    ) -> Result<Self, AddressError> {
        let url = Url::parse(address).map_err(|error| AddressError::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(AddressError::Scheme(url.scheme().to_owned()));
        }
        // Whoever was first has chosen for the process; both serve us.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(60))
            .build()
            .map_err(|error| AddressError::Client(error.to_string()))?;
        let port = url
            .port_or_known_default()
            .map_or(String::new(), |port| format!(":{port}"));
        let name = format!("{}{port}", url.host_str().unwrap_or_default());
        Ok(Self {
            name,
            url,
            client,
            timeout,
            identity,
            id: AtomicU64::new(1),
        })
    }

    /// Calls `method`.
    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<R, CallError> {
        let unreachable = |reason: String| {
            metrics::counter!("sender_endpoint_errors_total", "endpoint" => self.name.clone()).increment(1);
            CallError::Unreachable {
                endpoint: self.name.clone(),
                method,
                reason,
            }
        };
        let answer = match tokio::time::timeout(self.timeout, self.exchange(method, params)).await {
            Ok(answer) => answer.map_err(unreachable)?,
            Err(_) => return Err(unreachable(format!("no answer within {:?}", self.timeout))),
        };
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            return Err(CallError::Answer {
                endpoint: self.name.clone(),
                method,
                code: error.get("code").and_then(Value::as_i64).unwrap_or_default(),
                message: error
                    .get("message")
                    .and_then(Value::as_str)
                    .unwrap_or("no message")
                    .chars()
                    .take(500)
                    .collect(),
                data: error.get("data").and_then(revert_data),
            });
        }
        let result = answer
            .get("result")
            .cloned()
            .ok_or_else(|| unreachable("neither result nor error".to_owned()))?;
        serde_json::from_value(result).map_err(|error| unreachable(format!("unexpected result: {error}")))
    }

    async fn exchange(&self, method: &'static str, params: Value) -> Result<Value, String> {
        let id = self.id.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let mut request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json");
        if let Some(identity) = &self.identity {
            let digest = keccak256(body.as_bytes()).to_string();
            let signature = identity
                .sign_message_sync(digest.as_bytes())
                .map_err(|error| error.to_string())?;
            request = request.header("x-flashbots-signature", format!("{}:{signature}", identity.address()));
        }
        let words = |error: reqwest::Error| chain_of(&error.without_url());
        let mut response = request.body(body).send().await.map_err(words)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(words)? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(format!("an answer of more than {MAX_ANSWER} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        // Some nodes send JSON-RPC errors with an HTTP error's status.
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(answer) if answer.is_object() => Ok(answer),
            _ if !status.is_success() => Err(format!("HTTP {status}")),
            _ => Err("the answer is not JSON-RPC".to_owned()),
        }
    }
}

/// An error with its causes: reqwest's own words leave out what happened.
fn chain_of(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// A revert's output is the error's `data`, or inside of it.
fn revert_data(data: &Value) -> Option<String> {
    data.as_str()
        .or_else(|| data.get("data").and_then(Value::as_str))
        .map(str::to_owned)
}

/// Several nodes of the same chain: asked in turn, told all at once.
#[derive(Debug, Clone)]
pub(crate) struct Nodes {
    endpoints: Vec<Arc<Endpoint>>,
    /// The one that answered last.
    preferred: Arc<AtomicUsize>,
}

impl Nodes {
    pub(crate) fn new(endpoints: Vec<Endpoint>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Arc::new).collect(),
            preferred: Arc::default(),
        }
    }

    pub(crate) fn all(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The nodes, the one that answered last first.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = (usize, &Arc<Endpoint>)> {
        let first = self.preferred.load(Ordering::Relaxed);
        let count = self.endpoints.len();
        (0..count).filter_map(move |step| {
            let place = (first + step) % count;
            self.endpoints.get(place).map(|endpoint| (place, endpoint))
        })
    }

    pub(crate) fn prefer(&self, place: usize) {
        self.preferred.store(place, Ordering::Relaxed);
    }

    /// Asks one after the other until one answers; an error that a node answers is an answer.
    pub(crate) async fn call<R: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<R, CallError> {
        let mut last = None;
        for (place, endpoint) in self.in_turn() {
            match endpoint.call(method, params.clone()).await {
                Err(error @ CallError::Unreachable { .. }) => last = Some(error),
                other => {
                    self.prefer(place);
                    return other;
                }
            }
        }
        Err(last.unwrap_or_else(|| CallError::Unreachable {
            endpoint: "no endpoint".to_owned(),
            method,
            reason: "none is configured".to_owned(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        let endpoint = Endpoint::new(
            "https://user:pw@node.example.org/v3/APIKEY",
            Duration::from_secs(1),
            None,
        )
        .unwrap();
        assert_eq!(endpoint.name, "node.example.org:443");
        assert!(!format!("{endpoint:?}").contains("APIKEY"));
    }

    #[test]
    fn what_is_no_http_address_is_refused() {
        let error = |address: &str| {
            Endpoint::new(address, Duration::from_secs(1), None)
                .unwrap_err()
                .to_string()
        };
        assert!(error("ws://localhost:1").contains("ws://"));
        assert!(error("localhost").contains("URL"));
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable_and_says_where() {
        let endpoint = Endpoint::new("http://127.0.0.1:1/secret", Duration::from_secs(1), None).unwrap();
        let error = endpoint
            .call::<String>("eth_chainId", json!([]))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("127.0.0.1:1") && !error.contains("secret"), "{error}");
    }
}
