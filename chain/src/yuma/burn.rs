//! What a registration costs: it rises with each one and halves with time (spec 425, `subnets/registration.rs`).
//!
//! The factor of one block is the greatest 32-bit fraction whose power to the half-life is at most one half, so that every node
//! computes the same price.

use substrate_fixed::types::U64F64;

/// 1 with 32 fractional bits.
const ONE: u64 = 1 << 32;

/// The price after one more registration: times `increase` thousandths (never less than 1), within the bounds.
///
/// The chain keeps the factor as `U64F64::from_num(1.26)`: the nearest double, which is a little more than 1.26. Dividing in fixed
/// point would cut it to a little less, and the price would be one RAO short.
pub fn raise(burn: u64, increase: u64, min: u64, max: u64) -> u64 {
    #[allow(
        clippy::cast_precision_loss,
        reason = "a factor of more than 2^53 thousandths is past every maximum"
    )]
    let factor = U64F64::saturating_from_num(increase as f64 / 1_000.0).max(U64F64::from_num(1));
    let raised: u64 = U64F64::saturating_from_num(burn)
        .saturating_mul(factor)
        .saturating_to_num();
    bounded(raised, min, max)
}

/// The price one block later, within the bounds. A half-life of 0 keeps it.
pub fn decay(burn: u64, half_life: u64, min: u64, max: u64) -> u64 {
    let after = match half_life {
        0 => burn,
        half_life => multiply(burn, factor(half_life)),
    };
    bounded(after, min, max)
}

fn bounded(burn: u64, min: u64, max: u64) -> u64 {
    burn.max(min).min(max)
}

fn factor(half_life: u64) -> u64 {
    let (mut low, mut high) = (0, ONE);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if power(middle, half_life) > ONE / 2 {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

fn power(base: u64, exponent: u64) -> u64 {
    let (mut result, mut square, mut left) = (ONE, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = multiply(result, square);
        }
        left >>= 1;
        if left > 0 {
            square = multiply(square, square);
        }
    }
    result
}

fn multiply(value: u64, factor: u64) -> u64 {
    let product = (u128::from(value) * u128::from(factor)) >> 32;
    u64::try_from(product).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAO: u64 = 1_000_000_000;

    #[test]
    fn a_registration_raises_the_price_by_26_percent() {
        assert_eq!(
            raise(TAO, 1_260, 500_000, 100 * TAO),
            1_260_000_000,
            "the double next to 1.26 is above it"
        );
        assert_eq!(
            raise(TAO / 2_000, 1_260, 500_000, 100 * TAO),
            630_000,
            "the lowest price"
        );
        assert_eq!(raise(90 * TAO, 1_260, 500_000, 100 * TAO), 100 * TAO);
        assert_eq!(raise(0, 1_260, 500_000, 100 * TAO), 500_000);
        assert_eq!(raise(TAO, 500, 0, u64::MAX), TAO, "it never falls by a registration");
    }

    #[test]
    fn the_price_halves_in_a_half_life() {
        let mut burn = TAO;
        for _ in 0..360 {
            burn = decay(burn, 360, 500_000, 100 * TAO);
        }
        assert!((burn as f64 / TAO as f64 - 0.5).abs() < 1e-6, "{burn}");
        assert_eq!(decay(TAO, 0, 0, u64::MAX), TAO);
        assert_eq!(decay(TAO, 360, 2 * TAO, u64::MAX), 2 * TAO, "the floor lifts it");
    }

    proptest! {
        #[test]
        fn within_its_bounds_whatever_happens(burn: u64, half_life in 0u64..65_536, min in 0u64..1000, span: u64) {
            let max = min.saturating_add(span);
            prop_assert!((min..=max).contains(&decay(burn, half_life, min, max)));
            prop_assert!((min..=max).contains(&raise(burn, 1_260, min, max)));
            prop_assert!(decay(burn, half_life, 0, u64::MAX) <= burn);
        }
    }
}
