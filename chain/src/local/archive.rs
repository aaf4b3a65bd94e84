//! The history of epochs in the ledger's database: written with the block that ran the epoch, read by whoever looks back.
//!
//! The newest [`KEPT_EPOCHS`] are kept.

use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

use super::store::{StoreError, key, signed, small, unsigned};
use crate::history::EpochEntry;

/// Epochs that are kept.
pub(super) const KEPT_EPOCHS: u64 = 2_000;
/// Entries that one question gets at most.
const LONGEST_ANSWER: u32 = 1_000;

/// Writes an epoch's entries and drops what is too old.
pub(super) async fn write(tx: &mut Transaction<'_, Sqlite>, entries: &[EpochEntry]) -> Result<(), StoreError> {
    for entry in entries {
        sqlx::query(
            "INSERT INTO history (epoch, uid, block, hotkey, stake, registered_at, last_update, validator_permit, \
             new_validator_permit, weights, bonds, consensus, incentive, dividends, validator_trust, emission, paid, \
             shared, last_mechanism_step_block, commit_block) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(signed(entry.epoch)?)
        .bind(entry.uid)
        .bind(signed(entry.block)?)
        .bind(entry.hotkey.as_bytes().as_slice())
        .bind(signed(entry.stake)?)
        .bind(signed(entry.registered_at)?)
        .bind(signed(entry.last_update)?)
        .bind(entry.validator_permit)
        .bind(entry.new_validator_permit)
        .bind(Json(&entry.weights))
        .bind(Json(&entry.bonds))
        .bind(entry.consensus)
        .bind(entry.incentive)
        .bind(entry.dividends)
        .bind(entry.validator_trust)
        .bind(signed(entry.emission)?)
        .bind(signed(entry.paid)?)
        .bind(signed(entry.shared)?)
        .bind(signed(entry.last_mechanism_step_block)?)
        .bind(entry.commit_block.map(signed).transpose()?)
        .execute(&mut **tx)
        .await?;
    }
    if let Some(oldest) = entries.first().and_then(|entry| entry.epoch.checked_sub(KEPT_EPOCHS)) {
        sqlx::query("DELETE FROM history WHERE epoch <= ?")
            .bind(signed(oldest)?)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// The last entries of a uid, newest first; at most `limit`, and at most a thousand. 0 asks for a thousand.
pub(super) async fn read(pool: &SqlitePool, uid: u16, limit: u32) -> Result<Vec<EpochEntry>, StoreError> {
    let limit = match limit {
        0 => LONGEST_ANSWER,
        limit => limit.min(LONGEST_ANSWER),
    };
    let rows = sqlx::query("SELECT * FROM history WHERE uid = ? ORDER BY epoch DESC LIMIT ?")
        .bind(uid)
        .bind(limit)
        .fetch_all(pool)
        .await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &SqliteRow) -> Result<EpochEntry, StoreError> {
    let Json(weights) = row.try_get("weights")?;
    let Json(bonds) = row.try_get("bonds")?;
    let commit_block = match row.try_get::<Option<i64>, _>("commit_block")? {
        Some(_) => Some(unsigned(row, "commit_block")?),
        None => None,
    };
    Ok(EpochEntry {
        epoch: unsigned(row, "epoch")?,
        block: unsigned(row, "block")?,
        uid: small(row, "uid")?,
        hotkey: key(row, "hotkey")?,
        stake: unsigned(row, "stake")?,
        registered_at: unsigned(row, "registered_at")?,
        last_update: unsigned(row, "last_update")?,
        validator_permit: row.try_get("validator_permit")?,
        new_validator_permit: row.try_get("new_validator_permit")?,
        weights,
        bonds,
        consensus: small(row, "consensus")?,
        incentive: small(row, "incentive")?,
        dividends: small(row, "dividends")?,
        validator_trust: small(row, "validator_trust")?,
        emission: unsigned(row, "emission")?,
        paid: unsigned(row, "paid")?,
        shared: unsigned(row, "shared")?,
        last_mechanism_step_block: unsigned(row, "last_mechanism_step_block")?,
        commit_block,
    })
}
