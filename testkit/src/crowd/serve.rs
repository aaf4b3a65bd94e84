//! The chain on a socket: HTTP and WebSocket on one port, and the clock that shows transactions and makes blocks.
//!
//! Traffic waits until it is let go, so that whoever counts is there from the first transaction on; when it is stopped, blocks go on
//! until nothing waits.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::chain::{Chain, ChainError, Sums};
use super::rpc::{Refusal, answer};

/// News that wait for a subscriber; when there are more, it is cut off.
const NEWS: usize = 1 << 15;
/// Transactions that are shown at once at most, after the clock was held up.
const AT_ONCE: u64 = 200;
/// How often the clock looks.
const TICK: Duration = Duration::from_millis(4);
/// How long a transaction waits at least before a block takes it.
const RIPE: Duration = Duration::from_millis(500);

/// What a subscriber is told.
#[derive(Debug, Clone)]
enum News {
    Pending { hash: Arc<str>, body: Arc<str> },
    Head(Arc<str>),
}

#[derive(Debug)]
struct Shared {
    chain: Mutex<Chain>,
    news: broadcast::Sender<News>,
    subscribers: AtomicU64,
    cut_off: AtomicU64,
    /// Transactions a second; 0: none.
    rate: AtomicU64,
    ended: AtomicBool,
}

impl Shared {
    fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node that serves; its clock ends when it is dropped, its sockets with the runtime.
#[derive(Debug)]
pub struct Crowd {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Crowd {
    /// Serves a chain of so many people on a free port of the loopback, with a block every `block_time`. Nobody sends anything yet.
    ///
    /// # Errors
    /// No free port, no thread.
    pub async fn start(chain: Chain, block_time: Duration) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            chain: Mutex::new(chain),
            news: broadcast::Sender::new(NEWS),
            subscribers: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let app = axum::Router::new()
            .route("/", axum::routing::get(upgrade).post(post))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("crowd: {error}");
            }
        });
        let clock = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("crowd-clock".to_owned())
            .spawn(move || {
                if let Err(error) = run(&clock, block_time) {
                    eprintln!("crowd: {error}");
                }
            })?;
        Ok(Self { address, shared })
    }

    /// `ws://127.0.0.1:PORT`.
    #[must_use]
    pub fn ws(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on so many transactions a second; 0 stops them.
    pub fn set_rate(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::Relaxed);
    }

    /// Subscriptions to pending transactions that are open.
    #[must_use]
    pub fn subscribers(&self) -> u64 {
        self.shared.subscribers.load(Ordering::Relaxed)
    }

    /// Subscribers that were cut off because they read too slowly.
    #[must_use]
    pub fn cut_off(&self) -> u64 {
        self.shared.cut_off.load(Ordering::Relaxed)
    }

    /// What was shown so far.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.shared.chain().sums()
    }
}

/// Microseconds since the Unix epoch: what transactions are dated with.
#[must_use]
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Shows transactions at the rate and makes blocks. A second of real time in which it is held up is made up for.
fn run(shared: &Shared, block_time: Duration) -> Result<(), ChainError> {
    let (mut rate, mut since, mut shown) = (0, Instant::now(), 0_u64);
    let mut next_block = Instant::now() + block_time;
    while !shared.ended.load(Ordering::Relaxed) {
        let wanted = shared.rate.load(Ordering::Relaxed);
        if wanted != rate {
            (rate, since, shown) = (wanted, Instant::now(), 0);
        }
        let due = (since.elapsed().as_secs_f64() * rate as f64) as u64;
        for _ in 0..due.saturating_sub(shown).min(AT_ONCE) {
            let tx = shared.chain().show(now_us())?;
            shown += 1;
            let hash = format!("\"{:?}\"", tx.hash).into();
            let body = Arc::clone(&tx.body);
            // Nobody may be listening.
            let _heard = shared.news.send(News::Pending { hash, body });
        }
        if Instant::now() >= next_block {
            next_block += block_time;
            let ripe = now_us().saturating_sub(u64::try_from(RIPE.as_micros()).unwrap_or(0));
            let made = shared.chain().make(ripe)?;
            let _heard = shared.news.send(News::Head(Arc::clone(&made.header)));
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

async fn post(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let text = respond(&shared, &body, &mut None);
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn upgrade(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.max_message_size(16 << 20).on_upgrade(async move |socket| {
        let mut wants = Some(Wants::default());
        talk(&shared, socket, &mut wants).await;
        if wants.is_some_and(|wants| wants.pending.is_some()) {
            shared.subscribers.fetch_sub(1, Ordering::Relaxed);
        }
    })
}

/// What a WebSocket has subscribed to.
#[derive(Debug, Default)]
struct Wants {
    /// With bodies.
    pending: Option<bool>,
    heads: bool,
}

async fn talk(shared: &Shared, mut socket: WebSocket, wants: &mut Option<Wants>) {
    let mut news = shared.news.subscribe();
    loop {
        let text = tokio::select! {
            asked = socket.recv() => match asked {
                Some(Ok(Message::Text(text))) => respond(shared, &text, wants),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
            told = news.recv() => match (told, wants.as_ref()) {
                (Ok(News::Pending { hash, body }), Some(Wants { pending: Some(bodies), .. })) => {
                    note("0x1", if *bodies { &body } else { &hash })
                }
                (Ok(News::Head(header)), Some(Wants { heads: true, .. })) => note("0x2", &header),
                (Ok(_), _) => continue,
                (Err(broadcast::error::RecvError::Lagged(_)), Some(Wants { pending: None, heads: false })) => continue,
                (Err(_), _) => {
                    shared.cut_off.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            },
        };
        if socket.send(Message::Text(text.into())).await.is_err() {
            return;
        }
    }
}

fn note(subscription: &str, result: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"eth_subscription\",\"params\":{{\"subscription\":\"{subscription}\",\"result\":{result}}}}}"
    )
}

/// One request or a batch; `wants` where there is something to subscribe to.
fn respond(shared: &Shared, text: &str, wants: &mut Option<Wants>) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(calls)) => {
            let answers: Vec<String> = calls.iter().map(|call| respond_one(shared, call, wants)).collect();
            format!("[{}]", answers.join(","))
        }
        Ok(call) => respond_one(shared, &call, wants),
        Err(_) => refuse(&Value::Null, &Refusal(-32_700, "parse error".to_owned())),
    }
}

fn respond_one(shared: &Shared, call: &Value, wants: &mut Option<Wants>) -> String {
    let id = call.get("id").unwrap_or(&Value::Null);
    let method = call.get("method").and_then(Value::as_str).unwrap_or_default();
    let params = call.get("params").unwrap_or(&Value::Null);
    let answered = match (method, wants) {
        ("eth_subscribe", Some(wants)) => subscribe(shared, params, wants),
        _ => answer(&shared.chain(), method, params),
    };
    match answered {
        Ok(result) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}"),
        Err(refusal) => refuse(id, &refusal),
    }
}

fn subscribe(shared: &Shared, params: &Value, wants: &mut Wants) -> Result<String, Refusal> {
    match params.get(0).and_then(Value::as_str) {
        Some("newPendingTransactions") => {
            if wants.pending.is_none() {
                shared.subscribers.fetch_add(1, Ordering::Relaxed);
            }
            wants.pending = Some(params.get(1).and_then(Value::as_bool).unwrap_or(false));
            Ok("\"0x1\"".to_owned())
        }
        Some("newHeads") => {
            wants.heads = true;
            Ok("\"0x2\"".to_owned())
        }
        _ => Err(Refusal(-32_602, "no such subscription".to_owned())),
    }
}

fn refuse(id: &Value, Refusal(code, message): &Refusal) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}).to_string()
}
