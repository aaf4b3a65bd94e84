//! Engines on threads of their own: a thread each, jobs by a bounded channel, replies by a callback.
//!
//! An EVM is not `Send`, and a job runs for microseconds to milliseconds without a pause: it belongs on a thread that does
//! nothing else, not on an async runtime. The pool knows neither sockets nor clocks; the caller says when a job is too late.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::{B256, BlockEnv, Engine, EngineError, Invariant, Outcome, Prestate, Recorder, Transaction};

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

/// Told the digest of what an execution read, on the engine's thread.
type Told = Box<dyn FnOnce(B256) + Send>;

/// A job that waits, and who is told what it read.
struct Queued {
    job: Job,
    told: Option<Told>,
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
    jobs: Option<Sender<Queued>>,
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
        self.queue(Queued { job, told: None })
    }

    /// Queues a job without waiting. When it is executed to its end, `told` is given the [`Prestate::digest`] of what was read, before
    /// the reply. It must not block.
    ///
    /// # Errors
    /// As [`Pool::submit`].
    pub fn submit_recording(&self, job: Job, told: impl FnOnce(B256) + Send + 'static) -> Result<(), Refused> {
        self.queue(Queued {
            job,
            told: Some(Box::new(told)),
        })
    }

    fn queue(&self, job: Queued) -> Result<(), Refused> {
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
fn work(jobs: &Receiver<Queued>) {
    let mut engine: Option<(u64, Engine)> = None;
    for Queued { job, told } in jobs {
        let Job {
            chain_id,
            env,
            transaction,
            state,
            invariants,
            is_late,
            reply,
        } = job;
        // What the caller gave may panic too; the thread goes on with the next job.
        match catch_unwind(AssertUnwindSafe(&is_late)) {
            Ok(false) => {}
            Ok(true) | Err(_) => continue,
        }
        let (_, mut ready) = engine
            .take()
            .filter(|(id, _)| *id == chain_id)
            .unwrap_or_else(|| (chain_id, Engine::new(chain_id)));
        let result = catch_unwind(AssertUnwindSafe(|| {
            if told.is_none() {
                return ready
                    .judge_with_deadline(&env, &transaction, &state, &invariants, &is_late)
                    .map(|outcome| (outcome, None));
            }
            let recorder = Recorder::new(&state);
            let outcome = ready.judge_with_deadline(&env, &transaction, &recorder, &invariants, &is_late)?;
            let executed = outcome.execution.is_some();
            Ok((outcome, executed.then(|| recorder.into_prestate().digest())))
        }));
        let result = match result {
            Ok(result) => {
                engine = Some((chain_id, ready));
                result
            }
            // An engine that panicked is in an unknown state: the next job gets a new one.
            Err(_) => Err(EngineError::Evm(format!(
                "it panicked on transaction {}, please report it",
                transaction.hash()
            ))),
        };
        let _panicked = catch_unwind(AssertUnwindSafe(|| {
            let result = result.map(|(outcome, digest)| {
                if let (Some(told), Some(digest)) = (told, digest) {
                    told(digest);
                }
                outcome
            });
            reply(result);
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver as Replies, Sender as Replying, channel},
    };

    use alloy::primitives::{address, bytes};

    use super::*;
    use crate::{Account, AccountState, Address, B256, Hardfork, Status, U256};

    const SENDER: Address = address!("0x0000000000000000000000000000000000005e4d");

    /// A transfer of nothing to an account that does not exist.
    fn job(is_late: impl Fn() -> bool + Send + 'static, to: &Replying<Result<Outcome, EngineError>>) -> Job {
        let raw = bytes!("e480843b9aca00830186a09400000000000000000000000000000000000c0de580801b0101");
        let mut state = Prestate::default();
        let rich = Account {
            balance: U256::from(10).pow(U256::from(18)),
            ..Account::default()
        };
        let exists = |account| AccountState {
            account,
            ..AccountState::default()
        };
        state.accounts.insert(SENDER, exists(Some(rich)));
        state
            .accounts
            .insert(address!("0x00000000000000000000000000000000000c0de5"), exists(None));
        let to = to.clone();
        Job {
            chain_id: 1,
            env: BlockEnv {
                number: 20_000_000,
                timestamp: 1_720_000_000,
                beneficiary: SENDER,
                gas_limit: 30_000_000,
                base_fee: 1,
                difficulty: U256::ZERO,
                prevrandao: Some(B256::ZERO),
                excess_blob_gas: Some(0),
                hardfork: Some(Hardfork::Cancun),
            },
            transaction: Transaction::with_sender(&raw, SENDER).unwrap(),
            state,
            invariants: Vec::new(),
            is_late: Box::new(is_late),
            reply: Box::new(move |result| {
                let _gone = to.send(result);
            }),
        }
    }

    fn succeeded(replies: &Replies<Result<Outcome, EngineError>>) {
        let outcome = replies.recv().unwrap().unwrap();
        assert_eq!(outcome.execution.unwrap().status, Status::Success);
    }

    /// Occupies the only thread until it is told to go on.
    fn occupied(pool: &Pool, reply: &Replying<Result<Outcome, EngineError>>) -> Replying<()> {
        let (begun, has_begun) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let asked = AtomicUsize::new(0);
        let is_late = move || {
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                begun.send(()).unwrap();
                let _dropped = may_go_on.recv();
            }
            false
        };
        pool.submit(job(is_late, reply)).unwrap();
        has_begun.recv().unwrap();
        go_on
    }

    #[test]
    fn a_full_queue_refuses_and_says_how_much_it_holds() {
        let (reply, replies) = channel();
        let pool = Pool::start(1, 2).unwrap();
        let go_on = occupied(&pool, &reply);
        pool.submit(job(|| false, &reply)).unwrap();
        pool.submit(job(|| false, &reply)).unwrap();
        assert_eq!(pool.waiting(), 2);
        assert_eq!(pool.submit(job(|| false, &reply)), Err(Refused::Full { capacity: 2 }));
        drop(go_on);
        for _ in 0..3 {
            succeeded(&replies);
        }
    }

    #[test]
    fn what_an_execution_read_is_told_by_its_digest_whatever_else_was_given() {
        let pool = Pool::start(1, 4).unwrap();
        let (reply, replies) = channel();
        let (tell, told) = channel();
        let digest = |change: fn(&mut Job)| {
            let mut job = job(|| false, &reply);
            change(&mut job);
            let tell = tell.clone();
            pool.submit_recording(job, move |digest| tell.send(digest).unwrap())
                .unwrap();
            succeeded(&replies);
            told.recv().unwrap()
        };
        let as_given = digest(|_| {});
        let with_more = digest(|job| {
            drop(
                job.state
                    .accounts
                    .insert(Address::repeat_byte(9), AccountState::default()),
            )
        });
        let richer = digest(|job| {
            let sender = job.state.accounts.get_mut(&SENDER).unwrap();
            sender.account.as_mut().unwrap().balance += U256::from(1);
        });
        assert_eq!(as_given, with_more);
        assert_ne!(as_given, richer);
    }

    #[test]
    fn a_job_that_is_late_before_it_begins_is_dropped_with_its_reply() {
        let pool = Pool::start(1, 4).unwrap();
        let (reply, replies) = channel();
        pool.submit(job(|| true, &reply)).unwrap();
        drop(reply);
        assert!(replies.recv().is_err(), "nobody answers");
        let (reply, replies) = channel();
        pool.submit(job(|| false, &reply)).unwrap();
        succeeded(&replies);
    }

    #[test]
    fn a_job_that_becomes_late_is_undecided() {
        let pool = Pool::start(1, 4).unwrap();
        let (reply, replies) = channel();
        let asked = AtomicUsize::new(0);
        pool.submit(job(move || asked.fetch_add(1, Ordering::SeqCst) > 0, &reply))
            .unwrap();
        let outcome = replies.recv().unwrap().unwrap();
        assert_eq!(
            (outcome.execution, outcome.undecided),
            (None, Some(crate::Reason::Deadline))
        );
    }

    #[test]
    fn dropping_the_pool_runs_what_waits_and_ends_its_threads() {
        let (reply, replies) = channel();
        let pool = Pool::start(1, 8).unwrap();
        let go_on = occupied(&pool, &reply);
        for _ in 0..5 {
            pool.submit(job(|| false, &reply)).unwrap();
        }
        drop((reply, go_on));
        drop(pool);
        let answered: Vec<_> = replies.iter().collect();
        assert_eq!(answered.len(), 6, "and no sender is left");
        assert!(answered.iter().all(Result::is_ok));
    }

    #[test]
    fn a_panic_of_one_job_is_an_error_and_the_thread_goes_on() {
        let pool = Pool::start(1, 8).unwrap();
        let (reply, replies) = channel();
        let asked = Arc::new(AtomicUsize::new(0));
        let panics = move || {
            assert!(asked.fetch_add(1, Ordering::SeqCst) == 0, "a caller's mistake");
            false
        };
        pool.submit(job(panics, &reply)).unwrap();
        assert!(matches!(replies.recv().unwrap(), Err(EngineError::Evm(why)) if why.contains("panicked")));
        let mut rude = job(|| false, &reply);
        rude.reply = Box::new(|_| panic!("a caller's mistake"));
        pool.submit(rude).unwrap();
        pool.submit(job(|| panic!("a caller's mistake"), &reply)).unwrap();
        pool.submit(job(|| false, &reply)).unwrap();
        succeeded(&replies);
    }
}
