//! What others see of a running keeper: `GET /health`.
//!
//! 200 while it does its work, 503 with the reason while it does not. What always holds: nothing in it is a secret: no key, no
//! password, no address of a node beyond scheme, host and port.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy::primitives::{Address, U256};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Shown {
    /// Why it does not do its work; `None`: it does.
    pub reason: Option<String>,
    /// EIP-155.
    pub chain_id: u64,
    /// The contract.
    pub agent: Address,
    /// This keeper's number; 0: none.
    pub keeper: u64,
    /// Who executes.
    pub worker: Address,
    /// Whether it is in the active set.
    pub active: bool,
    /// Base units.
    pub stake: U256,
    /// Wei of the worker, as far as it was read.
    pub worker_wei: Option<U256>,
    /// Number of the newest head.
    pub head: u64,
    /// Its time, Unix seconds.
    pub head_timestamp: u64,
    /// Jobs that are known.
    pub jobs: usize,
    /// Jobs that are assigned to this keeper.
    pub assigned: usize,
    /// Jobs that are set aside.
    pub aside: usize,
    /// Transactions under way.
    pub under_way: usize,
    /// Resolvers asked at the newest head.
    pub resolvers: usize,
    /// Milliseconds from the newest head to the end of all work on it.
    pub head_ms: u64,
    /// Executions and other steps that were mined and went through, since the start.
    pub done: u64,
    /// The newest error, and when (Unix seconds).
    pub last_error: Option<(u64, String)>,
}

/// The state behind `GET /health`.
#[derive(Debug, Clone)]
pub struct Health {
    shown: Arc<Mutex<Shown>>,
    max_head_age: Duration,
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

impl Health {
    /// Unhealthy until the first head is worked on.
    #[must_use]
    pub fn new(max_head_age: Duration, shown: Shown) -> Self {
        let shown = Shown {
            reason: Some("no head was worked on yet".to_owned()),
            ..shown
        };
        Self {
            shown: Arc::new(Mutex::new(shown)),
            max_head_age,
        }
    }

    /// Changes what is shown.
    pub fn update(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes an error without saying that nothing works any more.
    pub fn error(&self, error: &str) {
        let text: String = error.chars().take(300).collect();
        self.update(|shown| shown.last_error = Some((now(), text)));
    }

    /// What is shown now.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let age = now().saturating_sub(shown.head_timestamp);
        if shown.reason.is_none() && age > self.max_head_age.as_secs() {
            shown.reason = Some(format!("the newest head is {age} s old"));
        }
        shown
    }

    /// Serves `/health` until `shutdown`.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        let app = Router::new().route("/health", get(answer)).with_state(self);
        axum::serve(listener, app)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await
    }
}

async fn answer(State(health): State<Health>) -> (StatusCode, Json<Shown>) {
    let shown = health.shown();
    let status = if shown.reason.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_head_is_unhealthy_and_a_new_one_is_not() {
        let health = Health::new(Duration::from_secs(60), Shown::default());
        assert!(health.shown().reason.is_some());
        health.update(|shown| {
            shown.reason = None;
            shown.head_timestamp = now();
        });
        assert_eq!(health.shown().reason, None);
        health.update(|shown| shown.head_timestamp = now() - 1000);
        assert!(health.shown().reason.unwrap().contains("old"));
    }
}
