//! Sequential execution of a recorded case, and for each transaction the exact prestate that it alone needs.
//!
//! What always holds: judging a step's transaction on its prestate gives the step's execution, on any machine.

use crate::{
    BlockEnv, CompleteState, Engine, EngineError, Execution, Invariant, Judgement, Outcome, Prestate, Reason, Recorder,
    Transaction,
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
    watched: Vec<Invariant>,
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
            watched: Vec::new(),
        }
    }

    /// Judges these invariants at every step, and records in its prestate what judging them reads beyond executing: the slots of
    /// a watched contract that the transaction destroys.
    #[must_use]
    pub fn watching(mut self, invariants: impl Into<Vec<Invariant>>) -> Self {
        self.watched = invariants.into();
        self
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
        let decided = self
            .engine
            .judge_and_diff(&self.env, &transaction, &recorder, &self.watched)
            .map_err(|source| ReplayError::Engine { index, hash, source })?;
        let (execution, judgements, changes) = match decided {
            Ok((
                Outcome {
                    execution: Some(execution),
                    judgements,
                    ..
                },
                changes,
            )) => (execution, judgements, changes),
            Ok((Outcome { execution: None, .. }, _)) => {
                let source = EngineError::Evm("no execution".to_owned());
                return Err(ReplayError::Engine { index, hash, source });
            }
            Err(reason) => return Err(ReplayError::Undecided { index, hash, reason }),
        };
        let prestate = recorder.into_prestate();
        apply(&mut self.state, changes);
        Ok(Step {
            index,
            transaction,
            prestate,
            outcome: execution,
            expected: self.expected.get(index).copied(),
            judgements,
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
