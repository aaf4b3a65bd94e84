//! The validator's memory: one SQLite file, in which an item and everything that follows from it are one transaction.
//!
//! A crash between any two statements leaves an item either judged, scored and in the outbox, or none of these; so after a
//! restart nothing is missing and nothing counts twice.

use std::collections::HashSet;
use std::path::Path;

use protos::v1;
use sqlx::{Row, SqlitePool};

mod codes;
mod outbox;
mod timelines;
mod truth;
mod weights;
mod windows;

pub use outbox::{Outbox, Refused};
pub use timelines::Told;
pub use truth::{Canary, CanaryCount, Dispute, MOST_DISPUTES};
pub use weights::{NewReport, Report, Stage, WaitingNote, Weight};
pub use windows::{Sample, Total};

/// An sr25519 public key.
pub type Hotkey = [u8; 32];

/// The database failed: nothing of what was to be written is written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] node::database::DatabaseError),
    /// A statement failed.
    #[error("validator database: {0}")]
    Statement(#[from] sqlx::Error),
    /// The histogram of latencies cannot be made.
    #[error("latency histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// A row does not hold what this program writes.
    #[error("validator database: table {table} holds a malformed row; was the file changed by hand?")]
    Malformed {
        /// Which table.
        table: &'static str,
    },
    /// The defence's database failed: what was confirmed is not stored there.
    #[error(transparent)]
    Defence(#[from] defence::StoreError),
}

/// An item that is judged, with everything that follows from it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The item.
    pub cursor: u64,
    /// The validator's own engine decided.
    pub arbitrated: bool,
    /// One for each miner that was asked; empty when there is no truth to hold them against.
    pub samples: Vec<Sample>,
    /// For the platform.
    pub report: v1::TransactionReport,
    /// When somebody was wrong or a violation was confirmed: what the validator's own engine said, and what each miner had said.
    pub dispute: Option<Dispute>,
}

/// Where the validator stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Resume after it.
    pub low_water: u64,
    /// Items judged.
    pub judged: u64,
    /// By the validator's own engine.
    pub arbitrated: u64,
    /// Items that came again.
    pub repeated: u64,
    /// Epochs whose weights the ledger took.
    pub weights_set: u64,
    /// The ledger's epoch at which the open window was opened; `None` before the first.
    pub epoch: Option<u64>,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// When it is no database of this program.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let pool = node::database::open(path, &sqlx_macros::migrate!()).await?;
        Ok(Self { pool })
    }

    /// Where the validator stands.
    ///
    /// # Errors
    /// The database fails.
    pub async fn standing(&self) -> Result<Standing, StoreError> {
        let row = sqlx::query(
            "SELECT low_water, judged, arbitrated, repeated, weights_set, closed_epoch FROM progress WHERE id = 1",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Standing {
            low_water: unsigned(row.try_get(0)?),
            judged: unsigned(row.try_get(1)?),
            arbitrated: unsigned(row.try_get(2)?),
            repeated: unsigned(row.try_get(3)?),
            weights_set: unsigned(row.try_get(4)?),
            epoch: row.try_get::<Option<i64>, _>(5)?.map(unsigned),
        })
    }

    /// Items after the low-water mark that are judged already.
    ///
    /// # Errors
    /// The database fails.
    pub async fn judged_after_low_water(&self) -> Result<HashSet<u64>, StoreError> {
        let cursors: Vec<i64> = sqlx::query_scalar("SELECT cursor FROM judged")
            .fetch_all(&self.pool)
            .await?;
        Ok(cursors.into_iter().map(unsigned).collect())
    }

    /// An item came again and was known.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count_repeated(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE progress SET repeated = repeated + 1 WHERE id = 1")
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Records judged items and the new low-water mark, all or nothing. An item that is recorded already changes nothing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record(&self, items: &[Judged], low_water: u64) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let cursors: Vec<i64> =
            sqlx::query_scalar("INSERT OR IGNORE INTO judged (cursor) SELECT value FROM json_each(?) RETURNING cursor")
                .bind(json(items.iter().map(|item| item.cursor)))
                .fetch_all(&mut *tx)
                .await?;
        let mut new: HashSet<u64> = cursors.into_iter().map(unsigned).collect();
        let items: Vec<&Judged> = items.iter().filter(|item| new.remove(&item.cursor)).collect();
        windows::add_samples(&mut tx, items.iter().flat_map(|item| &item.samples)).await?;
        for dispute in items.iter().filter_map(|item| item.dispute.as_ref()) {
            truth::add_dispute(&mut tx, dispute).await?;
        }
        outbox::post_transactions(&mut tx, items.iter().map(|item| &item.report)).await?;
        sqlx::query(
            "UPDATE progress SET judged = judged + ?1, arbitrated = arbitrated + ?2, low_water = max(low_water, ?3) WHERE id = 1",
        )
        .bind(signed(items.len() as u64))
        .bind(signed(items.iter().filter(|item| item.arbitrated).count() as u64))
        .bind(signed(low_water))
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM judged WHERE cursor <= ?")
            .bind(signed(low_water))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

fn hotkey(bytes: Vec<u8>, table: &'static str) -> Result<Hotkey, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Malformed { table })
}

/// Rows for `json_each`: many of them go to the database in one statement.
fn json<T: serde::Serialize>(rows: impl Iterator<Item = T>) -> String {
    serde_json::Value::from_iter(rows.map(|row| serde_json::json!(row))).to_string()
}

/// SQLite's integers are signed; cursors, epochs and counts stay far below the sign.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// A store of its own, with the folder that holds it.
    pub(crate) async fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("validator.db")).await.unwrap();
        (store, folder)
    }

    /// A judged item with one sample, of the miner whose hotkey is all fours.
    pub(crate) fn judged(cursor: u64, latency: Option<u64>) -> Judged {
        Judged {
            cursor,
            arbitrated: cursor.is_multiple_of(2),
            samples: vec![Sample {
                hotkey: [4; 32],
                latency,
                correct: latency.is_some(),
                ..Sample::default()
            }],
            report: v1::TransactionReport {
                cursor,
                ..Default::default()
            },
            dispute: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{judged, store};
    use super::*;

    #[tokio::test]
    async fn an_item_that_is_recorded_twice_counts_once() {
        let (store, _folder) = store().await;
        store
            .record(&[judged(5, Some(1_000)), judged(7, None)], 5)
            .await
            .unwrap();
        store.record(&[judged(7, Some(9))], 5).await.unwrap();
        let standing = store.standing().await.unwrap();
        assert_eq!((standing.judged, standing.arbitrated, standing.low_water), (2, 0, 5));
        let window = store.window(0).await.unwrap()[&[4; 32]];
        assert_eq!((window.asked, window.answered, window.correct), (2, 1, 1));
        assert_eq!(store.judged_after_low_water().await.unwrap(), HashSet::from([7]));
        assert_eq!(store.outbox(10).await.unwrap().request.transactions.len(), 2);
    }

    #[tokio::test]
    async fn what_was_recorded_is_there_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("validator.db");
        let store = Store::open(&path).await.unwrap();
        store
            .record(&[judged(1, Some(500)), judged(3, Some(700))], 1)
            .await
            .unwrap();
        std::mem::forget(store);
        let store = Store::open(&path).await.unwrap();
        assert_eq!(store.standing().await.unwrap().judged, 2);
        assert_eq!(store.judged_after_low_water().await.unwrap(), HashSet::from([3]));
    }
}
