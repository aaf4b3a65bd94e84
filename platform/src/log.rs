//! The one ordered log: what every validator reads, from any cursor on, without missing or repeating anything.
//!
//! A trait, so that a broker can take the place of the embedded table where there are many machines. What always holds:
//! cursors rise by one from 1, what was appended is never changed, and a batch is there whole, together with the feed's
//! position behind it, or not at all.

use alloy::primitives::B256;
use futures::future::BoxFuture;
use protos::v1;
use tokio::sync::watch;

use crate::assignment::Hotkey;

/// What happened, as it is logged and streamed.
pub use protos::v1::stream_item::Event;

/// A log that cannot be read or written, or that refuses a batch.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The database failed; nothing of the batch is logged.
    #[error("platform database: {0}")]
    Database(#[from] sqlx::Error),
    /// A row does not hold what this program writes.
    #[error("platform database: {what}; was the file changed by hand?")]
    Malformed {
        /// Where, and what is wrong.
        what: String,
    },
    /// The feed is elsewhere than the batch says: another process feeds the same log.
    #[error("feed {feed} is no longer where this process left it: does another platform run on the same database?")]
    Overtaken {
        /// The feed.
        feed: String,
    },
    /// A fixed-length field of an event is wrong.
    #[error("event: {0}")]
    Event(#[from] protos::DecodeError),
}

/// A page ends after so many items, or as soon as it holds so many bytes: what a stream keeps in memory.
pub(crate) const PAGE_ITEMS: usize = 64;
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// What a log's methods give: boxed, so that `Arc<dyn Log>` works.
pub type LogFuture<'a, T> = BoxFuture<'a, Result<T, LogError>>;

/// One event to append.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The event.
    pub event: Event,
    /// The validators that a pending transaction goes to. Every other event is for all, and has none.
    pub assigned: Vec<Hotkey>,
}

/// Where a feed stands behind a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The feed's name.
    pub feed: String,
    /// Where it stood before the batch; `None` for its first.
    pub from: Option<String>,
    /// Where it goes on after the batch, in the feed's own terms.
    pub to: String,
    /// There is nothing after the batch.
    pub ended: bool,
}

/// Events that are appended together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// In their order.
    pub entries: Vec<Entry>,
    /// Bytecode that their prestates name; known ones may be repeated.
    pub codes: Vec<v1::Code>,
    /// The feed that they come from.
    pub progress: Option<Progress>,
}

/// Consecutive items for one validator.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// In the order of their cursors, without codes.
    pub items: Vec<v1::StreamItem>,
    /// Nothing for this validator is left at or before this cursor: where the next page starts.
    pub through: u64,
}

/// A transaction that was neither included nor replaced nor dropped, as far as the log goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// It.
    pub transaction: v1::Transaction,
    /// `engine::Prestate::digest` of the state that its newest item carries, where it carries one that is its own alone.
    pub state_digest: Option<B256>,
}

/// The log as a feed needs it: what is appended, and where to go on.
pub trait FeedLog: Send + Sync + std::fmt::Debug {
    /// Appends a batch; gives the cursor of its last event (of the log's last one, for an empty batch).
    fn append(&self, batch: Batch) -> LogFuture<'_, u64>;

    /// Where a feed goes on, and whether it has ended; `None` when it never logged anything.
    fn position<'a>(&'a self, feed: &'a str) -> LogFuture<'a, Option<(String, bool)>>;

    /// The transactions that wait, oldest first; at most `limit`, the newest of them.
    fn waiting(&self, limit: usize) -> LogFuture<'_, Vec<Waiting>>;
}

/// An append-only log with one cursor, as its readers need it.
pub trait Log: FeedLog {
    /// The items behind `after` that are for all or assigned to `reader`; at most a page of them (by number and by bytes).
    fn page<'a>(&'a self, reader: &'a Hotkey, after: u64) -> LogFuture<'a, Page>;

    /// The newest head and the newest invariant set at or before `cursor`, in the order of their cursors; those that exist.
    fn in_force(&self, cursor: u64) -> LogFuture<'_, Vec<v1::StreamItem>>;

    /// The bytecodes of these hashes, in their order.
    fn codes<'a>(&'a self, hashes: &'a [B256]) -> LogFuture<'a, Vec<v1::Code>>;

    /// The cursor of the newest item, as it changes.
    fn grown(&self) -> watch::Receiver<u64>;
}
