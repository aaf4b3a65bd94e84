//! Priority lanes: what must not wait for what.
//!
//! The order is the whole rule: `Pause > Slash > Claim > Report`. It decides who is given the next nonce, and whose stuck
//! nonce may be taken by whom.

use std::fmt;
use std::str::FromStr;

/// A priority lane. The greater one goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Bookkeeping: lost time costs little.
    #[default]
    Report,
    /// Money that waits for us.
    Claim,
    /// A punishment with a window.
    Slash,
    /// Stops an attack that is already in the mempool.
    Pause,
}

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Pause, Self::Slash, Self::Claim, Self::Report];

    /// The name in configuration, metrics and the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Slash => "slash",
            Self::Claim => "claim",
            Self::Report => "report",
        }
    }

    /// Whether this lane takes a lower lane's nonce without waiting until that one is stuck, and leaves a lost nonce without
    /// waiting for the winner's finality. Only a pause: each block that it waits is the attacker's.
    #[must_use]
    pub const fn hurries(self) -> bool {
        matches!(self, Self::Pause)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No lane has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no lane `{0}`: one of pause, slash, claim, report")]
pub struct UnknownLane(pub String);

impl FromStr for Lane {
    type Err = UnknownLane;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.name() == name)
            .ok_or_else(|| UnknownLane(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_stands_above_all_and_a_report_below_all() {
        let mut lanes = [Lane::Claim, Lane::Pause, Lane::Report, Lane::Slash];
        lanes.sort_by(|a, b| b.cmp(a));
        assert_eq!(lanes, Lane::ALL);
    }

    #[test]
    fn a_lane_is_read_by_its_name() {
        for lane in Lane::ALL {
            assert_eq!(lane.name().parse(), Ok(lane));
        }
        assert!("urgent".parse::<Lane>().unwrap_err().to_string().contains("urgent"));
    }
}
