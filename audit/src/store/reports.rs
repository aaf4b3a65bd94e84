//! Verdicts: from their numbers to the contract's word on them.
//!
//! ```text
//! Open --batch--> Sent --event--> Counted | NotCounted
//!   ^               |
//!   +---- failed ---+        Open or Sent --window over--> NotCounted
//! ```

use alloy::primitives::B256;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use super::{Store, StoreError, WRITING, node_id, number, unsigned};

/// Where a verdict stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportState {
    /// Its numbers stand; it is in no transaction.
    Open,
    /// In a transaction that has not ended.
    Sent,
    /// The contract has taken it.
    Counted,
    /// It came to nothing; the reason tells why.
    NotCounted,
}

impl ReportState {
    const fn code(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Sent => 1,
            Self::Counted => 2,
            Self::NotCounted => 3,
        }
    }

    fn of(code: i64) -> Result<Self, StoreError> {
        match code {
            0 => Ok(Self::Open),
            1 => Ok(Self::Sent),
            2 => Ok(Self::Counted),
            3 => Ok(Self::NotCounted),
            other => Err(StoreError::Damaged(format!("a report in state {other}"))),
        }
    }

    /// Its name in tables and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sent => "sent",
            Self::Counted => "counted",
            Self::NotCounted => "not counted",
        }
    }
}

/// A verdict on one peer for one epoch of its.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The peer.
    pub subject: u32,
    /// The number of its epoch.
    pub epoch: u64,
    /// Intervals in which it was down.
    pub failed: u32,
    /// Intervals of which something is known; 0 where only the contract's event is left.
    pub known: u32,
    /// Mean latency, microseconds; `NO_LATENCY`: nothing answered.
    pub latency_us: u32,
    /// Chain time at which the contract takes no more verdicts on this epoch.
    pub closes: u64,
    /// Where it stands.
    pub state: ReportState,
    /// The transaction that carries it; 0: none.
    pub batch: u64,
    /// That transaction's hash, once an event tells it.
    pub tx_hash: String,
    /// Its block; 0: none.
    pub block: u64,
    /// Why it is where it is.
    pub reason: String,
    /// When its numbers were made, Unix milliseconds of the wall clock.
    pub wall_ms: u64,
}

/// What an event of the contract says of a verdict of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The peer.
    pub subject: u32,
    /// Its epoch.
    pub epoch: u64,
    /// `None`: it counts; else why it does not.
    pub refused: Option<String>,
    /// The transaction.
    pub tx_hash: B256,
    /// Its block.
    pub block: u64,
    /// Intervals of downtime, as the contract counts them; of a verdict whose row was lost with the file it is all that is left.
    pub downtime: u32,
    /// Microseconds.
    pub latency_us: u32,
}

/// An event decides, whatever the row says. A verdict that counts stays so: an event after it speaks of a second attempt.
pub(super) async fn count(transaction: &mut Transaction<'_, Any>, counted: &Counted) -> Result<(), StoreError> {
    let state = if counted.refused.is_none() {
        ReportState::Counted
    } else {
        ReportState::NotCounted
    };
    sqlx::query(
        "INSERT INTO report (subject, epoch, failed, known, latency_us, closes, state, batch, tx_hash, block, reason, wall_ms)
         VALUES ($1, $2, $3, 0, $4, 0, $5, 0, $6, $7, $8, 0)
         ON CONFLICT (subject, epoch) DO UPDATE SET
            state = excluded.state, tx_hash = excluded.tx_hash, block = excluded.block, reason = excluded.reason
         WHERE report.state <> $9",
    )
    .bind(i64::from(counted.subject))
    .bind(number(counted.epoch))
    .bind(i64::from(counted.downtime))
    .bind(i64::from(counted.latency_us))
    .bind(state.code())
    .bind(counted.tx_hash.to_string())
    .bind(number(counted.block))
    .bind(counted.refused.as_deref().unwrap_or(""))
    .bind(ReportState::Counted.code())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// The columns that [`report`] reads, between two parts of a statement.
macro_rules! statement {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " subject, epoch, failed, known, latency_us, closes, state, batch, tx_hash, block, reason, wall_ms ",
            $after
        )
    };
}

fn report(row: &AnyRow) -> Result<Report, StoreError> {
    Ok(Report {
        subject: node_id(row, "subject")?,
        epoch: unsigned(row, "epoch")?,
        failed: node_id(row, "failed")?,
        known: node_id(row, "known")?,
        latency_us: node_id(row, "latency_us")?,
        closes: unsigned(row, "closes")?,
        state: ReportState::of(row.try_get("state")?)?,
        batch: unsigned(row, "batch")?,
        tx_hash: row.try_get("tx_hash")?,
        block: unsigned(row, "block")?,
        reason: row.try_get("reason")?,
        wall_ms: unsigned(row, "wall_ms")?,
    })
}

impl Store {
    /// A verdict's numbers, fixed from now on; one that stands already stays as it is. Whether it is new.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn add_report(&self, report: &Report) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO report (subject, epoch, failed, known, latency_us, closes, state, batch, tx_hash, block, reason, wall_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', 0, $8, $9) ON CONFLICT (subject, epoch) DO NOTHING",
        )
        .bind(i64::from(report.subject))
        .bind(number(report.epoch))
        .bind(i64::from(report.failed))
        .bind(i64::from(report.known))
        .bind(i64::from(report.latency_us))
        .bind(number(report.closes))
        .bind(report.state.code())
        .bind(&report.reason)
        .bind(number(report.wall_ms))
        .execute(self.database.pool())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// One verdict.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn report(&self, subject: u32, epoch: u64) -> Result<Option<Report>, StoreError> {
        let row = sqlx::query(statement!("SELECT", "FROM report WHERE subject = $1 AND epoch = $2"))
            .bind(i64::from(subject))
            .bind(number(epoch))
            .fetch_optional(self.database.pool())
            .await?;
        row.as_ref().map(report).transpose()
    }

    /// All verdicts, the newest first; at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn reports(&self, limit: u32) -> Result<Vec<Report>, StoreError> {
        let rows = sqlx::query(statement!(
            "SELECT",
            "FROM report ORDER BY wall_ms DESC, epoch DESC, subject LIMIT $1"
        ))
        .bind(i64::from(limit))
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(report).collect()
    }

    /// Puts those of `chosen` that are open into a new transaction; gives its number and what it carries, or `None` when none is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn seal_batch(&self, chosen: &[(u32, u64)]) -> Result<Option<(u64, Vec<Report>)>, StoreError> {
        let mut transaction = self.database.begin(WRITING).await?;
        let next: i64 = sqlx::query("SELECT last_batch + 1 AS next FROM place")
            .fetch_one(&mut *transaction)
            .await?
            .try_get("next")?;
        let mut sealed = 0;
        for (subject, epoch) in chosen {
            sealed += sqlx::query(
                "UPDATE report SET state = $1, batch = $2 WHERE state = $3 AND subject = $4 AND epoch = $5",
            )
            .bind(ReportState::Sent.code())
            .bind(next)
            .bind(ReportState::Open.code())
            .bind(i64::from(*subject))
            .bind(number(*epoch))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        }
        if sealed == 0 {
            return Ok(None);
        }
        sqlx::query("UPDATE place SET last_batch = $1")
            .bind(next)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let batch = u64::try_from(next).unwrap_or_default();
        Ok(Some((batch, self.batch(batch).await?)))
    }

    /// The contract passed a verdict over, or its transaction is gone: it comes to nothing, unless an event has decided already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn refuse_report(&self, subject: u32, epoch: u64, reason: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE report SET state = $1, reason = $2 WHERE subject = $3 AND epoch = $4 AND state IN ($5, $6)",
        )
        .bind(ReportState::NotCounted.code())
        .bind(reason)
        .bind(i64::from(subject))
        .bind(number(epoch))
        .bind(ReportState::Open.code())
        .bind(ReportState::Sent.code())
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// What a transaction carries, in its order.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn batch(&self, batch: u64) -> Result<Vec<Report>, StoreError> {
        let rows = sqlx::query(statement!(
            "SELECT",
            "FROM report WHERE batch = $1 ORDER BY closes, subject, epoch"
        ))
        .bind(number(batch))
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(report).collect()
    }

    /// The transactions that have not ended.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sent_batches(&self) -> Result<Vec<u64>, StoreError> {
        let rows = sqlx::query("SELECT DISTINCT batch FROM report WHERE state = $1 ORDER BY batch")
            .bind(ReportState::Sent.code())
            .fetch_all(self.database.pool())
            .await?;
        rows.iter().map(|row| unsigned(row, "batch")).collect()
    }

    /// A transaction came to nothing: what it carried, and no event has decided, is open again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn reopen_batch(&self, batch: u64, reason: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE report SET state = $1, batch = 0, reason = $2 WHERE batch = $3 AND state = $4")
            .bind(ReportState::Open.code())
            .bind(reason)
            .bind(number(batch))
            .bind(ReportState::Sent.code())
            .execute(self.database.pool())
            .await?;
        Ok(())
    }

    /// One verdict of a transaction is open again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn reopen_report(&self, subject: u32, epoch: u64, reason: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE report SET state = $1, batch = 0, reason = $2 WHERE subject = $3 AND epoch = $4 AND state = $5",
        )
        .bind(ReportState::Open.code())
        .bind(reason)
        .bind(i64::from(subject))
        .bind(number(epoch))
        .bind(ReportState::Sent.code())
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// What is open although its window is over comes to nothing; what that is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn close_reports(&self, now: u64) -> Result<Vec<Report>, StoreError> {
        let rows = sqlx::query(statement!(
            "UPDATE report SET state = $1, reason = $2 || reason WHERE state = $3 AND closes <= $4 RETURNING",
            ""
        ))
        .bind(ReportState::NotCounted.code())
        .bind("its window is over; ")
        .bind(ReportState::Open.code())
        .bind(number(now))
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(report).collect()
    }
}
