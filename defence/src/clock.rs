//! Time, from outside: the system's, or a simulated one that stands still until it is told to move.
//!
//! Everything here that waits, waits on this clock, so a test moves through hours of retries without a sleep.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Milliseconds since 1970, UTC, and a way to wait for a later one. Clones are the same clock.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    System,
    Simulated(Arc<watch::Sender<u64>>),
}

/// The system's clock may be set while somebody waits: it is looked at again at least this often.
const LOOK: Duration = Duration::from_secs(60);

impl Clock {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// One that shows `now_ms` until [`Clock::advance`].
    #[must_use]
    pub fn simulated(now_ms: u64) -> Self {
        Self(Kind::Simulated(Arc::new(watch::Sender::new(now_ms))))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        match &self.0 {
            Kind::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
            Kind::Simulated(now) => *now.borrow(),
        }
    }

    /// Returns once the clock shows `at_ms` or later.
    pub async fn sleep_until(&self, at_ms: u64) {
        match &self.0 {
            Kind::System => loop {
                let left = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LOOK)).await;
            },
            Kind::Simulated(now) => {
                // The sender lives in `self`, so the wait does not fail.
                let mut shown = now.subscribe();
                let _reached = shown.wait_for(|now| *now >= at_ms).await;
            }
        }
    }

    /// Returns after `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now_ms().saturating_add(millis(duration))).await;
    }

    /// `future`, or `None` when it takes longer than `limit`.
    pub async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        let end_ms = self.now_ms().saturating_add(millis(limit));
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.sleep_until(end_ms) => None,
        }
    }

    /// Moves a simulated clock on; the system's moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Kind::Simulated(now) = &self.0 {
            now.send_modify(|now| *now = now.saturating_add(millis(by)));
        }
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_simulated_clock_wakes_who_waits() {
        let clock = Clock::simulated(5_000);
        let waiting = clock.clone();
        let woken = tokio::spawn(async move {
            waiting.sleep(Duration::from_hours(1)).await;
            waiting.now_ms()
        });
        // The task may not have started yet; then it starts to wait at the later time, and waits an hour from there.
        while !woken.is_finished() {
            clock.advance(Duration::from_hours(1));
            tokio::task::yield_now().await;
        }
        assert!(woken.await.unwrap() >= 3_605_000);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let clock = Clock::simulated(0);
        assert_eq!(clock.within(Duration::from_secs(1), async { 7 }).await, Some(7));
        let mover = clock.clone();
        let (started, told) = tokio::sync::oneshot::channel::<()>();
        let never = async move {
            started.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        let (given_up, ()) = tokio::join!(clock.within(Duration::from_secs(1), never), async move {
            told.await.unwrap();
            mover.advance(Duration::from_secs(1));
        });
        assert_eq!(given_up, None);
    }
}
