//! The three phases of a ceremony, and how a subnet's tempo is cut into them.
//!
//! REGISTERING (claim, endorse, fund, register), ASSIGNING (who meets whom), ATTESTING (challenges are answered, peers audited, weights
//! set); then REGISTERING of the next ceremony. A ceremony is one epoch of the subnet.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Phases of one ceremony.
pub const PHASES: u64 = 3;

/// A phase of a ceremony.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Phase {
    /// Rewards are claimed, newcomers endorsed, everybody registered.
    #[default]
    Registering,
    /// Meetups are known; nothing can be registered.
    Assigning,
    /// Challenges are answered, peers attested, weights set.
    Attesting,
}

impl Phase {
    /// The phase after this one in the ceremony, and whether a new ceremony begins with it.
    pub const fn next(self) -> (Self, bool) {
        match self {
            Self::Registering => (Self::Assigning, false),
            Self::Assigning => (Self::Attesting, false),
            Self::Attesting => (Self::Registering, true),
        }
    }

    /// Its place in the ceremony, from 0.
    pub const fn index(self) -> u64 {
        match self {
            Self::Registering => 0,
            Self::Assigning => 1,
            Self::Attesting => 2,
        }
    }

    /// The phase in which a ledger stands that is `since` blocks into an epoch of `tempo` blocks: each has a third of it.
    ///
    /// An epoch that is late stays in its last phase. A tempo below three blocks has no room for three phases; the first ones are skipped.
    pub const fn of_tempo(since: u64, tempo: u64) -> Self {
        let tempo = if tempo == 0 { 1 } else { tempo };
        match since.saturating_mul(PHASES) / tempo {
            0 => Self::Registering,
            1 => Self::Assigning,
            _ => Self::Attesting,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Registering => "REGISTERING",
            Self::Assigning => "ASSIGNING",
            Self::Attesting => "ATTESTING",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_phases_make_a_ceremony() {
        let (assigning, new) = Phase::Registering.next();
        assert_eq!((assigning, new), (Phase::Assigning, false));
        assert_eq!(assigning.next(), (Phase::Attesting, false));
        assert_eq!(Phase::Attesting.next(), (Phase::Registering, true));
    }

    #[test]
    fn each_phase_has_a_third_of_a_tempo_and_a_late_epoch_waits_in_the_last() {
        let at = |since| Phase::of_tempo(since, 360);
        assert_eq!((at(0), at(119)), (Phase::Registering, Phase::Registering));
        assert_eq!((at(120), at(239)), (Phase::Assigning, Phase::Assigning));
        assert_eq!(
            (at(240), at(359), at(5_000)),
            (Phase::Attesting, Phase::Attesting, Phase::Attesting)
        );
        assert_eq!(Phase::of_tempo(0, 0), Phase::Registering);
    }
}
