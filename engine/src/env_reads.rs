//! What an execution read of its block.
//!
//! A pending transaction's verdict carries over to a new head unless a value that it read has changed: slots and accounts are in
//! the recorded [`crate::Prestate`], the rest is here.

use std::{fmt, ops::BitOr};

/// A set of those values of the block environment that executed code asked for.
///
/// Only instructions count. What every transaction depends on without asking is never listed: it must fit into the block's gas
/// limit and pay the base fee, and sender and beneficiary are charged and credited by it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct EnvReads(u16);

impl EnvReads {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// `NUMBER`.
    pub const NUMBER: Self = Self(1);
    /// `TIMESTAMP`.
    pub const TIMESTAMP: Self = Self(1 << 1);
    /// `BASEFEE`.
    pub const BASE_FEE: Self = Self(1 << 2);
    /// `PREVRANDAO`, before the merge `DIFFICULTY`.
    pub const PREVRANDAO: Self = Self(1 << 3);
    /// `COINBASE`.
    pub const BENEFICIARY: Self = Self(1 << 4);
    /// `GASLIMIT` of the block.
    pub const GAS_LIMIT: Self = Self(1 << 5);
    /// `BLOBBASEFEE`.
    pub const BLOB_BASE_FEE: Self = Self(1 << 6);
    /// `BLOCKHASH`: which ones is in [`crate::Prestate::block_hashes`]. It also depends on the number, since only the last 256
    /// blocks have one.
    pub const BLOCK_HASH: Self = Self(1 << 7);
    /// `GASPRICE`: of a transaction with a priority fee (EIP-1559) it follows the base fee.
    pub const GAS_PRICE: Self = Self(1 << 8);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::NUMBER, "NUMBER"),
        (Self::TIMESTAMP, "TIMESTAMP"),
        (Self::BASE_FEE, "BASEFEE"),
        (Self::PREVRANDAO, "PREVRANDAO"),
        (Self::BENEFICIARY, "COINBASE"),
        (Self::GAS_LIMIT, "GASLIMIT"),
        (Self::BLOB_BASE_FEE, "BLOBBASEFEE"),
        (Self::BLOCK_HASH, "BLOCKHASH"),
        (Self::GAS_PRICE, "GASPRICE"),
    ];

    /// True when nothing was read.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True when all of these were read.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when any of these was read.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// True when code asked for anything of the block itself; the gas price is one of the transaction.
    pub(crate) const fn of_block(self) -> bool {
        self.0 & !Self::GAS_PRICE.0 != 0
    }
}

impl BitOr for EnvReads {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

/// The names of the instructions, in a fixed order: `NUMBER|TIMESTAMP`; `-` for nothing.
impl fmt::Display for EnvReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let names = Self::NAMES.iter().filter(|(one, _)| self.contains(*one));
        for (place, (_, name)) in names.enumerate() {
            if place > 0 {
                f.write_str("|")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for EnvReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvReads({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_a_bit_of_its_own_with_a_name_of_its_own() {
        let mut all = EnvReads::NONE;
        for (one, name) in EnvReads::NAMES {
            assert!(!all.intersects(one), "{name}");
            all.insert(one);
            assert!(all.contains(one));
            assert_eq!(one.to_string(), name);
        }
        assert_eq!(EnvReads::NONE.to_string(), "-");
        let some = EnvReads::TIMESTAMP | EnvReads::NUMBER;
        assert_eq!(some.to_string(), "NUMBER|TIMESTAMP");
        assert!(some.intersects(EnvReads::NUMBER) && !some.contains(all) && all.contains(some));
    }

    #[test]
    fn the_gas_price_is_none_of_the_block() {
        assert!(!EnvReads::GAS_PRICE.of_block() && !EnvReads::NONE.of_block());
        assert!((EnvReads::GAS_PRICE | EnvReads::NUMBER).of_block());
    }
}
