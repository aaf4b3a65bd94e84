//! The faucet over HTTP: `POST /api?accounts=A&accounts=B`, an answer for each account.
//!
//! Writes are serialised by the community's database; a bounded number of requests waits, one more is told to come back. A request
//! without accounts is answered with an explanation; a `GET` changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::rule::{self, Drip, FaucetRules};
use crate::store::{Held, Store, StoreError};

/// Accounts that one request may name.
pub const BATCH: usize = 500;
/// Requests that wait or are served; one more is refused.
const QUEUE: usize = 32;
/// How long a request may take, waiting included.
const DEADLINE: Duration = Duration::from_secs(10);
/// What a request without accounts is told, as Encointer's faucet says it.
const NOBODY: &str = "no accounts provided to drip to; POST /api?accounts=SS58&accounts=SS58\n";

/// What the faucet answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaucetAnswer {
    /// Whether every account is funded.
    pub success: bool,
    /// One for each account, in their order.
    pub results: Vec<Drip>,
}

struct Faucet {
    store: Store,
    /// None until the community is founded.
    held: Mutex<Option<Held>>,
    rules: FaucetRules,
    queue: Semaphore,
}

/// Serves the faucet of a community until `shutdown`. It may be founded later: whoever asks before is told so.
///
/// # Errors
/// The socket fails.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    rules: FaucetRules,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let faucet = Faucet {
        store,
        held: Mutex::new(None),
        rules,
        queue: Semaphore::new(QUEUE),
    };
    let service = Router::new()
        .route("/api", get(explain).post(drip))
        .with_state(Arc::new(faucet));
    axum::serve(listener, service)
        .with_graceful_shutdown(async move { shutdown.cancelled().await })
        .await
}

/// The accounts of a query; an empty one names nobody.
fn accounts(query: Option<&str>) -> Vec<String> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .filter(|(key, value)| key == "accounts" && !value.is_empty())
        .map(|(_, value)| value.into_owned())
        .collect()
}

async fn explain(RawQuery(query): RawQuery) -> Response {
    match accounts(query.as_deref()).is_empty() {
        true => (StatusCode::OK, NOBODY).into_response(),
        false => {
            let said = "a drip changes balances: POST it, do not GET it\n";
            (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")], said).into_response()
        }
    }
}

async fn drip(State(faucet): State<Arc<Faucet>>, RawQuery(query): RawQuery) -> Response {
    let accounts = accounts(query.as_deref());
    if accounts.is_empty() {
        return (StatusCode::OK, NOBODY).into_response();
    }
    if accounts.len() > BATCH {
        let said = format!("{} accounts are too many at once: {BATCH} at most\n", accounts.len());
        return (StatusCode::PAYLOAD_TOO_LARGE, said).into_response();
    }
    let busy = || {
        let said = "the faucet is busy; ask again in a second\n";
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], said).into_response()
    };
    let Ok(_place) = faucet.queue.try_acquire() else {
        return busy();
    };
    match tokio::time::timeout(DEADLINE, fund(&faucet, &accounts)).await {
        Ok(Ok(None)) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "no community lives here yet: `bots init` founds one\n",
        )
            .into_response(),
        Ok(Ok(Some(results))) => {
            let success = results.iter().all(|drip| drip.success);
            Json(FaucetAnswer { success, results }).into_response()
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "the faucet's database failed");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the faucet's database failed; see its log\n",
            )
                .into_response()
        }
        Err(_elapsed) => busy(),
    }
}

/// None where there is no community.
async fn fund(faucet: &Faucet, accounts: &[String]) -> Result<Option<Vec<Drip>>, StoreError> {
    let mut place = faucet.held.lock().await;
    if place.is_none() {
        *place = faucet.store.load().await?;
    }
    let Some(held) = place.as_mut() else {
        return Ok(None);
    };
    faucet.store.refresh(held).await?;
    let results = faucet
        .store
        .update(held, |book| rule::serve(book, accounts, &faucet.rules))
        .await?;
    let funded = results.iter().filter(|drip| drip.success).count();
    tracing::info!(asked = accounts.len(), funded, left = held.book.faucet, "drip");
    Ok(Some(results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_a_query() {
        assert_eq!(accounts(Some("accounts=a&other=c&accounts=b&accounts=")), ["a", "b"]);
        assert!(accounts(None).is_empty());
    }
}
