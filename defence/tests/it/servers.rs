//! Telegram's Bot API, Slack's and Discord's webhooks, Discord's API and a signed webhook, as far as an alert meets them.
//!
//! Each says what the real one says, in its form. What it does with the next request is a script: [`Fate`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) const TELEGRAM_TOKEN: &str = "123456:AbC-dEf_1";
pub(crate) const WEBHOOK_SECRET: &str = "0123456789abcdef-secret";
const DISCORD_TOKEN: &str = "d1sc0rd-s3cret";

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Take,
    /// 429 with seven seconds to wait.
    Busy,
    /// 500.
    Break,
    /// Read, and never answered; not taken.
    Ignore,
    /// Taken, and never answered.
    TakeInSilence,
}

/// An alert as its receiver has it.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) text: String,
    /// By which the receiver knows an alert that it has already, where its protocol has that.
    pub(crate) identity: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Desk {
    fates: Mutex<VecDeque<Fate>>,
    requests: watch::Sender<usize>,
    arrived: Mutex<Vec<Arrived>>,
    pub(crate) faults: Mutex<Vec<String>>,
    messages: Mutex<HashMap<String, u64>>,
}

impl Desk {
    pub(crate) fn script(&self, fates: &[Fate]) {
        self.fates.lock().unwrap().extend(fates);
    }

    pub(crate) fn next(&self) -> Fate {
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Take);
        self.requests.send_modify(|requests| *requests += 1);
        fate
    }

    pub(crate) fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn until(&self, requests: usize) {
        let mut seen = self.requests.subscribe();
        let enough = seen.wait_for(|seen| *seen >= requests);
        tokio::time::timeout(Duration::from_secs(30), enough)
            .await
            .expect("the request came")
            .unwrap();
    }

    pub(crate) fn arrive(&self, text: &str, identity: Option<String>) {
        self.arrived.lock().unwrap().push(Arrived {
            text: text.to_owned(),
            identity,
        });
    }

    /// What the receiver shows its reader: what came twice under one identity is there once.
    pub(crate) fn shown(&self) -> Vec<Arrived> {
        let mut shown: Vec<Arrived> = Vec::new();
        for alert in self.arrived.lock().unwrap().iter() {
            if alert.identity.is_none() || !shown.iter().any(|known| known.identity == alert.identity) {
                shown.push(alert.clone());
            }
        }
        shown
    }

    pub(crate) fn fault(&self, what: impl Into<String>) {
        self.faults.lock().unwrap().push(what.into());
    }

    #[track_caller]
    pub(crate) fn assert_correct(&self) {
        assert_eq!(*self.faults.lock().unwrap(), Vec::<String>::new());
    }

    /// The id of a message: of a known nonce the one that it had.
    fn message(&self, nonce: Option<&str>) -> (u64, bool) {
        let mut messages = self.messages.lock().unwrap();
        let fresh = messages.len() as u64 + 1_000;
        match nonce {
            Some(nonce) => {
                let known = messages.get(nonce).copied();
                (*messages.entry(nonce.to_owned()).or_insert(fresh), known.is_none())
            }
            None => {
                messages.insert(format!("unnamed-{fresh}"), fresh);
                (fresh, true)
            }
        }
    }
}

/// Serves all of them on a free port of this machine; gives it.
pub(crate) async fn serve(desk: Arc<Desk>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    serve_on(listener, desk);
    port
}

pub(crate) fn serve_on(listener: TcpListener, desk: Arc<Desk>) {
    let router = Router::new()
        .route("/{bot}/sendMessage", post(telegram))
        .route("/services/T1/B1/s3cret", post(slack))
        .route("/api/webhooks/77/d1sc0rd-s3cret", post(discord))
        .route("/api/v10/channels/{channel}/messages", post(discord_bot))
        .route("/hook", post(webhook))
        .with_state(desk);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
}

async fn forever() -> Response {
    std::future::pending().await
}

fn fields(desk: &Desk, body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| {
        desk.fault(format!("no JSON: {error}"));
        Value::Null
    })
}

fn key(headers: &HeaderMap) -> Option<String> {
    headers
        .get("x-idempotency-key")
        .map(|key| key.to_str().unwrap().to_owned())
}

async fn telegram(State(desk): State<Arc<Desk>>, Path(bot): Path<String>, body: Bytes) -> Response {
    let message = fields(&desk, &body);
    let answer = |status: u16, body: Value| (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response();
    let error = |code: u16, description: &str| {
        answer(
            code,
            json!({"ok": false, "error_code": code, "description": description}),
        )
    };
    if bot != format!("bot{TELEGRAM_TOKEN}") {
        // The real one does not, but a proxy may quote what it was asked for.
        return error(401, &format!("Unauthorized: {bot}"));
    }
    if message["chat_id"] != "-1007" {
        return error(400, "Bad Request: chat not found");
    }
    let text = message["text"].as_str().unwrap_or_default().to_owned();
    if text.is_empty() || text.encode_utf16().count() > 4_096 {
        desk.fault("text is empty or too long");
    }
    if message["parse_mode"] == "MarkdownV2" && !balanced(&text) {
        desk.next();
        return error(400, "Bad Request: can't parse entities: Can't find end of the entity");
    }
    let take = || desk.arrive(&text, None);
    match desk.next() {
        Fate::Take => {
            take();
            answer(200, json!({"ok": true, "result": {"message_id": desk.message(None).0}}))
        }
        Fate::Busy => answer(
            429,
            json!({"ok": false, "error_code": 429, "description": "Too Many Requests: retry after 7", "parameters": {"retry_after": 7}}),
        ),
        Fate::Break => error(500, "Internal Server Error"),
        Fate::Ignore => forever().await,
        Fate::TakeInSilence => {
            take();
            forever().await
        }
    }
}

/// Whether MarkdownV2 could be read: marks come in pairs, and no other reserved character stands bare.
fn balanced(text: &str) -> bool {
    let mut symbols = text.chars();
    let mut open: Vec<char> = Vec::new();
    while let Some(symbol) = symbols.next() {
        match symbol {
            '\\' => {
                symbols.next();
            }
            '*' | '_' | '`' | '~' => {
                if open.last() == Some(&symbol) {
                    open.pop();
                } else {
                    open.push(symbol);
                }
            }
            '[' | ']' | '(' | ')' | '>' | '#' | '+' | '-' | '=' | '|' | '{' | '}' | '.' | '!' => return false,
            _ => {}
        }
    }
    open.is_empty()
}

async fn slack(State(desk): State<Arc<Desk>>, body: Bytes) -> Response {
    let text = fields(&desk, &body)["text"].as_str().unwrap_or_default().to_owned();
    if text.is_empty() {
        return (StatusCode::BAD_REQUEST, "no_text").into_response();
    }
    match desk.next() {
        Fate::Take => {
            desk.arrive(&text, None);
            "ok".into_response()
        }
        Fate::Busy => (StatusCode::TOO_MANY_REQUESTS, [("Retry-After", "7")], "rate_limited").into_response(),
        Fate::Break => (StatusCode::INTERNAL_SERVER_ERROR, "rollup_error").into_response(),
        Fate::Ignore => forever().await,
        Fate::TakeInSilence => {
            desk.arrive(&text, None);
            forever().await
        }
    }
}

fn discord_limit() -> Response {
    (
        StatusCode::TOO_MANY_REQUESTS,
        [("Retry-After", "7")],
        axum::Json(json!({"message": "You are being rate limited.", "retry_after": 6.5, "global": false})),
    )
        .into_response()
}

async fn discord(State(desk): State<Arc<Desk>>, Query(query): Query<HashMap<String, String>>, body: Bytes) -> Response {
    let message = fields(&desk, &body);
    let text = message["content"].as_str().unwrap_or_default().to_owned();
    if message["allowed_mentions"]["parse"] != json!([]) || text.is_empty() || text.chars().count() > 2_000 {
        desk.fault("content or allowed_mentions");
    }
    match desk.next() {
        Fate::Take => {
            desk.arrive(&text, None);
            if query.get("wait").map(String::as_str) == Some("true") {
                axum::Json(json!({"id": desk.message(None).0.to_string(), "content": text})).into_response()
            } else {
                StatusCode::NO_CONTENT.into_response()
            }
        }
        Fate::Busy => discord_limit(),
        Fate::Break => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fate::Ignore => forever().await,
        Fate::TakeInSilence => {
            desk.arrive(&text, None);
            forever().await
        }
    }
}

async fn discord_bot(
    State(desk): State<Arc<Desk>>,
    Path(channel): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let message = fields(&desk, &body);
    let authorized = headers
        .get("authorization")
        .is_some_and(|value| *value == format!("Bot {DISCORD_TOKEN}"));
    if !authorized || channel != "77" {
        return (
            StatusCode::UNAUTHORIZED,
            axum::Json(json!({"message": "401: Unauthorized", "code": 0})),
        )
            .into_response();
    }
    let text = message["content"].as_str().unwrap_or_default().to_owned();
    let nonce = message["nonce"].as_str().filter(|nonce| nonce.len() <= 25);
    if nonce.is_none() || message["enforce_nonce"] != true {
        desk.fault("nonce");
    }
    let take = || {
        let (id, new) = desk.message(nonce);
        if new {
            desk.arrive(&text, None);
        }
        id
    };
    match desk.next() {
        Fate::Take => axum::Json(json!({"id": take().to_string()})).into_response(),
        Fate::Busy => discord_limit(),
        Fate::Break => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fate::Ignore => forever().await,
        Fate::TakeInSilence => {
            take();
            forever().await
        }
    }
}

async fn webhook(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let timestamp = header("x-portcullis-timestamp").parse().unwrap_or(0);
    // The test's clock is simulated: the receiver's is the sender's.
    let signature = header("x-portcullis-signature");
    let secret = WEBHOOK_SECRET.as_bytes();
    if let Err(error) = defence::signature::verify(secret, signature, timestamp, &body, timestamp, Duration::ZERO) {
        desk.fault(error.to_string());
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if timestamp < 1_700_000_000
        || UNIX_EPOCH + Duration::from_secs(timestamp) > SystemTime::now() + Duration::from_hours(24 * 9_999)
    {
        desk.fault("timestamp");
    }
    let text = String::from_utf8(body.to_vec()).unwrap();
    let identity = key(&headers);
    if identity.is_none() || fields(&desk, &body)["key"].as_str() != identity.as_deref() {
        desk.fault("the key of header and body differ");
    }
    match desk.next() {
        Fate::Take => {
            desk.arrive(&text, identity);
            StatusCode::ACCEPTED.into_response()
        }
        Fate::Busy => (StatusCode::TOO_MANY_REQUESTS, [("Retry-After", "7")]).into_response(),
        Fate::Break => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Fate::Ignore => forever().await,
        Fate::TakeInSilence => {
            desk.arrive(&text, identity);
            forever().await
        }
    }
}
