//! The transactions that go before another one: waiting ones of its sender, with the nonces right below its own.

use engine::Transaction;
use protos::{DecodeError, v1};

use crate::Wire;

/// How many go before a transaction at most. One with more of them is judged as if none were there: not executable.
pub const MOST_PREDECESSORS: usize = 16;

/// Reads the predecessors of `transaction` from `field`: at most [`MOST_PREDECESSORS`] of its sender, each nonce one more than the
/// one before, up to its own.
///
/// # Errors
/// More of them, or another sender or nonce.
pub fn predecessors(
    field: &'static str,
    messages: &[v1::Transaction],
    transaction: &Transaction,
) -> Result<Vec<Transaction>, DecodeError> {
    if messages.len() > MOST_PREDECESSORS {
        let reason = format!("{} of them, at most {MOST_PREDECESSORS} are taken", messages.len());
        return Err(DecodeError::invalid(field, reason));
    }
    let all: Vec<Transaction> = messages.iter().map(Wire::from_wire).collect::<Result<_, _>>()?;
    for (below, predecessor) in (1..).zip(all.iter().rev()) {
        let nonce = transaction.nonce().checked_sub(below);
        if predecessor.sender() != transaction.sender() || Some(predecessor.nonce()) != nonce {
            let reason = format!(
                "nonce {} of {} does not go before nonce {} of {}",
                predecessor.nonce(),
                predecessor.sender(),
                transaction.nonce(),
                transaction.sender()
            );
            return Err(DecodeError::invalid(field, reason));
        }
    }
    Ok(all)
}
