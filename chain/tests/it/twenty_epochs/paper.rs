//! Yuma 2 in exact fractions and full matrices, from the paper's formulas: written a second time, and with none of the ledger's code.

use chain::Hyperparameters;
use chain::history::EpochEntry;
use num_bigint::BigInt;
use num_rational::BigRational as Fraction;

use super::TEMPO;

/// One uid's entries of one epoch, and the bonds that it had before.
pub(crate) struct Row<'a> {
    pub(crate) entry: &'a EpochEntry,
    pub(crate) old_bonds: &'a [(u16, u16)],
}

pub(crate) fn epoch_rows(history: &[Vec<EpochEntry>], epoch: u64) -> Vec<Row<'_>> {
    let of = |uid: usize, epoch: u64| history[uid].iter().find(|entry| entry.epoch == epoch);
    (0..history.len())
        .filter_map(|uid| {
            let entry = of(uid, epoch)?;
            let old_bonds = match of(uid, epoch.wrapping_sub(1)) {
                // Who takes a uid over has no bonds of its predecessor.
                Some(before) if before.hotkey == entry.hotkey => before.bonds.as_slice(),
                _ => &[],
            };
            Some(Row { entry, old_bonds })
        })
        .collect()
}

fn fraction(a: u64, b: u64) -> Fraction {
    Fraction::new(BigInt::from(a), BigInt::from(b))
}

fn zero() -> Fraction {
    fraction(0, 1)
}

pub(crate) fn float(value: &Fraction) -> f64 {
    // Enough digits of the quotient, and then a float of it.
    let scaled: BigInt = (value * Fraction::from(BigInt::from(10u64.pow(15)))).to_integer();
    scaled.to_string().parse::<f64>().unwrap() / 1e15
}

/// Each divided by the sum of all; all zero where there is none.
fn shares(values: &[Fraction]) -> Vec<Fraction> {
    let sum = values.iter().fold(zero(), |sum, value| sum + value);
    if sum == zero() {
        return values.to_vec();
    }
    values.iter().map(|value| value / &sum).collect()
}

fn column(matrix: &[Vec<Fraction>], j: usize) -> Vec<Fraction> {
    matrix.iter().map(|row| row[j].clone()).collect()
}

/// Every column divided by its sum.
fn column_shares(matrix: &[Vec<Fraction>]) -> Vec<Vec<Fraction>> {
    let n = matrix.len();
    let columns: Vec<Vec<Fraction>> = (0..n).map(|j| shares(&column(matrix, j))).collect();
    (0..n)
        .map(|i| (0..n).map(|j| columns[j][i].clone()).collect())
        .collect()
}

/// What the paper's formulas come to.
pub(crate) struct Exact {
    pub(crate) consensus: Vec<Fraction>,
    pub(crate) incentive: Vec<Fraction>,
    pub(crate) dividends: Vec<Fraction>,
    pub(crate) trust: Vec<Fraction>,
    pub(crate) bonds: Vec<Vec<Fraction>>,
    pub(crate) emission: Vec<Fraction>,
    pub(crate) permits: Vec<bool>,
}

/// Yuma 2 in exact fractions and full matrices, from what the ledger stored; none of the ledger's code has a part in it.
pub(crate) fn paper(rows: &[Row<'_>], params: &Hyperparameters) -> Exact {
    let n = rows.len();
    let block = rows[0].entry.block;
    let owner = |i: usize| i == 0;
    let stake: Vec<Fraction> = (0..n)
        .map(|i| match rows[i].entry.stake {
            stake if stake >= params.stake_threshold || owner(i) => fraction(stake, 1),
            _ => zero(),
        })
        .collect();
    let stake = shares(&stake);
    let mut by_stake: Vec<usize> = (0..n).filter(|i| stake[*i] > zero()).collect();
    by_stake.sort_by(|a, b| stake[*b].cmp(&stake[*a]));
    by_stake.truncate(usize::from(params.max_allowed_validators));
    let permits = (0..n).map(|i| owner(i) || by_stake.contains(&i)).collect();

    let may = |i: usize| owner(i) || rows[i].entry.validator_permit;
    let counts = |i: usize| rows[i].entry.last_update + params.activity_cutoff >= block && may(i);
    let active: Vec<Fraction> = (0..n)
        .map(|i| if counts(i) { stake[i].clone() } else { zero() })
        .collect();
    let active = shares(&active);

    let mut weights = vec![vec![zero(); n]; n];
    for i in (0..n).filter(|i| may(*i)) {
        for (j, value) in &rows[i].entry.weights {
            let j = usize::from(*j);
            let known = rows[i].entry.last_update > rows[j].entry.registered_at;
            if (i != j || owner(i)) && known {
                weights[i][j] = fraction(u64::from(*value), 65_535);
            }
        }
        weights[i] = shares(&weights[i]);
    }

    // The greatest weight that has at least kappa of the stake behind it.
    let kappa = fraction(u64::from(params.kappa), 65_535);
    let behind = |j: usize, weight: &Fraction| {
        (0..n)
            .filter(|i| weights[*i][j] >= *weight)
            .fold(zero(), |sum, i| sum + &active[i])
    };
    let consensus: Vec<Fraction> = (0..n)
        .map(|j| {
            (0..n)
                .filter(|i| active[*i] > zero())
                .map(|i| weights[i][j].clone())
                .filter(|weight| behind(j, weight) >= kappa)
                .max()
                .unwrap_or_else(zero)
        })
        .collect();
    let clipped: Vec<Vec<Fraction>> = weights
        .iter()
        .map(|row| row.iter().zip(&consensus).map(|(w, c)| w.min(c).clone()).collect())
        .collect();
    let trust = clipped
        .iter()
        .map(|row: &Vec<Fraction>| row.iter().fold(zero(), |sum, w| sum + w))
        .collect();
    let ranks: Vec<Fraction> = (0..n)
        .map(|j| (0..n).fold(zero(), |sum, i| sum + &active[i] * &clipped[i][j]))
        .collect();
    let incentive = shares(&ranks);

    let penalty = fraction(u64::from(params.bonds_penalty), 65_535);
    let last_tempo = match rows[0].entry.last_mechanism_step_block {
        0 => block - TEMPO,
        last => last + 1,
    };
    let mut bonds = vec![vec![zero(); n]; n];
    for i in 0..n {
        for (j, value) in rows[i].old_bonds {
            let j = usize::from(*j);
            if last_tempo > rows[j].entry.registered_at {
                bonds[i][j] = fraction(u64::from(*value), 65_535);
            }
        }
    }
    let bonds = column_shares(&bonds);
    let delta: Vec<Vec<Fraction>> = (0..n)
        .map(|i| {
            (0..n)
                .map(|j| {
                    let bought = &weights[i][j] + &penalty * (&clipped[i][j] - &weights[i][j]);
                    &active[i] * bought
                })
                .collect()
        })
        .collect();
    let delta = column_shares(&delta);
    let old = fraction(params.bonds_moving_average, 1_000_000);
    let new = fraction(1, 1) - &old;
    let moved: Vec<Vec<Fraction>> = (0..n)
        .map(|i| (0..n).map(|j| &new * &delta[i][j] + &old * &bonds[i][j]).collect())
        .collect();
    let moved = column_shares(&moved);
    let dividends: Vec<Fraction> = moved
        .iter()
        .map(|row| row.iter().zip(&incentive).fold(zero(), |sum, (b, i)| sum + b * i))
        .collect();
    let dividends = shares(&dividends);
    let mut stored = vec![vec![zero(); n]; n];
    for j in 0..n {
        let highest = column(&moved, j).into_iter().max().unwrap();
        if highest > zero() {
            for (i, row) in stored.iter_mut().enumerate() {
                row[j] = &moved[i][j] / &highest;
            }
        }
    }
    let both: Vec<Fraction> = incentive.iter().zip(&dividends).map(|(i, d)| i + d).collect();
    let mut combined = shares(&both);
    if both.iter().all(|value| *value == zero()) {
        combined = if active.iter().all(|value| *value == zero()) {
            stake
        } else {
            active
        };
    }
    Exact {
        consensus,
        incentive,
        dividends,
        trust,
        bonds: stored,
        emission: combined,
        permits,
    }
}
