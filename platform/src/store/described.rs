//! What people wrote: the sources of invariants, and the names, layouts and ABIs of contracts.

use sqlx::{AnyConnection, Row as _};

use super::registry::{Row, remove, row, update};
use super::{CatalogError, Contract, Kind, Relation, Store, catalog, links, signed, unsigned};
use crate::log::LogError;
use crate::registry::{Draft, Source};

/// An active invariant with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// What the network judges.
    pub row: Row,
    /// What it was written as, where it was written so.
    pub source: Option<Source>,
    /// The name of the service that pays for it.
    pub service: Option<String>,
    /// What happens when it is broken: numbers of defence actions, rising.
    pub actions: Vec<u64>,
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
    /// Numbers of its invariants, rising.
    pub invariants: Vec<u64>,
}

/// A change of what somebody has seen that was not made.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// It is not what the caller has seen.
    #[error("{0:?} {1} was changed since it was read")]
    Stale(Kind, u64),
    /// Expressions could not tell the two contracts apart.
    #[error("another contract has the name `{0}`; choose one that says which of them it is")]
    Taken(String),
    /// Something is not there, or the database failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<LogError> for DescribeError {
    fn from(error: LogError) -> Self {
        Self::Catalog(error.into())
    }
}

impl From<sqlx::Error> for DescribeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Catalog(error.into())
    }
}

impl Store {
    /// The active invariants with greater numbers than `after`, by number; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn described(&self, after: u64, limit: u32) -> Result<Vec<Described>, LogError> {
        invariants(&mut *self.pool().acquire().await?, after, limit).await
    }

    /// An active invariant with all that is known of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn described_one(&self, id: u64) -> Result<Option<Described>, LogError> {
        invariant(&mut *self.pool().acquire().await?, id).await
    }

    /// As [`Store::replace_invariant`], if `seen` still is as it was seen.
    ///
    /// # Errors
    /// [`DescribeError`]; then nothing changed.
    pub async fn replace_described(
        &self,
        seen: &Described,
        draft: &Draft,
        actions: &[u64],
    ) -> Result<(), DescribeError> {
        let id = seen.row.invariant.id();
        let mut writing = self.begin().await?;
        let now = invariant(writing.connection(), id).await?;
        unchanged((Kind::Invariant, id), now.as_ref(), seen)?;
        update(writing.connection(), id, draft, actions).await?;
        Ok(self.publish(writing).await?)
    }

    /// As [`Store::remove_invariant`], if `seen` still is as it was seen.
    ///
    /// # Errors
    /// [`DescribeError`]; then nothing changed.
    pub async fn remove_described(&self, seen: &Described) -> Result<(), DescribeError> {
        let id = seen.row.invariant.id();
        let mut writing = self.begin().await?;
        let now = invariant(writing.connection(), id).await?;
        unchanged((Kind::Invariant, id), now.as_ref(), seen)?;
        remove(writing.connection(), id).await?;
        Ok(self.publish(writing).await?)
    }

    /// The contracts with greater numbers than `after`, by number, with what expressions call them; at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn described_contracts(&self, after: u64, limit: u32) -> Result<Vec<DescribedContract>, LogError> {
        contracts(&mut *self.pool().acquire().await?, after, limit).await
    }

    /// A contract with what expressions call it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn described_contract(&self, id: u64) -> Result<Option<DescribedContract>, LogError> {
        contract(&mut *self.pool().acquire().await?, id).await
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
            let found = read_contract(row)?;
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
        let now = contract(writing.connection(), seen.id).await?;
        unchanged((Kind::Contract, seen.id), now.as_ref(), seen)?;
        sqlx::query("DELETE FROM descriptions WHERE contract = $1")
            .bind(signed(seen.id))
            .execute(writing.connection())
            .await?;
        put_description(writing.connection(), seen.id, description).await?;
        Ok(writing.commit().await?)
    }

    /// Forgets a contract with its links, if `seen` still is as it was seen.
    ///
    /// # Errors
    /// [`DescribeError`]; then nothing changed.
    pub async fn forget_contract(&self, seen: &DescribedContract) -> Result<(), DescribeError> {
        let mut writing = self.begin().await?;
        let now = contract(writing.connection(), seen.id).await?;
        unchanged((Kind::Contract, seen.id), now.as_ref(), seen)?;
        catalog::delete(writing.connection(), Kind::Contract, seen.id).await?;
        Ok(writing.commit().await?)
    }
}

/// Compares what is there now with what was seen. Asked inside a transaction that writes: nobody changes it before the end of that.
fn unchanged<T: PartialEq>((kind, id): (Kind, u64), now: Option<&T>, seen: &T) -> Result<(), DescribeError> {
    match now {
        None => Err(CatalogError::Unknown(kind, id).into()),
        Some(now) if now == seen => Ok(()),
        Some(_) => Err(DescribeError::Stale(kind, id)),
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

async fn invariants(db: &mut AnyConnection, after: u64, limit: u32) -> Result<Vec<Described>, LogError> {
    let rows = sqlx::query(
        "SELECT i.*, s.expression, s.severity, s.description, v.name AS service_name FROM invariants i
         LEFT JOIN sources s ON s.invariant = i.id LEFT JOIN services v ON v.id = i.service
         WHERE i.removed_at_ms IS NULL AND i.id > $1 ORDER BY i.id LIMIT $2",
    )
    .bind(signed(after))
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let mut found: Vec<Described> = rows.iter().map(read_invariant).collect::<Result<_, _>>()?;
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        let (first, last) = (first.row.invariant.id(), last.row.invariant.id());
        let links = links::between(db, Relation::InvariantAction, first, last).await?;
        for one in &mut found {
            one.actions = links.of(one.row.invariant.id());
        }
    }
    Ok(found)
}

async fn invariant(db: &mut AnyConnection, id: u64) -> Result<Option<Described>, LogError> {
    let Some(before) = id.checked_sub(1) else {
        return Ok(None);
    };
    let next = invariants(db, before, 1).await?.pop();
    Ok(next.filter(|next| next.row.invariant.id() == id))
}

fn read_invariant(found: &sqlx::any::AnyRow) -> Result<Described, LogError> {
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
        actions: Vec::new(),
    })
}

async fn contracts(db: &mut AnyConnection, after: u64, limit: u32) -> Result<Vec<DescribedContract>, LogError> {
    let rows = sqlx::query(
        "SELECT c.*, d.name, d.layout, d.abi FROM contracts c LEFT JOIN descriptions d ON d.contract = c.id
         WHERE c.id > $1 ORDER BY c.id LIMIT $2",
    )
    .bind(signed(after))
    .bind(i64::from(limit))
    .fetch_all(&mut *db)
    .await?;
    let mut found: Vec<DescribedContract> = rows.iter().map(read_contract).collect::<Result<_, _>>()?;
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        let links = links::between(db, Relation::ContractInvariant, first.id, last.id).await?;
        for one in &mut found {
            one.invariants = links.of(one.id);
        }
    }
    Ok(found)
}

async fn contract(db: &mut AnyConnection, id: u64) -> Result<Option<DescribedContract>, LogError> {
    let Some(before) = id.checked_sub(1) else {
        return Ok(None);
    };
    let next = contracts(db, before, 1).await?.pop();
    Ok(next.filter(|next| next.id == id))
}

fn read_contract(row: &sqlx::any::AnyRow) -> Result<DescribedContract, LogError> {
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
        invariants: Vec::new(),
    })
}
