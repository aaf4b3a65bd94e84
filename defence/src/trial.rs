//! For a person at the command line: which actions there are, and whether one works.

use crate::alerts;
use crate::channel::{Channel, ChannelError};
use crate::clock::Clock;
use crate::config::{ActionConfig, Config};
use crate::outcome::Outcome;
use crate::pause::{self, Pauser};
use crate::sample;
use crate::template::{Occasion, Suppressed, TemplateError, Templates};

/// A test that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// There is no such action.
    #[error("there is no action `{id}`; there are: {known}")]
    NoAction {
        /// What was asked for.
        id: String,
        /// The configured ids.
        known: String,
    },
    /// It cannot be set up.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// Its template fails.
    #[error("action `{action}`: {reason}")]
    Template {
        /// The action's id.
        action: String,
        /// What is wrong.
        reason: TemplateError,
    },
    /// A pause, and nobody to send it.
    #[error("action `{0}` is a pause, but nothing here sends transactions: configure the sender")]
    NoPauser(String),
    /// The other side did not take it.
    #[error("action `{action}` failed: {reason}")]
    NotTaken {
        /// The action's id.
        action: String,
        /// Why.
        reason: String,
    },
}

/// One line for each action: id, kind, for what, and its place on a ladder.
#[must_use]
pub fn list(config: &Config) -> Vec<String> {
    config.actions.iter().map(line).collect()
}

fn line(action: &ActionConfig) -> String {
    let invariants = if action.invariants.is_empty() {
        "every invariant".to_owned()
    } else {
        let ids: Vec<String> = action.invariants.iter().map(u64::to_string).collect();
        format!("invariants {}", ids.join(", "))
    };
    let ladder = action
        .ladder
        .as_ref()
        .map(|ladder| format!(", rung {} of ladder {ladder}", action.rung))
        .unwrap_or_default();
    let limit = action
        .rate_limit
        .map(|limit| {
            format!(
                ", at most {} per {}",
                limit.count,
                humantime::format_duration(limit.per)
            )
        })
        .unwrap_or_default();
    format!(
        "{}: {} for {invariants} from {} up{ladder}{limit}",
        action.id,
        action.kind.name(),
        action.min_severity.label()
    )
}

/// Sends one test alert over the action `id`, at once and without retries; of a pause it does everything but sending. Says what the
/// other side answered. No database is needed.
///
/// # Errors
/// [`TestError`] names the action and what it failed at.
pub async fn fire(config: &Config, id: &str, pauser: Option<&dyn Pauser>, clock: &Clock) -> Result<String, TestError> {
    let action = config
        .actions
        .iter()
        .find(|action| action.id == id)
        .ok_or_else(|| TestError::NoAction {
            id: id.to_owned(),
            known: config
                .actions
                .iter()
                .map(|action| action.id.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })?;
    let not_taken = |reason: String| TestError::NotTaken {
        action: id.to_owned(),
        reason,
    };
    let key = hex::encode(rand::random::<[u8; 16]>());
    let late = || format!("no answer within {}", humantime::format_duration(action.retry.attempt));
    let Some(channel) = Channel::open(action)? else {
        let pauser = pauser.ok_or_else(|| TestError::NoPauser(id.to_owned()))?;
        let violation = sample::violation();
        let request = pause::request(action, &key, 0, &violation, Vec::new())
            .ok_or_else(|| not_taken("it is no pause".to_owned()))?;
        return match clock.within(action.retry.attempt, pauser.rehearse(request)).await {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(not_taken(error.reason)),
            None => Err(not_taken(late())),
        };
    };
    let template = |reason| TestError::Template {
        action: id.to_owned(),
        reason,
    };
    let templates = Templates::new(action).map_err(template)?;
    let words =
        alerts::example(&templates, &config.source, &key, Occasion::Test, Suppressed::default()).map_err(template)?;
    match alerts::send(&channel, action, clock, &key, &words, 1, false).await {
        Outcome::Accepted { reference } if reference.is_empty() => Ok(format!("{} took it", action.kind.name())),
        Outcome::Accepted { reference } => Ok(format!("{} took it: {reference}", action.kind.name())),
        Outcome::NotTaken { reason, .. } | Outcome::Refused { reason } | Outcome::Unknown { reason } => {
            Err(not_taken(reason))
        }
    }
}
