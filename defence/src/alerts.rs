//! One action's alerts, one attempt at a time, from the outbox to the channel.
//!
//! The queue is the outbox, bounded by the action's `max_pending`. Between attempts of one alert the others have their turn, unless the
//! other side asked to wait: then all of them do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::channel::{Alert, Channel};
use crate::config::ActionConfig;
use crate::defence::Core;
use crate::outcome::Outcome;
use crate::retry::{self, Step, Tried};
use crate::sample;
use crate::store::{Delivery, Due, Incident, StoreError, Turn};
use crate::template::{Facts, Occasion, Suppressed, TemplateError, Templates, Words};

/// An action that tells people.
pub(crate) struct Herald {
    pub(crate) core: Arc<Core>,
    pub(crate) action: ActionConfig,
    pub(crate) channel: Channel,
    pub(crate) templates: Templates,
}

/// What the herald does next.
enum Next {
    Look,
    Wait(Option<u64>),
}

impl Herald {
    /// Sends what is due, until shutdown.
    pub(crate) async fn run(self) {
        // The other side asked for silence until then.
        let mut quiet_until = 0;
        while !self.core.shutdown.is_cancelled() {
            let wait = match self.step(&mut quiet_until).await {
                Ok(Next::Look) => continue,
                Ok(Next::Wait(until)) => until,
                Err(error) => self.core.failed(&self.action.id, &error),
            };
            self.core.wait(&self.action.id, wait).await;
        }
    }

    async fn step(&self, quiet_until: &mut u64) -> Result<Next, StoreError> {
        let store = &self.core.store;
        let now_ms = self.core.clock.now_ms();
        if *quiet_until > now_ms {
            return Ok(Next::Wait(Some(*quiet_until)));
        }
        let opens = self.summarise(now_ms).await?;
        match store.due(&self.action.id, now_ms).await? {
            Due::Now(delivery) => {
                if delivery.attempts == 0
                    && delivery.incident.is_some()
                    && let Some(reason) = self.core.over_limit(&self.action, now_ms).await?
                {
                    store.suppress(&delivery, &reason, now_ms).await?;
                    return Ok(Next::Look);
                }
                *quiet_until = self.attempt(&delivery, now_ms).await?;
                Ok(Next::Look)
            }
            Due::At(at_ms) => Ok(Next::Wait(Some(opens.map_or(at_ms, |opens| opens.min(at_ms))))),
            Due::Nothing => Ok(Next::Wait(opens)),
        }
    }

    /// Tells of what was held back as soon as the limit is open; until then, when it will be.
    async fn summarise(&self, now_ms: u64) -> Result<Option<u64>, StoreError> {
        let store = &self.core.store;
        if !store.has_suppressed(&self.action.id).await? {
            return Ok(None);
        }
        let opens = match self.action.rate_limit {
            Some(limit) => limit.admit(&store.fired(&self.action.id, limit.count).await?, now_ms),
            // Held back since too much waited: told of when nothing waits any more.
            None if matches!(store.due(&self.action.id, u64::MAX).await?, Due::Nothing) => now_ms,
            None => return Ok(None),
        };
        if opens > now_ms {
            return Ok(Some(opens));
        }
        store
            .summarise(&self.action.id, &self.core.config.source, now_ms)
            .await?;
        Ok(None)
    }

    /// Makes one attempt; gives until when the other side asked for silence.
    async fn attempt(&self, delivery: &Delivery, begun_ms: u64) -> Result<u64, StoreError> {
        let core = &self.core;
        let words = match core.store.words(delivery.id).await? {
            Some(words) => Ok(words),
            None => self.words(delivery).await?,
        };
        let outcome = match &words {
            Ok(words) => {
                core.store
                    .begin_attempt(delivery, Some(words), Turn::Behind, begun_ms)
                    .await?;
                let attempt = delivery.attempts.saturating_add(1);
                send(
                    &self.channel,
                    &self.action,
                    &core.clock,
                    &delivery.key,
                    words,
                    attempt,
                    delivery.unknown,
                )
                .await
            }
            Err(error) => {
                core.store.begin_attempt(delivery, None, Turn::Behind, begun_ms).await?;
                Outcome::Refused {
                    reason: error.to_string(),
                }
            }
        };
        core.count(&self.action.id, &outcome);
        let tried = Tried {
            attempts: delivery.attempts.saturating_add(1),
            first_ms: delivery.first_ms.unwrap_or(begun_ms),
            now_ms: core.clock.now_ms(),
        };
        let step = retry::next(
            &self.action.retry,
            self.action.when_unknown,
            tried,
            outcome,
            rand::random(),
        );
        core.record(delivery, &step, Turn::Behind).await;
        Ok(match step {
            Step::Again { at_ms, asked: true, .. } => at_ms,
            Step::Again { .. } | Step::Sent { .. } | Step::Failed { .. } => 0,
        })
    }

    async fn words(&self, delivery: &Delivery) -> Result<Result<Words, TemplateError>, StoreError> {
        let core = &self.core;
        let source = &core.config.source;
        match core.store.incident_of(delivery).await? {
            Some(incident) => Ok(self.templates.render(&facts(source, &delivery.key, &incident))),
            None => {
                let suppressed = core.store.suppressed(delivery.id).await?;
                Ok(example(
                    &self.templates,
                    source,
                    &delivery.key,
                    Occasion::Summary,
                    suppressed,
                ))
            }
        }
    }
}

fn facts<'a>(source: &'a str, key: &'a str, incident: &'a Incident) -> Facts<'a> {
    Facts {
        occasion: Occasion::Incident,
        source,
        key,
        incident: incident.id,
        state: incident.state,
        violation: &incident.violation,
        suspects: &incident.suspects,
        total_suspects: incident.total_suspects,
        view: incident.view,
        suppressed: Suppressed::default(),
    }
}

/// The words of a test or a summary, which have no incident.
pub(crate) fn example(
    templates: &Templates,
    source: &str,
    key: &str,
    occasion: Occasion,
    suppressed: Suppressed,
) -> Result<Words, TemplateError> {
    let violation = sample::violation();
    templates.render(&Facts {
        occasion,
        source,
        key,
        incident: 0,
        state: crate::incident::State::Open,
        violation: &violation,
        suspects: std::slice::from_ref(&violation.suspect),
        total_suspects: 1,
        view: violation.view,
        suppressed,
    })
}

/// One attempt, within its deadline.
#[allow(clippy::too_many_arguments, reason = "an attempt's own facts, called twice")]
pub(crate) async fn send(
    channel: &Channel,
    action: &ActionConfig,
    clock: &crate::clock::Clock,
    key: &str,
    words: &Words,
    attempt: u32,
    repeat: bool,
) -> Outcome {
    let handed_over = AtomicBool::new(false);
    let alert = Alert {
        key,
        words,
        attempt,
        repeat,
        now_ms: clock.now_ms(),
        handed_over: &handed_over,
    };
    let limit = action.retry.attempt;
    match clock.within(limit, channel.send(&alert)).await {
        Some(outcome) => outcome,
        None => {
            let reason = format!("no answer within {}", humantime::format_duration(limit));
            if handed_over.load(Ordering::Acquire) {
                Outcome::Unknown { reason }
            } else {
                Outcome::not_taken(reason)
            }
        }
    }
}
