//! Engines on threads of their own: a thread each, jobs by a bounded channel, replies by a callback.
//!
//! An EVM is not `Send`, and a job runs for microseconds to milliseconds without a pause: it belongs on a thread that does
//! nothing else, not on an async runtime. The pool knows neither sockets nor clocks; the caller says when a job is too late.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::{BlockEnv, Engine, EngineError, Invariant, Outcome, Prestate, Transaction};

/// One execution.
pub struct Job {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The block in which the transaction is executed.
    pub env: BlockEnv,
    /// The transaction.
    pub transaction: Transaction,
    /// The state that it reads.
    pub state: Prestate,
    /// What is judged.
    pub invariants: Vec<Invariant>,
    /// Asked before the job is begun, and again while it runs. A job that is late before it begins is dropped, and its reply
    /// with it; one that becomes late is undecided.
    pub is_late: Box<dyn Fn() -> bool + Send>,
    /// Called on the engine's thread with the result; it must not block.
    pub reply: Box<dyn FnOnce(Result<Outcome, EngineError>) + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("transaction", &self.transaction.hash())
            .finish_non_exhaustive()
    }
}

/// The pool took no job: what it holds is as much as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full.
    #[error("the engine's queue of {capacity} is full")]
    Full {
        /// Jobs that may wait.
        capacity: usize,
    },
    /// No thread is left to run it.
    #[error("the engine's threads have ended")]
    Ended,
}

/// Engines on threads. Dropping it ends the threads after the jobs that wait.
#[derive(Debug)]
pub struct Pool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    capacity: usize,
}

impl Pool {
    /// Starts `threads` engines, and a queue for at most `capacity` jobs that wait.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(threads: usize, capacity: usize) -> std::io::Result<Self> {
        let (sender, receiver) = bounded(capacity);
        let threads = (0..threads.max(1))
            .map(|index| {
                let jobs = receiver.clone();
                std::thread::Builder::new()
                    .name(format!("engine-{index}"))
                    .spawn(move || work(&jobs))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            jobs: Some(sender),
            threads,
            capacity,
        })
    }

    /// Queues a job without waiting.
    ///
    /// # Errors
    /// [`Refused`] when the queue is full; the job is dropped, and its reply with it.
    pub fn submit(&self, job: Job) -> Result<(), Refused> {
        let Some(jobs) = &self.jobs else {
            return Err(Refused::Ended);
        };
        match jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(Refused::Full {
                capacity: self.capacity,
            }),
            Err(TrySendError::Disconnected(_)) => Err(Refused::Ended),
        }
    }

    /// Jobs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.as_ref().map_or(0, Sender::len)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

/// One thread: an engine for the chain that was asked for last, made anew only when another is asked for.
fn work(jobs: &Receiver<Job>) {
    let mut engine: Option<(u64, Engine)> = None;
    for job in jobs {
        let Job {
            chain_id,
            env,
            transaction,
            state,
            invariants,
            is_late,
            reply,
        } = job;
        if is_late() {
            continue;
        }
        let (_, mut ready) = engine
            .take()
            .filter(|(id, _)| *id == chain_id)
            .unwrap_or_else(|| (chain_id, Engine::new(chain_id)));
        let result = catch_unwind(AssertUnwindSafe(|| {
            ready.judge_with_deadline(&env, &transaction, &state, &invariants, &is_late)
        }));
        match result {
            Ok(result) => {
                engine = Some((chain_id, ready));
                reply(result);
            }
            // An engine that panicked is in an unknown state: the next job gets a new one.
            Err(_) => reply(Err(EngineError::Evm(format!(
                "it panicked on transaction {}, please report it",
                transaction.hash()
            )))),
        }
    }
}
