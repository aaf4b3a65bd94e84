//! The defence as one thing: opened with a configuration and a database, told of violations, ended by a shutdown.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::alerts::Herald;
use crate::channel::{Channel, ChannelError};
use crate::clock::{Clock, millis};
use crate::config::{ActionConfig, Config};
use crate::incident::Moment;
use crate::outcome::Outcome;
use crate::pause::{Gate, Pauser};
use crate::retry::{self, Step, Tried, WhenUnknown};
use crate::store::{Delivery, Incident, Store, StoreError, TimelineEntry, Turn};
use crate::template::{TemplateError, Templates};
use crate::trial::{self, TestError};
use crate::violation::{ConfirmedViolation, NetworkView};

/// An incident's id, from 1.
pub type IncidentId = u64;

/// How often incidents are closed and forgotten.
const SWEEP: Duration = Duration::from_hours(1);

/// After an error of the database, the pause before it is asked again.
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// A defence that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DefenceError {
    /// The configuration as a whole is wrong.
    #[error("configuration: {0}")]
    Config(String),
    /// A channel cannot be set up.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A template cannot be read.
    #[error("action `{action}`: {reason}")]
    Template {
        /// The action's id.
        action: String,
        /// What is wrong.
        reason: TemplateError,
    },
    /// There is a pause, and nobody to send it.
    #[error("action `{0}` is a pause, but nothing here sends transactions: configure the sender, or remove the action")]
    NoPauser(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What all tasks share.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) shutdown: CancellationToken,
    wakes: HashMap<String, Notify>,
}

/// Incidents and what is done about them. Dropped without [`Defence::shutdown`] it ends at once; what was under way is then repeated by
/// the next one, as after a crash.
pub struct Defence {
    core: Arc<Core>,
    pauser: Option<Arc<dyn Pauser>>,
    tasks: Mutex<Vec<AbortOnDropHandle<()>>>,
}

impl std::fmt::Debug for Defence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Defence")
            .field("source", &self.core.config.source)
            .field("actions", &self.core.config.actions.len())
            .finish_non_exhaustive()
    }
}

impl Defence {
    /// Opens (creating it when it is not there) the database at `path`, and goes on with what stands in its outbox. `pauser` sends
    /// the pauses; without one there may be no pause among the actions.
    ///
    /// # Errors
    /// [`DefenceError`] names the action or the file.
    pub async fn open(config: Config, path: &Path, pauser: Option<Arc<dyn Pauser>>) -> Result<Self, DefenceError> {
        Self::open_at(config, path, pauser, Clock::system()).await
    }

    /// [`Defence::open`] by another clock.
    ///
    /// # Errors
    /// As of [`Defence::open`].
    pub async fn open_at(
        config: Config,
        path: &Path,
        pauser: Option<Arc<dyn Pauser>>,
        clock: Clock,
    ) -> Result<Self, DefenceError> {
        config.check().map_err(DefenceError::Config)?;
        let mut heralds = Vec::new();
        for action in &config.actions {
            match Channel::open(action)? {
                Some(channel) => heralds.push((action.clone(), channel, templates(action)?)),
                None if pauser.is_none() => return Err(DefenceError::NoPauser(action.id.clone())),
                None => {}
            }
        }
        let wakes = config
            .actions
            .iter()
            .map(|action| (action.id.clone(), Notify::new()))
            .collect();
        let core = Arc::new(Core {
            store: Store::open(path).await?,
            clock,
            shutdown: CancellationToken::new(),
            wakes,
            config,
        });
        core.resume().await?;
        let mut tasks = Vec::new();
        if let Some(pauser) = &pauser {
            for action in core.config.actions.iter().filter(|action| action.kind.is_pause()) {
                let gate = Gate {
                    core: Arc::clone(&core),
                    action: action.clone(),
                    pauser: Arc::clone(pauser),
                };
                tasks.push(AbortOnDropHandle::new(tokio::spawn(gate.run())));
            }
        }
        for (action, channel, templates) in heralds {
            let herald = Herald {
                core: Arc::clone(&core),
                action,
                channel,
                templates,
            };
            tasks.push(AbortOnDropHandle::new(tokio::spawn(herald.run())));
        }
        let sweeping = Arc::clone(&core);
        tasks.push(AbortOnDropHandle::new(tokio::spawn(
            async move { sweeping.sweep().await },
        )));
        Ok(Self {
            core,
            pauser,
            tasks: Mutex::new(tasks),
        })
    }

    /// Records a confirmed violation, in one transaction of the database: a transaction that is known changes nothing, one of an attack
    /// that is known attaches to its incident, any other opens an incident and fires its actions. Returns once it is stored; what is
    /// to be done is done by tasks, the pause first.
    ///
    /// # Errors
    /// The database fails: nothing is recorded, and nothing fires.
    pub async fn confirmed(&self, violation: &ConfirmedViolation) -> Result<IncidentId, StoreError> {
        let core = &self.core;
        let now_ms = core.clock.now_ms();
        let recorded = core.store.confirm(violation, &core.config, now_ms).await?;
        for action in &recorded.due {
            core.wake(Some(action));
        }
        if recorded.opened {
            metrics::counter!("defence_incidents_total").increment(1);
            tracing::warn!(
                incident = recorded.incident,
                invariant = violation.invariant.name,
                tx = %violation.suspect.tx_hash,
                actions = recorded.due.join(","),
                "incident opened"
            );
        }
        Ok(recorded.incident)
    }

    /// Puts a line on an incident's timeline; `broadcast`, `included`, `escalated` and `closed` move the incident too.
    ///
    /// # Errors
    /// There is no such incident, or the database fails.
    pub async fn timeline_event(&self, incident: IncidentId, event: &TimelineEntry) -> Result<(), StoreError> {
        let action = event.action.as_deref();
        self.core
            .store
            .tell(incident, event.at_ms, event.moment, action, &event.detail)
            .await
    }

    /// Replaces the network's view of an incident, as more miners answer.
    ///
    /// # Errors
    /// There is no such incident, or the database fails.
    pub async fn network_view(&self, incident: IncidentId, view: NetworkView) -> Result<(), StoreError> {
        self.core.store.set_view(incident, view).await
    }

    /// Closes an incident, on a person's word. Alerts that are under way still go out.
    ///
    /// # Errors
    /// There is no such incident, or the database fails.
    pub async fn close(&self, incident: IncidentId, reason: &str) -> Result<(), StoreError> {
        let now_ms = self.core.clock.now_ms();
        self.core
            .store
            .tell(incident, now_ms, Moment::Closed, None, reason)
            .await
    }

    /// The newest incidents before `before` (the newest of all when it is `None`), newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn incidents(&self, before: Option<IncidentId>, limit: u32) -> Result<Vec<Incident>, StoreError> {
        self.core.store.incidents(before, limit).await
    }

    /// The same from the database at `path`, which another process may be using. Nothing is done about what stands there.
    ///
    /// # Errors
    /// The database fails.
    pub async fn recorded(path: &Path, before: Option<IncidentId>, limit: u32) -> Result<Vec<Incident>, StoreError> {
        let store = Store::open(path).await?;
        let incidents = store.incidents(before, limit).await;
        store.close().await;
        incidents
    }

    /// One incident; `None` when there is none of this id.
    ///
    /// # Errors
    /// The database fails.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<Incident>, StoreError> {
        self.core.store.incident(id).await
    }

    /// The incidents with news: those that something was told of behind the line `after` of all timelines (0: from the beginning), and the
    /// line to ask after the next time. It covers at most `limit` lines.
    ///
    /// # Errors
    /// The database fails.
    pub async fn changed_after(&self, after: u64, limit: u32) -> Result<(Vec<IncidentId>, u64), StoreError> {
        self.core.store.changed_after(after, limit).await
    }

    /// Changes whenever something is committed: who waits for a state looks again then.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.core.store.changes()
    }

    /// Sends one test alert over an action, at once and without retries, or rehearses a pause without sending it. Says what the other
    /// side answered.
    ///
    /// # Errors
    /// There is no such action, or what it failed at.
    pub async fn test_fire(&self, action: &str) -> Result<String, TestError> {
        trial::fire(&self.core.config, action, self.pauser.as_deref(), &self.core.clock).await
    }

    /// Ends: nothing new is begun; attempts under way have the configured `drain` to finish, and are repeated by the next process when
    /// they do not.
    pub async fn shutdown(&self) {
        self.core.shutdown.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let ended = futures::future::join_all(tasks);
        if tokio::time::timeout(self.core.config.drain, ended).await.is_err() {
            tracing::warn!("alerts or pauses were under way at shutdown; the next start goes on with them");
        }
        self.core.store.close().await;
    }
}

impl Drop for Defence {
    fn drop(&mut self) {
        self.core.shutdown.cancel();
    }
}

fn templates(action: &ActionConfig) -> Result<Templates, DefenceError> {
    Templates::new(action).map_err(|reason| DefenceError::Template {
        action: action.id.clone(),
        reason,
    })
}

impl Core {
    /// Goes on after a crash: attempts that were under way have an unknown fate; what waits for an action that is gone is given up.
    async fn resume(&self) -> Result<(), StoreError> {
        let now_ms = self.clock.now_ms();
        for delivery in self.store.interrupted().await? {
            let step = match self.config.actions.iter().find(|action| action.id == delivery.action) {
                Some(action) => {
                    let when_unknown = if action.kind.is_pause() {
                        WhenUnknown::Repeat
                    } else {
                        action.when_unknown
                    };
                    // However long the process was down, what may be repeated is repeated once.
                    let tried = Tried {
                        attempts: 1,
                        first_ms: now_ms,
                        now_ms,
                    };
                    let outcome = Outcome::Unknown {
                        reason: "the process ended during the attempt".to_owned(),
                    };
                    retry::next(&action.retry, when_unknown, tried, outcome, rand::random())
                }
                None => gone(),
            };
            self.store
                .end_attempt(&delivery, &step, &self.config, Turn::Next, now_ms)
                .await?;
        }
        for action in self.store.waiting_actions().await? {
            if self.config.actions.iter().any(|known| known.id == action) {
                continue;
            }
            while let crate::store::Due::Now(delivery) = self.store.due(&action, u64::MAX).await? {
                self.store
                    .end_attempt(&delivery, &gone(), &self.config, Turn::Next, now_ms)
                    .await?;
            }
        }
        Ok(())
    }

    /// Wakes up an action's task.
    pub(crate) fn wake(&self, action: Option<&str>) {
        if let Some(wake) = action.and_then(|action| self.wakes.get(action)) {
            wake.notify_one();
        }
    }

    /// Returns when the action is woken, at `until`, or at shutdown.
    pub(crate) async fn wait(&self, action: &str, until: Option<u64>) {
        let woken = async {
            match self.wakes.get(action) {
                Some(wake) => wake.notified().await,
                None => std::future::pending().await,
            }
        };
        let at = async {
            match until {
                Some(until) => self.clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = woken => {}
            () = at => {}
        }
    }

    /// The database failed a task: told, and tried again a little later.
    pub(crate) fn failed(&self, action: &str, error: &StoreError) -> Option<u64> {
        metrics::counter!("defence_database_errors_total").increment(1);
        tracing::error!(action, %error, "the outbox cannot be read or written; trying again");
        Some(self.clock.now_ms().saturating_add(millis(DATABASE_PAUSE)))
    }

    /// Why an action may not fire now, if it may not.
    pub(crate) async fn over_limit(&self, action: &ActionConfig, now_ms: u64) -> Result<Option<String>, StoreError> {
        let Some(limit) = action.rate_limit else {
            return Ok(None);
        };
        let fired = self.store.fired(&action.id, limit.count).await?;
        Ok((limit.admit(&fired, now_ms) > now_ms).then(|| {
            let per = humantime::format_duration(limit.per);
            format!("rate limit: more than {} within {per}", limit.count)
        }))
    }

    /// Records how an attempt ended, however often the database must be asked, and wakes up what follows from it.
    pub(crate) async fn record(&self, delivery: &Delivery, step: &Step, turn: Turn) {
        match step {
            Step::Failed { reason } => {
                tracing::error!(
                    action = delivery.action,
                    incident = delivery.incident,
                    reason,
                    "an action failed for good"
                );
            }
            Step::Again { reason, .. } => {
                tracing::warn!(
                    action = delivery.action,
                    incident = delivery.incident,
                    reason,
                    "an attempt failed"
                );
            }
            Step::Sent { .. } => {
                tracing::info!(action = delivery.action, incident = delivery.incident, "done");
            }
        }
        loop {
            match self
                .store
                .end_attempt(delivery, step, &self.config, turn, self.clock.now_ms())
                .await
            {
                Ok(ended) => {
                    self.wake(ended.next_rung.as_deref());
                    // A pause waits in the same task that it is recorded by another task of.
                    self.wake(Some(&delivery.action));
                    return;
                }
                Err(error) => {
                    self.failed(&delivery.action, &error);
                    tokio::select! {
                        // It stays `Sending`, so the next process knows that its fate is unknown.
                        () = self.shutdown.cancelled() => return,
                        () = self.clock.sleep(DATABASE_PAUSE) => {}
                    }
                }
            }
        }
    }

    pub(crate) fn count(&self, action: &str, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::NotTaken { .. } => "not_taken",
            Outcome::Refused { .. } => "refused",
            Outcome::Unknown { .. } => "unknown",
        };
        metrics::counter!("defence_attempts_total", "action" => action.to_owned(), "outcome" => outcome).increment(1);
    }

    async fn sweep(&self) {
        while !self.shutdown.is_cancelled() {
            match self.store.sweep(&self.config, self.clock.now_ms()).await {
                Ok((0, 0)) => {}
                Ok((closed, forgotten)) => tracing::info!(closed, forgotten, "incidents swept"),
                Err(error) => tracing::error!(%error, "incidents cannot be swept"),
            }
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = self.clock.sleep(SWEEP) => {}
            }
        }
    }
}

fn gone() -> Step {
    Step::Failed {
        reason: "the action is no longer configured".to_owned(),
    }
}
