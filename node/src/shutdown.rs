//! The end of a process: asked for by a signal, by the parent's end, or by a task that cannot go on.

use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

/// A token that is cancelled by SIGINT or SIGTERM, and, when `with_parent`, by the end of standard input.
///
/// Every task that runs for long selects on it.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn on_signals(with_parent: bool) -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let signalled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => tracing::info!("interrupted: shutting down"),
            _ = terminate.recv() => tracing::info!("terminated: shutting down"),
            () = signalled.cancelled() => {}
        }
        signalled.cancel();
    });
    if with_parent {
        let orphaned = token.clone();
        // A blocking read of standard input cannot be cancelled and would hold up the runtime's end: a thread of its own
        // may stay behind.
        let handle = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            handle.block_on(async {
                let mut sink = [0u8; 64];
                let mut input = tokio::io::stdin();
                while matches!(input.read(&mut sink).await, Ok(n) if n > 0) {}
            });
            tracing::info!("the parent process has ended: shutting down");
            orphaned.cancel();
        });
    }
    Ok(token)
}
