//! Who is in the network: uids, roles, stakes and keys, drawn from one seed.
//!
//! The subnet's owner has uid 0, validators follow from uid 1, miners after them. The roles of the miners are shuffled, so that a
//! miner's uid says nothing of its role. The same shape and seed always give the same plan.

use std::fmt;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// RAO in one TAO.
pub const RAO_PER_TAO: u64 = 1_000_000_000;
/// Stake of the smallest validator, in TAO; each one before it has [`STAKE_STEP_TAO`] more.
const STAKE_FLOOR_TAO: u64 = 1_000;
/// Distance between two validators' stakes, in TAO.
const STAKE_STEP_TAO: u64 = 250;
/// Neurons of a subnet besides its owner (Subtensor's usual `max_allowed_uids` is 256).
const NEURONS_MAX: usize = 255;

/// How a miner behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Executes each transaction and tells the truth.
    Honest,
    /// Executes nothing, and says that everything holds.
    Lazy,
    /// Executes, and says the opposite.
    Liar,
    /// Executes, and answers late.
    Slow,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Honest => "honest",
            Self::Lazy => "lazy",
            Self::Liar => "liar",
            Self::Slow => "slow",
        })
    }
}

/// One process of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// The ledger.
    Ledger,
    /// The Ethereum development node of a living chain.
    Node,
    /// The platform.
    Platform,
    /// A keeper, by its number from 1: it pauses what guards hold.
    Keeper(u32),
    /// The auditor of an audited node, by that node's number from 1.
    Auditor(u32),
    /// The monitor of a protocol's payment, by number from 1.
    Monitor(u32),
    /// The validator of this uid.
    Validator(u32),
    /// The miner of this uid.
    Miner(u32),
}

impl Member {
    /// The room that it comes from, which its binary is called after: `ledger`, `platform`, `validator`, `miner`, `keeper`, `audit`,
    /// `billing`; and `anvil`.
    pub const fn room(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Node => "anvil",
            Self::Platform => "platform",
            Self::Keeper(_) => "keeper",
            Self::Auditor(_) => "audit",
            Self::Monitor(_) => "billing",
            Self::Validator(_) => "validator",
            Self::Miner(_) => "miner",
        }
    }
}

impl fmt::Display for Member {
    /// Its name in messages and file names: `ledger`, `validator-2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger | Self::Node | Self::Platform => f.write_str(self.room()),
            Self::Keeper(number)
            | Self::Auditor(number)
            | Self::Monitor(number)
            | Self::Validator(number)
            | Self::Miner(number) => write!(f, "{}-{number}", self.room()),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Shape {
    /// Validators
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub validators: usize,
    /// Miners, with those that misbehave
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub miners: usize,
    /// Miners that execute nothing and call everything safe
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub lazy: usize,
    /// Miners that lie
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub liar: usize,
    /// Miners that answer late
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub slow: usize,
    /// Validators that judge each transaction
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub replicas: usize,
    /// Decides keys, places of the roles, who is drawn, and whom --kill and --chaos strike
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
}

/// A shape that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Nobody to judge, or nobody to ask.
    #[error("--{0} 0: a network needs at least one of them")]
    Nobody(&'static str),
    /// More miners that misbehave than miners.
    #[error(
        "--lazy, --liar and --slow add up to {misbehaving} of --miners {miners}: at least one miner has to be honest"
    )]
    NoHonestMiner {
        /// Sum of the three.
        misbehaving: usize,
        /// Miners in all.
        miners: usize,
    },
    /// More replicas than validators, or none.
    #[error("--replicas {replicas} with --validators {validators}: take a number from 1 to {validators}")]
    Replicas {
        /// As asked for.
        replicas: usize,
        /// As asked for.
        validators: usize,
    },
    /// More attacks through keepers than a validator has actions.
    #[error("--through keepers takes at most --attacks {0}: each guard is an action of its own")]
    Gates(usize),
    /// More neurons than a subnet has places.
    #[error("{neurons} validators and miners: a subnet has {NEURONS_MAX} places besides its owner's")]
    TooMany {
        /// Validators and miners.
        neurons: usize,
    },
}

/// A validator to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorPlan {
    /// Its uid, from 1 on.
    pub uid: u32,
    /// Its stake, in RAO. Every validator has another.
    pub stake: u64,
    /// Seed of its hotkey.
    pub key_seed: [u8; 32],
    /// Seed of its own choices.
    pub seed: u64,
}

/// A miner to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinerPlan {
    /// Its uid, after the validators'.
    pub uid: u32,
    /// How it behaves.
    pub role: Role,
    /// Seed of its hotkey.
    pub key_seed: [u8; 32],
}

/// The whole network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// By uid.
    pub validators: Vec<ValidatorPlan>,
    /// By uid.
    pub miners: Vec<MinerPlan>,
    /// Validators that judge each transaction.
    pub replicas: usize,
}

impl NetworkPlan {
    /// Draws the network of this shape.
    ///
    /// # Errors
    /// [`PlanError`] says which numbers do not go together.
    pub fn new(shape: Shape) -> Result<Self, PlanError> {
        let Shape {
            validators,
            miners,
            lazy,
            liar,
            slow,
            replicas,
            seed,
        } = shape;
        if validators == 0 {
            return Err(PlanError::Nobody("validators"));
        }
        if miners == 0 {
            return Err(PlanError::Nobody("miners"));
        }
        let misbehaving = lazy.saturating_add(liar).saturating_add(slow);
        if misbehaving >= miners {
            return Err(PlanError::NoHonestMiner { misbehaving, miners });
        }
        if replicas == 0 || replicas > validators {
            return Err(PlanError::Replicas { replicas, validators });
        }
        let neurons = validators.saturating_add(miners);
        if neurons > NEURONS_MAX {
            return Err(PlanError::TooMany { neurons });
        }

        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut roles: Vec<Role> = [(Role::Lazy, lazy), (Role::Liar, liar), (Role::Slow, slow)]
            .into_iter()
            .flat_map(|(role, count)| std::iter::repeat_n(role, count))
            .collect();
        roles.resize(miners, Role::Honest);
        roles.shuffle(&mut rng);

        let mut uids = 1u32..;
        let validators = (0..validators as u64)
            .rev()
            .zip(uids.by_ref())
            .map(|(above, uid)| ValidatorPlan {
                uid,
                stake: (STAKE_FLOOR_TAO + STAKE_STEP_TAO * above) * RAO_PER_TAO,
                key_seed: rng.random(),
                seed: rng.random(),
            })
            .collect();
        let miners = roles
            .into_iter()
            .zip(uids)
            .map(|(role, uid)| MinerPlan {
                uid,
                role,
                key_seed: rng.random(),
            })
            .collect();
        Ok(Self {
            validators,
            miners,
            replicas,
        })
    }

    /// Every neuron but the owner, in the order of uids, which is the order in which they have to register.
    pub fn neurons(&self) -> impl Iterator<Item = (Member, &[u8; 32])> {
        let validators = self
            .validators
            .iter()
            .map(|validator| (Member::Validator(validator.uid), &validator.key_seed));
        let miners = self
            .miners
            .iter()
            .map(|miner| (Member::Miner(miner.uid), &miner.key_seed));
        validators.chain(miners)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    pub(crate) const USUAL: Shape = Shape {
        validators: 3,
        miners: 10,
        lazy: 1,
        liar: 1,
        slow: 1,
        replicas: 2,
        seed: 7,
    };

    fn with_role(plan: &NetworkPlan, role: Role) -> usize {
        plan.miners.iter().filter(|miner| miner.role == role).count()
    }

    #[test]
    fn the_usual_network_has_validators_1_to_3_and_miners_4_to_13() {
        let plan = NetworkPlan::new(USUAL).unwrap();
        assert_eq!(plan.validators.iter().map(|v| v.uid).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(
            plan.validators
                .iter()
                .map(|v| v.stake / RAO_PER_TAO)
                .collect::<Vec<_>>(),
            [1500, 1250, 1000]
        );
        assert_eq!(
            plan.miners.iter().map(|m| m.uid).collect::<Vec<_>>(),
            (4..=13).collect::<Vec<_>>()
        );
        assert_eq!(
            [Role::Honest, Role::Lazy, Role::Liar, Role::Slow].map(|role| with_role(&plan, role)),
            [7, 1, 1, 1]
        );
    }

    #[test]
    fn the_place_of_the_liar_changes_with_the_seed() {
        let places: BTreeSet<u32> = (0..64)
            .map(|seed| {
                let plan = NetworkPlan::new(Shape { seed, ..USUAL }).unwrap();
                plan.miners.iter().find(|miner| miner.role == Role::Liar).unwrap().uid
            })
            .collect();
        assert!(places.len() >= 8, "the liar was only ever at {places:?}");
    }

    #[test]
    fn numbers_that_do_not_go_together_are_named() {
        let refused = |shape| NetworkPlan::new(shape).unwrap_err().to_string();
        assert!(refused(Shape { validators: 0, ..USUAL }).contains("--validators 0"));
        assert!(refused(Shape { miners: 0, ..USUAL }).contains("--miners 0"));
        assert!(
            refused(Shape {
                lazy: 5,
                liar: 3,
                slow: 2,
                ..USUAL
            })
            .contains("10 of --miners 10")
        );
        assert!(
            refused(Shape {
                lazy: usize::MAX,
                ..USUAL
            })
            .contains("honest")
        );
        assert!(refused(Shape { replicas: 4, ..USUAL }).contains("--replicas 4 with --validators 3"));
        assert!(refused(Shape { replicas: 0, ..USUAL }).contains("from 1 to 3"));
        assert!(refused(Shape { miners: 253, ..USUAL }).contains("256 validators and miners"));
    }

    proptest! {
        #[test]
        fn every_shape_is_refused_or_built_as_asked(
            validators in 0usize..8, miners in 0usize..24, lazy in 0usize..6, liar in 0usize..6, slow in 0usize..6,
            replicas in 0usize..9, seed: u64,
        ) {
            let shape = Shape { validators, miners, lazy, liar, slow, replicas, seed };
            let Ok(plan) = NetworkPlan::new(shape) else {
                prop_assert!(validators == 0 || miners == 0 || lazy + liar + slow >= miners
                    || replicas == 0 || replicas > validators);
                return Ok(());
            };
            prop_assert_eq!(&plan, &NetworkPlan::new(shape).unwrap());
            prop_assert_eq!(with_role(&plan, Role::Lazy), lazy);
            prop_assert_eq!(with_role(&plan, Role::Liar), liar);
            prop_assert_eq!(with_role(&plan, Role::Slow), slow);
            prop_assert!(with_role(&plan, Role::Honest) >= 1);
            let keys: BTreeSet<_> = plan.neurons().map(|(_, key)| key).collect();
            prop_assert_eq!(keys.len(), validators + miners);
            let stakes: BTreeSet<_> = plan.validators.iter().map(|validator| validator.stake).collect();
            prop_assert_eq!(stakes.len(), validators);
            let uids: Vec<u32> = plan.neurons().map(|(member, _)| match member {
                Member::Validator(uid) | Member::Miner(uid) => uid,
                _ => 0,
            }).collect();
            prop_assert_eq!(uids, (1..=(validators + miners) as u32).collect::<Vec<_>>());
        }
    }
}
