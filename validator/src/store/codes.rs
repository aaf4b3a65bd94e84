//! Bytecode by its hash: a stream carries each only once, so it must outlive the process.

use engine::{B256, Bytes};

use super::{Store, StoreError};

impl Store {
    /// Keeps bytecode.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_codes(&self, codes: &[(B256, Bytes)]) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for (hash, code) in codes {
            sqlx::query("INSERT OR IGNORE INTO code (hash, bytecode) VALUES (?, ?)")
                .bind(&hash[..])
                .bind(&code[..])
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Bytecode by its hash.
    ///
    /// # Errors
    /// The database fails.
    pub async fn code(&self, hash: B256) -> Result<Option<Bytes>, StoreError> {
        let code: Option<Vec<u8>> = sqlx::query_scalar("SELECT bytecode FROM code WHERE hash = ?")
            .bind(&hash[..])
            .fetch_optional(&self.pool)
            .await?;
        Ok(code.map(Bytes::from))
    }
}
