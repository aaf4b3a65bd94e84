//! One connection to an endpoint: HTTP with a bounded answer, or a WebSocket that is opened when it is needed.

use std::{sync::Once, time::Duration};

use alloy::{
    rpc::{
        client::{ClientBuilder, RpcClient},
        json_rpc::{Id, Request, RequestPacket, Response, ResponsePacket, ResponsePayload, RpcError},
    },
    transports::ws::{WebSocketConfig, WsConnect},
};
use reqwest::{StatusCode, header::CONTENT_TYPE};
use serde_json::value::RawValue;
use url::Url;

use super::call::{Answer, Call, RpcFailure};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// For people.
    pub(super) why: String,
    /// It could not be reached, or was too busy: soon it may answer.
    pub(super) is_passing: bool,
}

impl Fault {
    fn passing(why: impl Into<String>) -> Self {
        let why = why.into();
        Self { why, is_passing: true }
    }
}

/// What does not pass by itself.
impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self { why, is_passing: false }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Link {
    Http {
        client: reqwest::Client,
        url: Url,
    },
    Ws {
        url: Url,
        client: tokio::sync::Mutex<Option<RpcClient>>,
    },
}

impl Link {
    /// A link to this endpoint, not yet connected; `Err`: it cannot be one.
    pub(super) fn new(url: &Url, connect_timeout: Duration) -> Result<Self, String> {
        install_crypto();
        match url.scheme() {
            "http" | "https" => {
                let client = reqwest::Client::builder()
                    .connect_timeout(connect_timeout)
                    .tcp_nodelay(true)
                    .build()
                    .map_err(|error| error.to_string())?;
                Ok(Self::Http {
                    client,
                    url: url.clone(),
                })
            }
            "ws" | "wss" => Ok(Self::Ws {
                url: url.clone(),
                client: tokio::sync::Mutex::new(None),
            }),
            other => Err(format!("scheme {other}: use http, https, ws or wss")),
        }
    }

    /// Sends the calls as one batch; gives an answer to each, in their order. `Err` says why there are none.
    pub(super) async fn send(&self, calls: &[&Call], most_bytes: usize) -> Result<Vec<Answer>, Fault> {
        match self {
            Self::Http { client, url } => http(client, url, calls, most_bytes).await,
            Self::Ws { url, client } => {
                let open = {
                    let mut client = client.lock().await;
                    match client.as_ref() {
                        Some(open) => open.clone(),
                        None => {
                            let open = connect(url, most_bytes).await?;
                            client.insert(open).clone()
                        }
                    }
                };
                let answers = websocket(&open, calls).await;
                if answers.is_err() {
                    // Opened anew by the next request.
                    *client.lock().await = None;
                }
                answers
            }
        }
    }

    /// Forgets the connection: whoever waits for an answer waits in vain.
    pub(super) fn drop_connection(&self) {
        if let Self::Ws { client, .. } = self
            && let Ok(mut client) = client.try_lock()
        {
            *client = None;
        }
    }
}

/// reqwest and tungstenite are built without a choice of cryptography: it is the process's.
fn install_crypto() {
    static ONCE: Once = Once::new();
    // Somebody else's choice is as good.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// What went wrong, without the address: it may hold a key.
fn without_url(error: reqwest::Error) -> Fault {
    let is_passing = !error.is_timeout() && !error.is_builder();
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    Fault { why: text, is_passing }
}

async fn http(client: &reqwest::Client, url: &Url, calls: &[&Call], most_bytes: usize) -> Result<Vec<Answer>, Fault> {
    let body = packet(calls)?;
    let mut response = client
        .post(url.clone())
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .send()
        .await
        .map_err(without_url)?;
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(without_url)? {
        if bytes.len() + chunk.len() > most_bytes {
            return Err(format!("an answer of more than {most_bytes} bytes").into());
        }
        bytes.extend_from_slice(&chunk);
    }
    // Some nodes send JSON-RPC errors with an HTTP error.
    match serde_json::from_slice::<ResponsePacket>(&bytes) {
        Ok(packet) => Ok(in_order(packet, calls)?),
        Err(_) if !status.is_success() => Err(Fault {
            why: format!("HTTP {}", status.as_u16()),
            is_passing: status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
        }),
        Err(error) => Err(format!("an answer that is no JSON-RPC: {error}").into()),
    }
}

fn packet(calls: &[&Call]) -> Result<Vec<u8>, String> {
    let requests: Result<Vec<_>, _> = calls
        .iter()
        .zip(0_u64..)
        .map(|(call, id)| Request::new(call.method.clone(), Id::Number(id), &call.params).serialize())
        .collect();
    let mut requests = requests.map_err(|error| error.to_string())?;
    let packet = match (requests.pop(), requests.is_empty()) {
        (Some(only), true) => RequestPacket::Single(only),
        (Some(last), false) => {
            requests.push(last);
            RequestPacket::Batch(requests)
        }
        (None, _) => RequestPacket::Batch(requests),
    };
    serde_json::to_vec(&packet).map_err(|error| error.to_string())
}

/// Nodes may answer a batch in any order.
fn in_order(packet: ResponsePacket, calls: &[&Call]) -> Result<Vec<Answer>, String> {
    let responses = match packet {
        ResponsePacket::Single(one) => vec![one],
        ResponsePacket::Batch(all) => all,
    };
    if let (
        [
            Response {
                payload: ResponsePayload::Failure(error),
                ..
            },
        ],
        true,
    ) = (responses.as_slice(), calls.len() > 1)
    {
        return Err(format!("it refuses the batch: error {}: {}", error.code, error.message));
    }
    let mut answers: Vec<Option<Answer>> = calls.iter().map(|_| None).collect();
    for response in responses {
        let Id::Number(id) = response.id else {
            return Err("an answer to nothing that was asked".to_owned());
        };
        let place = usize::try_from(id).ok();
        let (Some(call), Some(answer)) = (
            place.and_then(|place| calls.get(place)),
            place.and_then(|place| answers.get_mut(place)),
        ) else {
            return Err("an answer to nothing that was asked".to_owned());
        };
        *answer = Some(match response.payload {
            ResponsePayload::Success(raw) => Ok(raw),
            ResponsePayload::Failure(error) => Err(RpcFailure::new(&call.method, error.code, &error.message)),
        });
    }
    answers
        .into_iter()
        .zip(calls)
        .map(|(answer, call)| answer.ok_or_else(|| format!("no answer to {}", call.method)))
        .collect()
}

async fn connect(url: &Url, most_bytes: usize) -> Result<RpcClient, Fault> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(most_bytes))
        .max_frame_size(Some(most_bytes));
    // Whoever asks next opens it anew; the connection itself need not try for long.
    let connect = WsConnect::new(url.as_str())
        .with_config(config)
        .with_max_retries(1)
        .with_retry_interval(Duration::from_millis(100));
    ClientBuilder::default()
        .ws(connect)
        .await
        .map_err(|error| Fault::passing(hide(url, &error.to_string())))
}

/// An error's text without the address, which may hold a key.
fn hide(url: &Url, text: &str) -> String {
    text.replace(url.as_str(), "the endpoint")
}

async fn websocket(client: &RpcClient, calls: &[&Call]) -> Result<Vec<Answer>, Fault> {
    let mut batch = client.new_batch();
    let mut waiting = Vec::with_capacity(calls.len());
    for call in calls {
        let waiter = batch
            .add_call::<_, Box<RawValue>>(call.method.clone(), &call.params)
            .map_err(|error| error.to_string())?;
        waiting.push(waiter);
    }
    batch.send().await.map_err(|error| Fault::passing(error.to_string()))?;
    let mut answers = Vec::with_capacity(calls.len());
    for (waiter, call) in waiting.into_iter().zip(calls) {
        answers.push(match waiter.await {
            Ok(raw) => Ok(raw),
            Err(RpcError::ErrorResp(error)) => Err(RpcFailure::new(&call.method, error.code, &error.message)),
            Err(error) => return Err(Fault::passing(error.to_string())),
        });
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answers(packet: serde_json::Value, count: usize) -> Result<Vec<Answer>, String> {
        let call = Call::new("eth_x", json!([]));
        in_order(serde_json::from_value(packet).unwrap(), &vec![&call; count])
    }

    #[test]
    fn answers_are_put_in_the_order_of_the_questions() {
        let packet = json!([
            {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no"}},
            {"jsonrpc": "2.0", "id": 0, "result": "0x1"},
        ]);
        let answers = answers(packet, 2).unwrap();
        assert_eq!(answers[0].as_ref().unwrap().get(), "\"0x1\"");
        assert!(answers[1].as_ref().unwrap_err().is_unsupported());
    }

    #[test]
    fn a_missing_foreign_or_refused_answer_is_a_fault() {
        let one = json!({"jsonrpc": "2.0", "id": 0, "result": null});
        assert!(answers(json!([one]), 2).unwrap_err().contains("no answer to eth_x"));
        let foreign = json!({"jsonrpc": "2.0", "id": 7, "result": null});
        assert!(answers(json!([foreign]), 1).is_err());
        let refused = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "batch limit"}});
        assert!(answers(refused, 2).unwrap_err().contains("batch limit"));
    }

    #[test]
    fn one_call_is_no_batch() {
        let call = Call::new("eth_chainId", json!([]));
        let text = String::from_utf8(packet(&[&call]).unwrap()).unwrap();
        assert!(text.starts_with('{'), "{text}");
        assert!(
            String::from_utf8(packet(&[&call, &call]).unwrap())
                .unwrap()
                .starts_with('[')
        );
    }
}
