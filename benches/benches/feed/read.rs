//! Who reads: a reader of the log as a validator is one, the bare subscription, and the audit of the log at the end.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::eips::eip2718::Decodable2718 as _;
use alloy::primitives::{B256, U256};
use benches::measure::{Done, MeasureError, Times};
use futures::{SinkExt as _, StreamExt as _};
use platform::log::{Event, Log as _, LogError};
use platform::store::Store;
use protos::v1::PendingTransaction;
use serde::Deserialize;
use testkit::crowd::serve::now_us;
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;

use crate::VALIDATOR;

/// Transactions that the log's reader remembers, to tell those that are logged again.
const REMEMBERED: usize = 1 << 15;

/// One reader's delays, each from a transaction's showing.
#[derive(Debug, Clone)]
pub(crate) struct Delays(Arc<Mutex<Times>>);

impl Delays {
    pub(crate) fn new() -> Result<Self, MeasureError> {
        Ok(Self(Arc::new(Mutex::new(Times::new()?))))
    }

    /// What was shown at this time, in microseconds, is read now.
    fn record(&self, shown_at: u64) {
        let delay = Duration::from_micros(now_us().saturating_sub(shown_at));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).record(delay);
    }

    pub(crate) fn seen(&self) -> Times {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads the log as it grows, as a validator's stream does.
pub(crate) async fn read_log(store: Arc<Store>, delays: Delays, shutdown: CancellationToken) -> Result<(), LogError> {
    let mut grown = store.grown();
    let mut after = 0;
    let (mut known, mut order) = (HashSet::with_capacity(REMEMBERED), VecDeque::with_capacity(REMEMBERED));
    loop {
        grown.borrow_and_update();
        let page = store.page(&VALIDATOR, after).await?;
        if page.through == after {
            tokio::select! {
                _ = grown.changed() => continue,
                () = shutdown.cancelled() => return Ok(()),
            }
        }
        after = page.through;
        for item in page.items {
            let Some(Event::Pending(pending)) = item.event else {
                continue;
            };
            let Some((hash, transaction)) = decoded(&pending) else {
                continue;
            };
            if known.insert(hash) {
                delays.record(transaction.value().saturating_to());
                order.push_back(hash);
                if order.len() >= REMEMBERED
                    && let Some(oldest) = order.pop_front()
                {
                    known.remove(&oldest);
                }
            }
        }
    }
}

fn decoded(pending: &PendingTransaction) -> Option<(B256, TxEnvelope)> {
    let transaction = pending.transaction.as_ref()?;
    let envelope = TxEnvelope::decode_2718(&mut transaction.raw.as_ref()).ok()?;
    Some((*envelope.tx_hash(), envelope))
}

/// The baseline: subscribes, reads, and looks at the date. Gives how many it saw.
pub(crate) async fn subscribe(ws: String, delays: Delays, shutdown: CancellationToken) -> Done<u64> {
    #[derive(Deserialize)]
    struct Note {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        result: Shown,
    }
    #[derive(Deserialize)]
    struct Shown {
        value: U256,
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(ws).await?;
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newPendingTransactions",true]}"#;
    socket.send(tungstenite::Message::text(ask)).await?;
    let mut seen = 0;
    loop {
        let frame = tokio::select! {
            frame = socket.next() => frame,
            () = shutdown.cancelled() => return Ok(seen),
        };
        match frame {
            Some(Ok(tungstenite::Message::Text(text))) => {
                if let Ok(note) = serde_json::from_str::<Note>(&text) {
                    seen += 1;
                    delays.record(note.params.result.value.saturating_to());
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Ok(seen),
        }
    }
}

/// What the log holds, read from its beginning.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) items: u64,
    pub(crate) distinct: u64,
    pub(crate) all: B256,
    pub(crate) replaced: u64,
    pub(crate) included: u64,
    pub(crate) newest_head: u64,
    pub(crate) with_state: u64,
    pub(crate) without_state: u64,
}

/// Reads it so.
pub(crate) async fn audit(store: &Store) -> Result<Audit, LogError> {
    let mut audit = Audit::default();
    let mut known = HashSet::new();
    let mut after = 0;
    loop {
        let page = store.page(&VALIDATOR, after).await?;
        if page.through == after {
            audit.distinct = known.len() as u64;
            return Ok(audit);
        }
        after = page.through;
        for item in page.items {
            audit.items += 1;
            match item.event {
                Some(Event::Pending(pending)) => {
                    let state = pending.prestate.is_some();
                    audit.with_state += u64::from(state);
                    audit.without_state += u64::from(!state);
                    if let Some((hash, _)) = decoded(&pending)
                        && known.insert(hash)
                    {
                        audit.all ^= hash;
                    }
                }
                Some(Event::Replaced(_)) => audit.replaced += 1,
                Some(Event::Head(head)) => {
                    audit.included += head.included.len() as u64;
                    audit.newest_head = head.number;
                }
                _ => {}
            }
        }
    }
}
