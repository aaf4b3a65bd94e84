//! Databases: one SQLite file of a process's own, or one that is chosen by its address, SQLite or PostgreSQL ([`shared`]).

pub mod backup;
pub mod column;
mod dialect;
pub mod lock;
pub mod place;
pub mod shared;

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlitePool};

pub use self::place::{Place, PlaceError};
pub use self::shared::Database;

/// How long a writer waits for another process's, and a task for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("database {place}: {reason}")]
pub struct DatabaseError {
    place: String,
    reason: String,
}

impl DatabaseError {
    /// Of the database at `place`.
    pub fn new(place: impl std::fmt::Display, reason: impl std::fmt::Display) -> Self {
        Self {
            place: place.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// Opens (creating it when it is not there) the database at `path` and brings its tables up to date.
///
/// What a committed transaction wrote survives a crash of the process; with `synchronous = NORMAL` in WAL mode a crash of the
/// whole machine may lose the newest transactions, but never corrupts the file.
///
/// # Errors
/// [`DatabaseError`] names the file: not a database, of a newer version than this program, not writable.
pub async fn open(path: &Path, migrations: &Migrator) -> Result<SqlitePool, DatabaseError> {
    let fail = |reason: String| DatabaseError::new(path.display(), reason);
    make_folder(path).map_err(|error| fail(error.to_string()))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(PATIENCE);
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(PATIENCE)
        // See [`shared`]: after a full disk the driver takes a connection for one in a transaction for ever.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_with(options)
        .await
        .map_err(|error| fail(error.to_string()))?;
    migrations.run(&pool).await.map_err(|error| fail(error.to_string()))?;
    Ok(pool)
}

/// The folder that a database file lies in.
fn make_folder(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::create_dir_all(folder),
        None => Ok(()),
    }
}
