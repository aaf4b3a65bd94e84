//! Reports on their way to the platform: from the outbox, in order, until the platform has them.

use std::sync::Arc;
use std::time::Duration;

use chain::auth::sign::Signer;
use chain::wallet::Keypair;
use protos::v1::platform_client::PlatformClient;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Layer;

use crate::platforms::{LONGEST_PAUSE, Platforms, pauses};
use crate::service::miner_scores;
use crate::store::{Store, StoreError};

/// Reports in one request.
const BATCH: u32 = 500;

/// How long the platform may take with one.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often the platform is told what was seen of the miners. Not through the outbox: it is told as sums, so that a telling that is
/// lost loses nothing.
const TELLING: Duration = Duration::from_secs(20);

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
    loop {
        let mut outbox = store.outbox(BATCH).await?;
        if Instant::now() >= due {
            due = Instant::now() + TELLING;
            outbox.request.miners = miner_scores(&store.totals().await?);
        }
        let wait = if outbox.last_id == 0 && outbox.request.miners.is_empty() {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = wake.notified() => continue,
                () = tokio::time::sleep_until(due) => continue,
            }
        } else {
            match tokio::time::timeout(DEADLINE, client.report(outbox.request)).await {
                Ok(Ok(_accepted)) => {
                    store.confirm_outbox(outbox.last_id).await?;
                    pause = pauses();
                    continue;
                }
                Ok(Err(status)) => {
                    tracing::warn!(code = ?status.code(), reason = status.message(), "the platform took no report");
                }
                Err(_) => tracing::warn!("the platform did not confirm a report within {DEADLINE:?}"),
            }
            if platforms.pass_on() {
                client = connect(&platforms);
            }
            pause.next().unwrap_or(LONGEST_PAUSE)
        };
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}
