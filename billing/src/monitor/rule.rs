//! What a monitor concludes and does, from what it saw and what it remembers: a state machine over plain values.
//!
//! What always holds: a command runs on an edge only, once (again only when it failed, at most [`Policy::attempts`] times);
//! nothing runs on what is not known; within the grace nothing has happened yet.

use alloy::primitives::U256;
use node::clock::date;
use serde::{Deserialize, Serialize};

/// What an operator chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Seconds after the end of the payment in which the service goes on.
    pub grace: u64,
    /// Warn when the payment lasts for less than so many seconds.
    pub warn_runway: u64,
    /// How often a command that fails is tried, a check apart.
    pub attempts: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            grace: 0,
            warn_runway: 0,
            attempts: 3,
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A fresh head.
    Seen {
        /// Its time, Unix seconds.
        at: u64,
        /// By our own arithmetic.
        paid_until: u64,
        /// Base units that are missing.
        arrears: U256,
        /// By the contract's.
        contract_says_paid: bool,
    },
    /// Nothing.
    Nothing {
        /// Why.
        reason: String,
    },
}

/// What it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Conclusion {
    /// The service is paid.
    Paid {
        /// For so many seconds more.
        runway: u64,
        /// Through this second (Unix).
        paid_until: u64,
        /// It is time to pay.
        warn: bool,
    },
    /// The payment has ended; the service goes on for now.
    Grace {
        /// For so many seconds more.
        left: u64,
        /// Base units that are missing.
        arrears: U256,
    },
    /// The service is not paid.
    Unpaid {
        /// Base units that are missing.
        arrears: U256,
        /// Since this second (Unix).
        since: u64,
    },
    /// Nobody knows.
    Indeterminate {
        /// Why.
        reason: String,
    },
}

/// A line for people.
impl std::fmt::Display for Conclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let span = |seconds: &u64| humantime::format_duration(std::time::Duration::from_secs(*seconds));
        match self {
            Self::Paid { runway, paid_until, .. } => {
                write!(f, "paid for {}, until {}", span(runway), date(*paid_until))
            }
            Self::Grace { left, arrears } => {
                write!(
                    f,
                    "unpaid, {} of grace left, {arrears} base units are missing",
                    span(left)
                )
            }
            Self::Unpaid { arrears, since } => {
                write!(f, "unpaid since {}, {arrears} base units are missing", date(*since))
            }
            Self::Indeterminate { reason } => write!(f, "not known: {reason}"),
        }
    }
}

/// The last thing that was known for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// Paid, or within the grace.
    Paid,
    /// Not paid.
    Unpaid,
}

/// What a monitor remembers from check to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Nothing before the first check.
    pub known: Option<Known>,
    /// Failed runs of the command that the last edge asked for, while it has not succeeded.
    pub failed: Option<u32>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The payment has ended.
    RunUnpaid,
    /// It is there again.
    RunPaid,
}

/// One check.
pub fn step(memory: Memory, policy: &Policy, observation: Observation) -> (Memory, Conclusion, Vec<Effect>) {
    let conclusion = conclude(policy, observation);
    let now = match conclusion {
        Conclusion::Paid { .. } | Conclusion::Grace { .. } => Known::Paid,
        Conclusion::Unpaid { .. } => Known::Unpaid,
        Conclusion::Indeterminate { .. } => return (memory, conclusion, Vec::new()),
    };
    let edge = match (memory.known, now) {
        // A service that was never seen unpaid has nothing to be started again for.
        (None, Known::Paid) => false,
        (None, Known::Unpaid) => true,
        (Some(before), now) => before != now,
    };
    let again = !edge
        && memory
            .failed
            .is_some_and(|failed| failed > 0 && failed < policy.attempts);
    let effect = match now {
        Known::Unpaid => Effect::RunUnpaid,
        Known::Paid => Effect::RunPaid,
    };
    let failed = if edge { Some(0) } else { memory.failed };
    let memory = Memory {
        known: Some(now),
        failed,
    };
    (
        memory,
        conclusion,
        if edge || again { vec![effect] } else { Vec::new() },
    )
}

/// What is remembered of a command that was run.
pub fn ran(memory: Memory, _effect: Effect, succeeded: bool) -> Memory {
    let failed = if succeeded {
        None
    } else {
        Some(memory.failed.unwrap_or(0).saturating_add(1))
    };
    Memory { failed, ..memory }
}

/// What an observation means.
pub fn conclude(policy: &Policy, observation: Observation) -> Conclusion {
    let (at, paid_until, arrears, contract_says_paid) = match observation {
        Observation::Nothing { reason } => return Conclusion::Indeterminate { reason },
        Observation::Seen {
            at,
            paid_until,
            arrears,
            contract_says_paid,
        } => (at, paid_until, arrears, contract_says_paid),
    };
    if contract_says_paid != (at <= paid_until) {
        let reason =
            format!("the contract says {contract_says_paid}, its numbers say otherwise: is it a ServicePayment?");
        return Conclusion::Indeterminate { reason };
    }
    match at.checked_sub(paid_until) {
        None | Some(0) => {
            let runway = paid_until - at;
            Conclusion::Paid {
                runway,
                paid_until,
                warn: runway < policy.warn_runway,
            }
        }
        Some(late) if late <= policy.grace => Conclusion::Grace {
            left: policy.grace - late,
            arrears,
        },
        Some(_) => Conclusion::Unpaid {
            arrears,
            since: paid_until.saturating_add(1),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: Policy = Policy {
        grace: 10,
        warn_runway: 100,
        attempts: 3,
    };

    fn seen(at: u64, paid_until: u64) -> Observation {
        let arrears = U256::from(at.saturating_sub(paid_until));
        Observation::Seen {
            at,
            paid_until,
            arrears,
            contract_says_paid: at <= paid_until,
        }
    }

    /// Checks in a row; a command succeeds. What was concluded last, and what was run.
    fn run(observations: impl IntoIterator<Item = Observation>) -> (Option<Conclusion>, Vec<Effect>) {
        let (mut memory, mut last, mut all) = (Memory::default(), None, Vec::new());
        for observation in observations {
            let (next, conclusion, effects) = step(memory, &POLICY, observation);
            memory = effects.iter().fold(next, |memory, effect| ran(memory, *effect, true));
            last = Some(conclusion);
            all.extend(effects);
        }
        (last, all)
    }

    #[test]
    fn kp_15_ten_unpaid_checks_run_one_command_and_recovery_the_other() {
        let unpaid = (0..10).map(|second| seen(2_000 + second, 1_000));
        assert_eq!(run(unpaid.clone()).1, [Effect::RunUnpaid]);
        let recovered = unpaid.chain([seen(2_100, 3_000), seen(2_101, 3_000)]);
        assert_eq!(run(recovered).1, [Effect::RunUnpaid, Effect::RunPaid]);
    }

    #[test]
    fn kp_10_a_service_that_is_paid_from_the_first_look_on_runs_nothing() {
        assert_eq!(run([seen(1, 1_000), seen(2, 1_000)]).1, []);
    }

    #[test]
    fn kp_17_a_short_runway_is_paid_and_warned_of() {
        let (conclusion, _) = run([seen(950, 1_000)]);
        assert_eq!(
            conclusion,
            Some(Conclusion::Paid {
                runway: 50,
                paid_until: 1_000,
                warn: true
            })
        );
        let (conclusion, _) = run([seen(900, 1_000)]);
        assert_eq!(
            conclusion,
            Some(Conclusion::Paid {
                runway: 100,
                paid_until: 1_000,
                warn: false
            })
        );
    }

    #[test]
    fn within_the_grace_nothing_has_happened() {
        let (conclusion, effects) = run([seen(1_000, 1_000), seen(1_010, 1_000)]);
        assert_eq!(
            conclusion,
            Some(Conclusion::Grace {
                left: 0,
                arrears: U256::from(10)
            })
        );
        assert_eq!(effects, []);
        assert_eq!(run([seen(1_000, 1_000), seen(1_011, 1_000)]).1, [Effect::RunUnpaid]);
    }

    #[test]
    fn a_command_that_fails_is_tried_again_a_few_times() {
        let mut memory = Memory::default();
        let mut runs = 0;
        for second in 0..10 {
            let (next, _, effects) = step(memory, &POLICY, seen(2_000 + second, 1_000));
            memory = effects.iter().fold(next, |memory, effect| ran(memory, *effect, false));
            runs += effects.len();
        }
        assert_eq!(runs, 3);
    }

    #[test]
    fn a_contract_that_contradicts_itself_is_not_believed() {
        let lie = Observation::Seen {
            at: 5,
            paid_until: 1,
            arrears: U256::ZERO,
            contract_says_paid: true,
        };
        assert!(matches!(run([lie]).0, Some(Conclusion::Indeterminate { .. })));
    }

    proptest! {
        /// Whatever is seen: commands alternate, the first of them is the unpaid one, and what is not known changes nothing.
        #[test]
        fn commands_alternate(seconds in prop::collection::vec(prop::option::of(0_u64..3_000), 0..60)) {
            let observations = seconds.iter().map(|at| match at {
                Some(at) => seen(*at, 1_000),
                None => Observation::Nothing { reason: "down".into() },
            });
            let (_, effects) = run(observations.clone());
            for (place, effect) in effects.iter().enumerate() {
                let expected = if place % 2 == 0 { Effect::RunUnpaid } else { Effect::RunPaid };
                prop_assert_eq!(*effect, expected);
            }
            let known = observations.filter(|observation| matches!(observation, Observation::Seen { .. }));
            prop_assert_eq!(run(known).1, effects);
        }
    }
}
