//! A node of the stand-in's chain: JSON-RPC 2.0 over WebSocket with the methods of every Substrate node, and switches for what can go
//! wrong with one: connections cut, refused, silence, error answers, a cut right after an extrinsic was taken.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, watch};

use crate::world::{PATIENCE, Place, Refused, World};

/// What is said unasked about an extrinsic; counted among what was asked.
pub(crate) const NEWS: &str = "author_extrinsicUpdate";

/// Ends with the value.
pub(crate) struct Node {
    pub(crate) url: String,
    inner: Arc<Inner>,
    server: tokio::task::JoinHandle<()>,
}

struct Inner {
    world: Arc<World>,
    cuts: watch::Sender<u64>,
    refusing: AtomicBool,
    silent: AtomicBool,
    /// The next answers to a method.
    errors: Mutex<HashMap<String, VecDeque<Refused>>>,
    /// Connections are cut after this method, without an answer.
    cut_after: Mutex<Option<String>>,
    asked: watch::Sender<HashMap<String, usize>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.inner.cuts.send_modify(|cuts| *cuts += 1);
        self.server.abort();
    }
}

impl Node {
    pub(crate) async fn start(world: &Arc<World>) -> Self {
        let inner = Arc::new(Inner {
            world: Arc::clone(world),
            cuts: watch::Sender::new(0),
            refusing: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            errors: Mutex::default(),
            cut_after: Mutex::default(),
            asked: watch::Sender::default(),
        });
        let routes = Router::new().route("/", any(connect)).with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, inner, server }
    }

    /// Cuts every connection; with `refusing`, takes no other.
    pub(crate) fn cut(&self, refusing: bool) {
        self.inner.refusing.store(refusing, Ordering::SeqCst);
        self.inner.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Takes requests from now on, and answers none.
    pub(crate) fn fall_silent(&self) {
        self.inner.silent.store(true, Ordering::SeqCst);
    }

    /// The next request of `method` gets this error.
    pub(crate) fn refuse(&self, method: &str, error: Refused) {
        let mut errors = self.inner.errors.lock().unwrap();
        errors.entry(method.to_owned()).or_default().push_back(error);
    }

    /// Does what the next request of `method` asks, and cuts the connection instead of answering; no other is taken after that.
    pub(crate) fn cut_after(&self, method: &str) {
        *self.inner.cut_after.lock().unwrap() = Some(method.to_owned());
    }

    /// How often a method was asked for.
    pub(crate) fn asked(&self, method: &str) -> usize {
        self.inner.asked.borrow().get(method).copied().unwrap_or_default()
    }

    /// Waits until a method was asked for so often, a minute at the most.
    pub(crate) async fn until_asked(&self, method: &str, times: usize) {
        let mut asked = self.inner.asked.subscribe();
        let enough = |asked: &HashMap<String, usize>| asked.get(method).is_some_and(|count| *count >= times);
        let enough = tokio::time::timeout(PATIENCE, asked.wait_for(enough)).await;
        assert!(
            enough.is_ok(),
            "{method} was asked for {} times, not {times}",
            self.asked(method)
        );
    }
}

async fn connect(State(inner): State<Arc<Inner>>, upgrade: WebSocketUpgrade) -> Response {
    if inner.refusing.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    upgrade.on_upgrade(move |socket| serve(socket, inner))
}

async fn serve(mut socket: WebSocket, inner: Arc<Inner>) {
    let mut cuts = inner.cuts.subscribe();
    let (told, mut telling) = mpsc::unbounded_channel::<Json>();
    loop {
        tokio::select! {
            _cut = cuts.changed() => return,
            Some(news) = telling.recv() => {
                if socket.send(Message::text(news.to_string())).await.is_err() {
                    return;
                }
                inner.asked.send_modify(|asked| *asked.entry(NEWS.to_owned()).or_default() += 1);
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let request: Json = serde_json::from_str(&text).unwrap();
                    let method = request["method"].as_str().unwrap();
                    let answer = inner.answer(method, &request["params"], &told);
                    inner.asked.send_modify(|asked| *asked.entry(method.to_owned()).or_default() += 1);
                    if inner.cut_after.lock().unwrap().take_if(|last| last == method).is_some() {
                        inner.refusing.store(true, Ordering::SeqCst);
                        return;
                    }
                    if inner.silent.load(Ordering::SeqCst) {
                        continue;
                    }
                    let mut said = json!({"jsonrpc": "2.0", "id": request["id"]});
                    match answer {
                        Ok(result) => said["result"] = result,
                        Err((code, message, data)) => said["error"] = json!({"code": code, "message": message, "data": data}),
                    }
                    if socket.send(Message::text(said.to_string())).await.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}

fn hex_of(bytes: &[u8]) -> Json {
    json!(format!("0x{}", hex::encode(bytes)))
}

fn bytes_of(json: &Json) -> Vec<u8> {
    hex::decode(json.as_str().unwrap_or_default().trim_start_matches("0x")).unwrap()
}

impl Inner {
    fn answer(&self, method: &str, params: &Json, told: &mpsc::UnboundedSender<Json>) -> Result<Json, Refused> {
        let scripted = self
            .errors
            .lock()
            .unwrap()
            .get_mut(method)
            .and_then(VecDeque::pop_front);
        if let Some(error) = scripted {
            return Err(error);
        }
        let world = &self.world;
        let hash = |at: usize| match &params[at] {
            Json::Null => world.hash_of(None).unwrap(),
            hash => bytes_of(hash).try_into().unwrap(),
        };
        let header = |number: u64, parent: &[u8]| {
            let zero = hex_of(&[0; 32]);
            json!({"parentHash": hex_of(parent), "number": format!("{number:#x}"), "stateRoot": zero, "extrinsicsRoot": zero, "digest": {"logs": []}})
        };
        Ok(match method {
            "chain_getBlockHash" => {
                let hash = world.hash_of(params[0].as_u64());
                hash.map_or(Json::Null, |hash| hex_of(&hash))
            }
            "chain_getFinalizedHead" => hex_of(&world.finalized()),
            "chain_getHeader" => match world.body(&hash(0)) {
                Some((parent, _)) => header(world.number_of(&hash(0)).unwrap(), &parent),
                None => Json::Null,
            },
            "chain_getBlock" => match world.body(&hash(0)) {
                Some((parent, extrinsics)) => {
                    let extrinsics: Vec<Json> = extrinsics.iter().map(|bytes| hex_of(bytes)).collect();
                    let header = header(world.number_of(&hash(0)).unwrap(), &parent);
                    json!({"block": {"header": header, "extrinsics": extrinsics}, "justifications": null})
                }
                None => Json::Null,
            },
            "state_call" => hex_of(&world.call(params[0].as_str().unwrap(), &bytes_of(&params[1]))?),
            "state_getStorage" => {
                let value = world.read(&hash(1), &bytes_of(&params[0]));
                value.map_or(Json::Null, |value| hex_of(&value))
            }
            "state_getKeysPaged" => {
                let count = params[1].as_u64().unwrap() as usize;
                let keys = world.keys(&hash(3), &bytes_of(&params[0]), &bytes_of(&params[2]), count);
                Json::Array(keys.iter().map(|key| hex_of(key)).collect())
            }
            "state_queryStorageAt" => {
                let at = hash(1);
                let changes = params[0].as_array().unwrap().iter().map(|key| {
                    let value = world.read(&at, &bytes_of(key));
                    json!([key, value.map(|value| hex_of(&value))])
                });
                json!([{"block": hex_of(&at), "changes": changes.collect::<Vec<_>>()}])
            }
            "author_submitAndWatchExtrinsic" => {
                let extrinsic = bytes_of(&params[0]);
                world.submit(&extrinsic)?;
                let subscription = format!("{:016x}", rand::random::<u64>());
                tokio::spawn(tell(Arc::clone(world), extrinsic, subscription.clone(), told.clone()));
                json!(subscription)
            }
            "author_unwatchExtrinsic" => json!(true),
            other => return Err((-32601, "Method not found", other.to_owned())),
        })
    }
}

/// Tells where an extrinsic is, until it is final.
async fn tell(world: Arc<World>, extrinsic: Vec<u8>, subscription: String, told: mpsc::UnboundedSender<Json>) {
    let mut changes = world.watch();
    let mut known = None;
    loop {
        let place = world.place(&extrinsic);
        if known != Some(place) {
            known = Some(place);
            let news = match place {
                Place::Pool => json!("ready"),
                Place::Included(hash) => json!({"inBlock": hex_of(&hash)}),
                Place::Final(hash) => json!({"finalized": hex_of(&hash)}),
                Place::Nowhere => json!("dropped"),
            };
            let params = json!({"subscription": subscription, "result": news});
            let news = json!({"jsonrpc": "2.0", "method": NEWS, "params": params});
            if told.send(news).is_err() {
                return;
            }
        }
        if matches!(place, Place::Final(_) | Place::Nowhere) || changes.changed().await.is_err() {
            return;
        }
    }
}
