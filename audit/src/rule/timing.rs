//! When a node claims, reports and completes groups.
//!
//! What always holds: only block time decides; the wall clock says how long to sleep, so that a clock that jumps costs a look and nothing
//! else.

use std::time::Duration;

use super::terms::Terms;

/// How long to wait when the wall clock is ahead of the chain, and after a failure.
pub const AGAIN: Duration = Duration::from_secs(60);

/// The longest sleep: nobody waits for a month on one timer.
pub const LONGEST: Duration = Duration::from_secs(3_600);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is time.
    Act,
    /// Look again after that.
    Sleep(Duration),
}

/// What to do about something that may be done from `date` on. Both clocks in Unix seconds; `block_time` is the latest block's.
pub fn step(date: u64, block_time: u64, wall: u64) -> Step {
    if block_time >= date {
        Step::Act
    } else if wall >= date {
        Step::Sleep(AGAIN)
    } else {
        Step::Sleep(Duration::from_secs(date - wall).min(LONGEST))
    }
}

/// What to do about the verdict on an epoch that began at `start`: `None` when its window has closed. What was sent is asked for nowhere here.
pub fn report(terms: &Terms, start: u64, block_time: u64, wall: u64) -> Option<Step> {
    let window = terms.window(start);
    (block_time < window.end).then(|| step(window.start, block_time, wall))
}

/// Whether a group that is smaller than it could be may be completed.
pub fn may_fill(terms: &Terms, start: u64, block_time: u64) -> bool {
    block_time <= terms.fill_until(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: u64 = 2_000_000;

    #[test]
    fn sk_14_the_chains_clock_decides() {
        assert_eq!(step(DATE, DATE - 1, DATE + 30), Step::Sleep(AGAIN));
        assert_eq!(step(DATE, DATE, DATE - 500), Step::Act);
        assert_eq!(step(DATE, DATE - 10, DATE - 10), Step::Sleep(Duration::from_secs(10)));
    }

    #[test]
    fn sk_16_who_slept_a_month_past_the_date_acts_once_and_then_waits_for_the_next() {
        let now = DATE + 2_592_000;
        assert_eq!(step(DATE, now, now), Step::Act);
        // The claim began the next epoch at the block's time.
        let next = Terms::default().next_reward(now);
        assert_eq!(step(next, now, now), Step::Sleep(LONGEST));
    }

    #[test]
    fn a_wall_clock_that_jumps_causes_no_act() {
        for wall in [0, DATE, u64::MAX] {
            assert!(matches!(step(DATE, DATE - 1, wall), Step::Sleep(pause) if pause <= LONGEST));
        }
    }

    #[test]
    fn verdicts_are_sent_in_their_window() {
        let terms = Terms::default();
        let window = terms.window(1_000);
        let at = |time| report(&terms, 1_000, time, time);
        assert_eq!(at(window.start - 7), Some(Step::Sleep(Duration::from_secs(7))));
        assert_eq!(at(window.start), Some(Step::Act));
        assert_eq!(at(window.end - 1), Some(Step::Act));
        assert_eq!(at(window.end), None);
    }

    #[test]
    fn groups_are_completed_in_the_first_quarter() {
        let terms = Terms::default();
        assert!(may_fill(&terms, 1_000, 1_000 + 647_100));
        assert!(!may_fill(&terms, 1_000, 1_000 + 647_101));
    }
}
