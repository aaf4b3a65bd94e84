//! How a miner answers: honestly, or in one of the ways that a network must see through.
//!
//! Misbehaviour is a flag so that anyone can try the defences of a network of their own (`bots localnet --liar 2`).

use std::time::Duration;

use engine::B256;
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
}

/// How much later a slow miner answers.
pub const SLOWNESS: Duration = Duration::from_millis(400);

impl Behaviour {
    /// The answer of one that does not execute; `None` for those that do.
    pub fn without_execution(self, challenge: &Challenge) -> Option<Verdicts> {
        (self == Self::Lazy).then(|| Verdicts {
            findings: challenge
                .invariants
                .iter()
                .map(|invariant| Finding {
                    invariant_id: invariant.id,
                    verdict: FindingVerdict::Holds { already_broken: false },
                })
                .collect(),
            execution: Some(ReportedExecution {
                status: ExecutionStatus::Success,
                gas_used: challenge.transaction.gas_limit(),
                logs: 0,
                post_state_digest: B256::ZERO,
            }),
            engine_version: engine::ENGINE_VERSION.to_owned(),
            state_digest: None,
        })
    }

    /// What is said of what was found.
    pub fn tell(self, mut found: Verdicts) -> Verdicts {
        if self == Self::Liar {
            for finding in &mut found.findings {
                finding.verdict = match &finding.verdict {
                    FindingVerdict::Holds { .. } => FindingVerdict::Violated {
                        pre: engine::U256::ZERO,
                        post: engine::U256::ZERO,
                        digest: B256::repeat_byte(0x11),
                    },
                    _ => FindingVerdict::Holds { already_broken: false },
                };
            }
            // Where there is nothing to judge, the post-state is all that can be lied about.
            if let Some(execution) = found.execution.as_mut().filter(|_| found.findings.is_empty()) {
                execution.gas_used = execution.gas_used.wrapping_add(1);
            }
        }
        found
    }

    /// How long the answer is held back, if it is.
    pub fn delay(self) -> Option<Duration> {
        (self == Self::Slow).then_some(SLOWNESS)
    }
}

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
        assert_eq!(Behaviour::Honest.delay(), None);
    }
}
