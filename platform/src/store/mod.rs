//! The platform's database: the log, the reports, the registry. A SQLite file, or a PostgreSQL server behind several platforms.
//!
//! Writers take turns inside the process (a fair queue instead of busy waiting) and exclude other processes ([`WRITING`]);
//! readers never wait for them. Cursors and versions are read inside the transaction that raises them, since
//! `platform invariants add` may run beside `platform run`.
//!
//! One text for each query (see [`node::database::shared`]): parameters are `$1`, `$2`; truth values are the integers 0 and 1;
//! in `ON CONFLICT DO UPDATE` a column that stands on the right names its table.

mod append;
mod catalog;
mod described;
mod incidents;
mod instances;
mod keys;
mod links;
mod log;
mod logged;
mod recent;
mod registry;
mod reports;
mod rows;
mod services;
mod status;
mod subnet;
mod timelines;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::B256;
use node::database::shared::Begin;
use node::database::{Database, DatabaseError, Place};
use sqlx::{Any, AnyConnection, AnyPool, Transaction};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::append::Appended;
pub use self::catalog::{Action, CatalogError, Contract, Kind};
pub use self::described::{DescribeError, Described, DescribedContract, Description};
pub use self::keys::{AuditRow, KeyRow};
pub use self::links::{Links, Members, Relation};
pub use self::logged::Logged;
pub use self::recent::Recent;
pub use self::registry::Row as RegisteredInvariant;
pub use self::reports::ReportError;
pub use self::services::{Service, ServiceError};
pub use self::subnet::{Epoch, NeuronRow, Told};
use crate::assignment::Hotkey;
use crate::log::LogError;
use crate::tail::Tail;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx_macros::migrate!();

/// A transaction that writes: other processes' wait for its end.
const WRITING: Begin = Begin {
    sqlite: "BEGIN IMMEDIATE",
    postgres: "BEGIN; LOCK TABLE registry IN EXCLUSIVE MODE",
};

/// How often the log is looked at for what another process appended.
const POLL: Duration = Duration::from_millis(250);

/// How many bytecodes are remembered as stored; when it is full it is emptied, and some are offered to the database again.
const KNOWN_CODES: usize = 1 << 16;

/// The database, opened.
#[derive(Debug)]
pub struct Store {
    database: Database,
    turn: tokio::sync::Mutex<()>,
    grown: watch::Sender<u64>,
    /// What this process appended last.
    tail: Mutex<Tail>,
    /// Row numbers of hotkeys. As many as there were ever validators.
    numbers: Mutex<HashMap<Hotkey, i64>>,
    stored_codes: Mutex<HashSet<B256>>,
}

/// A write transaction, and the turn that it has among this process's writers.
pub(crate) struct Writing<'a> {
    // Dropped first: the turn must not pass on before the rollback is under way.
    transaction: Transaction<'static, Any>,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Store {
    /// Opens the database at this path or address, creating a file that is not there, and bringing it up to date as needed.
    ///
    /// # Errors
    /// [`DatabaseError`] names the place and what is wrong with it.
    pub async fn open(place: impl Into<Place>) -> Result<Self, DatabaseError> {
        let database = Database::open(place.into(), &MIGRATIONS).await?;
        let store = Self {
            database,
            turn: tokio::sync::Mutex::default(),
            grown: watch::Sender::new(0),
            tail: Mutex::default(),
            numbers: Mutex::default(),
            stored_codes: Mutex::default(),
        };
        let last = store.last_cursor().await;
        let last = last.map_err(|error| DatabaseError::new(store.database.place(), error))?;
        store.announce_through(last);
        Ok(store)
    }

    /// The database itself.
    #[must_use]
    pub const fn database(&self) -> &Database {
        &self.database
    }

    const fn pool(&self) -> &AnyPool {
        self.database.pool()
    }

    /// Tells the log's readers, until `shutdown`, of what other processes append: a change of the registry is streamed within a
    /// second.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watch_growth(&self, shutdown: CancellationToken) -> Result<(), LogError> {
        let mut ticks = tokio::time::interval(POLL);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.announce_through(self.last_cursor().await?),
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    /// The hotkeys of every validator that the metagraph ever showed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn validators(&self) -> Result<Vec<Hotkey>, LogError> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT id, hotkey FROM validators ORDER BY id")
            .fetch_all(self.pool())
            .await?;
        let mut numbers = lock(&self.numbers);
        let mut hotkeys = Vec::with_capacity(rows.len());
        for (number, hotkey) in rows {
            let hotkey = fixed::<32>("validators.hotkey", &hotkey)?;
            numbers.insert(hotkey, number);
            hotkeys.push(hotkey);
        }
        Ok(hotkeys)
    }

    /// Writes down validators that the metagraph shows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remember(&self, hotkeys: &[Hotkey]) -> Result<(), LogError> {
        let new: Vec<Hotkey> = {
            let numbers = lock(&self.numbers);
            hotkeys
                .iter()
                .filter(|hotkey| !numbers.contains_key(*hotkey))
                .copied()
                .collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let mut writing = self.begin().await?;
        let mut numbered = Vec::with_capacity(new.len());
        for hotkey in new {
            // The update that changes nothing makes RETURNING answer for a row that is there already.
            let number: i64 = sqlx::query_scalar(
                "INSERT INTO validators (hotkey) VALUES ($1) ON CONFLICT (hotkey) DO UPDATE SET hotkey = excluded.hotkey RETURNING id",
            )
            .bind(hotkey.as_slice())
            .fetch_one(writing.connection())
            .await?;
            numbered.push((hotkey, number));
        }
        writing.commit().await?;
        lock(&self.numbers).extend(numbered);
        Ok(())
    }

    /// A hotkey's row number; `None` for one that never was a validator.
    async fn number(&self, hotkey: &Hotkey) -> Result<Option<i64>, LogError> {
        if let Some(number) = lock(&self.numbers).get(hotkey) {
            return Ok(Some(*number));
        }
        let number: Option<i64> = sqlx::query_scalar("SELECT id FROM validators WHERE hotkey = $1")
            .bind(hotkey.as_slice())
            .fetch_optional(self.pool())
            .await?;
        if let Some(number) = number {
            lock(&self.numbers).insert(*hotkey, number);
        }
        Ok(number)
    }

    async fn begin(&self) -> Result<Writing<'_>, LogError> {
        let turn = self.turn.lock().await;
        Ok(Writing {
            transaction: self.database.begin(WRITING).await?,
            _turn: turn,
        })
    }

    /// The greatest cursor; 0 when nothing is logged.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_cursor(&self) -> Result<u64, LogError> {
        Ok(unsigned(last_cursor(&mut *self.pool().acquire().await?).await?))
    }

    /// Gives the log's readers what was appended, once it is committed.
    fn announce(&self, appended: Appended) {
        let mut tail = lock(&self.tail);
        for item in appended.items {
            tail.push(item);
        }
        drop(tail);
        self.announce_through(appended.last);
    }

    fn announce_through(&self, last: u64) {
        self.grown.send_if_modified(|known| {
            let more = last > *known;
            *known = last.max(*known);
            more
        });
    }
}

impl Writing<'_> {
    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    async fn commit(self) -> Result<(), LogError> {
        Ok(self.transaction.commit().await?)
    }
}

/// The greatest cursor; 0 when nothing is logged.
async fn last_cursor(connection: &mut AnyConnection) -> Result<i64, LogError> {
    Ok(sqlx::query_scalar("SELECT coalesce(max(cursor), 0) FROM items")
        .fetch_one(connection)
        .await?)
}

/// Both databases' integers are signed; no counter here comes near the difference.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// A column of fixed length.
fn fixed<const N: usize>(column: &'static str, bytes: &[u8]) -> Result<[u8; N], LogError> {
    bytes.try_into().map_err(|_| LogError::Malformed {
        what: format!("{column} has {} bytes, expected {N}", bytes.len()),
    })
}

/// A column that holds an encoded message.
fn decode<M: prost::Message + Default>(column: &'static str, bytes: Vec<u8>) -> Result<M, LogError> {
    M::decode(prost::bytes::Bytes::from(bytes)).map_err(|error| LogError::Malformed {
        what: format!("{column} does not decode: {error}"),
    })
}

/// Unix milliseconds on the platform's clock.
fn now_ms() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
