//! What is written down of a ceremony.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::assignment::Counts;
use crate::growth::Point;
use crate::meetup::Exclusion;
use crate::role::Role;

/// Billionths in a unit of the currency.
const UNIT: u64 = 1_000_000_000;

/// One ceremony in figures. What a phase has not come to yet is zero or absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 1.
    pub ceremony: u64,
    /// Accounts, before the ceremony let it grow.
    pub population: u64,
    /// What all own of the currency then, in billionths.
    pub supply: u64,
    /// Who registered.
    pub registered: Counts,
    /// Who had a seat.
    pub seated: Counts,
    /// Meetups.
    pub meetups: u64,
    /// Who was there by the word of the others, and had the income.
    pub attended: u64,
    /// Meetups in which no three said the same.
    pub undependable: u64,
    /// Participants without an income, by reason.
    pub excluded: BTreeMap<Exclusion, u64>,
    /// Refusals that are nobody's fault: registered, claimed or endorsed already, nothing to claim.
    pub benign: u64,
    /// Accounts that could not pay their registration, even after the faucet.
    pub unpaid: u64,
    /// What was seen of the miners, by role.
    pub roles: BTreeMap<Role, RoleRow>,
    /// How soon violations were found, in microseconds from the challenge: the median and the 99th percentile.
    pub detection: Option<(u64, u64)>,
}

/// The miners of one role in a ceremony.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleRow {
    /// How many were challenged.
    pub miners: u64,
    /// Challenges sent to them.
    pub asked: u64,
    /// Answers in time.
    pub answered: u64,
    /// Answers that are the truth.
    pub correct: u64,
    /// Challenges in which something was violated.
    pub violating: u64,
    /// Of those, the answers that are the truth.
    pub found: u64,
    /// Of their 99th percentiles of latency the median, in microseconds.
    pub l99: Option<u64>,
    /// Who had the income.
    pub attended: u64,
    /// Their incentive at the end of the ceremony.
    pub incentive: Option<Spread>,
}

/// Incentives, shares of 65535.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub least: u16,
    /// The mean.
    pub mean: f64,
    /// The most.
    pub most: u16,
}

impl Spread {
    /// Of some values; none of none.
    pub fn of(values: &[u16]) -> Option<Self> {
        let sum: u64 = values.iter().map(|value| u64::from(*value)).sum();
        Some(Self {
            least: *values.iter().min()?,
            // One decimal says enough, and survives every text form.
            mean: (sum as f64 / values.len() as f64 * 10.0).round() / 10.0,
            most: *values.iter().max()?,
        })
    }
}

impl Row {
    /// Population and supply as the golden vector has them.
    pub const fn point(&self) -> Point {
        Point {
            population: self.population,
            supply: (self.supply + UNIT / 2) / UNIT,
        }
    }
}
