//! One judgement, and everything that it read: the state by key, the block environment by instruction.
//!
//! What always holds: judging the transaction again on the recorded prestate, under an environment with the same values in what
//! was read, gives the same verdicts.

use crate::{
    BlockEnv, Engine, EngineError, EnvReads, Options, Outcome, Prestate, Recorder, State, Transaction, WatchSet,
    lang::Source, watch::Watched,
};

/// What judging one transaction gave, and what it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Every account, slot, code and block hash that was read, as it was: what execution, views and predicates asked for. When
    /// the outcome is undecided for missing state: what was read up to there.
    pub prestate: Prestate,
    /// What executed code and judged predicates read of the block environment.
    pub env_reads: EnvReads,
    /// Verdicts and execution.
    pub outcome: Outcome,
}

impl Engine {
    /// Executes the transaction, judging nothing, and writes down what it read.
    ///
    /// # Errors
    /// See [`Engine::judge_watched`].
    pub fn record(&mut self, env: &BlockEnv, tx: &Transaction, state: &dyn State) -> Result<Recording, EngineError> {
        self.record_watched(env, tx, state, &WatchSet::default(), &Options::default())
    }

    /// [`Engine::judge_watched`], writing down what it read. Views are always run on the state given, whatever name
    /// ([`Options::state_id`]) it has: what they read belongs to the record.
    ///
    /// # Errors
    /// See [`Engine::judge_watched`].
    pub fn record_watched(
        &mut self,
        env: &BlockEnv,
        tx: &Transaction,
        state: &dyn State,
        set: &WatchSet,
        options: &Options<'_>,
    ) -> Result<Recording, EngineError> {
        self.record_behind(env, &[], tx, state, set, options)
    }

    /// [`Engine::judge_behind`], writing down what that read: what its predecessors read, too.
    ///
    /// # Errors
    /// See [`Engine::judge_behind`].
    pub fn record_behind(
        &mut self,
        env: &BlockEnv,
        predecessors: &[Transaction],
        tx: &Transaction,
        state: &dyn State,
        set: &WatchSet,
        options: &Options<'_>,
    ) -> Result<Recording, EngineError> {
        let recorder = Recorder::new(state);
        let options = Options {
            state_id: None,
            ..*options
        };
        self.machine.note(true);
        let judged = self.judge_behind(env, predecessors, tx, &recorder, set, &options);
        let noted = self.machine.note(false);
        let outcome = judged?;
        let of_programs = outcome
            .judgements
            .iter()
            .filter_map(|judgement| {
                set.watched()
                    .iter()
                    .find(|watched| watched.id() == judgement.invariant_id)
            })
            .fold(EnvReads::NONE, |reads, watched| reads | of_predicate(watched));
        Ok(Recording {
            prestate: recorder.into_prestate(),
            env_reads: noted | of_programs,
            outcome,
        })
    }
}

/// What a predicate itself reads of the block.
fn of_predicate(watched: &Watched) -> EnvReads {
    let Watched::Program(invariant) = watched else {
        return EnvReads::NONE;
    };
    let reads = invariant.program.reads().iter();
    reads.fold(EnvReads::NONE, |reads, read| {
        reads
            | match read.source {
                Source::BlockNumber => EnvReads::NUMBER,
                Source::BlockTimestamp => EnvReads::TIMESTAMP,
                Source::BaseFee => EnvReads::BASE_FEE,
                _ => EnvReads::NONE,
            }
    })
}
