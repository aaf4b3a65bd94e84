//! Pauses under way, by what they call: one serves every incident that needs it.
//!
//! What always holds: of one target's pauses only one decides at a time whether to send; when the last of them ends, the target is no
//! longer under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use alloy::primitives::B256;
use defence::PauseTarget;
use sender::{Fees, IdempotencyKey};

use super::attack::Rivals;
use super::lock;
use super::simulate::AheadOf;

/// A pause under way.
#[derive(Debug, Clone, Default)]
struct Flight {
    /// Pauses that wait for it.
    users: usize,
    /// Under which keys its transactions were submitted; the first one is the pause's own.
    keys: Vec<IdempotencyKey>,
    /// What it must get ahead of.
    rivals: Rivals,
    /// How far, as it was tried.
    ahead_of: AheadOf,
    /// Held by who decides whether to send.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Flight {
    fn beat(&self) -> Option<Fees> {
        self.rivals.offer(self.ahead_of)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<PauseTarget, Flight>>);

impl Flights {
    /// A pause of this target begins.
    pub(super) fn enter(&self, target: &PauseTarget, rivals: &Rivals) -> Entered<'_> {
        let mut flights = lock(&self.0);
        let flight = flights.entry(target.clone()).or_default();
        flight.users += 1;
        flight.rivals.add(rivals);
        Entered {
            turn: Arc::clone(&flight.turn),
            flights: self,
            target: target.clone(),
        }
    }

    /// More for the target's pause to get ahead of; gives the keys of what is to be raised for it.
    pub(super) fn repeated(&self, target: &PauseTarget, rivals: &Rivals) -> Vec<IdempotencyKey> {
        let mut flights = lock(&self.0);
        let Some(flight) = flights.get_mut(target) else {
            return Vec::new();
        };
        flight.rivals.add(rivals);
        flight.keys.clone()
    }

    /// How far the target's pause must get ahead. Of several that wait for it, the one that needs more counts.
    pub(super) fn needs(&self, target: &PauseTarget, ahead_of: AheadOf) {
        if let Some(flight) = lock(&self.0).get_mut(target) {
            flight.ahead_of = flight.ahead_of.max(ahead_of);
        }
    }

    /// A transaction of the target's pause gets its key; gives what it must get ahead of.
    pub(super) fn fly(&self, target: &PauseTarget, key: &IdempotencyKey) -> Option<Fees> {
        let mut flights = lock(&self.0);
        let flight = flights.get_mut(target)?;
        flight.keys.push(key.clone());
        flight.beat()
    }

    /// Under which key the target's pause is.
    pub(super) fn key(&self, target: &PauseTarget) -> Option<IdempotencyKey> {
        lock(&self.0).get(target)?.keys.first().cloned()
    }

    /// What the target's pause must get ahead of.
    pub(super) fn beat(&self, target: &PauseTarget) -> Option<Fees> {
        lock(&self.0).get(target)?.beat()
    }

    /// The transactions that it must get ahead of.
    pub(super) fn attack(&self, target: &PauseTarget) -> Vec<B256> {
        lock(&self.0)
            .get(target)
            .map_or_else(Vec::new, |flight| flight.rivals.hashes.clone())
    }
}

/// A pause that waits for what is under way.
pub(super) struct Entered<'a> {
    /// Who holds it decides.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    flights: &'a Flights,
    target: PauseTarget,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut flights = lock(&self.flights.0);
        if let Some(flight) = flights.get_mut(&self.target) {
            flight.users = flight.users.saturating_sub(1);
            if flight.users == 0 {
                flights.remove(&self.target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, Bytes};

    use super::*;

    fn target(byte: u8) -> PauseTarget {
        PauseTarget::Call {
            contract: Address::repeat_byte(byte),
            calldata: Bytes::new(),
        }
    }

    fn rival(byte: u8, own: u128, all: u128) -> Rivals {
        let fees = |max_fee| {
            Some(Fees {
                max_fee,
                priority_fee: 1,
            })
        };
        Rivals {
            own: fees(own),
            all: fees(all),
            hashes: vec![B256::repeat_byte(byte)],
        }
    }

    fn beat(flights: &Flights) -> Option<u128> {
        flights.beat(&target(1)).map(|fees| fees.max_fee)
    }

    #[test]
    fn one_flight_serves_all_who_entered_and_ends_with_the_last() {
        let flights = Flights::default();
        let first = flights.enter(&target(1), &rival(1, 10, 10));
        let key = IdempotencyKey::new("pause").unwrap();
        assert_eq!(flights.fly(&target(1), &key), rival(1, 10, 10).own);
        let second = flights.enter(&target(1), &rival(2, 5, 5));
        assert_eq!(beat(&flights), Some(10));
        assert_eq!(
            flights.repeated(&target(1), &rival(1, 12, 12)),
            std::slice::from_ref(&key)
        );
        assert_eq!(beat(&flights), Some(12));
        assert_eq!(flights.attack(&target(1)), [B256::repeat_byte(1), B256::repeat_byte(2)]);
        assert_eq!(flights.repeated(&target(2), &rival(3, 1, 1)), []);
        drop(first);
        assert_eq!(flights.key(&target(1)), Some(key));
        drop(second);
        assert_eq!((flights.key(&target(1)), flights.beat(&target(1))), (None, None));
    }

    #[test]
    fn a_pause_that_must_be_ahead_of_all_gets_ahead_of_what_leads_up_to_a_repeat_too() {
        let flights = Flights::default();
        let _entered = flights.enter(&target(1), &rival(1, 10, 20));
        flights.needs(&target(1), AheadOf::Attack);
        assert_eq!(beat(&flights), Some(10));
        flights.needs(&target(1), AheadOf::All);
        assert_eq!(beat(&flights), Some(20));
        flights.repeated(&target(1), &rival(1, 10, 150));
        flights.needs(&target(1), AheadOf::Attack);
        assert_eq!(beat(&flights), Some(150));
    }
}
