//! What the front asks of a desk: new requests, and other wishes about those that it has.

use super::{Cancelled, Command, Desk, highest};
use crate::fees::Fees;
use crate::journal::JournalError;
use crate::machine::{Event as JobEvent, Failure, State};
use crate::plan::Holder;
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
        let Some(job) = self.jobs.values_mut().find(|job| job.request.key == *key) else {
            return;
        };
        let beat = job.request.beat.map_or(*fees, |beat| highest(&beat, fees));
        job.request.beat = Some(beat);
        let id = job.id;
        for slot in self
            .slots
            .values_mut()
            .filter(|slot| slot.line.holder == Holder::Job(id))
        {
            slot.line.beat = Some(beat);
        }
    }

    /// From now on the request stays behind `front`; the plan raises what is on its way along with it.
    fn follow(&mut self, key: &IdempotencyKey, front: Option<Fees>) {
        let Some(job) = self.jobs.values_mut().find(|job| job.request.key == *key) else {
            return;
        };
        job.request.behind = front;
        let id = job.id;
        for slot in self
            .slots
            .values_mut()
            .filter(|slot| slot.line.holder == Holder::Job(id))
        {
            slot.line.behind = front;
        }
    }

    async fn cancel(&mut self, key: &IdempotencyKey) -> Result<Cancelled, JournalError> {
        let Some(job) = self.jobs.values_mut().find(|job| job.request.key == *key) else {
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
