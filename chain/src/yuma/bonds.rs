//! Bonds: the memory of who saw a miner's worth first, from which validators' dividends come.
//!
//! Yuma 2 keeps a moving average of normalised stake times weight; Yuma 3 one for each pair, whose rate may be "liquid": the
//! further ahead of the consensus a validator was, the faster.

use super::Input;
use super::fixed::{I32F32, ONE, ZERO, alpha_of_moving_average, exponential, normalise, proportion};
use super::matrix::{
    Matrix, SparseRow, at, normalise_columns, row_products, row_sums, scale_rows, sparse, upscale_columns,
};

/// Bonds after the epoch, as they are stored, and the dividends that they bring.
pub(super) struct Bonds {
    pub(super) kept: Matrix,
    pub(super) dividends: Vec<I32F32>,
}

/// Yuma 2.
pub(super) fn classic(
    input: &Input<'_>,
    old: Matrix,
    weights: &Matrix,
    stakes: &[I32F32],
    incentive: &[I32F32],
) -> Bonds {
    let columns = input.n();
    let mut old = old;
    normalise_columns(&mut old, columns);
    let mut delta = scale_rows(weights, stakes);
    normalise_columns(&mut delta, columns);
    let mut kept = average(&delta, &old, alpha_of_moving_average(input.bonds_moving_average));
    normalise_columns(&mut kept, columns);
    let mut dividends = row_products(&kept, incentive);
    normalise(&mut dividends);
    upscale_columns(&mut kept, columns);
    Bonds { kept, dividends }
}

/// Yuma 3.
pub(super) fn per_pair(
    input: &Input<'_>,
    mut old: Matrix,
    weights: &Matrix,
    stakes: &[I32F32],
    incentive: &[I32F32],
    consensus: &[I32F32],
) -> Bonds {
    for (_, bond) in old.iter_mut().flatten() {
        *bond = super::fixed::divide(*bond, I32F32::from_num(u16::MAX));
    }
    let kept = if input.liquid_alpha && consensus.iter().any(|value| *value != ZERO) {
        liquid_average(input, weights, &old, consensus)
    } else {
        average(weights, &old, alpha_of_moving_average(input.bonds_moving_average))
    };
    let mut shares = kept.clone();
    normalise_columns(&mut shares, input.n());
    let products: Matrix = shares
        .iter()
        .map(|row| {
            row.iter()
                .map(|(column, value)| (*column, value.saturating_mul(at(incentive, *column))))
                .collect()
        })
        .collect();
    let mut dividends: Vec<I32F32> = row_sums(&products)
        .iter()
        .zip(stakes)
        .map(|(total, stake)| total.checked_mul(*stake).unwrap_or(ZERO))
        .collect();
    normalise(&mut dividends);
    Bonds { kept, dividends }
}

/// `alpha * new + (1 - alpha) * old`; what is missing on a side counts as 0, and only positive entries stay.
fn average(new: &Matrix, old: &Matrix, alpha: I32F32) -> Matrix {
    let rest = ONE.saturating_sub(alpha);
    let columns = new.len();
    new.iter()
        .zip(old)
        .map(|(new, old)| {
            let mut sums = vec![ZERO; columns];
            let parts = new.iter().map(|entry| (entry, alpha));
            for ((column, value), factor) in parts.chain(old.iter().map(|entry| (entry, rest))) {
                if let Some(sum) = sums.get_mut(usize::from(*column)) {
                    *sum = sum.saturating_add(factor.saturating_mul(*value));
                }
            }
            sparse(sums.into_iter())
        })
        .collect()
}

/// The average with a rate for each pair. An old bond lives on only where the new row has an entry, be it 0: that is so on the
/// chain, where a validator that drops a miner from its row loses the bond at once.
fn liquid_average(input: &Input<'_>, new: &Matrix, old: &Matrix, consensus: &[I32F32]) -> Matrix {
    let curve = Curve {
        low: I32F32::from_bits(input.alpha_low_bits),
        high: I32F32::from_bits(input.alpha_high_bits),
        steepness: I32F32::from_num(input.alpha_sigmoid_steepness),
    };
    new.iter()
        .zip(old)
        .map(|(new, old)| {
            let rates: Vec<I32F32> = walk(new, consensus.len())
                .zip(walk(old, consensus.len()))
                .zip(consensus)
                .map(|((weight, bond), consensus)| curve.rate(*consensus, weight, bond))
                .collect();
            let mut decayed = vec![ZERO; rates.len()];
            for (column, bond) in old {
                if let Some(place) = decayed.get_mut(usize::from(*column)) {
                    *place = ONE.saturating_sub(at(&rates, *column)).saturating_mul(*bond);
                }
            }
            new.iter()
                .map(|(column, weight)| {
                    let gained = at(&rates, *column).saturating_mul(*weight).max(ZERO);
                    (*column, at(&decayed, *column).saturating_add(gained).min(ONE))
                })
                .filter(|(_, bond)| *bond > ZERO)
                .collect()
        })
        .collect()
}

/// The entries of a row column by column, read in one pass as the chain reads it: an entry that stands after a greater column
/// is passed over (rows come in the order in which a validator sent them).
fn walk(row: &SparseRow, columns: usize) -> impl Iterator<Item = I32F32> + '_ {
    let mut entries = row.iter().peekable();
    (0..columns).map(move |place| {
        while entries.next_if(|(column, _)| usize::from(*column) < place).is_some() {}
        entries
            .peek()
            .filter(|(column, _)| usize::from(*column) == place)
            .map_or(ZERO, |(_, value)| *value)
    })
}

/// The liquid rate.
struct Curve {
    low: I32F32,
    high: I32F32,
    steepness: I32F32,
}

impl Curve {
    fn rate(&self, consensus: I32F32, weight: I32F32, bond: I32F32) -> I32F32 {
        let (a, b) = if weight >= bond {
            (weight, consensus)
        } else {
            (bond, weight)
        };
        let distance = a.saturating_sub(b).min(ONE).max(ZERO);
        let exponent = self
            .steepness
            .saturating_div(I32F32::from_num(-100))
            .saturating_mul(distance.saturating_sub(I32F32::from_bits(1 << 31)));
        let sigmoid = ONE.saturating_div(ONE.saturating_add(exponential(exponent)));
        let rate = self
            .low
            .saturating_add(sigmoid.saturating_mul(self.high.saturating_sub(self.low)));
        rate.min(self.high).max(self.low)
    }
}

/// The bits of a liquid rate that is stored as a share of 65535.
pub fn alpha_bits(share: u16) -> i64 {
    proportion(share).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_was_not_sent_in_order_is_read_as_the_chain_reads_it() {
        let row: SparseRow = vec![(2, ONE), (0, ONE), (3, ONE)];
        let read: Vec<I32F32> = walk(&row, 5).collect();
        assert_eq!(read, [ZERO, ZERO, ONE, ONE, ZERO]);
    }

    #[test]
    fn the_rate_lies_between_its_bounds_and_grows_with_the_distance() {
        let curve = Curve {
            low: proportion(45875),
            high: proportion(58982),
            steepness: I32F32::from_num(1000),
        };
        let rates: Vec<I32F32> = (0..=10)
            .map(|tenth| curve.rate(ZERO, I32F32::from_num(tenth) / 10, ZERO))
            .collect();
        assert!(rates.windows(2).all(|pair| pair[0] <= pair[1]), "{rates:?}");
        assert!(rates[0] >= curve.low && rates[10] <= curve.high);
        let middle: f64 = rates[5].to_num();
        assert!((middle - 0.8).abs() < 1e-4, "{middle}");
    }
}
