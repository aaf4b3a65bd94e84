//! What was promised and what was signed, on disk before anybody hears of it.
//!
//! One SQLite file with one connection that waits for the disk (`synchronous = FULL`): after a power failure a
//! transaction that may be in somebody's mempool is known here. A lock file keeps a second sender away, since two would
//! each think the nonces theirs. A pause's request alone does not wait for the disk: its signed bytes, which follow in the same
//! file, take it along before anything is sent. What always holds: a change of several rows is one database transaction.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, B256, Bytes};
use node::database::lock::{self, Lock};
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Connection as _, Row as _, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use crate::fees::Fees;
use crate::machine::{Failure, State};
use crate::plan::JobId;
use crate::request::{IdempotencyKey, Request};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

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

/// A request as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredJob {
    pub(crate) id: JobId,
    pub(crate) account: Address,
    pub(crate) digest: B256,
    pub(crate) request: Request,
    pub(crate) state: State,
    pub(crate) withdrawn: Option<Failure>,
    pub(crate) gas: Option<u64>,
    pub(crate) bumps: u32,
}

/// A signed transaction as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredAttempt {
    pub(crate) account: Address,
    pub(crate) nonce: u64,
    pub(crate) job: Option<JobId>,
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    pub(crate) fees: Fees,
    pub(crate) block: u64,
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
        let expected = unsigned(&row, "chain_id")?;
        let stored = hash(&row, "genesis")?;
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
        row.map_or(Ok(0), |row| unsigned(&row, "settled"))
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

fn signed(value: u64) -> Result<i64, JournalError> {
    i64::try_from(value).map_err(|_| JournalError::Damaged(format!("{value} does not fit into 63 bits")))
}

fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, JournalError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| JournalError::Damaged(format!("{column} is negative")))
}

fn hash(row: &SqliteRow, column: &str) -> Result<B256, JournalError> {
    B256::try_from(row.try_get::<&[u8], _>(column)?)
        .map_err(|_| JournalError::Damaged(format!("{column} is not 32 bytes")))
}

fn address(row: &SqliteRow) -> Result<Address, JournalError> {
    Address::try_from(row.try_get::<&[u8], _>("account")?)
        .map_err(|_| JournalError::Damaged("an account is not 20 bytes".to_owned()))
}

fn job(row: &SqliteRow) -> Result<StoredJob, JournalError> {
    let Json(request) = row.try_get::<Json<Request>, _>("request")?;
    let Json(state) = row.try_get::<Json<State>, _>("state")?;
    let gas = row
        .try_get::<Option<i64>, _>("gas")?
        .map(u64::try_from)
        .transpose()
        .map_err(|_| JournalError::Damaged("gas is negative".to_owned()))?;
    Ok(StoredJob {
        id: row.try_get("id")?,
        account: address(row)?,
        digest: hash(row, "digest")?,
        request,
        state,
        withdrawn: row
            .try_get::<Option<Json<Failure>>, _>("withdrawn")?
            .map(|Json(reason)| reason),
        gas,
        bumps: row.try_get("bumps")?,
    })
}

fn attempt(row: &SqliteRow) -> Result<StoredAttempt, JournalError> {
    let fee = |column: &str| -> Result<u128, JournalError> {
        row.try_get::<&str, _>(column)?
            .parse()
            .map_err(|_| JournalError::Damaged(format!("{column} is not a number")))
    };
    Ok(StoredAttempt {
        account: address(row)?,
        nonce: unsigned(row, "nonce")?,
        job: row.try_get("job")?,
        hash: hash(row, "hash")?,
        raw: row.try_get::<Vec<u8>, _>("raw")?.into(),
        fees: Fees {
            max_fee: fee("max_fee")?,
            priority_fee: fee("priority_fee")?,
        },
        block: unsigned(row, "block")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Lane;

    fn request(key: &str) -> Request {
        Request::call(
            IdempotencyKey::new(key).unwrap(),
            Lane::Claim,
            Address::ZERO,
            Bytes::from_static(b"x"),
        )
    }

    fn bid(hash: u8, nonce: u64, job: Option<JobId>) -> StoredAttempt {
        StoredAttempt {
            account: Address::ZERO,
            nonce,
            job,
            hash: B256::repeat_byte(hash),
            raw: Bytes::from_static(b"raw"),
            fees: Fees {
                max_fee: u128::MAX,
                priority_fee: 3,
            },
            block: 9,
        }
    }

    #[tokio::test]
    async fn what_was_written_is_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sender.db");
        let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
        let (job, new) = journal.insert(Address::ZERO, &request("a")).await.unwrap();
        assert!(new);
        let state = State::Signed {
            nonce: 4,
            fees: Fees {
                max_fee: u128::MAX,
                priority_fee: 3,
            },
        };
        let change = Change::Job {
            id: job.id,
            state: state.clone(),
            withdrawn: Some(Failure::Cancelled),
            gas: Some(7),
            bumps: 2,
        };
        journal
            .write(&[
                change,
                Change::Attempt(bid(1, 4, Some(job.id))),
                Change::Attempt(bid(2, 5, None)),
            ])
            .await
            .unwrap();
        journal.close().await;
        drop(journal);

        let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
        let (again, new) = journal.insert(Address::ZERO, &request("a")).await.unwrap();
        assert!(!new);
        assert_eq!(
            (again.state, again.withdrawn, again.gas, again.bumps),
            (state, Some(Failure::Cancelled), Some(7), 2)
        );
        journal
            .write(&[Change::Settled {
                account: Address::ZERO,
                nonce: 4,
            }])
            .await
            .unwrap();
        let (_, attempts) = journal.unfinished().await.unwrap();
        assert_eq!(attempts.iter().map(|a| a.nonce).collect::<Vec<_>>(), [5]);
        assert_eq!(journal.settled(Address::ZERO).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn of_several_changes_all_are_written_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(&folder.path().join("sender.db"), Duration::from_secs(60))
            .await
            .unwrap();
        let twice = [Change::Attempt(bid(1, 4, None)), Change::Attempt(bid(1, 4, None))];
        assert!(journal.write(&twice).await.is_err());
        assert!(journal.unfinished().await.unwrap().1.is_empty());
    }

    #[tokio::test]
    async fn a_second_sender_is_kept_away_and_another_chain_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sender.db");
        let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
        assert!(matches!(
            Journal::open(&path, Duration::ZERO).await,
            Err(JournalError::InUse(_))
        ));
        journal.bind(1, B256::ZERO).await.unwrap();
        journal.bind(1, B256::ZERO).await.unwrap();
        assert!(matches!(
            journal.bind(1, B256::repeat_byte(1)).await,
            Err(JournalError::OtherChain { .. })
        ));
    }

    #[tokio::test]
    async fn the_finished_are_forgotten_after_a_while_the_unfinished_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sender.db");
        let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
        let (done, _) = journal.insert(Address::ZERO, &request("done")).await.unwrap();
        journal.insert(Address::ZERO, &request("open")).await.unwrap();
        let state = State::Failed {
            reason: Failure::Expired,
        };
        journal
            .write(&[Change::Job {
                id: done.id,
                state,
                withdrawn: None,
                gas: None,
                bumps: 0,
            }])
            .await
            .unwrap();
        sqlx::query("UPDATE jobs SET ended_at = ended_at - 100 WHERE ended_at IS NOT NULL")
            .execute(&mut *journal.connection.lock().await)
            .await
            .unwrap();
        journal.close().await;
        drop(journal);
        let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
        assert!(
            journal
                .find(&IdempotencyKey::new("done").unwrap())
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            journal
                .find(&IdempotencyKey::new("open").unwrap())
                .await
                .unwrap()
                .is_some()
        );
    }
}
