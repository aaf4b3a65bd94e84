//! The fields of `evm-case/1` as they stand in the file, nothing checked yet.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

use crate::{Address, B256, Bytes, U256};

/// Name of the schema.
pub(super) const SCHEMA: &str = "evm-case/1";

/// A number: `0x`-hex in a string, or a JSON number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Quantity(pub(super) U256);

impl From<u64> for Quantity {
    fn from(value: u64) -> Self {
        Self(U256::from(value))
    }
}

impl Quantity {
    pub(super) fn to_u64(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }

    pub(super) fn to_u128(self) -> Option<u128> {
        u128::try_from(self.0).ok()
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuantityVisitor;
        impl Visitor<'_> for QuantityVisitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number as 0x-hex string of at most 64 digits or as JSON number")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Quantity, E> {
                Ok(value.into())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                text.strip_prefix("0x")
                    .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|digits| U256::from_str_radix(digits, 16).ok())
                    .map(Quantity)
                    .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(QuantityVisitor)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CaseJson {
    pub(super) schema: String,
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) chain_id: Quantity,
    pub(super) hardfork: String,
    #[serde(default)]
    pub(super) relaxed: bool,
    pub(super) block: BlockJson,
    #[serde(default)]
    pub(super) block_hashes: BTreeMap<String, B256>,
    pub(super) txs: Vec<TxJson>,
    pub(super) pre: BTreeMap<Address, AccountJson>,
    #[serde(default)]
    pub(super) expect: ExpectJson,
    /// What the recorder's own run gave; of interest where `expect` says less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) observed: Option<ExpectedJson>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) invariants: Vec<InvariantJson>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BlockJson {
    pub(super) number: Quantity,
    pub(super) timestamp: Quantity,
    pub(super) beneficiary: Address,
    pub(super) gas_limit: Quantity,
    #[serde(default)]
    pub(super) base_fee: Quantity,
    #[serde(default)]
    pub(super) difficulty: Quantity,
    #[serde(default)]
    pub(super) prevrandao: Option<B256>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) excess_blob_gas: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hash: Option<B256>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent_hash: Option<B256>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TxJson {
    pub(super) hash: B256,
    pub(super) r#type: Quantity,
    pub(super) from: Address,
    #[serde(default)]
    pub(super) to: Option<Address>,
    pub(super) nonce: Quantity,
    pub(super) gas_limit: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gas_price: Option<Quantity>,
    pub(super) value: Quantity,
    pub(super) input: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chain_id: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) access_list: Vec<AccessJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_fee_per_gas: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_priority_fee_per_gas: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_fee_per_blob_gas: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) blob_hashes: Vec<B256>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) authorization_list: Vec<AuthorizationJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) v: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) r: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s: Option<Quantity>,
    #[serde(rename = "yParity", default, skip_serializing_if = "Option::is_none")]
    pub(super) y_parity: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) raw: Option<Bytes>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AccessJson {
    pub(super) address: Address,
    #[serde(rename = "storageKeys", alias = "storage_keys", default)]
    pub(super) storage_keys: Vec<B256>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AuthorizationJson {
    #[serde(alias = "chainId")]
    pub(super) chain_id: Quantity,
    pub(super) address: Address,
    pub(super) nonce: Quantity,
    #[serde(rename = "yParity", alias = "y_parity", alias = "v")]
    pub(super) y_parity: Quantity,
    pub(super) r: Quantity,
    pub(super) s: Quantity,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct AccountJson {
    #[serde(default)]
    pub(super) balance: Quantity,
    #[serde(default)]
    pub(super) nonce: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code_hash: Option<B256>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) storage: BTreeMap<Quantity, Quantity>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ExpectJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) block_gas_used: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) per_tx: Vec<ExpectedJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) gas_used: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) logs: Option<Quantity>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ExpectedJson {
    pub(super) gas_used: Quantity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) logs: Option<Quantity>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct InvariantJson {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) predicate: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) slot: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pre: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) num: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) den: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<Quantity>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) comparison: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<Quantity>,
}
