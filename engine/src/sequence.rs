//! Several transactions one after the other: a sender's chain of nonces, or a bundle.
//!
//! Each transaction is executed on what the ones before it left, and judged twice over: against the state right before itself
//! ([`SequenceOutcome::each`]), and all of them together against the state before the first ([`SequenceOutcome::whole`]). A
//! bundle that breaks an invariant and mends it again, or one that breaks it in two steps of which neither does alone, shows
//! only in one of the two.

use std::iter;

use alloy::primitives::Log;

use crate::{
    Account, Address, Context, Engine, EngineError, Judgement, Outcome, Reason, State, Transaction, Transition, U256,
    WatchSet,
    evm::{Fault, Machine, Written},
    judge,
    lang::Evaluator,
    reading::{Both, Sources, States},
    views::{self, Learnt},
};

/// What judging a sequence gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceOutcome {
    /// One for each transaction, in order: it alone, on the state right before it. After a transaction that could not be executed
    /// to its end, all are undecided for the same reason; an invalid one changes nothing, and the next is tried.
    pub each: Vec<Outcome>,
    /// All together: the state before the first against that after the last, for every invariant that any of them could have
    /// changed, in the order of the set. Logs are those of all. The witness of a violation names the last transaction. Empty when
    /// `undecided` says why.
    pub whole: Vec<Judgement>,
    /// Why the whole cannot be judged.
    pub undecided: Option<Reason>,
}

impl Engine {
    /// Executes the transactions in order on one state and judges each of them, and all of them together. All run on one journal:
    /// what one has loaded the next finds there, and nothing is copied in between.
    ///
    /// # Errors
    /// When the state source is broken. A bad transaction, missing state and spent budgets are undecided verdicts.
    pub fn judge_sequence(
        &mut self,
        transactions: &[Transaction],
        on: Context<'_>,
    ) -> Result<SequenceOutcome, EngineError> {
        self.learn(on)?;
        let mut first = None;
        let judged = self.run_sequence(transactions, on, &mut first);
        self.forget_sequence(first);
        judged
    }

    /// Judges a transaction on what those leave that go before it: `predecessors`, in their order. Their own verdicts are not told; one
    /// that is invalid changes nothing. Without any this is [`Engine::judge_watched`].
    ///
    /// # Errors
    /// See [`Engine::judge_sequence`].
    pub fn judge_behind(
        &mut self,
        predecessors: &[Transaction],
        tx: &Transaction,
        on: Context<'_>,
    ) -> Result<Outcome, EngineError> {
        self.judge_behind_then(predecessors, tx, on, &mut |_| {})
    }

    /// The same, showing the executed transaction before it is forgotten; not one that is invalid.
    pub(crate) fn judge_behind_then(
        &mut self,
        predecessors: &[Transaction],
        tx: &Transaction,
        on: Context<'_>,
        executed: &mut dyn FnMut(&Machine),
    ) -> Result<Outcome, EngineError> {
        if predecessors.is_empty() {
            let mut outcome = Outcome::default();
            self.judge_watched_then(tx, on, &mut outcome, executed)?;
            return Ok(outcome);
        }
        self.learn(on)?;
        let mut first = None;
        let transactions = predecessors.iter().chain(iter::once(tx));
        let judged = self.run_each(transactions, on, &mut first, &mut |engine, place| {
            if place == predecessors.len() {
                executed(&engine.machine);
            }
        });
        self.forget_sequence(first);
        Ok(judged?.each.pop().unwrap_or_default())
    }

    /// Empties the journal, and knows again what was learnt before the first transaction.
    fn forget_sequence(&mut self, first: Option<Learnt>) {
        self.machine.reset();
        if first.is_some() {
            self.learnt = first;
        }
    }

    /// Judges each on what the ones before it left. Leaves the journal as it is, and in `first` what was learnt before the first
    /// transaction, where that has changed since. `executed` sees each transaction while it is on the journal, with its place; not one
    /// that is invalid.
    fn run_each<'t>(
        &mut self,
        transactions: impl IntoIterator<Item = &'t Transaction>,
        on: Context<'_>,
        first: &mut Option<Learnt>,
        executed: &mut dyn FnMut(&Self, usize),
    ) -> Result<SequenceOutcome, EngineError> {
        let mut sequence = SequenceOutcome::default();
        let mut stale: Vec<u32> = Vec::new();
        for (place, tx) in transactions.into_iter().enumerate() {
            let mut outcome = Outcome::default();
            if let Some(reason) = &sequence.undecided {
                outcome.undecided = Some(reason.clone());
                sequence.each.push(outcome);
                continue;
            }
            if let (false, Some(learnt)) = (stale.is_empty(), &mut self.learnt) {
                first.get_or_insert_with(|| learnt.clone());
                learnt.learn_again(&mut self.machine, on, &stale)?;
            }
            stale.clear();
            match self.step(tx, on, &mut outcome, &mut |engine| {
                executed(engine, place);
                stale.extend_from_slice(&engine.scratch.views);
            }) {
                Ok(()) => {}
                // After one that could not be executed nothing is known.
                Err(Fault::Undecided(reason)) => {
                    outcome.undecided.get_or_insert_with(|| reason.clone());
                    sequence.undecided = Some(reason);
                }
                Err(Fault::Broken(error)) => return Err(error),
            }
            sequence.each.push(outcome);
        }
        Ok(sequence)
    }

    /// Leaves the journal as it is, and in `first` what was learnt before the first transaction, where that has changed since.
    fn run_sequence(
        &mut self,
        transactions: &[Transaction],
        on: Context<'_>,
        first: &mut Option<Learnt>,
    ) -> Result<SequenceOutcome, EngineError> {
        let set = on.set;
        let (mut written, mut logs) = (Vec::new(), Vec::new());
        let mut sequence = self.run_each(transactions, on, first, &mut |engine, _| {
            let reads = |address, _| (set.index().reads_account(address) || !set.views().is_empty()).then_some(());
            let machine = &engine.machine;
            machine.written(reads, |address, (), what, _| written.push((address, what)));
            logs.extend_from_slice(machine.logs());
        })?;
        let (Some(last), None) = (transactions.last(), &sequence.undecided) else {
            return Ok(sequence);
        };
        let learnt = first.as_ref().or(self.learnt.as_ref());
        let (places, called) = concerned(set, learnt, &written, &logs);
        let mut words = Vec::new();
        views::after(&mut self.machine, on, &called, &mut words)?;
        let states = Pair {
            machine: &self.machine,
            before: on.state,
            logs: &logs,
        };
        let sources = Sources::new(&states, on, last, learnt, &words);
        sequence.whole = judge_whole(sources, &places, &mut self.scratch.evaluator)?;
        Ok(sequence)
    }

    /// Judges one transaction on what the journal holds, and makes what it leaves the state before the next. `executed` sees it while
    /// it is on the journal; not one that is invalid, which changes nothing.
    fn step(
        &mut self,
        tx: &Transaction,
        on: Context<'_>,
        outcome: &mut Outcome,
        executed: &mut dyn FnMut(&Self),
    ) -> Result<(), Fault> {
        self.judge_live(tx, on, outcome)?;
        if outcome.undecided.is_some() {
            return Ok(());
        }
        executed(self);
        if Self::leaves_questions(on.options, outcome) {
            // Run again from where it began, explained, and once more to go on from where it ended.
            self.machine.discard();
            let explained = self.explain(tx, on, outcome);
            self.machine.discard();
            explained.map_err(Fault::Broken)?;
            self.machine.execute(on.env, tx, on.state, on.options.expired, false)?;
        }
        self.machine.settle();
        Ok(())
    }
}

/// What is changed by any of them: the invariants that read it, and the views to call for them; both in rising order.
fn concerned(
    set: &WatchSet,
    learnt: Option<&Learnt>,
    written: &[(Address, Written)],
    logs: &[Log],
) -> (Vec<u32>, Vec<u32>) {
    let (mut places, mut called) = (set.always().to_vec(), Vec::new());
    for (address, what) in written {
        set.index().readers_of(*address, *what, &mut places);
        if let Some(learnt) = learnt {
            learnt.index.readers_of(*address, *what, &mut called);
        }
    }
    for topic in logs.iter().filter_map(|log: &Log| log.topics().first()) {
        places.extend_from_slice(set.index().readers_of_topic(*topic));
    }
    if let Some(learnt) = learnt {
        called.extend_from_slice(&learnt.always);
        sort(&mut called);
        for view in called.iter().chain(&learnt.unknown) {
            places.extend_from_slice(set.readers(*view));
        }
    }
    sort(&mut places);
    (places, called)
}

fn judge_whole(
    mut sources: Sources<'_>,
    places: &[u32],
    evaluator: &mut Evaluator,
) -> Result<Vec<Judgement>, EngineError> {
    let set = sources.on.set;
    let mut whole = Vec::with_capacity(places.len());
    for (place, watched) in places.iter().filter_map(|place| Some((*place, set.at(*place)?))) {
        let judgement = judge::judge_watched(place, watched, &mut sources, evaluator);
        if let Some(error) = sources.broken.take() {
            return Err(error);
        }
        // Written, and written back.
        if judgement.transition != Some(Transition::Untouched) {
            whole.push(judgement);
        }
    }
    Ok(whole)
}

fn sort(numbers: &mut Vec<u32>) {
    numbers.sort_unstable();
    numbers.dedup();
}

/// Before the first transaction, and after the last one on the journal.
struct Pair<'a> {
    machine: &'a Machine,
    before: &'a dyn State,
    logs: &'a [Log],
}

impl States for Pair<'_> {
    fn words(&self, contract: Address, slot: U256) -> Both<U256> {
        let (_, after) = self.machine.words(self.before, contract, slot)?;
        Ok((self.before.storage(contract, slot)?, after))
    }
    fn accounts(&self, address: Address) -> Both<Option<Account>> {
        let (_, after) = self.machine.account(self.before, address)?;
        Ok((self.before.account(address)?, after))
    }
    fn logs(&self) -> &[Log] {
        self.logs
    }
}
