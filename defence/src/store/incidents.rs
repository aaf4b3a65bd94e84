//! Incidents: found or opened, told of, closed and forgotten.

use serde::Serialize;
use sqlx::{Row, Sqlite, Transaction};

use super::outbox::{self, Delivery};
use super::{Store, StoreError, Turn, column, decode, encode, maybe, signed, state, tell, unsigned};
use crate::config::Config;
use crate::incident::{self, Candidate, Moment, State};
use crate::ladder;
use crate::violation::{ConfirmedViolation, NetworkView, Severity, Suspect};

/// Suspects of one incident that are kept; of those beyond there is the number.
const SUSPECTS: i64 = 1_000;

/// One line of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TimelineEntry {
    /// When, milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub moment: Moment,
    /// By which action.
    pub action: Option<String>,
    /// More.
    pub detail: String,
}

/// Everything that is known of an incident.
#[derive(Debug, Clone, Serialize)]
pub struct Incident {
    /// Its id.
    pub id: u64,
    /// Where it stands.
    pub state: State,
    /// How bad it is.
    pub severity: Severity,
    /// When its first suspect was confirmed, milliseconds since 1970.
    pub opened_ms: u64,
    /// When its newest suspect was seen.
    pub last_ms: u64,
    /// When its pause was included.
    pub contained_ms: Option<u64>,
    /// When it became contained, escalated or closed.
    pub ended_ms: Option<u64>,
    /// The violation that opened it.
    pub violation: ConfirmedViolation,
    /// The network's view of it.
    pub view: NetworkView,
    /// Its transactions in the order of confirmation, at most a thousand.
    pub suspects: Vec<Suspect>,
    /// How many there were.
    pub total_suspects: u64,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// What is done about it.
    pub deliveries: Vec<Delivery>,
}

/// What became of a violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) incident: u64,
    /// Actions that have something to do now.
    pub(crate) due: Vec<String>,
    pub(crate) opened: bool,
}

impl Store {
    /// Records a violation: it is known, or attaches to an incident, or opens one together with what is to be done about it.
    pub(crate) async fn confirm(
        &self,
        violation: &ConfirmedViolation,
        config: &Config,
        now_ms: u64,
    ) -> Result<Recorded, StoreError> {
        let suspect = &violation.suspect;
        let path = suspect.path_digest(violation.invariant.contract);
        let mut write = self.write(Turn::Next).await?;
        let tx = &mut write.tx;
        let known: Option<i64> = sqlx::query_scalar(
            "SELECT incident_id FROM suspect WHERE chain_id = ? AND invariant_id = ? AND tx_hash = ?",
        )
        .bind(signed(violation.chain_id))
        .bind(signed(violation.invariant.id))
        .bind(suspect.tx_hash.as_slice())
        .fetch_optional(&mut **tx)
        .await?;
        if let Some(incident) = known {
            return Ok(Recorded {
                incident: unsigned(incident),
                due: Vec::new(),
                opened: false,
            });
        }
        let window = crate::clock::millis(config.window);
        let candidates = candidates(tx, violation, path.as_slice(), window).await?;
        let recorded = match incident::attach(&candidates, violation.seen_ms, window) {
            Some(incident) => {
                add_suspect(tx, incident, violation, path.as_slice()).await?;
                let detail = format!("transaction {} from {}", suspect.tx_hash, suspect.sender);
                tell(tx, incident, violation.confirmed_ms, Moment::Repeated, None, &detail).await?;
                let pauses: Vec<&str> = config
                    .actions
                    .iter()
                    .filter(|action| action.kind.is_pause())
                    .map(|action| action.id.as_str())
                    .collect();
                Recorded {
                    incident: unsigned(incident),
                    due: outbox::again(tx, incident, &pauses, now_ms).await?,
                    opened: false,
                }
            }
            None => {
                let incident = open(tx, violation).await?;
                add_suspect(tx, incident, violation, path.as_slice()).await?;
                for (at_ms, moment) in [
                    (violation.seen_ms, Moment::Seen),
                    (violation.judged_ms, Moment::Judged),
                    (violation.confirmed_ms, Moment::Confirmed),
                ] {
                    let detail = format!("transaction {}", suspect.tx_hash);
                    tell(tx, incident, at_ms, moment, None, &detail).await?;
                }
                let mut due = Vec::new();
                for action in ladder::first(&config.actions, violation) {
                    outbox::intend(tx, incident, violation, action, &config.source, now_ms).await?;
                    due.push(action.id.clone());
                }
                Recorded {
                    incident: unsigned(incident),
                    due,
                    opened: true,
                }
            }
        };
        write.commit().await?;
        Ok(recorded)
    }

    /// Puts a line on a timeline.
    pub(crate) async fn tell(
        &self,
        incident: u64,
        at_ms: u64,
        moment: Moment,
        action: Option<&str>,
        detail: &str,
    ) -> Result<(), StoreError> {
        let mut write = self.write(Turn::Behind).await?;
        exists(&mut write.tx, incident).await?;
        tell(&mut write.tx, signed(incident), at_ms, moment, action, detail).await?;
        write.commit().await
    }

    /// Replaces the network's view.
    pub(crate) async fn set_view(&self, incident: u64, view: NetworkView) -> Result<(), StoreError> {
        let mut write = self.write(Turn::Behind).await?;
        exists(&mut write.tx, incident).await?;
        sqlx::query("UPDATE incident SET view = ? WHERE id = ?")
            .bind(encode("a view", &view)?)
            .bind(signed(incident))
            .execute(&mut *write.tx)
            .await?;
        write.commit().await
    }

    /// One incident.
    pub(crate) async fn incident(&self, id: u64) -> Result<Option<Incident>, StoreError> {
        // One transaction, so that the parts fit together.
        let mut tx = self.readers.begin().await?;
        let incident = read(&mut tx, signed(id)).await?;
        tx.rollback().await?;
        Ok(incident)
    }

    /// The newest incidents before `before` (all when it is `None`), newest first.
    pub(crate) async fn incidents(&self, before: Option<u64>, limit: u32) -> Result<Vec<Incident>, StoreError> {
        let mut tx = self.readers.begin().await?;
        let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM incident WHERE id < ? ORDER BY id DESC LIMIT ?")
            .bind(before.map_or(i64::MAX, signed))
            .bind(limit)
            .fetch_all(&mut *tx)
            .await?;
        let mut incidents = Vec::with_capacity(ids.len());
        for id in ids {
            incidents.extend(read(&mut tx, id).await?);
        }
        tx.rollback().await?;
        Ok(incidents)
    }

    /// The incidents that something was told of behind the line `after` of all timelines, oldest first, at most `limit`; and the last line
    /// that this covers.
    pub(crate) async fn changed_after(&self, after: u64, limit: u32) -> Result<(Vec<u64>, u64), StoreError> {
        let rows = sqlx::query(
            "SELECT incident_id, max(id) AS last FROM (SELECT id, incident_id FROM timeline WHERE id > ? ORDER BY id LIMIT ?)
             GROUP BY incident_id ORDER BY incident_id",
        )
        .bind(signed(after))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let mut covered = after;
        let mut changed = Vec::with_capacity(rows.len());
        for row in rows {
            changed.push(unsigned(row.try_get("incident_id")?));
            covered = covered.max(unsigned(row.try_get("last")?));
        }
        Ok((changed, covered))
    }

    /// Closes incidents that nothing more comes of, and deletes those that ended long ago; gives how many of each.
    pub(crate) async fn sweep(&self, config: &Config, now_ms: u64) -> Result<(u64, u64), StoreError> {
        let before = |age| signed(now_ms.saturating_sub(crate::clock::millis(age)));
        let mut write = self.write(Turn::Behind).await?;
        let quiet: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM incident WHERE state < ?1 AND last_ms < ?2 AND NOT EXISTS (
                 SELECT 1 FROM delivery WHERE incident_id = incident.id AND state < ?3) LIMIT 1000",
        )
        .bind(State::Contained.code())
        .bind(before(config.close_after))
        .bind(outbox::DeliveryState::Sent.code())
        .fetch_all(&mut *write.tx)
        .await?;
        for id in &quiet {
            tell(&mut write.tx, *id, now_ms, Moment::Closed, None, "quiet").await?;
        }
        let forgotten = sqlx::query("DELETE FROM incident WHERE ended_ms < ?")
            .bind(before(config.retention))
            .execute(&mut *write.tx)
            .await?
            .rows_affected();
        sqlx::query("DELETE FROM delivery WHERE incident_id IS NULL AND done_ms < ?")
            .bind(before(config.retention))
            .execute(&mut *write.tx)
            .await?;
        write.commit().await?;
        Ok((u64::try_from(quiet.len()).unwrap_or(0), forgotten))
    }
}

async fn exists(tx: &mut Transaction<'_, Sqlite>, incident: u64) -> Result<(), StoreError> {
    sqlx::query("SELECT 1 FROM incident WHERE id = ?")
        .bind(signed(incident))
        .fetch_optional(&mut **tx)
        .await?
        .map(drop)
        .ok_or(StoreError::NoIncident(incident))
}

/// Incidents of the same invariant near the violation in time, the oldest hundred.
async fn candidates(
    tx: &mut Transaction<'_, Sqlite>,
    violation: &ConfirmedViolation,
    path: &[u8],
    window_ms: u64,
) -> Result<Vec<Candidate>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, state, last_ms, contained_ms,
             EXISTS (SELECT 1 FROM suspect WHERE incident_id = incident.id AND sender = ?3) AS same_sender,
             EXISTS (SELECT 1 FROM suspect WHERE incident_id = incident.id AND path = ?4) AS same_path
         FROM incident
         WHERE chain_id = ?1 AND invariant_id = ?2 AND last_ms BETWEEN ?5 AND ?6 AND (same_sender OR same_path)
         ORDER BY id LIMIT 100",
    )
    .bind(signed(violation.chain_id))
    .bind(signed(violation.invariant.id))
    .bind(violation.suspect.sender.as_slice())
    .bind(path)
    .bind(signed(violation.seen_ms.saturating_sub(window_ms)))
    .bind(signed(violation.seen_ms.saturating_add(window_ms)))
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Candidate {
                id: row.try_get("id")?,
                state: state(row.try_get("state")?)?,
                last_ms: column(row, "last_ms")?,
                contained_ms: maybe(row, "contained_ms")?,
                same_sender: row.try_get("same_sender")?,
                same_path: row.try_get("same_path")?,
            })
        })
        .collect()
}

async fn open(tx: &mut Transaction<'_, Sqlite>, violation: &ConfirmedViolation) -> Result<i64, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO incident (chain_id, invariant_id, state, severity, opened_ms, last_ms, suspects, violation, view)
         VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?)",
    )
    .bind(signed(violation.chain_id))
    .bind(signed(violation.invariant.id))
    .bind(State::Open.code())
    .bind(i64::from(violation.severity.rank()))
    .bind(signed(violation.confirmed_ms))
    .bind(signed(violation.seen_ms))
    .bind(encode("a violation", violation)?)
    .bind(encode("a view", &violation.view)?)
    .execute(&mut **tx)
    .await?;
    Ok(inserted.last_insert_rowid())
}

async fn add_suspect(
    tx: &mut Transaction<'_, Sqlite>,
    incident: i64,
    violation: &ConfirmedViolation,
    path: &[u8],
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO suspect (chain_id, invariant_id, tx_hash, incident_id, number, sender, path, body)
         SELECT ?1, ?2, ?3, id, suspects, ?5, ?6, ?7 FROM incident WHERE id = ?4 AND suspects < ?8",
    )
    .bind(signed(violation.chain_id))
    .bind(signed(violation.invariant.id))
    .bind(violation.suspect.tx_hash.as_slice())
    .bind(incident)
    .bind(violation.suspect.sender.as_slice())
    .bind(path)
    .bind(encode("a suspect", &violation.suspect)?)
    .bind(SUSPECTS)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE incident SET suspects = suspects + 1, last_ms = max(last_ms, ?2), severity = max(severity, ?3) WHERE id = ?1",
    )
    .bind(incident)
    .bind(signed(violation.seen_ms))
    .bind(i64::from(violation.severity.rank()))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// An incident with all its parts.
pub(super) async fn read(tx: &mut Transaction<'_, Sqlite>, id: i64) -> Result<Option<Incident>, StoreError> {
    let Some(row) = sqlx::query("SELECT * FROM incident WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut **tx)
        .await?
    else {
        return Ok(None);
    };
    let violation: ConfirmedViolation = decode("incident", row.try_get("violation")?)?;
    let bodies: Vec<String> = sqlx::query_scalar("SELECT body FROM suspect WHERE incident_id = ? ORDER BY number")
        .bind(id)
        .fetch_all(&mut **tx)
        .await?;
    let lines =
        sqlx::query("SELECT at_ms, moment, action, detail FROM timeline WHERE incident_id = ? ORDER BY at_ms, id")
            .bind(id)
            .fetch_all(&mut **tx)
            .await?;
    let rank = u8::try_from(row.try_get::<i64, _>("severity")?).ok();
    Ok(Some(Incident {
        id: unsigned(id),
        state: state(row.try_get("state")?)?,
        severity: rank
            .and_then(Severity::from_rank)
            .ok_or(StoreError::Malformed { table: "incident" })?,
        opened_ms: column(&row, "opened_ms")?,
        last_ms: column(&row, "last_ms")?,
        contained_ms: maybe(&row, "contained_ms")?,
        ended_ms: maybe(&row, "ended_ms")?,
        view: decode("incident", row.try_get("view")?)?,
        suspects: bodies
            .iter()
            .map(|body| decode("suspect", body))
            .collect::<Result<_, _>>()?,
        total_suspects: column(&row, "suspects")?,
        timeline: lines
            .iter()
            .map(|line| {
                Ok(TimelineEntry {
                    at_ms: column(line, "at_ms")?,
                    moment: Moment::from_label(line.try_get("moment")?)
                        .ok_or(StoreError::Malformed { table: "timeline" })?,
                    action: line.try_get("action")?,
                    detail: line.try_get("detail")?,
                })
            })
            .collect::<Result<_, StoreError>>()?,
        deliveries: outbox::of_incident(tx, id).await?,
        violation,
    }))
}
