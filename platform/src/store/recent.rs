//! The newest part of the log, for those who look back: what an invariant would have said, and what is in a slot.

use std::collections::BTreeMap;

use protos::v1;
use sqlx::Row as _;

use super::append::{KIND_HEAD, KIND_PENDING};
use super::{Store, decode, signed, unsigned};
use crate::log::{Event, LogError};

/// The most bytes that are read at once.
const BYTES: usize = 64 << 20;
/// Heads that are looked at for those that transactions were judged on.
const HEADS: i64 = 512;

/// Pending transactions, newest first, and the heads on whose state they are judged.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// With their cursors.
    pub transactions: Vec<(u64, v1::PendingTransaction)>,
    /// By hash.
    pub heads: BTreeMap<Vec<u8>, v1::Head>,
}

impl Store {
    /// The newest pending transactions behind `after` that came with the state that they read; at most `limit`, and at most 64 MiB.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recent(&self, after: u64, limit: u32) -> Result<Recent, LogError> {
        let mut recent = Recent::default();
        let rows = sqlx::query(
            "SELECT cursor, payload FROM items WHERE cursor > $1 AND kind = $2 ORDER BY cursor DESC LIMIT $3",
        )
        .bind(signed(after))
        .bind(KIND_PENDING)
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        let mut bytes = 0_usize;
        for row in &rows {
            let payload: Vec<u8> = row.try_get("payload")?;
            bytes = bytes.saturating_add(payload.len());
            if bytes > BYTES {
                break;
            }
            let item: v1::StreamItem = decode("items.payload", payload)?;
            if let Some(Event::Pending(pending)) = item.event
                && pending.prestate.is_some()
            {
                recent.transactions.push((unsigned(row.try_get("cursor")?), pending));
            }
        }
        let Some((newest, _)) = recent.transactions.first() else {
            return Ok(recent);
        };
        let heads =
            sqlx::query("SELECT payload FROM items WHERE kind = $1 AND cursor < $2 ORDER BY cursor DESC LIMIT $3")
                .bind(KIND_HEAD)
                .bind(signed(*newest))
                .bind(HEADS)
                .fetch_all(self.pool())
                .await?;
        for row in &heads {
            let item: v1::StreamItem = decode("items.payload", row.try_get("payload")?)?;
            if let Some(Event::Head(head)) = item.event {
                recent.heads.insert(head.hash.to_vec(), head);
            }
        }
        Ok(recent)
    }

    /// How many transactions wait to be included.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waiting_count(&self) -> Result<u64, LogError> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM transactions WHERE included_at_ms IS NULL AND left_cursor IS NULL",
        )
        .fetch_one(self.pool())
        .await?;
        Ok(unsigned(count))
    }
}
