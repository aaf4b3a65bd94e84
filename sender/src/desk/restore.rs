//! A desk taken up again: what the journal knows of its nonces and requests, after a restart.
//!
//! What always holds: what was sent before is known as sent; what a reorganisation may have undone meanwhile is looked for again.

use std::sync::PoisonError;
use std::time::Instant;

use super::slot::{Attempt, Job, Slot};
use super::{Desk, Registry, highest};
use crate::fees::Fees;
use crate::journal::{StoredAttempt, StoredJob};
use crate::lane::Lane;
use crate::machine::State;
use crate::plan::{Holder, JobId, Line};

impl Desk {
    pub(super) fn restore(&mut self, stored: StoredAttempt) {
        let holder = stored.job.map_or(Holder::Cancel, Holder::Job);
        let line = self.line(holder, stored.job, stored.fees, stored.block);
        let slot = self
            .slots
            .entry(stored.nonce)
            .or_insert_with(|| Slot::new(line.clone()));
        let (since, top) = (slot.line.since, slot.line.top);
        let lane = slot.line.lane.max(line.lane);
        slot.line = Line {
            since,
            top: highest(&top, &stored.fees),
            ..line
        };
        if holder == Holder::Cancel {
            slot.line.lane = lane;
        }
        // Whether it was published is not known any more: it is the relay's again, until as many blocks have passed.
        let relay = self.setup.relay.as_ref();
        let private = stored.job.is_some() && relay.is_some_and(|relay| relay.lanes.contains(&slot.line.lane));
        slot.line.private_since = private.then_some(stored.block);
        let mut attempt = Attempt::new(stored.job, stored.hash, stored.raw, stored.fees);
        attempt.again = Some(Instant::now());
        slot.attempts.push(attempt);
    }

    /// What the journal calls included may have been reorganised away meanwhile; it is found again where it was not. A
    /// failed request's nonce is free.
    pub(super) fn put_back(&mut self) {
        for (nonce, slot) in &mut self.slots {
            if let Holder::Job(id) = slot.line.holder {
                let ended = self.jobs.get(&id).is_none_or(|job| job.state.is_end());
                if ended {
                    slot.line.holder = Holder::Vacant;
                }
            }
            for id in slot.jobs() {
                let Some(job) = self.jobs.get_mut(&id) else { continue };
                job.first_block = job.first_block.or(Some(slot.line.since));
                let newest = slot.attempts.iter().rev().find(|attempt| attempt.job == Some(id));
                let fees = newest.map_or(slot.line.top, |attempt| attempt.fees);
                job.transaction = newest.map(|attempt| attempt.hash);
                if let State::Included(inclusion) = &job.state
                    && inclusion.nonce == *nonce
                {
                    job.state = State::Broadcast { nonce: *nonce, fees };
                    slot.line.holder = Holder::Job(id);
                }
            }
        }
        self.jobs.retain(|_, job| !job.state.is_end());
    }

    pub(super) fn line(&self, holder: Holder, job: Option<JobId>, fees: Fees, block: u64) -> Line {
        let Some(job) = job.and_then(|id| self.jobs.get(&id)) else {
            return Line::new(holder, Lane::Report, fees, block);
        };
        let request = &job.request;
        Line {
            cap: request.max_fee_cap,
            beat: request.beat,
            behind: request.behind,
            deadline: request.deadline,
            ..Line::new(holder, request.lane, fees, block)
        }
    }
}

/// A stored request, made live.
pub(crate) fn revive(stored: StoredJob, registry: &Registry) -> Job {
    let key = stored.request.key.clone();
    let ended = stored.state.is_end();
    let (job, receiver) = Job::new(stored, None);
    if !ended {
        registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, receiver);
    }
    job
}
