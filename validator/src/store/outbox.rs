//! Reports on their way to the platform: kept until it has confirmed them, or refused them for good.

use defence::clock::Clock;
use prost::Message;
use protos::v1;
use sqlx::{Row, Sqlite, Transaction};

use super::{Store, StoreError, json, signed, unsigned};

const TRANSACTION_REPORT: i64 = 0;
const INCIDENT_REPORT: i64 = 1;
const TIMELINE: i64 = 2;

/// How many refused reports are kept.
const MOST_REFUSED: i64 = 1_000;

/// Reports that wait for the platform.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The greatest id in it.
    pub last_id: i64,
    /// The reports.
    pub request: v1::ReportRequest,
}

impl Outbox {
    /// How many reports are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        let v1::ReportRequest {
            transactions,
            incidents,
            timelines,
            ..
        } = &self.request;
        let count = transactions.len() + incidents.len() + timelines.len();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// A report that the platform refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// `transaction`, `incident` or `timeline`.
    pub what: &'static str,
    /// The transaction that it is about: 32 bytes.
    pub tx_hash: Vec<u8>,
    /// The platform's words.
    pub reason: String,
    /// When: Unix milliseconds.
    pub at_ms: u64,
}

impl Store {
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
                TIMELINE => outbox
                    .request
                    .timelines
                    .push(v1::IncidentTimeline::decode(payload.as_slice()).map_err(malformed)?),
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

    /// The platform refused this report for good: takes it out of the outbox, and keeps it beside with the reason.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_aside(&self, id: i64, reason: &str) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let moved = sqlx::query(
            "INSERT INTO refused (kind, payload, reason, at_ms) SELECT kind, payload, ?, ? FROM outbox WHERE id = ?",
        )
        .bind(reason)
        .bind(signed(Clock::system().now_ms()))
        .bind(id)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        sqlx::query("DELETE FROM outbox WHERE id = ?")
            .bind(id)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE progress SET refused = refused + ? WHERE id = 1")
            .bind(signed(moved))
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?")
            .bind(MOST_REFUSED)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// How many reports the platform refused for good since the beginning, and the newest `limit` of those that are kept.
    ///
    /// # Errors
    /// The database fails.
    pub async fn refused(&self, limit: u32) -> Result<(u64, Vec<Refused>), StoreError> {
        let count: i64 = sqlx::query_scalar("SELECT refused FROM progress WHERE id = 1")
            .fetch_one(&self.pool)
            .await?;
        let rows: Vec<(i64, Vec<u8>, String, i64)> =
            sqlx::query_as("SELECT kind, payload, reason, at_ms FROM refused ORDER BY id DESC LIMIT ?")
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        let refused = |(kind, payload, reason, at_ms): (i64, Vec<u8>, String, i64)| {
            let (what, tx_hash) = subject(kind, &payload).map_err(|_| StoreError::Malformed { table: "refused" })?;
            Ok(Refused {
                what,
                tx_hash,
                reason,
                at_ms: unsigned(at_ms),
            })
        };
        let newest = rows.into_iter().map(refused).collect::<Result<_, StoreError>>()?;
        Ok((unsigned(count), newest))
    }
}

/// What a stored report is, and the transaction that it is about.
fn subject(kind: i64, payload: &[u8]) -> Result<(&'static str, Vec<u8>), prost::DecodeError> {
    Ok(match kind {
        TRANSACTION_REPORT => ("transaction", v1::TransactionReport::decode(payload)?.tx_hash.to_vec()),
        TIMELINE => ("timeline", v1::IncidentTimeline::decode(payload)?.tx_hash.to_vec()),
        _ => ("incident", v1::IncidentReport::decode(payload)?.tx_hash.to_vec()),
    })
}

/// Puts reports of transactions into the outbox in their order, as part of `tx`: as one statement, however many there are.
pub(super) async fn post_transactions(
    tx: &mut Transaction<'_, Sqlite>,
    reports: impl Iterator<Item = &v1::TransactionReport>,
) -> Result<(), StoreError> {
    let payloads = json(reports.map(|report| alloy::hex::encode(report.encode_to_vec())));
    sqlx::query("INSERT INTO outbox (kind, payload) SELECT ?, unhex(value) FROM json_each(?) ORDER BY key")
        .bind(TRANSACTION_REPORT)
        .bind(payloads)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Puts a timeline into the outbox, as part of `tx`.
pub(super) async fn post_timeline(
    tx: &mut Transaction<'_, Sqlite>,
    timeline: &v1::IncidentTimeline,
) -> Result<(), StoreError> {
    post(tx, TIMELINE, timeline).await
}

async fn post(tx: &mut Transaction<'_, Sqlite>, kind: i64, report: &impl Message) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO outbox (kind, payload) VALUES (?, ?)")
        .bind(kind)
        .bind(report.encode_to_vec())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{judged, store};
    use super::*;

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
    async fn what_is_set_aside_is_out_of_the_way_and_kept_with_its_reason() {
        let (store, _folder) = store().await;
        store
            .record(&[judged(1, None), judged(2, None), judged(3, None)], 3)
            .await
            .unwrap();
        let first = store.outbox(1).await.unwrap().last_id;
        store
            .set_aside(first + 1, "transactions[0]: no such item")
            .await
            .unwrap();
        let left = store.outbox(10).await.unwrap();
        let cursors: Vec<u64> = left.request.transactions.iter().map(|report| report.cursor).collect();
        assert_eq!((cursors.as_slice(), left.count()), ([1, 3].as_slice(), 2));
        // What is not there changes nothing.
        store.set_aside(first + 1, "again").await.unwrap();
        let (count, kept) = store.refused(10).await.unwrap();
        assert_eq!((count, kept.len()), (1, 1));
        assert_eq!(
            (kept[0].what, kept[0].reason.as_str()),
            ("transaction", "transactions[0]: no such item")
        );
    }

    #[tokio::test]
    async fn of_those_set_aside_the_oldest_are_forgotten() {
        let (store, _folder) = store().await;
        sqlx::query(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
             INSERT INTO refused (kind, payload, reason, at_ms) SELECT 0, x'', 'reason ' || i, i FROM n",
        )
        .bind(MOST_REFUSED)
        .execute(&store.pool)
        .await
        .unwrap();
        store.record(&[judged(1, None)], 1).await.unwrap();
        let last = store.outbox(1).await.unwrap().last_id;
        store.set_aside(last, "the newest").await.unwrap();
        let (_, kept) = store.refused(u32::MAX).await.unwrap();
        assert_eq!(kept.len(), 1_000);
        assert_eq!(
            (kept[0].reason.as_str(), kept[999].reason.as_str()),
            ("the newest", "reason 2")
        );
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
}
