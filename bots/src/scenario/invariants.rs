//! The storage invariants that watch the scenario, in the original wire form (contract, type, target, storage slot and
//! type of the value) with a name, the value's byte offset in its slot, and the network.

use alloy::primitives::{Address, B256, U256};
use contracts::{Contract, layout};
use serde::{Deserialize, Serialize};

use super::setup::{Town, lookup};
use super::{NETWORK, ScenarioError};

/// A storage invariant as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedInvariant {
    /// Name for people.
    pub name: String,
    /// Contract whose storage is read.
    pub contract: Address,
    /// `==`, `>=`, `<=`, `>` or `<`: the value stands left of it.
    #[serde(rename = "type")]
    pub comparison: String,
    /// Right of it, in decimal.
    pub target: String,
    /// Slot, 32 bytes.
    pub storage: B256,
    /// Solidity value type.
    pub slot_type: String,
    /// Bytes from the low-order end of the slot.
    pub offset: u8,
    /// Network that the contract is on.
    pub network: String,
}

/// The one that the attack breaks.
pub const BROKEN: &str = "vault-assets-cover-seed";

/// All of the scenario's invariants; the attack breaks [`BROKEN`] and no other.
///
/// # Errors
/// When a contract has no such variable.
pub fn stated(town: &Town, owner: Address) -> Result<Vec<StatedInvariant>, ScenarioError> {
    let owner = U256::from_be_slice(owner.as_slice());
    let (vault, oak) = (town.vault, *lookup(&town.tokens, 0)?);
    let (first, second) = (lookup(&town.pairs, 0)?.address, lookup(&town.pairs, 1)?.address);
    let (none, minimum, fee) = (U256::ZERO, U256::from(1000), U256::from(100));
    [
        (BROKEN, vault, Contract::Vault, "totalAssets", ">=", town.seed),
        ("vault-owner-stays", vault, Contract::Vault, "owner", "==", owner),
        ("vault-lock-is-released", vault, Contract::Vault, "locked", "==", none),
        (
            "vault-flash-fee-bounded",
            vault,
            Contract::Vault,
            "flashFeeBps",
            "<=",
            fee,
        ),
        (
            "oak-supply-fixed",
            oak,
            Contract::Token,
            "totalSupply",
            "==",
            town.supply,
        ),
        (
            "oak-elm-reserve0-not-emptied",
            first,
            Contract::Pair,
            "reserve0",
            ">",
            minimum,
        ),
        (
            "oak-elm-reserve1-not-emptied",
            first,
            Contract::Pair,
            "reserve1",
            ">",
            minimum,
        ),
        ("elm-ash-swap-fee-bounded", second, Contract::Pair, "feeBps", "<=", fee),
        (
            "elm-ash-liquidity-never-gone",
            second,
            Contract::Pair,
            "totalLiquidity",
            ">=",
            minimum,
        ),
    ]
    .into_iter()
    .map(|(name, address, contract, variable, comparison, target)| {
        let variable = layout::variable(contract, variable)?;
        Ok(StatedInvariant {
            name: name.to_owned(),
            contract: address,
            comparison: comparison.to_owned(),
            target: target.to_string(),
            storage: variable.key(),
            slot_type: variable.label,
            offset: variable.offset,
            network: NETWORK.to_owned(),
        })
    })
    .collect()
}
