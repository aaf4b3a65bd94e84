//! The embedded ledger's database: what the rules decided, one transaction for each accepted operation.
//!
//! A lock file beside the database keeps a second ledger away: there is one writer, and it alone knows the state. A
//! transaction is either wholly there after a crash or not at all (SQLite in WAL mode).

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

use super::state::{Clock, Delta, Purse, Record, State};
use crate::account::AccountId;
use crate::ledger::{Axon, Hyperparameters};

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A nonce is forgotten once its hotkey has used one this much newer; freshness ends long before.
const NONCE_RETENTION_NS: u64 = 300_000_000_000;

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened or migrated.
    #[error(transparent)]
    Open(#[from] node::database::DatabaseError),
    /// Its lock file cannot be made.
    #[error("lock file {path}: {reason}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Another ledger has it.
    #[error("database {0} is in use by another ledger; stop that one, or give another path")]
    InUse(PathBuf),
    /// Reading or writing failed.
    #[error("ledger database: {0}")]
    Sql(#[from] sqlx::Error),
    /// It holds something impossible.
    #[error("ledger database is damaged: {0}")]
    Damaged(String),
    /// A number that the database cannot hold (63 bits).
    #[error("{0} is too large to be stored")]
    TooLarge(u64),
}

/// The open database, with its lock.
#[derive(Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
    /// Held for as long as the store lives.
    _lock: File,
}

impl Store {
    /// Opens the database at `path`, which no other ledger may have open.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let pool = node::database::open(path, &MIGRATIONS).await?;
        Ok(Self { pool, _lock: lock })
    }

    /// The stored state; none in a database that is new.
    pub(crate) async fn load(&self) -> Result<Option<State>, StoreError> {
        let Some(subnet) = sqlx::query("SELECT * FROM subnet").fetch_optional(&self.pool).await? else {
            return Ok(None);
        };
        let clock = Clock {
            block: unsigned(&subnet, "block")?,
            last_epoch_block: unsigned(&subnet, "last_epoch_block")?,
            epoch_index: unsigned(&subnet, "epoch_index")?,
            pending_emission: unsigned(&subnet, "pending_emission")?,
        };
        let Json(params) = subnet.try_get::<Json<Hyperparameters>, _>("hyperparameters")?;
        let rows = sqlx::query("SELECT * FROM neurons ORDER BY uid")
            .fetch_all(&self.pool)
            .await?;
        let neurons = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        if let Some((place, neuron)) = neurons
            .iter()
            .enumerate()
            .find(|(place, n)| usize::from(n.uid) != *place)
        {
            return Err(StoreError::Damaged(format!(
                "neuron {} stands at place {place}",
                neuron.uid
            )));
        }
        if neurons.is_empty() {
            return Err(StoreError::Damaged("the subnet's owner (uid 0) is missing".to_owned()));
        }
        let mut weights = BTreeMap::new();
        for row in sqlx::query("SELECT * FROM weights").fetch_all(&self.pool).await? {
            let Json(entries) = row.try_get::<Json<Vec<(u16, u16)>>, _>("row")?;
            if let Some((target, _)) = entries.iter().find(|(target, _)| usize::from(*target) >= neurons.len()) {
                return Err(StoreError::Damaged(format!(
                    "a weight is set on uid {target}, which nobody has"
                )));
            }
            weights.insert(small(&row, "uid")?, Arc::new(entries));
        }
        let mut purses = BTreeMap::new();
        for row in sqlx::query("SELECT * FROM purses").fetch_all(&self.pool).await? {
            let purse = Purse {
                balance: unsigned(&row, "balance")?,
                drawn: unsigned(&row, "drawn")?,
            };
            purses.insert(key(&row, "account")?, purse);
        }
        let genesis_id = key(&subnet, "genesis_id")?;
        Ok(Some(State::restore(
            genesis_id, params, clock, neurons, weights, purses,
        )))
    }

    /// Nonces of accepted operations that may still be fresh, by hotkey.
    pub(crate) async fn nonces(&self) -> Result<Vec<(AccountId, u64)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM nonces").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| Ok((key(row, "hotkey")?, unsigned(row, "nonce_ns")?)))
            .collect()
    }

    /// Writes a new ledger's first state.
    pub(crate) async fn create(&self, state: &State) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO subnet (id, genesis_id, hyperparameters, block, last_epoch_block, epoch_index, \
             pending_emission) VALUES (1, ?, ?, 0, 0, 0, 0)",
        )
        .bind(state.genesis_id.as_bytes().as_slice())
        .bind(Json(&state.params))
        .execute(&mut *tx)
        .await?;
        let everything = Delta {
            clock: Some(state.clock),
            neurons: state.neurons.clone(),
            weights: None,
            purses: state.purses.iter().map(|(account, purse)| (*account, *purse)).collect(),
        };
        write(&mut tx, &everything).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Replaces the parameters.
    pub(crate) async fn set_params(&self, params: &Hyperparameters) -> Result<(), StoreError> {
        sqlx::query("UPDATE subnet SET hyperparameters = ?")
            .bind(Json(params))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Writes what one operation changed, and the nonce that it came with, in one transaction.
    pub(crate) async fn commit(&self, delta: &Delta, nonce: Option<(AccountId, u64)>) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        write(&mut tx, delta).await?;
        if let Some((hotkey, nonce_ns)) = nonce {
            sqlx::query("INSERT INTO nonces (hotkey, nonce_ns) VALUES (?, ?)")
                .bind(hotkey.as_bytes().as_slice())
                .bind(signed(nonce_ns)?)
                .execute(&mut *tx)
                .await?;
            sqlx::query("DELETE FROM nonces WHERE hotkey = ? AND nonce_ns < ?")
                .bind(hotkey.as_bytes().as_slice())
                .bind(signed(nonce_ns.saturating_sub(NONCE_RETENTION_NS))?)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Closes the connections; the lock goes with the store.
    pub(crate) async fn close(self) {
        self.pool.close().await;
    }
}

fn lock(database: &Path) -> Result<File, StoreError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let fail = |reason| StoreError::Lock {
        path: path.clone(),
        reason,
    };
    if let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(database.to_owned())),
        Err(TryLockError::Error(reason)) => Err(fail(reason)),
    }
}

async fn write(tx: &mut Transaction<'_, Sqlite>, delta: &Delta) -> Result<(), StoreError> {
    if let Some(clock) = delta.clock {
        sqlx::query("UPDATE subnet SET block = ?, last_epoch_block = ?, epoch_index = ?, pending_emission = ?")
            .bind(signed(clock.block)?)
            .bind(signed(clock.last_epoch_block)?)
            .bind(signed(clock.epoch_index)?)
            .bind(signed(clock.pending_emission)?)
            .execute(&mut **tx)
            .await?;
    }
    for neuron in &delta.neurons {
        sqlx::query(
            "INSERT INTO neurons (uid, hotkey, stake, validator_permit, registered_at, last_update, incentive, \
             dividends, incentive_share, emission, earned, axon) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (uid) DO UPDATE SET hotkey = excluded.hotkey, stake = excluded.stake, \
             validator_permit = excluded.validator_permit, registered_at = excluded.registered_at, \
             last_update = excluded.last_update, incentive = excluded.incentive, dividends = excluded.dividends, \
             incentive_share = excluded.incentive_share, emission = excluded.emission, earned = excluded.earned, \
             axon = excluded.axon",
        )
        .bind(neuron.uid)
        .bind(neuron.hotkey.as_bytes().as_slice())
        .bind(signed(neuron.stake)?)
        .bind(neuron.validator_permit)
        .bind(signed(neuron.registered_at)?)
        .bind(signed(neuron.last_update)?)
        .bind(neuron.incentive)
        .bind(neuron.dividends)
        .bind(neuron.incentive_share)
        .bind(signed(neuron.emission)?)
        .bind(signed(neuron.earned)?)
        .bind(neuron.axon.map(Json))
        .execute(&mut **tx)
        .await?;
    }
    if let Some((uid, row)) = &delta.weights {
        sqlx::query("INSERT INTO weights (uid, row) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET row = excluded.row")
            .bind(*uid)
            .bind(Json(row.as_slice()))
            .execute(&mut **tx)
            .await?;
    }
    for (account, purse) in &delta.purses {
        sqlx::query(
            "INSERT INTO purses (account, balance, drawn) VALUES (?, ?, ?) \
             ON CONFLICT (account) DO UPDATE SET balance = excluded.balance, drawn = excluded.drawn",
        )
        .bind(account.as_bytes().as_slice())
        .bind(signed(purse.balance)?)
        .bind(signed(purse.drawn)?)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

fn record(row: &SqliteRow) -> Result<Record, StoreError> {
    Ok(Record {
        uid: small(row, "uid")?,
        hotkey: key(row, "hotkey")?,
        stake: unsigned(row, "stake")?,
        axon: row.try_get::<Option<Json<Axon>>, _>("axon")?.map(|Json(axon)| axon),
        validator_permit: row.try_get("validator_permit")?,
        registered_at: unsigned(row, "registered_at")?,
        last_update: unsigned(row, "last_update")?,
        incentive: small(row, "incentive")?,
        dividends: small(row, "dividends")?,
        incentive_share: row.try_get("incentive_share")?,
        emission: unsigned(row, "emission")?,
        earned: unsigned(row, "earned")?,
    })
}

fn signed(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::TooLarge(value))
}

fn unsigned(row: &SqliteRow, column: &'static str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value).map_err(|_| StoreError::Damaged(format!("`{column}` is {value}")))
}

fn small(row: &SqliteRow, column: &'static str) -> Result<u16, StoreError> {
    let value: i64 = row.try_get(column)?;
    u16::try_from(value).map_err(|_| StoreError::Damaged(format!("`{column}` is {value}")))
}

fn key(row: &SqliteRow, column: &'static str) -> Result<AccountId, StoreError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    let length = bytes.len();
    let key: [u8; 32] = bytes
        .try_into()
        .map_err(|_| StoreError::Damaged(format!("`{column}` has {length} bytes, expected 32")))?;
    Ok(AccountId::new(key))
}
