//! The validator's own engine: what decides when miners disagree, and before anything fires.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::pool::{Job, Pool, Wishes};
use engine::{WatchError, WatchSet, Witness};
use tokio::sync::{Semaphore, oneshot};
use wire::{Challenge, Verdicts};

/// Why the validator could not execute a transaction itself.
#[derive(Debug, thiserror::Error)]
pub enum ArbiterError {
    /// No state came with it.
    #[error("the platform sent no prestate, and this validator has no node to read")]
    NoState,
    /// Bytecode is not there.
    #[error("bytecode {0} is not known")]
    NoCode(engine::B256),
    /// The invariants cannot be watched together.
    #[error("the platform's invariants: {0}")]
    Invariants(#[from] WatchError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// The pool has ended, or dropped the job as late.
    #[error("the validator's engine did not answer within {0:?}")]
    Late(Duration),
}

/// What the validator's own engine says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// As a miner would say it.
    pub verdicts: Verdicts,
    /// The evidence of each violation, with what was read.
    pub witnesses: Vec<Witness>,
}

/// An engine pool that waits for its turn: arbitration is not refused, since the number of items under way is bounded.
#[derive(Debug)]
pub struct Arbiter {
    pool: Pool,
    turns: Semaphore,
}

/// No arbitration takes longer.
const DEADLINE: Duration = Duration::from_secs(30);

impl Arbiter {
    /// Starts `threads` engines.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let capacity = threads * 2;
        Ok(Self {
            pool: Pool::start(threads, capacity)?,
            turns: Semaphore::new(capacity),
        })
    }

    /// Executes and judges.
    ///
    /// # Errors
    /// [`ArbiterError`]: no verdict of our own.
    pub async fn judge(
        &self,
        challenge: &Challenge,
        codes: &std::collections::HashMap<engine::B256, engine::Bytes>,
    ) -> Result<Own, ArbiterError> {
        let shipped = challenge.prestate.clone().ok_or(ArbiterError::NoState)?;
        let state = shipped
            .complete(|hash| codes.get(&hash).cloned())
            .map_err(|missing| ArbiterError::NoCode(missing.first().copied().unwrap_or_default()))?;
        let set = Arc::new(WatchSet::new(challenge.invariants.clone())?);
        let deadline = Instant::now() + DEADLINE;
        let late = || ArbiterError::Late(DEADLINE);
        let _turn = tokio::time::timeout_at(deadline.into(), self.turns.acquire())
            .await
            .map_err(|_| late())?
            .map_err(|_| late())?;
        let (reply, result) = oneshot::channel();
        let (tell, mut told) = oneshot::channel();
        let job = Job {
            chain_id: challenge.chain_id,
            env: challenge.env.clone(),
            transaction: challenge.transaction.clone(),
            predecessors: challenge.predecessors.clone(),
            state,
            set,
            wishes: Wishes::default(),
            is_late: Box::new(move || Instant::now() >= deadline),
            reply: Box::new(move |outcome| {
                let _gone = reply.send(outcome);
            }),
        };
        let told_before_the_reply = move |digest| {
            let _gone = tell.send(digest);
        };
        self.pool
            .submit_recording(job, told_before_the_reply)
            .map_err(|_| late())?;
        let outcome = tokio::time::timeout_at(deadline.into(), result)
            .await
            .map_err(|_| late())?
            .map_err(|_| late())??;
        Ok(Own {
            verdicts: Verdicts::from(&outcome).on_state(told.try_recv().ok()),
            witnesses: outcome.violations().cloned().collect(),
        })
    }
}
