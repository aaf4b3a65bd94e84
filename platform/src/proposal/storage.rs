//! An expression that compares one stored value with a constant, in the form of an invariant over one slot. Pure.

use engine::lang::{Moment, Names, Program, Source, Wide, from_invariant, parse};
use engine::{Comparison, Invariant, ValueType};

/// The invariant over one slot that says the same as a program, if there is one. The program's own text is read, and what was read is
/// written again: if that is another program, it says something else.
pub(super) fn as_storage(name: &str, program: &Program) -> Option<Invariant> {
    let [read] = program.reads() else { return None };
    let Source::Slot {
        contract,
        slot,
        value_type,
        offset,
    } = &read.source
    else {
        return None;
    };
    if program.is_relational() || read.moment != Moment::Post {
        return None;
    }
    let term = read.source.to_string();
    let (comparison, constant) = compared(&program.to_string(), &term)?;
    let target = constant_of(&constant, *value_type)?;
    let invariant = Invariant::new(0, name, *contract, *slot, *value_type, *offset, comparison, target).ok()?;
    let same_text = match *value_type {
        ValueType::Bool => true,
        _ => parse(&format!("{term} {comparison} {constant}"), &Names::default()) == from_invariant(&invariant),
    };
    same_text.then_some(invariant)
}

/// `term >= constant`, `constant <= term`, and of a truth `term` or `not term`.
fn compared(text: &str, term: &str) -> Option<(Comparison, String)> {
    if text == term {
        return Some((Comparison::Eq, "true".to_owned()));
    }
    if text.strip_prefix("not ") == Some(term) {
        return Some((Comparison::Eq, "false".to_owned()));
    }
    if let Some(rest) = text.strip_prefix(term) {
        let (symbol, constant) = rest.trim_start().split_once(' ')?;
        return Some((symbol.parse().ok()?, constant.trim().to_owned()));
    }
    let (constant, symbol) = text.strip_suffix(term)?.trim_end().rsplit_once(' ')?;
    let turned = match symbol.parse().ok()? {
        Comparison::Eq => Comparison::Eq,
        Comparison::Ge => Comparison::Le,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Lt => Comparison::Gt,
    };
    Some((turned, constant.trim().to_owned()))
}

/// A constant as the canonical text writes it, as a value of the type.
fn constant_of(text: &str, value_type: ValueType) -> Option<engine::U256> {
    match value_type {
        ValueType::Bool => match text {
            "true" => Some(engine::U256::ONE),
            "false" => Some(engine::U256::ZERO),
            _ => None,
        },
        ValueType::Uint(_) | ValueType::Int(_) => text.parse::<Wide>().ok()?.to_value(value_type),
        ValueType::Address => digits(text),
        _ => digits(text.strip_prefix(&format!("{value_type}("))?.strip_suffix(')')?),
    }
}

fn digits(text: &str) -> Option<engine::U256> {
    engine::U256::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use engine::U256;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_invariant_over_one_slot_comes_back_from_its_text(
            raw: [u8; 32], bits in 1u16..=32, kind in 0..4u8, which in 0..5usize, slot: [u8; 32],
        ) {
            let value_type = match kind {
                0 => ValueType::Uint(bits * 8),
                1 => ValueType::Int(bits * 8),
                2 => ValueType::Address,
                _ => ValueType::Bool,
            };
            let target = match value_type {
                ValueType::Bool => U256::from(raw[0] & 1),
                _ => value_type.decode(U256::from_be_bytes(raw), 0).unwrap(),
            };
            let numeric = matches!(value_type, ValueType::Uint(_) | ValueType::Int(_));
            let all = [Comparison::Eq, Comparison::Ge, Comparison::Le, Comparison::Gt, Comparison::Lt];
            let comparison = if numeric { all[which] } else { Comparison::Eq };
            let contract = engine::Address::repeat_byte(0xb1);
            let invariant =
                Invariant::new(0, "x", contract, U256::from_be_bytes(slot), value_type, 0, comparison, target).unwrap();
            let program = from_invariant(&invariant).unwrap();
            prop_assert_eq!(as_storage("x", &program), Some(invariant));
        }
    }
}
