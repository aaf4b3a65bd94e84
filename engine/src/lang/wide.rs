//! Exact integers: 256-bit terms and 512-bit results, as a sign and a magnitude. Nothing wraps: what does not fit is `None`.

use std::{cmp::Ordering, fmt, ops::Neg, str::FromStr, sync::LazyLock};

use alloy::primitives::aliases::U512;

use crate::{U256, ValueType};

/// An integer of at most 512 bits and a sign. Zero has no sign, so equal numbers are equal values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wide {
    negative: bool,
    magnitude: U512,
}

/// The text is no decimal integer of at most 512 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no decimal integer of at most 512 bits")]
pub struct WideError;

/// The largest power of ten a number may be scaled by.
pub(super) const MAX_SCALE: u8 = 77;

static POWERS_OF_TEN: LazyLock<Vec<Wide>> = LazyLock::new(|| {
    let ten = Wide::from(10);
    std::iter::successors(Some(Wide::from(1)), |power| power.checked_mul(ten))
        .take(usize::from(MAX_SCALE) + 1)
        .collect()
});

impl Wide {
    /// Zero.
    pub const ZERO: Self = Self {
        negative: false,
        magnitude: U512::ZERO,
    };

    /// One.
    pub(super) const ONE: Self = Self {
        negative: false,
        magnitude: U512::ONE,
    };

    /// A number from its sign and magnitude.
    #[must_use]
    pub fn new(negative: bool, magnitude: U512) -> Self {
        Self {
            negative: negative && !magnitude.is_zero(),
            magnitude,
        }
    }

    /// The number that a decoded value of this type is ([`ValueType::decode`]): `intN` from two's complement, all others as
    /// unsigned numbers.
    #[must_use]
    pub fn from_value(value_type: ValueType, value: U256) -> Self {
        match value_type {
            ValueType::Int(_) if value.bit(255) => Self::new(true, widened(value.wrapping_neg())),
            _ => Self::from(value),
        }
    }

    /// The difference of two unsigned numbers, which always fits.
    #[must_use]
    pub fn difference(left: U256, right: U256) -> Self {
        let (magnitude, negative) = left.overflowing_sub(right);
        Self {
            negative,
            magnitude: widened(if negative { magnitude.wrapping_neg() } else { magnitude }),
        }
    }

    /// The decoded value of this type that this number is; `None` when it is out of the type's range.
    #[must_use]
    pub fn to_value(self, value_type: ValueType) -> Option<U256> {
        let magnitude = self.to_u256()?;
        let value = match value_type {
            ValueType::Int(_) if self.negative => magnitude.wrapping_neg(),
            _ if self.negative => return None,
            _ => magnitude,
        };
        (value_type.contains(value) && Self::from_value(value_type, value) == self).then_some(value)
    }

    /// True below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.negative
    }

    /// True for zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.magnitude.is_zero()
    }

    /// The distance from zero.
    #[must_use]
    pub const fn magnitude(self) -> U512 {
        self.magnitude
    }

    /// Without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self {
            negative: false,
            magnitude: self.magnitude,
        }
    }

    /// The sum; `None` beyond 512 bits.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.negative == other.negative {
            let magnitude = self.magnitude.checked_add(other.magnitude)?;
            return Some(Self::new(self.negative, magnitude));
        }
        Some(match self.magnitude.cmp(&other.magnitude) {
            Ordering::Equal => Self::ZERO,
            Ordering::Greater => Self::new(self.negative, self.magnitude.wrapping_sub(other.magnitude)),
            Ordering::Less => Self::new(other.negative, other.magnitude.wrapping_sub(self.magnitude)),
        })
    }

    /// The difference; `None` beyond 512 bits.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(-other)
    }

    /// The product; `None` beyond 512 bits.
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let magnitude = self.magnitude.checked_mul(other.magnitude)?;
        Some(Self::new(self.negative != other.negative, magnitude))
    }

    /// The quotient, rounded towards zero as in Solidity; `None` when dividing by zero.
    #[must_use]
    pub fn checked_div(self, other: Self) -> Option<Self> {
        let magnitude = self.magnitude.checked_div(other.magnitude)?;
        Some(Self::new(self.negative != other.negative, magnitude))
    }

    /// The remainder, with the sign of the dividend as in Solidity; `None` when dividing by zero.
    #[must_use]
    pub fn checked_rem(self, other: Self) -> Option<Self> {
        let magnitude = self.magnitude.checked_rem(other.magnitude)?;
        Some(Self::new(self.negative, magnitude))
    }

    /// The product with `10^power`; `None` beyond 512 bits.
    pub(super) fn scaled_up(self, power: u8) -> Option<Self> {
        if power == 0 {
            return Some(self);
        }
        self.checked_mul(*POWERS_OF_TEN.get(usize::from(power))?)
    }

    /// The quotient by `10^power`, rounded down, so that it is below zero exactly when the number is.
    pub(super) fn scaled_down(self, power: u8) -> Option<Self> {
        if power == 0 {
            return Some(self);
        }
        let divisor = *POWERS_OF_TEN.get(usize::from(power))?;
        let quotient = self.checked_div(divisor)?;
        if self.negative && !self.checked_rem(divisor)?.is_zero() {
            return quotient.checked_sub(Self::ONE);
        }
        Some(quotient)
    }

    /// A number of 128 bits.
    pub(super) fn from_i128(value: i128) -> Self {
        Self::new(value < 0, U512::from(value.unsigned_abs()))
    }

    /// The same number, when it fits 128 bits.
    pub(super) fn to_i128(self) -> Option<i128> {
        let [low, high, rest @ ..] = self.magnitude.as_limbs();
        if rest.iter().any(|limb| *limb != 0) {
            return None;
        }
        let magnitude = i128::try_from(u128::from(*low) | (u128::from(*high) << 64)).ok()?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// As a 256-bit unsigned magnitude, when it fits.
    fn to_u256(self) -> Option<U256> {
        let limbs = self.magnitude.as_limbs();
        let (low, high) = limbs.split_at(4);
        if high.iter().any(|limb| *limb != 0) {
            return None;
        }
        U256::checked_from_limbs_slice(low)
    }
}

fn widened(value: U256) -> U512 {
    let [a, b, c, d] = value.into_limbs();
    U512::from_limbs([a, b, c, d, 0, 0, 0, 0])
}

impl From<U256> for Wide {
    fn from(value: U256) -> Self {
        Self::new(false, widened(value))
    }
}

impl From<u64> for Wide {
    fn from(value: u64) -> Self {
        Self::new(false, U512::from(value))
    }
}

impl Neg for Wide {
    type Output = Self;

    fn neg(self) -> Self {
        Self::new(!self.negative, self.magnitude)
    }
}

impl PartialOrd for Wide {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Wide {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude.cmp(&other.magnitude),
            (true, true) => other.magnitude.cmp(&self.magnitude),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        }
    }
}

impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad_integral(!self.negative, "", &self.magnitude.to_string())
    }
}

impl FromStr for Wide {
    type Err = WideError;

    fn from_str(text: &str) -> Result<Self, WideError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        // 2^512 has 155 digits.
        if digits.is_empty() || digits.len() > 160 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(WideError);
        }
        let magnitude = U512::from_str_radix(digits, 10).map_err(|_| WideError)?;
        Ok(Self::new(negative, magnitude))
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::{BigInt, Sign};
    use proptest::prelude::*;

    use super::*;

    fn big(value: Wide) -> BigInt {
        let sign = if value.is_negative() { Sign::Minus } else { Sign::Plus };
        BigInt::from_bytes_be(sign, &value.magnitude().to_be_bytes::<64>())
    }

    /// Numbers of every size, most of them near a limit.
    fn any_wide() -> impl Strategy<Value = Wide> {
        let limbs = prop_oneof![
            any::<[u64; 8]>(),
            any::<u64>().prop_map(|low| [low, 0, 0, 0, 0, 0, 0, 0]),
            any::<[u64; 4]>().prop_map(|[a, b, c, d]| [a, b, c, d, 0, 0, 0, 0]),
            Just([u64::MAX; 8]),
            Just([0; 8]),
        ];
        (any::<bool>(), limbs).prop_map(|(negative, limbs)| Wide::new(negative, U512::from_limbs(limbs)))
    }

    fn fits(value: &BigInt) -> bool {
        value.bits() <= 512
    }

    proptest! {
        #[test]
        fn arithmetic_is_that_of_unbounded_integers_or_none(a in any_wide(), b in any_wide()) {
            for (ours, exact) in [
                (a.checked_add(b), big(a) + big(b)),
                (a.checked_sub(b), big(a) - big(b)),
                (a.checked_mul(b), big(a) * big(b)),
            ] {
                prop_assert_eq!(ours.map(big), fits(&exact).then_some(exact));
            }
            if b.is_zero() {
                prop_assert_eq!((a.checked_div(b), a.checked_rem(b)), (None, None));
            } else {
                prop_assert_eq!(a.checked_div(b).map(big), Some(big(a) / big(b)));
                prop_assert_eq!(a.checked_rem(b).map(big), Some(big(a) % big(b)));
            }
            prop_assert_eq!(a.cmp(&b), big(a).cmp(&big(b)));
            prop_assert_eq!(big(-a), -big(a));
        }

        #[test]
        fn the_difference_of_two_words_is_exact(a in any::<[u64; 4]>(), b in any::<[u64; 4]>()) {
            let (a, b) = (U256::from_limbs(a), U256::from_limbs(b));
            prop_assert_eq!(Some(Wide::difference(a, b)), Wide::from(a).checked_sub(Wide::from(b)));
            prop_assert_eq!(Wide::difference(a, a), Wide::ZERO);
        }

        #[test]
        fn scaling_is_exact_and_rounds_down(a in any_wide(), power in 0..=MAX_SCALE) {
            let ten = BigInt::from(10).pow(power.into());
            let up = big(a) * &ten;
            prop_assert_eq!(a.scaled_up(power).map(big), fits(&up).then_some(up));
            let down = big(a.scaled_down(power).unwrap());
            prop_assert!(&down * &ten <= big(a) && big(a) < (down + 1) * ten);
        }

        #[test]
        fn a_number_of_128_bits_stays_what_it_is(value: i128, a in any_wide()) {
            prop_assert_eq!(big(Wide::from_i128(value)), BigInt::from(value));
            prop_assert!(a.to_i128().is_none_or(|narrow| big(a) == BigInt::from(narrow)));
            prop_assert_eq!(Wide::from_i128(value).to_i128(), (value != i128::MIN).then_some(value));
        }

        #[test]
        fn a_number_is_written_and_read_back(a in any_wide()) {
            prop_assert_eq!(a.to_string(), big(a).to_string());
            prop_assert_eq!(a.to_string().parse(), Ok(a));
        }

        #[test]
        fn a_value_of_a_type_is_a_number_and_back(word in any::<[u64; 4]>(), bits in 1u16..=32, signed: bool) {
            let value_type = if signed { ValueType::Int(bits * 8) } else { ValueType::Uint(bits * 8) };
            let value = value_type.decode(U256::from_limbs(word), 0).unwrap();
            prop_assert_eq!(Wide::from_value(value_type, value).to_value(value_type), Some(value));
        }

        #[test]
        fn only_numbers_in_range_are_values_of_a_type(a in any_wide(), bits in 1u16..=32) {
            let bits = bits * 8;
            let one = BigInt::from(1);
            let unsigned = big(a) >= BigInt::ZERO && big(a) < (&one << bits);
            let half = &one << (bits - 1);
            let signed = big(a) >= -&half && big(a) < half;
            prop_assert_eq!(a.to_value(ValueType::Uint(bits)).is_some(), unsigned);
            prop_assert_eq!(a.to_value(ValueType::Int(bits)).is_some(), signed);
        }
    }

    #[test]
    fn the_most_negative_value_of_a_type_is_in_its_range() {
        let least = Wide::new(true, U512::from(128));
        assert_eq!(least.to_value(ValueType::Int(8)), Some(U256::MAX - U256::from(127)));
        assert_eq!(Wide::from(128).to_value(ValueType::Int(8)), None);
        let least = U256::from(1) << 255;
        assert_eq!(
            Wide::from_value(ValueType::Int(256), least).to_string(),
            format!("-{least}")
        );
    }

    #[test]
    fn texts_that_are_no_number_are_refused() {
        for bad in [
            "",
            "-",
            "+1",
            "1.0",
            " 1",
            "0x1",
            &"9".repeat(155),
            &"9".repeat(100_000),
        ] {
            assert!(bad.parse::<Wide>().is_err(), "{:.20}", bad);
        }
        assert_eq!("-0".parse(), Ok(Wide::ZERO));
    }
}
