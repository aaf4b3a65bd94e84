//! The log over NATS JetStream, for several platforms on one database.
//!
//! The database stays the truth: an item is appended there first, in one transaction with the feed's position, and then handed to the
//! broker, which carries it to every platform at once; streams that keep up are served from memory ([`Tail`]), whoever is further
//! behind reads from the database. What always holds: the broker gives items in the order of their cursors (each names the place that it
//! must come at, and the broker refuses all others), so whichever platform hands them over, and however often, none comes twice. While
//! the broker is away everything goes on by the database, a second later. Whatever it lost or forgot meanwhile, after a refusal it is
//! asked where it stands, and is handed what is missing from there.

mod message;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::B256;
use async_nats::connection::State;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::push::{Ordered, OrderedConfig};
use async_nats::jetstream::stream::{self, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use futures::{FutureExt, StreamExt};
use protos::v1;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::message::{cursor_of, delivered, message};
use crate::assignment::Hotkey;
use crate::log::{Batch, FeedLog, Log, LogError, LogFuture, Page, Waiting};
use crate::store::Store;
use crate::tail::Tail;

/// What the broker keeps: enough for a platform that starts, the rest is in the database.
const KEPT_BYTES: i64 = 256 << 20;
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// How many items are handed over together.
const BATCH: u32 = 64;
/// How often it is looked for what another process appended, and whether the broker is behind.
const SWEEP: Duration = Duration::from_millis(250);
/// So many sweeps behind in a row, the broker is taken for gone.
const PATIENCE: u32 = 4;
/// From a failure to the next try.
const RETRY: Duration = Duration::from_secs(1);
/// The room that a message's headers take of the broker's limit.
const HEADERS: usize = 4096;

/// A broker that cannot be used, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The address, which may hold a password, is not repeated.
    #[error("`broker` is no address of NATS servers, as in nats://HOST:4222, with commas between: {0}")]
    Address(String),
    /// It failed, or refused.
    #[error("broker: {0}")]
    Nats(String),
    /// A message that is none of ours.
    #[error("broker: message {id:?}: {what}; does something else write to this subject?")]
    Message {
        /// Its id.
        id: String,
        /// What is wrong.
        what: String,
    },
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

fn nats(error: impl std::fmt::Display) -> BrokerError {
    BrokerError::Nats(error.to_string())
}

/// The log of a [`Store`], carried by a broker.
#[derive(Debug)]
pub struct Broker {
    store: Arc<Store>,
    client: Client,
    jetstream: Context,
    /// Of the stream at the broker; its subject differs by a dot.
    name: String,
    tail: Mutex<Tail>,
    stand: Mutex<Stand>,
    grown: watch::Sender<u64>,
    appended: Notify,
}

/// Where the broker stands, as far as this process knows.
#[derive(Debug, Clone, Copy, Default)]
struct Stand {
    /// Items up to this cursor are with the broker, or older than what it keeps.
    through: u64,
    /// The sequence number of the broker's newest message: the next one must come right behind it.
    sequence: u64,
}

impl Broker {
    /// For the log in `store`, over these NATS servers (`nats://[USER:PASSWORD@]HOST:PORT`, with commas between). They need not answer yet.
    ///
    /// # Errors
    /// An address that is none, or the database fails.
    pub async fn open(servers: &str, store: Arc<Store>) -> Result<Arc<Self>, BrokerError> {
        let addresses = servers
            .split(',')
            .map(|address| address.trim().parse::<ServerAddr>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| BrokerError::Address(error.to_string()))?;
        let name = store.log_name().await?;
        let client = ConnectOptions::new()
            .name("portcullis platform")
            .retry_on_initial_connect()
            .event_callback(|event| async move {
                match event {
                    Event::Connected => tracing::info!(%event, "broker"),
                    _ => tracing::warn!(%event, "broker"),
                }
            })
            .connect(addresses)
            .await
            .map_err(nats)?;
        Ok(Arc::new(Self {
            jetstream: jetstream::new(client.clone()),
            client,
            name: format!("portcullis-{name}"),
            tail: Mutex::default(),
            stand: Mutex::default(),
            grown: watch::Sender::new(store.last_cursor().await?),
            appended: Notify::new(),
            store,
        }))
    }

    /// Hands over what is appended and takes what is delivered, until `shutdown`. A broker that fails is tried again.
    pub async fn run(&self, shutdown: CancellationToken) {
        let parts = async { tokio::join!(self.hand_over(), self.receive(), self.watch()) };
        tokio::select! {
            _ = parts => {}
            () = shutdown.cancelled() => {}
        }
    }

    fn subject(&self) -> String {
        self.name.replace('-', ".")
    }

    async fn stream(&self) -> Result<Stream, BrokerError> {
        let config = stream::Config {
            name: self.name.clone(),
            subjects: vec![self.subject()],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_bytes: KEPT_BYTES,
            max_age: KEPT_FOR,
            description: Some("what a Portcullis platform logs; the database has all of it".to_owned()),
            ..stream::Config::default()
        };
        // One that is there stays as its operator made it (more replicas, other limits).
        self.jetstream.get_or_create_stream(config).await.map_err(nats)
    }

    /// Waits for a connection: what is asked without one waits in the client, and may be answered after nobody waits for it.
    async fn connected(&self) {
        while self.client.connection_state() != State::Connected {
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// Hands over what the broker does not have, as it is appended.
    async fn hand_over(&self) {
        loop {
            self.connected().await;
            let Err(error) = self.hand_over_until_it_fails().await;
            tracing::warn!(%error, "the log is not handed to the broker; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn hand_over_until_it_fails(&self) -> Result<std::convert::Infallible, BrokerError> {
        let found = self.look().await?;
        *self.stand() = found;
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.appended.notified() => {}
                _ = sweep.tick() => {}
            }
            self.publish().await?;
        }
    }

    /// Asks the broker where it stands. A stream of another history (the database was put back to an older state) is thrown away.
    async fn look(&self) -> Result<Stand, BrokerError> {
        let stream = self.stream().await?;
        let newest = match stream.get_last_raw_message_by_subject(&self.subject()).await {
            Ok(message) => Some(message),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => None,
            Err(error) => return Err(nats(error)),
        };
        // Read after the broker's: what is there was in the database before.
        let logged = self.store.last_cursor().await?;
        let Some(newest) = newest else {
            return Ok(Stand {
                through: logged,
                sequence: stream.cached_info().state.last_sequence,
            });
        };
        let through = cursor_of(&newest.headers)?;
        if through > logged {
            self.jetstream.delete_stream(&self.name).await.map_err(nats)?;
            return Err(BrokerError::Nats(format!(
                "it holds item {through}, and the log ends with {logged}: was the database put back? the broker's copy is made anew"
            )));
        }
        Ok(Stand {
            through,
            sequence: newest.sequence,
        })
    }

    async fn publish(&self) -> Result<(), BrokerError> {
        loop {
            // Not only by what was handed over here: another platform hands over what it appends.
            let Stand { through, mut sequence } = *self.stand();
            let items = self.store.logged(through, BATCH).await?;
            if items.is_empty() {
                return Ok(());
            }
            let longest = self.client.server_info().max_payload.saturating_sub(HEADERS);
            let mut acknowledged = Vec::with_capacity(items.len());
            for item in items {
                let cursor = item.cursor;
                let message = message(item, sequence, longest);
                let sent = self.jetstream.send_publish(self.subject(), message).await;
                acknowledged.push((cursor, sent.map_err(nats)?));
                sequence += 1;
            }
            for (cursor, acknowledgement) in acknowledged {
                let acknowledgement = acknowledgement.await.map_err(nats)?;
                self.holds(cursor, acknowledgement.sequence);
                metrics::counter!("platform_broker_items_total").increment(1);
            }
        }
    }

    /// The broker has the item of this cursor, and all before it, under this sequence number.
    fn holds(&self, cursor: u64, sequence: u64) {
        let mut stand = self.stand();
        if cursor > stand.through {
            *stand = Stand {
                through: cursor,
                sequence,
            };
        }
    }

    /// Takes what the broker delivers.
    async fn receive(&self) {
        loop {
            self.connected().await;
            let Err(error) = self.receive_until_it_fails().await;
            tracing::warn!(%error, "nothing is taken from the broker; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn receive_until_it_fails(&self) -> Result<std::convert::Infallible, BrokerError> {
        let config = OrderedConfig {
            deliver_subject: self.client.new_inbox(),
            deliver_policy: DeliverPolicy::New,
            ..OrderedConfig::default()
        };
        let consumer = self.stream().await?.create_consumer(config).await.map_err(nats)?;
        let mut messages: Ordered = consumer.messages().await.map_err(nats)?;
        loop {
            let message = messages.next().await.ok_or_else(|| nats("the deliveries have ended"))?;
            let message = message.map_err(nats)?;
            let sequence = message.info().map_err(nats)?.stream_sequence;
            let delivered = delivered(message.headers.as_ref(), message.payload.clone())?;
            let newest = delivered.cursor;
            self.holds(newest, sequence);
            self.tail().push(delivered);
            self.announce(newest);
        }
    }

    /// Sees whether what is appended comes by the broker; while it does not, readers are sent to the database.
    async fn watch(&self) {
        let mut ticks = tokio::time::interval(SWEEP);
        let (mut behind, mut carried) = (0, false);
        loop {
            ticks.tick().await;
            let logged = match self.store.last_cursor().await {
                Ok(logged) => logged,
                Err(error) => {
                    tracing::warn!(%error, "the log's end cannot be read");
                    continue;
                }
            };
            let newest = self.tail().last();
            #[allow(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^52 items")]
            metrics::gauge!("platform_broker_behind").set(logged.saturating_sub(newest) as f64);
            behind = if newest < logged { behind + 1 } else { 0 };
            let carries = behind < PATIENCE;
            if carried && !carries {
                tracing::warn!(logged, newest, "the broker is behind; streams read from the database");
            }
            if !carries {
                self.announce(logged);
            }
            carried = carries;
        }
    }

    fn announce(&self, newest: u64) {
        self.grown.send_if_modified(|known| {
            let more = newest > *known;
            *known = newest.max(*known);
            more
        });
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stand(&self) -> MutexGuard<'_, Stand> {
        self.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_page(&self, reader: &Hotkey, after: u64) -> Result<Page, LogError> {
        let page = self.tail().page(reader, after);
        match page {
            Some(page) => Ok(page),
            None => self.store.page(reader, after).await,
        }
    }
}

impl FeedLog for Broker {
    fn append(&self, batch: Batch) -> LogFuture<'_, u64> {
        async move {
            let last = self.store.append(batch).await?;
            self.appended.notify_one();
            Ok(last)
        }
        .boxed()
    }

    fn position<'a>(&'a self, feed: &'a str) -> LogFuture<'a, Option<(String, bool)>> {
        self.store.position(feed)
    }

    fn waiting(&self, limit: usize) -> LogFuture<'_, Vec<Waiting>> {
        self.store.waiting(limit)
    }
}

impl Log for Broker {
    fn page<'a>(&'a self, reader: &'a Hotkey, after: u64) -> LogFuture<'a, Page> {
        self.read_page(reader, after).boxed()
    }

    fn in_force(&self, cursor: u64) -> LogFuture<'_, Vec<v1::StreamItem>> {
        self.store.in_force(cursor)
    }

    fn codes<'a>(&'a self, hashes: &'a [B256]) -> LogFuture<'a, Vec<v1::Code>> {
        self.store.codes(hashes)
    }

    fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
}
