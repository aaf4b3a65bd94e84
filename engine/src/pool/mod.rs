//! Engines on threads of their own: a thread each, jobs by a bounded channel, replies by a callback.
//!
//! An EVM is not `Send`, and a job runs for microseconds to milliseconds without a pause: it belongs on a thread that does
//! nothing else, not on an async runtime. The pool knows neither sockets nor clocks; the caller says when a job is too late.

mod job;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use self::job::Queued;
pub use self::job::{Job, Wishes};
use crate::{B256, Engine, EngineError, Recorder};

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
    /// the reply. It must not block. A state with a name ([`Wishes::state_id`]) is recorded without what views read on it before.
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
    for queued in jobs {
        let Queued { job, told } = queued;
        // What the caller gave may panic too; the thread goes on with the next job.
        match catch_unwind(AssertUnwindSafe(&job.is_late)) {
            Ok(false) => {}
            Ok(true) | Err(_) => continue,
        }
        let (_, mut ready) = engine
            .take()
            .filter(|(id, _)| *id == job.chain_id)
            .unwrap_or_else(|| (job.chain_id, Engine::new(job.chain_id)));
        let result = catch_unwind(AssertUnwindSafe(|| {
            if told.is_none() {
                return job.judge(&mut ready, &job.state).map(|outcome| (outcome, None));
            }
            let recorder = Recorder::new(&job.state);
            let outcome = job.judge(&mut ready, &recorder)?;
            let executed = outcome.execution.is_some();
            Ok((outcome, executed.then(|| recorder.into_prestate().digest())))
        }));
        let result = match result {
            Ok(result) => {
                engine = Some((job.chain_id, ready));
                result
            }
            // An engine that panicked is in an unknown state: the next job gets a new one.
            Err(_) => Err(EngineError::Evm(format!(
                "it panicked on transaction {}, please report it",
                job.transaction.hash()
            ))),
        };
        let _panicked = catch_unwind(AssertUnwindSafe(|| {
            let result = result.map(|(outcome, digest)| {
                if let (Some(told), Some(digest)) = (told, digest) {
                    told(digest);
                }
                outcome
            });
            (job.reply)(result);
        }));
    }
}
