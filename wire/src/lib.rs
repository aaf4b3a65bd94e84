//! What the messages of `portcullis.v1` mean, in the engine's types.
//!
//! `protos` is bytes, this is meaning: every conversion stands here once, and every field of fixed length is checked on the
//! way in by an error that names it. What comes out of [`Wire::from_wire`] needs no further check.

mod answer;
mod challenge;
mod codes;
mod evm;
mod invariant;
mod predecessors;

pub use answer::{
    ANSWER_PATH, Answer, AnswerOutcome, Finding, FindingVerdict, MOST_READINGS, ReportedExecution, Verdicts, witness,
};
pub use challenge::Challenge;
pub use codes::{ShippedPrestate, code_from_wire, code_to_wire};
pub use evm::{hash, hash_bytes, transaction_hash};
pub use invariant::InvariantSet;
pub use predecessors::{MOST_PREDECESSORS, predecessors};
pub use protos::DecodeError;

/// A type with a message of its own.
pub trait Wire: Sized {
    /// The message that carries it.
    type Message;

    /// The message.
    fn to_wire(&self) -> Self::Message;

    /// The meaning of a message.
    ///
    /// # Errors
    /// [`DecodeError`] names the first field that does not fit.
    fn from_wire(message: &Self::Message) -> Result<Self, DecodeError>;
}
