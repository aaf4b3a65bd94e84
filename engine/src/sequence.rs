//! Several transactions one after the other: a sender's chain of nonces, or a bundle.
//!
//! Each transaction is executed on what the ones before it left, and judged twice over: against the state right before itself
//! ([`SequenceOutcome::each`]), and all of them together against the state before the first ([`SequenceOutcome::whole`]). A
//! bundle that breaks an invariant and mends it again, or one that breaks it in two steps of which neither does alone, shows
//! only in one of the two.

use std::cell::RefCell;

use alloy::primitives::{
    Log,
    map::{AddressMap, B256HashMap, HashMap},
};

use crate::{
    Account, Address, B256, BlockEnv, Bytes, Engine, EngineError, Judgement, Options, Outcome, Reason, State,
    StateError, Transaction, Transition, U256, WatchSet,
    evm::Changes,
    judge,
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
    /// Executes the transactions in order on one state and judges each of them, and all of them together.
    ///
    /// # Errors
    /// When the state source is broken. A bad transaction, missing state and spent budgets are undecided verdicts.
    pub fn judge_sequence(
        &mut self,
        env: &BlockEnv,
        transactions: &[Transaction],
        state: &dyn State,
        set: &WatchSet,
        options: &Options<'_>,
    ) -> Result<SequenceOutcome, EngineError> {
        let mut sequence = SequenceOutcome::default();
        let layers = RefCell::new(Layers::default());
        let over = Overlay {
            below: state,
            layers: &layers,
        };
        let mut places = set.always().to_vec();
        let mut logs = Vec::new();
        let mut written = Vec::new();
        for (index, tx) in transactions.iter().enumerate() {
            if let Some(reason) = &sequence.undecided {
                sequence.each.push(Outcome {
                    undecided: Some(reason.clone()),
                    ..Outcome::default()
                });
                continue;
            }
            // The name is that of the state before the first.
            let options = Options {
                state_id: options.state_id.filter(|_| index == 0),
                ..*options
            };
            let (mut outcome, mut changes) = (Outcome::default(), None);
            self.judge_watched_then(env, tx, &over, set, &options, &mut outcome, &mut |machine| {
                let reads = |address, _| (set.index().reads_account(address) || !set.views().is_empty()).then_some(());
                machine.written(reads, |address, (), what, _| written.push((address, what)));
                logs.extend_from_slice(machine.logs());
                changes = Some(machine.changes());
            })?;
            if let Some(changes) = changes {
                layers.borrow_mut().apply(changes);
            }
            // An invalid transaction changes nothing; after one that could not be executed nothing is known.
            if outcome.execution.is_none() {
                sequence.undecided.clone_from(&outcome.undecided);
            }
            sequence.each.push(outcome);
        }
        let (Some(last), None) = (transactions.last(), &sequence.undecided) else {
            return Ok(sequence);
        };
        self.learn(env, state, set, options)?;
        let learnt = self.learnt.as_ref();
        let mut called = Vec::new();
        for (address, what) in &written {
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
        let mut words = Vec::new();
        let after = views::after(&mut self.machine, env, &over, set.views(), &called, options, &mut words);
        self.machine.reset();
        let _gas_left = after?;
        sequence.whole = judge_whole(
            &Pair {
                before: state,
                after: &over,
                logs: &logs,
            },
            (env, last, set, self.learnt.as_ref(), &words),
            &places,
            &mut self.scratch.evaluator,
        )?;
        Ok(sequence)
    }
}

fn sort(numbers: &mut Vec<u32>) {
    numbers.sort_unstable();
    numbers.dedup();
}

type Around<'a> = (
    &'a BlockEnv,
    &'a Transaction,
    &'a WatchSet,
    Option<&'a Learnt>,
    &'a [(u32, views::Word)],
);

fn judge_whole(
    states: &dyn States,
    (env, tx, set, learnt, after): Around<'_>,
    places: &[u32],
    evaluator: &mut crate::lang::Evaluator,
) -> Result<Vec<Judgement>, EngineError> {
    let mut sources = Sources {
        states,
        env,
        tx,
        set,
        learnt,
        after,
        broken: None,
    };
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

/// What the transactions so far have changed.
#[derive(Debug, Default)]
struct Layers {
    accounts: AddressMap<Option<Account>>,
    /// Contracts whose storage below does not count any more.
    cleared: AddressMap<()>,
    storage: HashMap<(Address, U256), U256>,
    codes: B256HashMap<Bytes>,
}

impl Layers {
    fn apply(&mut self, changes: Changes) {
        self.codes.extend(changes.codes);
        for (address, change) in changes.accounts {
            if change.created || change.account.is_none() {
                self.cleared.insert(address, ());
                self.storage.retain(|(owner, _), _| *owner != address);
            }
            self.accounts.insert(address, change.account);
            let slots = change.storage.into_iter().map(|(slot, value)| ((address, slot), value));
            self.storage.extend(slots);
        }
    }
}

/// A state with changes laid over it.
struct Overlay<'a> {
    below: &'a dyn State,
    layers: &'a RefCell<Layers>,
}

impl State for Overlay<'_> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let known = self.layers.borrow().accounts.get(&address).copied();
        known.map_or_else(|| self.below.account(address), Ok)
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        let known = self.layers.borrow().codes.get(&code_hash).cloned();
        known.map_or_else(|| self.below.code(code_hash), Ok)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let layers = self.layers.borrow();
        match layers.storage.get(&(address, slot)) {
            Some(value) => Ok(*value),
            None if layers.cleared.contains_key(&address) => Ok(U256::ZERO),
            None => self.below.storage(address, slot),
        }
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.below.block_hash(number)
    }
}

/// Before the first transaction and after the last.
struct Pair<'a> {
    before: &'a dyn State,
    after: &'a dyn State,
    logs: &'a [Log],
}

impl States for Pair<'_> {
    fn words(&self, contract: Address, slot: U256) -> Both<U256> {
        Ok((
            self.before.storage(contract, slot)?,
            self.after.storage(contract, slot)?,
        ))
    }
    fn accounts(&self, address: Address) -> Both<Option<Account>> {
        Ok((self.before.account(address)?, self.after.account(address)?))
    }
    fn logs(&self) -> &[Log] {
        self.logs
    }
}
