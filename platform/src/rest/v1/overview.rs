//! `/v1/overview`: sums, rates and latencies of the whole network, as the page's first view shows them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::Reading;
use super::problem::Problem;
use crate::log::LogError;
use crate::rest::Rest;
use crate::standing::percentile_of;
use crate::store::Store;

/// The database is not asked again for so long, however many ask.
const FRESH: Duration = Duration::from_millis(900);
/// Over how long rates are measured.
const WINDOW: Duration = Duration::from_secs(10);
/// Reports whose times are looked at.
const REPORTS: u32 = 1_000;

/// What goes on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// Distinct pending transactions, since the beginning.
    pub transactions: u64,
    /// Those that came in a second, over the last ten; absent until two moments are known.
    pub transactions_per_second: Option<f64>,
    /// Those that wait to be included.
    pub pending: u64,
    /// Those with at least one report.
    pub judged: u64,
    /// Verdicts over all reports.
    pub holds: u64,
    /// The same.
    pub violated: u64,
    /// The same.
    pub undecided: u64,
    /// Sums over all reports.
    pub challenges: u64,
    /// The same.
    pub answers: u64,
    /// The same.
    pub agreed: u64,
    /// Judged by a validator's own engine.
    pub arbitrated: u64,
    /// Confirmed violations.
    pub incidents: u64,
    /// The invariant set in force.
    pub invariant_set_version: u64,
    /// From the log to the report, of the newest 1,000 reports: half were faster, milliseconds.
    pub p50_ms: Option<u64>,
    /// 95 of a hundred were.
    pub p95_ms: Option<u64>,
    /// 99 of a hundred were.
    pub p99_ms: Option<u64>,
}

/// The overview, looked up once for all who ask.
#[derive(Debug, Clone, Default)]
pub(in crate::rest) struct Watch(Arc<Mutex<Looked>>);

#[derive(Debug, Default)]
struct Looked {
    last: Option<(Instant, Overview)>,
    /// How many transactions there were, oldest first.
    counts: VecDeque<(Instant, u64)>,
}

impl Looked {
    /// Transactions a second since the oldest moment of the window.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    fn rate(&mut self, now: Instant, transactions: u64) -> Option<f64> {
        while self
            .counts
            .get(1)
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW)
        {
            self.counts.pop_front();
        }
        let rate = self.counts.front().map(|(at, before)| {
            let seconds = now.saturating_duration_since(*at).as_secs_f64().max(0.001);
            let rate = transactions.saturating_sub(*before) as f64 / seconds;
            (rate * 10.0).round() / 10.0
        });
        self.counts.push_back((now, transactions));
        rate
    }
}

impl Watch {
    pub(super) async fn now(&self, store: &Store) -> Result<Overview, LogError> {
        let mut looked = self.0.lock().await;
        if let Some((at, overview)) = &looked.last
            && at.elapsed() < FRESH
        {
            return Ok(overview.clone());
        }
        let status = store.status(None).await?;
        let mut times: Vec<u64> = store
            .report_times(REPORTS)
            .await?
            .into_iter()
            .map(|(_, _, took)| took)
            .collect();
        times.sort_unstable();
        let now = Instant::now();
        let overview = Overview {
            transactions: status.transactions,
            transactions_per_second: looked.rate(now, status.transactions),
            pending: store.waiting_count().await?,
            judged: status.judged,
            holds: status.holds,
            violated: status.violated,
            undecided: status.undecided,
            challenges: status.challenges,
            answers: status.answers,
            agreed: status.agreed,
            arbitrated: status.arbitrated,
            incidents: status.incidents,
            invariant_set_version: status.invariant_set_version,
            p50_ms: percentile_of(&times, 50),
            p95_ms: percentile_of(&times, 95),
            p99_ms: percentile_of(&times, 99),
        };
        looked.last = Some((now, overview.clone()));
        Ok(overview)
    }
}

/// What goes on
#[utoipa::path(get, path = "/v1/overview", tag = "v1", operation_id = "v1_overview_read",
    responses((status = 200, body = Overview), Reading))]
pub(super) async fn read(State(rest): State<Rest>) -> Result<Json<Overview>, Problem> {
    Ok(Json(rest.watch.now(&rest.store).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_over_the_last_ten_seconds() {
        let mut looked = Looked::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(looked.rate(at(0), 100), None);
        assert_eq!(looked.rate(at(1), 150), Some(50.0));
        assert_eq!(looked.rate(at(10), 1_100), Some(100.0));
        assert_eq!(looked.rate(at(21), 1_100), Some(0.0), "what was long ago is forgotten");
        assert!(looked.counts.len() <= 3);
    }
}
