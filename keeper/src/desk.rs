//! One head's work: ask resolvers, decide, try, send; and see what became of what was sent.
//!
//! ```text
//! follower --> defence jobs: resolve, plan, simulate, send --> all others: the same --> what is remembered
//! pending confirmation --> its guard's job: the same, right behind it in its block
//! ```
//!
//! What always holds: a defence job waits for no other; a job has one transaction under way at most; nothing is sent that a simulation
//! on the head did not carry through; what failed by nobody's fault counts against nobody.

mod act;
mod pending;
mod settle;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use alloy::primitives::{Address, B256};
use sender::{Fees, Handle, IdempotencyKey, Sender};

use crate::aside::{Aside, Blame, Stage};
use crate::calls::{self, Payment};
use crate::config::JobsConfig;
use crate::follow::{FollowError, Follower, News};
use crate::job::Job;
use crate::plan::{Next, Policy, Step, plan};
use crate::pool::Pool;
use crate::resolve::batch::Limits;
use crate::resolve::head::{Cost, resolve};
use crate::resolve::{Answer, Query, RESOLVER_GAS, Ready};
use crate::store::StoreError;
use crate::streak::{Streak, Streaks};

/// Why a head could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// Following the Agent.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The memory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sender's journal.
    #[error(transparent)]
    Journal(#[from] sender::JournalError),
    /// A thread of the engine died.
    #[error("the engine's thread ended: {0}")]
    Engine(#[from] tokio::task::JoinError),
}

/// A transaction of ours that is not mined yet.
#[derive(Debug)]
struct UnderWay {
    step: Step,
    key: IdempotencyKey,
    handle: Handle,
    /// The head at which it was no longer wanted.
    unwanted: bool,
    /// It builds on a pending transaction with these fees.
    behind: Option<Fees>,
}

/// What one head came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worked {
    /// Resolvers asked.
    pub resolvers: usize,
    /// What asking them cost.
    pub cost: Cost,
    /// What was sent: the job, the step, and the name that it can be found by.
    pub sent: Vec<(B256, Step, String)>,
    /// Steps that a simulation did not carry through.
    pub refused: usize,
    /// Transactions of ours that were mined and went through.
    pub done: Vec<(B256, Step)>,
}

/// Works on heads, one after the other.
#[derive(Debug)]
pub struct Desk {
    follower: Follower,
    sender: Arc<Sender>,
    worker: Address,
    jobs: JobsConfig,
    threads: usize,
    aside: Aside,
    streaks: Streaks,
    ready: HashMap<B256, Ready>,
    /// Gas that resolvers used last: the cheap ones are asked first.
    gas: HashMap<B256, u64>,
    attempts: HashMap<B256, u32>,
    under_way: HashMap<B256, UnderWay>,
    pool: Pool,
}

impl Desk {
    /// A desk of the keeper whose worker is `worker`; what was sent before a restart is taken up again.
    ///
    /// # Errors
    /// When a memory cannot be read.
    pub async fn new(
        follower: Follower,
        sender: Arc<Sender>,
        worker: Address,
        jobs: JobsConfig,
    ) -> Result<Self, DeskError> {
        let aside = Aside::new(jobs.forgive, follower.store().failures().await?);
        let mut under_way = HashMap::new();
        for status in sender.queue() {
            let Some((step, job)) = calls::parse_name(status.key.as_str()) else {
                continue;
            };
            if let Some(handle) = sender.find(&status.key).await? {
                // Whatever it was to follow: nobody tells of it any more.
                let _stopped = sender.follow(&status.key, None).await;
                let taken_up = UnderWay {
                    step,
                    key: status.key,
                    handle,
                    unwanted: false,
                    behind: None,
                };
                under_way.insert(job, taken_up);
            }
        }
        Ok(Self {
            follower,
            sender,
            worker,
            jobs,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            aside,
            streaks: Streaks::default(),
            ready: HashMap::new(),
            gas: HashMap::new(),
            attempts: HashMap::new(),
            under_way,
            pool: Pool::default(),
        })
    }

    /// What it follows.
    #[must_use]
    pub const fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Jobs that are set aside.
    #[must_use]
    pub const fn aside(&self) -> &Aside {
        &self.aside
    }

    /// Transactions under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Works on the head with this hash.
    ///
    /// # Errors
    /// When a node or a memory fails; the next head is worked on as if this one had not been.
    pub async fn on_head(&mut self, head: B256) -> Result<Worked, DeskError> {
        let news = self.follower.advance(head).await?;
        self.sender.new_head();
        self.take_in(&news).await?;
        self.clear_pool();
        let mut worked = Worked::default();
        self.settle(&mut worked).await?;
        let (urgent, others): (Vec<_>, Vec<_>) = self
            .follower
            .book()
            .jobs()
            .filter(|job| self.is_watched(job))
            .cloned()
            .partition(|job| job.is_defence());
        for jobs in [urgent, others] {
            self.ask(&jobs, &mut worked).await?;
            let steps = self.steps(&jobs);
            self.act(steps, &mut worked).await?;
        }
        self.warm(&news).await?;
        self.measure(&worked);
        Ok(worked)
    }

    fn is_watched(&self, job: &Job) -> bool {
        (self.jobs.only.is_empty() || self.jobs.only.contains(&job.target)) && !self.aside.is_aside(&job.key)
    }

    /// What was touched comes back from where it was set aside; what was executed is no longer due.
    async fn take_in(&mut self, news: &News) -> Result<(), StoreError> {
        if news.undone > 0 {
            let above = self.follower.snapshot().head().number.saturating_sub(1);
            self.streaks.undo(above);
        }
        for key in news.touched.iter().chain(&news.gone) {
            self.attempts.remove(key);
            if self.aside.changed(*key) {
                self.follower.store().set_failure(*key, None).await?;
            }
        }
        for key in news.executed.iter().chain(&news.gone) {
            self.streaks.broken(key);
            self.ready.remove(key);
        }
        for key in &news.gone {
            self.gas.remove(key);
        }
        Ok(())
    }

    /// Asks the resolvers of these jobs, all in one pass.
    async fn ask(&mut self, jobs: &[Arc<Job>], worked: &mut Worked) -> Result<(), DeskError> {
        let mut asked: Vec<&Arc<Job>> = jobs.iter().filter(|job| is_asked(job)).collect();
        if asked.is_empty() {
            return Ok(());
        }
        asked.sort_by_cached_key(|job| (self.gas.get(&job.key).copied().unwrap_or_default(), job.key));
        let queries: Arc<[Query]> = asked
            .iter()
            .map(|job| Query {
                resolver: job.resolver,
                calldata: job.data.clone(),
            })
            .collect();
        let limits = Limits {
            from: self.follower.agent().address(),
            gas: RESOLVER_GAS,
            deadline: Instant::now() + self.jobs.resolver_time,
            threads: self.threads,
        };
        let snapshot = self.follower.snapshot();
        let begun = Instant::now();
        let (answers, cost) = resolve(self.follower.reader(), &snapshot, queries, limits).await?;
        metrics::histogram!("keeper_resolve_seconds").record(begun.elapsed().as_secs_f64());
        worked.resolvers += asked.len();
        worked.cost.rounds += cost.rounds;
        worked.cost.fetched += cost.fetched;
        worked.cost.calls += cost.calls;
        let head = (snapshot.head().number, snapshot.head().timestamp);
        let asked: Vec<B256> = asked.iter().map(|job| job.key).collect();
        for (key, answered) in asked.into_iter().zip(answers) {
            if answered.gas > 0 {
                self.gas.insert(key, answered.gas);
            }
            match answered.answer {
                Answer::Ready(ready) => {
                    self.streaks.ready(key, head.0, head.1);
                    self.ready.insert(key, ready);
                    self.succeeded(key, Stage::Resolve).await?;
                }
                Answer::Idle => {
                    self.streaks.broken(&key);
                    self.ready.remove(&key);
                    self.succeeded(key, Stage::Resolve).await?;
                }
                Answer::Bad(fault) => {
                    self.streaks.broken(&key);
                    self.ready.remove(&key);
                    self.failed(key, Stage::Resolve, Blame::Job, &fault.to_string()).await?;
                }
                Answer::Missing(_) | Answer::Late => {
                    metrics::counter!("keeper_resolvers_unknown_total").increment(1);
                }
            }
        }
        Ok(())
    }

    /// What is to be tried about these jobs.
    fn steps(&self, jobs: &[Arc<Job>]) -> Vec<(Arc<Job>, Step)> {
        if self.follower.standing().me.worker != self.worker {
            // The admin has given the keeper another worker.
            return Vec::new();
        }
        jobs.iter()
            .filter_map(|job| {
                let step = self.step(job);
                (step != Step::Wait).then(|| (Arc::clone(job), step))
            })
            .collect()
    }

    fn step(&self, job: &Job) -> Step {
        self.step_on(job, self.ready.get(&job.key).zip(self.streaks.of(&job.key)))
    }

    /// What to try in the next block, when the job's resolver says this.
    fn step_on(&self, job: &Job, said: Option<(&Ready, Streak)>) -> Step {
        let snapshot = self.follower.snapshot();
        let env = &snapshot.head().next;
        let next = Next {
            number: env.number,
            timestamp: env.timestamp,
            base_fee: env.base_fee,
        };
        let policy = Policy {
            confirm_heads: self.jobs.confirm_heads,
            accept_max_base_fee: self.jobs.accept_max_base_fee,
        };
        plan(job, self.follower.standing(), &next, said, &policy)
    }

    fn payment(&self) -> Payment {
        Payment {
            accept_max_base_fee: self.jobs.accept_max_base_fee,
            accrue: self.jobs.accrue,
        }
    }

    async fn failed(&mut self, job: B256, stage: Stage, blame: Blame, reason: &str) -> Result<(), StoreError> {
        metrics::counter!("keeper_failures_total", "stage" => stage.name(), "blame" => if blame == Blame::Job { "job" } else { "nobody" })
            .increment(1);
        let was = self.aside.is_aside(&job);
        if let Some(record) = self.aside.failed(job, stage, blame, reason) {
            self.follower.store().set_failure(job, Some(record)).await?;
        }
        if !was && self.aside.is_aside(&job) {
            tracing::warn!(%job, stage = stage.name(), reason, "the job is set aside until it changes");
        }
        Ok(())
    }

    async fn succeeded(&mut self, job: B256, stage: Stage) -> Result<(), StoreError> {
        if self.aside.succeeded(job, stage) {
            self.follower.store().set_failure(job, self.aside.record(&job)).await?;
        }
        Ok(())
    }

    fn measure(&self, worked: &Worked) {
        #[expect(clippy::cast_precision_loss, reason = "gauges")]
        let gauge = |name: &'static str, value: usize| metrics::gauge!(name).set(value as f64);
        gauge("keeper_jobs", self.follower.book().len());
        gauge("keeper_jobs_aside", self.aside.count());
        gauge("keeper_under_way", self.under_way.len());
        gauge("keeper_resolvers", worked.resolvers);
    }
}

/// Whether a job's resolver is asked: somebody could act on it.
fn is_asked(job: &Job) -> bool {
    job.is_resolver() && job.is_active() && (job.is_defence() || (job.eligible && job.keeper != 0))
}
