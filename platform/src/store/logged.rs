//! Items of the log as they are handed to a broker: with those whom they are for.

use sqlx::Row as _;

use super::{Store, fixed, signed, unsigned};
use crate::assignment::Hotkey;
use crate::log::LogError;

/// An item of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub cursor: u64,
    /// An encoded [`protos::v1::StreamItem`] without cursor and codes.
    pub payload: Vec<u8>,
    /// The validators that it is for; `None`: all.
    pub readers: Option<Vec<Hotkey>>,
}

impl Store {
    /// The items behind `after`, in their order; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logged(&self, after: u64, limit: u32) -> Result<Vec<Logged>, LogError> {
        let rows = sqlx::query("SELECT cursor, kind, payload FROM items WHERE cursor > $1 ORDER BY cursor LIMIT $2")
            .bind(signed(after))
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        let mut items = rows
            .iter()
            .map(|row| {
                let pending = row.try_get::<i64, _>("kind")? == super::append::KIND_PENDING;
                Ok(Logged {
                    cursor: unsigned(row.try_get("cursor")?),
                    payload: row.try_get("payload")?,
                    readers: pending.then(Vec::new),
                })
            })
            .collect::<Result<Vec<_>, LogError>>()?;
        let Some(last) = items.last().map(|item| item.cursor) else {
            return Ok(items);
        };
        let assignments = sqlx::query(
            "SELECT a.cursor, v.hotkey FROM validators v
               JOIN assignments a ON a.validator = v.id AND a.cursor > $1 AND a.cursor <= $2",
        )
        .bind(signed(after))
        .bind(signed(last))
        .fetch_all(self.pool())
        .await?;
        for row in &assignments {
            let cursor = unsigned(row.try_get("cursor")?);
            let hotkey = fixed::<32>("validators.hotkey", &row.try_get::<Vec<u8>, _>("hotkey")?)?;
            let place = items.binary_search_by_key(&cursor, |item| item.cursor);
            if let Some(readers) = place.ok().and_then(|at| items.get_mut(at)?.readers.as_mut()) {
                readers.push(hotkey);
            }
        }
        Ok(items)
    }
}
