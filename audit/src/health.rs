//! What others see of a running auditor: `GET /health`.
//!
//! 200 while it does its work, 503 with the reason while it does not. What always holds: nothing in it is a secret.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::{Address, U256};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::duty::wall_ms;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Shown {
    /// Why it does not do its work; `None`: it does.
    pub reason: Option<String>,
    /// EIP-155.
    pub chain_id: u64,
    /// The AuditManager.
    pub contract: Address,
    /// This node's id; 0: not registered yet.
    pub node: u32,
    /// Who reports and claims.
    pub operator: Address,
    /// Wei of the operator, as far as it was read.
    pub operator_wei: Option<U256>,
    /// Number of the newest head.
    pub head: u64,
    /// Its time, Unix seconds.
    pub head_timestamp: u64,
    /// Number of the running epoch.
    pub epoch: u32,
    /// The reward date, Unix seconds.
    pub next_reward: u64,
    /// How many measure this node, and how many should.
    pub group: (usize, usize),
    /// How many it measures.
    pub duties: usize,
    /// When peers were measured last (Unix milliseconds of the wall clock); 0: not yet.
    pub measured_ms: u64,
    /// The chain's time of the newest tick, Unix seconds.
    pub measured_at: u64,
    /// Samples of the newest tick: up, down, unknown.
    pub tick: (usize, usize, usize),
    /// Samples that wait for the database.
    pub unwritten: usize,
    /// Since when this auditor is offline itself (Unix milliseconds); `None`: it is not.
    pub offline_since_ms: Option<u64>,
    /// The newest error, and when (Unix milliseconds).
    pub last_error: Option<(u64, String)>,
}

/// The state behind `GET /health`.
#[derive(Debug, Clone)]
pub struct Health {
    shown: Arc<Mutex<Shown>>,
    max_head_age: Duration,
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
        self.update(|shown| shown.last_error = Some((wall_ms(), text)));
    }

    /// What is shown now.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let age = (wall_ms() / 1_000).saturating_sub(shown.head_timestamp);
        if shown.reason.is_none() && age > self.max_head_age.as_secs() {
            shown.reason = Some(format!("the newest head is {age} s old"));
        }
        if shown.reason.is_none() && shown.offline_since_ms.is_some() {
            shown.reason = Some("this auditor reaches no reference: it is offline itself".to_owned());
        }
        if shown.reason.is_none() && shown.unwritten > 0 {
            shown.reason = Some(format!("{} samples wait for the database", shown.unwritten));
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
    fn an_auditor_is_unhealthy_with_an_old_head_offline_or_without_its_database() {
        let health = Health::new(Duration::from_secs(60), Shown::default());
        assert!(health.shown().reason.is_some());
        health.update(|shown| {
            shown.reason = None;
            shown.head_timestamp = wall_ms() / 1_000;
        });
        assert_eq!(health.shown().reason, None);
        health.update(|shown| shown.unwritten = 3);
        assert!(health.shown().reason.unwrap().contains("3 samples"));
        health.update(|shown| shown.offline_since_ms = Some(1));
        assert!(health.shown().reason.unwrap().contains("offline itself"));
        health.update(|shown| shown.head_timestamp -= 1_000);
        assert!(health.shown().reason.unwrap().contains("old"));
    }
}
