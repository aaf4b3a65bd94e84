//! The embedded log: tables `items`, `assignments`, `codes`, `transactions` and `feeds`.

use std::collections::HashSet;

use alloy::primitives::B256;
use futures::{FutureExt, StreamExt};
use prost::Message;
use protos::v1;
use sqlx::{Row, SqliteConnection};
use tokio::sync::watch;
use wire::{ShippedPrestate, Wire};

use super::{KNOWN_CODES, Store, decode, last_cursor, lock, now_ms, signed, unsigned};
use crate::assignment::Hotkey;
use crate::log::{Batch, Entry, Event, Log, LogError, LogFuture, Page, Progress, Waiting};

/// A page ends after so many items, or as soon as it holds so many bytes: what a stream keeps in memory.
const PAGE_ITEMS: i64 = 64;
const PAGE_BYTES: usize = 4 << 20;

pub(super) const KIND_HEAD: i64 = 1;
pub(super) const KIND_PENDING: i64 = 2;
/// A pending transaction left without being included.
const KIND_LEFT: i64 = 3;
pub(super) const KIND_INVARIANT_SET: i64 = 4;

const fn kind(event: &Event) -> i64 {
    match event {
        Event::Head(_) => KIND_HEAD,
        Event::Pending(_) => KIND_PENDING,
        Event::Replaced(_) | Event::Dropped(_) => KIND_LEFT,
        Event::InvariantSet(_) => KIND_INVARIANT_SET,
        Event::FeedEnded(_) => 5,
    }
}

impl Log for Store {
    fn append(&self, batch: Batch) -> LogFuture<'_, u64> {
        self.append_batch(batch).boxed()
    }

    fn page<'a>(&'a self, reader: &'a Hotkey, after: u64) -> LogFuture<'a, Page> {
        self.read_page(reader, after).boxed()
    }

    fn in_force(&self, cursor: u64) -> LogFuture<'_, Vec<v1::StreamItem>> {
        self.read_in_force(cursor).boxed()
    }

    fn codes<'a>(&'a self, hashes: &'a [B256]) -> LogFuture<'a, Vec<v1::Code>> {
        self.read_codes(hashes).boxed()
    }

    fn position<'a>(&'a self, feed: &'a str) -> LogFuture<'a, Option<(String, bool)>> {
        async move {
            let row: Option<(String, bool)> = sqlx::query_as("SELECT position, ended FROM feeds WHERE name = ?")
                .bind(feed)
                .fetch_optional(&self.pool)
                .await?;
            Ok(row)
        }
        .boxed()
    }

    fn waiting(&self, limit: usize) -> LogFuture<'_, Vec<Waiting>> {
        self.read_waiting(limit).boxed()
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
            sqlx::query("INSERT INTO codes (hash, bytecode) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(hash.as_slice())
                .bind(code.as_ref())
                .execute(writing.connection())
                .await?;
        }
        let last = self.insert_entries(writing.connection(), batch.entries).await?;
        writing.commit().await?;

        let mut stored = lock(&self.stored_codes);
        if stored.len() + codes.len() > KNOWN_CODES {
            stored.clear();
        }
        stored.extend(codes.into_iter().map(|(hash, _)| hash));
        drop(stored);
        self.announce(last);
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

    /// Appends events behind the last one, inside a transaction of the caller's; gives the last cursor.
    pub(super) async fn insert_entries(&self, db: &mut SqliteConnection, entries: Vec<Entry>) -> Result<u64, LogError> {
        let mut cursor = last_cursor(&mut *db).await?;
        let now = now_ms();
        let (mut new_transactions, mut assignments) = (0u64, 0u64);
        for entry in entries {
            cursor += 1;
            let kind = kind(&entry.event);
            let item = v1::StreamItem {
                cursor: 0,
                event: Some(entry.event),
                codes: Vec::new(),
            };
            let pending = match &item.event {
                Some(Event::Pending(pending)) => pending.transaction.as_ref(),
                _ => None,
            };
            sqlx::query("INSERT INTO items (cursor, kind, logged_at_ms, tx_hash, payload) VALUES (?, ?, ?, ?, ?)")
                .bind(cursor)
                .bind(kind)
                .bind(now)
                .bind(pending.map(|transaction| transaction.hash.as_ref()))
                .bind(item.encode_to_vec())
                .execute(&mut *db)
                .await?;
            if let Some(transaction) = pending {
                // One that is logged again waits again, whatever became of it before.
                let first: i64 = sqlx::query_scalar(
                    "INSERT INTO transactions (hash, sender, first_cursor, last_cursor) VALUES (?1, ?2, ?3, ?3)
                     ON CONFLICT (hash) DO UPDATE SET last_cursor = ?3, included_at_ms = NULL, left_cursor = NULL
                     RETURNING first_cursor",
                )
                .bind(transaction.hash.as_ref())
                .bind(transaction.sender.as_ref())
                .bind(cursor)
                .fetch_one(&mut *db)
                .await?;
                new_transactions += u64::from(first == cursor);
            }
            for hotkey in &entry.assigned {
                let number = lock(&self.numbers).get(hotkey).copied();
                let number = number.ok_or_else(|| LogError::Malformed {
                    what: "an assigned validator is unknown".into(),
                })?;
                sqlx::query("INSERT INTO assignments (validator, cursor) VALUES (?, ?)")
                    .bind(number)
                    .bind(cursor)
                    .execute(&mut *db)
                    .await?;
                assignments += 1;
            }
            let left = match &item.event {
                Some(Event::Replaced(replaced)) => Some(&replaced.old_hash),
                Some(Event::Dropped(dropped)) => Some(&dropped.hash),
                _ => None,
            };
            if let Some(hash) = left {
                sqlx::query("UPDATE transactions SET left_cursor = ? WHERE hash = ?")
                    .bind(cursor)
                    .bind(hash.as_ref())
                    .execute(&mut *db)
                    .await?;
            }
            if let Some(Event::Head(head)) = &item.event {
                for hash in &head.included {
                    sqlx::query("UPDATE transactions SET included_at_ms = ? WHERE hash = ? AND included_at_ms IS NULL")
                        .bind(now)
                        .bind(hash.as_ref())
                        .execute(&mut *db)
                        .await?;
                }
            }
        }
        if new_transactions + assignments > 0 {
            sqlx::query("UPDATE totals SET transactions = transactions + ?, assigned = assigned + ?")
                .bind(signed(new_transactions))
                .bind(signed(assignments))
                .execute(&mut *db)
                .await?;
        }
        Ok(unsigned(cursor))
    }

    async fn read_page(&self, reader: &Hotkey, after: u64) -> Result<Page, LogError> {
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
            "SELECT i.cursor, i.payload FROM items i WHERE i.cursor > ?1 AND i.cursor <= ?2 AND (i.kind <> 2 OR EXISTS
               (SELECT 1 FROM assignments a WHERE a.validator = ?3 AND a.cursor = i.cursor))
             ORDER BY i.cursor LIMIT ?4",
        )
        .bind(signed(after))
        .bind(signed(last))
        .bind(number)
        .bind(PAGE_ITEMS)
        .fetch(&self.pool);
        let mut bytes = 0;
        while let Some(row) = rows.next().await {
            let (cursor, item, size) = item(&row?)?;
            bytes += size;
            page.items.push(item);
            if bytes >= PAGE_BYTES || signed(page.items.len() as u64) == PAGE_ITEMS {
                page.through = cursor;
                break;
            }
        }
        Ok(page)
    }

    async fn read_in_force(&self, cursor: u64) -> Result<Vec<v1::StreamItem>, LogError> {
        let rows = sqlx::query(
            "SELECT cursor, payload FROM items WHERE cursor IN (
               (SELECT max(cursor) FROM items WHERE kind = 1 AND cursor <= ?1),
               (SELECT max(cursor) FROM items WHERE kind = 4 AND cursor <= ?1))
             ORDER BY cursor",
        )
        .bind(signed(cursor))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| item(row).map(|(_, item, _)| item)).collect()
    }

    async fn read_waiting(&self, limit: usize) -> Result<Vec<Waiting>, LogError> {
        let mut rows = sqlx::query(
            "SELECT i.cursor, i.payload FROM transactions t JOIN items i ON i.cursor = t.last_cursor
             WHERE t.included_at_ms IS NULL AND t.left_cursor IS NULL ORDER BY t.first_cursor DESC LIMIT ?",
        )
        .bind(signed(limit as u64))
        .fetch(&self.pool);
        let mut waiting = Vec::new();
        while let Some(row) = rows.next().await {
            let (_, item, _) = item(&row?)?;
            let Some(Event::Pending(v1::PendingTransaction {
                transaction: Some(transaction),
                prestate,
                ..
            })) = item.event
            else {
                continue;
            };
            let prestate = prestate.as_ref().map(ShippedPrestate::from_wire).transpose()?;
            waiting.push(Waiting {
                transaction,
                state_digest: prestate.as_ref().map(ShippedPrestate::state_digest),
            });
        }
        waiting.reverse();
        Ok(waiting)
    }

    async fn read_codes(&self, hashes: &[B256]) -> Result<Vec<v1::Code>, LogError> {
        let mut codes = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let bytecode: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytecode FROM codes WHERE hash = ?")
                .bind(hash.as_slice())
                .fetch_optional(&self.pool)
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
fn item(row: &sqlx::sqlite::SqliteRow) -> Result<(u64, v1::StreamItem, usize), LogError> {
    let cursor = unsigned(row.try_get("cursor")?);
    let payload: Vec<u8> = row.try_get("payload")?;
    let size = payload.len();
    let mut item: v1::StreamItem = decode("items.payload", payload)?;
    item.cursor = cursor;
    Ok((cursor, item, size))
}

/// Moves a feed on, if it still stands where the batch starts.
async fn advance(db: &mut SqliteConnection, progress: &Progress) -> Result<(), LogError> {
    let stands: Option<String> = sqlx::query_scalar("SELECT position FROM feeds WHERE name = ?")
        .bind(&progress.feed)
        .fetch_optional(&mut *db)
        .await?;
    if stands != progress.from {
        return Err(LogError::Overtaken {
            feed: progress.feed.clone(),
        });
    }
    sqlx::query(
        "INSERT INTO feeds (name, position, ended) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET position = ?2, ended = ?3",
    )
    .bind(&progress.feed)
    .bind(&progress.to)
    .bind(progress.ended)
    .execute(db)
    .await?;
    Ok(())
}
