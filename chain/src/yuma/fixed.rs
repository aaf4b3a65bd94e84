//! The numbers of Yuma: `I32F32` of the crate substrate-fixed, as Subtensor uses it, and what it does with vectors of them.
//!
//! Products and quotients truncate, sums saturate, a quotient that does not exist is 0 (Subtensor's `safe_div`). Nothing here
//! rounds in another way than the chain does; that is what makes the epoch exact to the bit.

use substrate_fixed::transcendental::exp;
pub(super) use substrate_fixed::types::I32F32;
use substrate_fixed::types::I64F64;

/// 0.
pub(super) const ZERO: I32F32 = I32F32::from_bits(0);
/// 1.
pub(super) const ONE: I32F32 = I32F32::from_bits(1 << 32);
/// Beyond it on either side the exponential is cut.
const EXP_LIMIT: i32 = 20;

/// A quotient; 0 where it does not exist or does not fit.
pub(super) fn divide(a: I32F32, b: I32F32) -> I32F32 {
    a.checked_div(b).unwrap_or(ZERO)
}

/// `value` of 65535.
pub(super) fn proportion(value: u16) -> I32F32 {
    divide(I32F32::from_num(value), I32F32::from_num(u16::MAX))
}

/// A share as the chain stores it, truncated.
pub(super) fn to_u16(share: I32F32) -> u16 {
    share.saturating_mul(I32F32::from_num(u16::MAX)).saturating_to_num()
}

/// The sum.
pub(super) fn sum<'a>(values: impl IntoIterator<Item = &'a I32F32>) -> I32F32 {
    values.into_iter().fold(ZERO, |sum, value| sum.saturating_add(*value))
}

/// Divides by the sum; zeros stay.
pub(super) fn normalise(values: &mut [I32F32]) {
    let total = sum(values.iter());
    divide_all(values, total);
}

/// Divides by `total`, unless it is 0.
pub(super) fn divide_all(values: &mut [I32F32], total: I32F32) {
    if total != ZERO {
        for value in values {
            *value = divide(*value, total);
        }
    }
}

/// Stakes (RAO) as shares of their sum: divided with 64 fractional bits, then cut to 32.
pub(super) fn stake_shares(stakes: &[u64]) -> Vec<I32F32> {
    let stakes: Vec<I64F64> = stakes.iter().map(|stake| I64F64::saturating_from_num(*stake)).collect();
    let total = stakes
        .iter()
        .fold(I64F64::from_bits(0), |sum, stake| sum.saturating_add(*stake));
    stakes
        .iter()
        .map(|stake| {
            let share = if total == I64F64::from_bits(0) {
                *stake
            } else {
                stake.checked_div(total).unwrap_or_default()
            };
            I32F32::saturating_from_num(share)
        })
        .collect()
}

/// `1 - moving_average / 10^6`: the part of the new bonds in the average.
pub(super) fn alpha_of_moving_average(moving_average: u64) -> I32F32 {
    let old = I64F64::saturating_from_num(moving_average)
        .checked_div(I64F64::from_num(1_000_000))
        .unwrap_or_default();
    ONE.saturating_sub(I32F32::saturating_from_num(old))
}

/// The exponential, its argument held between -20 and 20.
pub(super) fn exponential(x: I32F32) -> I32F32 {
    let limit = I32F32::from_num(EXP_LIMIT);
    let x = x.min(limit).max(I32F32::from_num(-EXP_LIMIT));
    match exp::<I32F32, I32F32>(x) {
        Ok(value) => value,
        Err(()) if x <= ZERO => ZERO,
        Err(()) => I32F32::max_value(),
    }
}

/// Which entries are among the `k` greatest and not 0. Of equals the later ones win (an ascending stable sort loses its head).
pub(super) fn top_nonzero(values: &[I32F32], k: usize) -> Vec<bool> {
    let mut winners: Vec<bool> = values.iter().map(|value| *value != ZERO).collect();
    let mut order: Vec<(usize, I32F32)> = values.iter().copied().enumerate().collect();
    order.sort_by_key(|(_, value)| *value);
    for (place, _) in order.iter().take(values.len().saturating_sub(k)) {
        if let Some(winner) = winners.get_mut(*place) {
            *winner = false;
        }
    }
    winners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_is_zero() {
        assert_eq!(divide(ONE, ZERO), ZERO);
        assert_eq!(divide(I32F32::max_value(), I32F32::from_bits(1)), ZERO, "does not fit");
        assert_eq!(to_u16(proportion(65535)), 65535);
        assert_eq!(to_u16(proportion(32767)), 32766, "truncated twice, as on the chain");
    }

    #[test]
    fn of_equals_the_later_ones_win() {
        let two = I32F32::from_num(2);
        assert_eq!(top_nonzero(&[ONE, ONE, two, ZERO], 2), [false, true, true, false]);
        assert_eq!(top_nonzero(&[ONE, ONE, two, ZERO], 9), [true, true, true, false]);
        assert_eq!(top_nonzero(&[ONE], 0), [false]);
    }

    /// Subtensor's `test_exp_safe`: within a millionth of the exponential, and cut at 20.
    #[test]
    fn the_exponential_is_cut() {
        for x in [-20i32, -5, -1, 0, 1, 2, 10] {
            let value: f64 = exponential(I32F32::from_num(x)).to_num();
            assert!(
                (value - f64::from(x).exp()).abs() / f64::from(x).exp().max(1.0) < 1e-4,
                "{x}: {value}"
            );
        }
        assert_eq!(exponential(I32F32::max_value()), exponential(I32F32::from_num(20)));
        assert_eq!(exponential(I32F32::min_value()), exponential(I32F32::from_num(-20)));
    }
}
