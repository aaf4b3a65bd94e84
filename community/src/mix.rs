//! Who a community is made of, from a TOML file: how many of each role among the miners, and who makes the traffic that they judge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::role::Role;
use crate::seed::Seed;

/// No share may be larger.
const MOST: u32 = 10_000;

/// Who a community is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// Shares of the roles among all who are no validators; only ratios count.
    pub roles: BTreeMap<Role, u32>,
    /// Identities of one machine of a Sybil.
    pub sybil_identities: u32,
    /// Who sends the transactions that are judged.
    pub traffic: TrafficMix,
}

/// Who sends the transactions that are judged; only ratios count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrafficMix {
    /// Swap, deposit and withdraw.
    pub user: u32,
    /// Borrows nearly everything, moves the price there and back, and repays: odd to look at, and harmless.
    pub arbitrageur: u32,
    /// Breaks an invariant.
    pub attacker: u32,
}

impl Default for Mix {
    /// Honest miners only.
    fn default() -> Self {
        Self {
            roles: BTreeMap::from([(Role::Honest, 1)]),
            sybil_identities: 10,
            traffic: TrafficMix::default(),
        }
    }
}

impl Default for TrafficMix {
    fn default() -> Self {
        Self {
            user: 15,
            arbitrageur: 2,
            attacker: 3,
        }
    }
}

/// A mix that no community can be made of.
#[derive(Debug, thiserror::Error)]
pub enum MixError {
    /// The file cannot be read.
    #[error("mix {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// It is no TOML, has other keys, or an impossible value.
    #[error("mix {}: {reason}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Mix {
    /// Every role at once: 60 honest in a hundred, and five of each other.
    pub fn mixed() -> Self {
        let mut roles: BTreeMap<Role, u32> = Role::ALL.into_iter().map(|role| (role, 5)).collect();
        roles.insert(Role::Honest, 60);
        Self {
            roles,
            sybil_identities: 5,
            ..Self::default()
        }
    }

    /// The mix of a file.
    ///
    /// # Errors
    /// [`MixError`] says what to change.
    pub fn read(path: &Path) -> Result<Self, MixError> {
        let text = std::fs::read_to_string(path).map_err(|reason| MixError::File {
            path: path.to_owned(),
            reason,
        })?;
        let form = |reason: String| MixError::Form {
            path: path.to_owned(),
            reason,
        };
        let mix: Self = toml::from_str(&text).map_err(|error| form(error.message().replace('\n', " ")))?;
        mix.check().map_err(form)?;
        Ok(mix)
    }

    fn check(&self) -> Result<(), String> {
        let TrafficMix {
            user,
            arbitrageur,
            attacker,
        } = self.traffic;
        let shares = self.roles.values().copied().chain([user, arbitrageur, attacker]);
        if shares.clone().any(|share| share > MOST) {
            return Err(format!("a share is at most {MOST}"));
        }
        if self.roles.values().all(|share| *share == 0) {
            return Err("`roles`: give at least one role a share above 0".to_owned());
        }
        if attacker == 0 || user == 0 {
            return Err(
                "`traffic`: `user` and `attacker` need shares above 0: without both nothing tells miners apart"
                    .to_owned(),
            );
        }
        if !(1..=1_000).contains(&self.sybil_identities) {
            return Err("`sybil_identities`: give 1 to 1000".to_owned());
        }
        Ok(())
    }

    /// Whether everybody is honest.
    pub fn is_honest(&self) -> bool {
        self.roles
            .iter()
            .all(|(role, share)| *role == Role::Honest || *share == 0)
    }

    /// The roles in which miners come, one after the other and then from the beginning: exactly in the shares, in an order drawn from the
    /// seed.
    pub fn order(&self, seed: &Seed) -> Vec<Role> {
        let divisor = self
            .roles
            .values()
            .fold(0, |divisor, share| gcd(divisor, *share))
            .max(1);
        let mut order: Vec<Role> = self
            .roles
            .iter()
            .flat_map(|(role, share)| std::iter::repeat_n(*role, (share / divisor) as usize))
            .collect();
        order.shuffle(&mut seed.rng("roles", 0));
        order
    }
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_miners_come_in_the_shares_of_the_mix() {
        let mix = Mix {
            roles: BTreeMap::from([(Role::Honest, 60), (Role::Slow, 20), (Role::Lazy, 15), (Role::Liar, 5)]),
            ..Mix::default()
        };
        let order = mix.order(&Seed::of(7));
        let hundred: Vec<Role> = (0..100).map(|miner| order[miner % order.len()]).collect();
        let count = |role| hundred.iter().filter(|other| **other == role).count();
        assert_eq!(
            [Role::Honest, Role::Slow, Role::Lazy, Role::Liar].map(count),
            [60, 20, 15, 5]
        );
        assert_eq!(order, mix.order(&Seed::of(7)));
    }

    #[test]
    fn the_default_is_honest_and_the_mixed_one_is_not() {
        assert!(Mix::default().is_honest() && !Mix::mixed().is_honest());
        assert_eq!(Mix::mixed().check(), Ok(()));
    }

    #[test]
    fn a_mix_that_cannot_be_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mix.toml");
        for (text, expected) in [
            ("[roles]\nsaint = 3\n", "saint"),
            ("[roles]\nhonest = 0\n", "above 0"),
            ("[roles]\nhonest = 10001\n", "10000"),
            ("[traffic]\nattacker = 0\n", "attacker"),
            ("sybil_identities = 0\n", "sybil_identities"),
            ("colour = 1\n", "colour"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Mix::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
        }
        assert!(matches!(
            Mix::read(&folder.path().join("none.toml")),
            Err(MixError::File { .. })
        ));
    }
}
