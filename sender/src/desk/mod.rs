//! One private key's desk: the task that alone gives out its nonces.
//!
//! A loop over submissions, answers of nodes and the clock. Whatever happens, the pure [`plan`](crate::plan) says what to do,
//! the desk signs it, writes it into the journal, and only then hands it to tasks that broadcast it: a node that hangs
//! never holds up the desk. What always holds: bytes that were sent are in the journal, and the journal's nonce is released
//! only when the chain has used it for something else.

mod act;
pub(crate) mod look;
pub(crate) mod restore;
mod settle;
pub(crate) mod slot;
mod view;
mod wishes;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::look::{Looked, Sought};
use self::slot::{Job, Slot};
use crate::config::{LaneSettings, RelayMethod};
use crate::fees::{Fees, Market};
use crate::journal::{Change, Journal, JournalError, StoredAttempt};
use crate::lane::Lane;
use crate::machine::{self, Event as JobEvent, Failure, State};
use crate::plan::{self, JobId};
use crate::request::{IdempotencyKey, Status};
use crate::rpc::{CallError, Endpoint, Nodes};
use crate::verdict::Verdict;

/// The unfinished requests by their names, over all desks.
pub(crate) type Registry = Arc<Mutex<HashMap<IdempotencyKey, watch::Receiver<Status>>>>;

/// What the front asks of a desk.
#[derive(Debug)]
pub(crate) enum Command {
    /// A request that is in the journal.
    New(Box<Job>),
    /// Withdraw a request.
    Cancel(IdempotencyKey, oneshot::Sender<Cancelled>),
    /// Get ahead of a transaction with these fees.
    Outbid(IdempotencyKey, Fees),
    /// Stay right behind a transaction with these fees; or behind none any more.
    Follow(IdempotencyKey, Option<Fees>),
    /// Look at the chain now: somebody saw a new head.
    Look,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// Nothing of it was sent, nor will be.
    Done,
    /// It is out: a transfer of nothing competes for its nonce, and its handle will tell which of them was mined.
    UnderWay,
    /// It is in a block, or ended.
    TooLate,
    /// Nobody submitted it.
    Unknown,
}

/// What a task of the desk brings back.
#[derive(Debug)]
enum Report {
    Looked(Result<Option<Looked>, CallError>),
    Sent {
        nonce: u64,
        hash: B256,
        private: bool,
        verdict: Verdict,
    },
    Estimated {
        job: JobId,
        gas: Result<u64, CallError>,
    },
}

/// The relay as the desk uses it.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) method: RelayMethod,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) public_after: u64,
    pub(crate) never_public: bool,
}

/// What a desk is made of.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) signer: PrivateKeySigner,
    pub(crate) chain_id: u64,
    pub(crate) nodes: Nodes,
    pub(crate) relay: Option<Relay>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) lanes: [LaneSettings; 4],
    pub(crate) confirmations: u64,
    pub(crate) poll: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) registry: Registry,
    pub(crate) stop: CancellationToken,
}

/// What a desk shows to the front.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) queue: watch::Sender<Vec<Status>>,
    /// Of each lane, in the order of [`Lane::ALL`]; none before the chain was seen.
    pub(crate) market: watch::Sender<Option<[Market; 4]>>,
}

/// The desk of one key.
#[derive(Debug)]
pub(crate) struct Desk {
    setup: Setup,
    account: Address,
    commands: mpsc::Receiver<Command>,
    queue: watch::Sender<Vec<Status>>,
    market: watch::Sender<Option<[Market; 4]>>,
    jobs: BTreeMap<JobId, Job>,
    slots: BTreeMap<u64, Slot>,
    settled: u64,
    seen: Option<Looked>,
    tasks: JoinSet<Report>,
    looking: bool,
    look_at: Instant,
    /// Look although the head is known: something must be cleared up.
    doubt: bool,
}

impl Desk {
    /// A desk with what the journal knows of its account.
    pub(crate) fn new(
        setup: Setup,
        commands: mpsc::Receiver<Command>,
        shown: Shown,
        settled: u64,
        jobs: Vec<Job>,
        attempts: Vec<StoredAttempt>,
    ) -> Self {
        let account = setup.signer.address();
        let mut desk = Self {
            setup,
            account,
            commands,
            queue: shown.queue,
            market: shown.market,
            jobs: jobs.into_iter().map(|job| (job.id, job)).collect(),
            slots: BTreeMap::new(),
            settled,
            seen: None,
            tasks: JoinSet::new(),
            looking: false,
            look_at: Instant::now(),
            doubt: true,
        };
        for stored in attempts {
            desk.restore(stored);
        }
        desk.put_back();
        desk
    }

    /// Works until it is told to stop.
    ///
    /// # Errors
    /// [`JournalError`]: without the journal nothing may be sent.
    pub(crate) async fn run(mut self) -> Result<(), JournalError> {
        let stop = self.setup.stop.clone();
        loop {
            self.begin();
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command).await?,
                    None => break,
                },
                Some(report) = self.tasks.join_next(), if !self.tasks.is_empty() => match report {
                    Ok(report) => self.report(report).await?,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "a task of the sender failed"),
                },
                () = tokio::time::sleep_until(wake.into()) => self.retry(),
            }
            self.step().await?;
            self.show();
        }
        self.tasks.shutdown().await;
        Ok(())
    }

    /// Starts what is due: a look at the chain, estimates.
    fn begin(&mut self) {
        let now = Instant::now();
        if !self.looking && (self.doubt || now >= self.look_at) {
            self.looking = true;
            let known = if self.doubt {
                None
            } else {
                self.seen.as_ref().map(|seen| seen.head.hash)
            };
            self.doubt = false;
            let nodes = self.setup.nodes.clone();
            let account = self.account;
            let [a, b, c, d] = &self.setup.lanes;
            let percentiles = [a.percentile, b.percentile, c.percentile, d.percentile];
            let sought = self.sought();
            self.tasks
                .spawn(async move { Report::Looked(look::look(&nodes, account, percentiles, known, sought).await) });
        }
        for job in self.jobs.values_mut() {
            if job.gas.is_some() || job.estimating || job.estimate_again.is_some_and(|again| now < again) {
                continue;
            }
            job.estimating = true;
            let (id, nodes, account, request) = (job.id, self.setup.nodes.clone(), self.account, job.request.clone());
            self.tasks.spawn(async move {
                Report::Estimated {
                    job: id,
                    gas: look::estimate(&nodes, account, &request).await,
                }
            });
        }
    }

    fn sought(&self) -> Vec<Sought> {
        let sought = |(nonce, slot): (&u64, &Slot)| Sought {
            nonce: *nonce,
            transactions: slot
                .attempts
                .iter()
                .rev()
                .map(|attempt| {
                    let request = attempt
                        .job
                        .and_then(|id| self.jobs.get(&id))
                        .map(|job| job.request.clone());
                    (attempt.hash, request)
                })
                .collect(),
        };
        self.slots.iter().map(sought).collect()
    }

    fn next_wake(&self) -> Instant {
        let retries = self
            .slots
            .values()
            .flat_map(|slot| slot.attempts.iter().filter_map(|attempt| attempt.again));
        let estimates = self
            .jobs
            .values()
            .filter(|job| job.gas.is_none() && !job.estimating)
            .filter_map(|job| job.estimate_again);
        let look = if self.looking {
            Instant::now() + self.setup.poll
        } else {
            self.look_at
        };
        retries.chain(estimates).fold(look, Instant::min)
    }

    async fn report(&mut self, report: Report) -> Result<(), JournalError> {
        match report {
            Report::Looked(result) => {
                self.looking = false;
                self.look_at = Instant::now() + self.setup.poll;
                match result {
                    Ok(Some(looked)) => self.settle(looked).await?,
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no node tells the sender where the chain is");
                        self.doubt = false;
                    }
                }
            }
            Report::Sent {
                nonce,
                hash,
                private,
                verdict,
            } => self.answered(nonce, hash, private, verdict).await?,
            Report::Estimated { job, gas } => self.estimated(job, gas).await?,
        }
        Ok(())
    }

    async fn estimated(&mut self, id: JobId, gas: Result<u64, CallError>) -> Result<(), JournalError> {
        let Some(job) = self.jobs.get_mut(&id) else {
            return Ok(());
        };
        job.estimating = false;
        let failure = match gas {
            Ok(gas) => {
                job.gas = Some(gas.saturating_add(gas / 5));
                return Ok(());
            }
            Err(CallError::Answer { message, data, .. }) => {
                let passing = crate::verdict::of_message(&message);
                match passing {
                    Verdict::InsufficientFunds(words) => Failure::InsufficientFunds(words),
                    other if other.is_passing() => {
                        job.note = Some(message);
                        job.estimate_again = Some(Instant::now() + self.setup.poll);
                        return Ok(());
                    }
                    _ => Failure::WouldRevert(look::reason(&message, data.as_deref())),
                }
            }
            Err(error @ CallError::Unreachable { .. }) => {
                job.note = Some(error.to_string());
                job.estimate_again = Some(Instant::now() + self.setup.poll);
                return Ok(());
            }
        };
        let mut changes = Vec::new();
        self.happen(id, JobEvent::Failed(failure), &mut changes);
        self.setup.journal.write(&changes).await?;
        self.forget_ended();
        Ok(())
    }

    async fn step(&mut self) -> Result<(), JournalError> {
        let Some(view) = self.view() else { return Ok(()) };
        for action in plan::plan(&view) {
            self.act(action).await?;
        }
        self.forget_ended();
        Ok(())
    }

    /// Moves a request on, and notes the change.
    fn happen(&mut self, id: JobId, event: JobEvent, changes: &mut Vec<Change>) {
        let account = self.account;
        let Some(job) = self.jobs.get_mut(&id) else { return };
        match machine::after(&job.state, event) {
            Ok(state) => {
                if let State::Failed { reason } = &state {
                    metrics::counter!("sender_failures_total", "reason" => reason.name()).increment(1);
                    tracing::warn!(key = %job.request.key, %reason, "a transaction came to nothing");
                }
                job.state = state;
                changes.push(job.change());
                // Watchers of an end learn of it when it is on disk.
                if !job.state.is_end() {
                    job.publish(account);
                }
            }
            Err(illegal) => {
                tracing::error!(key = %job.request.key, %illegal, "the sender's own mistake; the request stays as it is")
            }
        }
    }

    /// Tells the watchers of what ended, and forgets it: the journal knows it.
    fn forget_ended(&mut self) {
        let account = self.account;
        let registry = &self.setup.registry;
        self.jobs.retain(|_, job| {
            if job.state.is_end() {
                job.publish(account);
                registry
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&job.request.key);
            }
            !job.state.is_end()
        });
    }
}

/// The higher of each fee.
fn highest(a: &Fees, b: &Fees) -> Fees {
    Fees {
        max_fee: a.max_fee.max(b.max_fee),
        priority_fee: a.priority_fee.max(b.priority_fee),
    }
}
