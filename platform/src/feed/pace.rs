//! How fast a recording is replayed: a schedule, computed without a clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest a recorded block may take: gaps between recorded blocks are cut to it.
pub const LONGEST_SLOT: Duration = Duration::from_secs(12);

/// A pace of replay.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Pace {
    /// The recorded blocks' own times: each block's transactions spread evenly over the time since the block before it.
    Realtime,
    /// As fast as the log takes them.
    Max,
    /// So many transactions in a second.
    PerSecond(f64),
}

/// A text that is no pace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown pace {0:?}: use realtime, max, or a number of transactions a second such as 50/s")]
pub struct PaceError(String);

impl FromStr for Pace {
    type Err = PaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "realtime" => Ok(Self::Realtime),
            "max" => Ok(Self::Max),
            _ => text
                .strip_suffix("/s")
                .and_then(|number| number.trim_end().parse::<f64>().ok())
                // Beyond these bounds it is `max`, or a standstill.
                .filter(|rate| (0.001..=1e6).contains(rate))
                .map(Self::PerSecond)
                .ok_or_else(|| PaceError(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for Pace {
    type Error = PaceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realtime => f.write_str("realtime"),
            Self::Max => f.write_str("max"),
            Self::PerSecond(rate) => write!(f, "{rate}/s"),
        }
    }
}

/// When each item of a replay is due, counted from the replay's start. Never goes back.
#[derive(Debug)]
pub struct Schedule {
    pace: Pace,
    /// Transactions that were given a time.
    transactions: u64,
    /// Where the block under way starts, how long it takes, and how many transactions it has.
    start: Duration,
    slot: Duration,
    count: usize,
    /// The last block's timestamp, seconds.
    timestamp: Option<u64>,
}

impl Schedule {
    /// A schedule that starts now.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            transactions: 0,
            start: Duration::ZERO,
            slot: Duration::ZERO,
            count: 0,
            timestamp: None,
        }
    }

    /// Starts a block of `count` transactions, recorded at `timestamp` (seconds); returns when its parent is due.
    pub fn block(&mut self, timestamp: u64, count: usize) -> Duration {
        let gap = self.timestamp.map_or(LONGEST_SLOT, |before| {
            Duration::from_secs(timestamp.saturating_sub(before))
        });
        self.start += self.slot;
        self.slot = gap.min(LONGEST_SLOT);
        self.count = count;
        self.timestamp = Some(timestamp);
        self.at(self.start)
    }

    /// When the block's transaction `index` (from 0) is due. At `N/s` each call is one transaction.
    pub fn transaction(&mut self, index: usize) -> Duration {
        let place = (index + 1) as f64 / (self.count + 1) as f64;
        let due = self.start + self.slot.mul_f64(place.min(1.0));
        let due = self.at(due);
        self.transactions += 1;
        due
    }

    /// When the block itself is due.
    #[must_use]
    pub fn head(&self) -> Duration {
        self.at(self.start + self.slot)
    }

    fn at(&self, realtime: Duration) -> Duration {
        match self.pace {
            Pace::Realtime => realtime,
            Pace::Max => Duration::ZERO,
            Pace::PerSecond(rate) => Duration::from_secs_f64(self.transactions as f64 / rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(duration: Duration) -> f64 {
        duration.as_secs_f64()
    }

    #[test]
    fn a_pace_is_read_as_it_is_written() {
        for text in ["realtime", "max", "50/s", "0.5/s"] {
            assert_eq!(text.parse::<Pace>().unwrap().to_string(), text);
        }
        for text in ["", "fast", "50", "/s", "-1/s", "0/s", "NaN/s", "inf/s", "1e9/s"] {
            let error = text.parse::<Pace>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn in_real_time_a_block_takes_what_it_took_and_its_transactions_lie_evenly_in_it() {
        let mut schedule = Schedule::new(Pace::Realtime);
        assert_eq!(seconds(schedule.block(1_000, 1)), 0.0);
        assert_eq!(seconds(schedule.transaction(0)), 6.0);
        assert_eq!(seconds(schedule.head()), 12.0);
        // Four seconds later; then a gap of a year, which is cut.
        assert_eq!(seconds(schedule.block(1_004, 3)), 12.0);
        assert_eq!([0, 1, 2].map(|i| seconds(schedule.transaction(i))), [13.0, 14.0, 15.0]);
        assert_eq!(seconds(schedule.head()), 16.0);
        assert_eq!(seconds(schedule.block(32_000_000, 0)), 16.0);
        assert_eq!(seconds(schedule.head()), 28.0);
        // An older block after it takes no time rather than a negative one.
        assert_eq!(seconds(schedule.block(5, 0)), 28.0);
        assert_eq!(seconds(schedule.head()), 28.0);
    }

    #[test]
    fn at_a_rate_only_transactions_take_time() {
        let mut schedule = Schedule::new(Pace::PerSecond(4.0));
        schedule.block(1_000, 2);
        assert_eq!([0, 1].map(|i| seconds(schedule.transaction(i))), [0.0, 0.25]);
        assert_eq!(seconds(schedule.head()), 0.5);
        schedule.block(9_000, 1);
        assert_eq!(seconds(schedule.transaction(0)), 0.5);
    }

    #[test]
    fn at_full_speed_everything_is_due_at_once() {
        let mut schedule = Schedule::new(Pace::Max);
        schedule.block(1_000, 2);
        assert_eq!(schedule.transaction(1), Duration::ZERO);
        assert_eq!(schedule.head(), Duration::ZERO);
    }
}
