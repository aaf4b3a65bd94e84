//! What was promised and what was signed, on disk before anybody hears of it.
//!
//! One SQLite file with one connection that waits for the disk (`synchronous = FULL`): after a power failure a
//! transaction that may be in somebody's mempool is known here. A lock file keeps a second sender away, since two would
//! each think the nonces theirs. A pause's request alone does not wait for the disk: its signed bytes, which follow in the same
//! file, take it along before anything is sent. What always holds: a change of several rows is one database transaction.

mod rows;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256};
use node::database::column::{fixed, signed};
use node::database::lock::{self, Lock};
use sqlx::types::Json;
use sqlx::{Connection as _, Row as _, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

pub(crate) use self::rows::{StoredAttempt, StoredJob};
use self::rows::{attempt, job};
use crate::machine::{Failure, State};
use crate::plan::JobId;
use crate::request::{IdempotencyKey, Request};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx_macros::migrate!("./migrations");

/// A journal that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be opened or migrated.
    #[error(transparent)]
    Open(#[from] node::database::DatabaseError),
    /// Its lock file cannot be made.
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    /// Another sender has it.
    #[error("journal {0} is in use by another sender; stop that one, or give another path (and another private key)")]
    InUse(PathBuf),
    /// It was written for another chain.
    #[error(
        "journal {path} belongs to chain {expected} (genesis {genesis}); the node serves chain {found} (genesis \
         {found_genesis}): give the right node, or another path"
    )]
    OtherChain {
        /// The journal.
        path: PathBuf,
        /// Its chain.
        expected: u64,
        /// Its genesis block.
        genesis: B256,
        /// The node's chain.
        found: u64,
        /// The node's genesis block.
        found_genesis: B256,
    },
    /// Reading or writing failed.
    #[error("sender's journal: {0}")]
    Sql(#[from] sqlx::Error),
    /// It holds something impossible.
    #[error("sender's journal is damaged: {0}")]
    Damaged(String),
}

/// A change to write.
#[derive(Debug)]
pub(crate) enum Change {
    /// What is known of a request.
    Job {
        id: JobId,
        state: State,
        withdrawn: Option<Failure>,
        gas: Option<u64>,
        bumps: u32,
    },
    /// A transaction that is about to be broadcast.
    Attempt(StoredAttempt),
    /// A nonce is final: its transactions are forgotten.
    Settled { account: Address, nonce: u64 },
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    connection: Mutex<SqliteConnection>,
    /// Holds the file open under SQLite's own rules until it is closed.
    pool: SqlitePool,
    path: PathBuf,
    _lock: Lock,
}

impl Journal {
    /// Opens the journal at `path`, which no other sender may have open, and forgets what ended longer than `keep` ago.
    pub(crate) async fn open(path: &Path, keep: Duration) -> Result<Self, JournalError> {
        let lock = lock::alone(path)?.ok_or_else(|| JournalError::InUse(path.to_owned()))?;
        let pool = node::database::open(path, &MIGRATIONS).await?;
        let mut connection = pool.acquire().await?.detach();
        sqlx::query("PRAGMA synchronous = FULL")
            .execute(&mut connection)
            .await?;
        let oldest = now().saturating_sub(keep.as_secs());
        sqlx::query(
            "DELETE FROM jobs WHERE ended_at < ? AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.job = jobs.id)",
        )
        .bind(signed(oldest)?)
        .execute(&mut connection)
        .await?;
        Ok(Self {
            connection: Mutex::new(connection),
            pool,
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Binds a new journal to its chain; refuses one of another chain.
    pub(crate) async fn bind(&self, chain_id: u64, genesis: B256) -> Result<(), JournalError> {
        let mut connection = self.connection.lock().await;
        let row = sqlx::query("SELECT chain_id, genesis FROM origin")
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else {
            sqlx::query("INSERT INTO origin (id, chain_id, genesis) VALUES (1, ?, ?)")
                .bind(signed(chain_id)?)
                .bind(genesis.as_slice())
                .execute(&mut *connection)
                .await?;
            return Ok(());
        };
        let expected: u64 = row.try_get("chain_id")?;
        let stored = B256::from(fixed::<32, _>(&row, "genesis")?);
        if (expected, stored) == (chain_id, genesis) {
            return Ok(());
        }
        Err(JournalError::OtherChain {
            path: self.path.clone(),
            expected,
            genesis: stored,
            found: chain_id,
            found_genesis: genesis,
        })
    }

    /// Stores a request; when its key is there already, what is stored under it.
    pub(crate) async fn insert(&self, account: Address, request: &Request) -> Result<(StoredJob, bool), JournalError> {
        let mut connection = self.connection.lock().await;
        let state = State::Queued;
        wait_for_disk(&mut connection, !request.lane.hurries()).await?;
        let inserted = sqlx::query(
            "INSERT INTO jobs (key, account, digest, request, state, gas) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        )
        .bind(request.key.as_str())
        .bind(account.as_slice())
        .bind(request.digest().as_slice().to_vec())
        .bind(Json(request))
        .bind(Json(&state))
        .bind(request.gas.map(signed).transpose()?)
        .execute(&mut *connection)
        .await?;
        if inserted.rows_affected() == 1 {
            let job = StoredJob {
                id: inserted.last_insert_rowid(),
                account,
                digest: request.digest(),
                request: request.clone(),
                state,
                withdrawn: None,
                gas: request.gas,
                bumps: 0,
            };
            return Ok((job, true));
        }
        let row = sqlx::query("SELECT * FROM jobs WHERE key = ?")
            .bind(request.key.as_str())
            .fetch_one(&mut *connection)
            .await?;
        Ok((job(&row)?, false))
    }

    /// What is stored under a key.
    pub(crate) async fn find(&self, key: &IdempotencyKey) -> Result<Option<StoredJob>, JournalError> {
        let mut connection = self.connection.lock().await;
        let row = sqlx::query("SELECT * FROM jobs WHERE key = ?")
            .bind(key.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        row.as_ref().map(job).transpose()
    }

    /// What is unfinished.
    pub(crate) async fn unfinished(&self) -> Result<(Vec<StoredJob>, Vec<StoredAttempt>), JournalError> {
        let mut connection = self.connection.lock().await;
        // A request that failed may have left signed bytes at a nonce that is still open: it comes along, to be recognised.
        let jobs =
            sqlx::query("SELECT * FROM jobs WHERE ended_at IS NULL OR id IN (SELECT job FROM attempts) ORDER BY id")
                .fetch_all(&mut *connection)
                .await?;
        let attempts = sqlx::query("SELECT * FROM attempts ORDER BY id")
            .fetch_all(&mut *connection)
            .await?;
        Ok((
            jobs.iter().map(job).collect::<Result<_, _>>()?,
            attempts.iter().map(attempt).collect::<Result<_, _>>()?,
        ))
    }

    /// One above the highest final nonce of `account`.
    pub(crate) async fn settled(&self, account: Address) -> Result<u64, JournalError> {
        let mut connection = self.connection.lock().await;
        let row = sqlx::query("SELECT settled FROM accounts WHERE address = ?")
            .bind(account.as_slice())
            .fetch_optional(&mut *connection)
            .await?;
        let settled = row.map(|row| row.try_get("settled")).transpose()?;
        Ok(settled.unwrap_or(0))
    }

    /// Writes the changes, all or none.
    pub(crate) async fn write(&self, changes: &[Change]) -> Result<(), JournalError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut connection = self.connection.lock().await;
        wait_for_disk(&mut connection, true).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for change in changes {
            apply(&mut transaction, change).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Closes the file; it can be opened again afterwards.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Whether the next transaction is over only when the disk has it. Said before each, so that nothing depends on the one before.
async fn wait_for_disk(connection: &mut SqliteConnection, wait: bool) -> Result<(), JournalError> {
    let pragma = if wait {
        "PRAGMA synchronous = FULL"
    } else {
        "PRAGMA synchronous = NORMAL"
    };
    sqlx::query(pragma).execute(connection).await?;
    Ok(())
}

async fn apply(connection: &mut SqliteConnection, change: &Change) -> Result<(), JournalError> {
    match change {
        Change::Job {
            id,
            state,
            withdrawn,
            gas,
            bumps,
        } => {
            let ended = if state.is_end() { Some(signed(now())?) } else { None };
            sqlx::query("UPDATE jobs SET state = ?, withdrawn = ?, gas = ?, bumps = ?, ended_at = ? WHERE id = ?")
                .bind(Json(state))
                .bind(withdrawn.as_ref().map(Json))
                .bind(gas.map(signed).transpose()?)
                .bind(*bumps)
                .bind(ended)
                .bind(*id)
                .execute(connection)
                .await?;
        }
        Change::Attempt(attempt) => {
            sqlx::query(
                "INSERT INTO attempts (account, nonce, job, hash, raw, max_fee, priority_fee, block) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(attempt.account.as_slice())
            .bind(signed(attempt.nonce)?)
            .bind(attempt.job)
            .bind(attempt.hash.as_slice())
            .bind(attempt.raw.as_ref())
            .bind(attempt.fees.max_fee.to_string())
            .bind(attempt.fees.priority_fee.to_string())
            .bind(signed(attempt.block)?)
            .execute(connection)
            .await?;
        }
        Change::Settled { account, nonce } => {
            sqlx::query(
                "INSERT INTO accounts (address, settled) VALUES (?, ?) \
                 ON CONFLICT (address) DO UPDATE SET settled = max(settled, excluded.settled)",
            )
            .bind(account.as_slice())
            .bind(signed(nonce.saturating_add(1))?)
            .execute(&mut *connection)
            .await?;
            sqlx::query("DELETE FROM attempts WHERE account = ? AND nonce = ?")
                .bind(account.as_slice())
                .bind(signed(*nonce)?)
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
