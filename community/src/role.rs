//! How bots behave: each role is a small strategy, in what it answers, when, and for whom it vouches.
//!
//! The table [`Role::conduct`] says it all; [`crate::arena`] plays the answers, [`word`] the attestations.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::meetup::Attestation;

/// What kind of bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Executes everything and says what it saw.
    Honest,
    /// Honest, on half a machine.
    Slow,
    /// Executes one challenge in three, and calls the rest safe unseen.
    Lazy,
    /// Executes everything and says the opposite.
    Liar,
    /// Registers and never comes.
    NoShow,
    /// Waits for another's answers and gives them as its own.
    Copying,
    /// In league with the others of its kind: hides every violation, and vouches for the league alone.
    Colluding,
    /// One of many identities of one machine, honest for the rest.
    Sybil,
    /// There in every other ceremony.
    Flapping,
}

impl Role {
    /// All roles, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Honest,
        Self::Slow,
        Self::Lazy,
        Self::Liar,
        Self::NoShow,
        Self::Copying,
        Self::Colluding,
        Self::Sybil,
        Self::Flapping,
    ];

    /// Its name in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Honest => "honest",
            Self::Slow => "slow",
            Self::Lazy => "lazy",
            Self::Liar => "liar",
            Self::NoShow => "no-show",
            Self::Copying => "copying",
            Self::Colluding => "colluding",
            Self::Sybil => "sybil",
            Self::Flapping => "flapping",
        }
    }

    /// How it goes about its challenges.
    pub const fn conduct(self) -> Conduct {
        let honest = Conduct {
            says: Says::Truth,
            executes_one_in: 1,
            pace: 1,
        };
        match self {
            Self::Honest | Self::Sybil | Self::Flapping | Self::NoShow => honest,
            Self::Slow => Conduct { pace: 2, ..honest },
            Self::Lazy => Conduct {
                executes_one_in: 3,
                ..honest
            },
            Self::Liar => Conduct {
                says: Says::Opposite,
                ..honest
            },
            Self::Colluding => Conduct {
                says: Says::Safe,
                ..honest
            },
            Self::Copying => Conduct {
                says: Says::Another,
                ..honest
            },
        }
    }

    /// Whether it takes part in this ceremony once it has a seat.
    pub const fn comes(self, ceremony: u64) -> bool {
        match self {
            Self::NoShow => false,
            Self::Flapping => ceremony % 2 == 1,
            _ => true,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is said of a challenge that was executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// What came out.
    Truth,
    /// The opposite.
    Opposite,
    /// That nothing is violated.
    Safe,
    /// What another miner says; nothing is executed.
    Another,
}

/// How a role goes about its challenges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conduct {
    /// What it says of what it executed.
    pub says: Says,
    /// It executes one challenge in so many; of the others it says unseen that nothing is violated.
    pub executes_one_in: u32,
    /// An execution takes so many times as long as on an ordinary machine.
    pub pace: u32,
}

/// A member of a meetup, as the others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its account.
    pub account: u32,
    /// What it is; the others know it of their own league only.
    pub role: Role,
    /// Whether it answered the audit in time.
    pub present: bool,
}

/// What `speaker` says of a meetup; nothing when it was not there.
pub fn word(speaker: &Member, members: &[Member]) -> Option<Attestation> {
    if !speaker.present {
        return None;
    }
    let others = |which: &dyn Fn(&Member) -> bool| -> BTreeSet<u32> {
        let chosen = members
            .iter()
            .filter(|member| member.account != speaker.account && which(member));
        chosen.map(|member| member.account).collect()
    };
    let present = members.iter().filter(|member| member.present).count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Some(match speaker.role {
        // Looked at nobody: everybody was there.
        Role::Lazy => Attestation {
            vote: count(members.len()),
            vouches: others(&|_| true),
        },
        Role::Liar => Attestation {
            vote: count(present + 1),
            vouches: others(&|member| !member.present),
        },
        Role::Colluding => Attestation {
            vote: count(present),
            vouches: others(&|member| member.role == Role::Colluding),
        },
        Role::Honest | Role::Slow | Role::NoShow | Role::Copying | Role::Sybil | Role::Flapping => Attestation {
            vote: count(present),
            vouches: others(&|member| member.present),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::meetup::{Exclusion, validate};

    fn meetup(roles: &[Role]) -> Vec<Member> {
        let member = |(account, role): (usize, &Role)| Member {
            account: u32::try_from(account).unwrap(),
            role: *role,
            present: role.comes(2),
        };
        roles.iter().enumerate().map(member).collect()
    }

    fn judged(members: &[Member]) -> crate::meetup::Outcome {
        let said: BTreeMap<u32, Attestation> = members
            .iter()
            .filter_map(|member| Some((member.account, word(member, members)?)))
            .collect();
        validate(&members.iter().map(|member| member.account).collect(), &said).unwrap()
    }

    #[test]
    fn whoever_does_not_come_lies_or_leagues_goes_without_and_the_honest_are_paid() {
        let mut roles = vec![Role::Honest; 9];
        roles.extend([
            Role::NoShow,
            Role::Flapping,
            Role::Lazy,
            Role::Liar,
            Role::Colluding,
            Role::Slow,
        ]);
        let outcome = judged(&meetup(&roles));
        let excluded: Vec<(u32, Exclusion)> = outcome.excluded.into_iter().collect();
        assert_eq!(
            excluded,
            [
                (9, Exclusion::NoVote),
                (10, Exclusion::NoVote),
                (11, Exclusion::WrongVote),
                (12, Exclusion::WrongVote),
                (13, Exclusion::TooFewAttestations),
            ]
        );
        assert_eq!(outcome.rewarded.len(), 10, "nine honest and one slow");
    }

    #[test]
    fn flapping_comes_every_other_time() {
        assert_eq!(
            [1, 2, 3].map(|ceremony| Role::Flapping.comes(ceremony)),
            [true, false, true]
        );
    }

    #[test]
    fn every_role_is_written_as_it_is_named() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
    }
}
