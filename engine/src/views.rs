//! Views around a transaction: what each says on the state before it and what it reads there, learnt once per state; and what
//! those say afterwards whose reads the transaction wrote.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use crate::{
    Account, Address, B256, BlockEnv, Bytes, Context, EngineError, Options, Reason, State, StateError, U256, ViewError,
    evm::{Fault, MOST_GAS, Machine, Moment, ViewCalls, ViewFault},
    judge,
    lang::View,
    watch::index::{Index, Key},
};

/// A word that a view returned, or why there is none.
pub(crate) type Word = Result<U256, Reason>;

/// What the views of a set say on one state.
#[derive(Clone, Debug)]
pub(crate) struct Learnt {
    set: u64,
    state_id: Option<B256>,
    env: BlockEnv,
    budgets: (u64, u64),
    /// From what is written to the views that read it.
    pub(crate) index: Index,
    /// Views that read the block environment.
    pub(crate) always: Vec<u32>,
    /// Views without a word: what reads them is undecided whatever is written.
    pub(crate) unknown: Vec<u32>,
    words: Vec<Word>,
    /// Gas that is left for views.
    gas_left: u64,
}

impl Learnt {
    /// True when this is what learning again would give.
    pub(crate) fn is_of(&self, on: Context<'_>) -> bool {
        let options = on.options;
        self.state_id.is_some()
            && self.state_id == options.state_id
            && self.set == on.set.number()
            && self.budgets == (options.view_gas, options.views_gas)
            && self.env == *on.env
    }

    /// What a view says before the transaction.
    pub(crate) fn word(&self, view: u32) -> Option<&Word> {
        self.words.get(view as usize)
    }

    /// Runs every view once on the state given, each from nothing, writing down what it asks the state for.
    pub(crate) fn learn(machine: &mut Machine, on: Context<'_>) -> Result<Self, EngineError> {
        let (views, options) = (on.set.views(), on.options);
        let mut learnt = Self {
            set: on.set.number(),
            state_id: options.state_id,
            env: on.env.clone(),
            budgets: (options.view_gas, options.views_gas),
            index: Index::default(),
            always: Vec::new(),
            unknown: Vec::new(),
            words: Vec::with_capacity(views.len()),
            gas_left: options.views_gas,
        };
        let mut keys = Vec::new();
        for place in (0_u32..).take(views.len()) {
            let seen = Seen::new(on.state);
            let on = Context { state: &seen, ..on };
            let mut words = Vec::with_capacity(1);
            let ended = run(machine, on, &[place], learnt.gas_left, true, &mut words);
            machine.reset();
            let ended = ended?;
            // Each of the two states has the whole budget, so that what was learnt earlier changes no verdict.
            learnt.gas_left = ended.gas_left;
            if ended.read_block || seen.block.get() {
                learnt.always.push(place);
            }
            keys.extend(seen.keys.into_inner().into_iter().map(|key| (key, place)));
            let word = words
                .pop()
                .map_or_else(|| Err(Reason::Unsupported("view not run".to_owned())), |(_, word)| word);
            if let Err(reason) = &word {
                learnt.unknown.push(place);
                if is_late(reason) {
                    // Another time it may be faster.
                    learnt.state_id = None;
                }
            }
            learnt.words.push(word);
        }
        learnt.index = Index::new(keys);
        Ok(learnt)
    }
}

impl Learnt {
    /// Learns these views (in rising order) anew on the settled journal of a sequence: what else was learnt is still so. It has no name
    /// any more.
    pub(crate) fn learn_again(
        &mut self,
        machine: &mut Machine,
        on: Context<'_>,
        places: &[u32],
    ) -> Result<(), EngineError> {
        let is_other = |view: &u32| places.binary_search(view).is_err();
        self.state_id = None;
        self.always.retain(is_other);
        self.unknown.retain(is_other);
        let mut keys = self.index.keys();
        keys.retain(|(_, view)| is_other(view));
        let mut gas_left = on.options.views_gas;
        for place in places {
            machine.forget_reads();
            let mut words = Vec::with_capacity(1);
            let one = std::slice::from_ref(place);
            let ended = run(machine, on, one, gas_left, true, &mut words)?;
            gas_left = ended.gas_left;
            machine.read(&mut |address, slot| match slot {
                Some(slot) => keys.push((Key::Slot(address, slot), *place)),
                None => {
                    let account = [Key::Balance(address), Key::Nonce(address), Key::Code(address)];
                    keys.extend(account.map(|key| (key, *place)));
                }
            });
            if ended.read_block {
                self.always.push(*place);
            }
            let Some((_, word)) = words.pop() else { continue };
            if word.is_err() {
                self.unknown.push(*place);
            }
            if let Some(known) = self.words.get_mut(*place as usize) {
                *known = word;
            }
        }
        self.always.sort_unstable();
        self.unknown.sort_unstable();
        self.index = Index::new(keys);
        Ok(())
    }
}

const fn is_late(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::Deadline
            | Reason::View {
                why: ViewError::Time,
                ..
            }
    )
}

/// Runs these views on the state as the machine has it, and adds their words in this order. Returns the gas that is left for more.
pub(crate) fn after(
    machine: &mut Machine,
    on: Context<'_>,
    places: &[u32],
    words: &mut Vec<(u32, Word)>,
) -> Result<u64, EngineError> {
    let gas = on.options.views_gas;
    if places.is_empty() {
        return Ok(gas);
    }
    run(machine, on, places, gas, false, words).map(|ended| ended.gas_left)
}

/// The same in the middle of an execution, on the state as a frame that ended badly leaves it. `gas_left` is what is left for all views
/// of this execution. Of the limits in time only that of the challenge counts here.
pub(crate) fn midway(
    moment: &mut Moment<'_, '_>,
    on: Context<'_>,
    places: &[u32],
    gas_left: &mut u64,
    words: &mut Vec<(u32, Word)>,
) -> Result<(), EngineError> {
    let started = Cell::new(Duration::ZERO);
    let mut calls = Calls::new(on, places, *gas_left, &started, words);
    let ended = moment.views(&mut calls);
    *gas_left = calls.gas_left;
    ended
}

/// Passes reads through and writes down what they were.
struct Seen<'a> {
    state: &'a dyn State,
    keys: RefCell<Vec<Key>>,
    block: Cell<bool>,
}

impl<'a> Seen<'a> {
    fn new(state: &'a dyn State) -> Self {
        Self {
            state,
            keys: RefCell::default(),
            block: Cell::new(false),
        }
    }
}

impl State for Seen<'_> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let read = [Key::Balance(address), Key::Nonce(address), Key::Code(address)];
        self.keys.borrow_mut().extend(read);
        self.state.account(address)
    }
    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        self.state.code(code_hash)
    }
    fn has_code(&self, code_hash: B256) -> Result<(), StateError> {
        self.state.has_code(code_hash)
    }
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.keys.borrow_mut().push(Key::Slot(address, slot));
        self.state.storage(address, slot)
    }
    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.block.set(true);
        self.state.block_hash(number)
    }
}

/// How a run over some views ended.
struct Ended {
    gas_left: u64,
    read_block: bool,
}

/// Runs views within the budgets.
fn run(
    machine: &mut Machine,
    on: Context<'_>,
    places: &[u32],
    gas_left: u64,
    noted: bool,
    words: &mut Vec<(u32, Word)>,
) -> Result<Ended, EngineError> {
    let options = on.options;
    let started = Cell::new(Duration::ZERO);
    let challenge_expired = || options.expired.is_some_and(|expired| expired());
    let expired = || {
        let view_expired = options
            .view_time
            .is_some_and(|time| (time.now)().saturating_sub(started.get()) > time.limit);
        view_expired || challenge_expired()
    };
    let mut calls = Calls::new(on, places, gas_left, &started, words);
    let limited = options.expired.is_some() || options.view_time.is_some();
    let ended = machine.views(
        on.env,
        on.state,
        if limited { Some(&expired) } else { None },
        noted,
        &mut calls,
    );
    match ended {
        Ok(()) => {}
        Err(Fault::Broken(error)) => return Err(error),
        // Nothing could be run at all: the block's rules are not known.
        Err(Fault::Undecided(reason)) => {
            for place in calls.places.by_ref() {
                calls.words.push((*place, Err(reason.clone())));
            }
        }
    }
    Ok(Ended {
        gas_left: calls.gas_left,
        read_block: calls.read_block,
    })
}

struct Calls<'a> {
    views: &'a [View],
    places: std::slice::Iter<'a, u32>,
    options: &'a Options<'a>,
    /// Gas for one view.
    view_gas: u64,
    gas_left: u64,
    current: Option<(u32, &'a View, u64)>,
    started: &'a Cell<Duration>,
    read_block: bool,
    words: &'a mut Vec<(u32, Word)>,
}

impl<'a> Calls<'a> {
    fn new(
        on: Context<'a>,
        places: &'a [u32],
        gas_left: u64,
        started: &'a Cell<Duration>,
        words: &'a mut Vec<(u32, Word)>,
    ) -> Self {
        Self {
            views: on.set.views(),
            places: places.iter(),
            options: on.options,
            view_gas: on.options.view_gas.min(MOST_GAS),
            gas_left,
            current: None,
            started,
            read_block: false,
            words,
        }
    }
}

impl ViewCalls for Calls<'_> {
    fn next(&mut self) -> Option<(&View, u64)> {
        loop {
            let place = *self.places.next()?;
            let Some(view) = self.views.get(place as usize) else {
                continue;
            };
            if self.gas_left == 0 {
                self.words.push((place, Err(no_value(view, ViewError::Budget))));
                continue;
            }
            let gas = self.view_gas.min(self.gas_left);
            self.current = Some((place, view, gas));
            if let Some(time) = self.options.view_time {
                self.started.set((time.now)());
            }
            return Some((view, gas));
        }
    }

    fn done(&mut self, gas_used: u64, read_block: bool, result: Result<Bytes, ViewFault>) {
        let Some((place, view, gas)) = self.current.take() else {
            return;
        };
        self.gas_left = self.gas_left.saturating_sub(gas_used);
        self.read_block |= read_block;
        let word = match result {
            Ok(output) => word(view, &output).map_err(|why| no_value(view, why)),
            // With the gas of one view it might have had enough.
            Err(ViewFault::View(ViewError::OutOfGas { .. })) if gas < self.view_gas => {
                Err(no_value(view, ViewError::Budget))
            }
            Err(ViewFault::View(why)) => Err(no_value(view, why)),
            Err(ViewFault::Reason(Reason::Deadline)) if !self.options.expired.is_some_and(|expired| expired()) => {
                Err(no_value(view, ViewError::Time))
            }
            Err(ViewFault::Reason(reason)) => Err(reason),
        };
        self.words.push((place, word));
    }
}

const fn no_value(view: &View, why: ViewError) -> Reason {
    Reason::View {
        contract: view.contract,
        why,
    }
}

/// The word of the return data that is meant.
fn word(view: &View, output: &[u8]) -> Result<U256, ViewError> {
    let start = usize::from(view.word) * 32;
    let needed = start + 32;
    let word = output.get(start..needed).ok_or(ViewError::Short {
        bytes: output.len(),
        needed,
    })?;
    let word = U256::try_from_be_slice(word).unwrap_or_default();
    if judge::is_padded(view.value_type, word) {
        Ok(word)
    } else {
        Err(ViewError::Range {
            word,
            value_type: view.value_type,
        })
    }
}
