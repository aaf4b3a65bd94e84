//! Invariants and their versioned set.
//!
//! One slot against a constant travels as its fields. Everything else travels as its canonical text, with the labels of its terms: that
//! is read back within the bounds of the language ([`engine::lang::MAX_TEXT`], nesting, number of terms), and what is not written as it
//! would be written again is refused, so that one meaning has one form.

use engine::{
    Invariant, ProgramInvariant, Watched,
    lang::{self, Names},
};
use protos::{DecodeError, v1};

use crate::Wire;
use crate::evm::{address, address_bytes, word, word_bytes};

/// The form of the fields.
fn slot(invariant: &Invariant) -> v1::Invariant {
    v1::Invariant {
        id: invariant.id,
        name: invariant.name.clone(),
        contract: address_bytes(invariant.contract),
        slot: word_bytes(invariant.slot),
        value_type: invariant.value_type.to_string(),
        offset: u32::from(invariant.offset),
        comparison: invariant.comparison.to_string(),
        target: word_bytes(invariant.target),
        expression: String::new(),
    }
}

fn slot_from(message: &v1::Invariant) -> Result<Invariant, DecodeError> {
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

/// The form of the text.
fn program(id: u64, name: &str, expression: String) -> v1::Invariant {
    v1::Invariant {
        id,
        name: name.to_owned(),
        expression,
        ..v1::Invariant::default()
    }
}

fn program_from(message: &v1::Invariant) -> Result<ProgramInvariant, DecodeError> {
    let refused = |reason: &str| DecodeError::invalid("invariant.expression", reason);
    let text = &message.expression;
    if *message != self::program(message.id, &message.name, text.clone()) {
        return Err(refused(
            "stands beside the fields of a slot; an invariant has the one or the other",
        ));
    }
    let program = lang::parse(text, &Names::default()).map_err(|error| refused(&error.message))?;
    if format!("{program:#}") != *text {
        return Err(refused("is not in its canonical form"));
    }
    Ok(ProgramInvariant {
        id: message.id,
        name: message.name.clone(),
        program,
    })
}

/// A view against a constant travels as its expression, and is an expression where it arrives.
impl Wire for Watched {
    type Message = v1::Invariant;

    fn to_wire(&self) -> v1::Invariant {
        match self {
            Self::Slot(invariant) => slot(invariant),
            Self::View(_) | Self::Program(_) => program(self.id(), self.name(), self.expression()),
        }
    }

    fn from_wire(message: &v1::Invariant) -> Result<Self, DecodeError> {
        if message.expression.is_empty() {
            slot_from(message).map(Self::Slot)
        } else {
            program_from(message).map(Self::Program)
        }
    }
}

/// All active invariants at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvariantSet {
    /// Every change of the registry makes the next one.
    pub version: u64,
    /// In the order of their ids.
    pub invariants: Vec<Watched>,
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
            .map(Watched::from_wire)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            version: message.version,
            invariants,
        })
    }
}
