//! What a call came to: what an error says of trying again, and what the metagraph shows of a call that was never answered.

use super::RETRY_BLOCKS;
use crate::error::{LedgerError, Refusal};
use crate::ledger::{Metagraph, Neuron};

/// Blocks after which a call counts as lost of which nobody saw the answer and the metagraph shows nothing.
const LOST_AFTER_BLOCKS: u64 = 8;

/// The block at which to try again after `error` at `block`, by what the error says.
pub fn retry_after(error: &LedgerError, block: u64, next_epoch_block: u64) -> u64 {
    let soon = block.saturating_add(RETRY_BLOCKS);
    match error {
        LedgerError::Refused(refusal) => match refusal {
            // Permits change at epochs, and so does what may be revealed.
            Refusal::NeuronNoValidatorPermit | Refusal::RevealTooEarly | Refusal::TooManyUnrevealedCommits => {
                next_epoch_block
            }
            // The subnet has changed the form in which it takes weights: once that is known, nothing is to be waited for.
            Refusal::CommitRevealEnabled | Refusal::CommitRevealDisabled | Refusal::IncorrectCommitRevealVersion => {
                block
            }
            refusal => refusal.retry_at_block().unwrap_or(soon),
        },
        // It may have taken effect: the next metagraph shows it.
        LedgerError::Unavailable { .. } | LedgerError::Deadline { .. } | LedgerError::Busy => block.saturating_add(1),
        _ => soon,
    }
    .max(block.saturating_add(1))
}

/// Whether a mutation that ended in `error` may have taken effect all the same.
pub const fn may_have_taken_effect(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::Unavailable { .. } | LedgerError::Deadline { .. } | LedgerError::Protocol { .. }
    )
}

/// Whether revealing a commit again is of no use after `error`.
pub const fn is_lost(error: &LedgerError) -> bool {
    matches!(
        error,
        LedgerError::Refused(
            Refusal::ExpiredWeightCommit
                | Refusal::NoWeightsCommitFound
                | Refusal::InvalidRevealCommitHashNotMatch
                | Refusal::CommitRevealDisabled
        )
    )
}

/// The epoch to which an operation belongs that took effect in `block`, as seen from `metagraph`.
///
/// A block's epoch runs before its operations. Epochs before the last one are counted back by the tempo of now.
pub fn epoch_of(metagraph: &Metagraph, block: u64) -> u64 {
    let (last, tempo) = (metagraph.last_epoch_block, metagraph.tempo.max(1));
    match block.checked_sub(last) {
        Some(since) => metagraph.epoch_index.saturating_add(since / tempo),
        None => metagraph
            .epoch_index
            .saturating_sub(last.saturating_sub(block).div_ceil(tempo)),
    }
}

/// A call of which nobody saw the answer: a plain setting or a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unanswered {
    /// The newest block when it was sent.
    pub block: u64,
    /// The neuron's last update when it was sent.
    pub before_update: u64,
}

/// What became of an [`Unanswered`] call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It took effect in this block.
    Taken(u64),
    /// It did not, and will not any more.
    Lost,
    /// The metagraph does not show it yet, and may later.
    Open,
}

/// What became of `call`, as far as `metagraph` shows it of the neuron `me`.
///
/// Whatever is taken moves the neuron's last update, and nothing else does but a new registration.
pub fn settle(call: Unanswered, metagraph: &Metagraph, me: Option<&Neuron>) -> Settled {
    match me {
        Some(me) if me.last_update > call.before_update && me.last_update > me.registered_at => {
            Settled::Taken(me.last_update)
        }
        _ if metagraph.block >= call.block.saturating_add(LOST_AFTER_BLOCKS) => Settled::Lost,
        _ => Settled::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_chain_said_decides_when_to_try_again() {
        let refused = |refusal: Refusal| retry_after(&refusal.into(), 120, 150);
        assert_eq!(refused(Refusal::SettingWeightsTooFast { retry_at_block: 131 }), 131);
        assert_eq!(refused(Refusal::CommittingWeightsTooFast { retry_at_block: 132 }), 132);
        assert_eq!(refused(Refusal::NeuronNoValidatorPermit), 150);
        assert_eq!(refused(Refusal::DuplicateUids), 125);
        assert_eq!(refused(Refusal::CommitRevealEnabled), 121, "in the other form");
        assert_eq!(retry_after(&LedgerError::Busy, 120, 150), 121);
        assert_eq!(
            refused(Refusal::SettingWeightsTooFast { retry_at_block: 3 }),
            121,
            "never in the past"
        );
    }

    #[test]
    fn an_operation_in_the_block_of_an_epoch_belongs_to_the_new_one() {
        let metagraph = Metagraph {
            block: 118,
            last_epoch_block: 100,
            epoch_index: 5,
            ..Metagraph::new(1, 20, vec![])
        };
        assert_eq!(
            [119, 120, 139, 140].map(|block| epoch_of(&metagraph, block)),
            [5, 6, 6, 7]
        );
        assert_eq!(
            [100, 99, 80, 79, 0].map(|block| epoch_of(&metagraph, block)),
            [5, 4, 4, 3, 0],
            "and before the last one to an older"
        );
    }

    #[test]
    fn a_call_without_an_answer_is_settled_by_the_metagraph() {
        let call = Unanswered {
            block: 118,
            before_update: 60,
        };
        let seen = |block, last_update, registered_at| {
            let me = Neuron {
                last_update,
                registered_at,
                ..Neuron::new(0, crate::AccountId::new([1; 32]))
            };
            let metagraph = Metagraph {
                block,
                ..Metagraph::new(1, 20, vec![])
            };
            settle(call, &metagraph, Some(&me))
        };
        assert_eq!(seen(118, 60, 3), Settled::Open);
        assert_eq!(seen(119, 119, 3), Settled::Taken(119));
        assert_eq!(seen(900, 119, 3), Settled::Taken(119), "whenever it is looked at");
        assert_eq!(seen(125, 60, 3), Settled::Open);
        assert_eq!(seen(126, 60, 3), Settled::Lost);
        assert_eq!(seen(126, 119, 119), Settled::Lost, "a new registration is no answer");
        assert_eq!(settle(call, &Metagraph::new(1, 20, vec![]), None), Settled::Open);
    }
}
