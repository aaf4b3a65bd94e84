//! One request and its answer, with bounds on both.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use reqwest::{Client, RequestBuilder, redirect};

use super::{Alert, ChannelError};
use crate::outcome::{Answer, Outcome, classify};

/// Most bytes of an answer that are read.
const BODY: usize = 64 << 10;

/// A client for one action. It follows no redirect, since the address is a secret or gets one; and it keeps no connection, since one
/// that the server has closed meanwhile would leave the fate of an alert unknown.
pub(super) fn client(action: &str, attempt: Duration) -> Result<Client, ChannelError> {
    // Another room may have chosen a provider already; any will do.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(attempt.mul_f64(0.5))
        .pool_max_idle_per_host(0)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ChannelError::Tls {
            action: action.to_owned(),
            reason: causes(&error),
        })
}

/// Sends a request and reads what it is answered.
pub(super) async fn exchange(request: RequestBuilder, alert: &Alert<'_>) -> (Outcome, Answer) {
    alert.handed_over.store(true, Ordering::Release);
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => {
            let error = error.without_url();
            let (builder, connect) = (error.is_builder(), error.is_connect());
            let reason = causes(&error);
            let outcome = if builder {
                Outcome::Refused { reason }
            } else if connect {
                Outcome::not_taken(reason)
            } else {
                Outcome::Unknown { reason }
            };
            return (outcome, Answer::default());
        }
    };
    let retry_after = response
        .headers()
        .get(reqwest::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = Vec::new();
    // The status is the answer; a body that breaks off only costs its quote.
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = BODY.saturating_sub(body.len());
        body.extend(chunk.iter().take(room));
        if room <= chunk.len() {
            break;
        }
    }
    let answer = Answer {
        status: response.status().as_u16(),
        retry_after,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let now = UNIX_EPOCH + Duration::from_millis(alert.now_ms);
    (classify(&answer, now), answer)
}

/// An accepted alert's name, from the answer's JSON.
pub(super) fn with_reference(outcome: Outcome, answer: &Answer, pointer: &str) -> Outcome {
    let Outcome::Accepted { .. } = outcome else {
        return outcome;
    };
    let body: Option<serde_json::Value> = serde_json::from_str(&answer.body).ok();
    let reference = match body.as_ref().and_then(|body| body.pointer(pointer)) {
        Some(serde_json::Value::String(text)) => text.chars().take(100).collect(),
        Some(number @ serde_json::Value::Number(_)) => number.to_string(),
        _ => String::new(),
    };
    Outcome::Accepted { reference }
}

/// An error with its causes.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
