//! Engines on threads of their own, and one execution that notes what it read, what it missed, and what it would miss next.
//!
//! What always holds: an execution reads one [`View`] and never waits for a node. The queue is bounded; a job that finds it full is
//! refused. Dropping the last handle ends the threads.

use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use engine::{
    Account, Address, B256, BlockEnv, Bytes, Context, Engine, EngineError, Missing, Options, Outcome, Reason, State,
    StateError, Transaction, U256, Verdict, WatchSet, Watched, lang::Source,
};
use tokio::sync::oneshot;

use crate::{
    Unavailable,
    codes::Codes,
    recording::{Recording, Terms},
    snapshot::View,
};

type Work = Box<dyn FnOnce(&mut Engine) + Send>;

/// Engines on threads.
#[derive(Debug)]
pub(crate) struct Engines {
    work: Sender<Work>,
}

/// Most pieces of state that one execution asks for together.
pub(crate) const MOST_WANTED: usize = 256;

impl Engines {
    pub(crate) fn start(chain_id: u64, threads: usize, capacity: usize) -> std::io::Result<Self> {
        let (work, jobs) = bounded::<Work>(capacity);
        for index in 0..threads.max(1) {
            let jobs: Receiver<Work> = jobs.clone();
            std::thread::Builder::new()
                .name(format!("state-engine-{index}"))
                .spawn(move || {
                    let mut engine = Engine::new(chain_id);
                    for job in jobs {
                        // The caller sees its reply dropped; what a panic left behind is not used again.
                        if catch_unwind(AssertUnwindSafe(|| job(&mut engine))).is_err() {
                            engine = Engine::new(chain_id);
                        }
                    }
                })?;
        }
        Ok(Self { work })
    }

    /// Runs this on one of the engines and waits for it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let job: Work = Box::new(move |engine| {
            // Nobody waits any more: the deadline has passed.
            if !reply.is_closed() {
                drop(reply.send(work(engine)));
            }
        });
        match self.work.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Unavailable::Busy),
            Err(TrySendError::Disconnected(_)) => return Err(ended()),
        }
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(ended()),
            Err(_) => Err(Unavailable::Deadline),
        }
    }
}

fn ended() -> Unavailable {
    Unavailable::Engine(EngineError::Evm(
        "the thread of an engine ended before its reply".to_owned(),
    ))
}

/// What is executed.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) head: B256,
    pub(crate) chain_id: u64,
    pub(crate) env: BlockEnv,
    /// Executed before it, in their order.
    pub(crate) predecessors: Vec<Transaction>,
    pub(crate) tx: Transaction,
    /// What is judged; nothing when empty.
    pub(crate) set: Arc<WatchSet>,
    pub(crate) deadline: Instant,
}

impl Task {
    /// All that is executed, in order.
    pub(crate) fn transactions(&self) -> impl Iterator<Item = &Transaction> {
        self.predecessors.iter().chain(std::iter::once(&self.tx))
    }

    /// The one that is executed on the state itself.
    fn first(&self) -> &Transaction {
        self.predecessors.first().unwrap_or(&self.tx)
    }
}

/// What an execution came to.
#[derive(Debug)]
pub(crate) enum Run {
    /// It read everything that it needed.
    Done(Box<Recording>),
    /// It stopped for want of this; what it will probably want is here too, at least one.
    Wants(Vec<Missing>),
}

/// Executes on what is known. `look_ahead`: after a stop, run on as if what is missing were nothing, to see what else is missing.
pub(crate) fn run(
    engine: &mut Engine,
    task: &Task,
    view: &View,
    codes: &Codes,
    look_ahead: bool,
) -> Result<Run, Unavailable> {
    let expired = || Instant::now() >= task.deadline;
    let options = Options {
        expired: Some(&expired),
        digest: true,
        ..Options::default()
    };
    let nothing = WatchSet::new(Vec::new()).map_err(|error| EngineError::Evm(error.to_string()));
    let nothing = nothing.map_err(Unavailable::Engine)?;
    let credited = Credited::new(view, task.env.beneficiary);
    let mut recorded = engine
        .record_behind(
            &task.predecessors,
            &task.tx,
            Context::new(&task.env, &credited, &nothing, &options),
        )
        .map_err(Unavailable::Engine)?;
    // Behind others it finds what the journal holds of the beneficiary: whether it looked at that, reads do not tell.
    let mut only_credited = credited.only() && task.predecessors.is_empty();
    let mut missing = missing_of(&recorded.outcome);
    if missing.is_none() && !task.set.watched().is_empty() {
        let judged = engine
            .record_behind(
                &task.predecessors,
                &task.tx,
                Context::new(&task.env, view, &task.set, &options),
            )
            .map_err(Unavailable::Engine)?;
        missing = missing_of(&judged.outcome);
        only_credited &= !reads_account(&task.set, task.env.beneficiary);
        recorded = judged;
    }
    if let Some(missing) = missing {
        let mut wanted = vec![missing];
        if look_ahead {
            wanted.extend(
                ahead(engine, task, view, &options)
                    .into_iter()
                    .filter(|want| *want != missing),
            );
        }
        return Ok(Run::Wants(wanted));
    }
    if late(&recorded.outcome) {
        return Err(Unavailable::Deadline);
    }
    let sender_has_code = recorded
        .prestate
        .accounts
        .get(&task.tx.sender())
        .and_then(|known| known.account)
        .is_some_and(|account| account.has_code());
    // A creation's own code is not among those that were read, and it may create whatever it likes.
    let sees_balances = sender_has_code
        || task.tx.to().is_none()
        || recorded
            .prestate
            .codes
            .iter()
            .any(|(hash, code)| codes.sees_balances(*hash, code))
        || reads_account(&task.set, task.tx.sender());
    Ok(Run::Done(Box::new(Recording {
        head: task.head,
        chain_id: task.chain_id,
        env: task.env.clone(),
        terms: Terms::from(&task.tx),
        behind: task.predecessors.len(),
        prestate: recorded.prestate,
        env_reads: recorded.env_reads,
        outcome: recorded.outcome,
        only_credited,
        sees_balances,
        round_trips: 0,
    })))
}

/// The first piece of state that an outcome lacks.
fn missing_of(outcome: &Outcome) -> Option<Missing> {
    if let Some(Reason::MissingState(missing)) = outcome.undecided {
        return Some(missing);
    }
    outcome
        .judgements
        .iter()
        .find_map(|judgement| match &judgement.verdict {
            Verdict::Undecided(Reason::MissingState(missing)) => Some(*missing),
            _ => None,
        })
}

fn late(outcome: &Outcome) -> bool {
    outcome.undecided == Some(Reason::Deadline)
        || outcome
            .judgements
            .iter()
            .any(|judgement| judgement.verdict == Verdict::Undecided(Reason::Deadline))
}

/// True when a predicate of the set, or a view, may look at this account itself.
fn reads_account(set: &WatchSet, address: Address) -> bool {
    set.watched().iter().any(|watched| match watched {
        Watched::Slot(_) => false,
        Watched::View(_) => true,
        Watched::Program(invariant) => invariant.program.reads().iter().any(|read| match &read.source {
            Source::Balance(of) | Source::Nonce(of) | Source::CodeHash(of) => *of == address,
            Source::View(_) => true,
            _ => false,
        }),
    })
}

/// Runs on over what is missing and gives what was missing on the way.
fn ahead(engine: &mut Engine, task: &Task, view: &View, options: &Options<'_>) -> Vec<Missing> {
    let scout = Scout {
        view,
        first: task.first(),
        wanted: RefCell::default(),
    };
    // What it comes to is worth nothing: only what it asked for counts.
    drop(engine.record_behind(
        &task.predecessors,
        &task.tx,
        Context::new(&task.env, &scout, &task.set, options),
    ));
    scout.wanted.into_inner()
}

/// Notes whether the beneficiary's account was read at the end only: for its credit. revm reads an account from the source once, and
/// rewards the beneficiary after everything else.
struct Credited<'a> {
    view: &'a View,
    beneficiary: Address,
    /// Reads so far, and the one at which the beneficiary was read.
    reads: Cell<u64>,
    at: Cell<Option<u64>>,
}

impl<'a> Credited<'a> {
    const fn new(view: &'a View, beneficiary: Address) -> Self {
        Self {
            view,
            beneficiary,
            reads: Cell::new(0),
            at: Cell::new(None),
        }
    }

    /// True when it was not read, or last of all.
    fn only(&self) -> bool {
        self.at.get().is_none_or(|at| at == self.reads.get())
    }

    fn count(&self) {
        self.reads.set(self.reads.get() + 1);
    }
}

impl State for Credited<'_> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.count();
        if address == self.beneficiary && self.at.get().is_none() {
            self.at.set(Some(self.reads.get()));
        }
        self.view.account(address)
    }
    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        self.count();
        self.view.code(code_hash)
    }
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.count();
        self.view.storage(address, slot)
    }
    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.count();
        self.view.block_hash(number)
    }
}

/// Takes what is missing for nothing, and writes it down.
struct Scout<'a> {
    view: &'a View,
    first: &'a Transaction,
    wanted: RefCell<Vec<Missing>>,
}

impl Scout<'_> {
    fn want(&self, what: Missing) -> Result<(), StateError> {
        let mut wanted = self.wanted.borrow_mut();
        if !wanted.contains(&what) {
            if wanted.len() >= MOST_WANTED {
                return Err(StateError::Missing(what));
            }
            wanted.push(what);
        }
        Ok(())
    }
}

impl State for Scout<'_> {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        match self.view.account(address) {
            Err(StateError::Missing(what)) => {
                self.want(what)?;
                // A sender who could not pay would end the run at once.
                Ok((address == self.first.sender()).then(|| Account {
                    balance: U256::MAX >> 1,
                    nonce: self.first.nonce(),
                    ..Account::default()
                }))
            }
            known => known,
        }
    }
    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        let code = self.view.code(code_hash);
        if let Err(StateError::Missing(what)) = code {
            self.want(what)?;
        }
        code
    }
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        match self.view.storage(address, slot) {
            Err(StateError::Missing(what)) => self.want(what).map(|()| U256::ZERO),
            known => known,
        }
    }
    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        match self.view.block_hash(number) {
            Err(StateError::Missing(what)) => self.want(what).map(|()| B256::ZERO),
            known => known,
        }
    }
}
