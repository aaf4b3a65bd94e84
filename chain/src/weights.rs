//! Weights as the chain keeps them: 16-bit integers of which only the ratios count.
//!
//! [`max_upscale`] is what Subtensor does to every row that is set (`epoch/math.rs`, `vec_max_upscale_to_u16`), bit for
//! bit; [`normalize`] is what a validator does to its scores before (the SDK's `normalize`).

/// I32F32: 32 fractional bits.
const FRACTION: u32 = 32;
const HALF: i128 = 1 << (FRACTION - 1);
const U16_MAX: i64 = (u16::MAX as i64) << FRACTION;
/// Above it `x * 65535` would not fit in I32F32, so the chain divides first; the two ways differ in the last bit.
const THRESHOLD: i64 = 32768 << FRACTION;

/// Scales a row so that its largest value becomes 65535, as `set_weights` does on the chain. A row of zeros stays.
pub fn max_upscale(values: &[u16]) -> Vec<u16> {
    upscale_bits(
        &values
            .iter()
            .map(|value| i64::from(*value) << FRACTION)
            .collect::<Vec<_>>(),
    )
}

/// The same rule on the bits of non-negative I32F32 numbers.
pub(crate) fn upscale_bits(values: &[i64]) -> Vec<u16> {
    let max = values.iter().copied().max().unwrap_or(0);
    let scaled = |value: i64| -> i128 {
        if max <= 0 {
            multiply(value, U16_MAX)
        } else if max > THRESHOLD {
            multiply(value, saturate((i128::from(U16_MAX) << FRACTION) / i128::from(max)))
        } else {
            (multiply(value, U16_MAX) << FRACTION) / i128::from(max)
        }
    };
    // `round` is half away from zero; nothing here is negative.
    values
        .iter()
        .map(|value| u16::try_from((scaled(*value) + HALF) >> FRACTION).unwrap_or(u16::MAX))
        .collect()
}

fn multiply(a: i64, b: i64) -> i128 {
    i128::from(saturate((i128::from(a) * i128::from(b)) >> FRACTION))
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Turns scores into a row to set: `round(score / max * 65535)`, halves to even, zeros dropped (the SDK's `normalize`).
///
/// Scores that are not finite or not positive count as zero. Without a positive score the row is empty: setting it
/// would be refused, and the caller has nothing to say.
pub fn normalize(scores: &[(u16, f64)]) -> (Vec<u16>, Vec<u16>) {
    let usable = |score: f64| if score.is_finite() && score > 0.0 { score } else { 0.0 };
    let max = scores.iter().map(|(_, score)| usable(*score)).fold(0.0, f64::max);
    if max == 0.0 {
        return (Vec::new(), Vec::new());
    }
    scores
        .iter()
        .map(|(uid, score)| {
            let value = (usable(*score) / max * f64::from(u16::MAX)).round_ties_even();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 65535 by construction")]
            let value = value as u16;
            (*uid, value)
        })
        .filter(|(_, value)| *value > 0)
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fixed(values: &[f32]) -> Vec<i64> {
        // The chain's `from_num` on a float rounds to the nearest multiple of 2^-32, ties to even.
        values
            .iter()
            .map(|v| (f64::from(*v) * 4_294_967_296.0).round_ties_even() as i64)
            .collect()
    }

    /// The cases of Subtensor's `test_vec_max_upscale_to_u16`.
    #[test]
    fn the_chains_own_fixed_point_cases_hold() {
        for (values, expected) in [
            (&[][..], &[][..]),
            (&[0.], &[0]),
            (&[0., 0.], &[0, 0]),
            (&[0., 1.], &[0, 65535]),
            (&[0., 0.000_000_001], &[0, 65535]),
            (&[0., 0.000_016, 1.], &[0, 1, 65535]),
            (&[0.000_000_001, 0.000_000_001], &[65535, 65535]),
            (
                &[0.000_001, 0.000_006, 0.000_007, 0.0001, 0.001, 0.01, 0.1, 0.2, 0.3, 0.4],
                &[0, 1, 1, 16, 164, 1638, 16384, 32768, 49151, 65535],
            ),
            (&[16384.], &[65535]),
            (&[32768.], &[65535]),
            (&[32769.], &[65535]),
            (&[65535.], &[65535]),
            (&[0., 1., 65535.], &[0, 1, 65535]),
            (&[0., 0.5, 1., 1.5, 2., 32768.], &[0, 1, 2, 3, 4, 65535]),
            (&[0., 0.5, 1., 1.5, 2., 32768., 32769.], &[0, 1, 2, 3, 4, 65533, 65535]),
        ] {
            assert_eq!(upscale_bits(&fixed(values)), expected, "{values:?}");
        }
        let mut with_largest = fixed(&[0., 1., 32768., 32769.]);
        with_largest.push(i64::MAX);
        assert_eq!(upscale_bits(&with_largest), [0, 0, 1, 1, 65535]);
        assert_eq!(upscale_bits(&[i64::MAX]), [65535]);
    }

    /// The cases of Subtensor's `test_vec_u16_max_upscale_to_u16`.
    #[test]
    fn the_chains_own_integer_cases_hold() {
        for (values, expected) in [
            (&[][..], &[][..]),
            (&[0], &[0]),
            (&[0, 0], &[0, 0]),
            (&[1], &[65535]),
            (&[0, 1], &[0, 65535]),
            (&[65534], &[65535]),
            (&[65535], &[65535]),
            (&[65535, 65535], &[65535, 65535]),
            (&[0, 1, 65534], &[0, 1, 65535]),
            (&[0, 1, 2, 3, 4, 65533, 65535], &[0, 1, 2, 3, 4, 65533, 65535]),
        ] {
            assert_eq!(max_upscale(values), expected, "{values:?}");
        }
    }

    #[test]
    fn above_the_threshold_the_ratio_is_truncated_before_it_is_multiplied() {
        // 21846 * 65535 / 43692 is exactly 32767.5. Divided last it rounds up; with the ratio 65535/43692 cut to 32
        // bits first it falls short of the half and rounds down, and that is what the chain stores.
        assert_eq!(max_upscale(&[21846, 43692]), [32767, 65535]);
        // The same proportion below the threshold: 10923 * 65535 / 21846 is 32767.5 and rounds up.
        assert_eq!(max_upscale(&[10923, 21846]), [32768, 65535]);
    }

    #[test]
    fn scores_become_a_row_without_its_zeros() {
        let row = normalize(&[(4, 0.5), (5, 1.0), (6, 0.0), (7, f64::NAN), (8, -1.0), (9, 1e-9)]);
        assert_eq!(row, (vec![4, 5], vec![32768, 65535]));
        assert_eq!(normalize(&[(4, 0.0), (5, f64::INFINITY)]), (vec![], vec![]));
    }

    proptest! {
        #[test]
        fn the_largest_becomes_65535_and_the_order_stays(values in proptest::collection::vec(any::<u16>(), 1..64)) {
            let scaled = max_upscale(&values);
            prop_assert_eq!(scaled.len(), values.len());
            if values.iter().any(|v| *v > 0) {
                prop_assert_eq!(scaled.iter().max(), Some(&65535));
            }
            for (i, j) in (0..values.len()).flat_map(|i| (0..values.len()).map(move |j| (i, j))) {
                if values[i] <= values[j] {
                    prop_assert!(scaled[i] <= scaled[j]);
                }
            }
            prop_assert_eq!(&max_upscale(&scaled), &scaled, "scaling twice changes nothing");
        }
    }
}
