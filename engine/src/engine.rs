//! The engine: executes a transaction on a state and judges invariants on what it leaves behind.

use crate::{
    BlockEnv, Execution, Invariant, Judgement, Outcome, Reason, State, StateError, Status, Transaction,
    evm::{Fault, Machine},
    judge,
    live::Scratch,
    views::Learnt,
};

/// Version that stands in every witness: of this crate and of the EVM in it.
pub const ENGINE_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+revm-43.0.3");

/// Why judging failed, as opposed to a bad transaction or missing state, which are answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The state source is broken or contradicts itself.
    #[error("state source broken: {0}; nothing was judged")]
    State(String),
    /// The EVM failed in a way that no input should bring about.
    #[error("the EVM failed: {0}; nothing was judged")]
    Evm(String),
}

/// Judges transactions of one chain, one after the other. Its EVM, buffers and analysed code are used again and again: keep one
/// per thread. Every call answers for the state given with it; kept between calls is only what views say on a state that was
/// given a name ([`crate::Options::state_id`]).
#[derive(Debug)]
pub struct Engine {
    pub(crate) machine: Machine,
    pub(crate) scratch: Scratch,
    /// What the views of one set say on the last named state.
    pub(crate) learnt: Option<Learnt>,
}

impl Engine {
    /// An engine for a chain.
    #[must_use]
    pub fn new(chain_id: u64) -> Self {
        Self {
            machine: Machine::new(chain_id),
            scratch: Scratch::default(),
            learnt: None,
        }
    }

    /// The chain that it executes for.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.machine.chain_id()
    }

    /// Executes the transaction on this state under this environment and judges each invariant on its post-state.
    ///
    /// An invariant whose slot the transaction leaves as it was is untouched: it holds, and nothing is read for it.
    ///
    /// # Errors
    /// When the state source is broken. A bad transaction and missing state are undecided verdicts.
    pub fn judge(
        &mut self,
        env: &BlockEnv,
        tx: &Transaction,
        state: &dyn State,
        invariants: &[Invariant],
    ) -> Result<Outcome, EngineError> {
        let answer = match self.machine.execute(env, tx, state, None, true) {
            Ok(execution) => judge_all(&self.machine, execution, tx, state, invariants),
            Err(Fault::Undecided(reason)) => Ok(undecided(None, &reason, invariants)),
            Err(Fault::Broken(error)) => Err(error),
        };
        self.machine.reset();
        answer
    }
}

fn judge_all(
    machine: &Machine,
    execution: Execution,
    tx: &Transaction,
    state: &dyn State,
    invariants: &[Invariant],
) -> Result<Outcome, EngineError> {
    if let Status::Invalid(why) = &execution.status {
        let reason = Reason::InvalidTransaction(why.clone());
        return Ok(undecided(Some(execution), &reason, invariants));
    }
    let mut judgements = Vec::with_capacity(invariants.len());
    for invariant in invariants {
        let words = match machine.slot(state, invariant.contract, invariant.slot) {
            Ok(words) => words,
            Err(StateError::Missing(what)) => {
                judgements.push(Judgement::undecided(invariant.id, Reason::MissingState(what)));
                continue;
            }
            Err(StateError::Broken(why)) => return Err(EngineError::State(why)),
        };
        judgements.push(judge::judge(invariant, words, tx.hash()));
    }
    Ok(Outcome {
        execution: Some(execution),
        judgements,
        ..Outcome::default()
    })
}

fn undecided(execution: Option<Execution>, reason: &Reason, invariants: &[Invariant]) -> Outcome {
    let judgements = invariants
        .iter()
        .map(|invariant| Judgement::undecided(invariant.id, reason.clone()))
        .collect();
    Outcome {
        execution,
        judgements,
        undecided: Some(reason.clone()),
        warnings: Vec::new(),
    }
}
