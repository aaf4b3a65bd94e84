//! The bound moved to where the transaction goes: so that it just breaks, or just does not.
//!
//! By what the transaction changes ([`super::probe`]), either the state is shifted under an invariant that is registered, or an invariant
//! of the registered kind is planted next to where the value goes ([`shape`]). Both are made for what violates and for what does not, at a
//! random distance from the bound, so that neither a shift nor closeness to a bound tells which it is. What comes out is only likely to be
//! what was wanted: the engine has the last word.
//!
//! Of an expression it is not known where its bound is: the value that changes is shifted to where the same step is a larger or a smaller
//! part of it, which is what most expressions are about, and the engine says on which side that is.

use std::cmp::Ordering;

use engine::lang::{self, Names, Source};
use engine::{Comparison, Invariant, Prestate, ProgramInvariant, U256, ValueType, Watched};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::probe::{Change, Terms};

/// An expression's value is shifted to at most so many steps.
const REACH: u64 = 20;

/// A planted invariant has an id that would be given to one of the next so many.
const LATER: u64 = 64;

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
    registered: &[Watched],
    changes: &[Change],
    (means, violating): (Means, bool),
    rng: &mut impl Rng,
) -> Option<(Vec<Watched>, Prestate)> {
    let touched = |one: &&Watched| one.could_change(|account| state.accounts.contains_key(account));
    let mut invariants: Vec<Watched> = registered.iter().filter(touched).cloned().collect();
    let mut state = state.clone();
    match means {
        Means::Plain => {}
        Means::Shift => {
            let shifts: Vec<(&Watched, &Change)> = invariants
                .iter()
                .flat_map(|invariant| changes.iter().map(move |change| (invariant, change)))
                .filter(|(invariant, change)| place(invariant, change).is_some())
                .collect();
            let (invariant, change) = *shifts.choose(rng)?;
            let word = match invariant {
                Watched::Slot(invariant) => shifted(invariant, change, violating, rng)?,
                Watched::View(_) | Watched::Program(_) => drifted(place(invariant, change)?, change, rng)?,
            };
            let known = state.accounts.get_mut(&change.contract)?;
            known.storage.insert(change.slot, word);
        }
        Means::Plant => {
            let model = registered.choose(rng)?;
            let newest = registered.iter().map(Watched::id).max()?;
            let id = newest.saturating_add(rng.random_range(1..=LATER));
            let change = likeliest(changes, registered, rng)?;
            invariants.push(match model {
                Watched::Slot(model) => planted(id, model, change, violating, rng).into(),
                Watched::View(_) | Watched::Program(_) => stated(id, model, change, violating, rng)?,
            });
        }
    }
    Some((invariants, state))
}

/// How an invariant reads the slot that changes: its type and offset. A view of the contract may read any slot of it, as a word.
fn place(invariant: &Watched, change: &Change) -> Option<(ValueType, u8)> {
    let read = |source: &Source| match source {
        Source::Slot {
            contract,
            slot,
            value_type,
            offset,
        } => ((*contract, *slot) == (change.contract, change.slot)).then_some((*value_type, *offset)),
        Source::View(view) => (view.contract == change.contract).then_some((ValueType::Uint(256), 0)),
        _ => None,
    };
    invariant.sources().iter().find_map(|(_, source)| read(source))
}

/// The change that an invariant would rather be about: one of a contract that is watched.
fn likeliest<'a>(changes: &'a [Change], registered: &[Watched], rng: &mut impl Rng) -> Option<&'a Change> {
    let watched = Terms::of(registered).contracts;
    let watched: Vec<&Change> = changes
        .iter()
        .filter(|change| watched.contains(&change.contract))
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

/// A word in which the value is at a random one of the next [`REACH`] steps from nothing, so that the same step can still be made.
fn drifted((value_type, offset): (ValueType, u8), change: &Change, rng: &mut impl Rng) -> Option<U256> {
    if !matches!(value_type, ValueType::Uint(_)) {
        return None;
    }
    let pre = value_type.decode(change.pre, offset)?;
    let post = value_type.decode(change.post, offset)?;
    let step = post.abs_diff(pre);
    let somewhere = below(step.checked_mul(U256::from(REACH))?, rng);
    let from = match post.cmp(&pre) {
        Ordering::Equal => return None,
        Ordering::Less => step.checked_add(somewhere)?,
        Ordering::Greater => somewhere,
    };
    value_type.encode(change.pre, offset, from)
}

/// An expression about what changes, by how much it may: less than it does, or more.
fn stated(id: u64, model: &Watched, change: &Change, violating: bool, rng: &mut impl Rng) -> Option<Watched> {
    let step = change.post.abs_diff(change.pre);
    let short = below(step, rng);
    let bound = if violating { short } else { step.checked_add(short)? };
    let Change { contract, slot, .. } = change;
    let relation = if change.post > change.pre { "<= " } else { ">= -" };
    let text = format!("delta(slot({contract:#x}, {slot:#x}, uint256, 0)) {relation}{bound}");
    Some(Watched::Program(ProgramInvariant {
        id,
        name: model.name().to_owned(),
        program: lang::parse(&text, &Names::default()).ok()?,
    }))
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
    use engine::Address;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::canary::probe::tests::state;

    const VAULT: Address = Address::repeat_byte(0xcc);

    fn invariant(id: u64, comparison: Comparison, target: u64) -> Invariant {
        let (slot, target) = (U256::from(id), U256::from(target));
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

    #[test]
    fn nothing_changes_so_nothing_can_be_violated() {
        let registered = [Watched::from(invariant(1, Comparison::Le, 9))];
        let state = state(&[(VAULT, 1, 7)]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for means in [Means::Shift, Means::Plant] {
            assert!(shape(&state, &registered, &[], (means, true), &mut rng).is_none());
        }
        let (invariants, same) = shape(&state, &registered, &[], (Means::Plain, false), &mut rng).unwrap();
        assert_eq!((invariants, same), (registered.to_vec(), state));
    }

    /// Judged as an engine does, when the slot takes the same step from wherever it begins, as by a deposit or a withdrawal.
    fn breaks(invariant: &Watched, state: &Prestate, change: &Change) -> bool {
        struct Stepping<'a>(&'a Prestate, &'a Change);
        impl lang::Reader for Stepping<'_> {
            fn read(&mut self, moment: lang::Moment, source: &Source) -> Result<U256, engine::Reason> {
                let Source::Slot {
                    contract,
                    slot,
                    value_type,
                    offset,
                } = source
                else {
                    panic!("{source:?}")
                };
                let Self(state, change) = self;
                let mut word = state.accounts[contract].storage[slot];
                if moment == lang::Moment::Post && (*contract, *slot) == (change.contract, change.slot) {
                    word = word - change.pre + change.post;
                }
                Ok(value_type.decode(word, *offset).unwrap())
            }
            fn logs(&mut self, _: &mut dyn FnMut(lang::LogRef<'_>)) -> Result<(), engine::Reason> {
                Ok(())
            }
        }
        let program = lang::parse(&invariant.expression(), &Names::default()).unwrap();
        lang::evaluate(&program, &mut Stepping(state, change))
            .violated()
            .unwrap()
    }

    #[test]
    fn an_expression_is_shifted_to_both_sides_of_its_bound_and_planted_on_the_wanted_one() {
        let text = format!("slot({VAULT:#x}, 0x1, uint256) >= 90% of pre");
        let program = lang::parse(&text, &Names::default()).unwrap();
        let (id, name) = (7, "keeps most".to_owned());
        let registered = [Watched::Program(ProgramInvariant { id, name, program })];
        let state = state(&[(VAULT, 1, 1_000)]);
        let change = Change {
            contract: VAULT,
            slot: U256::from(1),
            pre: U256::from(1_000),
            post: U256::from(990),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut sides = [0; 2];
        for _ in 0..64 {
            let wanted = (Means::Shift, true);
            let (invariants, shifted) = shape(&state, &registered, &[change], wanted, &mut rng).unwrap();
            assert_eq!(invariants, registered);
            sides[usize::from(breaks(&registered[0], &shifted, &change))] += 1;
            for violating in [true, false] {
                let wanted = (Means::Plant, violating);
                let (invariants, same) = shape(&state, &registered, &[change], wanted, &mut rng).unwrap();
                assert_eq!((invariants.len(), &same), (2, &state));
                assert_eq!(
                    breaks(&invariants[1], &state, &change),
                    violating,
                    "{:?}",
                    invariants[1]
                );
                assert_eq!(invariants[1].name(), "keeps most");
            }
        }
        assert!(sides.iter().all(|times| *times > 10), "{sides:?}");
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
            let registered = [invariant(1, comparison, target), invariant(2, Comparison::Le, 5)].map(Watched::from);
            let state = state(&[(VAULT, 1, pre), (VAULT, 2, 3)]);
            let change = Change { contract: VAULT, slot: U256::from(1), pre: U256::from(pre), post: U256::from(post) };
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let Some((invariants, shaped)) = shape(&state, &registered, &[change], (means, violating), &mut rng) else {
                // A bound above is not broken by going down, nor one below by going up: there, only a planted one helps.
                prop_assert!(!plant && violating && ge == (post > pre));
                return Ok(());
            };
            let broken = invariants.iter().any(|invariant| breaks(invariant, &shaped, &change));
            prop_assert_eq!(broken, violating);
            prop_assert_eq!(invariants.len(), 2 + usize::from(plant));
            prop_assert_eq!(&invariants[..2], &registered[..], "what is registered is as it is registered");
            prop_assert_eq!(shaped == state, plant);
            prop_assert!(engine::WatchSet::new(invariants).is_ok());
        }
    }
}
