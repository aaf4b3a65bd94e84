//! The rule of rate limits: at most `count` alerts in any window of length `per`.
//!
//! Pure, over the times that the database holds, so a restart does not open the limit anew.

use std::time::Duration;

use serde::Deserialize;

use crate::clock::millis;

/// At most `count` in any window of length `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many, at least 1.
    pub count: u32,
    /// In how long.
    #[serde(with = "humantime_serde")]
    pub per: Duration,
}

impl RateLimit {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.count == 0 || self.per.is_zero() {
            return Err("`rate_limit`: `count` and `per` must be above 0".into());
        }
        if self.count > 10_000 || self.per > Duration::from_hours(24 * 30) {
            return Err("`rate_limit`: `count` must be at most 10000, `per` at most 30 days".into());
        }
        Ok(())
    }

    /// When the next alert may leave, after those that left at `fired_ms` (in any order): now, or a later time. The `count` newest are
    /// enough.
    #[must_use]
    pub fn admit(&self, fired_ms: &[u64], now_ms: u64) -> u64 {
        let mut within: Vec<u64> = fired_ms
            .iter()
            .copied()
            .filter(|at| at.saturating_add(millis(self.per)) > now_ms)
            .collect();
        within.sort_unstable_by(|a, b| b.cmp(a));
        let nth = usize::try_from(self.count).unwrap_or(usize::MAX).saturating_sub(1);
        within
            .get(nth)
            .map_or(now_ms, |oldest| oldest.saturating_add(millis(self.per)).max(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: RateLimit = RateLimit {
        count: 2,
        per: Duration::from_secs(60),
    };

    #[test]
    fn the_third_waits_until_the_first_is_a_window_old() {
        assert_eq!(LIMIT.admit(&[], 100_000), 100_000);
        assert_eq!(LIMIT.admit(&[99_000], 100_000), 100_000);
        assert_eq!(LIMIT.admit(&[90_000, 99_000], 100_000), 150_000);
        assert_eq!(LIMIT.admit(&[40_000, 99_000], 100_000), 100_000);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more(arrivals in prop::collection::vec(0_u64..30_000, 1..80), count in 1_u32..6) {
            let limit = RateLimit { count, per: Duration::from_secs(60) };
            let (mut now, mut fired) = (1_000_000, Vec::new());
            for gap in arrivals {
                now += gap;
                if limit.admit(&fired, now) <= now {
                    fired.push(now);
                }
            }
            for start in &fired {
                let inside = fired.iter().filter(|at| *at >= start && **at < start + 60_000).count();
                prop_assert!(inside <= count as usize);
            }
        }

        #[test]
        fn what_is_promised_is_kept(fired in prop::collection::vec(0_u64..200_000, 0..20), now in 0_u64..250_000, count in 1_u32..6) {
            let limit = RateLimit { count, per: Duration::from_secs(60) };
            let past: Vec<u64> = fired.into_iter().filter(|at| *at <= now).collect();
            let at = limit.admit(&past, now);
            prop_assert!(at >= now);
            prop_assert_eq!(limit.admit(&past, at), at);
        }
    }
}
