//! The bound moved to where the transaction goes: so that it just breaks, or just does not.
//!
//! What a transaction changes is found by asking the engine whether each slot that it reads keeps its value ([`probes`], [`changes`]).
//! Then either the state is shifted under an invariant that is registered, or an invariant of the registered kind is planted next to
//! where the value goes ([`shape`]). Both are made for what violates and for what does not, at a random distance from the bound, so that
//! neither a shift nor closeness to a bound tells which it is. What comes out is only likely to be what was wanted: the engine
//! has the last word.

use std::cmp::Ordering;

use engine::{Address, Comparison, Invariant, Prestate, U256, ValueType};
use rand::Rng;
use rand::seq::IndexedRandom;
use wire::{FindingVerdict, Verdicts};

/// Slots that are probed in one transaction.
const PROBES: usize = 64;

/// A planted invariant has an id that would be given to one of the next so many.
const LATER: u64 = 64;

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
pub fn probes(state: &Prestate, registered: &[Invariant]) -> Vec<Invariant> {
    let rank = |contract: &Address, slot: &U256| {
        let watched = registered.iter().filter(|invariant| invariant.contract == *contract);
        watched
            .map(|invariant| if invariant.slot == *slot { 0 } else { 1 })
            .min()
            .unwrap_or(2)
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

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// Nothing: everything stays as it was judged.
    Plain,
    /// The state, under an invariant that is registered: only who reads the chain can tell.
    Shift,
    /// A further invariant of the registered kind: who reads the registry can tell, so only where nothing can be shifted.
    Plant,
}

/// Invariants and state under which the transaction that makes `changes` violates something, or, unless `violating`, does not.
///
/// `None` when nothing changes that could be moved so, or there is no invariant to go by.
pub fn shape(
    state: &Prestate,
    registered: &[Invariant],
    changes: &[Change],
    (means, violating): (Means, bool),
    rng: &mut impl Rng,
) -> Option<(Vec<Invariant>, Prestate)> {
    let touched = registered
        .iter()
        .filter(|one| state.accounts.contains_key(&one.contract));
    let mut invariants: Vec<Invariant> = touched.cloned().collect();
    let mut state = state.clone();
    match means {
        Means::Plain => {}
        Means::Shift => {
            let shifts: Vec<(&Invariant, &Change)> = invariants
                .iter()
                .flat_map(|invariant| changes.iter().map(move |change| (invariant, change)))
                .filter(|(invariant, change)| invariant.contract == change.contract && invariant.slot == change.slot)
                .collect();
            let (invariant, change) = shifts.choose(rng)?;
            let word = shifted(invariant, change, violating, rng)?;
            let known = state.accounts.get_mut(&change.contract)?;
            known.storage.insert(change.slot, word);
        }
        Means::Plant => {
            let model = registered.choose(rng)?;
            let newest = registered.iter().map(|one| one.id).max()?;
            let id = newest.saturating_add(rng.random_range(1..=LATER));
            invariants.push(planted(id, model, likeliest(changes, registered, rng)?, violating, rng));
        }
    }
    Some((invariants, state))
}

/// The change that an invariant would rather be about: one of a contract that is watched.
fn likeliest<'a>(changes: &'a [Change], registered: &[Invariant], rng: &mut impl Rng) -> Option<&'a Change> {
    let watched: Vec<&Change> = changes
        .iter()
        .filter(|change| registered.iter().any(|invariant| invariant.contract == change.contract))
        .collect();
    match watched.choose(rng) {
        Some(change) => Some(change),
        None => changes.choose(rng),
    }
}

/// A number below `bound`; 0 of nothing.
fn below(bound: U256, rng: &mut impl Rng) -> U256 {
    U256::from_be_bytes(rng.random::<[u8; 32]>())
        .checked_rem(bound)
        .unwrap_or_default()
}

/// The word from which the same change leads over the invariant's bound, or stays just within it.
fn shifted(invariant: &Invariant, change: &Change, violating: bool, rng: &mut impl Rng) -> Option<U256> {
    if !matches!(invariant.value_type, ValueType::Uint(_)) {
        return None;
    }
    let (pre, post) = (invariant.read(change.pre)?, invariant.read(change.post)?);
    let target = invariant.target;
    let one = U256::from(1);
    // How far within the bound it begins: less than the step leads over it.
    let step = post.abs_diff(pre);
    let room = if violating {
        below(step, rng)
    } else {
        step.checked_add(below(step, rng))?
    };
    let from = match (invariant.comparison, post.cmp(&pre)) {
        (_, Ordering::Equal) => return None,
        (Comparison::Le, Ordering::Greater) => target.checked_sub(room)?,
        (Comparison::Lt, Ordering::Greater) => target.checked_sub(one)?.checked_sub(room)?,
        (Comparison::Ge, Ordering::Less) => target.checked_add(room)?,
        (Comparison::Gt, Ordering::Less) => target.checked_add(one)?.checked_add(room)?,
        (Comparison::Eq, _) if violating => target,
        // It goes away from the bound.
        (Comparison::Le, _) if !violating => target.checked_sub(below(step, rng))?,
        (Comparison::Ge, _) if !violating => target.checked_add(below(step, rng))?,
        _ => return None,
    };
    invariant.value_type.encode(change.pre, invariant.offset, from)
}

/// An invariant like `model`, about what changes: its bound is crossed, or stays just beyond.
fn planted(id: u64, model: &Invariant, change: &Change, violating: bool, rng: &mut impl Rng) -> Invariant {
    let step = change.post.abs_diff(change.pre);
    let short = below(step, rng);
    let (comparison, target) = match (change.post > change.pre, violating) {
        (true, true) => (Comparison::Le, change.pre.saturating_add(short)),
        (true, false) => (Comparison::Le, change.post.saturating_add(short)),
        (false, true) => (Comparison::Ge, change.pre.saturating_sub(short)),
        (false, false) => (Comparison::Ge, change.post.saturating_sub(short)),
    };
    Invariant {
        id,
        name: model.name.clone(),
        contract: change.contract,
        slot: change.slot,
        value_type: ValueType::Uint(256),
        offset: 0,
        comparison,
        target,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use engine::AccountState;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const VAULT: Address = Address::repeat_byte(0xcc);
    const OTHER: Address = Address::repeat_byte(0xdd);

    fn invariant(id: u64, comparison: Comparison, target: u64) -> Invariant {
        let slot = U256::from(id);
        let target = U256::from(target);
        Invariant::new(
            id,
            format!("i{id}"),
            VAULT,
            slot,
            ValueType::Uint(128),
            0,
            comparison,
            target,
        )
        .unwrap()
    }
    fn state(words: &[(Address, u64, u64)]) -> Prestate {
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
        let probes = probes(&state(&words), &[invariant(1, Comparison::Le, 9)]);
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

    #[test]
    fn nothing_changes_so_nothing_can_be_violated() {
        let registered = [invariant(1, Comparison::Le, 9)];
        let state = state(&[(VAULT, 1, 7)]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for means in [Means::Shift, Means::Plant] {
            assert!(shape(&state, &registered, &[], (means, true), &mut rng).is_none());
        }
        let (invariants, same) = shape(&state, &registered, &[], (Means::Plain, false), &mut rng).unwrap();
        assert_eq!((invariants, same), (registered.to_vec(), state));
    }

    /// Adds (or takes) the same step from wherever the slot begins, as a deposit or a withdrawal does.
    fn verdict(invariants: &[Invariant], state: &Prestate, change: &Change) -> bool {
        invariants.iter().any(|invariant| {
            if (invariant.contract, invariant.slot) != (change.contract, change.slot) {
                return false;
            }
            let pre = state.accounts[&change.contract].storage[&change.slot];
            let post = if change.post > change.pre {
                pre + (change.post - change.pre)
            } else {
                pre - (change.pre - change.post)
            };
            let held = |word: U256| invariant.holds(invariant.read(word).unwrap());
            held(pre) && !held(post)
        })
    }

    proptest! {
        /// Whatever changes by a step, wherever the registered bound is: what was wanted is what an engine would say.
        #[test]
        fn it_breaks_when_it_should_and_only_then(
            pre in 0u64..1_000_000, post in 0u64..1_000_000, target in 2_000_000u64..3_000_000, ge in any::<bool>(),
            plant in any::<bool>(), violating in any::<bool>(), seed in any::<u64>(),
        ) {
            prop_assume!(pre != post);
            let comparison = if ge { Comparison::Ge } else { Comparison::Le };
            let means = if plant { Means::Plant } else { Means::Shift };
            let registered = [invariant(1, comparison, target), invariant(2, Comparison::Le, 5)];
            let state = state(&[(VAULT, 1, pre), (VAULT, 2, 3)]);
            let change = Change { contract: VAULT, slot: U256::from(1), pre: U256::from(pre), post: U256::from(post) };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let Some((invariants, shaped)) = shape(&state, &registered, &[change], (means, violating), &mut rng) else {
                // A bound above is not broken by going down, nor one below by going up: there, only a planted one helps.
                prop_assert!(!plant && violating && ge == (post > pre));
                return Ok(());
            };
            prop_assert_eq!(verdict(&invariants, &shaped, &change), violating);
            prop_assert_eq!(invariants.len(), 2 + usize::from(plant));
            prop_assert_eq!(&invariants[..2], &registered[..], "what is registered is as it is registered");
            prop_assert_eq!(shaped == state, plant);
            prop_assert!(invariants.iter().all(|invariant| invariant.check().is_ok()));
        }
    }
}
