//! What the steps of a probe come to: pure.
//!
//! ```text
//! reach --> health --> head --> challenge
//! ```
//!
//! What always holds: the first step that failed is the reason; a step that could not be taken is neither for nor against the peer;
//! the latency is that of the connection, whatever comes after it.

use std::time::Duration;

use alloy::primitives::B256;

use crate::rule::measure::{Outcome, Row, row};

/// Connections that are tried.
pub const TRIES: usize = 3;

/// How one step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// As it should.
    Passed,
    /// Not taken: it does not apply, or nothing here could tell.
    Skipped(String),
    /// The peer does not do its work.
    Failed(String),
}

/// What was seen of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How long each of the connections took; `None`: it did not come about.
    pub connections: [Option<Duration>; TRIES],
    /// Each step after it, by name, in order.
    pub steps: Vec<(&'static str, Step)>,
}

/// What a probe came to, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What counts.
    pub row: Row,
    /// The step that failed; empty: none.
    pub step: &'static str,
    /// Why.
    pub reason: String,
}

/// The connections as the rule takes them, in microseconds.
fn pings(connections: &[Option<Duration>; TRIES]) -> [Option<u32>; TRIES] {
    connections.map(|made| made.map(|took| u32::try_from(took.as_micros()).unwrap_or(u32::MAX - 1)))
}

/// Whether enough of the connections came about.
#[must_use]
pub fn is_reached(connections: &[Option<Duration>; TRIES]) -> bool {
    row(0, true, &pings(connections), Some(true)).is_some_and(|row| row.outcome == Outcome::Up)
}

/// What was seen at the chain's time `at`.
#[must_use]
pub fn judge(at: u64, seen: &Seen) -> Judged {
    let failed = seen.steps.iter().find_map(|(name, step)| match step {
        Step::Failed(reason) => Some((*name, reason.clone())),
        Step::Passed | Step::Skipped(_) => None,
    });
    let unknown = Row {
        at,
        outcome: Outcome::Unknown,
        latency: None,
    };
    let row = row(at, true, &pings(&seen.connections), Some(failed.is_none())).unwrap_or(unknown);
    let (step, reason) = match failed {
        _ if !is_reached(&seen.connections) => {
            let made = seen.connections.iter().flatten().count();
            ("reach", format!("{made} of {TRIES} connections came about"))
        }
        Some(failed) => failed,
        None => ("", String::new()),
    };
    Judged { row, step, reason }
}

/// What a probe that did not end within `limit` is: nothing is known.
#[must_use]
pub fn hanging(at: u64, limit: Duration) -> Judged {
    Judged {
        row: Row {
            at,
            outcome: Outcome::Unknown,
            latency: None,
        },
        step: "probe",
        reason: format!("no end within {}", humantime::format_duration(limit)),
    }
}

/// A head, by its number and, where it is told, its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// Number.
    pub number: u64,
    /// Hash; `None`: not told.
    pub hash: Option<B256>,
}

/// Blocks at the tip on which two honest nodes may differ for a moment.
const TIP: u64 = 3;

/// Whether a head that a peer claims to be at is fresh: no more than `max_lag` behind our own, no more than that ahead of it, and, where it is deep
/// enough, the block that our own node has there (`own_hash`).
#[must_use]
pub fn freshness(claimed: Claimed, own: u64, own_hash: Option<B256>, max_lag: u64) -> Step {
    if claimed.number.saturating_add(max_lag) < own {
        return Step::Failed(format!(
            "its head {} is {} blocks behind {own}",
            claimed.number,
            own - claimed.number
        ));
    }
    if claimed.number > own.saturating_add(max_lag) {
        // A node of ours that stands still must not be charged to a peer.
        return Step::Skipped(format!(
            "its head {} is far ahead of our own node's {own}",
            claimed.number
        ));
    }
    match (claimed.hash, own_hash) {
        (Some(theirs), Some(ours)) if theirs != ours && claimed.number.saturating_add(TIP) <= own => Step::Failed(
            format!("its head {} is {theirs}, which is not on the chain", claimed.number),
        ),
        _ => Step::Passed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn seen(connections: [Option<Duration>; TRIES], steps: Vec<(&'static str, Step)>) -> Judged {
        judge(9, &Seen { connections, steps })
    }

    #[test]
    fn sk_05_two_of_three_lost_is_down_without_latency_and_one_of_three_is_up() {
        let down = seen([None, Some(MS), None], vec![("health", Step::Passed)]);
        assert_eq!(
            (down.row.outcome, down.row.latency, down.step),
            (Outcome::Down, None, "reach")
        );
        let up = seen([Some(MS), None, Some(3 * MS)], vec![("health", Step::Passed)]);
        assert_eq!(
            (up.row.outcome, up.row.latency, up.step),
            (Outcome::Up, Some(2_000), "")
        );
        assert_eq!(up.row.at, 9);
    }

    #[test]
    fn the_latency_of_the_connection_is_kept_when_a_later_step_fails() {
        let failed = Step::Failed("NOT_SERVING".to_owned());
        let down = seen([Some(MS); 3], vec![("health", failed), ("head", Step::Passed)]);
        assert_eq!(
            (down.row.outcome, down.row.latency, down.step, down.reason.as_str()),
            (Outcome::Down, Some(1_000), "health", "NOT_SERVING")
        );
    }

    #[test]
    fn what_could_not_be_asked_is_not_held_against_a_peer() {
        let up = seen([Some(MS); 3], vec![("head", Step::Skipped("no own node".to_owned()))]);
        assert_eq!(up.row.outcome, Outcome::Up);
    }

    #[test]
    fn sk_20_a_probe_without_an_end_is_unknown() {
        assert_eq!(hanging(9, Duration::from_secs(55)).row.outcome, Outcome::Unknown);
    }

    #[test]
    fn a_head_may_lag_lead_a_little_and_must_be_the_chains() {
        let (ours, other) = (B256::repeat_byte(1), B256::repeat_byte(2));
        let at = |number, hash| Claimed { number, hash };
        let is = |claimed, own_hash| freshness(claimed, 100, own_hash, 5);
        assert_eq!(is(at(95, None), None), Step::Passed);
        assert!(matches!(is(at(94, None), None), Step::Failed(_)));
        assert_eq!(is(at(105, None), None), Step::Passed);
        assert!(matches!(is(at(106, None), None), Step::Skipped(_)));
        assert_eq!(is(at(97, Some(ours)), Some(ours)), Step::Passed);
        assert!(matches!(is(at(97, Some(other)), Some(ours)), Step::Failed(_)));
        assert_eq!(
            is(at(98, Some(other)), Some(ours)),
            Step::Passed,
            "a reorganisation at the tip"
        );
        assert_eq!(
            is(at(97, Some(other)), None),
            Step::Passed,
            "our own node does not know it"
        );
    }

    proptest! {
        #[test]
        fn a_peer_is_up_only_with_two_connections_and_no_failed_step(
            made in prop::array::uniform3(prop::option::of(1_u64..10_000)), failed in prop::collection::vec(any::<bool>(), 0..4)
        ) {
            let connections = made.map(|us| us.map(Duration::from_micros));
            let steps = failed.iter().map(|bad| ("s", if *bad { Step::Failed("x".into()) } else { Step::Passed })).collect();
            let judged = seen(connections, steps);
            let reached = made.iter().flatten().count() >= 2;
            prop_assert_eq!(judged.row.outcome == Outcome::Up, reached && !failed.contains(&true));
            prop_assert_eq!(judged.row.latency.is_some(), reached);
            prop_assert_eq!(judged.step.is_empty(), judged.row.outcome == Outcome::Up);
        }
    }
}
