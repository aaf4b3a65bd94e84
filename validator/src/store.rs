//! The validator's memory: one SQLite file, in which an item and everything that follows from it are one transaction.
//!
//! A crash between any two statements leaves an item either judged, scored and in the outbox, or none of these; so after a
//! restart nothing is missing and nothing counts twice.

use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::path::Path;
use std::time::Duration;

use engine::{B256, Bytes};
use hdrhistogram::Histogram;
use prost::Message;
use protos::v1;
use sqlx::{Row, Sqlite, SqlitePool, Transaction};

use crate::score::Window;

/// An sr25519 public key.
pub type Hotkey = [u8; 32];

/// The sum of windows that are not kept apart any more.
const FOLDED: i64 = -1;

/// How many scored windows are kept apart.
const KEPT_WINDOWS: i64 = 8;

const TRANSACTION_REPORT: i64 = 0;
const INCIDENT_REPORT: i64 = 1;

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
}

/// What one miner did with one challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Whose.
    pub hotkey: Hotkey,
    /// Microseconds to a checked answer; `None` when there was none in time.
    pub latency: Option<u64>,
    /// The answer was the truth.
    pub correct: bool,
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

/// Reports that wait for the platform.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The greatest id in it.
    pub last_id: i64,
    /// The reports.
    pub request: v1::ReportRequest,
}

/// A miner since the beginning.
#[derive(Debug, Clone, Default)]
pub struct Total {
    /// Challenges sent.
    pub asked: u64,
    /// Answers in time.
    pub answered: u64,
    /// Answers that were the truth.
    pub correct: u64,
    /// (microseconds, count), ascending.
    pub latency: Vec<(u64, u64)>,
    /// Moving average of the score.
    pub average: f64,
    /// Last reported weight.
    pub weight: u16,
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
        let pool = node::database::open(path, &sqlx::migrate!()).await?;
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
        for item in items {
            let new = sqlx::query("INSERT OR IGNORE INTO judged (cursor) VALUES (?)")
                .bind(signed(item.cursor))
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if new == 0 {
                continue;
            }
            sqlx::query("UPDATE progress SET judged = judged + 1, arbitrated = arbitrated + ? WHERE id = 1")
                .bind(i64::from(item.arbitrated))
                .execute(&mut *tx)
                .await?;
            for sample in &item.samples {
                add_sample(&mut tx, sample).await?;
            }
            post(&mut tx, TRANSACTION_REPORT, &item.report).await?;
        }
        sqlx::query("UPDATE progress SET low_water = max(low_water, ?1) WHERE id = 1")
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

    /// Records a confirmed incident; false when it is known.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_incident(&self, report: &v1::IncidentReport) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        let new = sqlx::query("INSERT OR IGNORE INTO incident (tx_hash, invariant_id) VALUES (?, ?)")
            .bind(&report.tx_hash[..])
            .bind(signed(report.invariant_id))
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if new > 0 {
            post(&mut tx, INCIDENT_REPORT, report).await?;
        }
        tx.commit().await?;
        Ok(new > 0)
    }

    /// The oldest reports that the platform has not confirmed, at most `limit`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn outbox(&self, limit: u32) -> Result<Outbox, StoreError> {
        let rows = sqlx::query("SELECT id, kind, payload FROM outbox ORDER BY id LIMIT ?")
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        let malformed = |_| StoreError::Malformed { table: "outbox" };
        let mut outbox = Outbox::default();
        for row in rows {
            outbox.last_id = row.try_get(0)?;
            let payload: Vec<u8> = row.try_get(2)?;
            match row.try_get::<i64, _>(1)? {
                TRANSACTION_REPORT => outbox
                    .request
                    .transactions
                    .push(v1::TransactionReport::decode(payload.as_slice()).map_err(malformed)?),
                _ => outbox
                    .request
                    .incidents
                    .push(v1::IncidentReport::decode(payload.as_slice()).map_err(malformed)?),
            }
        }
        Ok(outbox)
    }

    /// The platform has the reports up to `last_id`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn confirm_outbox(&self, last_id: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM outbox WHERE id <= ?")
            .bind(last_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Keeps bytecode.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_codes(&self, codes: &[(B256, Bytes)]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for (hash, code) in codes {
            sqlx::query("INSERT OR IGNORE INTO code (hash, bytecode) VALUES (?, ?)")
                .bind(&hash[..])
                .bind(&code[..])
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Bytecode by its hash.
    ///
    /// # Errors
    /// The database fails.
    pub async fn code(&self, hash: B256) -> Result<Option<Bytes>, StoreError> {
        let code: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytecode FROM code WHERE hash = ?")
            .bind(&hash[..])
            .fetch_optional(&self.pool)
            .await?;
        Ok(code.map(Bytes::from))
    }

    /// What each miner did in one window.
    ///
    /// # Errors
    /// The database fails.
    pub async fn window(&self, window: u64) -> Result<BTreeMap<Hotkey, Window>, StoreError> {
        let rows = sqlx::query("SELECT hotkey, asked, answered, correct FROM sample WHERE window = ?")
            .bind(signed(window))
            .fetch_all(&self.pool)
            .await?;
        let mut windows = BTreeMap::new();
        for row in rows {
            let window = Window {
                asked: unsigned(row.try_get(1)?),
                answered: unsigned(row.try_get(2)?),
                correct: unsigned(row.try_get(3)?),
                l99: None,
            };
            windows.insert(hotkey(row.try_get(0)?, "sample")?, window);
        }
        let rows = sqlx::query("SELECT hotkey, micros, count FROM latency WHERE window = ?")
            .bind(signed(window))
            .fetch_all(&self.pool)
            .await?;
        let mut histograms: BTreeMap<Hotkey, Histogram<u64>> = BTreeMap::new();
        for row in rows {
            let hotkey = hotkey(row.try_get(0)?, "latency")?;
            let histogram = match histograms.entry(hotkey) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Histogram::new_with_max(LONGEST_LATENCY, 2)?),
            };
            histogram.saturating_record_n(unsigned(row.try_get(1)?), unsigned(row.try_get(2)?));
        }
        for (hotkey, histogram) in histograms {
            if let Some(window) = windows.get_mut(&hotkey) {
                window.l99 = Some(Duration::from_micros(histogram.value_at_quantile(0.99)));
            }
        }
        Ok(windows)
    }

    /// The moving averages.
    ///
    /// # Errors
    /// The database fails.
    pub async fn averages(&self) -> Result<BTreeMap<Hotkey, f64>, StoreError> {
        let rows = sqlx::query("SELECT hotkey, average FROM score")
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| Ok((hotkey(row.try_get(0)?, "score")?, row.try_get(1)?)))
            .collect()
    }

    /// The ledger reached `epoch`: samples go into a new window from now on. The first epoch that is seen only opens one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn roll_window(&self, epoch: u64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE progress SET window = window + (closed_epoch IS NOT NULL), closed_epoch = ?1
             WHERE id = 1 AND (closed_epoch IS NULL OR closed_epoch < ?1)",
        )
        .bind(signed(epoch))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The oldest window that is closed and not scored yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unscored_window(&self) -> Result<Option<u64>, StoreError> {
        let window: Option<i64> =
            sqlx::query_scalar("SELECT scored + 1 FROM progress WHERE id = 1 AND scored + 1 < window")
                .fetch_optional(&self.pool)
                .await?;
        Ok(window.map(unsigned))
    }

    /// Keeps the averages after `window`, and folds windows that are too old to be kept apart.
    ///
    /// # Errors
    /// The database fails.
    pub async fn save_averages(&self, window: u64, averages: &BTreeMap<Hotkey, f64>) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for (hotkey, average) in averages {
            sqlx::query(
                "INSERT INTO score (hotkey, average) VALUES (?, ?) ON CONFLICT DO UPDATE SET average = excluded.average",
            )
            .bind(&hotkey[..])
            .bind(average)
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query("UPDATE progress SET scored = ? WHERE id = 1")
            .bind(signed(window))
            .execute(&mut *tx)
            .await?;
        let oldest_kept = signed(window) - KEPT_WINDOWS;
        for fold in [
            "INSERT INTO sample SELECT ?1, hotkey, sum(asked), sum(answered), sum(correct) FROM sample
             WHERE window >= 0 AND window < ?2 GROUP BY hotkey
             ON CONFLICT DO UPDATE SET asked = asked + excluded.asked, answered = answered + excluded.answered,
                                       correct = correct + excluded.correct",
            "INSERT INTO latency SELECT ?1, hotkey, micros, sum(count) FROM latency
             WHERE window >= 0 AND window < ?2 GROUP BY hotkey, micros
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        ] {
            sqlx::query(fold)
                .bind(FOLDED)
                .bind(oldest_kept)
                .execute(&mut *tx)
                .await?;
        }
        for delete in [
            "DELETE FROM sample WHERE window >= 0 AND window < ?",
            "DELETE FROM latency WHERE window >= 0 AND window < ?",
        ] {
            sqlx::query(delete).bind(oldest_kept).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The ledger took these weights.
    ///
    /// # Errors
    /// The database fails.
    pub async fn weights_taken(&self, weights: &BTreeMap<Hotkey, u16>) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE score SET weight = 0").execute(&mut *tx).await?;
        for (hotkey, weight) in weights {
            sqlx::query("UPDATE score SET weight = ? WHERE hotkey = ?")
                .bind(i64::from(*weight))
                .bind(&hotkey[..])
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("UPDATE progress SET weights_set = weights_set + 1 WHERE id = 1")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Every miner since the beginning.
    ///
    /// # Errors
    /// The database fails.
    pub async fn totals(&self) -> Result<BTreeMap<Hotkey, Total>, StoreError> {
        let mut totals: BTreeMap<Hotkey, Total> = BTreeMap::new();
        let rows = sqlx::query("SELECT hotkey, sum(asked), sum(answered), sum(correct) FROM sample GROUP BY hotkey")
            .fetch_all(&self.pool)
            .await?;
        for row in rows {
            let total = totals.entry(hotkey(row.try_get(0)?, "sample")?).or_default();
            total.asked = unsigned(row.try_get(1)?);
            total.answered = unsigned(row.try_get(2)?);
            total.correct = unsigned(row.try_get(3)?);
        }
        let rows =
            sqlx::query("SELECT hotkey, micros, sum(count) FROM latency GROUP BY hotkey, micros ORDER BY micros")
                .fetch_all(&self.pool)
                .await?;
        for row in rows {
            let total = totals.entry(hotkey(row.try_get(0)?, "latency")?).or_default();
            total
                .latency
                .push((unsigned(row.try_get(1)?), unsigned(row.try_get(2)?)));
        }
        let rows = sqlx::query("SELECT hotkey, average, weight FROM score")
            .fetch_all(&self.pool)
            .await?;
        for row in rows {
            let total = totals.entry(hotkey(row.try_get(0)?, "score")?).or_default();
            total.average = row.try_get(1)?;
            total.weight = u16::try_from(row.try_get::<i64, _>(2)?).unwrap_or(u16::MAX);
        }
        Ok(totals)
    }
}

/// A minute, in microseconds: no deadline is longer.
const LONGEST_LATENCY: u64 = 60_000_000;

async fn add_sample(tx: &mut Transaction<'_, Sqlite>, sample: &Sample) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO sample (window, hotkey, asked, answered, correct)
         SELECT window, ?, 1, ?, ? FROM progress WHERE id = 1
         ON CONFLICT DO UPDATE SET asked = asked + 1, answered = answered + excluded.answered,
                                   correct = correct + excluded.correct",
    )
    .bind(&sample.hotkey[..])
    .bind(i64::from(sample.latency.is_some()))
    .bind(i64::from(sample.correct))
    .execute(&mut **tx)
    .await?;
    if let Some(micros) = sample.latency {
        sqlx::query(
            "INSERT INTO latency (window, hotkey, micros, count) SELECT window, ?, ?, 1 FROM progress WHERE id = 1
             ON CONFLICT DO UPDATE SET count = count + 1",
        )
        .bind(&sample.hotkey[..])
        .bind(signed(bucket(micros)))
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

async fn post(tx: &mut Transaction<'_, Sqlite>, kind: i64, report: &impl Message) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO outbox (kind, payload) VALUES (?, ?)")
        .bind(kind)
        .bind(report.encode_to_vec())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The bucket of a latency: two significant digits, so that a table holds a few hundred rows for a miner and not one a sample.
fn bucket(micros: u64) -> u64 {
    let micros = micros.clamp(1, LONGEST_LATENCY);
    let unit = 10u64.pow(micros.ilog10().saturating_sub(1));
    micros / unit * unit
}

fn hotkey(bytes: Vec<u8>, table: &'static str) -> Result<Hotkey, StoreError> {
    bytes.try_into().map_err(|_| StoreError::Malformed { table })
}

/// SQLite's integers are signed; cursors, epochs and counts stay far below the sign.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn store() -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("validator.db")).await.unwrap();
        (store, folder)
    }
    fn judged(cursor: u64, latency: Option<u64>) -> Judged {
        Judged {
            cursor,
            arbitrated: cursor.is_multiple_of(2),
            samples: vec![Sample {
                hotkey: [4; 32],
                latency,
                correct: latency.is_some(),
            }],
            report: v1::TransactionReport {
                cursor,
                ..Default::default()
            },
        }
    }

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

    #[tokio::test]
    async fn a_report_stays_in_the_outbox_until_it_is_confirmed() {
        let (store, _folder) = store().await;
        store.record(&[judged(1, None), judged(2, None)], 2).await.unwrap();
        let first = store.outbox(1).await.unwrap();
        assert_eq!(first.request.transactions[0].cursor, 1);
        store.confirm_outbox(first.last_id).await.unwrap();
        assert_eq!(store.outbox(10).await.unwrap().request.transactions[0].cursor, 2);
    }

    #[tokio::test]
    async fn an_incident_is_reported_once() {
        let (store, _folder) = store().await;
        let report = v1::IncidentReport {
            tx_hash: vec![1; 32].into(),
            invariant_id: 3,
            ..Default::default()
        };
        assert!(store.record_incident(&report).await.unwrap());
        assert!(!store.record_incident(&report).await.unwrap());
        assert_eq!(store.outbox(10).await.unwrap().request.incidents.len(), 1);
    }

    #[tokio::test]
    async fn a_sample_counts_in_the_window_that_is_open_when_it_is_recorded() {
        let (store, _folder) = store().await;
        store.roll_window(40).await.unwrap();
        assert_eq!(
            store.unscored_window().await.unwrap(),
            None,
            "the first epoch seen only opens a window"
        );
        store.record(&[judged(1, Some(10))], 1).await.unwrap();
        store.roll_window(41).await.unwrap();
        store.roll_window(41).await.unwrap();
        store.record(&[judged(2, None)], 2).await.unwrap();
        assert_eq!(store.unscored_window().await.unwrap(), Some(0));
        assert_eq!(store.window(0).await.unwrap()[&[4; 32]].answered, 1);
        assert_eq!(store.window(1).await.unwrap()[&[4; 32]].answered, 0);
        store.save_averages(0, &BTreeMap::new()).await.unwrap();
        assert_eq!(store.unscored_window().await.unwrap(), None);
    }

    #[tokio::test]
    async fn old_windows_are_folded_and_the_totals_stay() {
        let (store, _folder) = store().await;
        store.roll_window(0).await.unwrap();
        for epoch in 1..=30 {
            store
                .record(&[judged(epoch, Some(1_000 + epoch))], epoch)
                .await
                .unwrap();
            store.roll_window(epoch).await.unwrap();
            store
                .save_averages(epoch - 1, &BTreeMap::from([([4; 32], 0.5)]))
                .await
                .unwrap();
        }
        let total = store.totals().await.unwrap().remove(&[4; 32]).unwrap();
        assert_eq!(
            (total.asked, total.answered, total.correct, total.average),
            (30, 30, 30, 0.5)
        );
        assert_eq!(total.latency, vec![(1_000, 30)], "one bucket of two digits");
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM sample")
            .fetch_one(&store.pool)
            .await
            .unwrap();
        assert_eq!(
            rows,
            KEPT_WINDOWS + 2,
            "those kept, the one just scored, and the sum of the rest"
        );
    }

    #[test]
    fn buckets_have_two_digits() {
        assert_eq!(
            [0, 7, 42, 123, 9_999, 1_234_567].map(bucket),
            [1, 7, 42, 120, 9_900, 1_200_000]
        );
        assert_eq!(bucket(u64::MAX), 60_000_000);
    }
}
