//! The monitor's health over HTTP: `GET /health` is 200 while the service may run, 503 while it may not.
//!
//! Paid, within the grace, and not known after having been paid: the service may run. Before the first check it may not.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::rule::{Conclusion, Known};

/// The last conclusion, as others see it.
#[derive(Debug, Clone)]
pub struct Health {
    shown: Arc<watch::Sender<Option<(Known, String)>>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            shown: Arc::new(watch::channel(None).0),
        }
    }
}

impl Health {
    /// Shows a conclusion from now on.
    pub fn show(&self, conclusion: &Conclusion) {
        let before = self.shown.borrow().as_ref().map(|(known, _)| *known);
        let known = match conclusion {
            Conclusion::Paid { .. } | Conclusion::Grace { .. } => Some(Known::Paid),
            Conclusion::Unpaid { .. } => Some(Known::Unpaid),
            Conclusion::Indeterminate { .. } => before,
        };
        let text = serde_json::to_string(conclusion).unwrap_or_default();
        if let Conclusion::Paid { runway, .. } = conclusion {
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            metrics::gauge!("billing_runway_seconds").set(*runway as f64);
        }
        metrics::gauge!("billing_paid").set(if known == Some(Known::Paid) { 1.0 } else { 0.0 });
        if let Some(known) = known {
            self.shown.send_replace(Some((known, text)));
        }
    }

    /// Serves `/health` until `shutdown`.
    ///
    /// # Errors
    ///
    /// When the listener fails.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        let app = axum::Router::new().route("/health", get(answer)).with_state(self);
        axum::serve(listener, app)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await
    }
}

async fn answer(State(health): State<Health>) -> Response {
    let (status, body) = match health.shown.borrow().clone() {
        Some((Known::Paid, text)) => (StatusCode::OK, text),
        Some((Known::Unpaid, text)) => (StatusCode::SERVICE_UNAVAILABLE, text),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"status":"indeterminate","reason":"not checked yet"}"#.to_owned(),
        ),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
