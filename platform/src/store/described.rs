//! What people wrote: the sources of invariants, and the names, layouts and ABIs of contracts.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, Row as _};

use super::registry::{Row, insert, row, update};
use super::{CatalogError, Contract, Kind, Relation, Store, catalog, signed, unsigned};
use crate::log::LogError;
use crate::registry::Draft;

/// What an invariant was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// As it was written.
    pub expression: String,
    /// How much it matters, where said.
    pub severity: Option<String>,
    /// What people should know about it, where said.
    pub description: Option<String>,
}

/// An active invariant with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What the network judges.
    pub row: Row,
    /// What it was made of, where it was written so.
    pub source: Option<Source>,
    /// The name of the service that pays for it.
    pub service: Option<String>,
}

/// What expressions call a contract, and how it is laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name in expressions.
    pub name: String,
    /// JSON, as solc writes it.
    pub layout: Option<String>,
    /// JSON.
    pub abi: Option<String>,
}

/// A contract with what expressions call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedContract {
    /// Its number.
    pub id: u64,
    /// What is registered.
    pub contract: Contract,
    /// What it is called, where it was said.
    pub description: Option<Description>,
}

/// Why a contract was not described.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// There is no such contract.
    #[error("there is no contract {0}")]
    Unknown(u64),
    /// It is not what the caller has seen.
    #[error("contract {0} was changed since it was read")]
    Stale(u64),
    /// Expressions could not tell the two apart.
    #[error("another contract has the name `{0}`; choose one that says which of them it is")]
    Taken(String),
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<sqlx::Error> for DescribeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is made.
    Made,
    /// There is no such thing.
    Unknown,
    /// It is not what the caller has seen.
    Stale,
}

const DESCRIBED: &str = "SELECT i.*, s.expression, s.severity, s.description, v.name AS service_name FROM invariants i
     LEFT JOIN sources s ON s.invariant = i.id LEFT JOIN services v ON v.id = i.service
     WHERE i.removed_at_ms IS NULL AND i.id > $1 ORDER BY i.id LIMIT $2";

impl Store {
    /// The active invariants with greater numbers than `after`, by number; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn described(&self, after: u64, limit: u32) -> Result<Vec<Described>, LogError> {
        let rows = sqlx::query(DESCRIBED)
            .bind(signed(after))
            .bind(i64::from(limit))
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(described).collect()
    }

    /// An active invariant with all that is known of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn described_one(&self, id: u64) -> Result<Option<Described>, LogError> {
        current(&mut *self.pool().acquire().await?, id).await
    }

    /// Registers an invariant with its source and its actions as one new version, and logs it; gives its number.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] for an action that is not there; then nothing changed.
    pub async fn add_described(
        &self,
        service: Option<u64>,
        draft: &Draft,
        source: Option<&Source>,
        actions: &[u64],
    ) -> Result<u64, CatalogError> {
        let mut writing = self.begin().await?;
        let id = insert(writing.connection(), service, draft).await?;
        describe(writing.connection(), id, source, actions).await?;
        self.publish(writing).await?;
        Ok(id)
    }

    /// Puts another invariant in the place of `seen`, if it still is as it was seen, as a new version, and logs it.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] for an action that is not there; then nothing changed.
    pub async fn replace_described(
        &self,
        seen: &Described,
        draft: &Draft,
        source: Option<&Source>,
        actions: &[u64],
    ) -> Result<Change, CatalogError> {
        let id = seen.row.invariant.id();
        let mut writing = self.begin().await?;
        match current(writing.connection(), id).await? {
            None => return Ok(Change::Unknown),
            Some(now) if now != *seen => return Ok(Change::Stale),
            Some(_) => {}
        }
        update(writing.connection(), id, draft).await?;
        describe(writing.connection(), id, source, actions).await?;
        self.publish(writing).await?;
        Ok(Change::Made)
    }

    /// The links of a relation whose owners lie between these numbers, both included, owner first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_between(
        &self,
        relation: Relation,
        first: u64,
        last: u64,
    ) -> Result<BTreeSet<(u64, u64)>, LogError> {
        let pairs: Vec<(i64, i64)> =
            sqlx::query_as("SELECT owner, member FROM links WHERE relation = $1 AND owner BETWEEN $2 AND $3")
                .bind(relation.name())
                .bind(signed(first))
                .bind(signed(last))
                .fetch_all(self.pool())
                .await?;
        let pair = |(owner, member)| (unsigned(owner), unsigned(member));
        Ok(pairs.into_iter().map(pair).collect())
    }

    /// The contracts with greater numbers than `after`, by number, with what expressions call them; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn described_contracts(&self, after: u64, limit: u32) -> Result<Vec<DescribedContract>, LogError> {
        let rows = sqlx::query(
            "SELECT c.*, d.name, d.layout, d.abi FROM contracts c LEFT JOIN descriptions d ON d.contract = c.id
             WHERE c.id > $1 ORDER BY c.id LIMIT $2",
        )
        .bind(signed(after))
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(contract).collect()
    }

    /// A contract with what expressions call it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn described_contract(&self, id: u64) -> Result<Option<DescribedContract>, LogError> {
        current_contract(&mut *self.pool().acquire().await?, id).await
    }

    /// The contracts of a network that expressions may name, at most 1,000.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn named_contracts(&self, network: &str) -> Result<Vec<(String, Description)>, LogError> {
        let rows = sqlx::query(
            "SELECT c.*, d.name, d.layout, d.abi FROM contracts c JOIN descriptions d ON d.contract = c.id
             WHERE c.network = $1 ORDER BY c.id LIMIT 1000",
        )
        .bind(network)
        .fetch_all(self.pool())
        .await?;
        let named = |row: &sqlx::any::AnyRow| {
            let found = contract(row)?;
            Ok((found.contract.address, found.description.unwrap_or_default()))
        };
        rows.iter().map(named).collect()
    }

    /// Registers a contract together with what expressions call it; gives its number.
    ///
    /// # Errors
    /// [`DescribeError::Taken`]; then nothing changed.
    pub async fn add_described_contract(
        &self,
        contract: &Contract,
        description: Option<&Description>,
    ) -> Result<u64, DescribeError> {
        let mut writing = self.begin().await?;
        let id = catalog::insert_contract(writing.connection(), contract).await?;
        put_description(writing.connection(), id, description).await?;
        writing.commit().await?;
        Ok(id)
    }

    /// Says anew what expressions call `seen`, if it still is as it was seen; nothing without a description.
    ///
    /// # Errors
    /// [`DescribeError`]; then nothing changed.
    pub async fn describe_contract(
        &self,
        seen: &DescribedContract,
        description: Option<&Description>,
    ) -> Result<(), DescribeError> {
        let mut writing = self.begin().await?;
        unchanged(writing.connection(), seen).await?;
        sqlx::query("DELETE FROM descriptions WHERE contract = $1")
            .bind(signed(seen.id))
            .execute(writing.connection())
            .await?;
        put_description(writing.connection(), seen.id, description).await?;
        Ok(writing.commit().await?)
    }

    /// Forgets a contract with its links; where it was `seen`, only if it still is as it was seen.
    ///
    /// # Errors
    /// [`DescribeError`]; then nothing changed.
    pub async fn forget_contract(&self, id: u64, seen: Option<&DescribedContract>) -> Result<(), DescribeError> {
        let mut writing = self.begin().await?;
        if let Some(seen) = seen {
            unchanged(writing.connection(), seen).await?;
        }
        if !catalog::delete(writing.connection(), Kind::Contract, id).await? {
            return Err(DescribeError::Unknown(id));
        }
        Ok(writing.commit().await?)
    }
}

async fn current_contract(db: &mut AnyConnection, id: u64) -> Result<Option<DescribedContract>, LogError> {
    let found = sqlx::query(
        "SELECT c.*, d.name, d.layout, d.abi FROM contracts c LEFT JOIN descriptions d ON d.contract = c.id WHERE c.id = $1",
    )
    .bind(signed(id))
    .fetch_optional(db)
    .await?;
    found.as_ref().map(contract).transpose()
}

/// Inside a transaction that writes: nobody changes it before the end of that.
async fn unchanged(db: &mut AnyConnection, seen: &DescribedContract) -> Result<(), DescribeError> {
    match current_contract(db, seen.id).await? {
        None => Err(DescribeError::Unknown(seen.id)),
        Some(now) if now != *seen => Err(DescribeError::Stale(seen.id)),
        Some(_) => Ok(()),
    }
}

/// Of a contract that has no description yet.
async fn put_description(
    db: &mut AnyConnection,
    id: u64,
    description: Option<&Description>,
) -> Result<(), DescribeError> {
    let Some(description) = description else {
        return Ok(());
    };
    let written = sqlx::query(
        "INSERT INTO descriptions (contract, name, layout, abi) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
    )
    .bind(signed(id))
    .bind(&description.name)
    .bind(&description.layout)
    .bind(&description.abi)
    .execute(db)
    .await?;
    match written.rows_affected() {
        0 => Err(DescribeError::Taken(description.name.clone())),
        _ => Ok(()),
    }
}

async fn current(db: &mut AnyConnection, id: u64) -> Result<Option<Described>, LogError> {
    let Some(before) = id.checked_sub(1) else {
        return Ok(None);
    };
    let next = sqlx::query(DESCRIBED)
        .bind(signed(before))
        .bind(1_i64)
        .fetch_optional(db)
        .await?;
    let next = next.as_ref().map(described).transpose()?;
    Ok(next.filter(|next| next.row.invariant.id() == id))
}

/// What an invariant that has no source yet was written as, and its actions in the place of those that it had.
async fn describe(
    db: &mut AnyConnection,
    id: u64,
    source: Option<&Source>,
    actions: &[u64],
) -> Result<(), CatalogError> {
    put_source(db, id, source).await?;
    catalog::replace(db, id, &[(Relation::InvariantAction, actions.to_vec())]).await
}

/// Of an invariant that has no source yet.
async fn put_source(db: &mut AnyConnection, id: u64, source: Option<&Source>) -> Result<(), LogError> {
    if let Some(source) = source {
        sqlx::query("INSERT INTO sources (invariant, expression, severity, description) VALUES ($1, $2, $3, $4)")
            .bind(signed(id))
            .bind(source.expression.clone())
            .bind(source.severity.clone())
            .bind(source.description.clone())
            .execute(db)
            .await?;
    }
    Ok(())
}

fn described(found: &sqlx::any::AnyRow) -> Result<Described, LogError> {
    let expression: Option<String> = found.try_get("expression")?;
    let (severity, description) = (found.try_get("severity")?, found.try_get("description")?);
    Ok(Described {
        row: row(found)?,
        source: expression.map(|expression| Source {
            expression,
            severity,
            description,
        }),
        service: found.try_get("service_name")?,
    })
}

fn contract(row: &sqlx::any::AnyRow) -> Result<DescribedContract, LogError> {
    let name: Option<String> = row.try_get("name")?;
    let (layout, abi) = (row.try_get("layout")?, row.try_get("abi")?);
    Ok(DescribedContract {
        id: unsigned(row.try_get("id")?),
        contract: Contract {
            address: row.try_get("address")?,
            network: row.try_get("network")?,
            variables: row.try_get("variables")?,
        },
        description: name.map(|name| Description { name, layout, abi }),
    })
}
