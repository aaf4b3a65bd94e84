//! How long a resolver has been saying yes: an answer of one block may be gone in the next.
//!
//! Pure. A job is acted on after so many consecutive heads; a defence job after the first. What always holds: a no or an
//! unreadable answer starts the count anew, a head that was undone too; an unknown answer neither counts nor resets.

use std::collections::HashMap;

use alloy::primitives::B256;

/// The heads in a row at which a job was ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streak {
    /// How many.
    pub heads: u32,
    /// Time of the first one, Unix seconds: what waits for the keeper to act is counted from here.
    pub since: u64,
    /// Number of the newest one.
    pub newest: u64,
}

/// Streaks of all jobs that are ready.
#[derive(Debug, Clone, Default)]
pub struct Streaks {
    jobs: HashMap<B256, Streak>,
}

impl Streaks {
    /// The resolver said yes at this head.
    pub fn ready(&mut self, job: B256, head: u64, timestamp: u64) -> Streak {
        let streak = self.jobs.entry(job).or_insert(Streak {
            heads: 0,
            since: timestamp,
            newest: 0,
        });
        if streak.heads > 0 && head <= streak.newest {
            // The same height again: another block took its place.
            *streak = Streak {
                heads: 0,
                since: timestamp,
                newest: 0,
            };
        }
        streak.heads = streak.heads.saturating_add(1);
        streak.newest = head;
        *streak
    }

    /// It said no, or nothing that could be read, or was executed.
    pub fn broken(&mut self, job: &B256) {
        self.jobs.remove(job);
    }

    /// The job's streak.
    #[must_use]
    pub fn of(&self, job: &B256) -> Option<Streak> {
        self.jobs.get(job).copied()
    }

    /// Heads above this one were undone.
    pub fn undo(&mut self, above: u64) {
        self.jobs.retain(|_, streak| streak.newest <= above);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: B256 = B256::repeat_byte(1);

    #[test]
    fn two_yes_and_a_no_are_nothing_and_three_yes_are_three() {
        let mut streaks = Streaks::default();
        streaks.ready(JOB, 10, 100);
        assert_eq!(streaks.ready(JOB, 11, 112).heads, 2);
        streaks.broken(&JOB);
        streaks.ready(JOB, 13, 136);
        streaks.ready(JOB, 14, 148);
        let streak = streaks.ready(JOB, 15, 160);
        assert_eq!((streak.heads, streak.since), (3, 136));
    }

    #[test]
    fn a_block_in_place_of_another_starts_anew() {
        let mut streaks = Streaks::default();
        streaks.ready(JOB, 10, 100);
        streaks.ready(JOB, 11, 112);
        assert_eq!(streaks.ready(JOB, 11, 113).heads, 1);
        streaks.ready(JOB, 12, 124);
        streaks.undo(11);
        assert_eq!(streaks.of(&JOB), None);
    }
}
