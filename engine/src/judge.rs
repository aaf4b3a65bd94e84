//! The rule: from what an invariant reads before and after a transaction to the verdict on it.

use crate::{
    Address, B256, Comparison, ENGINE_VERSION, Invariant, Judgement, Margins, Reading, Reason, Transition, U256,
    ValueType, Verdict, Witness,
    lang::{Evaluator, Moment, Program, Reader as _, Source, Wide},
    reading::Sources,
    watch::{Plan, ProgramInvariant, ViewInvariant, Watched},
};

/// A slot's word before and after the transaction; `None` when the transaction left it as it was.
pub(crate) type Words = Option<(U256, U256)>;

/// Judges one invariant.
pub(crate) fn judge(invariant: &Invariant, words: Words, tx_hash: B256) -> Judgement {
    let invariant_id = invariant.id;
    if let Err(error) = invariant.check() {
        return Judgement::undecided(invariant_id, Reason::Unsupported(error.to_string()));
    }
    judge_checked(invariant, words, tx_hash)
}

/// The same for an invariant that was checked when its set was made.
#[inline]
pub(crate) fn judge_checked(invariant: &Invariant, words: Words, tx_hash: B256) -> Judgement {
    let invariant_id = invariant.id;
    let Some((pre, post)) = words else {
        return Judgement {
            invariant_id,
            verdict: Verdict::Holds,
            transition: Some(Transition::Untouched),
            margin: None,
        };
    };
    let (Some(pre), Some(post)) = (invariant.read(pre), invariant.read(post)) else {
        return Judgement::undecided(invariant_id, Reason::Unsupported("value leaves its slot".to_owned()));
    };
    let margin = |value| margin(invariant.value_type, invariant.comparison, value, invariant.target);
    decided(
        invariant_id,
        (invariant.holds(pre), invariant.holds(post)),
        margin(pre).zip(margin(post)),
        || Witness {
            invariant_id,
            tx_hash,
            contract: invariant.contract,
            slot: invariant.slot,
            pre,
            post,
            engine_version: ENGINE_VERSION.to_owned(),
            readings: Vec::new(),
            path: Vec::new(),
        },
    )
}

/// Judges the invariant at this place of a set.
#[inline]
pub(crate) fn judge_watched(
    place: u32,
    watched: &Watched,
    sources: &mut Sources<'_>,
    evaluator: &mut Evaluator,
) -> Judgement {
    match watched {
        Watched::Slot(invariant) => match sources.states.words(invariant.contract, invariant.slot) {
            Ok((pre, post)) => judge_checked(invariant, (pre != post).then_some((pre, post)), sources.tx.hash()),
            Err(error) => Judgement::undecided(invariant.id, sources.reason(error)),
        },
        Watched::View(invariant) => match sources.on.set.plan(place) {
            Plan::View(view) => judge_view(invariant, view, sources),
            Plan::General => {
                Judgement::undecided(invariant.id, Reason::Unsupported("view is not of this set".to_owned()))
            }
        },
        Watched::Program(invariant) => judge_program(invariant, sources, evaluator),
    }
}

/// Whether the invariant would not be violated if this were the state after the transaction; `None` when that is not known.
pub(crate) fn is_kept(
    place: u32,
    watched: &Watched,
    sources: &mut Sources<'_>,
    evaluator: &mut Evaluator,
) -> Option<bool> {
    if let Watched::Program(invariant) = watched {
        let evaluation = evaluator.evaluate(&invariant.program, sources);
        return evaluation.violated().ok().map(|violated| !violated);
    }
    match judge_watched(place, watched, sources, evaluator).verdict {
        Verdict::Holds => Some(true),
        Verdict::Violated(_) => Some(false),
        Verdict::Undecided(_) => None,
    }
}

#[inline]
fn judge_view(invariant: &ViewInvariant, place: u32, sources: &Sources<'_>) -> Judgement {
    let (view, id) = (&invariant.view, invariant.id);
    let (before, after) = sources.view(place);
    // A word that is none of its type is not handed out.
    let post = match after {
        Ok(word) => unpadded(view.value_type, word),
        Err(reason) => return Judgement::undecided(id, reason.clone()),
    };
    let holds = |value| {
        invariant
            .comparison
            .holds(view.value_type.compare(value, invariant.target))
    };
    let pre = match before {
        Ok(word) => unpadded(view.value_type, word),
        // Whatever it said before, this transaction does not break it.
        Err(_) if holds(post) => return held(id, None),
        Err(reason) => return Judgement::undecided(id, reason.clone()),
    };
    let margin = |value| margin(view.value_type, invariant.comparison, value, invariant.target);
    decided(id, (holds(pre), holds(post)), margin(pre).zip(margin(post)), || {
        Witness {
            invariant_id: id,
            tx_hash: sources.tx.hash(),
            contract: view.contract,
            slot: U256::ZERO,
            pre,
            post,
            engine_version: ENGINE_VERSION.to_owned(),
            readings: vec![Reading {
                label: invariant.name.clone(),
                contract: view.contract,
                slot: None,
                pre: Some(pre),
                post: Some(post),
            }],
            path: Vec::new(),
        }
    })
}

fn judge_program(invariant: &ProgramInvariant, sources: &mut Sources<'_>, evaluator: &mut Evaluator) -> Judgement {
    let (program, id) = (&invariant.program, invariant.id);
    let evaluation = evaluator.evaluate(program, sources);
    let margin = evaluation.before.margin.zip(evaluation.after.margin);
    match evaluation.violated() {
        Err(fault) => Judgement::undecided(id, fault.clone().into()),
        Ok(false) => Judgement {
            margin: margin.map(|(pre, post)| Margins { pre, post }),
            ..held(id, evaluation.transition())
        },
        Ok(true) => {
            let readings = readings(program, sources, evaluator);
            decided(id, (true, false), margin, || Witness {
                invariant_id: id,
                tx_hash: sources.tx.hash(),
                contract: readings.first().map_or(Address::ZERO, |reading| reading.contract),
                slot: U256::ZERO,
                pre: U256::from(1),
                post: U256::ZERO,
                engine_version: ENGINE_VERSION.to_owned(),
                readings,
                path: Vec::new(),
            })
        }
    }
}

/// What the program rests on: each source once, before and after.
fn readings(program: &Program, sources: &mut Sources<'_>, evaluator: &Evaluator) -> Vec<Reading> {
    let mut readings = Vec::new();
    for (place, observed) in evaluator.observed(program).enumerate() {
        let source = &observed.read.source;
        if program.reads().iter().take(place).any(|read| read.source == *source) {
            continue;
        }
        let contract = source.contract().unwrap_or_default();
        let slot = match source {
            Source::Slot { slot, .. } => Some(*slot),
            _ => None,
        };
        let mut read = |moment| sources.read(moment, source).ok().and_then(|word| source.decode(word));
        let (pre, post) = if source.is_state() {
            (read(Moment::Pre), read(Moment::Post))
        } else {
            (
                None,
                observed.value.and_then(|value| value.to_value(source.value_type())),
            )
        };
        readings.push(Reading {
            label: observed.read.label.to_string(),
            contract,
            slot,
            pre,
            post,
        });
    }
    readings
}

const fn held(invariant_id: u64, transition: Option<Transition>) -> Judgement {
    Judgement {
        invariant_id,
        verdict: Verdict::Holds,
        transition,
        margin: None,
    }
}

/// True when a word is a value of this type as the ABI pads it, with nothing in the padding.
#[inline]
pub(crate) fn is_padded(value_type: ValueType, word: U256) -> bool {
    match value_type {
        ValueType::FixedBytes(bytes) if bytes < 32 => {
            let padding = 256 - usize::from(bytes) * 8;
            word.trailing_zeros() >= padding
        }
        _ => value_type.contains(word),
    }
}

/// The value in such a word.
#[inline]
fn unpadded(value_type: ValueType, word: U256) -> U256 {
    match value_type {
        ValueType::FixedBytes(bytes) if bytes < 32 => word >> (256 - usize::from(bytes) * 8),
        _ => word,
    }
}

/// From "held before, holds after" to the judgement; only a violation needs its witness.
#[inline]
pub(crate) fn decided(
    invariant_id: u64,
    (held, holds): (bool, bool),
    margins: Option<(Wide, Wide)>,
    witness: impl FnOnce() -> Witness,
) -> Judgement {
    let transition = transition(held, holds);
    let verdict = match transition {
        Transition::Broke => Verdict::Violated(witness()),
        Transition::Untouched | Transition::Kept | Transition::Restored | Transition::StayedBroken => Verdict::Holds,
    };
    Judgement {
        invariant_id,
        verdict,
        transition: Some(transition),
        margin: margins.map(|(pre, post)| Margins { pre, post }),
    }
}

/// The signed distance of a decoded value to a target; `None` for types without numbers (bool, address, bytesN).
#[inline]
pub(crate) fn margin(value_type: ValueType, comparison: Comparison, value: U256, target: U256) -> Option<Wide> {
    let above = match value_type {
        ValueType::Uint(_) => Wide::difference(value, target),
        ValueType::Int(_) => Wide::from_value(value_type, value).checked_sub(Wide::from_value(value_type, target))?,
        ValueType::Bool | ValueType::Address | ValueType::FixedBytes(_) => return None,
    };
    match comparison {
        Comparison::Eq => Some(-above.abs()),
        Comparison::Ge => Some(above),
        Comparison::Le => Some(-above),
        Comparison::Gt => above.checked_sub(Wide::from(1)),
        Comparison::Lt => (-above).checked_sub(Wide::from(1)),
    }
}

const fn transition(held: bool, holds: bool) -> Transition {
    match (held, holds) {
        (true, true) => Transition::Kept,
        (true, false) => Transition::Broke,
        (false, true) => Transition::Restored,
        (false, false) => Transition::StayedBroken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `uint64` at byte 8 of the slot must be at least 100.
    fn floor() -> Invariant {
        let contract = Address::repeat_byte(7);
        let (value_type, target) = (ValueType::Uint(64), U256::from(100));
        Invariant::new(
            3,
            "floor",
            contract,
            U256::from(1),
            value_type,
            8,
            Comparison::Ge,
            target,
        )
        .unwrap()
    }

    fn word(value: u64) -> U256 {
        U256::from(value) << 64
    }

    fn judged(pre: u64, post: u64) -> (Verdict, Transition) {
        let judgement = judge(&floor(), Some((word(pre), word(post))), B256::repeat_byte(9));
        (judgement.verdict, judgement.transition.unwrap())
    }

    #[test]
    fn only_the_transaction_that_breaks_an_invariant_violates_it() {
        assert_eq!(judged(200, 100), (Verdict::Holds, Transition::Kept));
        assert_eq!(judged(99, 98), (Verdict::Holds, Transition::StayedBroken));
        assert_eq!(judged(99, 100), (Verdict::Holds, Transition::Restored));
        let (Verdict::Violated(witness), Transition::Broke) = judged(100, 99) else {
            panic!("not found")
        };
        assert_eq!((witness.pre, witness.post), (U256::from(100), U256::from(99)));
        assert_eq!((witness.invariant_id, witness.slot), (3, U256::from(1)));
        assert_eq!(witness.tx_hash, B256::repeat_byte(9));
    }

    #[test]
    fn the_margin_is_the_signed_distance_to_the_bound() {
        let margins = |pre, post| {
            let judgement = judge(&floor(), Some((word(pre), word(post))), B256::ZERO);
            let margin = judgement.margin.unwrap();
            (margin.pre.to_string(), margin.post.to_string())
        };
        assert_eq!(margins(250, 100), ("150".to_owned(), "0".to_owned()));
        assert_eq!(margins(101, 97), ("1".to_owned(), "-3".to_owned()));
        let of = |value_type, comparison, value: i64, target: i64| {
            let raw = |n: i64| alloy::primitives::I256::try_from(n).unwrap().into_raw();
            margin(value_type, comparison, raw(value), raw(target)).map(|margin| margin.to_string())
        };
        assert_eq!(of(ValueType::Int(64), Comparison::Le, -7, 5), Some("12".to_owned()));
        assert_eq!(of(ValueType::Int(64), Comparison::Gt, -7, 5), Some("-13".to_owned()));
        assert_eq!(of(ValueType::Uint(64), Comparison::Eq, 7, 5), Some("-2".to_owned()));
        assert_eq!(of(ValueType::Uint(64), Comparison::Eq, 5, 5), Some("0".to_owned()));
        assert_eq!(of(ValueType::Bool, Comparison::Eq, 1, 1), None);
        let widest = margin(ValueType::Uint(256), Comparison::Gt, U256::ZERO, U256::MAX).unwrap();
        assert_eq!(-widest, Wide::from(U256::MAX).checked_add(Wide::from(1)).unwrap());
    }

    #[test]
    fn a_slot_left_as_it_was_is_untouched_even_when_broken() {
        let judgement = judge(&floor(), None, B256::ZERO);
        assert_eq!(
            (judgement.verdict, judgement.transition),
            (Verdict::Holds, Some(Transition::Untouched))
        );
    }

    #[test]
    fn an_invariant_that_cannot_be_read_is_undecided() {
        let mut broken = floor();
        broken.offset = 30;
        let judgement = judge(&broken, Some((U256::ZERO, U256::ZERO)), B256::ZERO);
        assert!(matches!(judgement.verdict, Verdict::Undecided(Reason::Unsupported(_))));
        assert_eq!(judgement.transition, None);
    }

    #[test]
    fn a_witness_has_one_digest_and_every_field_counts() {
        let witness = Witness {
            invariant_id: 1,
            tx_hash: B256::repeat_byte(2),
            contract: Address::repeat_byte(3),
            slot: U256::from(4),
            pre: U256::from(5),
            post: U256::from(6),
            engine_version: "7".to_owned(),
            readings: Vec::new(),
            path: Vec::new(),
        };
        let digest = witness.digest();
        let reading = crate::Reading {
            label: "x".to_owned(),
            contract: Address::ZERO,
            slot: None,
            pre: Some(U256::ZERO),
            post: None,
        };
        let changes: [fn(&mut Witness); 8] = [
            |w| {
                w.readings.push(crate::Reading {
                    label: String::new(),
                    contract: Address::ZERO,
                    slot: None,
                    pre: None,
                    post: None,
                });
            },
            |w| w.invariant_id = 0,
            |w| w.tx_hash = B256::ZERO,
            |w| w.contract = Address::ZERO,
            |w| w.slot = U256::ZERO,
            |w| w.pre = U256::ZERO,
            |w| w.post = U256::ZERO,
            |w| w.engine_version = String::new(),
        ];
        for change in changes {
            let mut changed = witness.clone();
            change(&mut changed);
            assert_ne!(changed.digest(), digest);
        }
        let with_reading = Witness {
            readings: vec![reading.clone()],
            ..witness.clone()
        };
        let other = crate::Reading {
            pre: None,
            post: Some(U256::ZERO),
            ..reading
        };
        let with_other = Witness {
            readings: vec![other],
            ..witness
        };
        assert_ne!(with_reading.digest(), with_other.digest());
        // Computed once and kept: a change of this number is a change of the wire.
        assert_eq!(
            digest.to_string(),
            "0x98c2eb633c7b811f061d91bf028b1c32d3506f388808d1ad980f482c1fbf8ab9"
        );
    }
}
