//! Confirmed violations, as the report tells them.

use alloy::primitives::{Address, B256, U256};
use protos::v1;
use protos::{DecodeError, fixed, required};
use serde::{Deserialize, Serialize};
use validator::pause::timing::Latency;

/// A confirmed violation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Name of the invariant.
    pub invariant: String,
    /// Its id in the registry.
    pub invariant_id: u64,
    /// The contract that it speaks of.
    pub contract: Address,
    /// Hash of the transaction.
    pub tx: B256,
    /// Who sent it.
    pub sender: Address,
    /// The invariant's value before the transaction (two's complement for signed types); of an expression 1: it held.
    pub pre: U256,
    /// And after it.
    pub post: U256,
    /// Of an expression: what each of its terms says before and after.
    #[serde(default)]
    pub readings: Vec<Reading>,
    /// The hash of the whole witness, the same on every machine.
    pub witness_digest: B256,
    /// Validators that confirmed it.
    pub confirmations: u32,
    /// Milliseconds from a validator's reading it to its own engine's confirmation: the first reporter's.
    pub seen_to_confirmed_ms: f64,
    /// Milliseconds from a validator's reading it to a node's taking the transaction that pauses; `null` where nobody paused.
    #[serde(default)]
    pub seen_to_broadcast_ms: Option<f64>,
    /// Reported before its block, or not included by the end of the recording.
    pub confirmed_before_inclusion: bool,
    /// Milliseconds from the report to the inclusion, negative when it was late; `null` when not included.
    pub ms_before_inclusion: Option<i64>,
}

/// A term of an expression, and what it says; empty where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// As the invariant's author called it.
    pub what: String,
    /// Before the transaction.
    pub pre: String,
    /// And after it.
    pub post: String,
}

/// An incident of the platform's, in the report's terms.
pub(crate) fn incident(raw: &v1::Incident) -> Result<Incident, DecodeError> {
    let witness = required("incident.witness", raw.witness.as_ref())?;
    let included = (raw.included_at_ms > 0).then_some(raw.included_at_ms);
    let reading = |reading: &v1::Reading| Reading {
        what: reading.label.clone(),
        pre: reading.pre.clone(),
        post: reading.post.clone(),
    };
    let ahead = included.map(|at| signed_difference(at, raw.reported_at_ms));
    Ok(Incident {
        invariant: raw.invariant_name.clone(),
        invariant_id: raw.invariant_id,
        contract: Address::new(fixed("incident.contract", &raw.contract)?),
        tx: B256::new(fixed("incident.tx_hash", &raw.tx_hash)?),
        sender: Address::new(fixed("incident.tx_sender", &raw.tx_sender)?),
        pre: U256::from_be_bytes(fixed::<32>("incident.witness.pre", &witness.pre)?),
        post: U256::from_be_bytes(fixed::<32>("incident.witness.post", &witness.post)?),
        readings: witness.readings.iter().map(reading).collect(),
        witness_digest: B256::new(fixed("incident.witness.digest", &witness.digest)?),
        confirmations: raw.confirmations,
        seen_to_confirmed_ms: raw.seen_to_confirmed_us as f64 / 1_000.0,
        seen_to_broadcast_ms: broadcast(raw),
        confirmed_before_inclusion: ahead.is_none_or(|ms| ms > 0),
        ms_before_inclusion: ahead,
    })
}

/// The first validator's way to its pause, as its timeline tells.
fn broadcast(raw: &v1::Incident) -> Option<f64> {
    let moments = raw.timelines.iter().flat_map(|timeline| &timeline.timeline);
    let latencies = moments.filter_map(|moment| Latency::read(&moment.detail));
    let least = latencies.map(|latency| latency.total).min()?;
    Some(least.as_secs_f64() * 1_000.0)
}

fn signed_difference(later: u64, earlier: u64) -> i64 {
    i64::try_from(i128::from(later) - i128::from(earlier)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::tests::attack;
    use super::*;

    #[test]
    fn an_incident_says_how_long_before_its_block_it_was_confirmed() {
        let found = incident(&attack()).unwrap();
        assert_eq!(
            (found.ms_before_inclusion, found.confirmed_before_inclusion),
            (Some(640), true)
        );
        assert!((found.seen_to_confirmed_ms - 12.345).abs() < 1e-9);

        let late = incident(&v1::Incident {
            included_at_ms: 10_000,
            ..attack()
        })
        .unwrap();
        assert_eq!(
            (late.ms_before_inclusion, late.confirmed_before_inclusion),
            (Some(-20), false)
        );
        let open = incident(&v1::Incident {
            included_at_ms: 0,
            ..attack()
        })
        .unwrap();
        assert_eq!(
            (open.ms_before_inclusion, open.confirmed_before_inclusion),
            (None, true)
        );
    }

    #[test]
    fn of_all_validators_the_first_to_broadcast_a_pause_counts() {
        let timeline = |us: u64| v1::IncidentTimeline {
            timeline: vec![v1::TimelineMoment {
                moment: "broadcast".to_owned(),
                detail: format!("0x1 seen_to_broadcast_us={us} network_us=1 engine_us=1 signing_us=1 storage_us=1"),
                ..Default::default()
            }],
            ..Default::default()
        };
        let found = incident(&v1::Incident {
            timelines: vec![timeline(40_500), timeline(20_250)],
            ..attack()
        })
        .unwrap();
        assert_eq!(found.seen_to_broadcast_ms, Some(20.25));
        assert_eq!(incident(&attack()).unwrap().seen_to_broadcast_ms, None);
    }

    #[test]
    fn a_malformed_incident_is_named() {
        let error = incident(&v1::Incident {
            contract: vec![1].into(),
            ..attack()
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains("incident.contract"), "{error}");
    }
}
