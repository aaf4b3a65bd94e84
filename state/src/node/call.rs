//! A JSON-RPC call and what came of it.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::{Value, value::RawValue};

use super::NodeError;

/// One JSON-RPC call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `eth_..`
    pub method: Cow<'static, str>,
    /// An array.
    pub params: Value,
}

impl Call {
    /// A call with these parameters, an array.
    #[must_use]
    pub const fn new(method: &'static str, params: Value) -> Self {
        Self {
            method: Cow::Borrowed(method),
            params,
        }
    }
}

/// An error that the node answered a call with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{method}: error {code}: {message}")]
pub struct RpcFailure {
    /// What was called.
    pub method: String,
    /// JSON-RPC error code.
    pub code: i64,
    /// What the node says, cut to a readable length.
    pub message: String,
}

/// Most characters of a node's message that are kept.
const MESSAGE: usize = 300;

impl RpcFailure {
    pub(crate) fn new(method: &str, code: i64, message: &str) -> Self {
        Self {
            method: method.to_owned(),
            code,
            message: message.chars().take(MESSAGE).collect(),
        }
    }

    /// True when the node does not have this method at all.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        let message = self.message.to_lowercase();
        self.code == -32601
            || self.code == -32004
            || [
                "method not found",
                "does not exist/is not available",
                "not supported",
                "unsupported method",
                "not whitelisted",
            ]
            .iter()
            .any(|known| message.contains(known))
    }
}

/// What a call gave: a result, or the node's error.
pub type Answer = Result<Box<RawValue>, RpcFailure>;

/// Reads a result as this type; `null` is one of its values or an error.
///
/// # Errors
/// When the node answered an error or something of another shape.
pub fn read<T: DeserializeOwned>(method: &str, answer: &Answer) -> Result<T, NodeError> {
    let raw = answer.as_ref().map_err(|failure| NodeError::Rpc(failure.clone()))?;
    serde_json::from_str(raw.get()).map_err(|error| NodeError::malformed(method, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_that_is_not_there_is_told_from_one_that_failed() {
        let failed = |code, message: &str| RpcFailure::new("debug_traceCall", code, message).is_unsupported();
        assert!(failed(-32601, "Method not found"));
        assert!(failed(
            -32601,
            "the method debug_traceCall does not exist/is not available"
        ));
        assert!(failed(-32000, "debug_traceCall is not whitelisted"));
        assert!(!failed(-32000, "header not found"));
        assert!(!failed(3, "execution reverted"));
        assert!(!failed(-32001, "Resource not found"));
    }

    #[test]
    fn a_long_message_is_cut() {
        assert_eq!(RpcFailure::new("m", 1, &"x".repeat(10_000)).message.len(), MESSAGE);
    }
}
