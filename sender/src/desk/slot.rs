//! What a key's desk knows of each nonce in flight and of each unfinished request.

use std::time::Instant;

use alloy::primitives::{Address, B256, Bytes};
use tokio::sync::watch;

use crate::fees::Fees;
use crate::journal::{Change, StoredJob};
use crate::machine::{Failure, Inclusion, State};
use crate::plan::{Holder, JobId, Line};
use crate::request::{Request, Status, Timing};
use crate::verdict::Verdict;

/// A signed transaction.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) job: Option<JobId>,
    pub(crate) hash: B256,
    pub(crate) raw: Bytes,
    pub(crate) fees: Fees,
    /// An endpoint has it.
    pub(crate) accepted: bool,
    /// Endpoints that have not answered yet.
    pub(crate) awaited: usize,
    /// What the others answered, in this round.
    pub(crate) verdicts: Vec<Verdict>,
    /// When it is sent again, after nobody took it.
    pub(crate) again: Option<Instant>,
    /// How often it was sent.
    pub(crate) rounds: u32,
}

impl Attempt {
    pub(crate) const fn new(job: Option<JobId>, hash: B256, raw: Bytes, fees: Fees) -> Self {
        Self {
            job,
            hash,
            raw,
            fees,
            accepted: false,
            awaited: 0,
            verdicts: Vec::new(),
            again: None,
            rounds: 0,
        }
    }
}

/// A nonce in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) line: Line,
    /// Oldest first.
    pub(crate) attempts: Vec<Attempt>,
    /// The transaction that is in a block, where one of ours is.
    pub(crate) mined: Option<Inclusion>,
    /// The block at which the nonce was first seen used by a transaction that is none of ours.
    pub(crate) foreign_since: Option<u64>,
}

impl Slot {
    pub(crate) const fn new(line: Line) -> Self {
        Self {
            line,
            attempts: Vec::new(),
            mined: None,
            foreign_since: None,
        }
    }

    /// The newest transaction of what the nonce carries now.
    pub(crate) fn newest(&mut self) -> Option<&mut Attempt> {
        let job = match self.line.holder {
            Holder::Job(job) => Some(job),
            Holder::Cancel => None,
            Holder::Vacant => return None,
        };
        self.attempts.iter_mut().rev().find(|attempt| attempt.job == job)
    }

    pub(crate) fn attempt(&mut self, hash: B256) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.hash == hash)
    }

    /// The requests that have a transaction here, each once.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        let mut jobs: Vec<JobId> = self.attempts.iter().filter_map(|attempt| attempt.job).collect();
        if let Holder::Job(job) = self.line.holder {
            jobs.push(job);
        }
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    }
}

/// An unfinished request.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) request: Request,
    pub(crate) state: State,
    pub(crate) withdrawn: Option<Failure>,
    pub(crate) gas: Option<u64>,
    pub(crate) bumps: u32,
    /// When it was submitted; `None` after a restart.
    pub(crate) submitted: Option<Instant>,
    /// The block at which it was first sent.
    pub(crate) first_block: Option<u64>,
    /// An estimate is under way, or is tried again at that time.
    pub(crate) estimating: bool,
    pub(crate) estimate_again: Option<Instant>,
    pub(crate) transaction: Option<B256>,
    pub(crate) capped: bool,
    pub(crate) ahead: bool,
    pub(crate) private: bool,
    pub(crate) note: Option<String>,
    pub(crate) timing: Timing,
    pub(crate) status: watch::Sender<Status>,
}

impl Job {
    pub(crate) fn new(stored: StoredJob, submitted: Option<Instant>) -> (Self, watch::Receiver<Status>) {
        let (status, receiver) = watch::channel(status_of(&stored));
        let stored_after = submitted.map(|at| at.elapsed());
        let job = Self {
            id: stored.id,
            request: stored.request,
            state: stored.state,
            withdrawn: stored.withdrawn,
            gas: stored.gas,
            bumps: stored.bumps,
            submitted,
            first_block: None,
            estimating: false,
            estimate_again: None,
            transaction: None,
            capped: false,
            ahead: true,
            private: false,
            note: None,
            timing: Timing {
                stored: stored_after,
                ..Timing::default()
            },
            status,
        };
        (job, receiver)
    }

    /// What the journal is told of it.
    pub(crate) fn change(&self) -> Change {
        Change::Job {
            id: self.id,
            state: self.state.clone(),
            withdrawn: self.withdrawn.clone(),
            gas: self.gas,
            bumps: self.bumps,
        }
    }

    /// What the watchers are told of it.
    pub(crate) fn publish(&self, account: Address) {
        self.status.send_replace(Status {
            key: self.request.key.clone(),
            lane: self.request.lane,
            account,
            state: self.state.clone(),
            transaction: self.transaction,
            bumps: self.bumps,
            capped: self.capped,
            ahead: self.ahead,
            private: self.private,
            note: self.note.clone(),
            timing: self.timing,
        });
    }
}

/// The status of a request as the journal knows it.
pub(crate) fn status_of(stored: &StoredJob) -> Status {
    Status {
        key: stored.request.key.clone(),
        lane: stored.request.lane,
        account: stored.account,
        transaction: match &stored.state {
            State::Included(inclusion) | State::Final(inclusion) => Some(inclusion.transaction),
            _ => None,
        },
        state: stored.state.clone(),
        bumps: stored.bumps,
        capped: false,
        ahead: true,
        private: false,
        note: None,
        timing: Timing::default(),
    }
}
