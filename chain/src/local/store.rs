//! The embedded ledger's database: what the rules decided, one transaction for each accepted operation.
//!
//! A lock file beside the database keeps a second ledger away: there is one writer, and it alone knows the state. A
//! transaction is either wholly there after a crash or not at all (SQLite in WAL mode).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use node::database::column::{fixed, signed};
use node::database::lock::{self, Lock};
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

use zeroize::Zeroizing;

use super::archive;
use super::state::{Clock, Delta, HashCommit, Purse, Record, Row, SealedCommit, State};
use crate::account::AccountId;
use crate::commit::timelock::LocalBeacon;
use crate::ledger::{Axon, Hyperparameters};
use crate::yuma::emission::BlockSplit;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx_macros::migrate!("./migrations");

/// A nonce is forgotten once its hotkey has used one this much newer; freshness ends long before.
const NONCE_RETENTION_NS: u64 = 300_000_000_000;

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened or migrated.
    #[error(transparent)]
    Open(#[from] node::database::DatabaseError),
    /// Its lock file cannot be made.
    #[error(transparent)]
    Lock(#[from] lock::LockError),
    /// Another ledger has it.
    #[error("database {0} is in use by another ledger; stop that one, or give another path")]
    InUse(PathBuf),
    /// Reading or writing failed.
    #[error("ledger database: {0}")]
    Sql(#[from] sqlx::Error),
    /// It holds something impossible.
    #[error("ledger database is damaged: {0}")]
    Damaged(String),
}

/// The open database, with its lock.
#[derive(Debug)]
pub(crate) struct Store {
    pool: SqlitePool,
    /// Held for as long as the store lives.
    _lock: Lock,
}

impl Store {
    /// Opens the database at `path`, which no other ledger may have open.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock::alone(path)?.ok_or_else(|| StoreError::InUse(path.to_owned()))?;
        let pool = node::database::open(path, &MIGRATIONS).await?;
        Ok(Self { pool, _lock: lock })
    }

    /// The stored state; none in a database that is new.
    pub(crate) async fn load(&self) -> Result<Option<State>, StoreError> {
        let Some(subnet) = sqlx::query("SELECT * FROM subnet").fetch_optional(&self.pool).await? else {
            return Ok(None);
        };
        let clock = Clock {
            block: subnet.try_get("block")?,
            last_epoch_block: subnet.try_get("last_epoch_block")?,
            epoch_index: subnet.try_get("epoch_index")?,
            pending: BlockSplit {
                owner: subnet.try_get("pending_owner")?,
                server: subnet.try_get("pending_server")?,
                validator: subnet.try_get("pending_emission")?,
            },
            issued: subnet.try_get("issued")?,
            recycled: subnet.try_get("recycled")?,
            burn: subnet.try_get("burn")?,
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
        let weights = self.rows("SELECT * FROM weights", neurons.len()).await?;
        let bonds = self.rows("SELECT * FROM bonds", neurons.len()).await?;
        let mut purses = BTreeMap::new();
        for row in sqlx::query("SELECT * FROM purses").fetch_all(&self.pool).await? {
            let purse = Purse {
                balance: row.try_get("balance")?,
                drawn: row.try_get("drawn")?,
            };
            purses.insert(key(&row, "account")?, purse);
        }
        Ok(Some(State {
            genesis_id: key(&subnet, "genesis_id")?,
            beacon_key: Arc::default(),
            params,
            clock,
            uids: neurons.iter().map(|neuron| (neuron.hotkey, neuron.uid)).collect(),
            neurons,
            weights,
            bonds,
            commits: self.commits().await?,
            sealed: self.sealed().await?,
            purses,
        }))
    }

    /// Rows of weights or bonds.
    async fn rows(&self, query: &'static str, neurons: usize) -> Result<BTreeMap<u16, Row>, StoreError> {
        let mut rows = BTreeMap::new();
        for row in sqlx::query(query).fetch_all(&self.pool).await? {
            let Json(entries) = row.try_get::<Json<Vec<(u16, u16)>>, _>("row")?;
            if let Some((target, _)) = entries.iter().find(|(target, _)| usize::from(*target) >= neurons) {
                return Err(StoreError::Damaged(format!(
                    "a weight or bond is on uid {target}, which nobody has"
                )));
            }
            rows.insert(row.try_get("uid")?, Arc::new(entries));
        }
        Ok(rows)
    }

    async fn commits(&self) -> Result<BTreeMap<AccountId, Vec<HashCommit>>, StoreError> {
        let mut commits = BTreeMap::<AccountId, Vec<HashCommit>>::new();
        let rows = sqlx::query("SELECT * FROM commits ORDER BY hotkey, place");
        for row in rows.fetch_all(&self.pool).await? {
            let commit = HashCommit {
                hash: fixed(&row, "hash")?,
                epoch: row.try_get("epoch")?,
                block: row.try_get("block")?,
            };
            commits.entry(key(&row, "hotkey")?).or_default().push(commit);
        }
        Ok(commits)
    }

    async fn sealed(&self) -> Result<BTreeMap<u64, Vec<SealedCommit>>, StoreError> {
        let mut sealed = BTreeMap::<u64, Vec<SealedCommit>>::new();
        let rows = sqlx::query("SELECT * FROM sealed ORDER BY epoch, place");
        for row in rows.fetch_all(&self.pool).await? {
            let commit = SealedCommit {
                hotkey: key(&row, "hotkey")?,
                block: row.try_get("block")?,
                reveal_round: row.try_get("reveal_round")?,
                ciphertext: Arc::new(row.try_get("ciphertext")?),
            };
            sealed.entry(row.try_get("epoch")?).or_default().push(commit);
        }
        Ok(sealed)
    }

    /// The ledger's own beacon, whose seed is drawn once and kept here.
    pub(crate) async fn beacon(&self) -> Result<LocalBeacon, StoreError> {
        let drawn = Zeroizing::new(rand::random::<[u8; 32]>());
        sqlx::query("UPDATE subnet SET beacon_seed = ? WHERE beacon_seed IS NULL")
            .bind(drawn.as_slice())
            .execute(&self.pool)
            .await?;
        let stored: Vec<u8> = sqlx::query_scalar("SELECT beacon_seed FROM subnet")
            .fetch_one(&self.pool)
            .await?;
        let stored = Zeroizing::new(stored);
        let seed = stored
            .first_chunk::<32>()
            .ok_or_else(|| StoreError::Damaged("`beacon_seed` is shorter than 32 bytes".to_owned()))?;
        Ok(LocalBeacon::from_seed(seed))
    }

    /// A handle for reading the history, which ends with the store.
    pub(crate) fn reader(&self) -> SqlitePool {
        self.pool.clone()
    }

    /// Nonces of accepted operations that may still be fresh, by hotkey.
    pub(crate) async fn nonces(&self) -> Result<Vec<(AccountId, u64)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM nonces").fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| Ok((key(row, "hotkey")?, row.try_get("nonce_ns")?)))
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
            purses: state.purses.iter().map(|(account, purse)| (*account, *purse)).collect(),
            ..Delta::default()
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

async fn write(tx: &mut Transaction<'_, Sqlite>, delta: &Delta) -> Result<(), StoreError> {
    if let Some(clock) = delta.clock {
        sqlx::query(
            "UPDATE subnet SET block = ?, last_epoch_block = ?, epoch_index = ?, pending_owner = ?, pending_server = ?, \
             pending_emission = ?, issued = ?, recycled = ?, burn = ?",
        )
        .bind(signed(clock.block)?)
        .bind(signed(clock.last_epoch_block)?)
        .bind(signed(clock.epoch_index)?)
        .bind(signed(clock.pending.owner)?)
        .bind(signed(clock.pending.server)?)
        .bind(signed(clock.pending.validator)?)
        .bind(signed(clock.issued)?)
        .bind(signed(clock.recycled)?)
        .bind(signed(clock.burn)?)
        .execute(&mut **tx)
        .await?;
    }
    for neuron in &delta.neurons {
        sqlx::query(
            "INSERT INTO neurons (uid, hotkey, stake, validator_permit, registered_at, last_update, incentive, \
             dividends, incentive_share, consensus, validator_trust, emission, earned, axon) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (uid) DO UPDATE SET hotkey = excluded.hotkey, stake = excluded.stake, \
             validator_permit = excluded.validator_permit, registered_at = excluded.registered_at, \
             last_update = excluded.last_update, incentive = excluded.incentive, dividends = excluded.dividends, \
             incentive_share = excluded.incentive_share, consensus = excluded.consensus, \
             validator_trust = excluded.validator_trust, emission = excluded.emission, earned = excluded.earned, \
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
        .bind(neuron.consensus)
        .bind(neuron.validator_trust)
        .bind(signed(neuron.emission)?)
        .bind(signed(neuron.earned)?)
        .bind(neuron.axon.map(Json))
        .execute(&mut **tx)
        .await?;
    }
    for (uid, row) in &delta.weights {
        let write = match row.is_empty() {
            true => sqlx::query("DELETE FROM weights WHERE uid = ?").bind(*uid),
            false => sqlx::query(
                "INSERT INTO weights (uid, row) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET row = excluded.row",
            )
            .bind(*uid)
            .bind(Json(row.as_slice())),
        };
        write.execute(&mut **tx).await?;
    }
    for (uid, row) in &delta.bonds {
        let write = match row.is_empty() {
            true => sqlx::query("DELETE FROM bonds WHERE uid = ?").bind(*uid),
            false => sqlx::query(
                "INSERT INTO bonds (uid, row) VALUES (?, ?) ON CONFLICT (uid) DO UPDATE SET row = excluded.row",
            )
            .bind(*uid)
            .bind(Json(row.as_slice())),
        };
        write.execute(&mut **tx).await?;
    }
    for (hotkey, commits) in &delta.commits {
        sqlx::query("DELETE FROM commits WHERE hotkey = ?")
            .bind(hotkey.as_bytes().as_slice())
            .execute(&mut **tx)
            .await?;
        for (place, commit) in (0i64..).zip(commits) {
            sqlx::query("INSERT INTO commits (hotkey, place, hash, epoch, block) VALUES (?, ?, ?, ?, ?)")
                .bind(hotkey.as_bytes().as_slice())
                .bind(place)
                .bind(commit.hash.as_slice())
                .bind(signed(commit.epoch)?)
                .bind(signed(commit.block)?)
                .execute(&mut **tx)
                .await?;
        }
    }
    for (epoch, commits) in &delta.sealed {
        sqlx::query("DELETE FROM sealed WHERE epoch = ?")
            .bind(signed(*epoch)?)
            .execute(&mut **tx)
            .await?;
        for (place, commit) in (0i64..).zip(commits) {
            sqlx::query(
                "INSERT INTO sealed (epoch, place, hotkey, block, reveal_round, ciphertext) VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(signed(*epoch)?)
            .bind(place)
            .bind(commit.hotkey.as_bytes().as_slice())
            .bind(signed(commit.block)?)
            .bind(signed(commit.reveal_round)?)
            .bind(commit.ciphertext.as_slice())
            .execute(&mut **tx)
            .await?;
        }
    }
    archive::write(tx, &delta.history).await?;
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
        uid: row.try_get("uid")?,
        hotkey: key(row, "hotkey")?,
        stake: row.try_get("stake")?,
        axon: row.try_get::<Option<Json<Axon>>, _>("axon")?.map(|Json(axon)| axon),
        validator_permit: row.try_get("validator_permit")?,
        registered_at: row.try_get("registered_at")?,
        last_update: row.try_get("last_update")?,
        incentive: row.try_get("incentive")?,
        dividends: row.try_get("dividends")?,
        incentive_share: row.try_get("incentive_share")?,
        consensus: row.try_get("consensus")?,
        validator_trust: row.try_get("validator_trust")?,
        emission: row.try_get("emission")?,
        earned: row.try_get("earned")?,
    })
}

pub(super) fn key(row: &SqliteRow, column: &'static str) -> Result<AccountId, StoreError> {
    Ok(AccountId::new(fixed(row, column)?))
}
