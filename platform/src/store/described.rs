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
        let Some(before) = id.checked_sub(1) else {
            return Ok(None);
        };
        let found = self.described(before, 1).await?.pop();
        Ok(found.filter(|found| found.row.invariant.id() == id))
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
        seen: &Row,
        draft: &Draft,
        source: Option<&Source>,
        actions: &[u64],
    ) -> Result<Change, CatalogError> {
        let id = seen.invariant.id();
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
    pub async fn described_contracts(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Contract, Option<Description>)>, LogError> {
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
    pub async fn described_contract(&self, id: u64) -> Result<Option<(u64, Contract, Option<Description>)>, LogError> {
        let Some(before) = id.checked_sub(1) else {
            return Ok(None);
        };
        let found = self.described_contracts(before, 1).await?.pop();
        Ok(found.filter(|(found, _, _)| *found == id))
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
            let (_, contract, description) = contract(row)?;
            Ok((contract.address, description.unwrap_or_default()))
        };
        rows.iter().map(named).collect()
    }

    /// Says what expressions call a contract; nothing without a description. False when another contract has this name.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] when there is no such contract.
    pub async fn describe_contract(&self, id: u64, description: Option<&Description>) -> Result<bool, CatalogError> {
        let mut writing = self.begin().await?;
        if !catalog::exists(writing.connection(), Kind::Contract, id).await? {
            return Err(CatalogError::Unknown(Kind::Contract, id));
        }
        sqlx::query("DELETE FROM descriptions WHERE contract = $1")
            .bind(signed(id))
            .execute(writing.connection())
            .await?;
        if let Some(description) = description {
            let written = sqlx::query(
                "INSERT INTO descriptions (contract, name, layout, abi) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING",
            )
            .bind(signed(id))
            .bind(description.name.clone())
            .bind(description.layout.clone())
            .bind(description.abi.clone())
            .execute(writing.connection())
            .await?;
            if written.rows_affected() == 0 {
                return Ok(false);
            }
        }
        writing.commit().await?;
        Ok(true)
    }
}

async fn current(db: &mut AnyConnection, id: u64) -> Result<Option<Row>, LogError> {
    let found = sqlx::query("SELECT * FROM invariants WHERE removed_at_ms IS NULL AND id = $1")
        .bind(signed(id))
        .fetch_optional(db)
        .await?;
    found.as_ref().map(row).transpose()
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

fn contract(row: &sqlx::any::AnyRow) -> Result<(u64, Contract, Option<Description>), LogError> {
    let name: Option<String> = row.try_get("name")?;
    let (layout, abi) = (row.try_get("layout")?, row.try_get("abi")?);
    let contract = Contract {
        address: row.try_get("address")?,
        network: row.try_get("network")?,
        variables: row.try_get("variables")?,
    };
    let id = unsigned(row.try_get("id")?);
    Ok((id, contract, name.map(|name| Description { name, layout, abi })))
}
