//! JSON-RPC to one node, over HTTP or a WebSocket, so that a bad node costs no more than itself.
//!
//! What always holds: every request has a deadline, every answer a greatest length, and what a node sends unasked is either taken
//! up, held back on the socket, or ends the connection: memory stays bounded whatever it does. Errors never show the path, query or
//! password of an address.

mod http;
mod ws;

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use url::Url;

/// How long a node may take and how much it may say.
#[derive(Debug, Clone, Copy)]
pub struct RpcLimits {
    /// For one request, from sending to the whole answer.
    pub timeout: Duration,
    /// Bytes of one answer or message.
    pub message: usize,
}

/// Why a node gave no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// It cannot be reached, or the connection broke.
    #[error("cannot be reached: {0}")]
    Transport(String),
    /// No answer in time.
    #[error("{method}: no answer within {}", humantime::format_duration(*.timeout))]
    Timeout {
        /// What was asked.
        method: String,
        /// How long it had.
        timeout: Duration,
    },
    /// It says more than is taken from a node.
    #[error("floods: more than {limit} bytes in {what}")]
    Flood {
        /// In what.
        what: &'static str,
        /// How much is taken.
        limit: usize,
    },
    /// Not JSON-RPC, or not what the method gives.
    #[error("{method}: malformed answer: {reason}")]
    Malformed {
        /// What was asked.
        method: String,
        /// What is wrong.
        reason: String,
    },
    /// The node answers with an error.
    #[error("{method}: error {code}: {message}")]
    Refused {
        /// What was asked.
        method: String,
        /// JSON-RPC's.
        code: i64,
        /// The node's own words, cut.
        message: String,
    },
    /// HTTP, but not 200.
    #[error("HTTP status {0}")]
    Status(u16),
}

impl RpcError {
    /// The node understood, and says that it cannot: it has no such method or subscription. Anything else may pass.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// Something that a node says unasked: which subscription, and what.
pub type Note = (String, Box<RawValue>);

/// A connection to one node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    transport: Transport,
    timeout: Duration,
}

#[derive(Debug, Clone)]
enum Transport {
    Http(http::Http),
    Ws(ws::Ws),
}

/// One call of a batch.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// Its parameters, an array.
    pub params: Value,
}

impl Client {
    /// Connects. Over a WebSocket, what the node says unasked comes out of the second value; over HTTP there is none.
    ///
    /// # Errors
    /// [`RpcError::Transport`] or [`RpcError::Timeout`]. HTTP is connected by the first request.
    pub async fn connect(url: &Url, limits: RpcLimits) -> Result<(Self, Option<mpsc::Receiver<Note>>), RpcError> {
        // The libraries below leave the choice of cryptography to the program; whoever chose before has chosen well.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let (transport, notes) = if matches!(url.scheme(), "ws" | "wss") {
            let (ws, notes) = within("connect", limits.timeout, Box::pin(ws::Ws::connect(url, limits))).await?;
            (Transport::Ws(ws), Some(notes))
        } else {
            (Transport::Http(http::Http::new(url, limits)?), None)
        };
        let client = Self {
            transport,
            timeout: limits.timeout,
        };
        Ok((client, notes))
    }

    /// One call.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn call<T: DeserializeOwned>(&self, method: &'static str, params: Value) -> Result<T, RpcError> {
        let mut results = self.batch(vec![Call { method, params }]).await?;
        let result = results.pop().unwrap_or_else(|| Err(malformed(method, "no result")))?;
        parse(method, &result)
    }

    /// Several calls in one round trip; results in the order of the calls.
    ///
    /// # Errors
    /// When nothing came back at all; what a node refuses is an error of that one.
    pub async fn batch(&self, calls: Vec<Call>) -> Result<Vec<Result<Box<RawValue>, RpcError>>, RpcError> {
        let Some(first) = calls.first() else {
            return Ok(Vec::new());
        };
        let method = first.method;
        match &self.transport {
            Transport::Http(http) => within(method, self.timeout, http.batch(calls)).await,
            Transport::Ws(ws) => within(method, self.timeout, ws.batch(calls)).await,
        }
    }
}

/// What a result means.
///
/// # Errors
/// [`RpcError::Malformed`].
pub fn parse<T: DeserializeOwned>(method: &str, result: &RawValue) -> Result<T, RpcError> {
    serde_json::from_str(result.get()).map_err(|error| malformed(method, error))
}

async fn within<T>(
    method: &'static str,
    timeout: Duration,
    asked: impl Future<Output = Result<T, RpcError>>,
) -> Result<T, RpcError> {
    tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_| {
        Err(RpcError::Timeout {
            method: method.to_owned(),
            timeout,
        })
    })
}

fn malformed(method: &str, reason: impl std::fmt::Display) -> RpcError {
    RpcError::Malformed {
        method: method.to_owned(),
        reason: cut(&reason.to_string()),
    }
}

/// The node's words, no longer than a line.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn request(id: u64, call: &Call) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": call.method, "params": call.params})
}

/// Anything that a node sends.
#[derive(Debug, serde::Deserialize)]
struct Message {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<ErrorObject>,
    #[serde(default)]
    params: Option<NoteParams>,
}

#[derive(Debug, serde::Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
}

#[derive(Debug, serde::Deserialize)]
struct NoteParams {
    subscription: Value,
    result: Box<RawValue>,
}

/// The name of a subscription: text with most nodes, a number with some.
pub(super) fn subscription_name(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What an answer to `method` says. A result that is absent is `null`: serde takes both for none.
fn outcome(method: &'static str, message: Message) -> Result<Box<RawValue>, RpcError> {
    match (message.error, message.result) {
        (Some(error), _) => Err(RpcError::Refused {
            method: method.to_owned(),
            code: error.code,
            message: cut(&error.message),
        }),
        (None, Some(result)) => Ok(result),
        (None, None) => serde_json::value::to_raw_value(&Value::Null).map_err(|error| malformed(method, error)),
    }
}
