//! `/v1/events`: server-sent events. `overview` whenever it changed, and `change` with the names of the lists that did.
//!
//! What always holds: who listens costs no query of his own (all share one look a second); there are at most 64 listeners; a stream ends
//! when the platform shuts down.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};
use utoipa::ToSchema;

use super::Reading;
use super::overview::Overview;
use super::problem::Problem;
use crate::rest::Rest;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(1);
/// A sign of life where nothing changes.
const ALIVE: Duration = Duration::from_secs(15);
/// The most listeners.
pub(in crate::rest) const LISTENERS: usize = 64;

/// An event as it arrives.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Heard {
    /// `overview`.
    pub event: String,
    /// JSON: `overview`, as `/v1/overview` gives it, and `changed`, the names of the lists that changed.
    pub data: String,
}

/// One listener.
struct Listener {
    rest: Rest,
    ticks: Interval,
    last: Option<Overview>,
    _place: OwnedSemaphorePermit,
}

/// The lists that changed from one overview to the next.
fn changed(before: &Overview, now: &Overview) -> Vec<&'static str> {
    [
        ("incidents", before.incidents != now.incidents),
        ("invariants", before.invariant_set_version != now.invariant_set_version),
        ("validators", before.judged != now.judged),
        ("miners", before.answers != now.answers),
    ]
    .into_iter()
    .filter_map(|(list, changed)| changed.then_some(list))
    .collect()
}

impl Listener {
    /// The next event; `None` at the end.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let shutdown = self.rest.shutdown.clone();
        loop {
            tokio::select! {
                _ = self.ticks.tick() => {}
                () = shutdown.cancelled() => return None,
            }
            let now = match self.rest.watch.now(&self.rest.store).await {
                Ok(now) => now,
                Err(error) => {
                    tracing::error!(%error, "the events cannot be read");
                    return None;
                }
            };
            if self.last.as_ref() == Some(&now) {
                continue;
            }
            let lists = self
                .last
                .as_ref()
                .map(|before| changed(before, &now))
                .unwrap_or_default();
            let data = json!({ "overview": now, "changed": lists });
            self.last = Some(now);
            let event = Event::default().event("overview").data(data.to_string());
            return Some((Ok(event), self));
        }
    }
}

/// Places for listeners.
pub(in crate::rest) fn places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(LISTENERS))
}

/// The overview as it changes, and which lists changed with it: server-sent events, without end
#[utoipa::path(get, path = "/v1/events", tag = "v1", operation_id = "v1_events_follow",
    responses((status = 200, description = "Server-sent events", body = Heard,
        content_type = "text/event-stream"), Reading))]
pub(super) async fn follow(State(rest): State<Rest>) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&rest.listeners).try_acquire_owned() else {
        let detail = format!("{LISTENERS} listen already; try again later, or ask /v1/overview");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        rest,
        ticks,
        last: None,
        _place: place,
    };
    let events = stream::unfold(listener, Listener::next);
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(ALIVE))
        .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_names_its_lists() {
        let before = Overview::default();
        let now = Overview {
            incidents: 1,
            invariant_set_version: 2,
            ..Overview::default()
        };
        assert_eq!(changed(&before, &now), ["incidents", "invariants"]);
        assert!(changed(&now, &now).is_empty());
    }
}
