//! API keys and the audit log, as rows.

use sqlx::Row as _;

use super::{Store, now_ms, signed, unsigned};
use crate::log::LogError;

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its number.
    pub id: u64,
    /// Whose it is, or what for.
    pub name: String,
    /// `read`, `write` or `admin`.
    pub role: String,
    /// Its public part.
    pub prefix: String,
    /// The argon2 hash of all of it.
    pub hash: String,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// Unix milliseconds; `None` while it is good.
    pub revoked_at_ms: Option<u64>,
}

/// A change that was asked for over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number.
    pub id: u64,
    /// Unix milliseconds.
    pub at_ms: u64,
    /// The key's name and prefix, or `anonymous`.
    pub actor: String,
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The answer's status.
    pub status: u16,
}

impl Store {
    /// Writes down a key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_key(&self, name: &str, role: &str, prefix: &str, hash: &str) -> Result<u64, LogError> {
        let mut writing = self.begin().await?;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO api_keys (name, role, prefix, hash, created_at_ms) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        )
        .bind(name)
        .bind(role)
        .bind(prefix)
        .bind(hash)
        .bind(now_ms())
        .fetch_one(writing.connection())
        .await?;
        writing.commit().await?;
        Ok(unsigned(id))
    }

    /// The keys (that with `prefix` alone, where one is given), revoked ones included.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keys(&self, prefix: Option<&str>) -> Result<Vec<KeyRow>, LogError> {
        let rows = sqlx::query("SELECT * FROM api_keys WHERE $1 IS NULL OR prefix = $1 ORDER BY id")
            .bind(prefix)
            .fetch_all(self.pool())
            .await?;
        let key = |row: &sqlx::any::AnyRow| {
            Ok(KeyRow {
                id: unsigned(row.try_get("id")?),
                name: row.try_get("name")?,
                role: row.try_get("role")?,
                prefix: row.try_get("prefix")?,
                hash: row.try_get("hash")?,
                created_at_ms: unsigned(row.try_get("created_at_ms")?),
                revoked_at_ms: row.try_get::<Option<i64>, _>("revoked_at_ms")?.map(unsigned),
            })
        };
        rows.iter().map(key).collect()
    }

    /// Revokes a key; false when there is none of that number that is good.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_key(&self, id: u64) -> Result<bool, LogError> {
        let mut writing = self.begin().await?;
        let revoked = sqlx::query("UPDATE api_keys SET revoked_at_ms = $1 WHERE id = $2 AND revoked_at_ms IS NULL")
            .bind(now_ms())
            .bind(signed(id))
            .execute(writing.connection())
            .await?;
        writing.commit().await?;
        Ok(revoked.rows_affected() > 0)
    }

    /// Writes down a change that was asked for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audit(&self, actor: &str, method: &str, path: &str, status: u16) -> Result<(), LogError> {
        let mut writing = self.begin().await?;
        sqlx::query("INSERT INTO audit (at_ms, actor, method, path, status) VALUES ($1, $2, $3, $4, $5)")
            .bind(now_ms())
            .bind(actor)
            .bind(method)
            .bind(path)
            .bind(i64::from(status))
            .execute(writing.connection())
            .await?;
        writing.commit().await?;
        Ok(())
    }

    /// The changes before the number `before`, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn audited(&self, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, LogError> {
        let rows = sqlx::query("SELECT * FROM audit WHERE $1 IS NULL OR id < $1 ORDER BY id DESC LIMIT $2")
            .bind(before.map(signed))
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        let entry = |row: &sqlx::any::AnyRow| {
            Ok(AuditRow {
                id: unsigned(row.try_get("id")?),
                at_ms: unsigned(row.try_get("at_ms")?),
                actor: row.try_get("actor")?,
                method: row.try_get("method")?,
                path: row.try_get("path")?,
                status: u16::try_from(row.try_get::<i64, _>("status")?).unwrap_or_default(),
            })
        };
        rows.iter().map(entry).collect()
    }
}
