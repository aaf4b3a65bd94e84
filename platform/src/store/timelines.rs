//! What validators did about incidents: kept as they tell it, the newest revision of each.
//!
//! Only a validator that has confirmed the incident may tell of it, and what it tells is bounded.

use prost::Message;
use protos::{DecodeError, v1};
use sqlx::{AnyConnection, Row};

use super::{decode, signed};
use crate::log::LogError;

/// Most suspect transactions in a timeline.
const SUSPECTS: usize = 50;
/// Most moments in a timeline.
const MOMENTS: usize = 500;
/// Longest text of a field, bytes.
const TEXT: usize = 4096;
/// Longest timeline, bytes.
const BYTES: usize = 256 * 1024;

/// What is wrong with a timeline, if something is.
pub(super) fn check(timeline: &v1::IncidentTimeline) -> Result<(), DecodeError> {
    wire::hash("tx_hash", &timeline.tx_hash)?;
    let many = |field, found: usize, most: usize| {
        (found > most).then(|| DecodeError::invalid(field, format!("{found}, and at most {most} are taken")))
    };
    let long = |field, text: &str| many(field, text.len(), TEXT);
    let mut faults = vec![
        many("suspects", timeline.suspects.len(), SUSPECTS),
        many("timeline", timeline.timeline.len(), MOMENTS),
        many("bytes", timeline.encoded_len(), BYTES),
        long("state", &timeline.state),
        long("severity", &timeline.severity),
    ];
    for suspect in &timeline.suspects {
        wire::hash("suspects.tx_hash", &suspect.tx_hash)?;
        wire::hash("suspects.value", &suspect.value)?;
        faults.extend([long("suspects.pre", &suspect.pre), long("suspects.post", &suspect.post)]);
    }
    for moment in &timeline.timeline {
        faults.extend([
            long("timeline.moment", &moment.moment),
            long("timeline.detail", &moment.detail),
        ]);
    }
    faults.into_iter().flatten().next().map_or(Ok(()), Err)
}

/// Stores a timeline; says whether it was newer than what was there. `None`: this validator has confirmed no such incident.
pub(super) async fn insert(
    db: &mut AnyConnection,
    number: i64,
    timeline: &v1::IncidentTimeline,
) -> Result<Option<bool>, LogError> {
    let incident: Option<i64> = sqlx::query_scalar(
        "SELECT n.id FROM incidents n JOIN confirmations c ON c.incident = n.id
         WHERE n.invariant_id = $1 AND n.tx_hash = $2 AND c.validator = $3",
    )
    .bind(signed(timeline.invariant_id))
    .bind(timeline.tx_hash.as_ref())
    .bind(number)
    .fetch_optional(&mut *db)
    .await?;
    let Some(incident) = incident else {
        return Ok(None);
    };
    let stored = sqlx::query(
        "INSERT INTO timelines (incident, validator, revision, payload) VALUES ($1, $2, $3, $4)
         ON CONFLICT (incident, validator) DO UPDATE SET revision = $3, payload = $4 WHERE timelines.revision < $3",
    )
    .bind(incident)
    .bind(number)
    .bind(signed(timeline.revision))
    .bind(timeline.encode_to_vec())
    .execute(db)
    .await?;
    Ok(Some(stored.rows_affected() > 0))
}

/// The timelines of an incident, in the order in which its validators were first seen.
pub(super) async fn of(db: &mut AnyConnection, incident: u64) -> Result<Vec<v1::IncidentTimeline>, LogError> {
    let rows = sqlx::query(
        "SELECT t.payload, v.hotkey FROM timelines t JOIN validators v ON v.id = t.validator
         WHERE t.incident = $1 ORDER BY t.validator",
    )
    .bind(signed(incident))
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            let mut timeline: v1::IncidentTimeline = decode("timelines.payload", row.try_get("payload")?)?;
            timeline.validator = row.try_get::<Vec<u8>, _>("hotkey")?.into();
            Ok(timeline)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline() -> v1::IncidentTimeline {
        v1::IncidentTimeline {
            tx_hash: vec![7; 32].into(),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_too_much_is_refused_with_its_field() {
        assert!(check(&timeline()).is_ok());
        let mut many = timeline();
        many.timeline = vec![v1::TimelineMoment::default(); MOMENTS + 1];
        assert!(check(&many).unwrap_err().to_string().contains("timeline"));
        let mut long = timeline();
        long.timeline = vec![v1::TimelineMoment {
            detail: "x".repeat(TEXT + 1),
            ..Default::default()
        }];
        assert!(check(&long).unwrap_err().to_string().contains("timeline.detail"));
        let mut short = timeline();
        short.suspects = vec![v1::SuspectTransaction::default()];
        assert!(check(&short).unwrap_err().to_string().contains("suspects.tx_hash"));
    }
}
