//! JSON-RPC over a WebSocket: requests side by side, and what the node says unasked.
//!
//! One task owns the socket. While nobody takes what it has received, it stops reading, and the node is held back by TCP. Only
//! while an answer is waited for it reads on and keeps what comes before the answer, up to a number of bytes; a node that sends
//! more floods, and is left.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use futures::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use url::Url;

use super::{Call, Message, Note, RpcError, RpcLimits, cut, malformed, outcome, request, subscription_name};

/// Notes that wait for whoever takes them.
const NOTES: usize = 256;
/// Requests that wait for the socket.
const REQUESTS: usize = 64;

type Answer = oneshot::Sender<Result<Box<RawValue>, RpcError>>;

#[derive(Debug, Clone)]
pub(super) struct Ws {
    requests: mpsc::Sender<(Call, Answer)>,
    /// Why the connection ended, once it has.
    end: Arc<OnceLock<RpcError>>,
}

impl Ws {
    pub(super) async fn connect(url: &Url, limits: RpcLimits) -> Result<(Self, mpsc::Receiver<Note>), RpcError> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(limits.message))
            .max_frame_size(Some(limits.message));
        let connected = tokio_tungstenite::connect_async_with_config(url.as_str(), Some(config), true).await;
        let (socket, _) = connected.map_err(|error| failure(&error, limits.message))?;
        let (requests, asked) = mpsc::channel(REQUESTS);
        let (notes, noted) = mpsc::channel(NOTES);
        let end = Arc::new(OnceLock::new());
        let socket = Socket {
            socket,
            end: Arc::clone(&end),
            waiting: HashMap::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            limit: limits.message,
            next: 0,
        };
        tokio::spawn(socket.run(asked, notes));
        Ok((Self { requests, end }, noted))
    }

    pub(super) async fn batch(&self, calls: Vec<Call>) -> Result<Vec<Result<Box<RawValue>, RpcError>>, RpcError> {
        let ended = || {
            let unknown = || RpcError::Transport("the connection has ended".to_owned());
            self.end.get().cloned().unwrap_or_else(unknown)
        };
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let (answer, answered) = oneshot::channel();
            self.requests.send((call, answer)).await.map_err(|_| ended())?;
            answers.push(answered);
        }
        let mut results = Vec::with_capacity(answers.len());
        for answered in answers {
            match answered.await {
                Ok(Err(error)) if !error.is_refusal() => return Err(error),
                Ok(result) => results.push(result),
                Err(_) => return Err(ended()),
            }
        }
        Ok(results)
    }
}

struct Socket {
    end: Arc<OnceLock<RpcError>>,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    waiting: HashMap<u64, (&'static str, Answer)>,
    held: VecDeque<Note>,
    held_bytes: usize,
    limit: usize,
    next: u64,
}

impl Socket {
    /// Ends with the connection, or when neither requests nor notes are wanted any more.
    async fn run(mut self, mut asked: mpsc::Receiver<(Call, Answer)>, notes: mpsc::Sender<Note>) {
        let error = loop {
            // Those whose asker has given up are not waited for.
            self.waiting.retain(|_, (_, answer)| !answer.is_closed());
            let reads_on = self.held.is_empty() || !self.waiting.is_empty();
            tokio::select! {
                request = asked.recv() => match request {
                    Some((call, answer)) => if let Err(error) = self.ask(&call, answer).await { break error },
                    None => break RpcError::Transport("not needed any more".to_owned()),
                },
                place = notes.reserve(), if !self.held.is_empty() => match place {
                    Ok(place) => if let Some(note) = self.held.pop_front() {
                        self.held_bytes = self.held_bytes.saturating_sub(note.1.get().len());
                        place.send(note);
                    },
                    Err(_) => break RpcError::Transport("not needed any more".to_owned()),
                },
                frame = self.socket.next(), if reads_on => match frame {
                    Some(Ok(frame)) => if let Err(error) = self.take(&frame) { break error },
                    Some(Err(error)) => break failure(&error, self.limit),
                    None => break RpcError::Transport("the node closed the connection".to_owned()),
                },
            }
        };
        // Whoever listens learns of the end by the channel's end, and why from the next request; whoever waits for an answer, by
        // the end of its channel.
        let _first = self.end.set(error);
    }

    async fn ask(&mut self, call: &Call, answer: Answer) -> Result<(), RpcError> {
        self.next += 1;
        self.waiting.insert(self.next, (call.method, answer));
        let text = request(self.next, call).to_string();
        self.socket
            .send(Frame::text(text))
            .await
            .map_err(|error| failure(&error, self.limit))
    }

    fn take(&mut self, frame: &Frame) -> Result<(), RpcError> {
        let text = match frame {
            Frame::Text(text) => text.as_str(),
            Frame::Binary(bytes) => std::str::from_utf8(bytes).map_err(|error| malformed("message", error))?,
            Frame::Close(_) => return Err(RpcError::Transport("the node closed the connection".to_owned())),
            // The library answers pings by itself.
            Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => return Ok(()),
        };
        let message: Message = serde_json::from_str(text).map_err(|error| malformed("message", error))?;
        match (message.id, message.params) {
            (Some(id), _) => {
                if let Some((method, answer)) = self.waiting.remove(&id) {
                    let message = Message {
                        id: Some(id),
                        params: None,
                        ..message
                    };
                    let _gone = answer.send(outcome(method, message));
                }
            }
            (None, Some(params)) => {
                self.held_bytes += params.result.get().len();
                if self.held_bytes > self.limit {
                    return Err(RpcError::Flood {
                        what: "what it sent unasked",
                        limit: self.limit,
                    });
                }
                self.held
                    .push_back((subscription_name(&params.subscription), params.result));
            }
            (None, None) => {}
        }
        Ok(())
    }
}

fn failure(error: &tokio_tungstenite::tungstenite::Error, limit: usize) -> RpcError {
    use tokio_tungstenite::tungstenite::Error;
    match error {
        Error::Capacity(_) => RpcError::Flood {
            what: "a message",
            limit,
        },
        Error::Http(response) => RpcError::Status(response.status().as_u16()),
        // The address may hold a key.
        Error::Url(_) => RpcError::Transport("the address is no WebSocket's".to_owned()),
        other => RpcError::Transport(cut(&other.to_string())),
    }
}
