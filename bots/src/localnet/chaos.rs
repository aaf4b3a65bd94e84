//! Whom `--kill` and `--chaos` strike, and when: drawn from the seed, so that a run that went wrong can be run again.
//!
//! A moment of `--kill` is a share of the judged transactions, not a time: slow and fast machines are struck in the same place. `--chaos`
//! goes by the clock, and strikes anybody. Strikes come one after the other; the next one waits until the last victim serves again.

use std::time::Duration;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

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
            let within: f64 = rng.random();
            Strike {
                victim,
                at: EARLIEST + slot * (place as f64 + within),
            }
        })
        .collect()
}

/// How a process is struck.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blow {
    /// Killed without warning, and started again.
    #[default]
    Killed,
    /// Stopped in the middle of whatever it does, and let go on after a while.
    Frozen,
}

/// Blow after blow for as long as a run lasts.
#[derive(Debug)]
pub struct Storm {
    every: Duration,
    next_at: Instant,
    /// By kind: there are many miners, and it is not they alone who are to be struck.
    kinds: Vec<Vec<Member>>,
    rng: ChaCha20Rng,
}

impl Storm {
    /// The first blow falls after `every`, on anybody: the ledger, the platform, a validator, a miner, or one of `others`.
    pub fn new(every: Duration, plan: &NetworkPlan, others: &[Member], seed: u64) -> Self {
        let validators = plan.validators.iter().map(|validator| Member::Validator(validator.uid));
        let miners = plan.miners.iter().map(|miner| Member::Miner(miner.uid));
        let mut kinds = vec![
            vec![Member::Ledger],
            vec![Member::Platform],
            validators.collect(),
            miners.collect(),
        ];
        for other in others {
            let same = |kind: &&mut Vec<Member>| {
                kind.first()
                    .is_some_and(|first| std::mem::discriminant(first) == std::mem::discriminant(other))
            };
            match kinds.iter_mut().find(same) {
                Some(kind) => kind.push(*other),
                None => kinds.push(vec![*other]),
            }
        }
        Self {
            every,
            next_at: Instant::now() + every,
            kinds,
            rng: ChaCha20Rng::seed_from_u64(seed ^ 0x0073_746f_726d),
        }
    }

    /// The next blow, if it is time for it.
    pub fn due(&mut self, now: Instant) -> Option<(Member, Blow)> {
        if now < self.next_at {
            return None;
        }
        // What came late is not made up for.
        self.next_at = now + self.every;
        let victim = *self.kinds.choose(&mut self.rng)?.choose(&mut self.rng)?;
        let blow = if self.rng.random() { Blow::Killed } else { Blow::Frozen };
        Some((victim, blow))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::localnet::plan::Shape;
    use crate::localnet::plan::tests::USUAL;

    fn network(seed: u64) -> NetworkPlan {
        NetworkPlan::new(Shape { seed, ..USUAL }).unwrap()
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

    #[tokio::test(start_paused = true)]
    async fn a_storm_strikes_everybody_in_time_and_the_same_ones_for_the_same_seed() {
        let others = [
            Member::Keeper(1),
            Member::Keeper(2),
            Member::Auditor(1),
            Member::Monitor(1),
        ];
        let blows = |seed| {
            let mut storm = Storm::new(Duration::from_secs(10), &network(7), &others, seed);
            let start = Instant::now();
            assert_eq!(storm.due(start + Duration::from_millis(9_999)), None);
            let at = |blow: u64| start + Duration::from_secs(10 * blow);
            let struck: Vec<(Member, Blow)> = (1..=3_000).filter_map(|blow| storm.due(at(blow))).collect();
            assert_eq!(struck.len(), 3_000);
            struck
        };
        let struck = blows(1);
        assert_eq!(struck, blows(1));
        assert_ne!(struck, blows(2));
        for blow in [Blow::Killed, Blow::Frozen] {
            let victims: std::collections::BTreeSet<Member> = struck
                .iter()
                .filter(|(_, other)| *other == blow)
                .map(|(victim, _)| *victim)
                .collect();
            assert_eq!(
                victims.len(),
                19,
                "ledger, platform, three validators, ten miners, and the others: {victims:?}"
            );
        }
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
