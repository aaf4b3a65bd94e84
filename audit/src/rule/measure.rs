//! From probes to rows, and from rows to what one auditor says of one peer in one epoch.
//!
//! What always holds: what was not measured is unknown, never up; who is offline itself writes nothing; how often somebody samples does not
//! change what an outage counts.

use std::collections::BTreeMap;

use super::terms::Terms;

/// The latency of a peer that never answered.
pub const NO_LATENCY: u32 = u32::MAX;

/// How a peer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It serves.
    Up,
    /// It does not.
    Down,
    /// The probe gave no answer to that: it hung, or the auditor was busy.
    Unknown,
}

/// One measurement of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Unix seconds.
    pub at: u64,
    /// How it was found.
    pub outcome: Outcome,
    /// Microseconds, where it answered; it may have answered and not serve.
    pub latency: Option<u32>,
}

/// The row of one measurement: `None` when the auditor's own connection is down. `pings` are the answers of the reachability probes in
/// microseconds; `serves` is what the probes of the service say, `None` where they did not end in time.
///
/// A peer is down when more than a third of the pings is lost, or it does not serve.
pub fn row(at: u64, reference: bool, pings: &[Option<u32>], serves: Option<bool>) -> Option<Row> {
    if !reference {
        return None;
    }
    let answers: Vec<u32> = pings.iter().flatten().copied().collect();
    let lost = pings.len() - answers.len();
    let reachable = !answers.is_empty() && lost * 3 <= pings.len();
    Some(Row {
        at,
        outcome: match (reachable, serves) {
            (false, _) | (true, Some(false)) => Outcome::Down,
            (true, Some(true)) => Outcome::Up,
            (true, None) => Outcome::Unknown,
        },
        latency: if reachable { mean(&answers) } else { None },
    })
}

/// What one auditor measured of one peer in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Intervals in which it did not serve.
    pub failed: u32,
    /// Intervals in which the auditor measured at all.
    pub known: u32,
    /// The average of all answered probes, in microseconds; `None` when none was answered.
    pub latency: Option<u32>,
}

impl Measured {
    /// The latency as a verdict says it.
    pub fn verdict_latency(&self) -> u32 {
        self.latency.unwrap_or(NO_LATENCY)
    }

    /// The known part of all intervals, from 0 to 1.
    pub fn coverage(&self, terms: &Terms) -> f64 {
        f64::from(self.known) / f64::from(terms.intervals().max(1))
    }
}

/// Sums up the rows of an epoch that began at `start`; others are passed over. An interval is down when at least half of what is known of
/// it is.
pub fn aggregate(terms: &Terms, start: u64, rows: impl IntoIterator<Item = Row>) -> Measured {
    let mut intervals: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut latencies = Vec::new();
    for row in rows {
        let Some(interval) = row
            .at
            .checked_sub(start)
            .and_then(|since| since.checked_div(terms.check_time.into()))
            .filter(|interval| *interval < u64::from(terms.intervals()))
        else {
            continue;
        };
        latencies.extend(row.latency);
        let down = match row.outcome {
            Outcome::Unknown => continue,
            Outcome::Up => 0,
            Outcome::Down => 1,
        };
        let (known, failed) = intervals.entry(interval).or_default();
        *known += 1;
        *failed += down;
    }
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Measured {
        failed: count(
            intervals
                .values()
                .filter(|(known, failed)| failed * 2 >= *known)
                .count(),
        ),
        known: count(intervals.len()),
        latency: mean(&latencies),
    }
}

/// Rounded down; less than [`NO_LATENCY`].
fn mean(values: &[u32]) -> Option<u32> {
    let sum: u64 = values.iter().map(|value| u64::from(*value)).sum();
    let mean = sum.checked_div(values.len() as u64)?;
    Some(u32::try_from(mean).unwrap_or(NO_LATENCY).min(NO_LATENCY - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(interval: u64, outcome: Outcome, latency: Option<u32>) -> Row {
        Row {
            at: 1_000 + interval * 300,
            outcome,
            latency,
        }
    }

    #[test]
    fn sk_04_who_is_offline_itself_writes_nothing() {
        assert_eq!(row(1, false, &[None, None, None], Some(false)), None);
        assert_eq!(row(1, false, &[Some(5)], Some(true)), None);
    }

    #[test]
    fn sk_05_two_lost_of_three_are_offline_and_one_is_not() {
        let found = |pings: &[Option<u32>]| row(1, true, pings, Some(true)).map(|row| (row.outcome, row.latency));
        assert_eq!(found(&[Some(90), None, None]), Some((Outcome::Down, None)));
        assert_eq!(found(&[Some(90), None, Some(100)]), Some((Outcome::Up, Some(95))));
        assert_eq!(found(&[None, None, None]), Some((Outcome::Down, None)));
        assert_eq!(found(&[]), Some((Outcome::Down, None)));
    }

    #[test]
    fn a_peer_that_answers_and_does_not_serve_is_down_and_keeps_its_latency() {
        let row = row(1, true, &[Some(90)], Some(false)).unwrap();
        assert_eq!((row.outcome, row.latency), (Outcome::Down, Some(90)));
    }

    #[test]
    fn sk_20_a_probe_that_hangs_is_unknown() {
        let hanging = row(1_000, true, &[Some(90)], None).unwrap();
        assert_eq!(hanging.outcome, Outcome::Unknown);
        let measured = aggregate(&Terms::default(), 1_000, [hanging]);
        assert_eq!((measured.failed, measured.known), (0, 0));
    }

    #[test]
    fn sk_06_failures_are_counted_and_only_answers_have_a_latency() {
        let rows = [
            at(0, Outcome::Up, Some(100)),
            at(1, Outcome::Up, Some(200)),
            at(2, Outcome::Down, None),
        ];
        let measured = aggregate(&Terms::default(), 1_000, rows);
        assert_eq!((measured.failed, measured.known, measured.latency), (1, 3, Some(150)));
    }

    #[test]
    fn sk_07_nothing_measured_is_not_uptime() {
        let measured = aggregate(&Terms::default(), 1_000, []);
        assert_eq!((measured.failed, measured.known, measured.latency), (0, 0, None));
        assert_eq!(measured.verdict_latency(), NO_LATENCY);
        assert!(measured.coverage(&Terms::default()) == 0.0);
        assert!(!Terms::default().covers(measured.known));
    }

    #[test]
    fn rows_outside_the_epoch_do_not_count() {
        let terms = Terms::default();
        let rows = [999, 1_000 + u64::from(terms.intervals()) * 300].map(|at| Row {
            at,
            outcome: Outcome::Down,
            latency: Some(1),
        });
        assert_eq!(aggregate(&terms, 1_000, rows).known, 0);
    }

    proptest! {
        /// W-SK-4: the same outage counts the same, whether it is sampled every five minutes or every twenty seconds.
        #[test]
        fn sampling_more_often_changes_nothing(down_from in 0_u64..500, down_for in 0_u64..200, period in prop::sample::select(vec![20_u64, 60, 100, 300])) {
            let terms = Terms::default();
            let outage = down_from * 300..(down_from + down_for) * 300;
            let rows = (0..800 * 300).step_by(usize::try_from(period).unwrap()).map(|since| Row {
                at: 1_000 + since,
                outcome: if outage.contains(&since) { Outcome::Down } else { Outcome::Up },
                latency: None,
            });
            let measured = aggregate(&terms, 1_000, rows);
            prop_assert_eq!((u64::from(measured.failed), measured.known), (down_for, 800));
        }
    }
}
