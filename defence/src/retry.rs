//! The rule of retries: after an attempt, when again, or that it is given up.
//!
//! Pure: the time and the jitter come from outside. The pause after attempt n is `base * 2^(n-1)`, at most `max`, of which the upper
//! half is random, so that many alerts that failed together do not come back together. A wish of the other side (`Retry-After`)
//! lengthens it, and is jittered by up to a tenth. What would begin later than `total` after the first attempt is given up.

use std::time::Duration;

use serde::Deserialize;

use crate::clock::millis;
use crate::outcome::Outcome;

/// How often and how long an action is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Pause after the first attempt.
    #[serde(with = "humantime_serde")]
    pub base: Duration,
    /// The longest pause that is not asked for by the other side.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
    /// How long one attempt may take.
    #[serde(with = "humantime_serde")]
    pub attempt: Duration,
    /// No attempt begins later than this after the first.
    #[serde(with = "humantime_serde")]
    pub total: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
            attempt: Duration::from_secs(10),
            total: Duration::from_mins(15),
        }
    }
}

impl RetryPolicy {
    /// What is wrong with it, if something is.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.base.is_zero() || self.attempt.is_zero() {
            return Err("`retry.base` and `retry.attempt` must be above 0".into());
        }
        if self.max < self.base || self.total < self.base {
            return Err("`retry.max` and `retry.total` must not be below `retry.base`".into());
        }
        if self.total > Duration::from_hours(24 * 7) || self.attempt > Duration::from_hours(1) {
            return Err("`retry.total` must be at most 7 days, `retry.attempt` at most 1 hour".into());
        }
        Ok(())
    }
}

/// What to do when it is not known whether an attempt was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnknown {
    /// Send again, so that it arrives at least once.
    #[default]
    Repeat,
    /// Do not, so that it arrives at most once; the next rung of the ladder fires.
    Escalate,
}

/// How far a delivery is, the attempt that just ended included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// Attempts, at least 1.
    pub attempts: u32,
    /// When the first began.
    pub first_ms: u64,
    /// Now.
    pub now_ms: u64,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Done.
    Sent {
        /// What the other side calls it.
        reference: String,
    },
    /// Once more, at this time.
    Again {
        /// Not before, milliseconds since 1970.
        at_ms: u64,
        /// Why the last attempt did not succeed.
        reason: String,
        /// The last attempt may have been taken.
        unknown: bool,
        /// The other side asked to wait: whatever else goes there waits too.
        asked: bool,
    },
    /// Given up.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The step after an attempt that came to `outcome`; `jitter` is a random number in `0.0..1.0`.
#[must_use]
pub fn next(policy: &RetryPolicy, when_unknown: WhenUnknown, tried: Tried, outcome: Outcome, jitter: f64) -> Step {
    let (reason, wait, unknown) = match outcome {
        Outcome::Accepted { reference } => return Step::Sent { reference },
        Outcome::Refused { reason } => return Step::Failed { reason },
        Outcome::Unknown { reason } if when_unknown == WhenUnknown::Escalate => {
            return Step::Failed {
                reason: format!("{reason}; it may have arrived, and is not sent again"),
            };
        }
        Outcome::Unknown { reason } => (reason, None, true),
        Outcome::NotTaken { reason, wait } => (reason, wait, false),
    };
    let jitter = jitter.clamp(0.0, 1.0);
    let doublings = tried.attempts.saturating_sub(1).min(31);
    let backoff = policy.base.saturating_mul(1 << doublings).min(policy.max);
    let own = backoff.mul_f64(0.5 + 0.5 * jitter);
    let asked = wait.map(|wait| wait.saturating_add((wait / 10).mul_f64(jitter)));
    let pause = millis(own).max(asked.map_or(0, millis)).max(1);
    let at_ms = tried.now_ms.saturating_add(pause);
    if at_ms > tried.first_ms.saturating_add(millis(policy.total)) {
        return Step::Failed {
            reason: format!(
                "{reason}; given up after {} attempts within {}",
                tried.attempts,
                humantime::format_duration(policy.total)
            ),
        };
    }
    Step::Again {
        at_ms,
        reason,
        unknown,
        asked: asked.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: u64 = 1_800_000_000_000;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            base: Duration::from_secs(1),
            max: Duration::from_secs(8),
            attempt: Duration::from_secs(10),
            total: Duration::from_secs(100),
        }
    }

    fn again(attempts: u32, wait: Option<u64>, jitter: f64) -> Option<u64> {
        let tried = Tried {
            attempts,
            first_ms: T0,
            now_ms: T0,
        };
        let outcome = Outcome::NotTaken {
            reason: "no".into(),
            wait: wait.map(Duration::from_secs),
        };
        match next(&policy(), WhenUnknown::Repeat, tried, outcome, jitter) {
            Step::Again { at_ms, .. } => Some(at_ms - T0),
            _ => None,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_jittered_by_half() {
        assert_eq!(again(1, None, 0.0), Some(500));
        assert_eq!(again(1, None, 1.0), Some(1_000));
        assert_eq!(again(3, None, 1.0), Some(4_000));
        assert_eq!(again(40, None, 1.0), Some(8_000));
    }

    #[test]
    fn a_wish_of_the_other_side_is_never_cut() {
        assert_eq!(again(1, Some(30), 0.0), Some(30_000));
        assert_eq!(again(1, Some(30), 1.0), Some(33_000));
        assert_eq!(again(4, Some(1), 1.0), Some(8_000));
        assert_eq!(
            again(1, Some(101), 0.0),
            None,
            "beyond the total deadline it is given up"
        );
    }

    #[test]
    fn an_unknown_fate_is_repeated_or_not_as_configured() {
        let tried = Tried {
            attempts: 1,
            first_ms: T0,
            now_ms: T0,
        };
        let unknown = || Outcome::Unknown {
            reason: "no answer".into(),
        };
        assert!(matches!(
            next(&policy(), WhenUnknown::Repeat, tried, unknown(), 0.5),
            Step::Again { unknown: true, .. }
        ));
        assert!(matches!(
            next(&policy(), WhenUnknown::Escalate, tried, unknown(), 0.5),
            Step::Failed { .. }
        ));
    }

    proptest! {
        #[test]
        fn it_ends_and_never_begins_after_the_deadline(jitters in prop::collection::vec(0.0_f64..1.0, 400), took in 0_u64..20_000) {
            let (mut now, mut attempts) = (T0, 0);
            for jitter in jitters {
                attempts += 1;
                let tried = Tried { attempts, first_ms: T0, now_ms: now + took };
                match next(&policy(), WhenUnknown::Repeat, tried, Outcome::not_taken("no"), jitter) {
                    Step::Again { at_ms, .. } => {
                        prop_assert!(at_ms > now + took && at_ms <= T0 + 100_000);
                        now = at_ms;
                    }
                    Step::Failed { .. } => return Ok(()),
                    Step::Sent { .. } => prop_assert!(false, "nobody took it"),
                }
            }
            prop_assert!(false, "it was never given up");
        }
    }
}
