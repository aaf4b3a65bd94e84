//! What is given to the pool.

use std::sync::Arc;

use crate::{B256, BlockEnv, Engine, EngineError, Invariant, Options, Outcome, Prestate, State, Transaction, WatchSet};

/// One execution.
pub struct Job {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The block in which the transaction is executed.
    pub env: BlockEnv,
    /// The transaction.
    pub transaction: Transaction,
    /// The state that it reads.
    pub state: Prestate,
    /// What is judged.
    pub invariants: Vec<Invariant>,
    /// Asked before the job is begun, and again while it runs. A job that is late before it begins is dropped, and its reply
    /// with it; one that becomes late is undecided.
    pub is_late: Box<dyn Fn() -> bool + Send>,
    /// Called on the engine's thread with the result; it must not block.
    pub reply: Box<dyn FnOnce(Result<Outcome, EngineError>) + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("transaction", &self.transaction.hash())
            .finish_non_exhaustive()
    }
}

/// One execution, judged with a set of whatever the language can say.
pub struct WatchJob {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The block in which the transaction is executed.
    pub env: BlockEnv,
    /// The transaction.
    pub transaction: Transaction,
    /// The state that it reads, and that the views of the set read.
    pub state: Prestate,
    /// What is judged.
    pub set: Arc<WatchSet>,
    /// Budgets, and what is wanted besides verdicts.
    pub wishes: Wishes,
    /// See [`Job::is_late`].
    pub is_late: Box<dyn Fn() -> bool + Send>,
    /// See [`Job::reply`].
    pub reply: Box<dyn FnOnce(Result<Outcome, EngineError>) + Send>,
}

/// [`Options`] that can be sent to another thread. The default is what the network asks for: every invariant listed, the digest as
/// evidence of work, and no second run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// List every invariant of the set ([`Outcome::complete`]), not only those that the transaction could have changed.
    pub complete: bool,
    /// See [`Options::digest`].
    pub digest: bool,
    /// See [`Options::call_path`].
    pub call_path: bool,
    /// See [`Options::warnings`].
    pub warnings: bool,
    /// See [`Options::view_gas`].
    pub view_gas: u64,
    /// See [`Options::views_gas`].
    pub views_gas: u64,
    /// See [`Options::state_id`].
    pub state_id: Option<B256>,
}

impl Default for Wishes {
    fn default() -> Self {
        let Options {
            view_gas,
            views_gas,
            state_id,
            ..
        } = Options::default();
        Self {
            complete: true,
            digest: true,
            call_path: false,
            warnings: false,
            view_gas,
            views_gas,
            state_id,
        }
    }
}

impl std::fmt::Debug for WatchJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchJob")
            .field("transaction", &self.transaction.hash())
            .field("set", &self.set)
            .field("wishes", &self.wishes)
            .finish_non_exhaustive()
    }
}

/// Told the digest of what an execution read, on the engine's thread.
pub(super) type Told = Box<dyn FnOnce(B256) + Send>;

/// What a job judges.
pub(super) enum Stated {
    Slots(Vec<Invariant>),
    Set(Arc<WatchSet>, Wishes),
}

/// A job that waits, and who is told what it read.
pub(super) struct Queued {
    pub(super) chain_id: u64,
    pub(super) env: BlockEnv,
    pub(super) transaction: Transaction,
    pub(super) state: Prestate,
    pub(super) stated: Stated,
    pub(super) is_late: Box<dyn Fn() -> bool + Send>,
    pub(super) reply: Box<dyn FnOnce(Result<Outcome, EngineError>) + Send>,
    pub(super) told: Option<Told>,
}

impl From<Job> for Queued {
    fn from(job: Job) -> Self {
        Self {
            chain_id: job.chain_id,
            env: job.env,
            transaction: job.transaction,
            state: job.state,
            stated: Stated::Slots(job.invariants),
            is_late: job.is_late,
            reply: job.reply,
            told: None,
        }
    }
}

impl From<WatchJob> for Queued {
    fn from(job: WatchJob) -> Self {
        Self {
            chain_id: job.chain_id,
            env: job.env,
            transaction: job.transaction,
            state: job.state,
            stated: Stated::Set(job.set, job.wishes),
            is_late: job.is_late,
            reply: job.reply,
            told: None,
        }
    }
}

impl Stated {
    /// Judges on this engine.
    pub(super) fn judge(
        &self,
        engine: &mut Engine,
        env: &BlockEnv,
        tx: &Transaction,
        state: &dyn State,
        expired: &dyn Fn() -> bool,
    ) -> Result<Outcome, EngineError> {
        let (set, wishes) = match self {
            Self::Slots(invariants) => return engine.judge_with_deadline(env, tx, state, invariants, expired),
            Self::Set(set, wishes) => (set, wishes),
        };
        let options = Options {
            digest: wishes.digest,
            call_path: wishes.call_path,
            warnings: wishes.warnings,
            view_gas: wishes.view_gas,
            views_gas: wishes.views_gas,
            view_time: None,
            expired: Some(expired),
            state_id: wishes.state_id,
        };
        let mut outcome = engine.judge_watched(env, tx, state, set, &options)?;
        if wishes.complete {
            outcome.complete(set);
        }
        Ok(outcome)
    }
}
