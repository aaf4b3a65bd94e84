//! An account of a community: who it is, what it has, and what is remembered of it.

use std::collections::VecDeque;

use chain::AccountId;
use serde::{Deserialize, Serialize};

use crate::role::Role;
use crate::scoring::Known;
use crate::spec::Rules;

/// Ceremonies whose violations are remembered, the newest among them.
const REMEMBERED: usize = 9;

/// As what somebody takes part in a ceremony.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// A founder.
    Bootstrapper,
    /// Attended lately.
    Reputable,
    /// Somebody vouched for it.
    Endorsee,
    /// Nobody vouches for it.
    Newbie,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Its number, from 0, in the order of joining.
    pub id: u32,
    /// Its hotkey.
    pub address: AccountId,
    /// Whether it is a founder.
    pub bootstrapper: bool,
    /// Whether it sets weights instead of being challenged.
    pub validator: bool,
    /// What it is.
    pub role: Role,
    /// The machine on which it runs.
    pub machine: u64,
    /// Newcomers whom it may still vouch for as a founder.
    pub tickets: u64,
    /// Newcomers whom it vouched for in this ceremony as a reputable.
    pub spent: u64,
    /// Whether somebody vouched for it, and it has not registered since.
    pub endorsed: bool,
    /// The last ceremony that it attended.
    pub attended: Option<u64>,
    /// What it owns of the community's currency, in billionths.
    pub balance: u64,
    /// What is remembered of its answers.
    pub track: Track,
}

/// What is remembered of a miner's answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// Challenges since it came.
    pub asked: u64,
    /// Challenges with a violation, and those found, of the last ceremonies; the newest last.
    pub windows: VecDeque<(u64, u64)>,
    /// The moving averages of its score, one for each validator, as the bits of an `f64`: what is stored is what was computed.
    pub averages: Vec<u64>,
}

impl Track {
    /// One ceremony more.
    pub fn push(&mut self, asked: u64, violating: u64, found: u64) {
        self.asked = self.asked.saturating_add(asked);
        self.windows.push_back((violating, found));
        while self.windows.len() > REMEMBERED {
            self.windows.pop_front();
        }
    }

    /// The sums over what is remembered.
    pub fn known(&self) -> Known {
        Known {
            asked: self.asked,
            violating: self.windows.iter().map(|(violating, _)| violating).sum(),
            found: self.windows.iter().map(|(_, found)| found).sum(),
        }
    }

    /// The average by the validator at this place.
    pub fn average(&self, validator: usize) -> f64 {
        f64::from_bits(self.averages.get(validator).copied().unwrap_or(0))
    }

    /// Sets the average by the validator at this place.
    pub fn set_average(&mut self, validator: usize, average: f64) {
        if self.averages.len() <= validator {
            self.averages.resize(validator + 1, 0);
        }
        if let Some(place) = self.averages.get_mut(validator) {
            *place = average.to_bits();
        }
    }
}

impl Account {
    /// Whether it attended within the reputation's lifetime before this ceremony.
    pub fn is_reputable(&self, ceremony: u64, rules: &Rules) -> bool {
        self.attended
            .is_some_and(|attended| ceremony.saturating_sub(attended) <= rules.reputation_lifetime)
    }

    /// As what it takes part in this ceremony.
    pub fn standing(&self, ceremony: u64, rules: &Rules) -> Standing {
        if self.bootstrapper {
            Standing::Bootstrapper
        } else if self.is_reputable(ceremony, rules) {
            Standing::Reputable
        } else if self.endorsed {
            Standing::Endorsee
        } else {
            Standing::Newbie
        }
    }

    /// Newcomers whom it can vouch for now.
    pub fn tickets_left(&self, ceremony: u64, rules: &Rules) -> u64 {
        let as_reputable = match self.is_reputable(ceremony, rules) {
            true => rules.reputable_tickets.saturating_sub(self.spent),
            false => 0,
        };
        as_reputable.saturating_add(self.tickets)
    }

    /// Takes a ticket: a reputable's first, which comes back with the next ceremony. Nothing when it has none.
    pub(crate) fn take_ticket(&mut self, ceremony: u64, rules: &Rules) -> Option<()> {
        if self.is_reputable(ceremony, rules) && self.spent < rules.reputable_tickets {
            self.spent += 1;
        } else {
            self.tickets = self.tickets.checked_sub(1)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn founder() -> Account {
        Account {
            id: 0,
            address: AccountId::new([1; 32]),
            bootstrapper: true,
            validator: true,
            role: Role::Honest,
            machine: 0,
            tickets: 2,
            spent: 0,
            endorsed: false,
            attended: Some(1),
            balance: 0,
            track: Track::default(),
        }
    }

    #[test]
    fn a_founder_with_reputation_takes_the_tickets_first_that_come_back() {
        let rules = Rules {
            reputable_tickets: 1,
            ..Rules::default()
        };
        let mut account = founder();
        assert_eq!(account.tickets_left(2, &rules), 3);
        assert_eq!(account.take_ticket(2, &rules), Some(()));
        assert_eq!((account.spent, account.tickets), (1, 2));
        assert_eq!([(); 2].map(|()| account.take_ticket(2, &rules)), [Some(()); 2]);
        assert_eq!(
            (account.take_ticket(2, &rules), account.tickets_left(2, &rules)),
            (None, 0)
        );
    }

    #[test]
    fn reputation_lasts_for_its_lifetime() {
        let rules = Rules {
            reputation_lifetime: 3,
            ..Rules::default()
        };
        let mut account = founder();
        account.bootstrapper = false;
        assert_eq!(account.standing(4, &rules), Standing::Reputable);
        assert_eq!(account.standing(5, &rules), Standing::Newbie);
        account.endorsed = true;
        assert_eq!(account.standing(5, &rules), Standing::Endorsee);
    }

    #[test]
    fn a_track_forgets_the_oldest_ceremony_and_no_bit_of_an_average() {
        let mut track = Track::default();
        for ceremony in 0..20 {
            track.push(10, ceremony, 1);
        }
        track.set_average(2, 0.1 + 0.2);
        let stored: Track = serde_json::from_str(&serde_json::to_string(&track).unwrap()).unwrap();
        assert_eq!(stored, track);
        assert_eq!(
            (stored.average(2), stored.average(0), stored.average(9)),
            (0.1 + 0.2, 0.0, 0.0)
        );
        let known = track.known();
        assert_eq!((known.asked, known.violating, known.found), (200, (11..20).sum(), 9));
    }
}
