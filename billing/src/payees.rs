//! `billing payees`: who should share a service's payments, from the subnet's metagraph.
//!
//! The payees are the validators with a permit, the weightiest first: by dividends, then by stake. The metagraph knows them by
//! hotkey, the contract by Ethereum address; which belongs to which stands in a file that each validator signs up to.

use std::collections::{BTreeMap, HashSet};

use alloy::primitives::Address;
use chain::account::AccountId;
use chain::ledger::Metagraph;

/// Ethereum addresses by hotkey (SS58), as in the TOML file `"5F..." = "0x..."`.
pub type Addresses = BTreeMap<AccountId, Address>;

/// A validator that is to be paid, or that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Candidate {
    /// Its number in the subnet.
    pub uid: u16,
    /// Its hotkey.
    pub hotkey: AccountId,
    /// Share of the validators' reward at the last epoch, of 65535.
    pub dividends: u16,
    /// RAO.
    pub stake: u64,
    /// Where it is paid; `None`: the file does not say.
    pub address: Option<Address>,
}

/// The `most` weightiest validators that have an address, and those that were passed over for lack of one (or because another of
/// theirs has the same).
pub fn propose(metagraph: &Metagraph, addresses: &Addresses, most: usize) -> (Vec<Candidate>, Vec<Candidate>) {
    let mut all: Vec<Candidate> = metagraph
        .neurons
        .iter()
        .filter(|neuron| neuron.validator_permit && neuron.active)
        .map(|neuron| Candidate {
            uid: neuron.uid,
            hotkey: neuron.hotkey,
            dividends: neuron.dividends,
            stake: neuron.stake,
            address: addresses
                .get(&neuron.hotkey)
                .copied()
                .filter(|address| !address.is_zero()),
        })
        .collect();
    all.sort_by_key(|one| (std::cmp::Reverse((one.dividends, one.stake)), one.uid));
    let mut seen = HashSet::new();
    let (mut payees, passed): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|one| one.address.is_some_and(|address| seen.insert(address)));
    payees.truncate(most);
    (payees, passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::ledger::Neuron;

    fn neuron(uid: u16, dividends: u16, stake: u64) -> Neuron {
        let mut neuron = Neuron::new(uid, AccountId::from([u8::try_from(uid).unwrap(); 32]));
        (neuron.dividends, neuron.stake) = (dividends, stake);
        (neuron.validator_permit, neuron.active) = (true, true);
        neuron
    }

    #[test]
    fn the_weightiest_validators_with_an_address_are_proposed() {
        let mut miner = neuron(5, 60_000, 1);
        miner.validator_permit = false;
        let neurons = vec![
            neuron(0, 10, 5),
            neuron(1, 20, 1),
            neuron(2, 10, 9),
            neuron(3, 90, 1),
            miner,
        ];
        let metagraph = Metagraph::new(1, 10, neurons);
        let address = |uid: u8| (AccountId::from([uid; 32]), Address::with_last_byte(uid + 1));
        let addresses: Addresses = [address(0), address(1), address(2), address(5)].into();
        let (payees, passed) = propose(&metagraph, &addresses, 2);
        assert_eq!(
            payees.iter().map(|one| one.uid).collect::<Vec<_>>(),
            [1, 2],
            "by dividends, then stake"
        );
        assert_eq!(
            passed.iter().map(|one| one.uid).collect::<Vec<_>>(),
            [3],
            "nobody knows where to pay it"
        );
    }

    #[test]
    fn one_address_is_paid_once() {
        let metagraph = Metagraph::new(1, 10, vec![neuron(0, 1, 1), neuron(1, 2, 1)]);
        let shared = Address::with_last_byte(9);
        let addresses: Addresses = [0, 1].map(|uid| (AccountId::from([uid; 32]), shared)).into();
        let (payees, passed) = propose(&metagraph, &addresses, 8);
        assert_eq!((payees.len(), passed.len()), (1, 1));
        assert_eq!(payees[0].uid, 1);
    }
}
