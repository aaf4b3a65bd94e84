//! Services: protocols that pay for their protection.

use alloy::primitives::Address;
use billing::monitor::rule::Conclusion;
use sqlx::Row as _;

use super::{Store, fixed, now_ms, signed, unsigned};
use crate::log::LogError;

/// A service that is not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its number.
    pub id: u64,
    /// The protected protocol's name.
    pub name: String,
    /// Its payment contract.
    pub payment: Address,
    /// Whether its invariants are streamed.
    pub served: bool,
    /// The newest conclusion; `None` before the first.
    pub conclusion: Option<Conclusion>,
    /// When it was come to, Unix milliseconds.
    pub checked_at_ms: Option<u64>,
    /// Active invariants of it.
    pub invariants: u64,
}

/// A change of services that is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The name is taken.
    #[error("there is a service `{0}` already; `platform services list` shows them")]
    Exists(String),
    /// There is none.
    #[error("there is no service `{0}`; `platform services list` shows them")]
    Unknown(String),
    /// It protects something.
    #[error("service `{name}` has {invariants} active invariants; remove them first, or they would be streamed unpaid")]
    InUse {
        /// Its name.
        name: String,
        /// How many.
        invariants: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<sqlx::Error> for ServiceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

impl Store {
    /// Adds a service; it is served until the first look at its payment.
    ///
    /// # Errors
    /// [`ServiceError::Exists`], or the database fails.
    pub async fn add_service(&self, name: &str, payment: Address) -> Result<u64, ServiceError> {
        let mut writing = self.begin().await?;
        let id: Option<i64> = sqlx::query_scalar(
            "INSERT INTO services (name, payment, created_at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(name)
        .bind(payment.as_slice())
        .bind(now_ms())
        .fetch_optional(writing.connection())
        .await?;
        let id = id.ok_or_else(|| ServiceError::Exists(name.to_owned()))?;
        writing.commit().await?;
        Ok(unsigned(id))
    }

    /// Removes a service that protects nothing any more.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn remove_service(&self, name: &str) -> Result<(), ServiceError> {
        let mut writing = self.begin().await?;
        let found: Option<(i64, i64)> = sqlx::query_as(
            "SELECT id, (SELECT count(*) FROM invariants WHERE service = s.id AND removed_at_ms IS NULL)
             FROM services s WHERE name = $1 AND removed_at_ms IS NULL",
        )
        .bind(name)
        .fetch_optional(writing.connection())
        .await?;
        let (id, invariants) = found.ok_or_else(|| ServiceError::Unknown(name.to_owned()))?;
        if invariants > 0 {
            return Err(ServiceError::InUse {
                name: name.to_owned(),
                invariants: unsigned(invariants),
            });
        }
        sqlx::query("UPDATE services SET removed_at_ms = $1 WHERE id = $2")
            .bind(now_ms())
            .bind(id)
            .execute(writing.connection())
            .await?;
        writing.commit().await?;
        Ok(())
    }

    /// The services, by number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services(&self) -> Result<Vec<Service>, LogError> {
        let rows = sqlx::query(
            "SELECT s.*, (SELECT count(*) FROM invariants WHERE service = s.id AND removed_at_ms IS NULL) AS invariants
             FROM services s WHERE removed_at_ms IS NULL ORDER BY id",
        )
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(service).collect()
    }

    /// The number of a service.
    ///
    /// # Errors
    /// [`ServiceError::Unknown`], or the database fails.
    pub async fn service_id(&self, name: &str) -> Result<u64, ServiceError> {
        let id: Option<i64> = sqlx::query_scalar("SELECT id FROM services WHERE name = $1 AND removed_at_ms IS NULL")
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        id.map(unsigned).ok_or_else(|| ServiceError::Unknown(name.to_owned()))
    }

    /// Writes down what was concluded; a service that is let in or out changes the invariant set, as a new version in the log.
    ///
    /// # Errors
    /// When the database fails; then nothing changed.
    pub async fn note_service(&self, id: u64, served: bool, conclusion: &Conclusion) -> Result<(), LogError> {
        let json = serde_json::to_string(conclusion).map_err(|error| LogError::Malformed {
            what: format!("the conclusion on service {id}: {error}"),
        })?;
        let mut writing = self.begin().await?;
        let before: Option<i64> =
            sqlx::query_scalar("SELECT served FROM services WHERE id = $1 AND removed_at_ms IS NULL")
                .bind(signed(id))
                .fetch_optional(writing.connection())
                .await?;
        // Removed meanwhile.
        let Some(before) = before.map(|served| served != 0) else {
            return Ok(());
        };
        sqlx::query("UPDATE services SET served = $1, conclusion = $2, checked_at_ms = $3 WHERE id = $4")
            .bind(i64::from(served))
            .bind(json)
            .bind(now_ms())
            .bind(signed(id))
            .execute(writing.connection())
            .await?;
        if before == served {
            writing.commit().await?;
            return Ok(());
        }
        self.publish(writing).await
    }
}

fn service(row: &sqlx::any::AnyRow) -> Result<Service, LogError> {
    let id = unsigned(row.try_get("id")?);
    let conclusion: Option<String> = row.try_get("conclusion")?;
    let conclusion = conclusion.map(|json| serde_json::from_str(&json)).transpose();
    Ok(Service {
        id,
        name: row.try_get("name")?,
        payment: fixed::<20>("services.payment", &row.try_get::<Vec<u8>, _>("payment")?)?.into(),
        served: row.try_get::<i64, _>("served")? != 0,
        conclusion: conclusion.map_err(|error| LogError::Malformed {
            what: format!("service {id}: its conclusion: {error}"),
        })?,
        checked_at_ms: row.try_get::<Option<i64>, _>("checked_at_ms")?.map(unsigned),
        invariants: unsigned(row.try_get("invariants")?),
    })
}
