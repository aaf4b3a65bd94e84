//! A confirmation that is still pending: its guard's job is executed right behind it, in the same block.
//!
//! What always holds: only those pending transactions count that go through and make the resolver say yes; nothing is sent that does not go
//! through behind them; what is under way follows them when they are raised.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use alloy::primitives::{Address, U256};
use engine::State as _;
use sender::Fees;

use super::act::{Attempt, TRIAL_TIME, Tried, try_and_send};
use super::{Desk, DeskError, Worked, is_asked};
use crate::calls;
use crate::job::Job;
use crate::plan::Step;
use crate::pool::{Pending, front};
use crate::resolve::{Answer, RESOLVER_GAS, Ready, decode};
use crate::streak::Streak;
use crate::vm::simulate::{Simulated, Trial, simulate};

/// What a transaction costs before its first instruction, and its calldata.
const INTRINSIC_GAS: u64 = 200_000;

impl Desk {
    /// Whose pending callers this keeper wants to know: the resolvers of defence jobs.
    #[must_use]
    pub fn guards(&self) -> HashSet<Address> {
        let jobs = self.follower.book().jobs();
        jobs.filter(|job| job.is_defence() && is_asked(job) && self.is_watched(job))
            .map(|job| job.resolver)
            .collect()
    }

    /// A pending transaction calls a guard.
    ///
    /// # Errors
    /// When a memory fails.
    pub async fn on_pending(&mut self, pending: Pending) -> Result<Worked, DeskError> {
        let mut worked = Worked::default();
        let guard = pending.to;
        tracing::debug!(transaction = %pending.hash, %guard, "a pending transaction calls a guard");
        if !self.pool.add(pending) {
            return Ok(worked);
        }
        let jobs = self.follower.book().jobs();
        let jobs: Vec<Arc<Job>> = jobs
            .filter(|job| job.resolver == guard && job.is_defence() && is_asked(job) && self.is_watched(job))
            .cloned()
            .collect();
        for job in jobs {
            let Some((ready, after)) = self.ready_behind(&job).await? else {
                continue;
            };
            let Some(fees) = front(&after) else { continue };
            if self.under_way.contains_key(&job.key) {
                self.go_along(&job, fees).await;
                continue;
            }
            if let Some(attempt) = self.attempt_behind(&job, &ready, &after, fees) {
                match try_and_send(&self.bench(), &attempt).await? {
                    Tried::Sent(name, handle) => self.sent(&attempt, name, handle, &mut worked),
                    // It counts against nobody: in the confirmation's block it is looked at again.
                    Tried::Refused(_, reason) => tracing::debug!(job = %job.key, reason, "not sent yet"),
                }
            }
        }
        Ok(worked)
    }

    /// What the job's resolver says behind as many pending transactions as make it say yes, and those of them that go through.
    async fn ready_behind(&self, job: &Job) -> Result<Option<(Ready, Vec<Pending>)>, DeskError> {
        let pending = self.pool.of(&job.resolver);
        let question = Trial {
            // No transaction comes from a contract (EIP-3607); the execution behind it has the Agent ask.
            from: self.worker,
            to: job.resolver,
            value: U256::ZERO,
            data: job.data.clone(),
            gas: RESOLVER_GAS + INTRINSIC_GAS,
        };
        let trials = pending
            .iter()
            .flat_map(|call| [trial(call), question.clone()])
            .collect();
        let snapshot = self.follower.snapshot();
        let simulated = simulate(self.follower.reader(), &snapshot, trials, Instant::now() + TRIAL_TIME).await?;
        let Ok(simulated) = simulated else {
            tracing::debug!(job = %job.key, "what a pending confirmation reads is not known");
            return Ok(None);
        };
        let mut through = Vec::new();
        for (call, results) in pending.iter().zip(simulated.chunks(2)) {
            let [ran, Simulated::Success { output, .. }] = results else {
                continue;
            };
            if matches!(ran, Simulated::Success { .. }) {
                through.push(call.clone());
            }
            if let Answer::Ready(ready) = decode(output) {
                return Ok(Some((ready, through)));
            }
        }
        Ok(None)
    }

    /// The execution, where this keeper may make it in the confirmation's own block.
    fn attempt_behind(&self, job: &Arc<Job>, ready: &Ready, after: &[Pending], fees: Fees) -> Option<Attempt> {
        let snapshot = self.follower.snapshot();
        let env = &snapshot.head().next;
        let streak = Streak {
            heads: 1,
            since: env.timestamp,
            newest: env.number,
        };
        if self.step_on(job, Some((ready, streak))) != Step::Defend {
            return None;
        }
        let keeper = self.follower.standing().me.id;
        Some(Attempt {
            job: Arc::clone(job),
            step: Step::Defend,
            call: calls::calldata(Step::Defend, job, keeper, Some(ready), self.payment())?,
            number: self.attempts.get(&job.key).copied().unwrap_or_default(),
            after: after.iter().map(trial).collect(),
            behind: Some(fees),
        })
    }

    /// What is under way behind a pending transaction is raised along with it.
    async fn go_along(&mut self, job: &Job, fees: Fees) {
        let Some(out) = self.under_way.get_mut(&job.key) else {
            return;
        };
        if out.behind.is_some_and(|behind| behind != fees) {
            out.behind = Some(fees);
            if let Err(error) = self.sender.follow(&out.key, Some(fees)).await {
                tracing::warn!(job = %job.key, %error, "an execution cannot be raised");
            }
        }
    }

    /// What is in a block, or can never be, is pending no more.
    pub(super) fn clear_pool(&mut self) {
        let snapshot = self.follower.snapshot();
        self.pool.retain(|pending| {
            let account = snapshot.account(pending.from).ok().flatten();
            account.is_some_and(|account| account.nonce <= pending.nonce)
        });
    }
}

fn trial(pending: &Pending) -> Trial {
    Trial {
        from: pending.from,
        to: pending.to,
        value: pending.value,
        data: pending.data.clone(),
        gas: pending.gas,
    }
}
