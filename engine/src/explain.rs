//! What only a second, traced run of a transaction can tell: the calls down to the write that broke an invariant, and what frames
//! that were undone would have violated.
//!
//! What always holds: it changes no verdict. Where it cannot be had, paths and warnings are missing, and nothing else.

use std::cell::RefCell;

use alloy::primitives::Log;

use crate::{
    Account, Address, Call, Context, Engine, EngineError, Judgement, Options, Outcome, State, Status, Transaction,
    U256, Verdict, Warning, WatchSet, Watched,
    evm::{Fault, Moment, Rewind, Undone, Written},
    judge,
    lang::{Evaluator, Source},
    reading::{Both, Live, Sources, States},
    views::{self, Learnt},
};

/// Points of a run that are looked at for a crossing; beyond, the last write of what an invariant reads has to do.
const MOST_POINTS: usize = 4096;

/// Around what a transaction is explained.
#[derive(Clone, Copy)]
struct Around<'a> {
    on: Context<'a>,
    tx: &'a Transaction,
    learnt: Option<&'a Learnt>,
}

impl Engine {
    /// True when an outcome leaves something to be explained.
    pub(crate) fn leaves_questions(options: &Options<'_>, outcome: &Outcome) -> bool {
        options.call_path && outcome.violations().next().is_some() || reverted(options, outcome)
    }

    /// Adds to an outcome what only a second run can tell. Its transaction must not be on the journal; afterwards it may be, in
    /// part.
    pub(crate) fn explain(
        &mut self,
        tx: &Transaction,
        on: Context<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), EngineError> {
        let Context {
            env, state, options, ..
        } = on;
        let reverted = reverted(options, outcome);
        let Outcome {
            judgements, warnings, ..
        } = outcome;
        let around = Around {
            on,
            tx,
            learnt: self.learnt.as_ref(),
        };
        let evaluator = RefCell::new(&mut self.scratch.evaluator);
        let (mut warned, mut found) = (Ok(()), Ok(()));
        let mut views_gas = options.views_gas;
        let mut on_revert = |moment: &mut Moment<'_, '_>, frame: &Call| {
            if reverted && warned.is_ok() {
                warned = warn(
                    moment,
                    frame,
                    around,
                    &mut views_gas,
                    &mut evaluator.borrow_mut(),
                    warnings,
                );
            }
        };
        let mut back = |run: Rewind<'_, '_>| found = paths(run, around, &mut evaluator.borrow_mut(), judgements);
        let explained = self
            .machine
            .explain(env, tx, state, options.expired, &mut on_revert, &mut back);
        warned.and(found)?;
        match explained {
            Err(Fault::Broken(error)) => Err(error),
            Ok(()) | Err(Fault::Undecided(_)) => Ok(()),
        }
    }
}

fn reverted(options: &Options<'_>, outcome: &Outcome) -> bool {
    let status = outcome.execution.as_ref().map(|execution| &execution.status);
    options.warnings && matches!(status, Some(Status::Revert | Status::Halt(_)))
}

/// A violation whose crossing is looked for.
struct Wanted<'a> {
    place: u32,
    watched: &'a Watched,
    path: &'a mut Vec<Call>,
    /// The views that it reads, in rising order.
    views: Vec<u32>,
}

/// Gives each witness its path: the calls that were open at the last write or log before which its invariant still held.
fn paths(
    mut run: Rewind<'_, '_>,
    around: Around<'_>,
    evaluator: &mut Evaluator,
    judgements: &mut [Judgement],
) -> Result<(), EngineError> {
    let Context { state, set, .. } = around.on;
    let mut wanted = Vec::new();
    for judgement in judgements {
        let Verdict::Violated(witness) = &mut judgement.verdict else {
            continue;
        };
        let id = witness.invariant_id;
        let Some((place, watched)) = (0..).zip(set.watched()).find(|(_, watched)| watched.id() == id) else {
            continue;
        };
        if let Watched::Slot(invariant) = watched {
            let holds = |word| invariant.read(word).map(|value| invariant.holds(value));
            witness.path = run.crossing(invariant.contract, invariant.slot, &holds);
            continue;
        }
        let path = &mut witness.path;
        *path = run.last_write(&|address, written| reads(around, place, watched, address, written));
        wanted.push(Wanted {
            place,
            watched,
            path,
            views: views_of(set, watched),
        });
    }
    let mut options = *around.on.options;
    for _ in 0..MOST_POINTS {
        let (false, Some(undone)) = (wanted.is_empty(), run.step()) else {
            return Ok(());
        };
        let concerned = |wanted: &Wanted<'_>| match &undone {
            // Whatever was written, a view may read it now.
            Undone::Write { .. } if !wanted.views.is_empty() => true,
            Undone::Write { written, .. } => written.iter().flatten().any(|(address, written)| {
                let index = set.index();
                index.is_read_by(*address, *written, wanted.place)
            }),
            Undone::Log { log, .. } => {
                let readers = log.topics().first().map(|topic| set.index().readers_of_topic(*topic));
                readers.is_some_and(|readers| readers.contains(&wanted.place))
            }
        };
        let mut called: Vec<u32> = wanted
            .iter()
            .filter(|one| concerned(one))
            .flat_map(|one| one.views.clone())
            .collect();
        called.sort_unstable();
        called.dedup();
        let mut words = Vec::new();
        let on = Context {
            options: &options,
            ..around.on
        };
        options.views_gas = views::after(run.machine_mut(), on, &called, &mut words)?;
        let live = Live {
            machine: run.machine(),
            state,
        };
        let mut sources = around.sources(&live, &words);
        let mut still = Vec::with_capacity(wanted.len());
        for one in wanted {
            let kept = concerned(&one) && judge::is_kept(one.place, one.watched, &mut sources, evaluator) == Some(true);
            if kept {
                *one.path = run.path(&undone);
            } else {
                still.push(one);
            }
        }
        if let Some(error) = sources.broken.take() {
            return Err(error);
        }
        wanted = still;
    }
    Ok(())
}

impl<'a> Around<'a> {
    fn sources<'s>(&self, states: &'s dyn States, after: &'s [(u32, views::Word)]) -> Sources<'s>
    where
        'a: 's,
    {
        Sources::new(states, self.on, self.tx, self.learnt, after)
    }
}

/// The views that an invariant reads, in rising order.
fn views_of(set: &WatchSet, watched: &Watched) -> Vec<u32> {
    let mut views: Vec<u32> = match watched {
        Watched::Slot(_) => Vec::new(),
        Watched::View(invariant) => set.place_of(&invariant.view).into_iter().collect(),
        Watched::Program(invariant) => {
            let reads = invariant.program.reads().iter();
            let view = |source: &Source| match source {
                Source::View(view) => set.place_of(view),
                _ => None,
            };
            reads.filter_map(|read| view(&read.source)).collect()
        }
    };
    views.sort_unstable();
    views.dedup();
    views
}

/// True when this invariant reads what was written of an account, itself or through a view.
fn reads(around: Around<'_>, place: u32, watched: &Watched, address: Address, written: Written) -> bool {
    let set = around.on.set;
    let through = |view: u32| {
        let learnt = around.learnt;
        learnt.is_some_and(|learnt| learnt.index.is_read_by(address, written, view))
    };
    set.index().is_read_by(address, written, place) || views_of(set, watched).into_iter().any(through)
}

/// The state before the transaction, and that in which a frame is about to be undone.
struct Midway<'m, 'j, 'a> {
    moment: &'m Moment<'j, 'a>,
    state: &'m dyn State,
}

impl States for Midway<'_, '_, '_> {
    fn words(&self, contract: Address, slot: U256) -> Both<U256> {
        self.moment.words(self.state, contract, slot)
    }
    fn accounts(&self, address: Address) -> Both<Option<Account>> {
        self.moment.account(self.state, address)
    }
    fn logs(&self) -> &[Log] {
        self.moment.logs()
    }
}

/// Judges what a frame wrote and logged before it is undone.
fn warn(
    moment: &mut Moment<'_, '_>,
    frame: &Call,
    around: Around<'_>,
    views_gas: &mut u64,
    evaluator: &mut Evaluator,
    warnings: &mut Vec<Warning>,
) -> Result<(), EngineError> {
    let set = around.on.set;
    let (mut places, mut called) = (Vec::new(), Vec::new());
    for (address, written) in moment.written() {
        set.index().readers_of(address, written, &mut places);
        if let Some(learnt) = around.learnt {
            learnt.index.readers_of(address, written, &mut called);
        }
    }
    for topic in moment.own_logs().iter().filter_map(|log| log.topics().first()) {
        places.extend_from_slice(set.index().readers_of_topic(*topic));
    }
    for view in &called {
        places.extend_from_slice(set.readers(*view));
    }
    places.sort_unstable();
    places.dedup();
    let is_known = |watched: &Watched| warnings.iter().any(|warning| warning.invariant_id == watched.id());
    let new: Vec<(u32, &Watched)> = places
        .into_iter()
        .filter_map(|place| Some((place, set.at(place)?)))
        .filter(|(_, watched)| !is_known(watched))
        .collect();
    // An outer frame may have written what a view reads: all are called that matter.
    let mut needed: Vec<u32> = new.iter().flat_map(|(_, watched)| views_of(set, watched)).collect();
    needed.sort_unstable();
    needed.dedup();
    let mut words = Vec::new();
    if !needed.is_empty() {
        views::midway(moment, around.on, &needed, views_gas, &mut words)?;
    }
    let midway = Midway {
        moment,
        state: around.on.state,
    };
    let mut sources = around.sources(&midway, &words);
    for (place, watched) in new {
        let judgement = judge::judge_watched(place, watched, &mut sources, evaluator);
        if let Some(error) = sources.broken.take() {
            return Err(error);
        }
        if let Verdict::Violated(witness) = judgement.verdict {
            warnings.push(Warning {
                invariant_id: witness.invariant_id,
                frame: frame.clone(),
                pre: witness.pre,
                at_revert: witness.post,
            });
        }
    }
    Ok(())
}
