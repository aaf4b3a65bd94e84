//! A SQLite database: one file, write-ahead log, one writer at a time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("database {path}: {reason}")]
pub struct DatabaseError {
    path: PathBuf,
    reason: String,
}

/// Opens (creating it when it is not there) the database at `path` and brings its tables up to date.
///
/// What a committed transaction wrote survives a crash of the process; with `synchronous = NORMAL` in WAL mode a crash of the
/// whole machine may lose the newest transactions, but never corrupts the file.
///
/// # Errors
/// [`DatabaseError`] names the file: not a database, of a newer version than this program, not writable.
pub async fn open(path: &Path, migrations: &Migrator) -> Result<SqlitePool, DatabaseError> {
    let fail = |reason: String| DatabaseError {
        path: path.to_owned(),
        reason,
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| fail(error.to_string()))?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10));
    let pool = SqlitePoolOptions::new()
        .max_connections(4)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
        .map_err(|error| fail(error.to_string()))?;
    migrations.run(&pool).await.map_err(|error| fail(error.to_string()))?;
    Ok(pool)
}
