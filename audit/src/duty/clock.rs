//! The chain's time between its blocks: that of the newest one, and what has passed since by a clock that never jumps.
//!
//! For dating samples. Nothing is decided by it: that goes by the blocks themselves.

use std::time::{Duration, Instant};

/// The newest block's time, and when it was seen first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Unix seconds.
    pub timestamp: u64,
    /// By the machine's steady clock.
    pub at: Instant,
}

/// A block that is older than this is not carried on: the node, or the chain, stands still.
const CARRIED: Duration = Duration::from_secs(900);

impl Seen {
    /// The chain's time at `now`, as far as anybody can tell.
    #[must_use]
    pub fn time(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).min(CARRIED);
        self.timestamp.saturating_add(passed.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_between_blocks_and_not_without_end() {
        let at = Instant::now();
        let seen = Seen { timestamp: 1_000, at };
        assert_eq!(seen.time(at), 1_000);
        assert_eq!(seen.time(at + Duration::from_millis(11_900)), 1_011);
        assert_eq!(seen.time(at + Duration::from_secs(100_000)), 1_900);
    }
}
