//! Samples: one row for each peer and tick.

use sqlx::Row as _;

use super::{Store, StoreError, WRITING, node_id, number, unsigned};
use crate::rule::measure::{Outcome, Row};

/// One probe of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The peer.
    pub subject: u32,
    /// What it counts as, and when by the chain's time.
    pub row: Row,
    /// The wall clock's time, Unix milliseconds; for people.
    pub wall_ms: u64,
    /// The step that failed; empty: none.
    pub step: String,
    /// Why.
    pub reason: String,
}

const fn code(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Up => 0,
        Outcome::Down => 1,
        Outcome::Unknown => 2,
    }
}

fn outcome(code: i64) -> Result<Outcome, StoreError> {
    match code {
        0 => Ok(Outcome::Up),
        1 => Ok(Outcome::Down),
        2 => Ok(Outcome::Unknown),
        other => Err(StoreError::Damaged(format!("an outcome of {other}"))),
    }
}

impl Store {
    /// Writes one tick's rows, all or none.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn add_samples(&self, samples: &[Sample]) -> Result<(), StoreError> {
        if samples.is_empty() {
            return Ok(());
        }
        let mut transaction = self.database.begin(WRITING).await?;
        // Not the time: the wall clock may jump, and the chain's stand still.
        let tick: i64 = sqlx::query("SELECT COALESCE(MAX(tick), 0) + 1 AS tick FROM sample")
            .fetch_one(&mut *transaction)
            .await?
            .try_get("tick")?;
        for sample in samples {
            sqlx::query(
                "INSERT INTO sample (tick, subject, at, wall_ms, outcome, latency_us, step, reason)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(tick)
            .bind(i64::from(sample.subject))
            .bind(number(sample.row.at))
            .bind(number(sample.wall_ms))
            .bind(code(sample.row.outcome))
            .bind(sample.row.latency.map_or(-1, i64::from))
            .bind(&sample.step)
            .bind(&sample.reason)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The rows of a peer, or of all, in these chain times, both included; the oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn samples(&self, subject: Option<u32>, from: u64, to: u64) -> Result<Vec<Sample>, StoreError> {
        let rows = sqlx::query(
            "SELECT subject, at, wall_ms, outcome, latency_us, step, reason FROM sample
             WHERE ($1 < 0 OR subject = $1) AND at BETWEEN $2 AND $3 ORDER BY subject, at, tick",
        )
        .bind(subject.map_or(-1, i64::from))
        .bind(number(from))
        .bind(number(to))
        .fetch_all(self.database.pool())
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Sample {
                    subject: node_id(row, "subject")?,
                    row: Row {
                        at: unsigned(row, "at")?,
                        outcome: outcome(row.try_get("outcome")?)?,
                        latency: u32::try_from(row.try_get::<i64, _>("latency_us")?).ok(),
                    },
                    wall_ms: unsigned(row, "wall_ms")?,
                    step: row.try_get("step")?,
                    reason: row.try_get("reason")?,
                })
            })
            .collect()
    }

    /// Forgets rows from before this chain time; how many there were.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub async fn forget_samples(&self, before: u64) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM sample WHERE at < $1")
            .bind(number(before))
            .execute(self.database.pool())
            .await?;
        Ok(done.rows_affected())
    }
}
