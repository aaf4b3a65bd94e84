//! Incidents and executions, page by page.

use protos::v1;
use sqlx::Row;

use super::{Store, decode, signed, timelines, unsigned};
use crate::log::LogError;

/// The most incidents that one answer holds.
const INCIDENTS: u32 = 100;
/// The most executions that one answer holds.
const EXECUTIONS: u32 = 1000;

impl Store {
    /// Incidents with a greater id than `after`, oldest first; at most `limit`, and never more than 100 (0: 100).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn incidents(&self, after: u64, limit: u32) -> Result<Vec<v1::Incident>, LogError> {
        // A transaction may be included before it is reported: the time stands with the transaction.
        let rows = sqlx::query(
            "SELECT n.id, n.invariant_id, n.invariant_name, n.contract, n.tx_hash, n.witness, n.seen_to_confirmed_us,
               n.reported_at_ms, i.logged_at_ms, t.sender, coalesce(t.included_at_ms, 0) AS included_at_ms,
               (SELECT count(*) FROM confirmations c WHERE c.incident = n.id) AS confirmations
             FROM incidents n JOIN items i ON i.cursor = n.cursor JOIN transactions t ON t.hash = n.tx_hash
             WHERE n.id > $1 ORDER BY n.id LIMIT $2",
        )
        .bind(signed(after))
        .bind(bounded(limit, INCIDENTS))
        .fetch_all(self.pool())
        .await?;
        let mut incidents = rows
            .iter()
            .map(|row| {
                let bytes = |column: &str| row.try_get::<Vec<u8>, _>(column).map(prost::bytes::Bytes::from);
                let number = |column: &str| row.try_get::<i64, _>(column).map(unsigned);
                Ok(v1::Incident {
                    id: number("id")?,
                    invariant_id: number("invariant_id")?,
                    invariant_name: row.try_get("invariant_name")?,
                    tx_hash: bytes("tx_hash")?,
                    tx_sender: bytes("sender")?,
                    witness: Some(decode("incidents.witness", row.try_get("witness")?)?),
                    seen_to_confirmed_us: number("seen_to_confirmed_us")?,
                    logged_at_ms: number("logged_at_ms")?,
                    reported_at_ms: number("reported_at_ms")?,
                    included_at_ms: number("included_at_ms")?,
                    confirmations: u32::try_from(number("confirmations")?).unwrap_or(u32::MAX),
                    contract: bytes("contract")?,
                    timelines: Vec::new(),
                })
            })
            .collect::<Result<Vec<_>, LogError>>()?;
        let mut db = self.pool().acquire().await?;
        for incident in &mut incidents {
            incident.timelines = timelines::of(&mut db, incident.id).await?;
        }
        Ok(incidents)
    }

    /// Incidents with a smaller id than `before`, newest first; at most `limit`, and never more than 100.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_incidents(&self, before: Option<u64>, limit: u32) -> Result<Vec<v1::Incident>, LogError> {
        let before = before.unwrap_or(u64::MAX);
        let first: Option<i64> = sqlx::query_scalar(
            "SELECT min(id) FROM (SELECT id FROM incidents WHERE id < $1 ORDER BY id DESC LIMIT $2) AS page",
        )
        .bind(signed(before))
        .bind(bounded(limit, INCIDENTS))
        .fetch_one(self.pool())
        .await?;
        let Some(first) = first else { return Ok(Vec::new()) };
        let mut incidents = self.incidents(unsigned(first).saturating_sub(1), limit).await?;
        incidents.retain(|incident| incident.id < before);
        incidents.reverse();
        Ok(incidents)
    }

    /// The executions that were reported, behind the cursor `after`; at most `limit`, and never more than 1,000 (0: 1,000).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn executions(&self, after: u64, limit: u32) -> Result<Vec<v1::TransactionExecution>, LogError> {
        let rows = sqlx::query(
            "SELECT e.cursor, i.tx_hash, e.execution, e.disputed FROM executions e JOIN items i ON i.cursor = e.cursor
             WHERE e.cursor > $1 ORDER BY e.cursor LIMIT $2",
        )
        .bind(signed(after))
        .bind(bounded(limit, EXECUTIONS))
        .fetch_all(self.pool())
        .await?;
        rows.iter()
            .map(|row| {
                let execution: Option<Vec<u8>> = row.try_get("execution")?;
                Ok(v1::TransactionExecution {
                    cursor: unsigned(row.try_get("cursor")?),
                    tx_hash: row.try_get::<Vec<u8>, _>("tx_hash")?.into(),
                    execution: execution
                        .map(|bytes| decode("executions.execution", bytes))
                        .transpose()?,
                    disputed: row.try_get::<i64, _>("disputed")? != 0,
                })
            })
            .collect()
    }
}

fn bounded(limit: u32, most: u32) -> i64 {
    i64::from(if limit == 0 { most } else { limit.min(most) })
}
