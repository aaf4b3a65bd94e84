//! Values as people and programs read them: decimal for numbers, hex for addresses and bytes, `true` and `false`.

use engine::{Address, Transition, U256, ValueType, lang::Wide};

/// A decoded value. Numbers are decimal and signed where their type is.
pub(crate) fn value(value_type: ValueType, value: U256) -> String {
    match value_type {
        ValueType::Uint(_) | ValueType::Int(_) => Wide::from_value(value_type, value).to_string(),
        ValueType::Bool => (!value.is_zero()).to_string(),
        ValueType::Address => Address::from_word(value.into()).to_string(),
        ValueType::FixedBytes(bytes) => format!("0x{value:0width$x}", width = usize::from(bytes) * 2),
    }
}

/// The word for a transition in both reports.
pub(crate) const fn transition(transition: Transition) -> &'static str {
    match transition {
        Transition::Untouched => "untouched",
        Transition::Kept => "kept",
        Transition::Broke => "broke",
        Transition::Restored => "restored",
        Transition::StayedBroken => "stayed_broken",
    }
}

/// A decimal number in groups of three digits, if it is long enough to need them.
pub(crate) fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    if digits.len() < 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut text = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// Only for pictures, where a pixel is coarser than what is lost.
pub(crate) fn approximately(number: Wide) -> f64 {
    number.to_string().parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_form() {
        let minus_two = U256::MAX - U256::from(1);
        assert_eq!(value(ValueType::Int(24), minus_two), "-2");
        assert_eq!(value(ValueType::Uint(256), minus_two), minus_two.to_string());
        assert_eq!(value(ValueType::Bool, U256::from(1)), "true");
        assert_eq!(value(ValueType::FixedBytes(4), U256::from(0xab)), "0x000000ab");
        assert_eq!(
            value(ValueType::Address, U256::from(1)),
            "0x0000000000000000000000000000000000000001"
        );
    }

    #[test]
    fn long_numbers_are_grouped_and_others_left_alone() {
        assert_eq!(grouped("-1234567"), "-1_234_567");
        assert_eq!(grouped("1234"), "1234");
        assert_eq!(grouped("100000"), "100_000");
        assert_eq!(grouped("0xabcdef"), "0xabcdef");
    }

    #[test]
    fn a_number_of_any_size_has_a_place_in_a_picture() {
        let huge = Wide::from(U256::MAX);
        assert!((approximately(-huge) + 2f64.powi(256)).abs() < 2f64.powi(204));
    }
}
