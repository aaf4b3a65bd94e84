//! Transactions at a steady rate through a platform's whole front, to validators on sockets; and the same to readers of a bare stream.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::keccak256;
use chain::Keypair;
use chain::auth::sign::Signer;
use platform::feed::{Feed, FeedError, FeedItem};
use platform::log::Event;
use protos::v1;
use protos::v1::platform_client::PlatformClient;
use protos::v1::platform_server::Platform;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status};
use tower::Layer as _;

use crate::measure::{MeasureError, Times};

/// A transaction with the state that it reads, bytes.
const PAYLOAD: usize = 1024;
/// Items that wait for the transport of a bare stream: as many as of the platform's.
const CHANNEL: usize = 16;
/// How long a validator waits for the next item.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// An address or a connection.
    #[error("connection: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// A stream broke off.
    #[error("stream: {0}")]
    Stream(Box<Status>),
    /// A stream stood still.
    #[error("no item came within {PATIENCE:?}")]
    Still,
    /// Something else was streamed than was fed.
    #[error("an item that was not fed")]
    Foreign,
    /// The delays could not be kept.
    #[error(transparent)]
    Measure(#[from] MeasureError),
}

/// How many, how fast, to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Transactions.
    pub transactions: u64,
    /// Of them a second.
    pub rate: u64,
    /// Validators.
    pub validators: u8,
    /// How many of them get each transaction.
    pub replicas: usize,
}

impl Load {
    /// When the n-th transaction is due, from the first one on.
    #[allow(clippy::cast_precision_loss, reason = "microseconds of a few minutes")]
    fn due(&self, n: u64) -> Duration {
        Duration::from_secs_f64(n as f64 / self.rate as f64)
    }
}

/// When the feed began: a delay counts from when a transaction was due, so that a feed that is held up is seen as delay.
pub type Begun = Arc<Mutex<Option<Instant>>>;

/// The n-th transaction.
#[must_use]
pub fn pending(n: u64) -> v1::PendingTransaction {
    let mut raw = vec![0x5a; PAYLOAD];
    raw.splice(..8, n.to_be_bytes());
    v1::PendingTransaction {
        transaction: Some(v1::Transaction {
            raw: raw.into(),
            sender: vec![1; 20].into(),
            hash: wire::hash_bytes(keccak256(n.to_be_bytes())),
            unsigned: false,
        }),
        head_hash: vec![1; 32].into(),
        prestate: None,
        predecessors: Vec::new(),
    }
}

fn number(item: &v1::StreamItem) -> Option<u64> {
    let Some(Event::Pending(pending)) = &item.event else {
        return None;
    };
    let raw = &pending.transaction.as_ref()?.raw;
    raw.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The feed: each transaction when it is due, then the end.
#[derive(Debug)]
pub struct Steady {
    /// What.
    pub load: Load,
    /// Set at the first.
    pub begun: Begun,
}

impl Feed for Steady {
    fn name(&self) -> &str {
        "steady"
    }

    fn start(self: Box<Self>, _position: Option<String>, items: mpsc::Sender<Result<FeedItem, FeedError>>) {
        tokio::spawn(async move {
            let begun = begin(&self.begun);
            let item = |event, n: u64| FeedItem {
                event,
                codes: Vec::new(),
                position: n.to_string(),
                due: Duration::ZERO,
                seen: None,
            };
            for n in 0..self.load.transactions {
                tokio::time::sleep_until(begun + self.load.due(n)).await;
                if items.send(Ok(item(Event::Pending(pending(n)), n))).await.is_err() {
                    return;
                }
            }
            let end = item(Event::FeedEnded(v1::FeedEnded {}), self.load.transactions);
            let _closed = items.send(Ok(end)).await;
        });
    }
}

fn begin(begun: &Begun) -> Instant {
    *begun
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_with(Instant::now)
}

/// What a validator saw.
#[derive(Debug)]
pub struct Seen {
    /// The numbers of its transactions, as they came.
    pub numbers: Vec<u64>,
    /// From due to read.
    pub delays: Times,
}

/// The key of a validator.
#[must_use]
pub fn validator(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

/// Opens a validator's stream behind the cursor `after`.
///
/// # Errors
/// [`LoadError`].
pub async fn stream(n: u8, platform: SocketAddr, after: u64) -> Result<tonic::Streaming<v1::StreamItem>, LoadError> {
    let endpoint = Endpoint::from_shared(format!("http://{platform}"))?.tcp_nodelay(true);
    let signed = Signer::new(Arc::new(validator(n)), None).layer(endpoint.connect().await?);
    let mut client = PlatformClient::new(signed).max_decoding_message_size(node::server::MESSAGE_LIMIT);
    let stream = client.stream(v1::StreamRequest { after }).await;
    Ok(stream
        .map_err(|status| LoadError::Stream(Box::new(status)))?
        .into_inner())
}

/// The next item.
///
/// # Errors
/// [`LoadError`]: also when none comes.
pub async fn next(stream: &mut tonic::Streaming<v1::StreamItem>) -> Result<v1::StreamItem, LoadError> {
    let item = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .map_err(|_| LoadError::Still)?;
    item.map_err(|status| LoadError::Stream(Box::new(status)))?
        .ok_or(LoadError::Still)
}

/// Reads a validator's stream behind the cursor `after` until the feed's end.
///
/// # Errors
/// [`LoadError`].
pub async fn read(n: u8, platform: SocketAddr, after: u64, load: Load, begun: Begun) -> Result<Seen, LoadError> {
    let mut stream = stream(n, platform, after).await?;
    let mut seen = Seen {
        numbers: Vec::new(),
        delays: Times::new()?,
    };
    loop {
        let item = next(&mut stream).await?;
        if let Some(n) = number(&item) {
            let due = begin(&begun) + load.due(n);
            seen.delays.record(Instant::now().saturating_duration_since(due));
            seen.numbers.push(n);
        } else if matches!(item.event, Some(Event::FeedEnded(_))) {
            return Ok(seen);
        }
    }
}

/// What all validators saw, together.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Deliveries that should have been.
    pub expected: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Transactions that came to fewer, or more, validators than they should have.
    pub wrong: u64,
    /// From due to read, microseconds.
    pub p50_us: u64,
    /// As above.
    pub p99_us: u64,
    /// As above.
    pub p999_us: u64,
    /// As above.
    pub max_us: u64,
}

impl Outcome {
    /// Of what each validator saw.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn of(load: Load, seen: &[Seen]) -> Result<Self, LoadError> {
        let mut delays = Times::new()?;
        let mut times: HashMap<u64, usize> = HashMap::new();
        for Seen { numbers, delays: one } in seen {
            for n in numbers {
                if *n >= load.transactions {
                    return Err(LoadError::Foreign);
                }
                *times.entry(*n).or_default() += 1;
            }
            delays.add(one);
        }
        let wrong = (0..load.transactions)
            .filter(|n| times.get(n) != Some(&load.replicas))
            .count();
        Ok(Self {
            expected: load.transactions * load.replicas as u64,
            delivered: seen.iter().map(|seen| seen.numbers.len() as u64).sum(),
            wrong: wrong as u64,
            p50_us: delays.us(0.50),
            p99_us: delays.us(0.99),
            p999_us: delays.us(0.999),
            max_us: delays.us(1.0),
        })
    }
}

/// A reader's end of its stream.
type Reader = mpsc::Sender<Result<v1::StreamItem, Status>>;

/// The baseline: streams without a log, a signature, or a choice of validators. The same items to as many readers over the same
/// transport.
#[derive(Debug, Clone, Default)]
pub struct Bare {
    readers: Arc<Mutex<Vec<Reader>>>,
    opened: Arc<AtomicUsize>,
}

impl Bare {
    /// How many streams are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Sends each transaction when it is due to as many readers as there are replicas, in turn; then the end to all.
    pub async fn feed(&self, load: Load, begun: Begun) {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let begun = begin(&begun);
        let item = |cursor, event| v1::StreamItem {
            cursor,
            event: Some(event),
            codes: Vec::new(),
        };
        let mut turn = readers.iter().cycle();
        for n in 0..load.transactions {
            tokio::time::sleep_until(begun + load.due(n)).await;
            for reader in turn.by_ref().take(load.replicas) {
                let _closed = reader.send(Ok(item(n + 1, Event::Pending(pending(n))))).await;
            }
        }
        for reader in &readers {
            let end = Event::FeedEnded(v1::FeedEnded {});
            let _closed = reader.send(Ok(item(load.transactions + 1, end))).await;
        }
    }
}

#[tonic::async_trait]
impl Platform for Bare {
    type StreamStream = ReceiverStream<Result<v1::StreamItem, Status>>;

    async fn stream(&self, _: Request<v1::StreamRequest>) -> Result<Response<Self::StreamStream>, Status> {
        let (sender, receiver) = mpsc::channel(CHANNEL);
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn report(&self, _: Request<v1::ReportRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        Err(Status::unimplemented("a bare stream"))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Err(Status::unimplemented("a bare stream"))
    }

    async fn incidents(&self, _: Request<v1::IncidentsRequest>) -> Result<Response<v1::IncidentsResponse>, Status> {
        Err(Status::unimplemented("a bare stream"))
    }

    async fn executions(&self, _: Request<v1::ExecutionsRequest>) -> Result<Response<v1::ExecutionsResponse>, Status> {
        Err(Status::unimplemented("a bare stream"))
    }
}
