//! The registry of invariants: every change is a new version, logged in the same transaction.

use std::sync::Arc;

use engine::lang::{self, Names};
use engine::{B256, Invariant, ProgramInvariant, U256, WatchSet, Watched};
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, Row as _};
use wire::{InvariantSet, Wire};

use super::append::KIND_INVARIANT_SET;
use super::{CatalogError, Kind, Relation, Store, Writing, fixed, links, now_ms, signed, unsigned};
use crate::log::{Entry, Event, LogError};
use crate::registry::Draft;

/// An active invariant, with what the registry knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The invariant.
    pub invariant: Watched,
    /// The chain, by name.
    pub network: String,
    /// The variable's name in the source, where it was given.
    pub variable: Option<String>,
    /// Unix milliseconds.
    pub created_at_ms: u64,
}

impl Store {
    /// Registers these invariants as one new version and logs it; gives their ids, in order. Nothing for no drafts.
    ///
    /// # Errors
    /// When the database fails; then none is registered.
    pub async fn add_invariants(&self, drafts: &[Draft]) -> Result<Vec<u64>, LogError> {
        self.add_invariants_of(None, drafts).await
    }

    /// As [`Store::add_invariants`], of a service: they are streamed only while it is paid.
    ///
    /// # Errors
    /// When the database fails; then none is registered.
    pub async fn add_invariants_of(&self, service: Option<u64>, drafts: &[Draft]) -> Result<Vec<u64>, LogError> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let mut writing = self.begin().await?;
        let mut ids = Vec::with_capacity(drafts.len());
        for draft in drafts {
            ids.push(insert(writing.connection(), service, draft).await?);
        }
        self.publish(writing).await?;
        Ok(ids)
    }

    /// Registers an invariant with its actions as one new version and logs it; gives its id.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] for an action that is not there; then nothing changed.
    pub async fn add_invariant(
        &self,
        service: Option<u64>,
        draft: &Draft,
        actions: &[u64],
    ) -> Result<u64, CatalogError> {
        let mut writing = self.begin().await?;
        let id = insert(writing.connection(), service, draft).await?;
        links::replace(
            writing.connection(),
            id,
            &[(Relation::InvariantAction, actions.to_vec())],
        )
        .await?;
        self.publish(writing).await?;
        Ok(id)
    }

    /// Puts another invariant, with its actions, in the place of `id`, as a new version, and logs it.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] when there is no active one of this id, or for an action that is not there; then nothing changed.
    pub async fn replace_invariant(&self, id: u64, draft: &Draft, actions: &[u64]) -> Result<(), CatalogError> {
        let mut writing = self.begin().await?;
        update(writing.connection(), id, draft, actions).await?;
        Ok(self.publish(writing).await?)
    }

    /// Removes an invariant, with what it is linked to, as a new version, and logs it.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] when there is no active one of this id.
    pub async fn remove_invariant(&self, id: u64) -> Result<(), CatalogError> {
        let mut writing = self.begin().await?;
        remove(writing.connection(), id).await?;
        Ok(self.publish(writing).await?)
    }

    /// The active invariants, by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invariants(&self) -> Result<Vec<Row>, LogError> {
        active(&mut *self.pool().acquire().await?).await
    }

    /// An active invariant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invariant(&self, id: u64) -> Result<Option<Row>, LogError> {
        let found = sqlx::query("SELECT * FROM invariants WHERE removed_at_ms IS NULL AND id = $1")
            .bind(signed(id))
            .fetch_optional(self.pool())
            .await?;
        found.as_ref().map(row).transpose()
    }

    /// The version in force, and its invariants compiled for the engine.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invariant_set(&self) -> Result<(u64, Arc<WatchSet>), LogError> {
        // One transaction: version and invariants belong together.
        let mut reading = self.database.begin(node::database::shared::READING).await?;
        let set = current_set(&mut reading).await?;
        reading.commit().await?;
        let compiled = WatchSet::new(set.invariants).map_err(|error| LogError::Malformed {
            what: format!("the invariants in force: {error}"),
        })?;
        Ok((set.version, Arc::new(compiled)))
    }

    /// The version in force.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn invariant_set_version(&self) -> Result<u64, LogError> {
        let version: i64 = sqlx::query_scalar("SELECT version FROM registry")
            .fetch_one(self.pool())
            .await?;
        Ok(unsigned(version))
    }

    /// Logs the set in force, if none was ever logged: so every transaction in the log comes after a set.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn publish_first_set(&self) -> Result<(), LogError> {
        let mut writing = self.begin().await?;
        let logged: Option<i64> = sqlx::query_scalar("SELECT cursor FROM items WHERE kind = $1 LIMIT 1")
            .bind(KIND_INVARIANT_SET)
            .fetch_optional(writing.connection())
            .await?;
        if logged.is_none() {
            self.log_set(writing).await?;
        }
        Ok(())
    }

    /// Makes what was written the registry's next version, and logs it.
    pub(super) async fn publish(&self, mut writing: Writing<'_>) -> Result<(), LogError> {
        sqlx::query("UPDATE registry SET version = version + 1")
            .execute(writing.connection())
            .await?;
        self.log_set(writing).await
    }

    /// Commits what was written, with the set that it makes logged behind it.
    async fn log_set(&self, mut writing: Writing<'_>) -> Result<(), LogError> {
        let set = current_set(writing.connection()).await?;
        let entry = Entry {
            event: Event::InvariantSet(set.to_wire()),
            assigned: Vec::new(),
        };
        let last = self.insert_entries(writing.connection(), vec![entry]).await?;
        writing.commit().await?;
        self.announce(last);
        Ok(())
    }
}

/// Writes an invariant; gives its number. The caller makes the new version.
async fn insert(db: &mut AnyConnection, service: Option<u64>, draft: &Draft) -> Result<u64, LogError> {
    let insert = sqlx::query(
        "INSERT INTO invariants
           (name, contract, slot, value_type, byte_offset, comparison, target, network, variable, program, created_at_ms, service)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id",
    );
    let inserted = written(insert, draft)
        .bind(now_ms())
        .bind(service.map(signed))
        .fetch_one(&mut *db)
        .await?;
    let id = unsigned(inserted.try_get("id")?);
    put_source(db, id, draft).await?;
    Ok(id)
}

/// The first ten parameters of a query: what an invariant is.
fn written<'q>(query: Query<'q, Any, AnyArguments>, draft: &'q Draft) -> Query<'q, Any, AnyArguments> {
    let invariant = &draft.invariant;
    let (slot, program) = match invariant {
        Watched::Slot(slot) => (Some(slot), None),
        Watched::View(_) | Watched::Program(_) => (None, Some(invariant.expression())),
    };
    let word = |word: Option<U256>| B256::from(word.unwrap_or_default()).to_vec();
    query
        .bind(invariant.name())
        .bind(invariant.contract().to_vec())
        .bind(word(slot.map(|slot| slot.slot)))
        .bind(slot.map(|slot| slot.value_type.to_string()).unwrap_or_default())
        .bind(slot.map_or(0, |slot| i64::from(slot.offset)))
        .bind(slot.map_or("", |slot| slot.comparison.symbol()))
        .bind(word(slot.map(|slot| slot.target)))
        .bind(&draft.network)
        .bind(draft.variable.as_deref())
        .bind(program)
}

/// Puts an invariant in the place of the active one of this number, with what it was written as and its actions. The caller makes the new
/// version.
pub(super) async fn update(
    db: &mut AnyConnection,
    id: u64,
    draft: &Draft,
    actions: &[u64],
) -> Result<(), CatalogError> {
    let update = sqlx::query(
        "UPDATE invariants SET name = $1, contract = $2, slot = $3, value_type = $4, byte_offset = $5, comparison = $6,
           target = $7, network = $8, variable = $9, program = $10 WHERE id = $11 AND removed_at_ms IS NULL",
    );
    let updated = written(update, draft).bind(signed(id)).execute(&mut *db).await?;
    if updated.rows_affected() == 0 {
        return Err(CatalogError::Unknown(Kind::Invariant, id));
    }
    sqlx::query("DELETE FROM sources WHERE invariant = $1")
        .bind(signed(id))
        .execute(&mut *db)
        .await?;
    put_source(db, id, draft).await?;
    links::replace(db, id, &[(Relation::InvariantAction, actions.to_vec())]).await
}

/// Takes the active invariant of this number out of force, and its links away. The caller makes the new version.
pub(super) async fn remove(db: &mut AnyConnection, id: u64) -> Result<(), CatalogError> {
    let removed = sqlx::query("UPDATE invariants SET removed_at_ms = $1 WHERE id = $2 AND removed_at_ms IS NULL")
        .bind(now_ms())
        .bind(signed(id))
        .execute(&mut *db)
        .await?;
    if removed.rows_affected() == 0 {
        return Err(CatalogError::Unknown(Kind::Invariant, id));
    }
    Ok(links::unlink(db, Kind::Invariant, id).await?)
}

/// Of an invariant that has no source yet.
async fn put_source(db: &mut AnyConnection, id: u64, draft: &Draft) -> Result<(), LogError> {
    if let Some(source) = &draft.source {
        sqlx::query("INSERT INTO sources (invariant, expression, severity, description) VALUES ($1, $2, $3, $4)")
            .bind(signed(id))
            .bind(&source.expression)
            .bind(&source.severity)
            .bind(&source.description)
            .execute(db)
            .await?;
    }
    Ok(())
}

async fn current_set(db: &mut AnyConnection) -> Result<InvariantSet, LogError> {
    let version: i64 = sqlx::query_scalar("SELECT version FROM registry")
        .fetch_one(&mut *db)
        .await?;
    let rows = sqlx::query(
        "SELECT * FROM invariants WHERE removed_at_ms IS NULL
           AND (service IS NULL OR service IN (SELECT id FROM services WHERE served = 1)) ORDER BY id",
    )
    .fetch_all(db)
    .await?;
    let invariants = rows.iter().map(|each| row(each).map(|row| row.invariant));
    let invariants = invariants.collect::<Result<_, _>>()?;
    Ok(InvariantSet {
        version: unsigned(version),
        invariants,
    })
}

async fn active(db: &mut AnyConnection) -> Result<Vec<Row>, LogError> {
    let rows = sqlx::query("SELECT * FROM invariants WHERE removed_at_ms IS NULL ORDER BY id")
        .fetch_all(db)
        .await?;
    rows.iter().map(row).collect()
}

pub(super) fn row(row: &sqlx::any::AnyRow) -> Result<Row, LogError> {
    let id = unsigned(row.try_get("id")?);
    let name: String = row.try_get("name")?;
    let program: Option<String> = row.try_get("program")?;
    let invariant = match program {
        None => Watched::Slot(slot(row, id, name)?),
        Some(text) => {
            let program = lang::parse(&text, &Names::default()).map_err(|error| malformed(id, &error.message))?;
            Watched::Program(ProgramInvariant { id, name, program })
        }
    };
    Ok(Row {
        invariant,
        network: row.try_get("network")?,
        variable: row.try_get("variable")?,
        created_at_ms: unsigned(row.try_get("created_at_ms")?),
    })
}

fn malformed(id: u64, error: &dyn std::fmt::Display) -> LogError {
    LogError::Malformed {
        what: format!("invariant {id}: {error}"),
    }
}

/// The columns of a slot.
fn slot(row: &sqlx::any::AnyRow, id: u64, name: String) -> Result<Invariant, LogError> {
    let word = |column: &'static str| -> Result<U256, LogError> {
        Ok(U256::from_be_bytes(fixed::<32>(
            column,
            &row.try_get::<Vec<u8>, _>(column)?,
        )?))
    };
    let value_type: String = row.try_get("value_type")?;
    let comparison: String = row.try_get("comparison")?;
    let offset: i64 = row.try_get("byte_offset")?;
    Invariant::new(
        id,
        name,
        fixed::<20>("contract", &row.try_get::<Vec<u8>, _>("contract")?)?.into(),
        word("slot")?,
        value_type.parse().map_err(|error| malformed(id, &error))?,
        u8::try_from(offset).map_err(|error| malformed(id, &error))?,
        comparison.parse().map_err(|error| malformed(id, &error))?,
        word("target")?,
    )
    .map_err(|error| malformed(id, &error))
}
