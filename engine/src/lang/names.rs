//! What the names in an expression stand for: contracts, and what is known of them.

use std::collections::BTreeMap;

use alloy_json_abi::JsonAbi;
use serde_json::Value;

use super::{layout::Layout, parser::KEYWORDS};
use crate::Address;

/// A contract or an account that expressions may name.
#[derive(Clone, Debug)]
pub struct Contract {
    pub(super) address: Address,
    pub(super) layout: Option<Layout>,
    pub(super) abi: Option<JsonAbi>,
}

/// The names that an expression may use. Without any, an expression spells out everything that it reads.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub(super) contracts: BTreeMap<String, Contract>,
}

/// Why a contract cannot be named or described so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is none.
    #[error("{0:?} is no name: use letters, digits and _, beginning with a letter, at most {LONGEST_NAME}")]
    Spelling(String),
    /// The name means something in the language.
    #[error("`{0}` is a word of the language; choose another name")]
    Reserved(String),
    /// The layout is none.
    #[error("layout: {0}")]
    Layout(String),
    /// The ABI is none.
    #[error("abi: {0}")]
    Abi(String),
}

/// Most characters of a name.
pub(super) const LONGEST_NAME: usize = 100;

/// Words that mean something where a contract's name could stand.
pub(super) const RESERVED: [&str; 29] = [
    "pre", "post", "delta", "min", "max", "abs", "number", "address", "slot", "mapping", "call", "balance", "nonce",
    "codehash", "count", "sum", "logs", "any", "data", "topic", "block", "tx", "sender", "and", "or", "not", "implies",
    "unless", "in",
];

impl Contract {
    /// A contract of which only the address is known, or an account without code.
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self {
            address,
            layout: None,
            abi: None,
        }
    }

    /// Adds the storage layout: what solc writes as `storageLayout`, or an artifact that has it under this name.
    ///
    /// # Errors
    /// [`NameError::Layout`] when it is something else.
    pub fn with_layout(mut self, json: &Value) -> Result<Self, NameError> {
        let layout = Layout::from_json(json).map_err(|error| NameError::Layout(error.to_string()))?;
        self.layout = Some(layout);
        Ok(self)
    }

    /// Adds the ABI: a JSON ABI, a list of lines such as `function totalSupply() view returns (uint256)`, or an artifact that has
    /// either as `abi`.
    ///
    /// # Errors
    /// [`NameError::Abi`] when it is something else.
    pub fn with_abi(mut self, json: &Value) -> Result<Self, NameError> {
        let json = json.get("abi").unwrap_or(json);
        let wrong = |why: String| NameError::Abi(format!("it is no ABI: {why}"));
        let lines = json
            .as_array()
            .filter(|items| !items.is_empty() && items.iter().all(Value::is_string));
        let abi = match lines {
            Some(lines) => {
                JsonAbi::parse(lines.iter().filter_map(Value::as_str)).map_err(|error| wrong(error.to_string()))
            }
            None => serde_json::from_value(json.clone()).map_err(|error| wrong(error.to_string())),
        };
        self.abi = Some(abi?);
        Ok(self)
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }
}

impl Names {
    /// Names a contract; the last of two with the same name counts.
    ///
    /// # Errors
    /// When the name cannot be used in an expression.
    pub fn insert(&mut self, name: impl Into<String>, contract: Contract) -> Result<(), NameError> {
        let name = name.into();
        let first = name
            .chars()
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        let rest = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'));
        if !first || !rest || name.len() > LONGEST_NAME {
            return Err(NameError::Spelling(name.chars().take(LONGEST_NAME).collect()));
        }
        let fixed_bytes = name.parse::<crate::ValueType>().is_ok();
        if RESERVED.contains(&name.as_str()) || KEYWORDS.contains(&name.as_str()) || fixed_bytes {
            return Err(NameError::Reserved(name));
        }
        self.contracts.insert(name, contract);
        Ok(())
    }

    /// The contract of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Contract> {
        self.contracts.get(name)
    }
}
