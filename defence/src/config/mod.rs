//! What is done about an incident, as a person writes it: the table `[defence]`, or `[[actions]]` in a file of its own.
//!
//! Every key is checked when it is read: an unknown one, one that does not belong to the kind, or one that is missing is an error that
//! names the action. Secrets are `env:NAME` or `file:PATH`.

mod kind;
mod raw;

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;

pub use self::kind::{GuardedPause, KeeperJob, Kind, Tls, Way};
use self::raw::Raw;
use crate::limit::RateLimit;
use crate::retry::{RetryPolicy, WhenUnknown};
use crate::violation::{ConfirmedViolation, Severity};

/// The whole of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who speaks: stands in every alert, and in the idempotency keys, so that two validators' alerts are not taken for one.
    pub source: String,
    /// Violations of the same sender or call path that are no further apart are one attack.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// An incident that nothing came of and that is quiet for so long is closed.
    #[serde(with = "humantime_serde")]
    pub close_after: Duration,
    /// Incidents that ended so long ago are deleted.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How long attempts that are under way may take to finish at shutdown.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// What is done.
    pub actions: Vec<ActionConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: "portcullis".to_owned(),
            window: Duration::from_mins(10),
            close_after: Duration::from_hours(24),
            retention: Duration::from_hours(24 * 90),
            drain: Duration::from_secs(5),
            actions: Vec::new(),
        }
    }
}

/// One action.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Raw")]
pub struct ActionConfig {
    /// Its name: letters, digits, `-`, `_`.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// Only for these invariants; all when it is empty.
    pub invariants: Vec<u64>,
    /// Only for this severity and above.
    pub min_severity: Severity,
    /// The ladder that it is a rung of; an action without one fires at once.
    pub ladder: Option<String>,
    /// Its place on the ladder: the lowest that fits fires at once, the next one when it has failed for good.
    pub rung: u32,
    /// Template of the text, in place of the kind's own.
    pub template: Option<String>,
    /// Template of an e-mail's subject.
    pub subject: Option<String>,
    /// At most so many in so long.
    pub rate_limit: Option<RateLimit>,
    /// Alerts that wait to be sent; what comes when so many do is suppressed.
    pub max_pending: u32,
    /// How often and how long it is tried.
    pub retry: RetryPolicy,
    /// What to do when it is not known whether an attempt was taken.
    pub when_unknown: WhenUnknown,
}

impl ActionConfig {
    /// Whether it is for this violation.
    #[must_use]
    pub fn is_for(&self, violation: &ConfirmedViolation) -> bool {
        violation.severity >= self.min_severity
            && (self.invariants.is_empty() || self.invariants.contains(&violation.invariant.id))
    }
}

impl Config {
    /// What is wrong with it as a whole, if something is; each action was checked when it was read.
    ///
    /// # Errors
    /// One line that names the key or the action.
    pub fn check(&self) -> Result<(), String> {
        if self.source.is_empty() || self.source.len() > 100 {
            return Err("`defence.source`: must have 1 to 100 characters".into());
        }
        if self.window.is_zero() || self.close_after < self.window || self.retention < self.close_after {
            return Err(
                "`defence`: `window` must be above 0, `close_after` not below it, and `retention` not below that"
                    .into(),
            );
        }
        if self.actions.len() > 100 {
            return Err("`defence.actions`: at most 100".into());
        }
        let mut ids = HashSet::new();
        let mut rungs = HashSet::new();
        for action in &self.actions {
            if !ids.insert(&action.id) {
                return Err(format!("two actions have the id `{}`", action.id));
            }
            if let Some(ladder) = &action.ladder
                && !rungs.insert((ladder, action.rung))
            {
                return Err(format!(
                    "action `{}`: rung {} of ladder `{ladder}` is taken; give it another `rung`",
                    action.id, action.rung
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
