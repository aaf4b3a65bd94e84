//! The answer: a finding for each invariant, and the evidence that the work was done.

use engine::{B256, Execution, Judgement, Status, Transition, U256, Verdict};
use protos::{DecodeError, required, v1};

use crate::Wire;
use crate::evm::{hash, hash_bytes, word, word_bytes};

/// What an answer is signed for: not the path of its challenge, so that an answer can never pass for a challenge.
pub const ANSWER_PATH: &str = "/portcullis.v1.Miner/Challenge#answer";
/// The most readings of a witness that a report carries.
pub const MOST_READINGS: usize = 64;

/// A miner's answer to one challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `Challenge::id`.
    pub challenge_id: B256,
    /// What it says.
    pub outcome: AnswerOutcome,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerOutcome {
    /// The transaction was executed and judged.
    Verdicts(Verdicts),
    /// It cannot be executed without these bytecodes.
    MissingCodes(Vec<B256>),
}

/// Findings, and the evidence for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdicts {
    /// One for each invariant of the challenge.
    pub findings: Vec<Finding>,
    /// What the execution did; absent when the state to execute on was incomplete.
    pub execution: Option<ReportedExecution>,
    /// The engine that was used.
    pub engine_version: String,
    /// [`engine::Prestate::digest`] of what the execution read; `None` when it is not told.
    pub state_digest: Option<B256>,
}

/// The answer to: does this transaction break this invariant?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `Invariant::id`.
    pub invariant_id: u64,
    /// Yes, no, or no answer.
    pub verdict: FindingVerdict,
}

/// A verdict as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindingVerdict {
    /// The transaction does not break it.
    Holds {
        /// It was broken before.
        already_broken: bool,
    },
    /// The transaction breaks it.
    Violated {
        /// The value before.
        pre: U256,
        /// The value after.
        post: U256,
        /// The engine's hash of the whole witness.
        digest: B256,
    },
    /// No answer can be given; the reason is for people, and is not compared.
    Undecided {
        /// Why.
        reason: String,
    },
}

impl FindingVerdict {
    /// Whether two machines say the same: kind and witness, not the wording of a reason.
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Undecided { .. }, Self::Undecided { .. }) => true,
            (mine, theirs) => mine == theirs,
        }
    }

    /// It claims a violation.
    pub fn is_violated(&self) -> bool {
        matches!(self, Self::Violated { .. })
    }
}

/// What an execution did, as it was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedExecution {
    /// How it ended.
    pub status: v1::ExecutionStatus,
    /// Gas.
    pub gas_used: u64,
    /// How many logs.
    pub logs: u64,
    /// The engine's digest of everything that changed.
    pub post_state_digest: B256,
}

impl Verdicts {
    /// These verdicts, made on the state with this digest.
    #[must_use]
    pub fn on_state(mut self, digest: Option<B256>) -> Self {
        self.state_digest = digest;
        self
    }

    /// Whether two machines did the same work on the same state and came to the same findings. A state that only one of them tells
    /// is not compared.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let same_state = match (self.state_digest, other.state_digest) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => true,
        };
        same_state
            && self.execution == other.execution
            && self.findings.len() == other.findings.len()
            && self.findings.iter().zip(&other.findings).all(|(mine, theirs)| {
                mine.invariant_id == theirs.invariant_id && mine.verdict.agrees_with(&theirs.verdict)
            })
    }
}

/// The evidence of a violation, without what was read.
#[must_use]
pub fn witness(witness: &engine::Witness) -> v1::Witness {
    v1::Witness {
        pre: word_bytes(witness.pre),
        post: word_bytes(witness.post),
        digest: hash_bytes(witness.digest()),
        readings: Vec::new(),
    }
}

/// What this machine's engine found, in the terms of the wire. Findings are in the order of invariant ids.
impl From<&engine::Outcome> for Verdicts {
    fn from(outcome: &engine::Outcome) -> Self {
        let mut findings: Vec<Finding> = outcome.judgements.iter().map(Finding::from).collect();
        findings.sort_by_key(|finding| finding.invariant_id);
        Self {
            findings,
            execution: outcome.execution.as_ref().map(ReportedExecution::from),
            engine_version: engine::ENGINE_VERSION.to_owned(),
            state_digest: None,
        }
    }
}

impl From<&Judgement> for Finding {
    fn from(judgement: &Judgement) -> Self {
        let verdict = match &judgement.verdict {
            Verdict::Holds => FindingVerdict::Holds {
                already_broken: judgement.transition == Some(Transition::StayedBroken),
            },
            Verdict::Violated(witness) => FindingVerdict::Violated {
                pre: witness.pre,
                post: witness.post,
                digest: witness.digest(),
            },
            Verdict::Undecided(reason) => FindingVerdict::Undecided {
                reason: reason.to_string(),
            },
        };
        Self {
            invariant_id: judgement.invariant_id,
            verdict,
        }
    }
}

impl From<&Execution> for ReportedExecution {
    fn from(execution: &Execution) -> Self {
        Self {
            status: match execution.status {
                Status::Success => v1::ExecutionStatus::Success,
                Status::Revert => v1::ExecutionStatus::Revert,
                Status::Halt(_) => v1::ExecutionStatus::Halt,
                Status::Invalid(_) => v1::ExecutionStatus::Invalid,
            },
            gas_used: execution.gas_used,
            logs: execution.logs as u64,
            post_state_digest: execution.post_state_digest,
        }
    }
}

impl Wire for ReportedExecution {
    type Message = v1::Execution;

    fn to_wire(&self) -> v1::Execution {
        v1::Execution {
            status: self.status.into(),
            gas_used: self.gas_used,
            logs: self.logs,
            post_state_digest: hash_bytes(self.post_state_digest),
        }
    }

    fn from_wire(message: &v1::Execution) -> Result<Self, DecodeError> {
        let status = match message.status() {
            v1::ExecutionStatus::Unspecified => {
                return Err(DecodeError::invalid(
                    "execution.status",
                    format!("unknown value {}", message.status),
                ));
            }
            status => status,
        };
        Ok(Self {
            status,
            gas_used: message.gas_used,
            logs: message.logs,
            post_state_digest: hash("execution.post_state_digest", &message.post_state_digest)?,
        })
    }
}

impl Wire for Finding {
    type Message = v1::Judgement;

    fn to_wire(&self) -> v1::Judgement {
        use v1::judgement::Verdict;
        let verdict = match &self.verdict {
            FindingVerdict::Holds { already_broken } => Verdict::Holds(v1::Holds {
                already_broken: *already_broken,
            }),
            FindingVerdict::Violated { pre, post, digest } => Verdict::Violated(v1::Witness {
                pre: word_bytes(*pre),
                post: word_bytes(*post),
                digest: hash_bytes(*digest),
                readings: Vec::new(),
            }),
            FindingVerdict::Undecided { reason } => Verdict::Undecided(v1::Undecided { reason: reason.clone() }),
        };
        v1::Judgement {
            invariant_id: self.invariant_id,
            verdict: Some(verdict),
        }
    }

    fn from_wire(message: &v1::Judgement) -> Result<Self, DecodeError> {
        use v1::judgement::Verdict;
        let verdict = match required("judgement.verdict", message.verdict.as_ref())? {
            Verdict::Holds(holds) => FindingVerdict::Holds {
                already_broken: holds.already_broken,
            },
            Verdict::Violated(witness) => FindingVerdict::Violated {
                pre: word("judgement.violated.pre", &witness.pre)?,
                post: word("judgement.violated.post", &witness.post)?,
                digest: hash("judgement.violated.digest", &witness.digest)?,
            },
            Verdict::Undecided(undecided) => FindingVerdict::Undecided {
                reason: undecided.reason.clone(),
            },
        };
        Ok(Self {
            invariant_id: message.invariant_id,
            verdict,
        })
    }
}

impl Wire for Verdicts {
    type Message = v1::Verdicts;

    fn to_wire(&self) -> v1::Verdicts {
        v1::Verdicts {
            judgements: self.findings.iter().map(Wire::to_wire).collect(),
            execution: self.execution.as_ref().map(Wire::to_wire),
            engine_version: self.engine_version.clone(),
            state_digest: self.state_digest.map(hash_bytes).unwrap_or_default(),
        }
    }

    /// Findings are put into the order of invariant ids.
    fn from_wire(message: &v1::Verdicts) -> Result<Self, DecodeError> {
        let mut findings = message
            .judgements
            .iter()
            .map(Finding::from_wire)
            .collect::<Result<Vec<_>, _>>()?;
        findings.sort_by_key(|finding| finding.invariant_id);
        let execution = message.execution.as_ref().map(ReportedExecution::from_wire);
        Ok(Self {
            findings,
            execution: execution.transpose()?,
            engine_version: message.engine_version.clone(),
            state_digest: match message.state_digest.len() {
                0 => None,
                _ => Some(hash("answer.verdicts.state_digest", &message.state_digest)?),
            },
        })
    }
}

impl Wire for Answer {
    type Message = v1::Answer;

    fn to_wire(&self) -> v1::Answer {
        use v1::answer::Outcome;
        let outcome = match &self.outcome {
            AnswerOutcome::Verdicts(verdicts) => Outcome::Verdicts(verdicts.to_wire()),
            AnswerOutcome::MissingCodes(hashes) => Outcome::MissingCodes(v1::MissingCodes {
                hashes: hashes.iter().copied().map(hash_bytes).collect(),
            }),
        };
        v1::Answer {
            challenge_id: hash_bytes(self.challenge_id),
            outcome: Some(outcome),
        }
    }

    fn from_wire(message: &v1::Answer) -> Result<Self, DecodeError> {
        use v1::answer::Outcome;
        let outcome = match required("answer.outcome", message.outcome.as_ref())? {
            Outcome::Verdicts(verdicts) => AnswerOutcome::Verdicts(Verdicts::from_wire(verdicts)?),
            Outcome::MissingCodes(missing) => AnswerOutcome::MissingCodes(
                missing
                    .hashes
                    .iter()
                    .map(|h| hash("answer.missing_codes", h))
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(Self {
            challenge_id: hash("answer.challenge_id", &message.challenge_id)?,
            outcome,
        })
    }
}
