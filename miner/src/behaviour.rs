//! How a miner answers: honestly, or in one of the ways that a network must see through.
//!
//! Misbehaviour is a flag so that anyone can try the defences of a network of their own (`bots localnet --liar 2`). Rules over plain
//! values; what a misbehaviour needs to remember or overhear is in [`crate::conduct`].

use std::time::Duration;

use engine::{B256, U256};
use protos::v1::ExecutionStatus;
use serde::{Deserialize, Serialize};
use wire::{Challenge, Finding, FindingVerdict, ReportedExecution, Verdicts};

/// A way to answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Behaviour {
    /// Executes and says what it found
    #[default]
    Honest,
    /// Says that everything holds, without executing
    Lazy,
    /// Executes, and says the opposite
    Liar,
    /// Executes, and answers late
    Slow,
    /// Says that everything is violated, without executing
    Alarmist,
    /// Says anything, without executing
    Random,
    /// Executes, and answers only after the deadline
    Late,
    /// Signs what it overhears of another's answer, without executing
    Copycat,
    /// Executes, and hides every violation, as others do who are in league with it
    Colluder,
    /// Gives its first answer again and again
    Replayer,
    /// Executes, and addresses its answers to another than who asked
    Misaddressed,
}

/// How much later a slow miner answers.
pub const SLOWNESS: Duration = Duration::from_millis(400);

/// How much after the deadline a late one does.
const LATENESS: Duration = Duration::from_millis(100);

impl Behaviour {
    /// The answer of one that does not execute; `None` for those that do, and for those that wait for another's. `salt` tells one
    /// miner's random answers from another's.
    pub fn without_execution(self, challenge: &Challenge, salt: u64) -> Option<Verdicts> {
        let dice = |n: usize| {
            let byte = challenge.id.get(n % 32).copied().unwrap_or_default();
            u64::from(byte).wrapping_add(salt.rotate_right(u32::try_from(n % 64).unwrap_or(0))) & 1 == 1
        };
        let (digest, violated): (B256, Box<dyn Fn(usize) -> bool>) = match self {
            Self::Lazy => (B256::ZERO, Box::new(|_| false)),
            Self::Alarmist => (B256::ZERO, Box::new(|_| true)),
            Self::Random => (challenge.id ^ B256::from(U256::from(salt)), Box::new(dice)),
            _ => return None,
        };
        let verdict = |index: usize| match violated(index) {
            true => INVENTED,
            false => FindingVerdict::Holds { already_broken: false },
        };
        let findings = challenge.invariants.iter().enumerate();
        Some(Verdicts {
            findings: findings
                .map(|(index, invariant)| Finding {
                    invariant_id: invariant.id(),
                    verdict: verdict(index),
                })
                .collect(),
            execution: Some(ReportedExecution {
                status: ExecutionStatus::Success,
                gas_used: challenge.transaction.gas_limit(),
                logs: 0,
                post_state_digest: digest,
            }),
            engine_version: engine::ENGINE_VERSION.to_owned(),
            state_digest: None,
        })
    }

    /// What is said of what was found.
    pub fn tell(self, mut found: Verdicts) -> Verdicts {
        for finding in &mut found.findings {
            let verdict = match (self, &finding.verdict) {
                (Self::Liar, FindingVerdict::Holds { .. }) => INVENTED,
                (Self::Liar, _) | (Self::Colluder, FindingVerdict::Violated { .. }) => {
                    FindingVerdict::Holds { already_broken: false }
                }
                _ => continue,
            };
            finding.verdict = verdict;
        }
        // Where there is nothing to judge, the post-state is all that can be lied about.
        if self == Self::Liar
            && let Some(execution) = found.execution.as_mut().filter(|_| found.findings.is_empty())
        {
            execution.gas_used = execution.gas_used.wrapping_add(1);
        }
        found
    }

    /// How long the answer to a challenge with this deadline is held back, if it is.
    pub fn delay(self, deadline: Duration) -> Option<Duration> {
        match self {
            Self::Slow => Some(SLOWNESS),
            Self::Late => Some(deadline + LATENESS),
            _ => None,
        }
    }
}

/// A violation that nobody saw.
const INVENTED: FindingVerdict = FindingVerdict::Violated {
    pre: U256::ZERO,
    post: U256::ZERO,
    digest: B256::repeat_byte(0x11),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verdict: FindingVerdict) -> Verdicts {
        Verdicts {
            findings: vec![Finding {
                invariant_id: 1,
                verdict,
            }],
            execution: None,
            engine_version: "t".into(),
            state_digest: None,
        }
    }

    #[test]
    fn a_liar_hides_a_violation_and_invents_one() {
        let holds = found(FindingVerdict::Holds { already_broken: false });
        let told = Behaviour::Liar.tell(holds.clone());
        assert!(told.findings[0].verdict.is_violated());
        assert_eq!(Behaviour::Liar.tell(told), holds);
    }

    #[test]
    fn an_honest_miner_says_what_it_found_at_once() {
        let holds = found(FindingVerdict::Holds { already_broken: true });
        assert_eq!(Behaviour::Honest.tell(holds.clone()), holds);
        assert_eq!(Behaviour::Honest.delay(Duration::from_secs(1)), None);
    }

    #[test]
    fn a_colluder_hides_violations_and_invents_none() {
        let holds = found(FindingVerdict::Holds { already_broken: true });
        assert_eq!(Behaviour::Colluder.tell(holds.clone()), holds);
        let told = Behaviour::Colluder.tell(found(INVENTED));
        assert_eq!(
            told.findings[0].verdict,
            FindingVerdict::Holds { already_broken: false }
        );
    }

    #[test]
    fn a_late_miner_answers_when_nobody_waits_any_more() {
        let deadline = Duration::from_secs(1);
        assert!(Behaviour::Late.delay(deadline).unwrap() > deadline);
    }
}
