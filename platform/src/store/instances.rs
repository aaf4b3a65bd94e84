//! Several platforms on one database, as rows: who lives, which validators are connected where, who feeds the log.

use sqlx::Row as _;

use super::{Store, fixed};
use crate::assignment::Hotkey;
use crate::cluster::rule::Beat;
use crate::log::LogError;

impl Store {
    /// The name of this log, made at its first use; no other log has it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_name(&self) -> Result<String, LogError> {
        let fresh = format!("{:032x}", rand::random::<u128>());
        let mut writing = self.begin().await?;
        sqlx::query("INSERT INTO log_identity (one, name) VALUES (1, $1) ON CONFLICT DO NOTHING")
            .bind(fresh)
            .execute(writing.connection())
            .await?;
        let name = sqlx::query_scalar("SELECT name FROM log_identity")
            .fetch_one(writing.connection())
            .await?;
        writing.commit().await?;
        Ok(name)
    }

    /// Says that the instance of this name lives, and which validators are connected to it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn beat(&self, instance: &str, beat: i64, connected: &[Hotkey]) -> Result<(), LogError> {
        self.remember(connected).await?;
        let numbers = self.numbers_of(connected)?;
        let mut writing = self.begin().await?;
        sqlx::query(
            "INSERT INTO instances (name, beat) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET beat = excluded.beat",
        )
        .bind(instance)
        .bind(beat)
        .execute(writing.connection())
        .await?;
        sqlx::query("DELETE FROM presences WHERE instance = $1")
            .bind(instance)
            .execute(writing.connection())
            .await?;
        for number in numbers {
            sqlx::query("INSERT INTO presences (instance, validator) VALUES ($1, $2)")
                .bind(instance)
                .bind(number)
                .execute(writing.connection())
                .await?;
        }
        writing.commit().await
    }

    /// The beat of every instance.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn beats(&self) -> Result<Vec<Beat>, LogError> {
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT name, beat FROM instances")
            .fetch_all(self.pool())
            .await?;
        Ok(rows
            .into_iter()
            .map(|(instance, beat)| Beat { instance, beat })
            .collect())
    }

    /// Which validators are connected to which instance.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn presences(&self) -> Result<Vec<(String, Hotkey)>, LogError> {
        let rows = sqlx::query(
            "SELECT p.instance, v.hotkey FROM presences p JOIN validators v ON v.id = p.validator ORDER BY v.id",
        )
        .fetch_all(self.pool())
        .await?;
        rows.iter()
            .map(|row| {
                let hotkey: Vec<u8> = row.try_get("hotkey")?;
                Ok((row.try_get("instance")?, fixed::<32>("validators.hotkey", &hotkey)?))
            })
            .collect()
    }

    /// The instance that feeds the log; `None`: none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn feeder(&self) -> Result<Option<String>, LogError> {
        let name: String = sqlx::query_scalar("SELECT instance FROM feeder")
            .fetch_one(self.pool())
            .await?;
        Ok(Some(name).filter(|name| !name.is_empty()))
    }

    /// Puts an instance (`None`: none) in the place of the one that feeds the log; false when another does by now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replace_feeder(&self, old: Option<&str>, new: Option<&str>) -> Result<bool, LogError> {
        let mut writing = self.begin().await?;
        let replaced = sqlx::query("UPDATE feeder SET instance = $1 WHERE instance = $2")
            .bind(new.unwrap_or_default())
            .bind(old.unwrap_or_default())
            .execute(writing.connection())
            .await?;
        writing.commit().await?;
        Ok(replaced.rows_affected() > 0)
    }

    /// Forgets an instance that has ended, unless it has beaten again since `beat`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_instance(&self, gone: &Beat) -> Result<(), LogError> {
        let mut writing = self.begin().await?;
        let same: Option<i64> = sqlx::query_scalar("SELECT beat FROM instances WHERE name = $1 AND beat = $2")
            .bind(&gone.instance)
            .bind(gone.beat)
            .fetch_optional(writing.connection())
            .await?;
        if same.is_none() {
            return Ok(());
        }
        for forget in [
            "DELETE FROM presences WHERE instance = $1",
            "DELETE FROM instances WHERE name = $1",
        ] {
            sqlx::query(forget)
                .bind(&gone.instance)
                .execute(writing.connection())
                .await?;
        }
        writing.commit().await
    }
}
