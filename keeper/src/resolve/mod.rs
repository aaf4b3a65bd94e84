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

use engine::{Address, Bytes, Missing};

/// Gas that the Agent grants a resolver: more would be of no use.
pub const RESOLVER_GAS: u64 = 1_000_000;

/// Longest answer that the Agent reads, in bytes.
pub const MOST_ANSWER: usize = 16_384;

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
    /// Execute.
    Ready(Ready),
    /// Not now.
    Idle,
    /// Nothing that could be read. It counts against the job.
    Bad(Fault),
    /// The state that it reads is not known; says nothing about the job.
    Missing(Vec<Missing>),
    /// The time was over before its turn; says nothing about the job.
    Late,
}

/// What is to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// What the job is called with.
    pub calldata: Bytes,
    /// The block since when it is to be executed; 0: the resolver does not say.
    pub since: u64,
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
    /// Neither `(bool, bytes)` nor `(bool, bytes, uint256)`.
    #[error("the resolver returned something else than (bool, bytes) or (bool, bytes, uint256)")]
    Garbage,
    /// An answer of more than [`MOST_ANSWER`] bytes.
    #[error("the resolver returned {0} bytes; {MOST_ANSWER} are read")]
    TooLong(usize),
}

/// The word at this place of an answer.
fn word(output: &[u8], at: usize) -> Option<engine::U256> {
    let bytes = output.get(at..at.checked_add(32)?)?;
    Some(engine::U256::from_be_slice(bytes))
}

/// Reads an answer exactly as the Agent does; what the Agent takes for "not due" is idle only when it says no, and otherwise a fault.
pub(crate) fn decode(output: &Bytes) -> Answer {
    let size = output.len();
    if size > MOST_ANSWER {
        return Answer::Bad(Fault::TooLong(size));
    }
    match word(output, 0) {
        Some(flag) if flag.is_zero() => return Answer::Idle,
        Some(flag) if flag == engine::U256::ONE && size >= 96 => {}
        _ => return Answer::Bad(Fault::Garbage),
    }
    let read = || {
        let offset = usize::try_from(word(output, 32)?).ok()?;
        let length = usize::try_from(word(output, offset)?).ok()?;
        let begin = offset.checked_add(32)?;
        let calldata = output.get(begin..begin.checked_add(length)?)?;
        // Only an answer of three has its bytes behind a third word.
        let since = if offset > 95 {
            word(output, 64)?
        } else {
            engine::U256::ZERO
        };
        Some(Ready {
            calldata: Bytes::copy_from_slice(calldata),
            // A block that far away has not been: the Agent takes it for unknown as well.
            since: u64::try_from(since).unwrap_or(0),
        })
    };
    read().map_or(Answer::Bad(Fault::Garbage), Answer::Ready)
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolValue as _;

    use super::*;

    #[test]
    fn true_with_calldata_is_ready_and_false_needs_none() {
        let ready = |since| {
            Answer::Ready(Ready {
                calldata: Bytes::from_static(b"call"),
                since,
            })
        };
        let yes = (true, Bytes::from_static(b"call")).abi_encode_params();
        assert_eq!(decode(&yes.into()), ready(0));
        let since = (true, Bytes::from_static(b"call"), engine::U256::from(77)).abi_encode_params();
        assert_eq!(decode(&since.into()), ready(77));
        assert_eq!(decode(&vec![0; 32].into()), Answer::Idle);
        assert_eq!(
            decode(&(false, Bytes::from_static(b"x")).abi_encode_params().into()),
            Answer::Idle
        );
    }

    #[test]
    fn what_is_no_pair_is_garbage_and_never_ready() {
        for garbage in [
            vec![],
            vec![1],
            vec![0xff; 32],
            vec![0xff; 4096],
            // True, and too short for an offset and a length.
            [[0; 31].as_slice(), &[1], &[0; 32]].concat(),
            // True, and an offset beyond the end.
            [[0; 31].as_slice(), &[1], &[0xff; 32], &[0; 32]].concat(),
        ] {
            assert_eq!(decode(&garbage.into()), Answer::Bad(Fault::Garbage));
        }
        let long = (true, Bytes::from(vec![7; MOST_ANSWER])).abi_encode_params();
        assert_eq!(decode(&long.clone().into()), Answer::Bad(Fault::TooLong(long.len())));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_whatever_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = decode(&bytes.into());
        }
    }
}
