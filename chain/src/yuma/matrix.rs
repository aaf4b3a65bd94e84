//! Matrices of validators (rows) and miners (columns) of which only set entries are kept.
//!
//! An explicit 0 is an entry: some rules tell it from a missing one (Subtensor's sparse epoch does, and the difference shows in
//! bonds). Rows keep the order in which their entries came.

use super::fixed::{I32F32, ZERO, divide, sum};

/// Pairs of column and value.
pub(super) type SparseRow = Vec<(u16, I32F32)>;

/// Rows by uid.
pub(super) type Matrix = Vec<SparseRow>;

/// The entry of a vector; 0 beyond its end.
pub(super) fn at(vector: &[I32F32], column: u16) -> I32F32 {
    vector.get(usize::from(column)).copied().unwrap_or(ZERO)
}

/// Drops the entries of which `keep(row, column)` is false.
pub(super) fn retain(matrix: &mut Matrix, keep: impl Fn(usize, u16) -> bool) {
    for (place, row) in matrix.iter_mut().enumerate() {
        row.retain(|(column, _)| keep(place, *column));
    }
}

/// Divides each row by its sum; a row of zeros stays.
pub(super) fn normalise_rows(matrix: &mut Matrix) {
    for row in matrix {
        let total = sum(row.iter().map(|(_, value)| value));
        if total > ZERO {
            for (_, value) in row {
                *value = divide(*value, total);
            }
        }
    }
}

/// Each row's sum.
pub(super) fn row_sums(matrix: &Matrix) -> Vec<I32F32> {
    matrix
        .iter()
        .map(|row| sum(row.iter().map(|(_, value)| value)))
        .collect()
}

/// Divides each column by its sum; a column of zeros stays.
pub(super) fn normalise_columns(matrix: &mut Matrix, columns: usize) {
    divide_columns(matrix, columns, I32F32::saturating_add);
}

/// Divides each column by its greatest value; a column of zeros stays.
pub(super) fn upscale_columns(matrix: &mut Matrix, columns: usize) {
    divide_columns(matrix, columns, I32F32::max);
}

fn divide_columns(matrix: &mut Matrix, columns: usize, gather: impl Fn(I32F32, I32F32) -> I32F32) {
    let mut divisors = vec![ZERO; columns];
    for (column, value) in matrix.iter().flatten() {
        if let Some(divisor) = divisors.get_mut(usize::from(*column)) {
            *divisor = gather(*divisor, *value);
        }
    }
    for (column, value) in matrix.iter_mut().flatten() {
        let divisor = at(&divisors, *column);
        if divisor != ZERO {
            *value = divide(*value, divisor);
        }
    }
}

/// Each row times its factor.
pub(super) fn scale_rows(matrix: &Matrix, factors: &[I32F32]) -> Matrix {
    matrix
        .iter()
        .zip(factors)
        .map(|(row, factor)| {
            row.iter()
                .map(|(column, value)| (*column, value.saturating_mul(*factor)))
                .collect()
        })
        .collect()
}

/// `sum_i factors_i * m_ij` for each column j.
pub(super) fn column_products(matrix: &Matrix, factors: &[I32F32], columns: usize) -> Vec<I32F32> {
    let mut products = vec![ZERO; columns];
    for (row, factor) in matrix.iter().zip(factors) {
        for (column, value) in row {
            if let Some(product) = products.get_mut(usize::from(*column)) {
                *product = product.saturating_add(factor.saturating_mul(*value));
            }
        }
    }
    products
}

/// `sum_j m_ij * factors_j` for each row i.
pub(super) fn row_products(matrix: &Matrix, factors: &[I32F32]) -> Vec<I32F32> {
    matrix
        .iter()
        .map(|row| {
            row.iter().fold(ZERO, |product, (column, value)| {
                product.saturating_add(at(factors, *column).saturating_mul(*value))
            })
        })
        .collect()
}

/// `a + ratio * (b - a)`, of which only positive entries stay; at 0 and 1 it is `a` and `b` as they are.
pub(super) fn interpolate(a: &Matrix, b: &Matrix, columns: usize, ratio: I32F32) -> Matrix {
    if ratio == ZERO {
        return a.clone();
    }
    if ratio == super::fixed::ONE {
        return b.clone();
    }
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            let (a, b) = (dense(a, columns), dense(b, columns));
            sparse(a.iter().zip(&b).map(|(a, b)| {
                let step = ratio.saturating_mul(b.saturating_sub(*a));
                a.saturating_add(step)
            }))
        })
        .collect()
}

/// A row with its missing entries as 0; where a column stands twice, the last counts.
pub(super) fn dense(row: &SparseRow, columns: usize) -> Vec<I32F32> {
    let mut values = vec![ZERO; columns];
    for (column, value) in row {
        if let Some(place) = values.get_mut(usize::from(*column)) {
            *place = *value;
        }
    }
    values
}

/// The positive entries of a row.
pub(super) fn sparse(values: impl Iterator<Item = I32F32>) -> SparseRow {
    (0u16..).zip(values).filter(|(_, value)| *value > ZERO).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[(u16, f64)]) -> SparseRow {
        values.iter().map(|(j, v)| (*j, I32F32::from_num(*v))).collect()
    }

    #[test]
    fn an_explicit_zero_is_an_entry() {
        let mut matrix = vec![row(&[(1, 0.0), (2, 4.0)]), row(&[(0, 0.0)]), row(&[])];
        normalise_rows(&mut matrix);
        assert_eq!(matrix, [row(&[(1, 0.0), (2, 1.0)]), row(&[(0, 0.0)]), row(&[])]);
    }

    #[test]
    fn columns_are_divided_by_their_sum_or_their_greatest() {
        let start = vec![row(&[(0, 1.0), (2, 3.0)]), row(&[(2, 1.0), (1, 0.0)])];
        let mut sums = start.clone();
        normalise_columns(&mut sums, 3);
        assert_eq!(sums, [row(&[(0, 1.0), (2, 0.75)]), row(&[(2, 0.25), (1, 0.0)])]);
        let mut greatest = start;
        upscale_columns(&mut greatest, 3);
        assert_eq!(row_sums(&greatest)[0], I32F32::from_num(2));
    }

    /// Subtensor's `test_interpolate_sparse`: halfway, a column that one side lacks counts as 0 there.
    #[test]
    fn halfway_a_missing_entry_counts_as_zero() {
        let (a, b) = (vec![row(&[(0, 1.0), (1, 0.5)])], vec![row(&[(1, 1.0), (2, 0.0)])]);
        let half = I32F32::from_num(0.5);
        assert_eq!(interpolate(&a, &b, 3, half), [row(&[(0, 0.5), (1, 0.75)])]);
        assert_eq!(interpolate(&a, &b, 3, ZERO), a);
        assert_eq!(
            interpolate(&a, &b, 3, I32F32::from_num(1)),
            b,
            "explicit zeros stay at the ends"
        );
    }
}
