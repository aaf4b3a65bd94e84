//! What a node is asked for, how its endpoints do, and why there is no answer.

use std::time::Duration;

use engine::B256;

use super::call::RpcFailure;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No endpoint is configured.
    #[error("no node endpoint is given: name at least one http(s):// or ws(s):// address")]
    NoEndpoints,
    /// An endpoint that cannot be one.
    #[error("node endpoint {endpoint}: {why}")]
    Endpoint {
        /// Scheme, host and port.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// No endpoint gave an answer that counts.
    #[error("no node answers: {}", .0.iter().map(|(endpoint, why)| format!("{endpoint}: {why}")).collect::<Vec<_>>().join("; "))]
    Unavailable(
        /// Each endpoint that was asked, and why it does not count.
        Vec<(String, String)>,
    ),
    /// No endpoint has this method.
    #[error("no node has {0}")]
    Unsupported(
        /// The methods that were wanted together.
        String,
    ),
    /// The node answered an error.
    #[error(transparent)]
    Rpc(#[from] RpcFailure),
    /// The node answered something of another shape.
    #[error("{method}: the node's answer cannot be read: {why}")]
    Malformed {
        /// What was called.
        method: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The caller's time was up.
    #[error("the deadline passed while waiting for a node")]
    Deadline,
}

impl NodeError {
    /// [`NodeError::Malformed`]: what was called, and what is wrong with the answer.
    pub fn malformed(method: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Malformed {
            method: method.into(),
            why: why.into(),
        }
    }
}

/// How an endpoint does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// Scheme, host and port.
    pub endpoint: String,
    /// False while it is set aside.
    pub usable: bool,
    /// Why it is or was set aside; `None` after a good answer.
    pub reason: Option<String>,
    /// Smoothed time of an answer.
    pub latency: Option<Duration>,
    /// Requests sent.
    pub requests: u64,
    /// Of these, without an answer that counts.
    pub failures: u64,
}

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRef {
    /// The newest one.
    Latest,
    /// The one that the node would make now.
    Pending,
    /// This one.
    Hash(B256),
    /// The one at this height of the node's chain.
    Number(u64),
}
