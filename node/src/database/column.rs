//! What a database's columns cannot hold as it is: its integers are signed, and its keys are bytes of any length.
//!
//! What does not fit is an error that names it; it is never bent into what fits. (sqlx itself reads a column as `u64` or `u16` so.)

use sqlx::{ColumnIndex, Decode, Row, Type};

/// An unsigned integer as it is stored.
///
/// # Errors
/// [`sqlx::Error::Encode`]: it is above 2^63 - 1.
pub fn signed(value: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(value).map_err(|_| sqlx::Error::Encode(format!("{value} is too large to be stored").into()))
}

/// A column of `N` bytes: a key, a hash.
///
/// # Errors
/// [`sqlx::Error::ColumnDecode`]: it has not `N` bytes; or the database fails.
pub fn fixed<'r, const N: usize, R: Row>(row: &'r R, column: &'static str) -> Result<[u8; N], sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    &'r [u8]: Decode<'r, R::Database> + Type<R::Database>,
{
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| sqlx::Error::ColumnDecode {
        index: format!("{column:?}"),
        source: format!("{} bytes, expected {N}", bytes.len()).into(),
    })
}

/// Whether the database works, and holds what no program of ours wrote: trying again is of no use.
#[must_use]
pub const fn is_damage(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_)
    )
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqliteConnection};

    use super::*;

    #[test]
    fn what_is_too_large_is_refused() {
        assert_eq!(signed(i64::MAX as u64).unwrap(), i64::MAX);
        let error = signed(1 << 63).unwrap_err();
        assert!(error.to_string().contains("9223372036854775808"), "{error}");
        assert!(!is_damage(&error));
    }

    #[tokio::test]
    async fn what_nobody_wrote_is_told_by_its_column() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let row = sqlx::query("SELECT x'0102' AS short, -1 AS negative, 65536 AS wide")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(fixed::<2, _>(&row, "short").unwrap(), [1, 2]);
        let errors = [
            fixed::<32, _>(&row, "short").map(drop),
            row.try_get::<u64, _>("negative").map(drop),
            row.try_get::<u16, _>("wide").map(drop),
        ];
        for (error, column) in errors.into_iter().zip(["short", "negative", "wide"]) {
            let error = error.unwrap_err();
            assert!(is_damage(&error) && error.to_string().contains(column), "{error}");
        }
    }
}
