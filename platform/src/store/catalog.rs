//! Contracts, defence actions, dashboards.

use sqlx::{AnyConnection, Row as _};

use super::links::{self, Members};
use super::{Store, now_ms, signed, unsigned};
use crate::log::LogError;

/// What can be registered, beside invariants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A contract.
    Contract,
    /// An invariant; its own columns are the registry's.
    Invariant,
    /// A defence action.
    Action,
    /// A dashboard.
    Dashboard,
}

impl Kind {
    const fn find(self) -> &'static str {
        match self {
            Self::Contract => "SELECT id FROM contracts WHERE id = $1",
            Self::Invariant => "SELECT id FROM invariants WHERE id = $1 AND removed_at_ms IS NULL",
            Self::Action => "SELECT id FROM defense_actions WHERE id = $1",
            Self::Dashboard => "SELECT id FROM dashboards WHERE id = $1",
        }
    }
}

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such thing.
    #[error("{0:?} {1} is not there")]
    Unknown(Kind, u64),
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// A registered contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Its address, as it was given.
    pub address: String,
    /// Its chain, by name.
    pub network: String,
    /// A JSON object.
    pub variables: String,
}

/// A defence action.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Action {
    /// `TELEGRAM_ALERT` or `PAUSE_AGENT`.
    pub kind: String,
    /// Its chain, by name.
    pub network: String,
    /// Encrypted.
    pub tg_api_key: Option<Vec<u8>>,
    /// Where the alert goes.
    pub tg_chat_id: Option<String>,
    /// Whom it names.
    pub role_id: Option<String>,
    /// What the pause calls.
    pub function_sig: Option<String>,
    /// With what.
    pub calldata: Option<String>,
}

impl Store {
    /// The contracts (that of `id` alone, where one is given), by number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn contracts(&self, id: Option<u64>) -> Result<Vec<(u64, Contract)>, LogError> {
        let rows = sqlx::query("SELECT * FROM contracts WHERE $1 IS NULL OR id = $1 ORDER BY id")
            .bind(id.map(signed))
            .fetch_all(self.pool())
            .await?;
        let contract = |row: &sqlx::any::AnyRow| {
            let contract = Contract {
                address: row.try_get("address")?,
                network: row.try_get("network")?,
                variables: row.try_get("variables")?,
            };
            Ok((unsigned(row.try_get("id")?), contract))
        };
        rows.iter().map(contract).collect()
    }

    /// Writes a contract with its members: a new one without `id`, otherwise in the place of that one. Gives its number.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`]; then nothing changed.
    pub async fn put_contract(
        &self,
        id: Option<u64>,
        contract: &Contract,
        members: &Members,
    ) -> Result<u64, CatalogError> {
        let mut writing = self.begin().await?;
        let id = match id {
            None => insert_contract(writing.connection(), contract).await?,
            Some(id) => {
                let updated =
                    sqlx::query("UPDATE contracts SET address = $1, network = $2, variables = $3 WHERE id = $4")
                        .bind(&contract.address)
                        .bind(&contract.network)
                        .bind(&contract.variables)
                        .bind(signed(id))
                        .execute(writing.connection())
                        .await?;
                if updated.rows_affected() == 0 {
                    return Err(CatalogError::Unknown(Kind::Contract, id));
                }
                id
            }
        };
        links::replace(writing.connection(), id, members).await?;
        writing.commit().await?;
        Ok(id)
    }

    /// The defence actions (that of `id` alone, where one is given), by number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn actions(&self, id: Option<u64>) -> Result<Vec<(u64, Action)>, LogError> {
        let rows = sqlx::query("SELECT * FROM defense_actions WHERE $1 IS NULL OR id = $1 ORDER BY id")
            .bind(id.map(signed))
            .fetch_all(self.pool())
            .await?;
        let action = |row: &sqlx::any::AnyRow| {
            let action = Action {
                kind: row.try_get("type")?,
                network: row.try_get("network")?,
                tg_api_key: row.try_get("tg_api_key")?,
                tg_chat_id: row.try_get("tg_chat_id")?,
                role_id: row.try_get("role_id")?,
                function_sig: row.try_get("function_sig")?,
                calldata: row.try_get("calldata")?,
            };
            Ok((unsigned(row.try_get("id")?), action))
        };
        rows.iter().map(action).collect()
    }

    /// Writes a defence action: a new one without `id`, otherwise in the place of that one. Gives its number.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`]; then nothing changed.
    pub async fn put_action(&self, id: Option<u64>, action: &Action) -> Result<u64, CatalogError> {
        let mut writing = self.begin().await?;
        let query = match id {
            None => sqlx::query_scalar(
                "INSERT INTO defense_actions
                   (type, network, tg_api_key, tg_chat_id, role_id, function_sig, calldata, created_at_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id",
            ),
            Some(_) => sqlx::query_scalar(
                "UPDATE defense_actions
                 SET type = $1, network = $2, tg_api_key = $3, tg_chat_id = $4, role_id = $5, function_sig = $6, calldata = $7
                 WHERE id = $8 RETURNING id",
            ),
        };
        let written: Option<i64> = query
            .bind(&action.kind)
            .bind(&action.network)
            .bind(&action.tg_api_key)
            .bind(&action.tg_chat_id)
            .bind(&action.role_id)
            .bind(&action.function_sig)
            .bind(&action.calldata)
            .bind(id.map_or_else(now_ms, signed))
            .fetch_optional(writing.connection())
            .await?;
        writing.commit().await?;
        written
            .map(unsigned)
            .ok_or(CatalogError::Unknown(Kind::Action, id.unwrap_or_default()))
    }

    /// The dashboards (that of `id` alone, where one is given), by number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dashboards(&self, id: Option<u64>) -> Result<Vec<(u64, String)>, LogError> {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("SELECT id, name FROM dashboards WHERE $1 IS NULL OR id = $1 ORDER BY id")
                .bind(id.map(signed))
                .fetch_all(self.pool())
                .await?;
        Ok(rows.into_iter().map(|(id, name)| (unsigned(id), name)).collect())
    }

    /// Writes a dashboard with its members: a new one without `id`, otherwise in the place of that one. Gives its number.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`]; then nothing changed.
    pub async fn put_dashboard(&self, id: Option<u64>, name: &str, members: &Members) -> Result<u64, CatalogError> {
        let mut writing = self.begin().await?;
        let query = match id {
            None => sqlx::query_scalar("INSERT INTO dashboards (name, created_at_ms) VALUES ($1, $2) RETURNING id"),
            Some(_) => sqlx::query_scalar("UPDATE dashboards SET name = $1 WHERE id = $2 RETURNING id"),
        };
        let written: Option<i64> = query
            .bind(name)
            .bind(id.map_or_else(now_ms, signed))
            .fetch_optional(writing.connection())
            .await?;
        let id = written
            .map(unsigned)
            .ok_or(CatalogError::Unknown(Kind::Dashboard, id.unwrap_or_default()))?;
        links::replace(writing.connection(), id, members).await?;
        writing.commit().await?;
        Ok(id)
    }

    /// Deletes a contract, an action or a dashboard, with its links. Invariants are [`Store::remove_invariant`]'s.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`].
    pub async fn delete(&self, kind: Kind, id: u64) -> Result<(), CatalogError> {
        let mut writing = self.begin().await?;
        if !delete(writing.connection(), kind, id).await? {
            return Err(CatalogError::Unknown(kind, id));
        }
        Ok(writing.commit().await?)
    }
}

pub(super) async fn exists(db: &mut AnyConnection, kind: Kind, id: u64) -> Result<bool, sqlx::Error> {
    let found: Option<i64> = sqlx::query_scalar(kind.find())
        .bind(signed(id))
        .fetch_optional(db)
        .await?;
    Ok(found.is_some())
}

/// Writes a new contract; gives its number.
pub(super) async fn insert_contract(db: &mut AnyConnection, contract: &Contract) -> Result<u64, LogError> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO contracts (address, network, variables, created_at_ms) VALUES ($1, $2, $3, $4) RETURNING id",
    )
    .bind(&contract.address)
    .bind(&contract.network)
    .bind(&contract.variables)
    .bind(now_ms())
    .fetch_one(db)
    .await?;
    Ok(unsigned(id))
}

/// Deletes it with its links; false when it is not there, or is an invariant, which is the registry's.
pub(super) async fn delete(db: &mut AnyConnection, kind: Kind, id: u64) -> Result<bool, LogError> {
    let statement = match kind {
        Kind::Contract => "DELETE FROM contracts WHERE id = $1",
        Kind::Action => "DELETE FROM defense_actions WHERE id = $1",
        Kind::Dashboard => "DELETE FROM dashboards WHERE id = $1",
        Kind::Invariant => return Ok(false),
    };
    let deleted = sqlx::query(statement).bind(signed(id)).execute(&mut *db).await?;
    if deleted.rows_affected() == 0 {
        return Ok(false);
    }
    if kind == Kind::Contract {
        sqlx::query("DELETE FROM descriptions WHERE contract = $1")
            .bind(signed(id))
            .execute(&mut *db)
            .await?;
    }
    links::unlink(db, kind, id).await?;
    Ok(true)
}
