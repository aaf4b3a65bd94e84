//! The outbox: what is to be done about an incident, and how far each of it is.
//!
//! An attempt is recorded before it begins (`Sending`) and after it ends. Who finds `Sending` at the start of the process finds an
//! attempt whose fate nobody knows.

use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{Incident, Store, StoreError, Turn, column, decode, encode, incidents, maybe, signed, tell, unsigned};
use crate::config::{ActionConfig, Config};
use crate::incident::Moment;
use crate::ladder;
use crate::retry::Step;
use crate::template::{Suppressed, Words};
use crate::violation::ConfirmedViolation;

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// It waits for its first or next attempt.
    Pending,
    /// An attempt is under way.
    Sending,
    /// It was taken.
    Sent,
    /// It was given up.
    Failed,
    /// A limit held it back; a summary tells of it.
    Suppressed,
}

impl DeliveryState {
    pub(super) fn code(self) -> i64 {
        self as i64
    }

    fn from_code(code: i64) -> Option<Self> {
        let all = [Self::Pending, Self::Sending, Self::Sent, Self::Failed, Self::Suppressed];
        usize::try_from(code).ok().and_then(|code| all.get(code).copied())
    }
}

/// What is done about an incident by one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Its id.
    pub id: u64,
    /// Its incident; `None` of a summary.
    pub incident: Option<u64>,
    /// The action's id.
    pub action: String,
    /// The idempotency key.
    pub key: String,
    /// How far it is.
    pub state: DeliveryState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// An attempt may have been taken without our knowing.
    pub unknown: bool,
    /// When the first attempt began, milliseconds since 1970.
    pub first_ms: Option<u64>,
    /// Not before.
    pub next_ms: u64,
    /// When it ended.
    pub done_ms: Option<u64>,
    /// What the other side calls it.
    pub reference: Option<String>,
    /// Why the last attempt did not succeed.
    pub reason: Option<String>,
}

/// What an action has to do.
#[derive(Debug)]
pub(crate) enum Due {
    /// This, now.
    Now(Box<Delivery>),
    /// Something, at this time.
    At(u64),
    /// Nothing.
    Nothing,
}

/// What follows from the end of an attempt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The action that fires now, since this one failed.
    pub(crate) next_rung: Option<String>,
}

/// The idempotency key: the same for the same speaker, invariant, first transaction and action, even from an empty database.
fn key(source: &str, violation: &ConfirmedViolation, action: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"portcullis/alert/1");
    for part in [source, action] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.update(violation.chain_id.to_be_bytes());
    hasher.update(violation.invariant.id.to_be_bytes());
    hasher.update(violation.suspect.tx_hash);
    short(hasher)
}

/// 128 bits are plenty against chance.
fn short(hasher: Sha256) -> String {
    hex::encode(hasher.finalize()).chars().take(32).collect()
}

/// Stores what an action is to do, as part of `tx`; beyond the action's bound on what waits it is suppressed.
pub(super) async fn intend(
    tx: &mut Transaction<'_, Sqlite>,
    incident: i64,
    violation: &ConfirmedViolation,
    action: &ActionConfig,
    source: &str,
    now_ms: u64,
) -> Result<(), StoreError> {
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM delivery WHERE action = ? AND state < ?")
        .bind(&action.id)
        .bind(DeliveryState::Sent.code())
        .fetch_one(&mut **tx)
        .await?;
    let full = !action.kind.is_pause() && waiting >= i64::from(action.max_pending);
    let state = if full {
        DeliveryState::Suppressed
    } else {
        DeliveryState::Pending
    };
    sqlx::query(
        "INSERT OR IGNORE INTO delivery (incident_id, action, key, state, created_ms, next_ms, done_ms, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, CASE WHEN ?6 THEN ?5 END, CASE WHEN ?6 THEN 'too many alerts wait' END)",
    )
    .bind(incident)
    .bind(&action.id)
    .bind(key(source, violation, &action.id))
    .bind(state.code())
    .bind(signed(now_ms))
    .bind(full)
    .execute(&mut **tx)
    .await?;
    if full {
        tell(
            tx,
            incident,
            now_ms,
            Moment::Suppressed,
            Some(&action.id),
            "too many alerts wait",
        )
        .await?;
    }
    Ok(())
}

/// Makes those of the `actions` that have failed for the incident due once more; gives them. For pauses: another transaction of the
/// attack is a reason to try again.
pub(super) async fn again(
    tx: &mut Transaction<'_, Sqlite>,
    incident: i64,
    actions: &[&str],
    now_ms: u64,
) -> Result<Vec<String>, StoreError> {
    let mut due = Vec::new();
    for action in actions {
        let revived = sqlx::query(
            "UPDATE delivery SET state = ?3, next_ms = ?4, first_ms = NULL, done_ms = NULL
             WHERE incident_id = ?1 AND action = ?2 AND state = ?5",
        )
        .bind(incident)
        .bind(action)
        .bind(DeliveryState::Pending.code())
        .bind(signed(now_ms))
        .bind(DeliveryState::Failed.code())
        .execute(&mut **tx)
        .await?;
        if revived.rows_affected() > 0 {
            due.push((*action).to_owned());
        }
    }
    Ok(due)
}

/// What is done about an incident.
pub(super) async fn of_incident(tx: &mut Transaction<'_, Sqlite>, incident: i64) -> Result<Vec<Delivery>, StoreError> {
    sqlx::query("SELECT * FROM delivery WHERE incident_id = ? ORDER BY id")
        .bind(incident)
        .fetch_all(&mut **tx)
        .await?
        .iter()
        .map(delivery)
        .collect()
}

fn delivery(row: &SqliteRow) -> Result<Delivery, StoreError> {
    let malformed = || StoreError::Malformed { table: "delivery" };
    Ok(Delivery {
        id: column(row, "id")?,
        incident: maybe(row, "incident_id")?,
        action: row.try_get("action")?,
        key: row.try_get("key")?,
        state: DeliveryState::from_code(row.try_get("state")?).ok_or_else(malformed)?,
        attempts: u32::try_from(column(row, "attempts")?).map_err(|_| malformed())?,
        unknown: row.try_get("unknown")?,
        first_ms: maybe(row, "first_ms")?,
        next_ms: column(row, "next_ms")?,
        done_ms: maybe(row, "done_ms")?,
        reference: row.try_get("reference")?,
        reason: row.try_get("reason")?,
    })
}

impl Store {
    /// What `action` has to do, the oldest first.
    pub(crate) async fn due(&self, action: &str, now_ms: u64) -> Result<Due, StoreError> {
        let row = sqlx::query("SELECT * FROM delivery WHERE action = ? AND state = ? ORDER BY next_ms, id LIMIT 1")
            .bind(action)
            .bind(DeliveryState::Pending.code())
            .fetch_optional(&self.readers)
            .await?;
        Ok(match row.as_ref().map(delivery).transpose()? {
            None => Due::Nothing,
            Some(delivery) if delivery.next_ms > now_ms => Due::At(delivery.next_ms),
            Some(delivery) => Due::Now(Box::new(delivery)),
        })
    }

    /// The incident that a delivery belongs to.
    pub(crate) async fn incident_of(&self, delivery: &Delivery) -> Result<Option<Incident>, StoreError> {
        match delivery.incident {
            Some(id) => self.incident(id).await,
            None => Ok(None),
        }
    }

    /// What the first attempt of a delivery said.
    pub(crate) async fn words(&self, delivery: u64) -> Result<Option<Words>, StoreError> {
        let payload: Option<String> = sqlx::query_scalar("SELECT payload FROM delivery WHERE id = ?")
            .bind(signed(delivery))
            .fetch_one(&self.readers)
            .await?;
        payload.map(|text| decode("delivery", &text)).transpose()
    }

    /// Records that an attempt begins, before it does, and what it says.
    pub(crate) async fn begin_attempt(
        &self,
        delivery: &Delivery,
        words: Option<&Words>,
        turn: Turn,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let payload = words.map(|words| encode("an alert", words)).transpose()?;
        let mut write = self.write(turn).await?;
        sqlx::query(
            "UPDATE delivery SET state = ?2, attempts = attempts + 1, first_ms = coalesce(first_ms, ?3),
                 payload = coalesce(payload, ?4) WHERE id = ?1",
        )
        .bind(signed(delivery.id))
        .bind(DeliveryState::Sending.code())
        .bind(signed(now_ms))
        .bind(payload)
        .execute(&mut *write.tx)
        .await?;
        if let (Some(incident), None) = (delivery.incident, delivery.first_ms) {
            let action = Some(delivery.action.as_str());
            tell(&mut write.tx, signed(incident), now_ms, Moment::Fired, action, "").await?;
        }
        write.commit().await
    }

    /// Records how an attempt ended, and, when the action has failed for good, fires the next rung of its ladder in the same
    /// transaction.
    pub(crate) async fn end_attempt(
        &self,
        delivery: &Delivery,
        step: &Step,
        config: &Config,
        turn: Turn,
        now_ms: u64,
    ) -> Result<Ended, StoreError> {
        let mut write = self.write(turn).await?;
        let ended = end(&mut write.tx, delivery, step, config, now_ms).await?;
        write.commit().await?;
        Ok(ended)
    }

    /// Attempts that were under way when the process ended: their fate is unknown.
    pub(crate) async fn interrupted(&self) -> Result<Vec<Delivery>, StoreError> {
        sqlx::query("SELECT * FROM delivery WHERE state = ? ORDER BY id")
            .bind(DeliveryState::Sending.code())
            .fetch_all(&self.readers)
            .await?
            .iter()
            .map(delivery)
            .collect()
    }

    /// Deliveries that wait for actions that are not there.
    pub(crate) async fn waiting_actions(&self) -> Result<Vec<String>, StoreError> {
        Ok(
            sqlx::query_scalar("SELECT DISTINCT action FROM delivery WHERE state = ?")
                .bind(DeliveryState::Pending.code())
                .fetch_all(&self.readers)
                .await?,
        )
    }

    /// When the newest `count` deliveries of an action had their first attempt.
    pub(crate) async fn fired(&self, action: &str, count: u32) -> Result<Vec<u64>, StoreError> {
        let times: Vec<i64> = sqlx::query_scalar(
            "SELECT first_ms FROM delivery WHERE action = ? AND first_ms IS NOT NULL ORDER BY first_ms DESC LIMIT ?",
        )
        .bind(action)
        .bind(count)
        .fetch_all(&self.readers)
        .await?;
        Ok(times.into_iter().map(unsigned).collect())
    }

    /// Holds an alert back.
    pub(crate) async fn suppress(&self, delivery: &Delivery, reason: &str, now_ms: u64) -> Result<(), StoreError> {
        let mut write = self.write(Turn::Behind).await?;
        sqlx::query("UPDATE delivery SET state = ?2, done_ms = ?3, reason = ?4 WHERE id = ?1")
            .bind(signed(delivery.id))
            .bind(DeliveryState::Suppressed.code())
            .bind(signed(now_ms))
            .bind(reason)
            .execute(&mut *write.tx)
            .await?;
        if let Some(incident) = delivery.incident {
            let action = Some(delivery.action.as_str());
            tell(
                &mut write.tx,
                signed(incident),
                now_ms,
                Moment::Suppressed,
                action,
                reason,
            )
            .await?;
        }
        write.commit().await
    }

    /// Whether alerts of an action are held back that no summary tells of.
    pub(crate) async fn has_suppressed(&self, action: &str) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM delivery WHERE action = ? AND state = ? AND summary IS NULL)",
        )
        .bind(action)
        .bind(DeliveryState::Suppressed.code())
        .fetch_one(&self.readers)
        .await?)
    }

    /// Makes one summary of the alerts of an action that were held back, due now.
    pub(crate) async fn summarise(&self, action: &str, source: &str, now_ms: u64) -> Result<(), StoreError> {
        let mut write = self.write(Turn::Behind).await?;
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT key FROM delivery WHERE action = ? AND state = ? AND summary IS NULL ORDER BY id",
        )
        .bind(action)
        .bind(DeliveryState::Suppressed.code())
        .fetch_all(&mut *write.tx)
        .await?;
        let mut hasher = Sha256::new();
        hasher.update(b"portcullis/summary/1");
        hasher.update((source.len() as u64).to_be_bytes());
        hasher.update(source);
        keys.iter().for_each(|key| hasher.update(key));
        let summary =
            sqlx::query("INSERT INTO delivery (action, key, state, created_ms, next_ms) VALUES (?1, ?2, ?3, ?4, ?4)")
                .bind(action)
                .bind(short(hasher))
                .bind(DeliveryState::Pending.code())
                .bind(signed(now_ms))
                .execute(&mut *write.tx)
                .await?
                .last_insert_rowid();
        sqlx::query("UPDATE delivery SET summary = ?1 WHERE action = ?2 AND state = ?3 AND summary IS NULL")
            .bind(summary)
            .bind(action)
            .bind(DeliveryState::Suppressed.code())
            .execute(&mut *write.tx)
            .await?;
        write.commit().await
    }

    /// What a summary tells of.
    pub(crate) async fn suppressed(&self, summary: u64) -> Result<Suppressed, StoreError> {
        const NAMED: usize = 20;
        let ids: Vec<i64> = sqlx::query_scalar("SELECT incident_id FROM delivery WHERE summary = ? ORDER BY id")
            .bind(signed(summary))
            .fetch_all(&self.readers)
            .await?;
        Ok(Suppressed {
            count: u64::try_from(ids.len()).unwrap_or(u64::MAX),
            more: u64::try_from(ids.len().saturating_sub(NAMED)).unwrap_or(u64::MAX),
            incidents: ids.into_iter().take(NAMED).map(unsigned).collect(),
        })
    }
}

async fn end(
    tx: &mut Transaction<'_, Sqlite>,
    delivery: &Delivery,
    step: &Step,
    config: &Config,
    now_ms: u64,
) -> Result<Ended, StoreError> {
    let (state, next_ms, reference, reason, unknown) = match step {
        Step::Sent { reference } => (DeliveryState::Sent, now_ms, Some(reference), None, false),
        Step::Again {
            at_ms, reason, unknown, ..
        } => (DeliveryState::Pending, *at_ms, None, Some(reason), *unknown),
        Step::Failed { reason } => (DeliveryState::Failed, now_ms, None, Some(reason), false),
    };
    sqlx::query(
        "UPDATE delivery SET state = ?2, next_ms = ?3, reference = ?4, reason = ?5, unknown = unknown OR ?6,
             done_ms = CASE WHEN ?7 THEN ?8 END WHERE id = ?1",
    )
    .bind(signed(delivery.id))
    .bind(state.code())
    .bind(signed(next_ms))
    .bind(reference)
    .bind(reason)
    .bind(unknown)
    .bind(state != DeliveryState::Pending)
    .bind(signed(now_ms))
    .execute(&mut **tx)
    .await?;
    let Some(incident) = delivery.incident.map(signed) else {
        return Ok(Ended::default());
    };
    let action = config.actions.iter().find(|action| action.id == delivery.action);
    let is_pause = action.is_some_and(|action| action.kind.is_pause());
    let name = Some(delivery.action.as_str());
    match step {
        Step::Sent { reference } => {
            let moment = if is_pause { Moment::Included } else { Moment::Sent };
            tell(tx, incident, now_ms, moment, name, reference).await?;
            Ok(Ended::default())
        }
        Step::Again { at_ms, reason, .. } => {
            let wait = humantime::format_duration(std::time::Duration::from_millis(at_ms.saturating_sub(now_ms)));
            tell(
                tx,
                incident,
                now_ms,
                Moment::Attempt,
                name,
                &format!("{reason}; again in {wait}"),
            )
            .await?;
            Ok(Ended::default())
        }
        Step::Failed { reason } => {
            tell(tx, incident, now_ms, Moment::Escalated, name, reason).await?;
            let Some(whole) = incidents::read(tx, incident).await? else {
                return Ok(Ended::default());
            };
            let next = action.and_then(|action| ladder::next(&config.actions, action, &whole.violation));
            if let Some(next) = next {
                intend(tx, incident, &whole.violation, next, &config.source, now_ms).await?;
            }
            Ok(Ended {
                next_rung: next.map(|next| next.id.clone()),
            })
        }
    }
}
