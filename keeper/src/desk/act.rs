//! Tries steps on the head and sends those that go through.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, Bytes, U256};
use futures::{StreamExt as _, stream};
use sender::{Fees, Handle, IdempotencyKey, Request, Sender, SubmitError};
use state::{Reader, Snapshot};

use super::{Desk, DeskError, UnderWay, Worked};
use crate::aside::{Blame, Stage};
use crate::blame::of_revert;
use crate::calls;
use crate::follow::News;
use crate::job::Job;
use crate::plan::Step;
use crate::vm::simulate::{Simulated, Trial, simulate};

/// Simulations under way at a time.
const TRIALS: usize = 16;
/// How long the state for one simulation is waited for.
pub(super) const TRIAL_TIME: Duration = Duration::from_secs(3);

/// A step on its way.
pub(super) struct Attempt {
    pub(super) job: Arc<Job>,
    pub(super) step: Step,
    pub(super) call: Bytes,
    pub(super) number: u32,
    /// Pending transactions of others that it builds on, in order.
    pub(super) after: Vec<Trial>,
    /// It must stand right behind these.
    pub(super) behind: Option<Fees>,
}

/// What became of it.
pub(super) enum Tried {
    Sent(IdempotencyKey, Handle),
    /// Nothing was sent.
    Refused(Blame, String),
}

/// What all attempts of a head share.
pub(super) struct Bench {
    reader: Reader,
    snapshot: Arc<Snapshot>,
    sender: Arc<Sender>,
    agent: Address,
    worker: Address,
    max_gas: u64,
    deadline: u64,
}

impl Desk {
    pub(super) async fn act(&mut self, steps: Vec<(Arc<Job>, Step)>, worked: &mut Worked) -> Result<(), DeskError> {
        let keeper = self.follower.standing().me.id;
        let mut attempts = Vec::new();
        for (job, step) in steps {
            // One at a time: everything about one job excludes each other.
            if let Some(out) = self.under_way.get_mut(&job.key) {
                if out.behind.take().is_some() {
                    // What it was to follow is in a block.
                    let _stopped = self.sender.follow(&out.key, None).await;
                }
                continue;
            }
            let urgent = matches!(step, Step::Defend | Step::Open);
            if !urgent && self.under_way.len() + attempts.len() >= self.jobs.max_under_way {
                metrics::counter!("keeper_postponed_total").increment(1);
                continue;
            }
            let Some(call) = calls::calldata(step, &job, keeper, self.ready.get(&job.key), self.payment()) else {
                continue;
            };
            let number = self.attempts.get(&job.key).copied().unwrap_or_default();
            attempts.push(Attempt {
                job,
                step,
                call,
                number,
                after: Vec::new(),
                behind: None,
            });
        }
        if attempts.is_empty() {
            return Ok(());
        }
        let bench = self.bench();
        let tried: Vec<_> = stream::iter(attempts)
            .map(|attempt| attempt_one(&bench, attempt))
            .buffered(TRIALS)
            .collect()
            .await;
        for (attempt, tried) in tried {
            self.note(&attempt, tried?, worked).await?;
        }
        Ok(())
    }

    pub(super) fn bench(&self) -> Bench {
        let snapshot = self.follower.snapshot();
        Bench {
            reader: self.follower.reader().clone(),
            sender: Arc::clone(&self.sender),
            agent: self.follower.agent().address(),
            worker: self.worker,
            max_gas: self.jobs.max_gas,
            deadline: snapshot
                .head()
                .timestamp
                .saturating_add(self.jobs.give_up_after.as_secs()),
            snapshot,
        }
    }

    async fn note(&mut self, attempt: &Attempt, tried: Tried, worked: &mut Worked) -> Result<(), DeskError> {
        let key = attempt.job.key;
        match tried {
            Tried::Sent(name, handle) => self.sent(attempt, name, handle, worked),
            Tried::Refused(blame, reason) => {
                worked.refused += 1;
                tracing::debug!(job = %key, step = attempt.step.name(), reason, "not sent");
                let stage = stage(attempt.step);
                self.failed(key, stage, blame, &reason).await?;
            }
        }
        Ok(())
    }

    pub(super) fn sent(&mut self, attempt: &Attempt, name: IdempotencyKey, handle: Handle, worked: &mut Worked) {
        let key = attempt.job.key;
        metrics::counter!("keeper_sent_total", "step" => attempt.step.name()).increment(1);
        tracing::info!(job = %key, step = attempt.step.name(), name = name.as_str(), "sent");
        worked.sent.push((key, attempt.step, name.as_str().to_owned()));
        let out = UnderWay {
            step: attempt.step,
            key: name,
            handle,
            unwanted: false,
            behind: attempt.behind,
        };
        self.under_way.insert(key, out);
    }

    /// Reads ahead what executing new defence jobs will read: when one is due, no block is to be lost for want of state.
    pub(super) async fn warm(&mut self, news: &News) -> Result<(), DeskError> {
        let keeper = self.follower.standing().me.id;
        let urgent: Vec<Arc<Job>> = news
            .changed
            .iter()
            .filter_map(|key| self.follower.book().get(key))
            .filter(|job| job.is_defence() && job.is_active())
            .cloned()
            .collect();
        let snapshot = self.follower.snapshot();
        for job in urgent {
            let Some(call) = calls::calldata(Step::Defend, &job, keeper, self.ready.get(&job.key), self.payment())
            else {
                continue;
            };
            let trial = Trial {
                from: self.worker,
                to: self.follower.agent().address(),
                value: U256::ZERO,
                data: call,
                gas: self.jobs.max_gas,
            };
            // What it comes to is worth nothing: what it read is.
            let _read = simulate(
                self.follower.reader(),
                &snapshot,
                vec![trial],
                Instant::now() + TRIAL_TIME,
            )
            .await?;
        }
        Ok(())
    }

    /// The newest failed attempt is over: the next one has another name.
    pub(super) fn next_attempt(&mut self, job: B256) {
        let attempts = self.attempts.entry(job).or_default();
        *attempts = attempts.saturating_add(1);
    }
}

/// The counter that a step's failures are counted by.
pub(super) const fn stage(step: Step) -> Stage {
    match step {
        Step::Announce | Step::Open => Stage::Slash,
        Step::Wait | Step::Execute | Step::Slash | Step::Defend | Step::Release => Stage::Execute,
    }
}

async fn attempt_one(bench: &Bench, attempt: Attempt) -> (Attempt, Result<Tried, DeskError>) {
    let tried = try_and_send(bench, &attempt).await;
    (attempt, tried)
}

pub(super) async fn try_and_send(bench: &Bench, attempt: &Attempt) -> Result<Tried, DeskError> {
    let trial = Trial {
        from: bench.worker,
        to: bench.agent,
        value: U256::ZERO,
        data: attempt.call.clone(),
        gas: bench.max_gas,
    };
    let refused = |blame, reason: String| Ok(Tried::Refused(blame, reason));
    let deadline = Instant::now() + TRIAL_TIME;
    let all = attempt.after.iter().cloned().chain([trial]).collect();
    let simulated = match simulate(&bench.reader, &bench.snapshot, all, deadline).await? {
        Ok(mut simulated) => simulated.pop(),
        Err(missing) => {
            let first = missing.first().map(ToString::to_string).unwrap_or_default();
            return refused(Blame::Nobody, format!("state is missing: {first}"));
        }
    };
    let gas = match simulated {
        Some(Simulated::Success { gas, .. }) => calls::gas_limit(attempt.step, &attempt.job, gas),
        Some(Simulated::Revert(data)) => {
            let (blame, reason) = of_revert(&data);
            return refused(blame, reason);
        }
        Some(Simulated::Halt(how)) => return refused(Blame::Job, format!("it would halt: {how}")),
        Some(Simulated::Invalid(why)) => return refused(Blame::Nobody, format!("it cannot be included: {why}")),
        None => return refused(Blame::Nobody, "nothing was tried".to_owned()),
    };
    if gas > bench.max_gas {
        return refused(
            Blame::Job,
            format!("it needs {gas} gas, jobs.max_gas allows {}", bench.max_gas),
        );
    }
    let name = calls::name(attempt.step, &attempt.job, &attempt.call, attempt.number);
    let Ok(key) = IdempotencyKey::new(name) else {
        return refused(Blame::Nobody, "its name is not one that a sender takes".to_owned());
    };
    let mut request = Request::call(
        key.clone(),
        calls::lane(attempt.step),
        bench.agent,
        attempt.call.clone(),
    );
    request.gas = Some(gas);
    request.behind = attempt.behind;
    request.deadline = Some(bench.deadline);
    match bench.sender.submit(request).await {
        Ok(handle) => Ok(Tried::Sent(key, handle)),
        Err(SubmitError::Journal(error)) => Err(error.into()),
        Err(error) => refused(Blame::Nobody, error.to_string()),
    }
}
