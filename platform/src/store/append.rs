//! Appending to the embedded log: events in their order, written many rows at a time.
//!
//! Rows are gathered and written together; before an event that changes transactions that were gathered (a head that includes
//! them, one that is logged again) what was gathered is written. So the outcome is that of one event after the other.

use std::collections::HashSet;

use prost::Message;
use protos::v1;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::rows::{list, runs, values};
use super::{now_ms, signed, unsigned};
use crate::log::{Entry, Event, LogError};
use crate::tail::Delivered;

pub(super) const KIND_HEAD: i64 = 1;
pub(super) const KIND_PENDING: i64 = 2;
/// A pending transaction left without being included.
const KIND_LEFT: i64 = 3;
pub(super) const KIND_INVARIANT_SET: i64 = 4;
const KIND_FEED_ENDED: i64 = 5;

const fn kind(event: &Event) -> i64 {
    match event {
        Event::Head(_) => KIND_HEAD,
        Event::Pending(_) => KIND_PENDING,
        Event::Replaced(_) | Event::Dropped(_) => KIND_LEFT,
        Event::InvariantSet(_) => KIND_INVARIANT_SET,
        Event::FeedEnded(_) => KIND_FEED_ENDED,
    }
}

/// A batch on its way into the tables, inside a transaction of the caller's.
#[derive(Debug, Default)]
pub(super) struct Appending {
    /// Of the last event that was taken.
    cursor: i64,
    /// Unix milliseconds.
    now: i64,
    items: Vec<Item>,
    transactions: Vec<Transaction>,
    /// Of `transactions`.
    hashes: HashSet<Vec<u8>>,
    /// Validator and cursor.
    assignments: Vec<(i64, i64)>,
    new_transactions: u64,
    assigned: u64,
    taken: Vec<Delivered>,
}

/// What was appended: for the log's readers, once it is committed.
#[derive(Debug)]
pub(super) struct Appended {
    /// The last cursor.
    pub last: u64,
    /// In their order.
    pub items: Vec<Delivered>,
}

#[derive(Debug)]
struct Item {
    cursor: i64,
    kind: i64,
    tx_hash: Option<Vec<u8>>,
    payload: Vec<u8>,
}

#[derive(Debug)]
struct Transaction {
    hash: Vec<u8>,
    sender: Vec<u8>,
    cursor: i64,
}

impl Appending {
    /// Behind the item of this cursor.
    pub(super) fn behind(cursor: i64) -> Self {
        Self {
            cursor,
            now: now_ms(),
            ..Self::default()
        }
    }

    /// Takes the next entry; `validators` are the numbers of those to whom it is assigned.
    pub(super) async fn take(
        &mut self,
        db: &mut AnyConnection,
        entry: Entry,
        validators: &[i64],
    ) -> Result<(), LogError> {
        self.cursor += 1;
        let cursor = self.cursor;
        let Entry { event, assigned } = entry;
        let pending = match &event {
            Event::Pending(pending) => pending.transaction.as_ref(),
            _ => None,
        };
        let tx_hash = pending.map(|transaction| transaction.hash.to_vec());
        if let (Some(transaction), Some(hash)) = (pending, &tx_hash) {
            if !self.hashes.insert(hash.clone()) {
                self.write(db).await?;
                self.hashes.insert(hash.clone());
            }
            self.transactions.push(Transaction {
                hash: hash.clone(),
                sender: transaction.sender.to_vec(),
                cursor,
            });
        }
        self.assigned += validators.len() as u64;
        self.assignments
            .extend(validators.iter().map(|number| (*number, cursor)));
        let item = v1::StreamItem {
            cursor: 0,
            event: Some(event),
            codes: Vec::new(),
        };
        let payload = item.encode_to_vec();
        let bytes = payload.len();
        let readers = tx_hash.is_some().then_some(assigned);
        self.items.push(Item {
            cursor,
            kind: item.event.as_ref().map_or(0, kind),
            tx_hash,
            payload,
        });
        match &item.event {
            Some(Event::Replaced(replaced)) => self.left(db, &replaced.old_hash).await?,
            Some(Event::Dropped(dropped)) => self.left(db, &dropped.hash).await?,
            Some(Event::Head(head)) => self.included(db, &head.included).await?,
            _ => {}
        }
        let cursor = unsigned(cursor);
        self.taken.push(Delivered {
            cursor,
            item: Some(v1::StreamItem { cursor, ..item }),
            readers,
            bytes,
        });
        Ok(())
    }

    /// Writes what is left.
    pub(super) async fn end(mut self, db: &mut AnyConnection) -> Result<Appended, LogError> {
        self.write(db).await?;
        if self.new_transactions + self.assigned > 0 {
            sqlx::query("UPDATE totals SET transactions = transactions + $1, assigned = assigned + $2")
                .bind(signed(self.new_transactions))
                .bind(signed(self.assigned))
                .execute(db)
                .await?;
        }
        Ok(Appended {
            last: unsigned(self.cursor),
            items: self.taken,
        })
    }

    async fn left(&mut self, db: &mut AnyConnection, hash: &[u8]) -> Result<(), LogError> {
        self.write(db).await?;
        sqlx::query("UPDATE transactions SET left_cursor = $1 WHERE hash = $2")
            .bind(self.cursor)
            .bind(hash)
            .execute(db)
            .await?;
        Ok(())
    }

    async fn included(&mut self, db: &mut AnyConnection, hashes: &[prost::bytes::Bytes]) -> Result<(), LogError> {
        self.write(db).await?;
        for run in runs(hashes) {
            let update = format!(
                "UPDATE transactions SET included_at_ms = $1 WHERE included_at_ms IS NULL AND hash IN ({})",
                list(run.len(), 2)
            );
            let update = sqlx::query(AssertSqlSafe(update)).bind(self.now);
            let update = run.iter().fold(update, |query, hash| query.bind(hash.as_ref()));
            update.execute(&mut *db).await?;
        }
        Ok(())
    }

    /// Writes what was gathered.
    async fn write(&mut self, db: &mut AnyConnection) -> Result<(), LogError> {
        for run in runs(&self.items) {
            let insert = format!(
                "INSERT INTO items (cursor, kind, logged_at_ms, tx_hash, payload) VALUES {}",
                values(run.len(), 5)
            );
            let mut insert = sqlx::query(AssertSqlSafe(insert));
            for item in run {
                insert = insert
                    .bind(item.cursor)
                    .bind(item.kind)
                    .bind(self.now)
                    .bind(item.tx_hash.as_deref())
                    .bind(item.payload.as_slice());
            }
            insert.execute(&mut *db).await?;
        }
        for run in runs(&self.transactions) {
            // One that is logged again waits again, whatever became of it before.
            let insert = format!(
                "INSERT INTO transactions (hash, sender, first_cursor, last_cursor) VALUES {}
                 ON CONFLICT (hash) DO UPDATE SET last_cursor = excluded.last_cursor, included_at_ms = NULL, left_cursor = NULL
                 RETURNING first_cursor, last_cursor",
                values(run.len(), 4)
            );
            let mut insert = sqlx::query_as::<_, (i64, i64)>(AssertSqlSafe(insert));
            for transaction in run {
                insert = insert
                    .bind(transaction.hash.as_slice())
                    .bind(transaction.sender.as_slice())
                    .bind(transaction.cursor)
                    .bind(transaction.cursor);
            }
            let written = insert.fetch_all(&mut *db).await?;
            self.new_transactions += written.iter().filter(|(first, last)| first == last).count() as u64;
        }
        for run in runs(&self.assignments) {
            let insert = format!(
                "INSERT INTO assignments (validator, cursor) VALUES {}",
                values(run.len(), 2)
            );
            let insert = run
                .iter()
                .fold(sqlx::query(AssertSqlSafe(insert)), |query, (validator, cursor)| {
                    query.bind(*validator).bind(*cursor)
                });
            insert.execute(&mut *db).await?;
        }
        self.items.clear();
        self.transactions.clear();
        self.hashes.clear();
        self.assignments.clear();
        Ok(())
    }
}
