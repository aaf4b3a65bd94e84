//! A JSON-RPC proxy of the test's own: it delays, counts and spoils what goes through it.
//!
//! HTTP `POST` only. A batch is one request, as it is one round trip.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the proxy does to a request instead of passing it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Never answers.
    Hang,
    /// HTTP 503.
    Unavailable,
    /// A JSON-RPC error with this code and message.
    Error(i64, String),
    /// A method that the node says it does not have; others pass.
    Unsupported(Vec<String>),
    /// `eth_chainId` answers this; others pass.
    ChainId(u64),
    /// Bytes that are no JSON.
    Garbage,
    /// A well-formed answer of so many bytes.
    Flood(usize),
    /// This one to the next request; those after it pass.
    Once(Box<Fault>),
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<String>,
    client: reqwest::Client,
    delay: Mutex<Duration>,
    fault: Mutex<Option<Fault>>,
    round_trips: AtomicU64,
    calls: Mutex<BTreeMap<String, u64>>,
}

/// A running proxy; ended when dropped.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Stands before `upstream` (`http://..`) on a free port of the loopback; each request waits `delay` first.
    ///
    /// # Panics
    ///
    /// When the loopback has no free port.
    pub async fn before(upstream: &str, delay: Duration) -> Self {
        crate::choose_cryptography();
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap_or_else(|error| panic!("bind: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("address: {error}"));
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream.to_owned()),
            client: reqwest::Client::new(),
            delay: Mutex::new(delay),
            fault: Mutex::new(None),
            round_trips: AtomicU64::new(0),
            calls: Mutex::new(BTreeMap::new()),
        });
        let app = axum::Router::new()
            .route("/", post(pass))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("proxy: {error}");
            }
        });
        Self {
            url: format!("http://{address}"),
            shared,
            task,
        }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What is done to the requests from now on; `None` passes them.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *self.shared.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// How long a request waits from now on.
    pub fn set_delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap_or_else(PoisonError::into_inner) = delay;
    }

    /// Where requests go from now on: a node that was restarted at another port.
    pub fn set_upstream(&self, upstream: &str) {
        upstream.clone_into(&mut self.shared.upstream.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Requests so far; a batch counts once.
    pub fn round_trips(&self) -> u64 {
        self.shared.round_trips.load(Ordering::SeqCst)
    }

    /// Calls so far by method; each call of a batch counts.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    shared.round_trips.fetch_add(1, Ordering::SeqCst);
    let request: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let calls = request.as_array().cloned().unwrap_or_else(|| vec![request.clone()]);
    {
        let mut counts = shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
        for call in &calls {
            *counts.entry(method(call).to_owned()).or_default() += 1;
        }
    }
    let delay = *shared.delay.lock().unwrap_or_else(PoisonError::into_inner);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let fault = {
        let mut fault = shared.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.clone() {
            Some(Fault::Once(once)) => {
                *fault = None;
                Some(*once)
            }
            lasting => lasting,
        }
    };
    match fault {
        None | Some(Fault::Once(_)) => forward(&shared, body).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Unavailable) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Fault::Garbage) => json_response(b"<html>not a node</html>".to_vec()),
        Some(Fault::Flood(size)) => json_response(format!("\"{}\"", "f".repeat(size)).into_bytes()),
        Some(Fault::Error(code, message)) => spoil(&request, &calls, |_| Some(error(code, &message))),
        Some(Fault::ChainId(id)) => {
            let lie = json!({ "result": format!("{id:#x}") });
            spoil_some(&shared, &request, body, |name| {
                (name == "eth_chainId").then(|| lie.clone())
            })
            .await
        }
        Some(Fault::Unsupported(methods)) => {
            spoil_some(&shared, &request, body, |name| {
                let missing = methods.iter().any(|method| method == name);
                missing.then(|| error(-32601, &format!("the method {name} does not exist")))
            })
            .await
        }
    }
}

fn method(call: &Value) -> &str {
    call.get("method").and_then(Value::as_str).unwrap_or("")
}

fn error(code: i64, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message } })
}

/// The same answer to each call, in the request's own shape.
fn spoil(request: &Value, calls: &[Value], answer: impl Fn(&str) -> Option<Value>) -> Response {
    let answers: Vec<Value> = calls
        .iter()
        .filter_map(|call| {
            let mut answer = answer(method(call))?;
            let object = answer.as_object_mut()?;
            object.insert("jsonrpc".to_owned(), json!("2.0"));
            object.insert("id".to_owned(), call.get("id").cloned().unwrap_or(Value::Null));
            Some(answer)
        })
        .collect();
    let body = if request.is_array() {
        Value::Array(answers)
    } else {
        answers.into_iter().next().unwrap_or(Value::Null)
    };
    json_response(body.to_string().into_bytes())
}

async fn forward(shared: &Shared, body: Bytes) -> Response {
    match fetch(shared, body).await {
        Ok(bytes) => json_response(bytes.to_vec()),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// Passes the request and puts another answer in place of the node's where there is one for the method.
async fn spoil_some(shared: &Shared, request: &Value, body: Bytes, answer: impl Fn(&str) -> Option<Value>) -> Response {
    let mut answers: Value = match fetch(shared, body).await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        Err(error) => return (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    };
    let asked = request
        .as_array()
        .map_or_else(|| std::slice::from_ref(request), Vec::as_slice);
    let given = match &mut answers {
        Value::Array(all) => all.as_mut_slice(),
        one => std::slice::from_mut(one),
    };
    for one in given {
        let call = asked.iter().find(|call| call.get("id") == one.get("id"));
        if let Some(mut other) = call.and_then(|call| answer(method(call)))
            && let Some(object) = other.as_object_mut()
        {
            object.insert("jsonrpc".to_owned(), json!("2.0"));
            object.insert("id".to_owned(), one.get("id").cloned().unwrap_or(Value::Null));
            *one = other;
        }
    }
    json_response(answers.to_string().into_bytes())
}

async fn fetch(shared: &Shared, body: Bytes) -> Result<Bytes, reqwest::Error> {
    let upstream = shared.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let sent = shared
        .client
        .post(upstream)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .send();
    sent.await?.bytes().await
}

fn json_response(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
