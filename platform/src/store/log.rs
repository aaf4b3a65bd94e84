//! The embedded log: tables `items`, `assignments`, `codes`, `transactions` and `feeds`.

use std::collections::HashSet;

use alloy::primitives::B256;
use futures::{FutureExt, StreamExt};
use protos::v1;
use sqlx::{AnyConnection, Row};
use tokio::sync::watch;
use wire::{ShippedPrestate, Wire};

use super::append::{Appended, Appending};
use super::{KNOWN_CODES, Store, decode, last_cursor, lock, signed, unsigned};
use crate::assignment::Hotkey;
use crate::log::{
    Batch, Entry, Event, FeedLog, Log, LogError, LogFuture, PAGE_BYTES, PAGE_ITEMS, Page, Progress, Waiting,
};

impl FeedLog for Store {
    fn append(&self, batch: Batch) -> LogFuture<'_, u64> {
        self.append_batch(batch).boxed()
    }

    fn position<'a>(&'a self, feed: &'a str) -> LogFuture<'a, Option<(String, bool)>> {
        async move {
            let row: Option<(String, i64)> = sqlx::query_as("SELECT position, ended FROM feeds WHERE name = $1")
                .bind(feed)
                .fetch_optional(self.pool())
                .await?;
            Ok(row.map(|(position, ended)| (position, ended != 0)))
        }
        .boxed()
    }

    fn waiting(&self, limit: usize) -> LogFuture<'_, Vec<Waiting>> {
        self.read_waiting(limit).boxed()
    }
}

impl Log for Store {
    fn page<'a>(&'a self, reader: &'a Hotkey, after: u64) -> LogFuture<'a, Page> {
        self.read_page(reader, after).boxed()
    }

    fn in_force(&self, cursor: u64) -> LogFuture<'_, Vec<v1::StreamItem>> {
        self.read_in_force(cursor).boxed()
    }

    fn codes<'a>(&'a self, hashes: &'a [B256]) -> LogFuture<'a, Vec<v1::Code>> {
        self.read_codes(hashes).boxed()
    }

    fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }
}

impl Store {
    async fn append_batch(&self, batch: Batch) -> Result<u64, LogError> {
        let assigned: HashSet<Hotkey> = batch
            .entries
            .iter()
            .flat_map(|entry| entry.assigned.iter().copied())
            .collect();
        self.remember(&Vec::from_iter(assigned)).await?;
        let codes = self.codes_to_store(batch.codes)?;

        let mut writing = self.begin().await?;
        if let Some(progress) = &batch.progress {
            advance(writing.connection(), progress).await?;
        }
        for (hash, code) in &codes {
            sqlx::query("INSERT INTO codes (hash, bytecode) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(hash.as_slice())
                .bind(code.as_ref())
                .execute(writing.connection())
                .await?;
        }
        let appended = self.insert_entries(writing.connection(), batch.entries).await?;
        writing.commit().await?;

        let mut stored = lock(&self.stored_codes);
        if stored.len() + codes.len() > KNOWN_CODES {
            stored.clear();
        }
        stored.extend(codes.into_iter().map(|(hash, _)| hash));
        drop(stored);
        let last = appended.last;
        self.announce(appended);
        Ok(last)
    }

    /// Those that are not known to be stored, each once.
    fn codes_to_store(&self, codes: Vec<v1::Code>) -> Result<Vec<(B256, prost::bytes::Bytes)>, LogError> {
        let stored = lock(&self.stored_codes);
        let mut fresh = HashSet::new();
        let mut kept = Vec::new();
        for code in codes {
            let hash = wire::hash("code.hash", &code.hash)?;
            if !stored.contains(&hash) && fresh.insert(hash) {
                kept.push((hash, code.bytecode));
            }
        }
        Ok(kept)
    }

    /// Appends events behind the last one, inside a transaction of the caller's.
    pub(super) async fn insert_entries(
        &self,
        db: &mut AnyConnection,
        entries: Vec<Entry>,
    ) -> Result<Appended, LogError> {
        let mut appending = Appending::behind(last_cursor(&mut *db).await?);
        for entry in entries {
            let numbers = self.numbers_of(&entry.assigned)?;
            appending.take(db, entry, &numbers).await?;
        }
        appending.end(db).await
    }

    pub(super) fn numbers_of(&self, hotkeys: &[Hotkey]) -> Result<Vec<i64>, LogError> {
        let known = lock(&self.numbers);
        let number = |hotkey| known.get(hotkey).copied();
        hotkeys
            .iter()
            .map(number)
            .collect::<Option<_>>()
            .ok_or_else(|| LogError::Malformed {
                what: "an assigned validator is unknown".into(),
            })
    }

    async fn read_page(&self, reader: &Hotkey, after: u64) -> Result<Page, LogError> {
        let newest = lock(&self.tail).page(reader, after);
        if let Some(page) = newest {
            return Ok(page);
        }
        // Read before the items: what is appended in between belongs to the next page.
        let last = self.last_cursor().await?;
        let mut page = Page {
            items: Vec::new(),
            through: last.max(after),
        };
        if last <= after {
            return Ok(page);
        }
        // A hotkey without a number has no assignments.
        let number = self.number(reader).await?.unwrap_or(-1);
        let mut rows = sqlx::query(
            "SELECT i.cursor, i.payload FROM items i WHERE i.cursor > $1 AND i.cursor <= $2 AND (i.kind <> 2 OR EXISTS
               (SELECT 1 FROM assignments a WHERE a.validator = $3 AND a.cursor = i.cursor))
             ORDER BY i.cursor LIMIT $4",
        )
        .bind(signed(after))
        .bind(signed(last))
        .bind(number)
        .bind(signed(PAGE_ITEMS as u64))
        .fetch(self.pool());
        let mut bytes = 0;
        while let Some(row) = rows.next().await {
            let (cursor, item, size) = item(&row?)?;
            bytes += size;
            page.items.push(item);
            if bytes >= PAGE_BYTES || page.items.len() == PAGE_ITEMS {
                page.through = cursor;
                break;
            }
        }
        Ok(page)
    }

    async fn read_in_force(&self, cursor: u64) -> Result<Vec<v1::StreamItem>, LogError> {
        let rows = sqlx::query(
            "SELECT cursor, payload FROM items WHERE cursor IN (
               (SELECT max(cursor) FROM items WHERE kind = 1 AND cursor <= $1),
               (SELECT max(cursor) FROM items WHERE kind = 4 AND cursor <= $1))
             ORDER BY cursor",
        )
        .bind(signed(cursor))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| item(row).map(|(_, item, _)| item)).collect()
    }

    async fn read_waiting(&self, limit: usize) -> Result<Vec<Waiting>, LogError> {
        let mut rows = sqlx::query(
            "SELECT i.cursor, i.payload FROM transactions t JOIN items i ON i.cursor = t.last_cursor
             WHERE t.included_at_ms IS NULL AND t.left_cursor IS NULL ORDER BY t.first_cursor DESC LIMIT $1",
        )
        .bind(signed(limit as u64))
        .fetch(self.pool());
        let mut waiting = Vec::new();
        while let Some(row) = rows.next().await {
            let (_, item, _) = item(&row?)?;
            let Some(Event::Pending(v1::PendingTransaction {
                transaction: Some(transaction),
                prestate,
                predecessors,
                ..
            })) = item.event
            else {
                continue;
            };
            let prestate = prestate.as_ref().map(ShippedPrestate::from_wire).transpose()?;
            let alone = predecessors.is_empty();
            waiting.push(Waiting {
                transaction,
                state_digest: prestate.as_ref().filter(|_| alone).map(ShippedPrestate::state_digest),
            });
        }
        waiting.reverse();
        Ok(waiting)
    }

    async fn read_codes(&self, hashes: &[B256]) -> Result<Vec<v1::Code>, LogError> {
        let mut codes = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let bytecode: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytecode FROM codes WHERE hash = $1")
                .bind(hash.as_slice())
                .fetch_optional(self.pool())
                .await?;
            let bytecode = bytecode.ok_or_else(|| LogError::Malformed {
                what: format!("bytecode {hash} is not there"),
            })?;
            codes.push(v1::Code {
                hash: wire::hash_bytes(*hash),
                bytecode: bytecode.into(),
            });
        }
        Ok(codes)
    }
}

/// An item of the log with its cursor and its size.
fn item(row: &sqlx::any::AnyRow) -> Result<(u64, v1::StreamItem, usize), LogError> {
    let cursor = unsigned(row.try_get("cursor")?);
    let payload: Vec<u8> = row.try_get("payload")?;
    let size = payload.len();
    let mut item: v1::StreamItem = decode("items.payload", payload)?;
    item.cursor = cursor;
    Ok((cursor, item, size))
}

/// Moves a feed on, if it still stands where the batch starts.
async fn advance(db: &mut AnyConnection, progress: &Progress) -> Result<(), LogError> {
    let stands: Option<String> = sqlx::query_scalar("SELECT position FROM feeds WHERE name = $1")
        .bind(&progress.feed)
        .fetch_optional(&mut *db)
        .await?;
    if stands != progress.from {
        return Err(LogError::Overtaken {
            feed: progress.feed.clone(),
        });
    }
    sqlx::query(
        "INSERT INTO feeds (name, position, ended) VALUES ($1, $2, $3)
         ON CONFLICT (name) DO UPDATE SET position = $2, ended = $3",
    )
    .bind(&progress.feed)
    .bind(&progress.to)
    .bind(i64::from(progress.ended))
    .execute(db)
    .await?;
    Ok(())
}
