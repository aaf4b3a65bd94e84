//! One validator's stream: from its cursor through what is stored, then along with what is appended.
//!
//! A stream reads from the log at the reader's own speed, and keeps one page and a short channel in memory. So a slow
//! validator neither holds up the others nor costs memory: what it has not read stays in the log.

use std::collections::HashSet;
use std::sync::Arc;

use alloy::primitives::B256;
use protos::v1;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::log::{Event, Log, LogError};
use crate::validators::Presence;

/// How many items wait for the transport; when it is full, the stream stops reading the log.
pub(crate) const CHANNEL: usize = 16;

/// How many bytecodes a stream remembers as sent; when it is full it is emptied, and some are sent again.
const SENT_CODES: usize = 1 << 16;

/// What a stream sends.
pub(crate) type Sent = Result<v1::StreamItem, Status>;

/// Why a stream ended.
enum End {
    /// Nobody reads any more.
    Closed,
    /// With a last word for the reader.
    Told(Status),
    /// The log failed.
    Log(LogError),
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// Sends everything behind `after` that is for `reader` into `items`, without end: until nobody reads, the validator opens
/// another stream or loses its permit (`presence`), or `shutdown`.
pub(crate) async fn follow(
    log: Arc<dyn Log>,
    reader: [u8; 32],
    after: u64,
    items: mpsc::Sender<Sent>,
    presence: Presence,
    shutdown: CancellationToken,
) {
    let mut stream = Stream {
        log,
        items,
        sent: HashSet::new(),
    };
    let end = tokio::select! {
        end = stream.run(&reader, after) => end,
        () = presence.end().cancelled() => {
            End::Told(Status::aborted("another stream of this hotkey was opened, or its validator permit is gone"))
        }
        () = shutdown.cancelled() => End::Told(Status::unavailable("the platform shuts down; resume from your cursor")),
    };
    let last = match end {
        End::Closed => return,
        End::Told(status) => status,
        End::Log(error) => {
            tracing::error!(%error, "a stream cannot be read from the log");
            Status::internal("the platform's log cannot be read")
        }
    };
    // A reader so slow that the channel is full learns of the end by the stream's end alone.
    let _full = stream.items.try_send(Err(last));
}

struct Stream {
    log: Arc<dyn Log>,
    items: mpsc::Sender<Sent>,
    sent: HashSet<B256>,
}

impl Stream {
    async fn run(&mut self, reader: &[u8; 32], after: u64) -> End {
        let Err(end) = self.send_all(reader, after).await;
        end
    }

    async fn send_all(&mut self, reader: &[u8; 32], after: u64) -> Result<std::convert::Infallible, End> {
        let mut grown = self.log.grown();
        for item in self.log.in_force(after).await? {
            self.send(item).await?;
        }
        let mut after = after;
        loop {
            // Marked as seen before reading: what is appended while the page is read wakes the wait below.
            let known = *grown.borrow_and_update();
            let page = self.log.page(reader, after).await?;
            after = page.through;
            for item in page.items {
                let item = self.with_codes(item).await?;
                self.send(item).await?;
            }
            if after >= known {
                tokio::select! {
                    changed = grown.changed() => changed.map_err(|_| End::Closed)?,
                    () = self.items.closed() => return Err(End::Closed),
                }
            }
        }
    }

    async fn send(&self, item: v1::StreamItem) -> Result<(), End> {
        self.items.send(Ok(item)).await.map_err(|_| End::Closed)
    }

    /// The item with the bytecode that this stream has not carried yet.
    async fn with_codes(&mut self, mut item: v1::StreamItem) -> Result<v1::StreamItem, LogError> {
        let Some(Event::Pending(v1::PendingTransaction {
            prestate: Some(prestate),
            ..
        })) = &item.event
        else {
            return Ok(item);
        };
        if self.sent.len() >= SENT_CODES {
            self.sent.clear();
        }
        let mut missing = Vec::new();
        for hash in &prestate.code_hashes {
            let hash = wire::hash("prestate.code_hashes", hash)?;
            if self.sent.insert(hash) {
                missing.push(hash);
            }
        }
        if !missing.is_empty() {
            item.codes = self.log.codes(&missing).await?;
        }
        Ok(item)
    }
}
