//! Pauses under way, by what they call: one serves every incident that needs it.
//!
//! What always holds: of one target's pauses only one decides at a time whether to send; when the last of them ends, the target is no
//! longer under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use alloy::primitives::B256;
use defence::PauseTarget;
use sender::{Fees, IdempotencyKey};

use super::{higher, lock};

/// Transactions of an attack whose place in the blocks is compared with the pause's, the newest ones.
const RACED: usize = 256;

/// A pause under way.
#[derive(Debug, Clone, Default)]
struct Flight {
    /// Pauses that wait for it.
    users: usize,
    /// Under which keys its transactions were submitted; the first one is the pause's own.
    keys: Vec<IdempotencyKey>,
    /// What it must get ahead of.
    beat: Option<Fees>,
    /// The transactions that it must get ahead of, the newest ones.
    attack: Vec<B256>,
    /// Held by who decides whether to send.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Flight {
    /// Another transaction that it must get ahead of.
    fn races(&mut self, transaction: B256) {
        if !self.attack.contains(&transaction) {
            self.attack.push(transaction);
        }
        if self.attack.len() > RACED {
            self.attack.remove(0);
        }
    }

    fn beats(&mut self, fees: &Fees) {
        self.beat = Some(self.beat.map_or(*fees, |beat| higher(&beat, fees)));
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<PauseTarget, Flight>>);

impl Flights {
    /// A pause of this target begins, against transactions with these fees and hashes.
    pub(super) fn enter(&self, target: &PauseTarget, fees: &[Fees], hashes: &[B256]) -> Entered<'_> {
        let mut flights = lock(&self.0);
        let flight = flights.entry(target.clone()).or_default();
        flight.users += 1;
        hashes.iter().for_each(|hash| flight.races(*hash));
        fees.iter().for_each(|fees| flight.beats(fees));
        Entered {
            turn: Arc::clone(&flight.turn),
            flights: self,
            target: target.clone(),
        }
    }

    /// Another transaction for the target's pause to get ahead of; gives the keys of what is to be raised for it.
    pub(super) fn repeated(&self, target: &PauseTarget, fees: &Fees, transaction: B256) -> Vec<IdempotencyKey> {
        let mut flights = lock(&self.0);
        let Some(flight) = flights.get_mut(target) else {
            return Vec::new();
        };
        flight.beats(fees);
        flight.races(transaction);
        flight.keys.clone()
    }

    /// A transaction of the target's pause gets its key; gives what it must get ahead of.
    pub(super) fn fly(&self, target: &PauseTarget, key: &IdempotencyKey) -> Option<Fees> {
        let mut flights = lock(&self.0);
        let flight = flights.get_mut(target)?;
        flight.keys.push(key.clone());
        flight.beat
    }

    /// Under which key the target's pause is.
    pub(super) fn key(&self, target: &PauseTarget) -> Option<IdempotencyKey> {
        lock(&self.0).get(target)?.keys.first().cloned()
    }

    /// What the target's pause must get ahead of.
    pub(super) fn beat(&self, target: &PauseTarget) -> Option<Fees> {
        lock(&self.0).get(target)?.beat
    }

    /// The transactions that it must get ahead of.
    pub(super) fn attack(&self, target: &PauseTarget) -> Vec<B256> {
        lock(&self.0)
            .get(target)
            .map_or_else(Vec::new, |flight| flight.attack.clone())
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

    fn fees(max_fee: u128, priority_fee: u128) -> Fees {
        Fees { max_fee, priority_fee }
    }

    #[test]
    fn one_flight_serves_all_who_entered_and_ends_with_the_last() {
        let flights = Flights::default();
        let first = flights.enter(&target(1), &[fees(10, 2)], &[B256::repeat_byte(1)]);
        let key = IdempotencyKey::new("pause").unwrap();
        assert_eq!(flights.fly(&target(1), &key), Some(fees(10, 2)));
        let second = flights.enter(&target(1), &[fees(5, 3)], &[B256::repeat_byte(2)]);
        assert_eq!(flights.beat(&target(1)), Some(fees(10, 3)), "the higher of each");
        assert_eq!(
            flights.repeated(&target(1), &fees(12, 1), B256::repeat_byte(1)),
            std::slice::from_ref(&key)
        );
        assert_eq!(flights.attack(&target(1)), [B256::repeat_byte(1), B256::repeat_byte(2)]);
        assert_eq!(flights.repeated(&target(2), &fees(1, 1), B256::ZERO), []);
        drop(first);
        assert_eq!(flights.key(&target(1)), Some(key));
        drop(second);
        assert_eq!((flights.key(&target(1)), flights.beat(&target(1))), (None, None));
    }

    #[test]
    fn only_the_newest_of_an_attacks_transactions_are_kept() {
        let flights = Flights::default();
        let hashes: Vec<B256> = (0..1_000_u64)
            .map(|n| B256::from(alloy::primitives::U256::from(n)))
            .collect();
        let _entered = flights.enter(&target(1), &[], &hashes);
        assert_eq!(flights.attack(&target(1)), hashes[1_000 - RACED..]);
    }
}
