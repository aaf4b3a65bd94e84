//! The end of a process: asked for by a signal, by the parent's end, or by a task that cannot go on.

use std::io::Read;

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
        // A read of standard input cannot be cancelled: on the runtime's own threads it would hold up its end for as long as
        // the parent lives. This thread is nobody's, and ends with the process.
        std::thread::spawn(move || {
            let mut sink = [0u8; 64];
            loop {
                match std::io::stdin().read(&mut sink) {
                    Ok(read) if read > 0 => {}
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => break,
                }
            }
            tracing::info!("the parent process has ended: shutting down");
            orphaned.cancel();
        });
    }
    Ok(token)
}
