//! The metagraph, kept fresh by a task: whoever needs it reads the newest one without waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::LedgerError;
use crate::ledger::{Ledger, Metagraph};

/// The newest metagraph, shared.
pub type Followed = watch::Receiver<Arc<Metagraph>>;

/// Reads the metagraph once, then again `every` so often until `shutdown`.
///
/// When the ledger cannot be reached later on, the last metagraph stays, and the log says so.
///
/// # Errors
/// The first read fails.
pub async fn follow(
    ledger: Arc<dyn Ledger>,
    every: Duration,
    shutdown: CancellationToken,
) -> Result<Followed, LedgerError> {
    let (sender, receiver) = watch::channel(Arc::new(ledger.metagraph().await?));
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match ledger.metagraph().await {
                Ok(metagraph) => {
                    sender.send_replace(Arc::new(metagraph));
                }
                Err(error) => tracing::warn!(%error, "the metagraph cannot be read; the last one stays in use"),
            }
        }
    });
    Ok(receiver)
}
