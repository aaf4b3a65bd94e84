//! Invariants and their versioned set.

use engine::Invariant;
use protos::{DecodeError, v1};

use crate::Wire;
use crate::evm::{address, address_bytes, word, word_bytes};

impl Wire for Invariant {
    type Message = v1::Invariant;

    fn to_wire(&self) -> v1::Invariant {
        v1::Invariant {
            id: self.id,
            name: self.name.clone(),
            contract: address_bytes(self.contract),
            slot: word_bytes(self.slot),
            value_type: self.value_type.to_string(),
            offset: u32::from(self.offset),
            comparison: self.comparison.to_string(),
            target: word_bytes(self.target),
        }
    }

    fn from_wire(message: &v1::Invariant) -> Result<Self, DecodeError> {
        let offset = u8::try_from(message.offset).map_err(|error| DecodeError::invalid("invariant.offset", error))?;
        Invariant::new(
            message.id,
            message.name.clone(),
            address("invariant.contract", &message.contract)?,
            word("invariant.slot", &message.slot)?,
            message
                .value_type
                .parse()
                .map_err(|error| DecodeError::invalid("invariant.value_type", error))?,
            offset,
            message
                .comparison
                .parse()
                .map_err(|error| DecodeError::invalid("invariant.comparison", error))?,
            word("invariant.target", &message.target)?,
        )
        .map_err(|error| DecodeError::invalid("invariant", error))
    }
}

/// All active invariants at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvariantSet {
    /// Every change of the registry makes the next one.
    pub version: u64,
    /// In the order of their ids.
    pub invariants: Vec<Invariant>,
}

impl Wire for InvariantSet {
    type Message = v1::InvariantSet;

    fn to_wire(&self) -> v1::InvariantSet {
        v1::InvariantSet {
            version: self.version,
            invariants: self.invariants.iter().map(Wire::to_wire).collect(),
        }
    }

    fn from_wire(message: &v1::InvariantSet) -> Result<Self, DecodeError> {
        let invariants = message
            .invariants
            .iter()
            .map(Invariant::from_wire)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            version: message.version,
            invariants,
        })
    }
}
