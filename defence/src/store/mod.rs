//! The memory of the defence: one SQLite file, in which an incident and what is to be done about it are one transaction.
//!
//! One writer at a time within the process, so that nobody meets a locked database. Of those that serve alerts only one at a time
//! stands in the queue: however many channels there are, an incident and a pause wait for at most two transactions.

mod incidents;
mod outbox;

use std::path::Path;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex, MutexGuard, watch};

pub use incidents::{Incident, TimelineEntry};
pub(crate) use outbox::Due;
pub use outbox::{Delivery, DeliveryState};

use crate::incident::{Change, Moment, State};

/// The database failed: nothing of what was to be written is written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] node::database::DatabaseError),
    /// A statement failed.
    #[error("defence database: {0}")]
    Statement(#[from] sqlx::Error),
    /// What was to be written is no JSON.
    #[error("defence database: cannot encode {what}: {reason}")]
    Encode {
        /// Which value.
        what: &'static str,
        /// What the encoder said.
        reason: serde_json::Error,
    },
    /// A row does not hold what this program writes.
    #[error("defence database: table {table} holds a malformed row; was the file changed by hand?")]
    Malformed {
        /// Which table.
        table: &'static str,
    },
    /// There is no such incident.
    #[error("there is no incident {0}")]
    NoIncident(u64),
}

/// The database.
#[derive(Debug)]
pub(crate) struct Store {
    /// For the one writer.
    pool: SqlitePool,
    /// For everybody else, so that a writer never waits for a connection.
    readers: SqlitePool,
    writer: Mutex<()>,
    behind: Mutex<()>,
    changes: watch::Sender<u64>,
}

/// Who writes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Incidents and pauses: after whoever writes now.
    Next,
    /// Everybody else: one at a time gets in line.
    Behind,
}

/// A transaction under way, and the turn to write.
struct Write<'a> {
    tx: Transaction<'static, Sqlite>,
    changes: &'a watch::Sender<u64>,
    _turn: MutexGuard<'a, ()>,
    _behind: Option<MutexGuard<'a, ()>>,
}

impl Write<'_> {
    async fn commit(self) -> Result<(), StoreError> {
        self.tx.commit().await?;
        self.changes.send_modify(|version| *version = version.wrapping_add(1));
        Ok(())
    }
}

impl Store {
    /// Opens or creates the file.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let pool = node::database::open(path, &sqlx_macros::migrate!()).await?;
        Ok(Self {
            pool,
            readers: node::database::open(path, &sqlx_macros::migrate!()).await?,
            writer: Mutex::new(()),
            behind: Mutex::new(()),
            changes: watch::Sender::new(0),
        })
    }

    /// Counts what was committed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Ends the connections.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.pool.close().await;
    }

    async fn write(&self, turn: Turn) -> Result<Write<'_>, StoreError> {
        let behind = match turn {
            Turn::Next => None,
            Turn::Behind => Some(self.behind.lock().await),
        };
        let writer = self.writer.lock().await;
        // Begun as a writer: a reader that becomes one could meet another process's write.
        let tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Write {
            tx,
            changes: &self.changes,
            _turn: writer,
            _behind: behind,
        })
    }
}

/// Puts a line on an incident's timeline, as part of `tx`, and moves the incident if the line does.
async fn tell(
    tx: &mut Transaction<'_, Sqlite>,
    incident: i64,
    at_ms: u64,
    moment: Moment,
    action: Option<&str>,
    detail: &str,
) -> Result<(), StoreError> {
    /// Lines of one incident; a bound that only an attack of thousands of transactions meets.
    const LINES: i64 = 5_000;
    /// Bytes of one detail.
    const DETAIL: usize = 500;
    let detail: String = detail.chars().take(DETAIL).collect();
    sqlx::query(
        "INSERT INTO timeline (incident_id, at_ms, moment, action, detail)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE ?6 OR (SELECT count(*) FROM timeline WHERE incident_id = ?1) < ?7",
    )
    .bind(incident)
    .bind(signed(at_ms))
    .bind(moment.label())
    .bind(action)
    .bind(detail)
    .bind(moment.change().is_some())
    .bind(LINES)
    .execute(&mut **tx)
    .await?;
    if let Some(change) = moment.change() {
        advance(tx, incident, at_ms, change).await?;
    }
    Ok(())
}

async fn advance(
    tx: &mut Transaction<'_, Sqlite>,
    incident: i64,
    at_ms: u64,
    change: Change,
) -> Result<(), StoreError> {
    let code: i64 = sqlx::query_scalar("SELECT state FROM incident WHERE id = ?")
        .bind(incident)
        .fetch_one(&mut **tx)
        .await?;
    let state = state(code)?;
    let next = state.after(change);
    if next == state {
        return Ok(());
    }
    sqlx::query(
        "UPDATE incident SET state = ?2,
             contained_ms = CASE WHEN ?3 THEN ?4 ELSE contained_ms END,
             ended_ms = CASE WHEN ?5 THEN coalesce(ended_ms, ?4) ELSE ended_ms END
         WHERE id = ?1",
    )
    .bind(incident)
    .bind(next.code())
    .bind(next == State::Contained)
    .bind(signed(at_ms))
    .bind(next.is_end())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn state(code: i64) -> Result<State, StoreError> {
    State::from_code(code).ok_or(StoreError::Malformed { table: "incident" })
}

fn encode(what: &'static str, value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|reason| StoreError::Encode { what, reason })
}

fn decode<T: serde::de::DeserializeOwned>(table: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Malformed { table })
}

/// SQLite's integers are signed; times, ids and counts stay far below the sign.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn column(row: &SqliteRow, name: &str) -> Result<u64, StoreError> {
    Ok(unsigned(row.try_get(name)?))
}

fn maybe(row: &SqliteRow, name: &str) -> Result<Option<u64>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(name)?.map(unsigned))
}
