//! Waiting for what another task or process does: bounded, and its length is nobody's claim.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long anything may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(20);

/// Looks again and again until what it sees is as wanted, and gives it.
///
/// # Panics
/// When it never is, within a minute: with `what` was waited for, and what was seen last.
pub async fn until<T: Debug>(what: &str, mut look: impl AsyncFnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look().await;
        if wanted(&seen) {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {PATIENCE:?}, but {seen:?}"
        );
        tokio::time::sleep(AGAIN).await;
    }
}
