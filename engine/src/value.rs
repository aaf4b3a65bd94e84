//! Solidity value types and how they lie in a storage slot.
//!
//! Solidity packs values smaller than 32 bytes: `offset` counts bytes from the low-order end of the slot, as in the
//! `storageLayout` of solc (<https://docs.soliditylang.org/en/latest/internals/layout_in_storage.html>).
//! A decoded value is a `U256`: unsigned types, addresses and `bytesN` as a right-aligned number, signed ones sign-extended
//! to 256-bit two's complement, `bool` as 0 or 1.

use std::{cmp::Ordering, fmt, str::FromStr};

use crate::U256;

/// A Solidity value type. An enum is `Uint(8)`, a contract is `Address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// `uintN`, N bits: a multiple of 8 from 8 to 256.
    Uint(u16),
    /// `intN`, N bits: a multiple of 8 from 8 to 256.
    Int(u16),
    /// `bool`, one byte; any byte but zero is true.
    Bool,
    /// `address`, 20 bytes.
    Address,
    /// `bytesN`, N bytes: 1 to 32.
    FixedBytes(u8),
}

/// A text or a width that is no value type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown value type {0:?}: use uint8 to uint256, int8 to int256 (steps of 8), bool, address, or bytes1 to bytes32"
)]
pub struct ValueTypeError(pub String);

impl ValueType {
    /// Size in bytes. Meaningful only for a valid width.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Uint(bits) | Self::Int(bits) => (bits / 8) as usize,
            Self::Bool => 1,
            Self::Address => 20,
            Self::FixedBytes(bytes) => bytes as usize,
        }
    }

    /// True when the width is one that Solidity has.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        match self {
            Self::Uint(bits) | Self::Int(bits) => bits >= 8 && bits <= 256 && bits % 8 == 0,
            Self::Bool | Self::Address => true,
            Self::FixedBytes(bytes) => bytes >= 1 && bytes <= 32,
        }
    }

    /// True when a value of this type at this byte offset lies inside one slot.
    #[must_use]
    pub const fn fits_at(self, offset: u8) -> bool {
        self.is_valid() && offset as usize + self.size() <= 32
    }

    /// True when the number is a decoded value of this type (two's complement for signed types).
    #[must_use]
    #[inline]
    pub fn contains(self, value: U256) -> bool {
        match self {
            Self::Uint(256) => true,
            Self::Bool => value <= U256::from(1),
            _ => self.is_valid() && self.extend(value & self.mask()) == value,
        }
    }

    /// Reads the value at a byte offset of a slot's word; `None` when it does not lie inside one slot.
    #[must_use]
    #[inline]
    pub fn decode(self, word: U256, offset: u8) -> Option<U256> {
        // Most slots hold one number, which needs no shifting.
        if matches!(self, Self::Uint(256)) && offset == 0 {
            return Some(word);
        }
        if !self.fits_at(offset) {
            return None;
        }
        let raw = (word >> (usize::from(offset) * 8)) & self.mask();
        Some(match self {
            Self::Bool => U256::from(u8::from(!raw.is_zero())),
            _ => self.extend(raw),
        })
    }

    /// Puts a value at a byte offset into a slot's word, leaving its other bytes alone. `None` when the value is not of this
    /// type or does not lie inside one slot.
    #[must_use]
    pub fn encode(self, word: U256, offset: u8, value: U256) -> Option<U256> {
        if !self.fits_at(offset) || !self.contains(value) {
            return None;
        }
        let shift = usize::from(offset) * 8;
        Some((word & !(self.mask() << shift)) | ((value & self.mask()) << shift))
    }

    /// Compares two decoded values: as signed numbers for `intN`, else as unsigned ones.
    #[must_use]
    pub fn compare(self, left: U256, right: U256) -> Ordering {
        match self {
            // Flipping the sign bit maps two's complement order onto unsigned order.
            Self::Int(_) => (left ^ SIGN_BIT).cmp(&(right ^ SIGN_BIT)),
            _ => left.cmp(&right),
        }
    }

    fn mask(self) -> U256 {
        let bits = self.size() * 8;
        if bits >= 256 {
            U256::MAX
        } else {
            (U256::from(1) << bits) - U256::from(1)
        }
    }

    fn extend(self, raw: U256) -> U256 {
        match self {
            Self::Int(bits) if bits < 256 && raw.bit(usize::from(bits) - 1) => raw | !self.mask(),
            _ => raw,
        }
    }
}

const SIGN_BIT: U256 = U256::from_limbs([0, 0, 0, 1 << 63]);

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uint(bits) => write!(f, "uint{bits}"),
            Self::Int(bits) => write!(f, "int{bits}"),
            Self::Bool => f.write_str("bool"),
            Self::Address => f.write_str("address"),
            Self::FixedBytes(bytes) => write!(f, "bytes{bytes}"),
        }
    }
}

impl FromStr for ValueType {
    type Err = ValueTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let width = |digits: &str| -> Option<u16> {
            // "uint08" and "uint+8" are not Solidity, though they parse as numbers.
            let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
            plain.then(|| digits.parse().ok()).flatten()
        };
        let parsed = match text {
            "bool" => Some(Self::Bool),
            "address" => Some(Self::Address),
            "uint" => Some(Self::Uint(256)),
            "int" => Some(Self::Int(256)),
            _ => {
                if let Some(digits) = text.strip_prefix("uint") {
                    width(digits).map(Self::Uint)
                } else if let Some(digits) = text.strip_prefix("int") {
                    width(digits).map(Self::Int)
                } else if let Some(digits) = text.strip_prefix("bytes") {
                    width(digits).and_then(|n| u8::try_from(n).ok()).map(Self::FixedBytes)
                } else {
                    None
                }
            }
        };
        parsed
            .filter(|value_type| value_type.is_valid())
            .ok_or_else(|| ValueTypeError(text.chars().take(40).collect()))
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{I256, uint};
    use proptest::prelude::*;

    use super::*;

    /// struct S { uint64 a = 0x1122334455667788; int32 b = -2; bool c = true; address d; } as solc packs it.
    const PACKED: U256 = uint!(0x0000000000000000000000000000000000000001fffffffe1122334455667788_U256);

    #[test]
    fn values_are_read_from_where_solc_packs_them() {
        assert_eq!(
            ValueType::Uint(64).decode(PACKED, 0),
            Some(U256::from(0x1122_3344_5566_7788_u64))
        );
        assert_eq!(
            ValueType::Int(32).decode(PACKED, 8),
            Some(I256::try_from(-2).unwrap().into_raw())
        );
        assert_eq!(ValueType::Bool.decode(PACKED, 12), Some(U256::from(1)));
        assert_eq!(ValueType::Bool.decode(PACKED, 13), Some(U256::ZERO));
        assert_eq!(ValueType::Uint(8).decode(PACKED, 7), Some(U256::from(0x11)));
        assert_eq!(ValueType::FixedBytes(2).decode(PACKED, 6), Some(U256::from(0x1122)));
        let owner = uint!(0x00000000000000000000_d8da6bf26964af9d7eed9e03e53415d37aa96045_01_02_U256);
        assert_eq!(
            ValueType::Address.decode(owner, 2),
            Some(uint!(0xd8da6bf26964af9d7eed9e03e53415d37aa96045_U256))
        );
    }

    #[test]
    fn a_value_that_leaves_its_slot_is_not_read() {
        assert_eq!(ValueType::Address.decode(U256::MAX, 13), None);
        assert_eq!(ValueType::Uint(256).decode(U256::MAX, 1), None);
        assert_eq!(ValueType::Bool.decode(U256::MAX, 32), None);
        assert_eq!(ValueType::Uint(7).decode(U256::MAX, 0), None);
        assert_eq!(ValueType::FixedBytes(33).decode(U256::MAX, 0), None);
    }

    #[test]
    fn the_range_of_a_type_is_exact() {
        assert!(ValueType::Uint(8).contains(U256::from(255)));
        assert!(!ValueType::Uint(8).contains(U256::from(256)));
        assert!(ValueType::Int(8).contains(I256::try_from(-128).unwrap().into_raw()));
        assert!(!ValueType::Int(8).contains(I256::try_from(-129).unwrap().into_raw()));
        assert!(!ValueType::Int(8).contains(U256::from(128)));
        assert!(!ValueType::Bool.contains(U256::from(2)));
        assert!(ValueType::FixedBytes(32).contains(U256::MAX));
    }

    #[test]
    fn texts_that_are_no_type_say_what_is_allowed() {
        for bad in [
            "", "uint7", "uint264", "int0", "bytes0", "bytes33", "uint08", "uint+8", "string", "Uint256", "uint8 ",
        ] {
            assert!(bad.parse::<ValueType>().is_err(), "{bad}");
        }
        assert_eq!("uint".parse(), Ok(ValueType::Uint(256)));
    }

    fn any_type() -> impl Strategy<Value = ValueType> {
        prop_oneof![
            (1u16..=32).prop_map(|n| ValueType::Uint(n * 8)),
            (1u16..=32).prop_map(|n| ValueType::Int(n * 8)),
            Just(ValueType::Bool),
            Just(ValueType::Address),
            (1u8..=32).prop_map(ValueType::FixedBytes),
        ]
    }

    fn any_word() -> impl Strategy<Value = U256> {
        any::<[u64; 4]>().prop_map(U256::from_limbs)
    }

    proptest! {
        #[test]
        fn what_is_encoded_at_any_offset_is_decoded_and_nothing_else_moves(
            value_type in any_type(), offset in 0u8..32, word in any_word(), value in any_word()
        ) {
            prop_assume!(value_type.fits_at(offset));
            let value = value_type.decode(value, 0).unwrap();
            let stored = value_type.encode(word, offset, value).unwrap();
            prop_assert_eq!(value_type.decode(stored, offset), Some(value));
            let shift = usize::from(offset) * 8;
            let hole = !(value_type.mask() << shift);
            prop_assert_eq!(stored & hole, word & hole);
        }

        #[test]
        fn a_decoded_value_is_always_of_its_type(value_type in any_type(), offset in 0u8..40, word in any_word()) {
            if let Some(value) = value_type.decode(word, offset) {
                prop_assert!(value_type.contains(value));
            }
        }

        #[test]
        fn signed_order_is_that_of_i256(bits in 1u16..=32, left in any_word(), right in any_word()) {
            let value_type = ValueType::Int(bits * 8);
            let (left, right) = (value_type.decode(left, 0).unwrap(), value_type.decode(right, 0).unwrap());
            prop_assert_eq!(value_type.compare(left, right), I256::from_raw(left).cmp(&I256::from_raw(right)));
        }

        #[test]
        fn every_type_reads_back(value_type in any_type()) {
            prop_assert_eq!(value_type.to_string().parse(), Ok(value_type));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = text.parse::<ValueType>();
        }
    }
}
