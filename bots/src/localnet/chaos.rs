//! Whom `--kill` strikes, and when: drawn from the seed, so that a run that went wrong can be run again.
//!
//! A moment is a share of the judged transactions, not a time: slow and fast machines are struck in the same place. Strikes come one
//! after the other; the next one waits until the last victim serves again.

use rand::SeedableRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha20Rng;

use super::plan::{Member, NetworkPlan};

/// No strike falls before this share of the transactions is judged.
const EARLIEST: f64 = 0.10;
/// Nor after this one.
const LATEST: f64 = 0.60;

/// Which kind of process is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kill {
    /// One of the validators.
    Validator,
    /// One of the miners.
    Miner,
    /// The platform.
    Platform,
    /// One of each, in an order that the seed decides.
    All,
}

/// One process, killed in mid-run and started again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strike {
    /// Who.
    pub victim: Member,
    /// Once this share of the transactions is judged.
    pub at: f64,
}

impl Strike {
    /// Whether its moment has come: `judged` of `total` transactions.
    pub fn is_due(&self, judged: u64, total: u64) -> bool {
        total > 0 && judged as f64 >= self.at * total as f64
    }
}

/// Draws the strikes, in the order of their moments.
pub fn strikes(kill: Kill, plan: &NetworkPlan, seed: u64) -> Vec<Strike> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 0x6b69_6c6c);
    let validator = plan
        .validators
        .choose(&mut rng)
        .map(|validator| Member::Validator(validator.uid));
    let miner = plan.miners.choose(&mut rng).map(|miner| Member::Miner(miner.uid));
    let platform = Some(Member::Platform);
    let mut victims: Vec<Member> = match kill {
        Kill::Validator => validator.into_iter().collect(),
        Kill::Miner => miner.into_iter().collect(),
        Kill::Platform => platform.into_iter().collect(),
        Kill::All => [validator, miner, platform].into_iter().flatten().collect(),
    };
    victims.shuffle(&mut rng);
    let slot = (LATEST - EARLIEST) / victims.len().max(1) as f64;
    victims
        .into_iter()
        .enumerate()
        .map(|(place, victim)| {
            let within: f64 = rand::Rng::random(&mut rng);
            Strike {
                victim,
                at: EARLIEST + slot * (place as f64 + within),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::localnet::plan::Shape;

    fn network(seed: u64) -> NetworkPlan {
        NetworkPlan::new(Shape {
            validators: 3,
            miners: 10,
            lazy: 1,
            liar: 1,
            slow: 1,
            replicas: 2,
            seed,
        })
        .unwrap()
    }

    #[test]
    fn a_strike_waits_for_its_share_of_the_transactions() {
        let strike = Strike {
            victim: Member::Platform,
            at: 0.25,
        };
        assert!(!strike.is_due(24, 100) && strike.is_due(25, 100) && strike.is_due(100, 100));
        assert!(
            !strike.is_due(0, 0),
            "nothing is due before the length of the feed is known"
        );
    }

    #[test]
    fn killing_a_validator_kills_one_validator() {
        let struck = strikes(Kill::Validator, &network(7), 7);
        assert!(
            matches!(
                struck.as_slice(),
                [Strike {
                    victim: Member::Validator(1..=3),
                    ..
                }]
            ),
            "{struck:?}"
        );
    }

    proptest! {
        #[test]
        fn all_strikes_one_of_each_in_mid_run(seed: u64) {
            let struck = strikes(Kill::All, &network(seed), seed);
            prop_assert_eq!(&struck, &strikes(Kill::All, &network(seed), seed));
            prop_assert_eq!(struck.len(), 3);
            prop_assert!(struck.iter().any(|s| matches!(s.victim, Member::Validator(1..=3))));
            prop_assert!(struck.iter().any(|s| matches!(s.victim, Member::Miner(4..=13))));
            prop_assert!(struck.iter().any(|s| s.victim == Member::Platform));
            prop_assert!(struck.windows(2).all(|pair| pair[0].at < pair[1].at));
            prop_assert!(struck.iter().all(|s| (EARLIEST..LATEST).contains(&s.at)));
        }
    }
}
