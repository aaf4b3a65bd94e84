//! What a transaction changes: found by asking the engine whether each slot that it reads keeps its value ([`probes`], [`changes`]).

use std::collections::BTreeSet;

use engine::lang::Source;
use engine::{Address, Comparison, Invariant, Prestate, U256, ValueType, Watched};
use wire::{FindingVerdict, Verdicts};

/// Slots that are probed in one transaction.
const PROBES: usize = 64;

/// A slot that the transaction changes, as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The contract.
    pub contract: Address,
    /// The slot.
    pub slot: U256,
    /// Before.
    pub pre: U256,
    /// After.
    pub post: U256,
}

/// One question for each slot that is known: does it keep its value? Slots that are watched come first, then those of contracts that
/// are; at most [`PROBES`]. Their ids count from 1.
pub fn probes(state: &Prestate, registered: &[Watched]) -> Vec<Invariant> {
    let terms = Terms::of(registered);
    let rank = |contract: &Address, slot: &U256| {
        if terms.slots.contains(&(*contract, *slot)) {
            0
        } else if terms.contracts.contains(contract) {
            1
        } else {
            2
        }
    };
    let mut slots: Vec<(u8, Address, U256, U256)> = state
        .accounts
        .iter()
        .flat_map(|(contract, known)| known.storage.iter().map(move |(slot, word)| (contract, slot, word)))
        .map(|(contract, slot, word)| (rank(contract, slot), *contract, *slot, *word))
        .collect();
    slots.sort_by_key(|(rank, ..)| *rank);
    (1u64..)
        .zip(slots.into_iter().take(PROBES))
        .map(|(id, (_, contract, slot, word))| Invariant {
            id,
            name: String::new(),
            contract,
            slot,
            value_type: ValueType::Uint(256),
            offset: 0,
            comparison: Comparison::Eq,
            target: word,
        })
        .collect()
}

/// What invariants speak of.
pub(super) struct Terms {
    slots: BTreeSet<(Address, U256)>,
    pub(super) contracts: BTreeSet<Address>,
}

impl Terms {
    pub(super) fn of(registered: &[Watched]) -> Self {
        let sources = || registered.iter().flat_map(Watched::sources).map(|(_, source)| source);
        let slot = |source| match source {
            Source::Slot { contract, slot, .. } => Some((contract, slot)),
            _ => None,
        };
        Self {
            slots: sources().filter_map(slot).collect(),
            contracts: sources().filter_map(|source| source.contract()).collect(),
        }
    }
}

/// The slots that do not keep their value, by the answers to [`probes`].
pub fn changes(probes: &[Invariant], answers: &Verdicts) -> Vec<Change> {
    let of = |id: u64| answers.findings.iter().find(|finding| finding.invariant_id == id);
    probes
        .iter()
        .filter_map(|probe| match of(probe.id)?.verdict {
            FindingVerdict::Violated { pre, post, .. } => Some(Change {
                contract: probe.contract,
                slot: probe.slot,
                pre,
                post,
            }),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use engine::AccountState;

    use super::*;

    const VAULT: Address = Address::repeat_byte(0xcc);
    const OTHER: Address = Address::repeat_byte(0xdd);

    /// A state of these contracts, slots and words.
    pub(crate) fn state(words: &[(Address, u64, u64)]) -> Prestate {
        let mut accounts: BTreeMap<Address, AccountState> = BTreeMap::new();
        for (contract, slot, word) in words {
            let account = accounts.entry(*contract).or_default();
            account.storage.insert(U256::from(*slot), U256::from(*word));
        }
        Prestate {
            accounts,
            ..Prestate::default()
        }
    }

    #[test]
    fn watched_slots_are_probed_first_and_no_more_than_a_bounded_number() {
        let mut words: Vec<(Address, u64, u64)> = (100..200).map(|slot| (OTHER, slot, 1)).collect();
        words.extend([(VAULT, 50, 3), (VAULT, 1, 7)]);
        let (slot, bound) = (U256::from(1), U256::from(9));
        let watched = Invariant::new(1, "cap", VAULT, slot, ValueType::Uint(128), 0, Comparison::Le, bound).unwrap();
        let probes = probes(&state(&words), &[watched.into()]);
        assert_eq!(probes.len(), PROBES);
        assert_eq!(
            (probes[0].contract, probes[0].slot, probes[0].target),
            (VAULT, U256::from(1), U256::from(7))
        );
        assert_eq!((probes[1].contract, probes[1].slot), (VAULT, U256::from(50)));
        assert!(probes[2..].iter().all(|probe| probe.contract == OTHER));
    }

    #[test]
    fn what_does_not_keep_its_value_is_a_change() {
        let probes = probes(&state(&[(VAULT, 1, 7), (VAULT, 2, 8)]), &[]);
        let finding = |invariant_id, verdict| wire::Finding { invariant_id, verdict };
        let changed = FindingVerdict::Violated {
            pre: U256::from(8),
            post: U256::from(5),
            digest: engine::B256::ZERO,
        };
        let answers = Verdicts {
            findings: vec![
                finding(1, FindingVerdict::Holds { already_broken: false }),
                finding(2, changed),
            ],
            execution: None,
            engine_version: String::new(),
            state_digest: None,
        };
        let expected = Change {
            contract: VAULT,
            slot: U256::from(2),
            pre: U256::from(8),
            post: U256::from(5),
        };
        assert_eq!(changes(&probes, &answers), [expected]);
    }
}
