//! A database that is chosen by its address: a SQLite file for one machine, PostgreSQL where several processes stand behind one.
//!
//! One set of queries serves both, by sqlx's `Any` driver: numbered parameters (`$1`), integers for truth values, and no
//! function that only one of them has. What differs is here: how it is opened, and how a transaction begins.

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyPool, ConnectOptions as _, Connection as _, Executor as _, Transaction};

use super::place::Place;
use super::{DatabaseError, PATIENCE, dialect, make_folder};

/// What every connection of SQLite's is told: as [`super::open`].
const SQLITE: &str =
    "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON";
/// What every connection of PostgreSQL's is told.
const POSTGRES: &str = "SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'";

/// How many connections are open at most. SQLite has one writer and few readers on one machine; a server has readers elsewhere.
const SQLITE_CONNECTIONS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 12;

/// A database, opened.
#[derive(Debug, Clone)]
pub struct Database {
    pool: AnyPool,
    place: Place,
}

/// How a transaction begins, in the words of either database.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    /// SQLite's.
    pub sqlite: &'static str,
    /// PostgreSQL's.
    pub postgres: &'static str,
}

/// Reads, all of them of one moment.
pub const READING: Begin = Begin {
    sqlite: "BEGIN",
    postgres: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
};

impl Database {
    /// Opens the database (creating a SQLite file that is not there) and brings its tables up to date.
    ///
    /// `migrations` are written for SQLite and translated for PostgreSQL: `INTEGER`, `BLOB`, `TEXT`, primary keys, `STRICT` and
    /// `WITHOUT ROWID`.
    ///
    /// # Errors
    /// [`DatabaseError`] names the place without its password: not reachable, not a database, of a newer version than this program.
    pub async fn open(place: Place, migrations: &Migrator) -> Result<Self, DatabaseError> {
        let fail = |error: &dyn std::fmt::Display| DatabaseError::new(&place, error);
        sqlx::any::install_default_drivers();
        if let Some(file) = place.file() {
            make_folder(file).map_err(|error| fail(&error))?;
        }
        let url = place.url().map_err(|error| fail(&error))?;
        let options = AnyConnectOptions::from_url(&url).map_err(|error| fail(&error))?;
        let (setting, connections) = match &place {
            Place::File(_) => (SQLITE, SQLITE_CONNECTIONS),
            Place::Server(_) => (POSTGRES, POSTGRES_CONNECTIONS),
        };
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(sqlx::raw_sql(setting)).await.map(drop) })
            })
            // On a full disk SQLite rolls back by itself; the driver's own rollback then fails, and it takes the connection for one in a
            // transaction for ever. Such a one is closed.
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
            .connect_with(options)
            .await
            .map_err(|error| fail(&error))?;
        let migrated = match &place {
            Place::File(_) => migrations.run(&pool).await,
            Place::Server(_) => dialect::for_postgres(migrations).run(&pool).await,
        };
        migrated.map_err(|error| fail(&error))?;
        Ok(Self { pool, place })
    }

    /// The connections.
    #[must_use]
    pub const fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Where it is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether processes on other machines may use it too.
    #[must_use]
    pub const fn is_server(&self) -> bool {
        matches!(self.place, Place::Server(_))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When the database fails, or another process held what `begin` locks for ten seconds.
    pub async fn begin(&self, begin: Begin) -> Result<Transaction<'static, Any>, sqlx::Error> {
        let statement = if self.is_server() { begin.postgres } else { begin.sqlite };
        self.pool.begin_with(statement).await
    }
}
