//! Where the feed and the reports stand.

use protos::v1;
use sqlx::Row;

use super::{Store, unsigned};
use crate::log::LogError;

impl Store {
    /// The sums, with `feed_ended` for the feed of this name. `validators_connected` and a live feed's
    /// own state are not the database's to know.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status(&self, feed: Option<&str>) -> Result<v1::StatusResponse, LogError> {
        // One statement: all figures are of the same moment.
        let row = sqlx::query(
            "SELECT t.*, (SELECT coalesce(max(cursor), 0) FROM items) AS last_cursor,
               coalesce((SELECT ended FROM feeds WHERE name = $1), 0) AS feed_ended,
               (SELECT version FROM registry) AS version
             FROM totals t",
        )
        .bind(feed)
        .fetch_one(self.pool())
        .await?;
        let number = |column: &str| row.try_get::<i64, _>(column).map(unsigned);
        Ok(v1::StatusResponse {
            last_cursor: number("last_cursor")?,
            feed_ended: number("feed_ended")? != 0,
            transactions: number("transactions")?,
            assigned: number("assigned")?,
            reported: number("reported")?,
            executed: number("executed")?,
            judged: number("judged")?,
            holds: number("holds")?,
            violated: number("violated")?,
            undecided: number("undecided")?,
            challenges: number("challenges")?,
            answers: number("answers")?,
            agreed: number("agreed")?,
            arbitrated: number("arbitrated")?,
            incidents: number("incidents")?,
            validators_connected: 0,
            invariant_set_version: number("version")?,
            feed: None,
        })
    }
}
