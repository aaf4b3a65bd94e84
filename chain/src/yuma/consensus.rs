//! The consensus on each miner: the greatest weight that at least a share kappa of the stake is behind, and what validators
//! said cut down to it.

use super::fixed::{I32F32, ZERO, normalise, sum};
use super::matrix::{Matrix, at};

/// The stake-weighted median of each column, over the rows with stake; `kappa` is the share that makes a majority.
pub(super) fn medians(stakes: &[I32F32], weights: &Matrix, columns: usize, kappa: I32F32) -> Vec<I32F32> {
    let rows: Vec<(usize, I32F32)> = stakes
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, stake)| *stake > ZERO)
        .collect();
    let mut shares: Vec<I32F32> = rows.iter().map(|(_, stake)| *stake).collect();
    normalise(&mut shares);
    let total = sum(shares.iter());
    let minority = total.saturating_sub(kappa);
    let mut scores = vec![vec![ZERO; shares.len()]; columns];
    for (place, (row, _)) in rows.iter().enumerate() {
        for (column, value) in weights.get(*row).into_iter().flatten() {
            if let Some(score) = scores
                .get_mut(usize::from(*column))
                .and_then(|column| column.get_mut(place))
            {
                *score = *value;
            }
        }
    }
    scores
        .iter()
        .map(|column| median(&shares, column, minority, total))
        .collect()
}

/// The median of `scores` weighted by `stakes`: the greatest score below which there is not more than `minority` of the stake.
///
/// Searched as the chain searches it, by halving around the middle element, because sums of truncated shares make the order of
/// additions visible at ties.
fn median(stakes: &[I32F32], scores: &[I32F32], minority: I32F32, total: I32F32) -> I32F32 {
    let mut part: Vec<(I32F32, I32F32)> = scores.iter().copied().zip(stakes.iter().copied()).collect();
    // Stake below the part, and stake below or in it.
    let (mut below, mut upto) = (ZERO, total);
    loop {
        let Some((pivot, _)) = part.get(part.len() / 2).copied() else {
            return ZERO;
        };
        if part.len() == 1 {
            return pivot;
        }
        let lower: Vec<_> = part.iter().copied().filter(|(score, _)| *score < pivot).collect();
        let upper: Vec<_> = part.iter().copied().filter(|(score, _)| *score > pivot).collect();
        let lower_end = below.saturating_add(sum(lower.iter().map(|(_, stake)| stake)));
        let upper_start = upto.saturating_sub(sum(upper.iter().map(|(_, stake)| stake)));
        // Either side is shorter than the part, which always contains the pivot: the search ends.
        if minority < lower_end && !lower.is_empty() {
            part = lower;
            upto = lower_end;
        } else if upper_start <= minority && !upper.is_empty() {
            part = upper;
            below = upper_start;
        } else {
            return pivot;
        }
    }
}

/// No weight above the consensus of its column. What is cut to 0 is dropped, an explicit 0 stays.
pub(super) fn clip(weights: &Matrix, consensus: &[I32F32]) -> Matrix {
    weights
        .iter()
        .map(|row| {
            row.iter()
                .map(|(column, value)| (*column, *value, at(consensus, *column)))
                .filter(|(_, value, cap)| cap >= value || *cap > ZERO)
                .map(|(column, value, cap)| (column, value.min(cap)))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fixed(values: &[f64]) -> Vec<I32F32> {
        values.iter().map(|value| I32F32::from_num(*value)).collect()
    }

    fn of(stakes: &[f64], scores: &[f64], kappa: f64) -> f64 {
        let mut stakes = fixed(stakes);
        normalise(&mut stakes);
        let total = sum(stakes.iter());
        median(
            &stakes,
            &fixed(scores),
            total.saturating_sub(I32F32::from_num(kappa)),
            total,
        )
        .to_num()
    }

    /// After Subtensor's `test_weighted_median`: who has more than half decides, and at exactly half the greater score wins.
    #[test]
    fn the_majority_decides() {
        assert_eq!(of(&[], &[], 0.51), 0.0);
        assert_eq!(of(&[0.51], &[1.0], 0.51), 1.0);
        assert_eq!(of(&[0.49, 0.51], &[0.5, 1.0], 0.51), 1.0);
        assert_eq!(of(&[0.51, 0.49], &[0.5, 1.0], 0.51), 0.5);
        assert_eq!(of(&[0.51, 0.0, 0.49], &[0.5, 0.75, 1.0], 0.51), 0.5);
        assert_eq!(of(&[0.49, 0.01, 0.5], &[0.5, 0.75, 1.0], 0.51), 0.75);
        assert_eq!(of(&[0.5, 0.5], &[0.5, 1.0], 0.5), 1.0);
        assert_eq!(of(&[0.5, 0.5], &[0.5, 1.0], 0.51), 0.5);
        assert_eq!(of(&[0.25; 4], &[4.0, 1.0, 3.0, 2.0], 0.5), 3.0);
        assert_eq!(of(&[0.25; 4], &[4.0; 4], 0.5), 4.0);
    }

    #[test]
    fn what_is_cut_to_nothing_is_dropped_and_an_explicit_zero_stays() {
        let weights = vec![vec![(0, I32F32::from_num(0.5)), (1, ZERO), (2, I32F32::from_num(0.5))]];
        let clipped = clip(&weights, &fixed(&[0.25, 0.0, 0.0]));
        assert_eq!(clipped, [vec![(0, I32F32::from_num(0.25)), (1, ZERO)]]);
    }

    proptest! {
        #[test]
        fn the_median_is_a_score_that_the_majority_stands_behind(
            rows in proptest::collection::vec((1u32..1000, 0u8..6), 1..24), kappa in 0u8..=100,
        ) {
            let stakes: Vec<f64> = rows.iter().map(|(stake, _)| f64::from(*stake)).collect();
            let scores: Vec<f64> = rows.iter().map(|(_, score)| f64::from(*score)).collect();
            let kappa = f64::from(kappa) / 100.0;
            let found = of(&stakes, &scores, kappa);
            prop_assert!(scores.contains(&found));
            let total: f64 = stakes.iter().sum();
            let behind = |least: f64| -> f64 {
                stakes.iter().zip(&scores).filter(|(_, score)| **score >= least).map(|(stake, _)| stake / total).sum()
            };
            // Shares are truncated at 32 bits; what is closer to kappa than that may fall on either side.
            prop_assert!(behind(found) >= kappa - 1e-6 || scores.iter().all(|score| *score >= found));
            if let Some(next) = scores.iter().copied().filter(|score| *score > found).reduce(f64::min) {
                prop_assert!(behind(next) <= kappa + 1e-6, "{} is behind {next}", behind(next));
            }
        }
    }
}
