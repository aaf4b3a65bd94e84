//! What the chain says of the nonces in flight: included, reorganised, final, or used by somebody else.

use std::time::Instant;

use super::Desk;
use super::look::Looked;
use crate::journal::{Change, JournalError};
use crate::machine::{Event, Inclusion, State};
use crate::plan::{Holder, JobId};

impl Desk {
    pub(super) async fn settle(&mut self, looked: Looked) -> Result<(), JournalError> {
        let (head, mined) = (looked.head.number, looked.mined);
        let found = looked.found.clone();
        let advanced = self.seen.as_ref().is_none_or(|seen| seen.head.hash != looked.head.hash);
        self.seen = Some(looked);
        let mut changes = Vec::new();
        let waiting: Vec<u64> = self.slots.keys().copied().filter(|nonce| *nonce >= mined).collect();
        for nonce in waiting {
            self.unmined(nonce, &mut changes);
        }
        let mut asked = Vec::new();
        for (nonce, inclusion) in found {
            asked.push(nonce);
            match inclusion {
                Some(inclusion) => self.included(nonce, &inclusion, head, &mut changes),
                None => self.used_by_another(nonce, head, &mut changes),
            }
        }
        if self
            .slots
            .range(..mined)
            .any(|(nonce, slot)| !asked.contains(nonce) && slot.mined.is_none())
        {
            // Sent while we looked, and mined already.
            self.doubt = advanced;
        }
        self.setup.journal.write(&changes).await?;
        self.forget_ended();
        Ok(())
    }

    /// A nonce that the chain has not used; if it had, a reorganisation undid it.
    fn unmined(&mut self, nonce: u64, changes: &mut Vec<Change>) {
        let Some(slot) = self.slots.get_mut(&nonce) else { return };
        slot.foreign_since = None;
        let Some(inclusion) = slot.mined.take() else { return };
        metrics::counter!("sender_reorgs_total").increment(1);
        tracing::warn!(
            nonce,
            block = inclusion.block,
            "a reorganisation undid an inclusion: the transaction is sent again"
        );
        if let Some(attempt) = slot.newest() {
            attempt.accepted = false;
            attempt.again = Some(Instant::now());
            let (job, fees) = (attempt.job, attempt.fees);
            if let Some(id) = job {
                self.happen(id, Event::Reorged { fees }, changes);
            }
        }
        self.retry();
    }

    fn included(&mut self, nonce: u64, inclusion: &Inclusion, head: u64, changes: &mut Vec<Change>) {
        let Some(slot) = self.slots.get_mut(&nonce) else { return };
        slot.foreign_since = None;
        let winner = slot.attempt(inclusion.transaction).and_then(|attempt| attempt.job);
        let deep = head.saturating_sub(inclusion.block).saturating_add(1) >= self.setup.confirmations;
        let before = slot.mined.replace(inclusion.clone());
        if before.as_ref() != Some(inclusion) {
            let losers: Vec<JobId> = slot.jobs().into_iter().filter(|id| Some(*id) != winner).collect();
            slot.line.holder = winner.map_or(Holder::Cancel, Holder::Job);
            if let Some(before) = before.filter(|before| before.transaction != inclusion.transaction) {
                self.undone(nonce, &before, changes);
            }
            if let Some(id) = winner {
                self.won(id, nonce, inclusion, changes);
            }
            for id in losers {
                let hurries = self.jobs.get(&id).is_some_and(|job| {
                    job.request.lane.hurries() && job.withdrawn.is_none() && holds(&job.state, nonce)
                });
                if hurries {
                    self.happen(id, Event::Released, changes);
                }
            }
        }
        if deep {
            self.end(nonce, winner, changes);
        }
    }

    /// Another of our transactions is at the nonce now: a reorganisation changed which.
    fn undone(&mut self, nonce: u64, before: &Inclusion, changes: &mut Vec<Change>) {
        metrics::counter!("sender_reorgs_total").increment(1);
        let Some((loser, fees)) = self
            .slots
            .get_mut(&nonce)
            .and_then(|slot| slot.attempt(before.transaction))
            .and_then(|attempt| attempt.job.map(|job| (job, attempt.fees)))
        else {
            return;
        };
        self.happen(loser, Event::Reorged { fees }, changes);
        self.happen(loser, Event::Displaced, changes);
    }

    fn won(&mut self, id: JobId, nonce: u64, inclusion: &Inclusion, changes: &mut Vec<Change>) {
        let elsewhere = self
            .jobs
            .get(&id)
            .and_then(|job| job.state.nonce())
            .filter(|at| *at != nonce);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.transaction = Some(inclusion.transaction);
            job.private = false;
            if !matches!(job.state, State::Included(_)) {
                let blocks = inclusion
                    .block
                    .saturating_sub(job.first_block.unwrap_or(inclusion.block));
                metrics::histogram!("sender_inclusion_blocks", "lane" => job.request.lane.name())
                    .record(u32::try_from(blocks).unwrap_or(u32::MAX));
            }
        }
        self.happen(id, Event::Included(inclusion.clone()), changes);
        // It had left this nonce, and the chain brought it back: what it has elsewhere must not be mined as well.
        if let Some(slot) = elsewhere
            .and_then(|other| self.slots.get_mut(&other))
            .filter(|slot| slot.mined.is_none())
            && slot.line.holder == Holder::Job(id)
        {
            slot.line.holder = Holder::Cancel;
            slot.line.underpriced = true;
        }
    }

    /// The chain used the nonce, and none of our transactions is in a block: a node that lags, or another holder of the key.
    fn used_by_another(&mut self, nonce: u64, head: u64, changes: &mut Vec<Change>) {
        let Some(slot) = self.slots.get_mut(&nonce) else { return };
        if let Some(before) = slot.mined.take() {
            self.undone_by_another(nonce, &before, changes);
            return;
        }
        let since = *slot.foreign_since.get_or_insert(head);
        if head.saturating_sub(since) >= self.setup.confirmations.max(2) {
            tracing::warn!(nonce, account = %self.account, "somebody else used a nonce of ours: a key is for one sender only");
            self.end(nonce, None, changes);
        }
    }

    fn undone_by_another(&mut self, nonce: u64, before: &Inclusion, changes: &mut Vec<Change>) {
        metrics::counter!("sender_reorgs_total").increment(1);
        let Some(slot) = self.slots.get_mut(&nonce) else { return };
        let owner = slot
            .attempt(before.transaction)
            .and_then(|attempt| attempt.job.map(|job| (job, attempt.fees)));
        if let Some((id, fees)) = owner {
            self.happen(id, Event::Reorged { fees }, changes);
        }
    }

    /// The nonce is final. Who has it is final too; the others may have another one.
    fn end(&mut self, nonce: u64, winner: Option<JobId>, changes: &mut Vec<Change>) {
        let Some(slot) = self.slots.remove(&nonce) else { return };
        for id in slot.jobs() {
            if Some(id) == winner {
                self.happen(id, Event::Confirmed, changes);
                continue;
            }
            let Some(job) = self.jobs.get(&id).filter(|job| holds(&job.state, nonce)) else {
                continue;
            };
            match job.withdrawn.clone() {
                Some(reason) => self.happen(id, Event::Failed(reason), changes),
                None => self.happen(id, Event::Released, changes),
            }
        }
        self.settled = self.settled.max(nonce.saturating_add(1));
        changes.push(Change::Settled {
            account: self.account,
            nonce,
        });
    }
}

/// Whether a request may still be mined at `nonce`.
fn holds(state: &State, nonce: u64) -> bool {
    match state {
        State::Signed { nonce: at, .. } | State::Broadcast { nonce: at, .. } | State::Replaced { nonce: at } => {
            *at == nonce
        }
        State::Queued | State::Included(_) | State::Final(_) | State::Failed { .. } => false,
    }
}
