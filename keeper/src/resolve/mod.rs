//! Resolvers: views that say whether a job is to be executed, and with what calldata.
//!
//! A resolver is called locally on the snapshot of the head, all resolvers in one pass ([`batch`]); what of the state is not
//! known yet is fetched in batches and kept for the heads to come ([`head`]). It returns `(bool, bytes)`, ABI-encoded.
//!
//! What always holds: a resolver is nobody's friend. It may revert, loop, or return garbage or gigabytes: each is an answer, it
//! costs the gas budget at most, and touches no other job.

pub mod batch;
mod call;
pub mod head;

use alloy::sol_types::SolValue as _;
use engine::{Address, Bytes, Missing};

/// Longest calldata that a resolver may ask for, in bytes: a transaction of more is not relayed by nodes.
pub const MOST_CALLDATA: usize = 96 << 10;

/// A resolver to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Whom.
    pub resolver: Address,
    /// With what.
    pub calldata: Bytes,
}

/// What a resolver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Execute, with this calldata.
    Ready(Bytes),
    /// Not now.
    Idle,
    /// Nothing that could be read. It counts against the job.
    Bad(Fault),
    /// The state that it reads is not known; says nothing about the job.
    Missing(Vec<Missing>),
    /// The time was over before its turn; says nothing about the job.
    Late,
}

/// An answer with what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The answer.
    pub answer: Answer,
    /// Gas used.
    pub gas: u64,
}

/// Why a resolver's answer cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nobody is there.
    #[error("there is no code at the resolver's address")]
    NoCode,
    /// It reverted.
    #[error("the resolver reverted")]
    Reverted,
    /// It loops, or wants more than it is given.
    #[error("the resolver used up its {gas} gas")]
    OutOfGas {
        /// What it was given.
        gas: u64,
    },
    /// It halted exceptionally; how.
    #[error("the resolver halted: {0}")]
    Halted(String),
    /// Not `(bool, bytes)`.
    #[error("the resolver returned something else than (bool, bytes)")]
    Garbage,
    /// Calldata of more than [`MOST_CALLDATA`] bytes.
    #[error("the resolver asks for calldata of {0} bytes; {MOST_CALLDATA} are allowed")]
    TooLong(usize),
}

/// Reads `(bool, bytes)`. A false one needs no calldata that could be read.
fn decode(output: &Bytes) -> Answer {
    match output.get(..32) {
        Some(word) if word.iter().all(|byte| *byte == 0) => return Answer::Idle,
        Some([zeros @ .., 1]) if zeros.iter().all(|byte| *byte == 0) => {}
        _ => return Answer::Bad(Fault::Garbage),
    }
    match <(bool, Bytes)>::abi_decode_params_validate(output) {
        Ok((true, calldata)) if calldata.len() > MOST_CALLDATA => Answer::Bad(Fault::TooLong(calldata.len())),
        Ok((true, calldata)) => Answer::Ready(calldata),
        Ok((false, _)) => Answer::Idle,
        Err(_) => Answer::Bad(Fault::Garbage),
    }
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolValue as _;

    use super::*;

    #[test]
    fn true_with_calldata_is_ready_and_false_needs_none() {
        let yes = (true, Bytes::from_static(b"call")).abi_encode_params();
        assert_eq!(decode(&yes.into()), Answer::Ready(Bytes::from_static(b"call")));
        assert_eq!(decode(&vec![0; 32].into()), Answer::Idle);
        assert_eq!(decode(&(false, Bytes::from_static(b"x")).abi_encode_params().into()), Answer::Idle);
    }

    #[test]
    fn what_is_no_pair_is_garbage_and_never_ready() {
        for garbage in [
            vec![],
            vec![1],
            vec![0xff; 32],
            vec![0xff; 4096],
            // True, and an offset beyond the end.
            [[0; 31].as_slice(), &[1], &[0xff; 32]].concat(),
        ] {
            assert_eq!(decode(&garbage.into()), Answer::Bad(Fault::Garbage));
        }
        let long = (true, Bytes::from(vec![7; MOST_CALLDATA + 1])).abi_encode_params();
        assert_eq!(decode(&long.into()), Answer::Bad(Fault::TooLong(MOST_CALLDATA + 1)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_whatever_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = decode(&bytes.into());
        }
    }
}
