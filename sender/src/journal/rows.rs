//! What the journal's rows hold, and what they may hold: whatever else is damage, and said so.

use alloy::primitives::{Address, B256, Bytes};
use node::database::column::fixed;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;

use super::JournalError;
use crate::fees::Fees;
use crate::machine::{Failure, State};
use crate::plan::JobId;
use crate::request::Request;

/// A request as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredJob {
    pub(crate) id: JobId,
    pub(crate) account: Address,
    pub(crate) digest: B256,
    pub(crate) request: Request,
    pub(crate) state: State,
    pub(crate) withdrawn: Option<Failure>,
    pub(crate) gas: Option<u64>,
    pub(crate) bumps: u32,
}

/// A signed transaction as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredAttempt {
    pub(crate) account: Address,
    pub(crate) nonce: u64,
    pub(crate) job: Option<JobId>,
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    pub(crate) fees: Fees,
    pub(crate) block: u64,
}

pub(super) fn job(row: &SqliteRow) -> Result<StoredJob, JournalError> {
    let Json(request) = row.try_get::<Json<Request>, _>("request")?;
    let Json(state) = row.try_get::<Json<State>, _>("state")?;
    Ok(StoredJob {
        id: row.try_get("id")?,
        account: fixed::<20, _>(row, "account")?.into(),
        digest: fixed::<32, _>(row, "digest")?.into(),
        request,
        state,
        withdrawn: row
            .try_get::<Option<Json<Failure>>, _>("withdrawn")?
            .map(|Json(reason)| reason),
        gas: row.try_get("gas")?,
        bumps: row.try_get("bumps")?,
    })
}

pub(super) fn attempt(row: &SqliteRow) -> Result<StoredAttempt, JournalError> {
    let fee = |column: &str| -> Result<u128, JournalError> {
        row.try_get::<&str, _>(column)?
            .parse()
            .map_err(|_| JournalError::Damaged(format!("{column} is not a number")))
    };
    Ok(StoredAttempt {
        account: fixed::<20, _>(row, "account")?.into(),
        nonce: row.try_get("nonce")?,
        job: row.try_get("job")?,
        hash: fixed::<32, _>(row, "hash")?.into(),
        raw: row.try_get::<Vec<u8>, _>("raw")?.into(),
        fees: Fees {
            max_fee: fee("max_fee")?,
            priority_fee: fee("priority_fee")?,
        },
        block: row.try_get("block")?,
    })
}
