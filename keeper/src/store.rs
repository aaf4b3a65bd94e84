//! What a keeper remembers across restarts: which jobs there are, up to which block, and which of them fail.
//!
//! A SQLite file. What always holds: a job stands in it before the block that announced it counts as read; what it says is
//! checked against the chain at each start, so a lost file costs a scan and nothing else. What was sent is not here but in the
//! sender's journal.

use std::path::Path;

use alloy::primitives::{Address, B256};
use node::database::DatabaseError;
use sqlx::{Row as _, SqlitePool};

use crate::aside::Record;

/// A memory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement.
    #[error("the keeper's memory: {0}")]
    Sql(#[from] sqlx::Error),
    /// It is of another contract.
    #[error("{path} is the memory of agent {found} on chain {chain}; give this keeper a `data` folder of its own")]
    Foreign {
        /// The file.
        path: String,
        /// Whose memory it is.
        found: Address,
        /// Its chain.
        chain: u64,
    },
    /// A value that this program did not write.
    #[error("the keeper's memory is damaged: {0}; remove the file, it is read again from the chain")]
    Damaged(String),
}

/// The place up to which announcements were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the block.
    pub block: u64,
    /// Its hash.
    pub hash: B256,
}

/// The memory.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    chain_id: i64,
    agent: Address,
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn word(bytes: &[u8]) -> Result<B256, StoreError> {
    B256::try_from(bytes).map_err(|_| StoreError::Damaged(format!("a hash of {} bytes", bytes.len())))
}

impl Store {
    /// Opens it, creating it where it is not there.
    ///
    /// # Errors
    /// [`StoreError`]: not usable, or another contract's.
    pub async fn open(path: &Path, chain_id: u64, agent: Address) -> Result<Self, StoreError> {
        static MIGRATIONS: sqlx::migrate::Migrator = sqlx_macros::migrate!();
        let pool = node::database::open(path, &MIGRATIONS).await?;
        let row = sqlx::query("SELECT chain_id, agent FROM place")
            .fetch_optional(&pool)
            .await?;
        if let Some(row) = row {
            let chain: i64 = row.try_get(0)?;
            let found = Address::try_from(row.try_get::<Vec<u8>, _>(1)?.as_slice())
                .map_err(|_| StoreError::Damaged("an address of another length".to_owned()))?;
            if chain != number(chain_id) || found != agent {
                return Err(StoreError::Foreign {
                    path: path.display().to_string(),
                    found,
                    chain: u64::try_from(chain).unwrap_or_default(),
                });
            }
        }
        Ok(Self {
            pool,
            chain_id: number(chain_id),
            agent,
        })
    }

    /// Where reading goes on; `None`: at the beginning.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn place(&self) -> Result<Option<Place>, StoreError> {
        let row = sqlx::query("SELECT block, block_hash FROM place")
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            Ok(Place {
                block: u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default(),
                hash: word(&row.try_get::<Vec<u8>, _>(1)?)?,
            })
        })
        .transpose()
    }

    /// Every job that was announced.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn jobs(&self) -> Result<Vec<B256>, StoreError> {
        let rows = sqlx::query("SELECT key FROM job ORDER BY block, key")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| word(&row.try_get::<Vec<u8>, _>(0)?)).collect()
    }

    /// Jobs were announced, and everything up to `place` is read. In one transaction.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn advance(&self, announced: &[(B256, u64)], place: Place) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for (key, block) in announced {
            sqlx::query(
                "INSERT INTO job (key, block) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET block = excluded.block",
            )
            .bind(key.as_slice())
            .bind(number(*block))
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "INSERT INTO place (one, chain_id, agent, block, block_hash) VALUES (1, ?, ?, ?, ?)
             ON CONFLICT (one) DO UPDATE SET block = excluded.block, block_hash = excluded.block_hash",
        )
        .bind(self.chain_id)
        .bind(self.agent.as_slice())
        .bind(number(place.block))
        .bind(place.hash.as_slice())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets jobs that the chain does not have.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn forget(&self, keys: &[B256]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for key in keys {
            sqlx::query("DELETE FROM job WHERE key = ?")
                .bind(key.as_slice())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// What failed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn failures(&self) -> Result<Vec<(B256, Record)>, StoreError> {
        let rows = sqlx::query("SELECT key, record FROM failure")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| {
                let record = serde_json::from_str(&row.try_get::<String, _>(1)?);
                let record = record.map_err(|error| StoreError::Damaged(error.to_string()))?;
                Ok((word(&row.try_get::<Vec<u8>, _>(0)?)?, record))
            })
            .collect()
    }

    /// A job's failures changed; `None`: it has none any more.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn set_failure(&self, key: B256, record: Option<&Record>) -> Result<(), StoreError> {
        match record {
            Some(record) => {
                let text = serde_json::to_string(record).map_err(|error| StoreError::Damaged(error.to_string()))?;
                sqlx::query("INSERT INTO failure (key, record) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET record = excluded.record")
                    .bind(key.as_slice())
                    .bind(text)
                    .execute(&self.pool)
                    .await?;
            }
            None => {
                sqlx::query("DELETE FROM failure WHERE key = ?")
                    .bind(key.as_slice())
                    .execute(&self.pool)
                    .await?;
            }
        }
        Ok(())
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: Address = Address::repeat_byte(0xa6);

    #[tokio::test]
    async fn what_was_read_and_what_failed_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keeper.db");
        let (one, two) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let place = Place {
            block: 12,
            hash: B256::repeat_byte(9),
        };
        let record = Record {
            execute: 6,
            reason: "reverted".to_owned(),
            ..Record::default()
        };
        {
            let store = Store::open(&path, 31_337, AGENT).await.unwrap();
            assert_eq!(store.place().await.unwrap(), None);
            store.advance(&[(one, 10), (two, 12)], place).await.unwrap();
            store.advance(&[(two, 12)], place).await.unwrap();
            store.set_failure(one, Some(&record)).await.unwrap();
            store.set_failure(two, Some(&record)).await.unwrap();
            store.set_failure(two, None).await.unwrap();
            store.close().await;
        }
        let store = Store::open(&path, 31_337, AGENT).await.unwrap();
        assert_eq!(store.place().await.unwrap(), Some(place));
        assert_eq!(store.jobs().await.unwrap(), [one, two]);
        assert_eq!(store.failures().await.unwrap(), [(one, record)]);
        store.forget(&[one]).await.unwrap();
        assert_eq!(store.jobs().await.unwrap(), [two]);
    }

    #[tokio::test]
    async fn the_memory_of_another_agent_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keeper.db");
        let place = Place {
            block: 1,
            hash: B256::ZERO,
        };
        let store = Store::open(&path, 1, AGENT).await.unwrap();
        store.advance(&[], place).await.unwrap();
        let refused = Store::open(&path, 1, Address::ZERO).await.unwrap_err();
        assert!(refused.to_string().contains("folder of its own"), "{refused}");
        assert!(Store::open(&path, 2, AGENT).await.is_err());
    }
}
