//! The gate: what sends the transaction that pauses a protocol, behind a trait, and the task that asks for it.
//!
//! Pauses have tasks of their own: no alert, however slow, holds one up. Each is asked for with an idempotency key, and after a crash
//! again with the same one, so whoever implements [`Pauser`] sends at most one transaction for a key.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::{ActionConfig, GuardedPause, KeeperJob, Kind};
use crate::defence::Core;
use crate::incident::Moment;
use crate::outcome::Outcome;
use crate::retry::{self, Step, Tried, WhenUnknown};
use crate::store::{Delivery, Due, StoreError, Turn};
use crate::violation::{BrokenInvariant, ConfirmedViolation, Suspect};

/// Pauses under way at the same time, of one action; what comes then waits in the outbox.
const UNDER_WAY: usize = 16;

/// A protocol to be paused.
#[derive(Debug, Clone)]
pub struct PauseRequest {
    /// The same for every attempt: at most one transaction is sent for it.
    pub key: String,
    /// The incident; 0 in a rehearsal.
    pub incident: u64,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// What stops it.
    pub target: PauseTarget,
    /// What is broken.
    pub invariant: BrokenInvariant,
    /// The transaction that opened the incident.
    pub opened_by: B256,
    /// The attack's transactions, as far as they are kept.
    pub attack: Vec<Suspect>,
}

/// What stops a protocol. Incidents with the same one are served by the same pause.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PauseTarget {
    /// A call.
    Call {
        /// Whom.
        contract: Address,
        /// With what.
        calldata: Bytes,
    },
    /// A guard, which pauses when enough reporters have confirmed an incident.
    Guard(GuardedPause),
}

impl PauseTarget {
    /// Who is called.
    #[must_use]
    pub const fn contract(&self) -> Address {
        match self {
            Self::Call { contract, .. } => *contract,
            Self::Guard(guarded) => guarded.guard,
        }
    }

    /// The job that keepers execute, where they do.
    #[must_use]
    pub const fn job(&self) -> Option<&KeeperJob> {
        match self {
            Self::Guard(guarded) => guarded.keepers.as_ref(),
            Self::Call { .. } => None,
        }
    }
}

/// How a pause ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseOutcome {
    /// It is in a block, and succeeded.
    Included {
        /// Its hash.
        tx_hash: B256,
        /// The block's number.
        block: u64,
    },
    /// It would not stop the attack, or cannot be ahead of it; nothing more is tried.
    CannotWin {
        /// Why.
        reason: String,
    },
}

/// A pause that may work another time: a node that cannot be reached, a transaction that is not included yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PauseError {
    /// What happened.
    pub reason: String,
}

/// What sends pauses.
pub trait Pauser: Send + Sync + 'static {
    /// Simulates, sends and follows the pause until it is included, or cannot win. Called again with the same key it goes on with
    /// the transaction of the first call. It is dropped at its deadline, and at shutdown.
    fn pause(&self, request: PauseRequest, progress: PauseProgress) -> BoxFuture<'_, Result<PauseOutcome, PauseError>>;

    /// Does all of it but sending, and says what it found: the account, its balance, whether the call would succeed.
    fn rehearse(&self, request: PauseRequest) -> BoxFuture<'_, Result<String, PauseError>>;
}

/// Where a [`Pauser`] tells how far it is. It never waits: beyond sixteen untold events the newest are dropped.
#[derive(Debug, Clone)]
pub struct PauseProgress {
    clock: Clock,
    events: mpsc::Sender<(u64, Moment, String)>,
}

impl PauseProgress {
    fn new(clock: Clock) -> (Self, mpsc::Receiver<(u64, Moment, String)>) {
        let (events, told) = mpsc::channel(16);
        (Self { clock, events }, told)
    }

    /// A transaction has left for the mempool or a relay; again for each replacement.
    pub fn broadcast(&self, tx_hash: B256, detail: &str) {
        self.tell(Moment::Broadcast, &format!("{tx_hash} {detail}"));
    }

    /// Something else that the timeline should show.
    pub fn note(&self, detail: &str) {
        self.tell(Moment::Attempt, detail);
    }

    fn tell(&self, moment: Moment, detail: &str) {
        let event = (self.clock.now_ms(), moment, detail.trim_end().to_owned());
        if self.events.try_send(event).is_err() {
            tracing::warn!("a pause tells more than is recorded");
        }
    }
}

/// What a pause action asks for in an incident; `None` when it is no pause.
pub(crate) fn request(
    action: &ActionConfig,
    key: &str,
    incident: u64,
    violation: &ConfirmedViolation,
    attack: Vec<Suspect>,
) -> Option<PauseRequest> {
    let Kind::PauseAgent { way } = &action.kind else {
        return None;
    };
    Some(PauseRequest {
        key: key.to_owned(),
        incident,
        chain_id: violation.chain_id,
        target: way.of(violation.invariant.contract),
        invariant: violation.invariant.clone(),
        opened_by: violation.suspect.tx_hash,
        attack,
    })
}

/// One action's pauses, until shutdown.
pub(crate) struct Gate {
    pub(crate) core: Arc<Core>,
    pub(crate) action: ActionConfig,
    pub(crate) pauser: Arc<dyn Pauser>,
}

impl Gate {
    pub(crate) async fn run(self) {
        let gate = Arc::new(self);
        let mut under_way = JoinSet::new();
        while !gate.core.shutdown.is_cancelled() {
            while under_way.try_join_next().is_some() {}
            if under_way.len() >= UNDER_WAY {
                tokio::select! {
                    () = gate.core.shutdown.cancelled() => {}
                    _ended = under_way.join_next() => {}
                }
                continue;
            }
            let wait = match gate.take().await {
                Ok(Taken::Attempt(delivery, begun_ms)) => {
                    let gate = Arc::clone(&gate);
                    under_way.spawn(async move { gate.attempt(&delivery, begun_ms).await });
                    continue;
                }
                Ok(Taken::Look) => continue,
                Ok(Taken::Wait(until)) => until,
                Err(error) => gate.core.failed(&gate.action.id, &error),
            };
            gate.core.wait(&gate.action.id, wait).await;
        }
        // Those under way may finish; whoever waits for this task bounds it.
        while under_way.join_next().await.is_some() {}
    }

    /// The next pause, recorded as begun.
    async fn take(&self) -> Result<Taken, StoreError> {
        let now_ms = self.core.clock.now_ms();
        let store = &self.core.store;
        let delivery = match store.due(&self.action.id, now_ms).await? {
            Due::Nothing => return Ok(Taken::Wait(None)),
            Due::At(at_ms) => return Ok(Taken::Wait(Some(at_ms))),
            Due::Now(delivery) => delivery,
        };
        if delivery.attempts == 0
            && let Some(reason) = self.core.over_limit(&self.action, now_ms).await?
        {
            // A pause that may not be sent is no alert that can wait: what comes next on the ladder fires.
            let step = Step::Failed { reason };
            let ended = store
                .end_attempt(&delivery, &step, &self.core.config, Turn::Next, now_ms)
                .await?;
            self.core.wake(ended.next_rung.as_deref());
            return Ok(Taken::Look);
        }
        store.begin_attempt(&delivery, None, Turn::Next, now_ms).await?;
        Ok(Taken::Attempt(delivery, now_ms))
    }

    async fn attempt(&self, delivery: &Delivery, begun_ms: u64) {
        let core = &self.core;
        let outcome = match self.ask(delivery).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::not_taken(error.to_string()),
        };
        core.count(&self.action.id, &outcome);
        let tried = Tried {
            attempts: delivery.attempts.saturating_add(1),
            first_ms: delivery.first_ms.unwrap_or(begun_ms),
            now_ms: core.clock.now_ms(),
        };
        // Idempotent by its key, so whatever its fate, it is asked for again.
        let step = retry::next(&self.action.retry, WhenUnknown::Repeat, tried, outcome, rand::random());
        core.record(delivery, &step, Turn::Next).await;
    }

    async fn ask(&self, delivery: &Delivery) -> Result<Outcome, StoreError> {
        let core = &self.core;
        let Some(incident) = core.store.incident_of(delivery).await? else {
            return Ok(Outcome::Refused {
                reason: "its incident is no longer there".to_owned(),
            });
        };
        let Some(request) = request(
            &self.action,
            &delivery.key,
            incident.id,
            &incident.violation,
            incident.suspects,
        ) else {
            return Ok(Outcome::Refused {
                reason: "the action is no pause".to_owned(),
            });
        };
        let (progress, mut told) = PauseProgress::new(core.clock.clone());
        let (recorder, action) = (Arc::clone(core), self.action.id.clone());
        // A task of its own, so that recording what happened never holds up what happens.
        let mut recording = JoinSet::new();
        recording.spawn(async move {
            while let Some((at_ms, moment, detail)) = told.recv().await {
                if let Err(error) = recorder
                    .store
                    .tell(incident.id, at_ms, moment, Some(&action), &detail)
                    .await
                {
                    tracing::error!(%error, incident = incident.id, "a pause's progress is not recorded");
                }
            }
        });
        let limit = self.action.retry.attempt;
        let outcome = match core.clock.within(limit, self.pauser.pause(request, progress)).await {
            Some(Ok(PauseOutcome::Included { tx_hash, block })) => Outcome::Accepted {
                reference: format!("{tx_hash} in block {block}"),
            },
            Some(Ok(PauseOutcome::CannotWin { reason })) => Outcome::Refused { reason },
            Some(Err(error)) => Outcome::not_taken(error.reason),
            None => Outcome::Unknown {
                reason: format!("not included within {}", humantime::format_duration(limit)),
            },
        };
        // What was told is recorded before the end, unless somebody keeps the progress.
        let _told = tokio::time::timeout(std::time::Duration::from_secs(1), recording.join_next()).await;
        Ok(outcome)
    }
}

enum Taken {
    Attempt(Box<Delivery>, u64),
    Look,
    Wait(Option<u64>),
}
