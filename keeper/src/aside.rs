//! Jobs that fail again and again are set aside, until anything about them changes.
//!
//! Pure. Each stage has its own counter of consecutive failures; the sixth of a stage (by default) sets the job aside. What
//! always holds: a failure that is not the job's own fault ([`Blame::Nobody`]) never counts; any change of the job (its
//! configuration, its credits, an execution by anybody) brings it back with all counters at zero.

use std::collections::HashMap;

use alloy::primitives::B256;

/// Where a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its resolver gave nothing that could be read.
    Resolve,
    /// Executing it, in simulation or on the chain.
    Execute,
    /// Announcing that its keeper is late.
    Slash,
}

impl Stage {
    /// The name in metrics and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Execute => "execute",
            Self::Slash => "slash",
        }
    }
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The job's: it counts.
    Job,
    /// The network's, the account's, or another keeper's who was faster: it does not count.
    Nobody,
}

/// What failed, of one job.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// Consecutive failures to resolve.
    pub resolve: u32,
    /// Consecutive failures to execute.
    pub execute: u32,
    /// Consecutive failures to announce a slashing.
    pub slash: u32,
    /// The newest reason.
    pub reason: String,
}

impl Record {
    fn counter(&mut self, stage: Stage) -> &mut u32 {
        match stage {
            Stage::Resolve => &mut self.resolve,
            Stage::Execute => &mut self.execute,
            Stage::Slash => &mut self.slash,
        }
    }

    /// The highest counter.
    #[must_use]
    pub fn worst(&self) -> u32 {
        self.resolve.max(self.execute).max(self.slash)
    }
}

/// The longest reason that is kept, in characters.
const MOST_REASON: usize = 300;

/// Which jobs fail, and which are set aside.
#[derive(Debug, Clone)]
pub struct Aside {
    /// So many consecutive failures are forgiven.
    limit: u32,
    jobs: HashMap<B256, Record>,
}

impl Aside {
    /// With what was remembered of an earlier run.
    #[must_use]
    pub fn new(limit: u32, remembered: impl IntoIterator<Item = (B256, Record)>) -> Self {
        Self {
            limit,
            jobs: remembered.into_iter().collect(),
        }
    }

    /// A failure. Gives the record where it changed; the job is set aside from now on when its [`Record::worst`] is above the limit.
    pub fn failed(&mut self, job: B256, stage: Stage, blame: Blame, reason: &str) -> Option<&Record> {
        if blame == Blame::Nobody {
            return None;
        }
        let record = self.jobs.entry(job).or_default();
        let counter = record.counter(stage);
        *counter = counter.saturating_add(1);
        record.reason = reason.chars().take(MOST_REASON).collect();
        Some(record)
    }

    /// This stage went well; true when that changed the record.
    pub fn succeeded(&mut self, job: B256, stage: Stage) -> bool {
        let Some(record) = self.jobs.get_mut(&job) else {
            return false;
        };
        let counter = record.counter(stage);
        let changed = *counter > 0;
        *counter = 0;
        if record.worst() == 0 {
            self.jobs.remove(&job);
        }
        changed
    }

    /// Something about the job changed: it starts anew. True when it had failed before.
    pub fn changed(&mut self, job: B256) -> bool {
        self.jobs.remove(&job).is_some()
    }

    /// Whether it is set aside.
    #[must_use]
    pub fn is_aside(&self, job: &B256) -> bool {
        self.jobs.get(job).is_some_and(|record| record.worst() > self.limit)
    }

    /// What failed of it.
    #[must_use]
    pub fn record(&self, job: &B256) -> Option<&Record> {
        self.jobs.get(job)
    }

    /// How many are set aside.
    #[must_use]
    pub fn count(&self) -> usize {
        self.jobs.values().filter(|record| record.worst() > self.limit).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: B256 = B256::repeat_byte(1);

    #[test]
    fn the_sixth_failure_in_a_row_sets_a_job_aside_and_any_change_brings_it_back() {
        let mut aside = Aside::new(5, []);
        for _ in 0..5 {
            aside.failed(JOB, Stage::Execute, Blame::Job, "reverted");
            assert!(!aside.is_aside(&JOB));
        }
        aside.failed(JOB, Stage::Execute, Blame::Job, "reverted");
        assert!(aside.is_aside(&JOB));
        assert_eq!(aside.count(), 1);
        assert!(aside.changed(JOB));
        assert!(!aside.is_aside(&JOB) && aside.record(&JOB).is_none());
    }

    #[test]
    fn counters_are_apart_and_a_success_clears_its_own() {
        let mut aside = Aside::new(5, []);
        for _ in 0..5 {
            aside.failed(JOB, Stage::Execute, Blame::Job, "reverted");
            aside.failed(JOB, Stage::Resolve, Blame::Job, "garbage");
        }
        assert!(aside.succeeded(JOB, Stage::Resolve));
        aside.failed(JOB, Stage::Resolve, Blame::Job, "garbage");
        assert!(!aside.is_aside(&JOB));
        aside.failed(JOB, Stage::Execute, Blame::Job, "reverted");
        assert!(aside.is_aside(&JOB));
    }

    #[test]
    fn what_is_nobodys_fault_never_counts() {
        let mut aside = Aside::new(5, []);
        for _ in 0..100 {
            assert_eq!(
                aside.failed(JOB, Stage::Slash, Blame::Nobody, "OnlyCurrentSlasher"),
                None
            );
        }
        assert!(!aside.is_aside(&JOB));
    }

    #[test]
    fn what_was_remembered_is_still_aside() {
        let record = Record {
            execute: 6,
            ..Record::default()
        };
        assert!(Aside::new(5, [(JOB, record)]).is_aside(&JOB));
    }
}
