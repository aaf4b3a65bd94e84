//! The life of one request: from its acceptance until nothing can change any more.
//!
//! ```text
//! Queued --> Signed --> Broadcast --> Included --> Final
//!   ^  ^        |           |   ^         |
//!   |  +--------+--- lost --+   +- reorg -+
//!   |           v           v
//!   +------- Replaced <-----+          any before Included --> Failed
//! ```
//!
//! A pure table. What always holds: `Final` and `Failed` have no way out; a request leaves a nonce (`Replaced` to
//! `Queued`) only by [`Event::Released`], which the shell raises when that nonce is known to carry another transaction: so
//! it never has two nonces at which it could be mined.

use alloy::primitives::{Address, B256};

use crate::fees::Fees;

/// Where a request's transaction stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Inclusion {
    /// The transaction's hash.
    pub transaction: B256,
    /// Its nonce.
    pub nonce: u64,
    /// Number of the block.
    pub block: u64,
    /// Hash of the block.
    pub block_hash: B256,
    /// False: it was mined and reverted. That is an outcome, not an error.
    pub success: bool,
    /// Gas that was paid for.
    pub gas_used: u64,
    /// What a unit of gas cost, in wei.
    pub gas_price: u128,
    /// Why it reverted, as far as a replay tells.
    pub revert: Option<String>,
    /// The contract that it created.
    pub created: Option<Address>,
}

/// Why a request came to nothing. No transaction of it was mined, nor can be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Estimating its gas reverted; it was not sent.
    #[error("would revert: {0}")]
    WouldRevert(String),
    /// The account cannot pay for gas and value.
    #[error("insufficient funds: {0}")]
    InsufficientFunds(String),
    /// The chain's time passed the deadline before it was mined.
    #[error("its deadline passed before it was mined")]
    Expired,
    /// It was cancelled before it was mined.
    #[error("cancelled")]
    Cancelled,
    /// Every endpoint refused it.
    #[error("refused by every endpoint: {0}")]
    Refused(String),
}

impl Failure {
    /// A short name, as a metric's label.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WouldRevert(_) => "would_revert",
            Self::InsufficientFunds(_) => "insufficient_funds",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Refused(_) => "refused",
        }
    }
}

/// Where a request is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Stored; it has no nonce.
    Queued,
    /// Signed and stored; no endpoint has taken it yet.
    Signed {
        /// Its nonce.
        nonce: u64,
        /// What it offers.
        fees: Fees,
    },
    /// An endpoint has taken it.
    Broadcast {
        /// Its nonce.
        nonce: u64,
        /// What it offers.
        fees: Fees,
    },
    /// Another transaction was sent at its nonce; it waits to see which of them is mined.
    Replaced {
        /// The nonce that it may yet be mined at.
        nonce: u64,
    },
    /// In a block that is not deep enough yet.
    Included(Inclusion),
    /// In a block that is deep enough. The end.
    Final(Inclusion),
    /// Came to nothing. The end.
    Failed {
        /// Why.
        reason: Failure,
    },
}

impl State {
    /// Whether nothing can change any more.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Final(_) | Self::Failed { .. })
    }

    /// The nonce at which it may be mined or was.
    #[must_use]
    pub const fn nonce(&self) -> Option<u64> {
        match self {
            Self::Signed { nonce, .. } | Self::Broadcast { nonce, .. } | Self::Replaced { nonce } => Some(*nonce),
            Self::Included(inclusion) | Self::Final(inclusion) => Some(inclusion.nonce),
            Self::Queued | Self::Failed { .. } => None,
        }
    }

    /// A short name, for display and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Signed { .. } => "signed",
            Self::Broadcast { .. } => "broadcast",
            Self::Replaced { .. } => "replaced",
            Self::Included(_) => "included",
            Self::Final(_) => "final",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Signed at a nonce: for the first time, or again with other fees.
    Signed {
        /// The nonce.
        nonce: u64,
        /// The offer.
        fees: Fees,
    },
    /// An endpoint took the newest transaction.
    Accepted,
    /// Another transaction goes out at its nonce.
    Displaced,
    /// The transaction that displaced it was refused: it holds its nonce again.
    Restored {
        /// What its own newest transaction offers.
        fees: Fees,
    },
    /// Its nonce carries another transaction: it may be given a new one.
    Released,
    /// A transaction of its is in a block.
    Included(Inclusion),
    /// That block is no longer part of the chain.
    Reorged {
        /// What the transaction offers.
        fees: Fees,
    },
    /// The block is deep enough.
    Confirmed,
    /// It cannot be mined any more, and why.
    Failed(Failure),
}

/// An event that cannot happen in that state: a mistake in the shell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a request that is {state} cannot be {event}")]
pub struct Illegal {
    /// The state's name.
    pub state: &'static str,
    /// The event.
    pub event: String,
}

/// The state after `event`.
///
/// # Errors
/// [`Illegal`]: the event is not possible there; the state stays.
pub fn after(state: &State, event: Event) -> Result<State, Illegal> {
    let illegal = |event: &Event| Illegal {
        state: state.name(),
        event: format!("{event:?}"),
    };
    let next = match (state, event) {
        (State::Queued, Event::Signed { nonce, fees }) => State::Signed { nonce, fees },
        (State::Signed { nonce: at, .. }, Event::Signed { nonce, fees }) if *at == nonce => {
            State::Signed { nonce, fees }
        }
        // An older offer of it is out: it stays broadcast while the newer one is on its way.
        (State::Broadcast { nonce: at, .. }, Event::Signed { nonce, fees }) if *at == nonce => {
            State::Broadcast { nonce, fees }
        }
        (State::Signed { nonce, fees } | State::Broadcast { nonce, fees }, Event::Accepted) => State::Broadcast {
            nonce: *nonce,
            fees: *fees,
        },
        (
            State::Signed { nonce, .. } | State::Broadcast { nonce, .. } | State::Replaced { nonce },
            Event::Displaced,
        ) => State::Replaced { nonce: *nonce },
        (State::Replaced { nonce }, Event::Restored { fees }) => State::Broadcast { nonce: *nonce, fees },
        (State::Replaced { .. } | State::Signed { .. } | State::Broadcast { .. }, Event::Released) => State::Queued,
        (
            State::Queued
            | State::Signed { .. }
            | State::Broadcast { .. }
            | State::Replaced { .. }
            | State::Included(_),
            Event::Included(inclusion),
        ) => State::Included(inclusion),
        (State::Included(inclusion), Event::Reorged { fees }) => State::Broadcast {
            nonce: inclusion.nonce,
            fees,
        },
        (State::Included(inclusion), Event::Confirmed) => State::Final(inclusion.clone()),
        (
            State::Queued | State::Signed { .. } | State::Broadcast { .. } | State::Replaced { .. },
            Event::Failed(reason),
        ) => State::Failed { reason },
        (_, event) => return Err(illegal(&event)),
    };
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inclusion(nonce: u64) -> Inclusion {
        Inclusion {
            transaction: B256::repeat_byte(1),
            nonce,
            block: 7,
            block_hash: B256::repeat_byte(2),
            success: true,
            gas_used: 21_000,
            gas_price: 5,
            revert: None,
            created: None,
        }
    }

    fn run(events: &[Event]) -> State {
        events
            .iter()
            .fold(State::Queued, |state, event| after(&state, event.clone()).unwrap())
    }

    const FEES: Fees = Fees {
        max_fee: 9,
        priority_fee: 1,
    };

    #[test]
    fn the_straight_way_ends_final() {
        let state = run(&[
            Event::Signed { nonce: 3, fees: FEES },
            Event::Accepted,
            Event::Included(inclusion(3)),
            Event::Confirmed,
        ]);
        assert_eq!(state, State::Final(inclusion(3)));
    }

    #[test]
    fn a_displaced_report_waits_and_starts_again() {
        let state = run(&[
            Event::Signed { nonce: 3, fees: FEES },
            Event::Accepted,
            Event::Displaced,
            Event::Released,
            Event::Signed { nonce: 4, fees: FEES },
        ]);
        assert_eq!(state, State::Signed { nonce: 4, fees: FEES });
    }

    #[test]
    fn a_displaced_report_may_win_after_all() {
        let state = run(&[
            Event::Signed { nonce: 3, fees: FEES },
            Event::Displaced,
            Event::Included(inclusion(3)),
        ]);
        assert_eq!(state.name(), "included");
    }

    #[test]
    fn a_reorg_puts_it_back_at_its_nonce() {
        let state = run(&[
            Event::Signed { nonce: 3, fees: FEES },
            Event::Included(inclusion(3)),
            Event::Reorged { fees: FEES },
        ]);
        assert_eq!(state, State::Broadcast { nonce: 3, fees: FEES });
    }

    #[test]
    fn what_is_mined_is_never_called_failed() {
        let state = run(&[Event::Included(inclusion(3))]);
        assert!(after(&state, Event::Failed(Failure::Cancelled)).is_err());
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0u64..3).prop_map(|nonce| Event::Signed { nonce, fees: FEES }),
            Just(Event::Accepted),
            Just(Event::Displaced),
            Just(Event::Restored { fees: FEES }),
            Just(Event::Released),
            (0u64..3).prop_map(|nonce| Event::Included(inclusion(nonce))),
            Just(Event::Reorged { fees: FEES }),
            Just(Event::Confirmed),
            Just(Event::Failed(Failure::Expired)),
        ]
    }

    proptest! {
        #[test]
        fn ends_stay_and_a_nonce_is_left_only_by_release(events in proptest::collection::vec(event(), 0..40)) {
            let mut state = State::Queued;
            for event in events {
                let before = state.clone();
                let Ok(next) = after(&before, event.clone()) else { continue };
                prop_assert!(!before.is_end());
                if let (Some(old), Some(new)) = (before.nonce(), next.nonce()) {
                    // Only what the chain itself says may differ from what was signed.
                    prop_assert!(old == new || matches!(event, Event::Included(_)));
                }
                if before.nonce().is_some() && next == State::Queued {
                    prop_assert_eq!(event, Event::Released);
                }
                if matches!(next, State::Final(_)) {
                    prop_assert!(matches!(before, State::Included(_)));
                }
                state = next;
            }
        }
    }
}
