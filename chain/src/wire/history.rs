//! What an epoch made of a uid, and rows of weights.

use prost::bytes::Bytes;
use protos::{DecodeError, v1};

use super::field::{account, short};
use crate::history::EpochEntry;

impl From<&EpochEntry> for v1::EpochEntry {
    fn from(entry: &EpochEntry) -> Self {
        Self {
            epoch: entry.epoch,
            block: entry.block,
            uid: entry.uid.into(),
            hotkey: Bytes::copy_from_slice(entry.hotkey.as_bytes()),
            stake: entry.stake,
            registered_at: entry.registered_at,
            last_update: entry.last_update,
            validator_permit: entry.validator_permit,
            new_validator_permit: entry.new_validator_permit,
            weights: Some(weight_row(&entry.weights)),
            bonds: Some(weight_row(&entry.bonds)),
            consensus: entry.consensus.into(),
            incentive: entry.incentive.into(),
            dividends: entry.dividends.into(),
            validator_trust: entry.validator_trust.into(),
            emission: entry.emission,
            paid: entry.paid,
            shared: entry.shared,
            last_mechanism_step_block: entry.last_mechanism_step_block,
            commit_block: entry.commit_block,
        }
    }
}

impl TryFrom<v1::EpochEntry> for EpochEntry {
    type Error = DecodeError;

    fn try_from(entry: v1::EpochEntry) -> Result<Self, DecodeError> {
        let row = |row: Option<v1::WeightRow>| row.map_or(Ok(Vec::new()), |row| read_weight_row(&row));
        Ok(Self {
            epoch: entry.epoch,
            block: entry.block,
            uid: short("entry.uid", entry.uid)?,
            hotkey: account("entry.hotkey", &entry.hotkey)?,
            stake: entry.stake,
            registered_at: entry.registered_at,
            last_update: entry.last_update,
            validator_permit: entry.validator_permit,
            new_validator_permit: entry.new_validator_permit,
            weights: row(entry.weights)?,
            bonds: row(entry.bonds)?,
            consensus: short("entry.consensus", entry.consensus)?,
            incentive: short("entry.incentive", entry.incentive)?,
            dividends: short("entry.dividends", entry.dividends)?,
            validator_trust: short("entry.validator_trust", entry.validator_trust)?,
            emission: entry.emission,
            paid: entry.paid,
            shared: entry.shared,
            last_mechanism_step_block: entry.last_mechanism_step_block,
            commit_block: entry.commit_block,
        })
    }
}

/// A weight row as a message.
pub fn weight_row(row: &[(u16, u16)]) -> v1::WeightRow {
    let (uids, values) = row
        .iter()
        .map(|(uid, value)| (u32::from(*uid), u32::from(*value)))
        .unzip();
    v1::WeightRow { uids, values }
}

/// A weight row from its message.
///
/// # Errors
/// [`DecodeError`] names the field.
pub fn read_weight_row(row: &v1::WeightRow) -> Result<Vec<(u16, u16)>, DecodeError> {
    if row.uids.len() != row.values.len() {
        let reason = format_args!("has {} entries for {} uids", row.values.len(), row.uids.len()).to_string();
        return Err(DecodeError::invalid("weight_row.values", reason));
    }
    row.uids
        .iter()
        .zip(&row.values)
        .map(|(uid, value)| Ok((short("weight_row.uids", *uid)?, short("weight_row.values", *value)?)))
        .collect()
}
