//! JSON-RPC over HTTP: one POST for a batch. Whoever asks sets the deadline.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::{Call, Message, RpcError, RpcLimits, malformed, outcome, request};

#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    url: Url,
    limit: usize,
}

impl Http {
    pub(super) fn new(url: &Url, limits: RpcLimits) -> Result<Self, RpcError> {
        let client = reqwest::Client::builder()
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| transport(&error))?;
        Ok(Self {
            client,
            url: url.clone(),
            limit: limits.message,
        })
    }

    pub(super) async fn batch(&self, calls: Vec<Call>) -> Result<Vec<Result<Box<RawValue>, RpcError>>, RpcError> {
        let method = calls.first().map_or("batch", |call| call.method);
        let mut requests: Vec<Value> = (0u64..).zip(&calls).map(|(id, call)| request(id, call)).collect();
        // A single call goes as itself: some nodes know no batches.
        let body = match (requests.pop(), requests.is_empty()) {
            (Some(only), true) => only,
            (last, _) => Value::Array(requests.into_iter().chain(last).collect()),
        };
        let bytes = self.post(&body).await?;
        let mut messages: Vec<Message> = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
            Some(b'[') => serde_json::from_slice(&bytes),
            _ => serde_json::from_slice(&bytes).map(|message| vec![message]),
        }
        .map_err(|error| malformed(method, error))?;
        // A node that refuses a whole batch answers with one error without an id.
        if let [
            Message {
                id: None,
                error: Some(_),
                ..
            },
        ] = messages.as_slice()
            && let Some(message) = messages.pop()
        {
            outcome(method, message)?;
        }
        let mut answers: HashMap<u64, Message> = messages
            .into_iter()
            .filter_map(|message| Some((message.id?, message)))
            .collect();
        let results = (0u64..).zip(&calls).map(|(id, call)| match answers.remove(&id) {
            Some(message) => outcome(call.method, message),
            None => Err(malformed(call.method, "no answer with this id")),
        });
        Ok(results.collect())
    }

    async fn post(&self, body: &Value) -> Result<Vec<u8>, RpcError> {
        let sent = self.client.post(self.url.clone()).json(body).send().await;
        let mut response = sent.map_err(|error| transport(&error))?;
        if !response.status().is_success() {
            return Err(RpcError::Status(response.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| transport(&error))? {
            if bytes.len() + chunk.len() > self.limit {
                return Err(RpcError::Flood {
                    what: "an answer",
                    limit: self.limit,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// The innermost cause, which shows no address.
fn transport(error: &reqwest::Error) -> RpcError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = if std::ptr::addr_eq(cause, error) {
        "the request failed".to_owned()
    } else {
        cause.to_string()
    };
    RpcError::Transport(super::cut(&text))
}
