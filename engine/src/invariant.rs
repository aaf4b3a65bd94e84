//! A storage invariant: a comparison between one value in one contract's storage and a constant.

use std::{cmp::Ordering, fmt, str::FromStr};

use crate::{Address, U256, ValueType};

/// "The value of this type in this slot compares so with the target", after every transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// Number in its invariant set.
    pub id: u64,
    /// Name for people.
    pub name: String,
    /// Contract whose storage is read.
    pub contract: Address,
    /// Slot, after all mapping and array hashing.
    pub slot: U256,
    /// How the value is read.
    pub value_type: ValueType,
    /// Bytes from the low-order end of the slot, as solc's `storageLayout` gives it.
    pub offset: u8,
    /// The relation that must hold between value (left) and target (right).
    pub comparison: Comparison,
    /// A value of `value_type`; two's complement when signed.
    pub target: U256,
}

/// Relation between a value and its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `==`
    Eq,
    /// `>=`
    Ge,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `<`
    Lt,
}

/// Why an invariant cannot be stated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvariantError {
    /// The width is none that Solidity has.
    #[error("invariant {id}: {value_type} is no Solidity value type: use a width that exists")]
    Type {
        /// The invariant.
        id: u64,
        /// Its type.
        value_type: ValueType,
    },
    /// The value would reach into the next slot.
    #[error(
        "invariant {id}: {value_type} at byte offset {offset} leaves its 32-byte slot: offset + size must be at most 32"
    )]
    Offset {
        /// The invariant.
        id: u64,
        /// Its type.
        value_type: ValueType,
        /// Its offset in bytes.
        offset: u8,
    },
    /// The target is not a value of the type.
    #[error(
        "invariant {id}: target {target} is no value of {value_type}: choose one in its range (two's complement if signed)"
    )]
    Target {
        /// The invariant.
        id: u64,
        /// Its type.
        value_type: ValueType,
        /// Its target.
        target: U256,
    },
    /// The text is no comparison.
    #[error("unknown comparison {0:?}: use ==, >=, <=, > or <")]
    Comparison(String),
}

impl Invariant {
    /// A checked invariant.
    ///
    /// # Errors
    /// When the type has no such width, does not fit into the slot at that offset, or does not contain the target.
    #[expect(clippy::too_many_arguments, reason = "these are the fields, in their order")]
    pub fn new(
        id: u64,
        name: impl Into<String>,
        contract: Address,
        slot: U256,
        value_type: ValueType,
        offset: u8,
        comparison: Comparison,
        target: U256,
    ) -> Result<Self, InvariantError> {
        let invariant = Self {
            id,
            name: name.into(),
            contract,
            slot,
            value_type,
            offset,
            comparison,
            target,
        };
        invariant.check()?;
        Ok(invariant)
    }

    /// Checks what [`Invariant::new`] checks; the fields are public and may have been changed since.
    ///
    /// # Errors
    /// The same.
    pub fn check(&self) -> Result<(), InvariantError> {
        let Self {
            id,
            value_type,
            offset,
            target,
            ..
        } = *self;
        if !value_type.is_valid() {
            return Err(InvariantError::Type { id, value_type });
        }
        if !value_type.fits_at(offset) {
            return Err(InvariantError::Offset { id, value_type, offset });
        }
        if !value_type.contains(target) {
            return Err(InvariantError::Target { id, value_type, target });
        }
        Ok(())
    }

    /// Reads this invariant's value out of its slot's word; `None` when type and offset do not fit a slot.
    #[must_use]
    pub fn read(&self, word: U256) -> Option<U256> {
        self.value_type.decode(word, self.offset)
    }

    /// True when a decoded value satisfies the invariant.
    #[must_use]
    pub fn holds(&self, value: U256) -> bool {
        self.comparison.holds(self.value_type.compare(value, self.target))
    }
}

impl Comparison {
    /// True when values ordered so satisfy this relation.
    #[must_use]
    pub const fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Eq => ordering.is_eq(),
            Self::Ge => ordering.is_ge(),
            Self::Le => ordering.is_le(),
            Self::Gt => ordering.is_gt(),
            Self::Lt => ordering.is_lt(),
        }
    }

    /// The relation as it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Eq => "==",
            Self::Ge => ">=",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Lt => "<",
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl FromStr for Comparison {
    type Err = InvariantError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Eq, Self::Ge, Self::Le, Self::Gt, Self::Lt]
            .into_iter()
            .find(|comparison| comparison.symbol() == text)
            .ok_or_else(|| InvariantError::Comparison(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::I256;

    use super::*;

    fn invariant(value_type: ValueType, offset: u8, target: U256) -> Result<Invariant, InvariantError> {
        Invariant::new(
            7,
            "n",
            Address::ZERO,
            U256::ZERO,
            value_type,
            offset,
            Comparison::Ge,
            target,
        )
    }

    #[test]
    fn what_cannot_be_stated_is_refused_with_its_number() {
        assert!(invariant(ValueType::Address, 12, U256::ZERO).is_ok());
        assert!(matches!(
            invariant(ValueType::Address, 13, U256::ZERO),
            Err(InvariantError::Offset { id: 7, .. })
        ));
        assert!(matches!(
            invariant(ValueType::Uint(9), 0, U256::ZERO),
            Err(InvariantError::Type { .. })
        ));
        let refused = invariant(ValueType::Uint(8), 0, U256::from(256)).unwrap_err();
        assert!(refused.to_string().contains("invariant 7") && refused.to_string().contains("uint8"));
    }

    #[test]
    fn each_comparison_means_what_it_says() {
        let (less, same, more) = (Ordering::Less, Ordering::Equal, Ordering::Greater);
        for (text, expected) in [
            ("==", [false, true, false]),
            (">=", [false, true, true]),
            ("<=", [true, true, false]),
            (">", [false, false, true]),
            ("<", [true, false, false]),
        ] {
            let comparison: Comparison = text.parse().unwrap();
            assert_eq!([less, same, more].map(|o| comparison.holds(o)), expected, "{text}");
            assert_eq!(comparison.to_string(), text);
        }
        assert!("=".parse::<Comparison>().is_err());
    }

    #[test]
    fn a_signed_invariant_compares_below_zero() {
        let floor = invariant(ValueType::Int(16), 2, I256::try_from(-100).unwrap().into_raw()).unwrap();
        let word = |n: i64| U256::from(n as u16) << 16;
        assert!(floor.holds(floor.read(word(-100)).unwrap()));
        assert!(!floor.holds(floor.read(word(-101)).unwrap()));
        assert!(floor.holds(floor.read(word(5)).unwrap()));
    }
}
