//! `GET /health`: what a process that serves no gRPC shows of itself.
//!
//! 200 while it does its work, 503 with the reason while it does not. The body is JSON: `reason` (null while it does its work), what the
//! process tells of itself ([`Condition`]), and `last_error`. What always holds: before the process says once that it works it does not;
//! showing and changing wait for nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Most characters that are shown of an error.
const ERROR_LENGTH: usize = 300;

/// What a process tells of itself. Nothing in it is a secret.
pub trait Condition: Clone + Serialize + Send + 'static {
    /// Why the work is not done, as far as these values tell at `now` (since the Unix epoch).
    fn trouble(&self, now: Duration) -> Option<String>;
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page<C> {
    /// Why it does not do its work; `None`: it does.
    pub reason: Option<String>,
    /// What it tells of itself.
    #[serde(flatten)]
    pub condition: C,
    /// The newest error, and when (Unix milliseconds).
    pub last_error: Option<(u64, String)>,
}

/// The state behind `GET /health`.
#[derive(Debug, Clone)]
pub struct Health<C> {
    page: Arc<Mutex<Page<C>>>,
}

impl<C: Condition> Health<C> {
    /// Unhealthy for `reason` until [`judge`](Self::judge) says otherwise.
    pub fn new(reason: impl Into<String>, condition: C) -> Self {
        let page = Page {
            reason: Some(reason.into()),
            condition,
            last_error: None,
        };
        Self {
            page: Arc::new(Mutex::new(page)),
        }
    }

    /// Changes what the process tells of itself.
    pub fn update(&self, change: impl FnOnce(&mut C)) {
        self.change(|page| change(&mut page.condition));
    }

    /// Says why the work is not done; `None`: it is, as far as [`Condition::trouble`] knows.
    pub fn judge(&self, reason: impl FnOnce(&C) -> Option<String>) {
        self.change(|page| page.reason = reason(&page.condition));
    }

    /// Notes an error without saying that nothing works any more.
    pub fn error(&self, error: &str) {
        let at = clock::unix_ms();
        let text = error.chars().take(ERROR_LENGTH).collect();
        self.change(|page| page.last_error = Some((at, text)));
    }

    fn change(&self, change: impl FnOnce(&mut Page<C>)) {
        change(&mut self.page.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What is shown now.
    #[must_use]
    pub fn shown(&self) -> Page<C> {
        self.shown_at(clock::unix())
    }

    fn shown_at(&self, now: Duration) -> Page<C> {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
        page.reason = page.reason.or_else(|| page.condition.trouble(now));
        page
    }

    /// Serves `/health` until `shutdown`.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> std::io::Result<()> {
        let app = Router::new().route("/health", get(answer::<C>)).with_state(self);
        axum::serve(listener, app)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await
    }
}

async fn answer<C: Condition>(State(health): State<Health<C>>) -> (StatusCode, Json<Page<C>>) {
    let page = health.shown();
    let status = if page.reason.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(page))
}

/// Of one who works from head to head: what is wrong with a newest head of the time `timestamp` (Unix seconds) at `now`, when it may be
/// `at_most` old.
#[must_use]
pub fn old_head(timestamp: u64, now: Duration, at_most: Duration) -> Option<String> {
    let age = now.as_secs().saturating_sub(timestamp);
    (age > at_most.as_secs()).then(|| format!("the newest head is {age} s old"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    struct Follower {
        head: u64,
        head_timestamp: u64,
    }

    impl Condition for Follower {
        fn trouble(&self, now: Duration) -> Option<String> {
            old_head(self.head_timestamp, now, Duration::from_secs(60))
        }
    }

    fn follower() -> Health<Follower> {
        Health::new(
            "nothing was done yet",
            Follower {
                head: 7,
                head_timestamp: 1_000,
            },
        )
    }

    #[test]
    fn it_is_unhealthy_until_it_works_and_again_when_its_head_grows_old() {
        let health = follower();
        let reason = |seconds| health.shown_at(Duration::from_secs(seconds)).reason;
        assert_eq!(reason(1_000).unwrap(), "nothing was done yet");
        health.judge(|_| None);
        assert_eq!(reason(1_060), None);
        assert_eq!(reason(1_061).unwrap(), "the newest head is 61 s old");
        health.update(|follower| follower.head_timestamp = 1_012);
        assert_eq!(reason(1_061), None);
        health.judge(|follower| Some(format!("head {} is nobody's", follower.head)));
        assert_eq!(reason(5_000).unwrap(), "head 7 is nobody's");
    }

    #[test]
    fn an_error_is_shown_cut_short_beside_what_it_tells_of_itself() {
        let health = follower();
        health.judge(|_| None);
        health.error(&"é".repeat(1_000));
        let shown = serde_json::to_value(health.shown_at(Duration::from_secs(1_000))).unwrap();
        assert_eq!(
            (&shown["head"], &shown["reason"]),
            (&7.into(), &serde_json::Value::Null)
        );
        assert!(shown["last_error"][0].as_u64().unwrap() > 0);
        assert_eq!(shown["last_error"][1].as_str().unwrap().chars().count(), ERROR_LENGTH);
    }

    #[tokio::test]
    async fn it_answers_503_with_the_reason_then_200_and_ends_on_shutdown() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (health, stop) = (follower(), CancellationToken::new());
        let serving = tokio::spawn(health.clone().serve(listener, stop.clone()));
        let ask = || async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream
                .write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = ask().await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("nothing was done yet"),
            "{answer}"
        );
        health.judge(|_| None);
        health.update(|follower| follower.head_timestamp = clock::unix().as_secs());
        let answer = ask().await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"reason\":null"),
            "{answer}"
        );
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
