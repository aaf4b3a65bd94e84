//! Many rows in one statement: a batch costs a few round trips to the database, not one for each row. Pure.
//!
//! Rows are cut into runs whose lengths are powers of two: so there are few different statements, and each is prepared once.

/// The longest run. Times the columns of any table here it stays far below what either database takes (SQLite: 32,766).
const LONGEST: usize = 64;

/// The rows in runs, in their order.
pub(super) fn runs<T>(mut rows: &[T]) -> Vec<&[T]> {
    let mut runs = Vec::new();
    let mut length = LONGEST;
    while !rows.is_empty() {
        while let Some((run, rest)) = rows.split_at_checked(length) {
            runs.push(run);
            rows = rest;
            if rest.is_empty() {
                return runs;
            }
        }
        length /= 2;
    }
    runs
}

/// `($1, $2), ($3, $4)`: so many rows of so many columns.
pub(super) fn values(rows: usize, columns: usize) -> String {
    let row = |row: usize| format!("({})", list(columns, row * columns + 1));
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// `$3, $4, $5`: so many parameters from a number on.
pub(super) fn list(many: usize, first: usize) -> String {
    let parameter = |number: usize| format!("${number}");
    (first..first + many).map(parameter).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_numbered_through() {
        assert_eq!(values(2, 3), "($1, $2, $3), ($4, $5, $6)");
        assert_eq!(list(2, 5), "$5, $6");
    }

    proptest! {
        #[test]
        fn runs_hold_every_row_once_in_order_and_are_powers_of_two(rows in proptest::collection::vec(any::<u16>(), 0..400)) {
            let runs = runs(&rows);
            prop_assert!(runs.iter().all(|run| run.len().is_power_of_two() && run.len() <= LONGEST));
            prop_assert!(runs.len() <= rows.len() / LONGEST + 6);
            prop_assert_eq!(runs.concat(), rows);
        }
    }
}
