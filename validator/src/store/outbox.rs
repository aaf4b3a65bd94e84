//! Reports on their way to the platform: kept until it has confirmed them.

use prost::Message;
use protos::v1;
use sqlx::{Row, Sqlite, Transaction};

use super::{Store, StoreError, json, signed};

const TRANSACTION_REPORT: i64 = 0;
const INCIDENT_REPORT: i64 = 1;
const TIMELINE: i64 = 2;

/// Reports that wait for the platform.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The greatest id in it.
    pub last_id: i64,
    /// The reports.
    pub request: v1::ReportRequest,
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
