//! Canaries: questions with a known answer, violating and not, that look like any other.
//!
//! Rare violations make laziness pay: who says "holds" to everything is nearly always right. So some of what miners are asked is not
//! from the stream but made here, out of what was: a transaction that was judged a moment ago ([`deck`]), sent by somebody else
//! ([`resign`]), on a state or under an invariant shifted so that it just breaks it or just does not ([`shape`]). The validator's own engine
//! executes it first; what it says is the known answer.
//!
//! What always holds: a canary has the form, the head, the block environment, the draw of miners, the deadline and the way of any other
//! challenge; it comes beside the stream's items, at a rate of theirs, after a pause that is random; its sender is a new one each time,
//! as most senders are. It is never an incident and never reported.
//!
//! What it cannot hide: a miner that reads the chain itself can tell that an account or slot is not the chain's, but only after the
//! work that an honest answer takes. So an answer made on another state than the one that was sent is neither right nor wrong here.

pub mod deck;
pub mod probe;
pub mod resign;
pub mod shape;

use std::sync::Arc;

use engine::{B256, BlockEnv};
use protos::v1::ExecutionStatus;
use wire::{Challenge, FindingVerdict, InvariantSet, Verdicts};

pub use deck::Deck;

/// How many canaries, and of which kind.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CanaryParameters {
    /// Canaries for each item of the stream: 0 to 1. 0 switches them off.
    pub rate: f64,
    /// The share of them that violates something: 0 to 1.
    pub violating: f64,
}

impl Default for CanaryParameters {
    fn default() -> Self {
        Self {
            rate: 0.05,
            violating: 0.5,
        }
    }
}

impl CanaryParameters {
    /// Whether canaries can be drawn with them.
    ///
    /// # Errors
    /// Which one is out of its range, in one line.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in [("rate", self.rate), ("violating", self.violating)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(format!("canary.{name}: {value} is not between 0 and 1"));
            }
        }
        Ok(())
    }
}

/// The head that the stream's newest items are judged on: a canary is judged there too.
#[derive(Debug, Clone)]
pub struct Here {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The head.
    pub head_hash: B256,
    /// The block after it.
    pub env: BlockEnv,
    /// The invariants in force.
    pub set: Arc<InvariantSet>,
}

impl Here {
    /// Where a challenge stands.
    pub fn of(challenge: &Challenge, set: &Arc<InvariantSet>) -> Self {
        Self {
            chain_id: challenge.chain_id,
            head_hash: challenge.head_hash,
            env: challenge.env.clone(),
            set: Arc::clone(set),
        }
    }
}

/// Whether these verdicts are of a transaction that ran, with an answer to everything: what a canary can be made of, and what it must be.
pub fn ran(verdicts: &Verdicts) -> bool {
    let ran = |execution: &wire::ReportedExecution| {
        matches!(execution.status, ExecutionStatus::Success | ExecutionStatus::Revert)
    };
    let undecided = |verdict: &FindingVerdict| matches!(verdict, FindingVerdict::Undecided { .. });
    verdicts.execution.as_ref().is_some_and(ran) && !verdicts.findings.iter().any(|finding| undecided(&finding.verdict))
}

/// Whether an answer to a canary can be held against the known one: it was made by executing, and not on a state of the miner's own.
pub fn comparable(answer: &Verdicts, known: &Verdicts) -> bool {
    let other_state = matches!((answer.state_digest, known.state_digest), (Some(told), Some(own)) if told != own);
    answer.execution.is_some() && !other_state
}
