//! Where a variable stands in storage, from the compiler's own `storageLayout`.
//!
//! Rules: <https://docs.soliditylang.org/en/latest/internals/layout_in_storage.html>. A value type occupies `size` bytes
//! of its slot, `offset` bytes from the low-order end; element `k` of a mapping at slot `p` stands at
//! `keccak256(h(k) . p)`.

use alloy::primitives::{Address, B256, U256, keccak256};
use serde_json::Value;

use crate::Contract;

/// A variable in storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its slot; of a mapping the slot `p` that goes into its elements' slots.
    pub slot: U256,
    /// Bytes from the low-order end of the slot.
    pub offset: u8,
    /// Bytes it occupies; 32 for a mapping.
    pub size: u16,
    /// The Solidity type as the compiler writes it: `uint128`, `bool`, `mapping(address => uint256)`.
    pub label: String,
}

impl Variable {
    /// The slot as a 32-byte word.
    #[must_use]
    pub fn key(&self) -> B256 {
        self.slot.into()
    }

    /// The slot of this mapping's element for an address.
    #[must_use]
    pub fn of(&self, key: Address) -> U256 {
        mapping_slot(key.into_word(), self.slot)
    }

    /// The value out of the slot's whole `word`, not sign-extended.
    #[must_use]
    pub fn extract(&self, word: U256) -> U256 {
        let shifted = word >> (usize::from(self.offset) * 8);
        if self.size >= 32 {
            shifted
        } else {
            shifted & ((U256::from(1) << (usize::from(self.size) * 8)) - U256::from(1))
        }
    }
}

/// A variable could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The contract has no such variable in storage.
    #[error("{contract} has no storage variable `{name}`; constants and immutables are not in storage")]
    Unknown {
        /// The contract's name.
        contract: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// The artifact's layout is not in the compiler's form.
    #[error("artifacts/{contract}.json: the layout of `{name}` has no usable `{field}`; compile the contracts again")]
    Malformed {
        /// The contract's name.
        contract: &'static str,
        /// The variable.
        name: String,
        /// The field that is missing or out of range.
        field: &'static str,
    },
}

/// The storage variable `name` of a contract.
///
/// # Errors
/// [`LayoutError::Unknown`] when there is no such variable, [`LayoutError::Malformed`] when the artifact is damaged.
pub fn variable(contract: Contract, name: &str) -> Result<Variable, LayoutError> {
    let malformed = |field| LayoutError::Malformed {
        contract: contract.name(),
        name: name.to_owned(),
        field,
    };
    let artifact: Value = serde_json::from_str(contract.artifact()).map_err(|_| malformed("storageLayout"))?;
    let layout = artifact
        .get("storageLayout")
        .ok_or_else(|| malformed("storageLayout"))?;
    let entry = layout
        .get("storage")
        .and_then(Value::as_array)
        .ok_or_else(|| malformed("storage"))?
        .iter()
        .find(|entry| entry.get("label").and_then(Value::as_str) == Some(name))
        .ok_or_else(|| LayoutError::Unknown {
            contract: contract.name(),
            name: name.to_owned(),
        })?;

    let text = |value: &Value, field: &'static str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let slot = text(entry, "slot")
        .and_then(|slot| slot.parse().ok())
        .ok_or_else(|| malformed("slot"))?;
    let offset = entry
        .get("offset")
        .and_then(Value::as_u64)
        .and_then(|offset| u8::try_from(offset).ok())
        .filter(|offset| *offset < 32)
        .ok_or_else(|| malformed("offset"))?;
    let kind = text(entry, "type")
        .and_then(|kind| layout.get("types").and_then(|types| types.get(&kind)))
        .ok_or_else(|| malformed("type"))?;
    let size = text(kind, "numberOfBytes")
        .and_then(|size| size.parse().ok())
        .ok_or_else(|| malformed("numberOfBytes"))?;
    let label = text(kind, "label").ok_or_else(|| malformed("label"))?;
    Ok(Variable {
        slot,
        offset,
        size,
        label,
    })
}

/// The slot of a mapping's element: `keccak256(key . slot)`, both as 32-byte words.
#[must_use]
pub fn mapping_slot(key: B256, slot: U256) -> U256 {
    let mut preimage = [0_u8; 64];
    let (high, low) = preimage.split_at_mut(32);
    high.copy_from_slice(key.as_slice());
    low.copy_from_slice(&slot.to_be_bytes::<32>());
    keccak256(preimage).into()
}

#[cfg(test)]
mod tests {
    use alloy::primitives::address;

    use super::*;

    #[test]
    fn packed_variables_are_found_by_name() {
        let assets = variable(Contract::Vault, "totalAssets").unwrap();
        let shares = variable(Contract::Vault, "totalShares").unwrap();
        assert_eq!(
            (assets.slot, assets.offset, assets.size, assets.label.as_str()),
            (U256::from(1), 0, 16, "uint128")
        );
        assert_eq!((shares.slot, shares.offset), (U256::from(1), 16));
        let word = (U256::from(7) << 128) | U256::from(9);
        assert_eq!(
            (assets.extract(word), shares.extract(word)),
            (U256::from(9), U256::from(7))
        );
    }

    #[test]
    fn a_whole_word_is_extracted_as_it_is() {
        let supply = variable(Contract::Token, "totalSupply").unwrap();
        assert_eq!(supply.extract(U256::MAX), U256::MAX);
    }

    /// keccak256(000..01 . 000..00), the well-known slot of `mapping[1]` at slot 0.
    #[test]
    fn mapping_slots_follow_the_compilers_rule() {
        let slot = mapping_slot(B256::with_last_byte(1), U256::ZERO);
        assert_eq!(
            format!("{slot:#x}"),
            "0xada5013122d395ba3c54772283fb069b10426056ef8ca54750cb9bb552a59e7d"
        );
        let balances = variable(Contract::Token, "balanceOf").unwrap();
        let holder = address!("00000000000000000000000000000000000000aa");
        assert_eq!(balances.of(holder), mapping_slot(holder.into_word(), U256::from(3)));
    }

    #[test]
    fn an_unknown_variable_is_named() {
        let error = variable(Contract::Vault, "seed").unwrap_err();
        assert!(
            error.to_string().contains("Vault has no storage variable `seed`"),
            "{error}"
        );
    }
}
