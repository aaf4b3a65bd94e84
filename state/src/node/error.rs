//! Why there is no answer.

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
