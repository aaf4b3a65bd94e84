//! A community's database: the book, what is written down of each ceremony, and who is at work.
//!
//! Several processes share it (bots from cron, the phase driver, the faucet). Who changes the book names the generation that they read;
//! where it is no longer the newest, they read again and do it again. A change is one transaction: after a crash it is there or it is
//! not.

use std::path::Path;

use node::database::DatabaseError;
use node::database::column::{fixed, is_damage, signed};
use node::exit::Code;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

use crate::account::Account;
use crate::book::{Book, Purse};
use crate::driver::Worker;
use crate::mix::Mix;
use crate::phase::Phase;
use crate::row::Row;
use crate::seed::Seed;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx_macros::migrate!("./migrations");

/// Changes that may come between before a change is given up.
const ATTEMPTS: u32 = 50;
/// Ceremonies that stay written down.
const KEPT: u64 = 10_000;

/// A database that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] DatabaseError),
    /// Reading or writing failed.
    #[error("community database: {0}")]
    Sql(#[from] sqlx::Error),
    /// It holds something impossible.
    #[error("community database is damaged: {0}")]
    Damaged(String),
    /// Others change it faster than it can be read.
    #[error(
        "the community was changed by others {ATTEMPTS} times while one change was made; run fewer bots on one state"
    )]
    Contended,
}

impl StoreError {
    /// The exit code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Open(_) | Self::Damaged(_) => Code::Configuration,
            Self::Sql(error) if is_damage(error) => Code::Configuration,
            Self::Sql(_) | Self::Contended => Code::Restart,
        }
    }
}

/// A community as it was read.
#[derive(Debug, Clone)]
pub struct Held {
    /// The network on which it lives.
    pub network: String,
    /// What is drawn from.
    pub seed: Seed,
    /// Who it is made of.
    pub mix: Mix,
    /// The book.
    pub book: Book,
    /// Which change it is as of.
    pub generation: u64,
}

/// The database.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
}

impl Store {
    /// Opens the database at `path`, or makes an empty one.
    ///
    /// # Errors
    /// It is no database of ours, or not writable.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let pool = node::database::open(path, &MIGRATIONS).await?;
        Ok(Self { pool })
    }

    /// Writes a new community; false when there is one already, and then nothing is changed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn create(&self, held: &Held) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let Held {
            network,
            seed,
            mix,
            book,
            ..
        } = held;
        let inserted = sqlx::query(
            "INSERT INTO community (id, network, seed, spec, mix, phase, faucet, now, past, generation)
             VALUES (1, ?, ?, ?, ?, '', 0, '', NULL, 0) ON CONFLICT DO NOTHING",
        )
        .bind(network)
        .bind(seed.bytes().as_slice())
        .bind(json(&book.spec)?)
        .bind(json(mix)?)
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(false);
        }
        write(&mut transaction, None, book).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The community; none where none was founded.
    ///
    /// # Errors
    /// The database fails, or holds something impossible.
    pub async fn load(&self) -> Result<Option<Held>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let Some(row) = sqlx::query("SELECT * FROM community")
            .fetch_optional(&mut *transaction)
            .await?
        else {
            return Ok(None);
        };
        let accounts = sqlx::query("SELECT id, body FROM account ORDER BY id")
            .fetch_all(&mut *transaction)
            .await?;
        let purses = sqlx::query("SELECT * FROM purse").fetch_all(&mut *transaction).await?;
        let past: Option<String> = row.try_get("past")?;
        let accounts = accounts
            .iter()
            .enumerate()
            .map(|(place, row)| {
                let account: Account = parsed(&row.try_get::<String, _>("body")?)?;
                match account.id as usize == place {
                    true => Ok(account),
                    false => Err(StoreError::Damaged(format!("account {place} is missing"))),
                }
            })
            .collect::<Result<_, StoreError>>()?;
        let purse = |row: &SqliteRow| {
            let address = row.try_get::<String, _>("address")?.parse();
            let purse = Purse {
                balance: row.try_get("balance")?,
                drawn: row.try_get("drawn")?,
            };
            Ok((
                address.map_err(|error: chain::account::Ss58Error| StoreError::Damaged(error.to_string()))?,
                purse,
            ))
        };
        let book = Book {
            spec: field(&row, "spec")?,
            phase: field(&row, "phase")?,
            accounts,
            purses: purses.iter().map(purse).collect::<Result<_, StoreError>>()?,
            faucet: row.try_get("faucet")?,
            now: field(&row, "now")?,
            past: past.map(|text| parsed(&text)).transpose()?,
        };
        Ok(Some(Held {
            network: row.try_get("network")?,
            seed: Seed::from_bytes(fixed(&row, "seed")?),
            mix: field(&row, "mix")?,
            book,
            generation: row.try_get("generation")?,
        }))
    }

    /// Changes the book: `change` works on a copy, which is stored and taken over; where somebody else was faster it works on theirs.
    ///
    /// # Errors
    /// The database fails, or others are faster every time.
    pub async fn update<T>(&self, held: &mut Held, mut change: impl FnMut(&mut Book) -> T) -> Result<T, StoreError> {
        for _attempt in 0..ATTEMPTS {
            let mut book = held.book.clone();
            let result = change(&mut book);
            if book == held.book {
                return Ok(result);
            }
            if self.save(held, &book).await? {
                held.book = book;
                held.generation += 1;
                return Ok(result);
            }
            self.refresh(held).await?;
        }
        Err(StoreError::Contended)
    }

    /// Reads the community again if somebody has changed it.
    ///
    /// # Errors
    /// The database fails, or the community is gone.
    pub async fn refresh(&self, held: &mut Held) -> Result<(), StoreError> {
        if self.generation().await? != held.generation {
            let gone = || StoreError::Damaged("the community is gone".to_owned());
            *held = self.load().await?.ok_or_else(gone)?;
        }
        Ok(())
    }

    /// How often the community was changed; 0 where there is none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn generation(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT generation FROM community")
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("generation")).transpose()?.unwrap_or(0))
    }

    /// Stores `book` over `held`, unless somebody else was faster.
    async fn save(&self, held: &Held, book: &Book) -> Result<bool, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let taken = sqlx::query("UPDATE community SET generation = generation + 1 WHERE id = 1 AND generation = ?")
            .bind(signed(held.generation)?)
            .execute(&mut *transaction)
            .await?;
        if taken.rows_affected() == 0 {
            return Ok(false);
        }
        write(&mut transaction, Some(&held.book), book).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// What is written down of the newest `limit` ceremonies, oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn rows(&self, limit: u64) -> Result<Vec<Row>, StoreError> {
        let rows = sqlx::query("SELECT body FROM ceremony ORDER BY number DESC LIMIT ?")
            .bind(signed(limit)?)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().rev().map(|row| field(row, "body")).collect()
    }

    /// A worker's sign of life in a phase; with `done` its last one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn beat(&self, worker: &str, ceremony: u64, phase: Phase, done: bool) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO worker (name, ceremony, phase, beats, done) VALUES (?, ?, ?, 1, ?) ON CONFLICT (name) DO UPDATE
             SET ceremony = excluded.ceremony, phase = excluded.phase, beats = beats + 1, done = excluded.done",
        )
        .bind(worker)
        .bind(signed(ceremony)?)
        .bind(json(&phase)?)
        .bind(done)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Who is or was at work on this phase of this ceremony.
    ///
    /// # Errors
    /// The database fails.
    pub async fn workers(&self, ceremony: u64, phase: Phase) -> Result<Vec<Worker>, StoreError> {
        let rows = sqlx::query("SELECT * FROM worker WHERE ceremony = ? AND phase = ? ORDER BY name")
            .bind(signed(ceremony)?)
            .bind(json(&phase)?)
            .fetch_all(&self.pool)
            .await?;
        let worker = |row: &SqliteRow| {
            Ok(Worker {
                name: row.try_get("name")?,
                beats: row.try_get("beats")?,
                done: row.try_get("done")?,
            })
        };
        rows.iter().map(worker).collect()
    }

    /// Ends the use of the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Writes what differs.
async fn write(
    transaction: &mut Transaction<'_, Sqlite>,
    before: Option<&Book>,
    book: &Book,
) -> Result<(), StoreError> {
    let past = book.past.as_ref().map(json).transpose()?;
    sqlx::query("UPDATE community SET phase = ?, faucet = ?, now = ?, past = ? WHERE id = 1")
        .bind(json(&book.phase)?)
        .bind(signed(book.faucet)?)
        .bind(json(&book.now)?)
        .bind(past)
        .execute(&mut **transaction)
        .await?;
    for account in &book.accounts {
        if before.and_then(|before| before.account(account.id)) == Some(account) {
            continue;
        }
        sqlx::query("INSERT INTO account (id, address, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body")
            .bind(i64::from(account.id))
            .bind(account.address.to_string())
            .bind(json(account)?)
            .execute(&mut **transaction)
            .await?;
    }
    for (address, purse) in &book.purses {
        if before.and_then(|before| before.purses.get(address)) == Some(purse) {
            continue;
        }
        sqlx::query(
            "INSERT INTO purse (address, balance, drawn) VALUES (?, ?, ?)
             ON CONFLICT (address) DO UPDATE SET balance = excluded.balance, drawn = excluded.drawn",
        )
        .bind(address.to_string())
        .bind(signed(purse.balance)?)
        .bind(signed(purse.drawn)?)
        .execute(&mut **transaction)
        .await?;
    }
    for ceremony in book.past.iter().chain([&book.now]) {
        sqlx::query(
            "INSERT INTO ceremony (number, body) VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET body = excluded.body",
        )
        .bind(signed(ceremony.number)?)
        .bind(json(&ceremony.row)?)
        .execute(&mut **transaction)
        .await?;
    }
    sqlx::query("DELETE FROM ceremony WHERE number <= ?")
        .bind(signed(book.now.number.saturating_sub(KEPT))?)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn field<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    parsed(&row.try_get::<String, _>(column)?)
}
