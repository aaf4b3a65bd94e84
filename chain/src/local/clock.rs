//! The block clock: the wall clock only wakes it, the block's number is the ledger's.
//!
//! A ledger that was off for an hour goes on with the next block, not with the 300 it missed; a late tick is not made up
//! for. A block that cannot be stored is tried again at the next tick. Where whoever started the ledger asks for each block
//! ([`on_request`]), the wall clock has no part in it at all.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::LocalLedger;
use crate::error::LedgerError;

/// Makes a block each `block_time` until `shutdown`, or until the ledger is closed.
pub async fn run(ledger: LocalLedger, block_time: Duration, shutdown: CancellationToken) {
    let start = tokio::time::Instant::now() + block_time;
    let mut ticks = tokio::time::interval_at(start, block_time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match ledger.advance().await {
            Ok(block) => {
                #[allow(clippy::cast_precision_loss, reason = "a gauge")]
                metrics::gauge!("ledger_block").set(block as f64);
                tracing::debug!(block, "block");
            }
            Err(LedgerError::Closed) => return,
            Err(error) => tracing::error!(%error, "no block was made; the next tick tries again"),
        }
    }
}

/// Makes a block for each request and tells its number to `made`, until `shutdown`, until nobody is left to ask, or until the ledger
/// is closed.
///
/// # Errors
/// A block cannot be stored: whoever asked for it must not believe that it was made.
pub async fn on_request(
    ledger: LocalLedger,
    mut requests: mpsc::Receiver<()>,
    mut made: impl FnMut(u64),
    shutdown: CancellationToken,
) -> Result<(), LedgerError> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            request = requests.recv() => if request.is_none() { return Ok(()) },
        }
        match ledger.advance().await {
            Ok(block) => made(block),
            Err(LedgerError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Opening;
    use crate::wallet::Keypair;

    #[tokio::test]
    async fn blocks_are_made_until_shutdown_and_go_on_after_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ledger.db");
        let opening = Opening {
            owner: Some(Keypair::from_seed([1; 32]).account()),
            ..Opening::default()
        };
        let mut last = 0;
        for _start in 0..2 {
            let ledger = LocalLedger::open(&path, &opening).await.unwrap();
            assert_eq!(ledger.state().clock.block, last);
            let shutdown = CancellationToken::new();
            let task = tokio::spawn(run(ledger.clone(), Duration::from_millis(1), shutdown.clone()));
            let mut states = ledger.watch();
            last = states
                .wait_for(|state| state.clock.block >= last + 3)
                .await
                .unwrap()
                .clock
                .block;
            shutdown.cancel();
            task.await.unwrap();
            last = last.max(ledger.state().clock.block);
            ledger.close().await;
        }
        assert!(last >= 6);
    }
}
