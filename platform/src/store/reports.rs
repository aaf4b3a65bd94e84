//! What validators report: each report counts once, and only from the validators that the item was assigned to.
//!
//! A request is stored whole or refused whole, with the index and field that is wrong: a validator that gets an answer knows
//! that everything it sent is safe.

use prost::Message;
use protos::v1::{self, judgement::Verdict};
use protos::{DecodeError, required};
use sqlx::AnyConnection;
use wire::{Finding, MOST_READINGS, ReportedExecution, Wire};

use super::{Store, now_ms, signed, subnet, timelines};
use crate::assignment::Hotkey;
use crate::log::LogError;

/// Bytes that each of their fields may have.
const READING_BYTES: usize = 1_024;

/// Why a report was not stored.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A field that does not fit.
    #[error("{list}[{index}]: {reason}")]
    Malformed {
        /// `transactions`, `incidents`, `timelines` or `miners`.
        list: &'static str,
        /// Which of them.
        index: usize,
        /// The field, and what is wrong with it.
        reason: DecodeError,
    },
    /// There is no such item, or it is another transaction, or it was assigned to others.
    #[error("{list}[{index}]: cursor {cursor} is no transaction {tx_hash} that was assigned to this validator")]
    NotAssigned {
        /// `transactions`, `incidents` or `timelines`.
        list: &'static str,
        /// Which of them.
        index: usize,
        /// As given.
        cursor: u64,
        /// As given, in hex.
        tx_hash: String,
    },
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<sqlx::Error> for ReportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

/// What a request adds to the sums.
#[derive(Debug, Default)]
struct Added {
    reported: u64,
    executed: u64,
    judged: u64,
    holds: u64,
    violated: u64,
    undecided: u64,
    challenges: u64,
    answers: u64,
    agreed: u64,
    arbitrated: u64,
    incidents: u64,
}

impl Store {
    /// Stores what `hotkey` reports; gives how much of it was new.
    ///
    /// # Errors
    /// [`ReportError`]: the request is at fault, or the database; either way nothing of it is stored.
    pub async fn report(&self, hotkey: &Hotkey, request: &v1::ReportRequest) -> Result<u64, ReportError> {
        for (index, report) in request.transactions.iter().enumerate() {
            check_transaction(report).map_err(|reason| ReportError::Malformed {
                list: "transactions",
                index,
                reason,
            })?;
        }
        for (index, report) in request.incidents.iter().enumerate() {
            check_incident(report).map_err(|reason| ReportError::Malformed {
                list: "incidents",
                index,
                reason,
            })?;
        }
        for (index, timeline) in request.timelines.iter().enumerate() {
            timelines::check(timeline).map_err(|reason| ReportError::Malformed {
                list: "timelines",
                index,
                reason,
            })?;
        }
        subnet::check(&request.miners).map_err(|reason| ReportError::Malformed {
            list: "miners",
            index: 0,
            reason,
        })?;
        let number = self.number(hotkey).await?.unwrap_or(-1);
        let mut added = Added::default();
        let mut accepted = 0;
        let mut writing = self.begin().await?;
        let db = writing.connection();
        for (index, report) in request.transactions.iter().enumerate() {
            let (cursor, hash) = (report.cursor, report.tx_hash.as_ref());
            assigned(db, number, cursor, hash)
                .await?
                .ok_or_else(|| not_assigned("transactions", index, cursor, hash))?;
            accepted += u64::from(insert_transaction(db, number, report, &mut added).await?);
        }
        for (index, report) in request.incidents.iter().enumerate() {
            let (cursor, hash) = (report.cursor, report.tx_hash.as_ref());
            assigned(db, number, cursor, hash)
                .await?
                .ok_or_else(|| not_assigned("incidents", index, cursor, hash))?;
            let unknown = || ReportError::Malformed {
                list: "incidents",
                index,
                reason: DecodeError::invalid("invariant_id", format!("there is no invariant {}", report.invariant_id)),
            };
            accepted += u64::from(
                insert_incident(db, number, report, &mut added)
                    .await?
                    .ok_or_else(unknown)?,
            );
        }
        for (index, timeline) in request.timelines.iter().enumerate() {
            let stored = timelines::insert(db, number, timeline).await?;
            let unknown = || ReportError::Malformed {
                list: "timelines",
                index,
                reason: DecodeError::invalid("tx_hash", "this validator has confirmed no such incident".to_owned()),
            };
            accepted += u64::from(stored.ok_or_else(unknown)?);
        }
        if accepted > 0 {
            add(db, &added).await?;
        }
        if !request.miners.is_empty() && number >= 0 {
            subnet::insert(db, number, &request.miners).await?;
        }
        writing.commit().await?;
        Ok(accepted)
    }
}

fn not_assigned(list: &'static str, index: usize, cursor: u64, tx_hash: &[u8]) -> ReportError {
    ReportError::NotAssigned {
        list,
        index,
        cursor,
        tx_hash: alloy::primitives::hex::encode_prefixed(tx_hash),
    }
}

fn check_transaction(report: &v1::TransactionReport) -> Result<(), DecodeError> {
    wire::hash("tx_hash", &report.tx_hash)?;
    for judgement in &report.judgements {
        Finding::from_wire(judgement)?;
    }
    if let Some(execution) = &report.execution {
        ReportedExecution::from_wire(execution)?;
    }
    if report.answered > report.asked {
        return Err(DecodeError::invalid(
            "answered",
            format!("{} of {} asked", report.answered, report.asked),
        ));
    }
    if report.agreed > report.answered {
        return Err(DecodeError::invalid(
            "agreed",
            format!("{} of {} answered", report.agreed, report.answered),
        ));
    }
    Ok(())
}

fn check_incident(report: &v1::IncidentReport) -> Result<(), DecodeError> {
    wire::hash("tx_hash", &report.tx_hash)?;
    let witness = required("witness", report.witness.as_ref())?;
    wire::hash("witness.pre", &witness.pre)?;
    wire::hash("witness.post", &witness.post)?;
    wire::hash("witness.digest", &witness.digest)?;
    if witness.readings.len() > MOST_READINGS {
        let reason = format!("{} are more than {MOST_READINGS}", witness.readings.len());
        return Err(DecodeError::invalid("witness.readings", reason));
    }
    let fields = |reading: &v1::Reading| reading.label.len().max(reading.pre.len()).max(reading.post.len());
    if let Some(longest) = witness.readings.iter().map(fields).max()
        && longest > READING_BYTES
    {
        let reason = format!("{longest} bytes are more than the {READING_BYTES} of one field");
        return Err(DecodeError::invalid("witness.readings", reason));
    }
    Ok(())
}

/// Whether the item at `cursor` is this transaction and was assigned to this validator.
async fn assigned(db: &mut AnyConnection, number: i64, cursor: u64, hash: &[u8]) -> Result<Option<()>, LogError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM assignments a JOIN items i ON i.cursor = a.cursor
         WHERE a.validator = $1 AND a.cursor = $2 AND i.tx_hash = $3",
    )
    .bind(number)
    .bind(signed(cursor))
    .bind(hash)
    .fetch_optional(db)
    .await?;
    Ok(found.map(drop))
}

/// Stores one report, unless it is there already; says whether it was new.
async fn insert_transaction(
    db: &mut AnyConnection,
    number: i64,
    report: &v1::TransactionReport,
    added: &mut Added,
) -> Result<bool, LogError> {
    let new = sqlx::query(
        "INSERT INTO reports (cursor, validator, reported_at_ms, payload) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(signed(report.cursor))
    .bind(number)
    .bind(now_ms())
    .bind(report.encode_to_vec())
    .execute(&mut *db)
    .await?;
    if new.rows_affected() == 0 {
        return Ok(false);
    }
    added.reported += 1;
    if !report.skipped.is_empty() {
        return Ok(true);
    }
    // The first execution stays; a different one beside it makes the item disputed.
    sqlx::query(
        "INSERT INTO executions (cursor, execution) VALUES ($1, $2) ON CONFLICT (cursor) DO UPDATE SET
           disputed = CASE WHEN executions.execution <> $2 THEN 1 ELSE executions.disputed END,
           execution = coalesce(executions.execution, $2)",
    )
    .bind(signed(report.cursor))
    .bind(report.execution.as_ref().map(Message::encode_to_vec))
    .execute(&mut *db)
    .await?;
    let judged = sqlx::query("UPDATE transactions SET judged = 1 WHERE hash = $1 AND judged = 0")
        .bind(report.tx_hash.as_ref())
        .execute(&mut *db)
        .await?;
    added.judged += judged.rows_affected();
    if report.execution.is_some() {
        let executed = sqlx::query("UPDATE transactions SET executed = 1 WHERE hash = $1 AND executed = 0")
            .bind(report.tx_hash.as_ref())
            .execute(&mut *db)
            .await?;
        added.executed += executed.rows_affected();
    }
    for judgement in &report.judgements {
        match judgement.verdict {
            Some(Verdict::Holds(_)) => added.holds += 1,
            Some(Verdict::Violated(_)) => added.violated += 1,
            Some(Verdict::Undecided(_)) | None => added.undecided += 1,
        }
    }
    added.challenges += u64::from(report.asked);
    added.answers += u64::from(report.answered);
    added.agreed += u64::from(report.agreed);
    added.arbitrated += u64::from(report.arbitrated);
    Ok(true)
}

/// Stores an incident, or the confirmation of one that is there; says whether either was new. `None`: no such invariant.
async fn insert_incident(
    db: &mut AnyConnection,
    number: i64,
    report: &v1::IncidentReport,
    added: &mut Added,
) -> Result<Option<bool>, LogError> {
    let contract: Option<Vec<u8>> = sqlx::query_scalar("SELECT contract FROM invariants WHERE id = $1")
        .bind(signed(report.invariant_id))
        .fetch_optional(&mut *db)
        .await?;
    let (Some(contract), Some(witness)) = (contract, &report.witness) else {
        return Ok(None);
    };
    let new = sqlx::query(
        "INSERT INTO incidents
           (invariant_id, invariant_name, contract, tx_hash, cursor, witness, seen_to_confirmed_us, reported_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (invariant_id, tx_hash) DO NOTHING",
    )
    .bind(signed(report.invariant_id))
    .bind(&report.invariant_name)
    .bind(contract)
    .bind(report.tx_hash.as_ref())
    .bind(signed(report.cursor))
    .bind(witness.encode_to_vec())
    .bind(signed(report.seen_to_confirmed_us))
    .bind(now_ms())
    .execute(&mut *db)
    .await?;
    added.incidents += new.rows_affected();
    let (incident, stored): (i64, Vec<u8>) =
        sqlx::query_as("SELECT id, witness FROM incidents WHERE invariant_id = $1 AND tx_hash = $2")
            .bind(signed(report.invariant_id))
            .bind(report.tx_hash.as_ref())
            .fetch_one(&mut *db)
            .await?;
    if stored != witness.encode_to_vec() {
        // Both engines executed the same bytes on the same state: one of them is broken or of another version.
        tracing::warn!(
            incident,
            validator = number,
            "confirmed with a witness that differs from the first one"
        );
    }
    let confirmed =
        sqlx::query("INSERT INTO confirmations (incident, validator) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(incident)
            .bind(number)
            .execute(db)
            .await?;
    Ok(Some(confirmed.rows_affected() > 0))
}

async fn add(db: &mut AnyConnection, added: &Added) -> Result<(), LogError> {
    sqlx::query(
        "UPDATE totals SET reported = reported + $1, executed = executed + $2, judged = judged + $3, holds = holds + $4,
           violated = violated + $5, undecided = undecided + $6, challenges = challenges + $7, answers = answers + $8,
           agreed = agreed + $9, arbitrated = arbitrated + $10, incidents = incidents + $11",
    )
    .bind(signed(added.reported))
    .bind(signed(added.executed))
    .bind(signed(added.judged))
    .bind(signed(added.holds))
    .bind(signed(added.violated))
    .bind(signed(added.undecided))
    .bind(signed(added.challenges))
    .bind(signed(added.answers))
    .bind(signed(added.agreed))
    .bind(signed(added.arbitrated))
    .bind(signed(added.incidents))
    .execute(db)
    .await?;
    Ok(())
}
