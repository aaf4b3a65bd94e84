//! The parameters of an audit, and what follows from them alone: intervals, windows, thresholds.

use std::ops::Range;

/// One whole, in the unit of every `_bps`.
pub const BPS: u32 = 10_000;

/// The contract's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// From one bounty to the next: a node's epoch, in seconds.
    pub reward_period: u32,
    /// The verdict window before the reward date, and the time after it in which a claim is not late, in seconds.
    pub delta_period: u32,
    /// One interval of measuring, in seconds.
    pub check_time: u32,
    /// Latency up to which the bounty is whole, in microseconds.
    pub allowable_latency: u32,
    /// Downtime up to this part (1/n) of the epoch's intervals costs nothing.
    pub tolerance_divisor: u16,
    /// The part of a group whose verdicts are needed for any bounty, in 1/10,000.
    pub quorum_bps: u16,
    /// The part of the intervals that an auditor has to know for its verdict to count, in 1/10,000.
    pub coverage_bps: u16,
    /// The part of its bounty that a node loses for missing all of its own verdicts, in 1/10,000.
    pub duty_bps: u16,
    /// How many audit a node, where there are so many others.
    pub group_size: u8,
    /// Stake below which nobody registers, and the bounty is halved, in base units.
    pub min_stake: u128,
}

impl Default for Terms {
    /// Thirty days, windows of an hour, intervals of five minutes, 150 ms, a thirtieth tolerated, groups of 24; half of a group and half of
    /// the intervals are needed; a fifth of a bounty is for one's own verdicts.
    fn default() -> Self {
        Self {
            reward_period: 2_592_000,
            delta_period: 3_600,
            check_time: 300,
            allowable_latency: 150_000,
            tolerance_divisor: 30,
            quorum_bps: 5_000,
            coverage_bps: 5_000,
            duty_bps: 2_000,
            group_size: 24,
            min_stake: 0,
        }
    }
}

/// A parameter that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} makes no sense: {1}")]
pub struct BadTerms(
    /// Its name in the contract.
    pub &'static str,
    /// What it has to be.
    pub &'static str,
);

impl Terms {
    /// Whether the contract takes them.
    ///
    /// # Errors
    ///
    /// [`BadTerms`]: the first parameter that it does not take.
    pub fn check(&self) -> Result<(), BadTerms> {
        let window_and_interval = u64::from(self.delta_period) + u64::from(self.check_time);
        let share = |bps: u16| u32::from(bps) <= BPS;
        let rules = [
            (self.reward_period <= 366 * 86_400, "rewardPeriod", "at most 366 days"),
            (self.check_time > 0, "checkTime", "at least a second"),
            (
                self.delta_period > 0 && window_and_interval <= u64::from(self.reward_period),
                "deltaPeriod",
                "at least a second, and with one checkTime at most rewardPeriod",
            ),
            (
                self.check_time > 0 && self.intervals() < 1 << 24,
                "checkTime",
                "less than 2^24 times in an epoch",
            ),
            (self.allowable_latency > 0, "allowableLatency", "at least a microsecond"),
            (self.tolerance_divisor > 0, "toleranceDivisor", "at least 1"),
            (
                self.quorum_bps > 0 && share(self.quorum_bps),
                "quorumBps",
                "1 to 10,000",
            ),
            (share(self.coverage_bps), "coverageBps", "at most 10,000"),
            (share(self.duty_bps), "dutyBps", "at most 10,000"),
            ((1..=64).contains(&self.group_size), "groupSize", "1 to 64"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, name, wanted)) => Err(BadTerms(name, wanted)),
            None => Ok(()),
        }
    }

    /// Intervals of an epoch that are measured: all but its window.
    pub fn intervals(&self) -> u32 {
        self.reward_period
            .saturating_sub(self.delta_period)
            .checked_div(self.check_time)
            .unwrap_or(0)
    }

    /// Intervals of downtime that cost nothing.
    pub fn tolerated(&self) -> u32 {
        self.intervals().checked_div(self.tolerance_divisor.into()).unwrap_or(0)
    }

    /// Verdicts that a group of this size needs; one at least.
    pub fn quorum(&self, group_size: u32) -> u32 {
        let needed = (u64::from(group_size) * u64::from(self.quorum_bps)).div_ceil(u64::from(BPS));
        u32::try_from(needed).unwrap_or(u32::MAX).max(1)
    }

    /// Whether an auditor that knows so many intervals knows enough.
    pub fn covers(&self, known: u32) -> bool {
        known > 0 && u64::from(known) * u64::from(BPS) >= u64::from(self.intervals()) * u64::from(self.coverage_bps)
    }

    /// When an epoch that began at `start` may be claimed.
    pub fn next_reward(&self, start: u64) -> u64 {
        start.saturating_add(self.reward_period.into())
    }

    /// When verdicts about an epoch that began at `start` are accepted. What is measured ends where it begins.
    pub fn window(&self, start: u64) -> Range<u64> {
        let end = self.next_reward(start);
        end.saturating_sub(self.delta_period.into())..end
    }

    /// Until when a group is completed, the moment itself included: who comes later cannot know enough of the epoch.
    pub fn fill_until(&self, start: u64) -> u64 {
        start.saturating_add(u64::from(self.reward_period.saturating_sub(self.delta_period) / 4))
    }

    /// Intervals that a claim at `now` of an epoch that began at `start` is late.
    pub fn lateness(&self, start: u64, now: u64) -> u32 {
        let until = self.next_reward(start).saturating_add(self.delta_period.into());
        let late = now
            .saturating_sub(until)
            .checked_div(self.check_time.into())
            .unwrap_or(0);
        u32::try_from(late).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_specifications_numbers() {
        let terms = Terms::default();
        assert_eq!(terms.check(), Ok(()));
        assert_eq!((terms.intervals(), terms.tolerated()), (8_628, 287));
        assert_eq!((terms.quorum(24), terms.quorum(9), terms.quorum(0)), (12, 5, 1));
        assert_eq!(
            (terms.covers(4_314), terms.covers(4_313), terms.covers(0)),
            (true, false, false)
        );
    }

    #[test]
    fn sk_12_ten_minutes_past_the_grace_are_two_intervals() {
        let terms = Terms::default();
        let deadline = 1_000 + 2_592_000 + 3_600;
        assert_eq!(terms.lateness(1_000, deadline), 0);
        assert_eq!(terms.lateness(1_000, deadline + 299), 0);
        assert_eq!(terms.lateness(1_000, deadline + 600), 2);
        assert_eq!(terms.lateness(1_000, u64::MAX), u32::MAX);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let terms = Terms::default();
        for (wrong, name) in [
            (Terms { check_time: 0, ..terms }, "checkTime"),
            (
                Terms {
                    delta_period: 2_592_000,
                    ..terms
                },
                "deltaPeriod",
            ),
            (
                Terms {
                    delta_period: 0,
                    ..terms
                },
                "deltaPeriod",
            ),
            (
                Terms {
                    reward_period: u32::MAX,
                    ..terms
                },
                "rewardPeriod",
            ),
            (
                Terms {
                    reward_period: 31_000_000,
                    check_time: 1,
                    ..terms
                },
                "checkTime",
            ),
            (Terms { quorum_bps: 0, ..terms }, "quorumBps"),
            (
                Terms {
                    duty_bps: 10_001,
                    ..terms
                },
                "dutyBps",
            ),
            (
                Terms {
                    group_size: 65,
                    ..terms
                },
                "groupSize",
            ),
        ] {
            assert_eq!(wrong.check().map_err(|bad| bad.0), Err(name));
        }
    }
}
