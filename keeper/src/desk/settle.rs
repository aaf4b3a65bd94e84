//! What became of what was sent.

use alloy::primitives::B256;
use sender::{Failure, State};

use super::act::stage;
use super::{Desk, DeskError, Worked};
use crate::aside::Blame;
use crate::blame::of_words;
use crate::plan::Step;

/// How a transaction stands, as far as it matters here.
enum Fate {
    UnderWay,
    Done,
    Failed(Blame, String),
}

fn fate(state: &State) -> Fate {
    match state {
        State::Included(inclusion) | State::Final(inclusion) if inclusion.success => Fate::Done,
        State::Included(inclusion) | State::Final(inclusion) => {
            let (blame, reason) = of_words(inclusion.revert.as_deref());
            Fate::Failed(blame, reason)
        }
        State::Failed {
            reason: reason @ Failure::WouldRevert(_),
        } => Fate::Failed(Blame::Job, reason.to_string()),
        State::Failed { reason } => Fate::Failed(Blame::Nobody, reason.to_string()),
        State::Queued | State::Signed { .. } | State::Broadcast { .. } | State::Replaced { .. } => Fate::UnderWay,
    }
}

impl Desk {
    /// Looks at everything under way.
    pub(super) async fn settle(&mut self, worked: &mut Worked) -> Result<(), DeskError> {
        let fates: Vec<(B256, Step, Fate)> = self
            .under_way
            .iter()
            .map(|(job, out)| (*job, out.step, fate(&out.handle.status().state)))
            .collect();
        for (job, step, fate) in fates {
            match fate {
                Fate::UnderWay => self.reconsider(job).await,
                Fate::Done => {
                    self.under_way.remove(&job);
                    self.succeeded(job, stage(step)).await?;
                    metrics::counter!("keeper_done_total", "step" => step.name()).increment(1);
                    tracing::info!(%job, step = step.name(), "done");
                    worked.done.push((job, step));
                }
                Fate::Failed(blame, reason) => {
                    self.under_way.remove(&job);
                    self.next_attempt(job);
                    // Who changed the job meanwhile was faster.
                    tracing::warn!(%job, step = step.name(), reason, "came to nothing");
                    self.failed(job, stage(step), blame, &reason).await?;
                }
            }
        }
        Ok(())
    }

    /// A transaction that is no longer wanted is withdrawn, one head later: by then it is known whether it was itself that changed
    /// the job.
    async fn reconsider(&mut self, job: B256) {
        let wanted = match self.follower.book().get(&job) {
            Some(known) => {
                let planned = self.step(known);
                self.under_way.get(&job).is_some_and(|out| out.step == planned)
            }
            None => false,
        };
        let Some(out) = self.under_way.get_mut(&job) else {
            return;
        };
        if wanted {
            out.unwanted = false;
            return;
        }
        if !out.unwanted {
            out.unwanted = true;
            return;
        }
        let key = out.key.clone();
        tracing::info!(%job, name = key.as_str(), "withdrawn: somebody else was faster, or it is no longer due");
        if let Err(error) = self.sender.cancel(&key).await {
            tracing::warn!(%job, %error, "cannot be withdrawn");
        }
    }
}
