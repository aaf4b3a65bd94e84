//! What a set of answers amounts to: agreement that can be taken as it is, or a dispute that the validator's own engine settles.
//!
//! **One honest miner is enough.** Agreement is taken only when everybody who answered says the same, enough answered, and nobody
//! claims a violation; everything else is executed again. The share of equal votes never overrules evidence: it only
//! stands in when the validator cannot execute the transaction itself.

use wire::Verdicts;

/// The share of equal votes that makes a consensus: 60 %, as integers.
const QUORUM: (usize, usize) = (3, 5);

/// What to do with the answers to one challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// All say the same: the answer at this index stands for them.
    Agreed(usize),
    /// The validator executes the transaction itself.
    Arbitrate(Dispute),
}

/// Why answers are not taken as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispute {
    /// Fewer than 60 % of those asked answered.
    TooFewAnswers,
    /// Different findings, or different post-states.
    Disagreement,
    /// Somebody claims a violation.
    ClaimedViolation,
    /// Nobody of those who agree has shown that it finds violations ([`crate::proof`]).
    Unproven,
    /// Drawn by lot, so that agreeing on a lie does not pay.
    Audit,
    /// The answer was known beforehand.
    Canary,
}

impl std::fmt::Display for Dispute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooFewAnswers => "too few answers",
            Self::Disagreement => "different answers",
            Self::ClaimedViolation => "a violation is claimed",
            Self::Unproven => "nobody who agrees has proven itself",
            Self::Audit => "drawn for an audit",
            Self::Canary => "a canary",
        })
    }
}

/// Whether `part` of `whole` reaches the quorum.
pub fn is_quorum(part: usize, whole: usize) -> bool {
    whole > 0 && part * QUORUM.1 >= whole * QUORUM.0
}

/// Why the answers that are there so far can never be taken as they are, whatever else comes: it need not be waited for.
pub fn dispute_already(answers: &[&Verdicts]) -> Option<Dispute> {
    let (newest, others) = answers.split_last()?;
    if claims_violation(newest) {
        Some(Dispute::ClaimedViolation)
    } else {
        let differs = others.first().is_some_and(|first| !newest.agrees_with(first));
        differs.then_some(Dispute::Disagreement)
    }
}

/// Weighs the answers to a challenge that was sent to `asked` miners.
pub fn decide(answers: &[&Verdicts], asked: usize) -> Decision {
    let Some(first) = answers.first().filter(|_| is_quorum(answers.len(), asked)) else {
        return Decision::Arbitrate(Dispute::TooFewAnswers);
    };
    if answers.iter().any(|answer| claims_violation(answer)) {
        Decision::Arbitrate(Dispute::ClaimedViolation)
    } else if answers.iter().all(|answer| answer.agrees_with(first)) {
        Decision::Agreed(0)
    } else {
        Decision::Arbitrate(Dispute::Disagreement)
    }
}

/// Whether an answer says that any invariant is violated.
pub fn claims_violation(answer: &Verdicts) -> bool {
    answer.findings.iter().any(|finding| finding.verdict.is_violated())
}

/// The answer that at least 60 % of those who answered share, if there is one: the original's consensus. Only for a validator
/// that cannot execute the transaction itself.
pub fn majority<'a>(answers: &[&'a Verdicts]) -> Option<&'a Verdicts> {
    answers.iter().copied().find(|vote| {
        is_quorum(
            answers.iter().filter(|other| other.agrees_with(vote)).count(),
            answers.len(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{B256, U256};
    use protos::v1::ExecutionStatus;
    use wire::{Finding, FindingVerdict, ReportedExecution};

    fn decide(answers: &[Verdicts], asked: usize) -> Decision {
        super::decide(&answers.iter().collect::<Vec<_>>(), asked)
    }
    fn majority(answers: &[Verdicts]) -> Option<&Verdicts> {
        super::majority(&answers.iter().collect::<Vec<_>>())
    }
    fn answer(digest: u8, verdict: FindingVerdict) -> Verdicts {
        Verdicts {
            findings: vec![Finding {
                invariant_id: 1,
                verdict,
            }],
            execution: Some(ReportedExecution {
                status: ExecutionStatus::Success,
                gas_used: 21_000,
                logs: 0,
                post_state_digest: B256::repeat_byte(digest),
            }),
            engine_version: "test".into(),
            state_digest: None,
        }
    }
    fn holds() -> FindingVerdict {
        FindingVerdict::Holds { already_broken: false }
    }
    fn violated() -> FindingVerdict {
        FindingVerdict::Violated {
            pre: U256::from(2),
            post: U256::ZERO,
            digest: B256::repeat_byte(9),
        }
    }

    #[test]
    fn three_honest_miners_agree() {
        let answers = vec![answer(1, holds()), answer(1, holds()), answer(1, holds())];
        assert_eq!(decide(&answers, 3), Decision::Agreed(0));
    }

    #[test]
    fn one_honest_miner_is_enough_against_eight_that_see_nothing() {
        let mut answers = vec![answer(1, holds()); 8];
        answers.push(answer(1, violated()));
        assert_eq!(decide(&answers, 9), Decision::Arbitrate(Dispute::ClaimedViolation));
    }

    #[test]
    fn a_lazy_miner_betrays_itself_by_the_post_state() {
        let answers = vec![answer(1, holds()), answer(0, holds()), answer(1, holds())];
        assert_eq!(decide(&answers, 3), Decision::Arbitrate(Dispute::Disagreement));
    }

    #[test]
    fn a_violation_that_all_claim_is_still_executed_before_anything_fires() {
        let answers = vec![answer(1, violated()); 5];
        assert_eq!(decide(&answers, 5), Decision::Arbitrate(Dispute::ClaimedViolation));
    }

    #[test]
    fn the_slowest_is_not_waited_for_once_two_differ() {
        let (one, other, attack) = (answer(1, holds()), answer(2, holds()), answer(1, violated()));
        assert_eq!(dispute_already(&[]), None);
        assert_eq!(dispute_already(&[&one]), None);
        assert_eq!(dispute_already(&[&one, &one]), None);
        assert_eq!(dispute_already(&[&one, &other]), Some(Dispute::Disagreement));
        assert_eq!(dispute_already(&[&one, &attack]), Some(Dispute::ClaimedViolation));
    }

    #[test]
    fn fewer_than_sixty_percent_answered() {
        assert_eq!(
            decide(&vec![answer(1, holds()); 2], 5),
            Decision::Arbitrate(Dispute::TooFewAnswers)
        );
        assert_eq!(decide(&vec![answer(1, holds()); 3], 5), Decision::Agreed(0));
        assert_eq!(decide(&[], 0), Decision::Arbitrate(Dispute::TooFewAnswers));
    }

    #[test]
    fn the_reason_of_an_undecided_answer_is_not_compared() {
        let undecided = |reason: &str| answer(1, FindingVerdict::Undecided { reason: reason.into() });
        assert_eq!(
            decide(&[undecided("a"), undecided("b"), undecided("c")], 3),
            Decision::Agreed(0)
        );
    }

    #[test]
    fn the_majority_is_sixty_percent_of_the_votes_or_nobody() {
        let mut answers = vec![answer(1, holds()); 3];
        answers.extend(vec![answer(1, violated()); 2]);
        assert!(majority(&answers).is_some_and(|truth| truth.agrees_with(&answer(1, holds()))));
        answers.push(answer(1, violated()));
        assert_eq!(majority(&answers), None, "3 of 6 is only a half");
        assert_eq!(majority(&[]), None);
    }
}
