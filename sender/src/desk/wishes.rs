//! What the front asks of a desk: new requests, and other wishes about those that it has.

use super::slot::Job;
use super::{Cancelled, Command, Desk, highest};
use crate::fees::Fees;
use crate::journal::JournalError;
use crate::machine::{Event as JobEvent, Failure, State};
use crate::plan::{Holder, JobId, Line};
use crate::request::IdempotencyKey;

use std::time::Instant;

impl Desk {
    pub(super) async fn command(&mut self, command: Command) -> Result<(), JournalError> {
        match command {
            Command::New(job) => {
                self.jobs.insert(job.id, *job);
            }
            Command::Look => self.look_at = Instant::now(),
            Command::Outbid(key, fees) => self.outbid(&key, &fees),
            Command::Follow(key, front) => self.follow(&key, front),
            Command::Cancel(key, answer) => {
                let cancelled = self.cancel(&key).await?;
                // Nobody may be waiting for it any more.
                let _ = answer.send(cancelled);
            }
        }
        Ok(())
    }

    /// From now on the request gets ahead of `fees` too; the plan raises what is on its way.
    fn outbid(&mut self, key: &IdempotencyKey, fees: &Fees) {
        let Some(job) = self.job_of(key) else { return };
        let beat = Some(job.request.beat.map_or(*fees, |beat| highest(&beat, fees)));
        job.request.beat = beat;
        let id = job.id;
        self.lines_of(id).for_each(|line| line.beat = beat);
    }

    /// From now on the request stays behind `front`; the plan raises what is on its way along with it.
    fn follow(&mut self, key: &IdempotencyKey, front: Option<Fees>) {
        let Some(job) = self.job_of(key) else { return };
        job.request.behind = front;
        let id = job.id;
        self.lines_of(id).for_each(|line| line.behind = front);
    }

    fn job_of(&mut self, key: &IdempotencyKey) -> Option<&mut Job> {
        self.jobs.values_mut().find(|job| job.request.key == *key)
    }

    /// The nonces that the request holds.
    fn lines_of(&mut self, id: JobId) -> impl Iterator<Item = &mut Line> {
        let lines = self.slots.values_mut().map(|slot| &mut slot.line);
        lines.filter(move |line| line.holder == Holder::Job(id))
    }

    async fn cancel(&mut self, key: &IdempotencyKey) -> Result<Cancelled, JournalError> {
        let Some(job) = self.job_of(key) else {
            return Ok(Cancelled::TooLate);
        };
        let id = job.id;
        match job.state {
            State::Queued => {
                let mut changes = Vec::new();
                self.happen(id, JobEvent::Failed(Failure::Cancelled), &mut changes);
                self.setup.journal.write(&changes).await?;
                self.forget_ended();
                Ok(Cancelled::Done)
            }
            State::Included(_) | State::Final(_) | State::Failed { .. } => Ok(Cancelled::TooLate),
            State::Signed { .. } | State::Broadcast { .. } | State::Replaced { .. } => {
                job.withdrawn = Some(Failure::Cancelled);
                let change = job.change();
                self.setup.journal.write(&[change]).await?;
                Ok(Cancelled::UnderWay)
            }
        }
    }
}
