//! Whom a service takes beyond those who sign rightly: what the metagraph must say of the sender's hotkey.
//!
//! A pure rule over a metagraph; [`Requirement::admission`] makes of it what a [`super::layer::Gate`] asks.

use std::sync::Arc;

use tonic::Status;
use tonic::metadata::MetadataValue;

use super::layer::Admission;
use crate::account::AccountId;
use crate::follow::Followed;
use crate::ledger::{Metagraph, Neuron};
use crate::tao::Tao;

/// What a sender must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// The validator permit.
    pub permit: bool,
    /// Stake, RAO.
    pub stake: u64,
}

/// A sender that a service does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// Not on the metagraph.
    #[error("{hotkey} is not registered on subnet {netuid}")]
    NotRegistered {
        /// The sender.
        hotkey: AccountId,
        /// The subnet.
        netuid: u16,
    },
    /// No validator.
    #[error("{hotkey} has no validator permit on subnet {netuid}")]
    NoPermit {
        /// The sender.
        hotkey: AccountId,
        /// The subnet.
        netuid: u16,
    },
    /// Too little behind it.
    #[error("{hotkey} has a stake of {} TAO, at least {} are asked for", Tao::from_rao(*.stake), Tao::from_rao(*.least))]
    NotEnoughStake {
        /// The sender.
        hotkey: AccountId,
        /// RAO.
        stake: u64,
        /// RAO.
        least: u64,
    },
}

impl NotAdmitted {
    /// Its name on the wire, beside those of [`super::AuthKind`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotRegistered { .. } => "NotRegistered",
            Self::NoPermit { .. } => "NoPermit",
            Self::NotEnoughStake { .. } => "NotEnoughStake",
        }
    }
}

impl From<NotAdmitted> for Status {
    fn from(error: NotAdmitted) -> Self {
        let mut status = Self::permission_denied(error.to_string());
        let name = MetadataValue::from_static(error.name());
        status.metadata_mut().insert(super::STATUS_KEY, name);
        status
    }
}

impl Requirement {
    /// A validator with any stake.
    pub const VALIDATOR: Self = Self { permit: true, stake: 0 };

    /// The sender's neuron, where it has what is required.
    ///
    /// # Errors
    /// [`NotAdmitted`] says what it lacks.
    pub fn check<'a>(&self, metagraph: &'a Metagraph, hotkey: &AccountId) -> Result<&'a Neuron, NotAdmitted> {
        let (hotkey, netuid) = (*hotkey, metagraph.netuid);
        let neuron = metagraph
            .by_hotkey(&hotkey)
            .ok_or(NotAdmitted::NotRegistered { hotkey, netuid })?;
        if self.permit && !neuron.validator_permit {
            return Err(NotAdmitted::NoPermit { hotkey, netuid });
        }
        if neuron.stake < self.stake {
            return Err(NotAdmitted::NotEnoughStake {
                hotkey,
                stake: neuron.stake,
                least: self.stake,
            });
        }
        Ok(neuron)
    }

    /// The same by the newest metagraph, for a gate.
    pub fn admission(self, metagraph: Followed) -> Admission {
        Arc::new(move |caller| {
            let metagraph = Arc::clone(&metagraph.borrow());
            self.check(&metagraph, &caller.hotkey)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::RAO_PER_TAO;

    #[test]
    fn each_lack_has_its_name() {
        let [validator, miner, stranger] = [1, 2, 3].map(|n| AccountId::new([n; 32]));
        let staked = Neuron {
            validator_permit: true,
            stake: 5 * RAO_PER_TAO,
            ..Neuron::new(0, validator)
        };
        let metagraph = Metagraph::new(9, 360, vec![staked, Neuron::new(1, miner)]);
        let asked = |least: u64, hotkey: &AccountId| {
            let requirement = Requirement {
                permit: true,
                stake: least,
            };
            requirement.check(&metagraph, hotkey).map(|neuron| neuron.uid)
        };
        assert_eq!(asked(5 * RAO_PER_TAO, &validator), Ok(0));
        assert_eq!(asked(0, &miner).unwrap_err().name(), "NoPermit");
        assert_eq!(asked(0, &stranger).unwrap_err().name(), "NotRegistered");
        let poor = asked(6 * RAO_PER_TAO, &validator).unwrap_err();
        assert_eq!(
            poor.to_string(),
            format!("{validator} has a stake of 5 TAO, at least 6 are asked for")
        );
        let status = Status::from(poor);
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert_eq!(
            status.metadata().get(super::super::STATUS_KEY).unwrap(),
            "NotEnoughStake"
        );
    }
}
