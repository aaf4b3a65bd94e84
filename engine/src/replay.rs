//! Sequential execution of a recorded case, and for each transaction the exact prestate that it alone needs.
//!
//! What always holds: judging a step's transaction on its prestate gives the step's execution, on any machine.

use std::sync::Arc;

use crate::{
    BlockEnv, CompleteState, Context, Engine, EngineError, Execution, Judgement, Options, Outcome, Prestate, Reason,
    Recorder, Transaction, WatchSet,
    case::{Case, Expected},
    evm::Changes,
};

/// Executes the transactions of a case in order, each on what the ones before left behind.
///
/// After an error it ends: later transactions would run on the wrong state.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    env: BlockEnv,
    state: CompleteState,
    transactions: std::iter::Enumerate<std::vec::IntoIter<Transaction>>,
    expected: Vec<Expected>,
    watched: Arc<WatchSet>,
}

/// One executed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Place in the case, from 0.
    pub index: usize,
    /// The transaction.
    pub transaction: Transaction,
    /// The state right before it: every account and slot that executing it reads (existing or not), codes and block hashes.
    pub prestate: Prestate,
    /// What executing it gave.
    pub outcome: Execution,
    /// What was recorded for it, if anything was.
    pub expected: Option<Expected>,
    /// Judgements on the watched invariants, in their order.
    pub judgements: Vec<Judgement>,
}

/// One transaction that was judged and executed; what came of it stands in the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Place in the case, from 0.
    pub index: usize,
    /// The transaction.
    pub transaction: Transaction,
    /// What was recorded for it, if anything was.
    pub expected: Option<Expected>,
}

/// Why a case cannot be replayed any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The case does not hold what the transaction reads, or its block cannot be executed under.
    #[error("transaction {index} ({hash}) cannot be executed: {reason}")]
    Undecided {
        /// Place in the case.
        index: usize,
        /// The transaction.
        hash: crate::B256,
        /// What is missing.
        reason: Reason,
    },
    /// The engine failed.
    #[error("transaction {index} ({hash}): {source}")]
    Engine {
        /// Place in the case.
        index: usize,
        /// The transaction.
        hash: crate::B256,
        /// How it failed.
        source: EngineError,
    },
}

impl Replay {
    /// Starts before the first transaction of the case.
    #[must_use]
    pub fn new(case: Case) -> Self {
        Self {
            engine: Engine::new(case.chain_id),
            env: case.block,
            state: case.pre,
            transactions: case.transactions.into_iter().enumerate(),
            expected: case.expect.per_tx,
            watched: Arc::default(),
        }
    }

    /// Judges these invariants at every step, and records in its prestate what judging them reads beyond executing: what their views
    /// and the other terms of their expressions read, and the slots of a watched contract that the transaction destroys.
    #[must_use]
    pub fn watching(mut self, invariants: Arc<WatchSet>) -> Self {
        self.watched = invariants;
        self
    }

    /// Executes with this engine, if it is of the case's chain: what it knows of code needs no second look.
    #[must_use]
    pub fn with_engine(mut self, engine: Engine) -> Self {
        if engine.chain_id() == self.engine.chain_id() {
            self.engine = engine;
        }
        self
    }

    /// Gives its engine back.
    #[must_use]
    pub fn into_engine(self) -> Engine {
        self.engine
    }

    /// Judges the next transaction with a whole set, as [`Engine::judge_watched_into`] does, and goes on from what it left: it is
    /// executed once. `None` when there is no other.
    ///
    /// # Errors
    /// [`ReplayError`] when it cannot be executed; the outcome then says so too. After an error the replay ends.
    pub fn judge_next(
        &mut self,
        set: &WatchSet,
        options: &Options<'_>,
        outcome: &mut Outcome,
    ) -> Option<Result<Judged, ReplayError>> {
        let (index, transaction) = self.transactions.next()?;
        let judged = self.judge_step(index, transaction, set, options, outcome);
        if judged.is_err() {
            self.transactions = Vec::new().into_iter().enumerate();
        }
        Some(judged)
    }

    fn judge_step(
        &mut self,
        index: usize,
        transaction: Transaction,
        set: &WatchSet,
        options: &Options<'_>,
        outcome: &mut Outcome,
    ) -> Result<Judged, ReplayError> {
        let hash = transaction.hash();
        let on = Context::new(&self.env, &self.state, set, options);
        let changes = execute(&mut self.engine, (index, &transaction), on, outcome)?;
        if outcome.execution.is_none() {
            return Err(undecided(index, hash, outcome));
        }
        if let Some(changes) = changes {
            apply(&mut self.state, changes);
        }
        Ok(Judged {
            index,
            transaction,
            expected: self.expected.get(index).copied(),
        })
    }

    /// The case's chain.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.engine.chain_id()
    }

    /// The environment of the case's block.
    #[must_use]
    pub const fn env(&self) -> &BlockEnv {
        &self.env
    }

    /// The state after the steps so far.
    #[must_use]
    pub const fn state(&self) -> &CompleteState {
        &self.state
    }

    fn step(&mut self, index: usize, transaction: Transaction) -> Result<Step, ReplayError> {
        let hash = transaction.hash();
        let recorder = Recorder::new(&self.state);
        let set = Arc::clone(&self.watched);
        let options = Options {
            digest: true,
            call_path: false,
            ..Options::default()
        };
        let mut outcome = Outcome::default();
        let on = Context::new(&self.env, &recorder, &set, &options);
        let changes = execute(&mut self.engine, (index, &transaction), on, &mut outcome)?;
        outcome.complete(&set);
        let Some(execution) = outcome.execution.take() else {
            return Err(undecided(index, hash, &outcome));
        };
        let prestate = recorder.into_prestate();
        if let Some(changes) = changes {
            apply(&mut self.state, changes);
        }
        Ok(Step {
            index,
            transaction,
            prestate,
            outcome: execution,
            expected: self.expected.get(index).copied(),
            judgements: outcome.judgements,
        })
    }
}

impl Iterator for Replay {
    type Item = Result<Step, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (index, transaction) = self.transactions.next()?;
        let step = self.step(index, transaction);
        if step.is_err() {
            self.transactions = Vec::new().into_iter().enumerate();
        }
        Some(step)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.transactions.size_hint().1)
    }
}

/// Judges a transaction, and gives what it changed; an invalid one changes nothing.
fn execute(
    engine: &mut Engine,
    (index, transaction): (usize, &Transaction),
    on: Context<'_>,
    outcome: &mut Outcome,
) -> Result<Option<Changes>, ReplayError> {
    let mut changes = None;
    engine
        .judge_watched_then(transaction, on, outcome, &mut |machine| {
            changes = Some(machine.changes());
        })
        .map_err(|source| ReplayError::Engine {
            index,
            hash: transaction.hash(),
            source,
        })?;
    Ok(changes)
}

/// Why a transaction was not executed to its end.
fn undecided(index: usize, hash: crate::B256, outcome: &Outcome) -> ReplayError {
    let nothing = || Reason::Unsupported("nothing was executed".to_owned());
    let reason = outcome.undecided.clone().unwrap_or_else(nothing);
    ReplayError::Undecided { index, hash, reason }
}

/// Makes the changes of a transaction part of the state.
fn apply(state: &mut CompleteState, changes: Changes) {
    let Prestate { accounts, codes, .. } = &mut state.0;
    codes.extend(changes.codes);
    for (address, change) in changes.accounts {
        let known = accounts.entry(address).or_default();
        if change.created || change.account.is_none() {
            known.storage.clear();
        }
        known.account = change.account;
        known.storage.extend(change.storage);
    }
}
