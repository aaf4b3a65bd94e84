//! The history of epochs in the ledger's database: written with the block that ran the epoch, read by whoever looks back.
//!
//! The newest [`KEPT_EPOCHS`] are kept.

use node::database::column::signed;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

use super::store::{StoreError, key};
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
    Ok(EpochEntry {
        epoch: row.try_get("epoch")?,
        block: row.try_get("block")?,
        uid: row.try_get("uid")?,
        hotkey: key(row, "hotkey")?,
        stake: row.try_get("stake")?,
        registered_at: row.try_get("registered_at")?,
        last_update: row.try_get("last_update")?,
        validator_permit: row.try_get("validator_permit")?,
        new_validator_permit: row.try_get("new_validator_permit")?,
        weights,
        bonds,
        consensus: row.try_get("consensus")?,
        incentive: row.try_get("incentive")?,
        dividends: row.try_get("dividends")?,
        validator_trust: row.try_get("validator_trust")?,
        emission: row.try_get("emission")?,
        paid: row.try_get("paid")?,
        shared: row.try_get("shared")?,
        last_mechanism_step_block: row.try_get("last_mechanism_step_block")?,
        commit_block: row.try_get("commit_block")?,
    })
}
