//! What is given to the pool.

use std::sync::Arc;

use crate::{B256, BlockEnv, Context, Engine, EngineError, Options, Outcome, Prestate, State, Transaction, WatchSet};

/// One execution, judged with a set.
pub struct Job {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The block in which the transaction is executed.
    pub env: BlockEnv,
    /// The transaction.
    pub transaction: Transaction,
    /// What is executed before it, in order, on the same state.
    pub predecessors: Vec<Transaction>,
    /// The state that it reads, and that the views of the set read.
    pub state: Prestate,
    /// What is judged.
    pub set: Arc<WatchSet>,
    /// Budgets, and what is wanted besides verdicts.
    pub wishes: Wishes,
    /// Asked before the job is begun, and again while it runs. A job that is late before it begins is dropped, and its reply
    /// with it; one that becomes late is undecided.
    pub is_late: Box<dyn Fn() -> bool + Send>,
    /// Called on the engine's thread with the result; it must not block.
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

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("transaction", &self.transaction.hash())
            .field("set", &self.set)
            .field("wishes", &self.wishes)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Judges on this engine and this state, which stands for the job's own.
    pub(super) fn judge(&self, engine: &mut Engine, state: &dyn State) -> Result<Outcome, EngineError> {
        let wishes = &self.wishes;
        let options = Options {
            digest: wishes.digest,
            call_path: wishes.call_path,
            warnings: wishes.warnings,
            view_gas: wishes.view_gas,
            views_gas: wishes.views_gas,
            view_time: None,
            expired: Some(&self.is_late),
            state_id: wishes.state_id,
        };
        let (env, before, tx) = (&self.env, &self.predecessors, &self.transaction);
        let mut outcome = engine.judge_behind(before, tx, Context::new(env, state, &self.set, &options))?;
        if wishes.complete {
            outcome.complete(&self.set);
        }
        Ok(outcome)
    }
}

/// Told the digest of what an execution read, on the engine's thread.
pub(super) type Told = Box<dyn FnOnce(B256) + Send>;

/// A job that waits, and who is told what it read.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) told: Option<Told>,
}
