//! Reports on their way to the platform: from the outbox, in order, until the platform has them.
//!
//! The platform takes a request whole or refuses it whole. Where it refuses for good, sending the same again would hold up all that is
//! behind: the request is halved until the one report that is at fault stands alone, and that one is set aside with the platform's
//! reason. What always holds: a report leaves the outbox confirmed, or set aside; never both, and never because nobody answered.

use std::sync::Arc;
use std::time::Duration;

use chain::auth::STATUS_KEY;
use chain::auth::sign::Signer;
use chain::wallet::Keypair;
use protos::v1::platform_client::PlatformClient;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tower::Layer;

use crate::platforms::{LONGEST_PAUSE, Platforms, pauses};
use crate::service::miner_scores;
use crate::store::{Outbox, Store, StoreError};

/// Reports in one request, at most.
const BATCH: u32 = 500;

/// How long the platform may take with one.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often the platform is told what was seen of the miners. Not through the outbox: it is told as sums, so that a telling that is
/// lost loses nothing.
const TELLING: Duration = Duration::from_secs(20);

/// Whether the platform will refuse the same request again, however often it is sent. What its gate says of the caller (signature,
/// permit) passes; what it says of the reports does not.
fn for_good(status: &Status) -> bool {
    let of_the_caller = status.metadata().contains_key(STATUS_KEY);
    let code = status.code();
    !of_the_caller
        && matches!(
            code,
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange
        )
}

/// Does what follows from an answer that will not change, to a request with `count` reports up to `last_id`: they are confirmed, or the
/// one of them is set aside. Gives how many the next request may have, after one of `most`.
async fn settle(
    store: &Store,
    last_id: i64,
    count: u32,
    answer: Result<(), Status>,
    most: u32,
) -> Result<u32, StoreError> {
    let more = most.saturating_mul(2).min(BATCH);
    let Err(refusal) = answer else {
        store.confirm_outbox(last_id).await?;
        return Ok(more);
    };
    let reason = refusal.message();
    match count {
        0 => tracing::warn!(reason, "the platform refuses what was seen of the miners"),
        1 => {
            tracing::error!(reason, "the platform refuses a report for good: it is set aside");
            metrics::counter!("validator_reports_refused_total").increment(1);
            store.set_aside(last_id, reason).await?;
        }
        many => return Ok(many / 2),
    }
    Ok(more)
}

/// Sends what is in the outbox whenever `wake` says that something is, until `shutdown`.
///
/// # Errors
/// The validator's database fails. A platform that cannot be reached is asked again, with growing pauses; the outbox keeps what it
/// has not confirmed, over a restart too.
pub async fn run(
    mut platforms: Platforms,
    hotkey: Arc<Keypair>,
    store: Store,
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) -> Result<(), StoreError> {
    let connect = |platforms: &Platforms| {
        let channel = Signer::new(Arc::clone(&hotkey), None).layer(platforms.current().connect_lazy());
        PlatformClient::new(channel).max_encoding_message_size(node::server::MESSAGE_LIMIT)
    };
    let mut client = connect(&platforms);
    let mut pause = pauses();
    let mut due = Instant::now() + TELLING / 2;
    let mut most = BATCH;
    loop {
        let mut sent = Outbox::default();
        if Instant::now() >= due {
            due = Instant::now() + TELLING;
            // Alone, so that a refusal says which of the two was at fault.
            sent.request.miners = miner_scores(&store.totals().await?);
        }
        if sent.request.miners.is_empty() {
            sent = store.outbox(most).await?;
        }
        let count = sent.count();
        if count == 0 && sent.request.miners.is_empty() {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = wake.notified() => continue,
                () = tokio::time::sleep_until(due) => continue,
            }
        }
        let Outbox { last_id, request } = sent;
        let late = |_| Err(Status::deadline_exceeded(format!("no answer within {DEADLINE:?}")));
        let answer = tokio::time::timeout(DEADLINE, client.report(request)).await;
        match answer.unwrap_or_else(late) {
            Err(status) if !for_good(&status) => {
                tracing::warn!(code = ?status.code(), reason = status.message(), "the platform took no report");
            }
            settled => {
                most = settle(&store, last_id, count, settled.map(drop), most).await?;
                pause = pauses();
                continue;
            }
        }
        if platforms.pass_on() {
            client = connect(&platforms);
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause.next().unwrap_or(LONGEST_PAUSE)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataValue;

    use super::*;
    use crate::store::fixtures::{judged, store};

    /// Tells everything in the outbox to a platform that refuses each request with one of these cursors; gives what it took, and in how
    /// many requests.
    async fn told(store: &Store, refused: &[u64]) -> (Vec<u64>, u32) {
        let (mut taken, mut requests, mut most) = (Vec::new(), 0, BATCH);
        loop {
            let sent = store.outbox(most).await.unwrap();
            if sent.count() == 0 {
                return (taken, requests);
            }
            requests += 1;
            let cursors: Vec<u64> = sent.request.transactions.iter().map(|report| report.cursor).collect();
            let answer = match cursors.iter().find(|cursor| refused.contains(cursor)) {
                Some(cursor) => Err(Status::invalid_argument(format!("cursor {cursor} does not fit"))),
                None => {
                    taken.extend(cursors);
                    Ok(())
                }
            };
            most = settle(store, sent.last_id, sent.count(), answer, most).await.unwrap();
        }
    }

    #[tokio::test]
    async fn reports_that_are_refused_for_good_are_set_aside_and_the_others_arrive() {
        let (store, _folder) = store().await;
        let all: Vec<_> = (1..=600).map(|cursor| judged(cursor, None)).collect();
        store.record(&all, 600).await.unwrap();
        let refused = [7, 8, 333, 600];
        let (taken, requests) = told(&store, &refused).await;
        let others: Vec<u64> = (1..=600).filter(|cursor| !refused.contains(cursor)).collect();
        assert_eq!(taken, others, "each once, in order");
        assert!(requests < 120, "{requests} requests for 4 bad reports among 600");
        let (count, kept) = store.refused(10).await.unwrap();
        let reasons: Vec<String> = kept.into_iter().map(|one| one.reason).collect();
        let expected = [600, 333, 8, 7].map(|cursor| format!("cursor {cursor} does not fit"));
        assert_eq!((count, reasons.as_slice()), (4, expected.as_slice()));
    }

    #[test]
    fn what_is_said_of_the_reports_is_for_good_and_what_is_said_of_the_caller_passes() {
        for code in [Code::InvalidArgument, Code::FailedPrecondition, Code::OutOfRange] {
            let of_the_reports = Status::new(code, "transactions[3]");
            assert!(for_good(&of_the_reports), "{code:?}");
            let mut of_the_caller = of_the_reports;
            let kind = MetadataValue::from_static("MalformedRequest");
            of_the_caller.metadata_mut().insert(STATUS_KEY, kind);
            assert!(!for_good(&of_the_caller), "{code:?}");
        }
        for code in [
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::Unavailable,
            Code::ResourceExhausted,
            Code::DeadlineExceeded,
            Code::Internal,
            Code::Unknown,
        ] {
            assert!(!for_good(&Status::new(code, "later")), "{code:?}");
        }
    }
}
