//! Claims of this node's own bounty, and what came of them.

use alloy::primitives::U256;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use super::{Store, StoreError, number, unsigned};

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimState {
    /// It failed, or was not sent yet.
    Open,
    /// In a transaction that has not ended.
    Sent,
    /// Mined, deep enough.
    Done,
}

impl ClaimState {
    const fn code(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Sent => 1,
            Self::Done => 2,
        }
    }

    fn of(code: i64) -> Result<Self, StoreError> {
        match code {
            0 => Ok(Self::Open),
            1 => Ok(Self::Sent),
            2 => Ok(Self::Done),
            other => Err(StoreError::Damaged(format!("a claim in state {other}"))),
        }
    }
}

/// A claim for one epoch of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// The number of the epoch.
    pub epoch: u64,
    /// How many transactions there were for it; each failed but the last.
    pub attempt: u64,
    /// Where it stands.
    pub state: ClaimState,
    /// The transaction; empty: none is known.
    pub tx_hash: String,
    /// Its block; 0: none.
    pub block: u64,
    /// Why the attempt before failed; empty: none did.
    pub reason: String,
    /// Unix milliseconds of the wall clock of the last change.
    pub wall_ms: u64,
}

/// A bounty that the contract paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bounty {
    /// The transaction.
    pub tx_hash: String,
    /// The event's place in its block.
    pub log_index: u64,
    /// The block.
    pub block: u64,
    /// Its time, Unix seconds.
    pub at: u64,
    /// The epoch that it is for.
    pub epoch: u64,
    /// Wei.
    pub amount: U256,
    /// Intervals down, the auditors' median with the time that the claim was late.
    pub downtime: u64,
    /// Microseconds, the auditors' median.
    pub latency_us: u64,
}

pub(super) async fn insert(transaction: &mut Transaction<'_, Any>, bounty: &Bounty) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO bounty (tx_hash, log_index, block, at, epoch, amount, downtime, latency_us)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tx_hash, log_index) DO NOTHING",
    )
    .bind(&bounty.tx_hash)
    .bind(number(bounty.log_index))
    .bind(number(bounty.block))
    .bind(number(bounty.at))
    .bind(number(bounty.epoch))
    .bind(bounty.amount.to_string())
    .bind(number(bounty.downtime))
    .bind(number(bounty.latency_us))
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

impl Store {
    /// The claim for an epoch.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn claim(&self, epoch: u64) -> Result<Option<Claim>, StoreError> {
        let row =
            sqlx::query("SELECT epoch, attempt, state, tx_hash, block, reason, wall_ms FROM claim WHERE epoch = $1")
                .bind(number(epoch))
                .fetch_optional(self.database.pool())
                .await?;
        row.as_ref().map(claim).transpose()
    }

    /// The claims that have not ended.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sent_claims(&self) -> Result<Vec<Claim>, StoreError> {
        let rows = sqlx::query(
            "SELECT epoch, attempt, state, tx_hash, block, reason, wall_ms FROM claim WHERE state = $1 ORDER BY epoch",
        )
        .bind(ClaimState::Sent.code())
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(claim).collect()
    }

    /// Writes where a claim stands.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_claim(&self, claim: &Claim) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO claim (epoch, attempt, state, tx_hash, block, reason, wall_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (epoch) DO UPDATE SET attempt = excluded.attempt, state = excluded.state,
                tx_hash = excluded.tx_hash, block = excluded.block, reason = excluded.reason, wall_ms = excluded.wall_ms",
        )
        .bind(number(claim.epoch))
        .bind(number(claim.attempt))
        .bind(claim.state.code())
        .bind(&claim.tx_hash)
        .bind(number(claim.block))
        .bind(&claim.reason)
        .bind(number(claim.wall_ms))
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// All bounties, the newest first; at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn bounties(&self, limit: u32) -> Result<Vec<Bounty>, StoreError> {
        let rows = sqlx::query(
            "SELECT tx_hash, log_index, block, at, epoch, amount, downtime, latency_us FROM bounty
             ORDER BY block DESC, log_index DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(bounty).collect()
    }

    /// The bounty that a transaction brought, once the events of its block are read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn bounty_of(&self, tx_hash: &str) -> Result<Option<Bounty>, StoreError> {
        let row = sqlx::query(
            "SELECT tx_hash, log_index, block, at, epoch, amount, downtime, latency_us FROM bounty WHERE tx_hash = $1",
        )
        .bind(tx_hash)
        .fetch_optional(self.database.pool())
        .await?;
        row.as_ref().map(bounty).transpose()
    }
}

fn claim(row: &AnyRow) -> Result<Claim, StoreError> {
    Ok(Claim {
        epoch: unsigned(row, "epoch")?,
        attempt: unsigned(row, "attempt")?,
        state: ClaimState::of(row.try_get("state")?)?,
        tx_hash: row.try_get("tx_hash")?,
        block: unsigned(row, "block")?,
        reason: row.try_get("reason")?,
        wall_ms: unsigned(row, "wall_ms")?,
    })
}

fn bounty(row: &AnyRow) -> Result<Bounty, StoreError> {
    let amount: String = row.try_get("amount")?;
    Ok(Bounty {
        tx_hash: row.try_get("tx_hash")?,
        log_index: unsigned(row, "log_index")?,
        block: unsigned(row, "block")?,
        at: unsigned(row, "at")?,
        epoch: unsigned(row, "epoch")?,
        amount: amount
            .parse()
            .map_err(|_| StoreError::Damaged(format!("a bounty of `{amount}`")))?,
        downtime: unsigned(row, "downtime")?,
        latency_us: unsigned(row, "latency_us")?,
    })
}
