//! What validators did about incidents: kept as they tell it, the newest revision of each.
//!
//! Only a validator that has confirmed the incident may tell of it, and what it tells is bounded.

use alloy::primitives::I256;
use prost::Message;
use protos::{DecodeError, fixed, v1};
use sqlx::{AnyConnection, Row};

use super::{decode, signed};
use crate::log::LogError;

/// Most suspect transactions in a timeline.
const SUSPECTS: usize = 50;
/// Most balances that are told of a suspect.
const BALANCES: usize = 32;
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
        faults.extend([
            long("suspects.pre", &suspect.pre),
            long("suspects.post", &suspect.post),
            many("suspects.deltas", suspect.deltas.len(), BALANCES),
        ]);
        suspect.deltas.iter().try_for_each(check_delta)?;
    }
    for moment in &timeline.timeline {
        faults.extend([
            long("timeline.moment", &moment.moment),
            long("timeline.detail", &moment.detail),
        ]);
    }
    faults.into_iter().flatten().next().map_or(Ok(()), Err)
}

fn check_delta(delta: &v1::TokenDelta) -> Result<(), DecodeError> {
    if !delta.token.is_empty() {
        fixed::<20>("suspects.deltas.token", &delta.token)?;
    }
    fixed::<20>("suspects.deltas.holder", &delta.holder)?;
    // Parsing alone takes underscores for nothing, and nothing for zero: who reads it needs one form of a number, and a short one.
    match I256::from_dec_str(&delta.change) {
        Ok(change) if change.to_string() == delta.change => Ok(()),
        _ => Err(DecodeError::invalid(
            "suspects.deltas.change",
            "not a whole number of 256 bits in decimal, with `-` ahead of one below zero and without leading zeros",
        )),
    }
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
    use alloy::primitives::U256;
    use proptest::prelude::*;

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

    fn delta(token: usize, holder: usize, change: &str) -> v1::TokenDelta {
        v1::TokenDelta {
            token: vec![8; token].into(),
            holder: vec![9; holder].into(),
            change: change.to_owned(),
        }
    }

    /// What is said of a timeline whose one suspect changes these balances.
    fn said(deltas: Vec<v1::TokenDelta>) -> Result<(), String> {
        let suspect = v1::SuspectTransaction {
            tx_hash: vec![7; 32].into(),
            value: vec![0; 32].into(),
            deltas,
            ..Default::default()
        };
        let told = v1::IncidentTimeline {
            suspects: vec![suspect],
            ..timeline()
        };
        check(&told).map_err(|error| error.to_string())
    }

    #[test]
    fn balances_are_taken_as_far_as_256_bits_reach_and_up_to_32_of_a_suspect() {
        let (least, most) = (I256::MIN.to_string(), I256::MAX.to_string());
        for change in ["0", "-1", "1000000000000000000", &least, &most] {
            assert_eq!(said(vec![delta(20, 20, change), delta(0, 20, change)]), Ok(()));
        }
        assert_eq!(said(vec![delta(20, 20, "-5"); BALANCES]), Ok(()));
        let refused = said(vec![delta(20, 20, "-5"); BALANCES + 1]).unwrap_err();
        assert!(
            refused.contains("suspects.deltas") && refused.contains("33, and at most 32"),
            "{refused}"
        );
        for (token, holder, field) in [
            (19, 20, "token"),
            (32, 20, "token"),
            (20, 0, "holder"),
            (20, 21, "holder"),
        ] {
            let refused = said(vec![delta(0, 20, "1"), delta(token, holder, "1")]).unwrap_err();
            assert!(refused.contains(&format!("suspects.deltas.{field}")), "{refused}");
        }
        let (below, above) = (format!("{least}0"), U256::MAX.to_string());
        for change in [
            "", "-", "+5", "-0", "007", "1_000", "0x10", "1.5", " 1", "x", &below, &above,
        ] {
            let refused = said(vec![delta(20, 20, change)]).unwrap_err();
            assert!(refused.contains("suspects.deltas.change"), "{change}: {refused}");
        }
    }

    #[test]
    fn as_many_suspects_with_as_many_balances_as_are_taken_fit_a_timeline() {
        let suspect = v1::SuspectTransaction {
            tx_hash: vec![7; 32].into(),
            sender: vec![1; 20].into(),
            target: vec![2; 20].into(),
            value: vec![0xff; 32].into(),
            pre: U256::MAX.to_string(),
            post: U256::MAX.to_string(),
            deltas: vec![delta(20, 20, &I256::MIN.to_string()); BALANCES],
            more_deltas: u64::MAX,
        };
        let full = v1::IncidentTimeline {
            suspects: vec![suspect; SUSPECTS],
            ..timeline()
        };
        assert_eq!(check(&full), Ok(()), "{} bytes", full.encoded_len());
    }

    proptest! {
        #[test]
        fn every_change_is_taken_as_validators_write_it(change in any::<[u8; 32]>()) {
            let change = I256::from_be_bytes(change).to_string();
            prop_assert!(change.len() <= 78);
            prop_assert_eq!(said(vec![delta(20, 20, &change)]), Ok(()));
        }

        #[test]
        fn whatever_is_written_is_a_number_of_256_bits_or_refused(change in "[-+]?[0-9]{0,80}[_x]?[0-9]{0,5}") {
            if said(vec![delta(20, 20, &change)]).is_ok() {
                prop_assert_eq!(I256::from_dec_str(&change).unwrap().to_string(), change);
            }
        }
    }
}
