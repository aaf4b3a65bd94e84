//! One judgement, and everything that it read: the state by key, the block environment by instruction.
//!
//! What always holds: judging the transaction again on the recorded prestate, under an environment with the same values in what
//! was read, gives the same verdicts.

use crate::{
    BlockEnv, Context, Engine, EngineError, EnvReads, Options, Outcome, Prestate, Recorder, State, Transaction,
    WatchSet, lang::Source, watch::Watched,
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
        let (set, options) = (WatchSet::default(), Options::default());
        self.record_watched(tx, Context::new(env, state, &set, &options))
    }

    /// [`Engine::judge_watched`], writing down what it read. Views are always run on the state given, whatever name
    /// ([`Options::state_id`]) it has: what they read belongs to the record.
    ///
    /// # Errors
    /// See [`Engine::judge_watched`].
    pub fn record_watched(&mut self, tx: &Transaction, on: Context<'_>) -> Result<Recording, EngineError> {
        self.record_behind(&[], tx, on)
    }

    /// [`Engine::judge_behind`], writing down what that read: what its predecessors read, too.
    ///
    /// # Errors
    /// See [`Engine::judge_behind`].
    pub fn record_behind(
        &mut self,
        predecessors: &[Transaction],
        tx: &Transaction,
        on: Context<'_>,
    ) -> Result<Recording, EngineError> {
        let recorder = Recorder::new(on.state);
        let options = Options {
            state_id: None,
            ..*on.options
        };
        self.machine.note(true);
        let noting = Context {
            state: &recorder,
            options: &options,
            ..on
        };
        let judged = self.judge_behind(predecessors, tx, noting);
        let noted = self.machine.note(false);
        let outcome = judged?;
        let of_programs = outcome
            .judgements
            .iter()
            .filter_map(|judgement| {
                on.set
                    .watched()
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
