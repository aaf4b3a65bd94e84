//! Judging a whole set on the live journal, at the price of what the transaction changed.
//!
//! 1. What views say and read on the state before is learnt, unless it is known already.
//! 2. The transaction is executed and left uncommitted on the journal.
//! 3. What it wrote leads to the invariants that read it; views whose reads it wrote are called on the journal.
//! 4. Those invariants are judged: before is the original value on the journal, after the present one.
//! 5. Only a violation, or a revert where warnings are wanted, is run a second time to be explained.

use crate::{
    Context, Engine, EngineError, Outcome, Reason, Status, Transaction, U256, WatchSet, Watched,
    evm::{Fault, Machine, Written},
    judge,
    lang::Evaluator,
    reading::{Live, Sources},
    views::{self, Learnt, Word},
};

/// Buffers that outlive a judgement.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Invariants to judge.
    pub(crate) places: Vec<Place>,
    /// Words before and after of the slots that led to them.
    pub(crate) slots: Vec<(U256, U256)>,
    /// Places of views to call.
    pub(crate) views: Vec<u32>,
    pub(crate) words: Vec<(u32, Word)>,
    pub(crate) evaluator: Evaluator,
}

impl Engine {
    /// Executes the transaction and judges those invariants of the set that it could have changed; all others are untouched and not
    /// listed. The cost follows what the transaction changed, not how many invariants there are.
    ///
    /// # Errors
    /// When the state source is broken. A bad transaction, missing state and spent budgets are undecided verdicts.
    pub fn judge_watched(&mut self, tx: &Transaction, on: Context<'_>) -> Result<Outcome, EngineError> {
        let mut outcome = Outcome::default();
        self.judge_watched_into(tx, on, &mut outcome)?;
        Ok(outcome)
    }

    /// The same into an outcome that is used again: once its buffers are large enough, judging allocates nothing beyond what
    /// revm does. What was in it is forgotten.
    ///
    /// # Errors
    /// See [`Engine::judge_watched`]; then the outcome is empty.
    pub fn judge_watched_into(
        &mut self,
        tx: &Transaction,
        on: Context<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), EngineError> {
        self.judge_watched_then(tx, on, outcome, &mut |_| {})
    }

    /// The same, showing the executed transaction before it is forgotten; not one that is invalid.
    pub(crate) fn judge_watched_then(
        &mut self,
        tx: &Transaction,
        on: Context<'_>,
        outcome: &mut Outcome,
        executed: &mut dyn FnMut(&Machine),
    ) -> Result<(), EngineError> {
        outcome.clear();
        let learnt = self.learn(on).map_err(Fault::Broken);
        let judged = learnt.and_then(|()| self.judge_live(tx, on, outcome));
        if judged.is_ok() && outcome.undecided.is_none() {
            executed(&self.machine);
        }
        self.machine.reset();
        let judged = match judged {
            Err(Fault::Undecided(reason)) => {
                outcome.undecided = Some(reason);
                Ok(())
            }
            Err(Fault::Broken(error)) => Err(error),
            Ok(()) if Self::leaves_questions(on.options, outcome) => {
                let explained = self.explain(tx, on, outcome);
                self.machine.reset();
                explained
            }
            Ok(()) => Ok(()),
        };
        if judged.is_err() {
            outcome.clear();
        }
        judged
    }

    /// Leaves the transaction on the journal. What views say before it must have been learnt.
    pub(crate) fn judge_live(&mut self, tx: &Transaction, on: Context<'_>, outcome: &mut Outcome) -> Result<(), Fault> {
        let Context {
            env,
            state,
            set,
            options,
        } = on;
        let execution = self.machine.execute(env, tx, state, options.expired, options.digest)?;
        let invalid = match &execution.status {
            Status::Invalid(why) => Some(Reason::InvalidTransaction(why.clone())),
            _ => None,
        };
        outcome.execution = Some(execution);
        if invalid.is_some() {
            outcome.undecided = invalid;
            return Ok(());
        }
        let learnt = self.learnt.as_ref();
        let Scratch {
            places,
            slots,
            views,
            words,
            evaluator,
        } = &mut self.scratch;
        places.clear();
        slots.clear();
        views.clear();
        words.clear();
        triggered(&self.machine, set, learnt, places, slots, views);
        views::after(&mut self.machine, on, views, words)
            .map(drop)
            .map_err(Fault::Broken)?;
        let live = Live {
            machine: &self.machine,
            state,
        };
        let mut sources = Sources::new(&live, on, tx, learnt, words);
        for Place { at, words } in places.iter() {
            let Some(watched) = set.at(*at) else { continue };
            if let (Watched::Slot(invariant), Some(words)) = (watched, slots.get(*words as usize)) {
                outcome
                    .judgements
                    .push(judge::judge_checked(invariant, Some(*words), tx.hash()));
                continue;
            }
            outcome
                .judgements
                .push(judge::judge_watched(*at, watched, &mut sources, evaluator));
            if let Some(error) = sources.broken.take() {
                return Err(Fault::Broken(error));
            }
        }
        Ok(())
    }

    /// Makes sure that what the views say on this state is known.
    pub(crate) fn learn(&mut self, on: Context<'_>) -> Result<(), EngineError> {
        if on.set.views().is_empty() {
            self.learnt = None;
        } else if !self.learnt.as_ref().is_some_and(|learnt| learnt.is_of(on)) {
            self.learnt = None;
            self.learnt = Some(Learnt::learn(&mut self.machine, on)?);
        }
        Ok(())
    }
}

impl Outcome {
    /// Empties it, keeping its buffers.
    pub(crate) fn clear(&mut self) {
        self.execution = None;
        self.undecided = None;
        self.judgements.clear();
        self.warnings.clear();
    }
}

/// An invariant to judge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Where it stands in its set.
    at: u32,
    /// Where the words stand that led to it, if it is one slot's.
    words: u32,
}

/// Words that are not at hand.
const NOT_AT_HAND: u32 = u32::MAX;

impl From<u32> for Place {
    fn from(at: u32) -> Self {
        Self { at, words: NOT_AT_HAND }
    }
}

/// Who must be judged, and which views must be called for it; both in rising order.
fn triggered(
    machine: &Machine,
    set: &WatchSet,
    learnt: Option<&Learnt>,
    places: &mut Vec<Place>,
    slots: &mut Vec<(U256, U256)>,
    views: &mut Vec<u32>,
) {
    let index = set.index();
    places.extend(set.always().iter().copied().map(Place::from));
    let of_views = learnt.map(|learnt| &learnt.index);
    machine.written(
        |address, slots| {
            let entry = index.account(address, slots);
            let of_views = of_views.and_then(|index| Some((index, index.account(address, slots)?)));
            (entry.is_some() || of_views.is_some()).then_some((entry, of_views))
        },
        |address, (entry, of_views), written: Written, at_hand| {
            if let Some(entry) = entry {
                let readers = index.readers(entry, address, written);
                let mut words = NOT_AT_HAND;
                if let (false, Some(pair)) = (readers.is_empty(), at_hand) {
                    words = u32::try_from(slots.len()).unwrap_or(NOT_AT_HAND);
                    slots.push(pair);
                }
                places.extend(readers.iter().map(|at| Place { at: *at, words }));
            }
            if let Some((index, entry)) = of_views {
                views.extend_from_slice(index.readers(entry, address, written));
            }
        },
    );
    if index.reads_logs() {
        for topic in machine.logs().iter().filter_map(|log| log.topics().first()) {
            places.extend(index.readers_of_topic(*topic).iter().copied().map(Place::from));
        }
    }
    if let Some(learnt) = learnt {
        views.extend_from_slice(&learnt.always);
        sort(views);
        for view in views.iter().chain(&learnt.unknown) {
            places.extend(set.readers(*view).iter().copied().map(Place::from));
        }
    }
    if places.len() > 1 {
        places.sort_unstable_by_key(|place| place.at);
        places.dedup_by_key(|place| place.at);
    }
}

fn sort(numbers: &mut Vec<u32>) {
    numbers.sort_unstable();
    numbers.dedup();
}
