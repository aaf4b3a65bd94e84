//! Where a contract's variables lie: the `storageLayout` that solc writes, and its rules for mappings and arrays.
//!
//! <https://docs.soliditylang.org/en/latest/internals/layout_in_storage.html>: the element of a mapping at slot `p` with key `k`
//! lies at `keccak256(h(k) . p)`, that of a dynamic array from `keccak256(p)` on, packed as values in a struct are.

use std::collections::BTreeMap;

use alloy::primitives::{Keccak256, keccak256};
use serde::Deserialize;
use serde_json::Value;

use super::program::encode_abi;
use crate::{U256, ValueType};

/// A contract's storage layout.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Layout {
    storage: Vec<Variable>,
    /// Null for a contract without variables.
    types: Option<BTreeMap<String, Type>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Variable {
    label: String,
    slot: String,
    offset: u8,
    #[serde(rename = "type")]
    type_id: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Type {
    encoding: String,
    label: String,
    #[serde(rename = "numberOfBytes")]
    bytes: String,
    key: Option<String>,
    value: Option<String>,
    base: Option<String>,
    members: Option<Vec<Variable>>,
}

/// Why something in a layout cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LayoutError {
    #[error(
        "it is neither a solc storageLayout (an object with `storage` and `types`) nor an artifact that holds one as `storageLayout`: {0}"
    )]
    Foreign(String),
    #[error("the layout is damaged: {0}")]
    Damaged(String),
    #[error("there is no {what} `{name}`")]
    Unknown {
        what: &'static str,
        name: String,
        known: Vec<String>,
    },
    #[error("two variables are called `{0}`; read the one that is meant with slot(..)")]
    Ambiguous(String),
    #[error("`{0}` has no members")]
    NoMembers(String),
    #[error("`{0}` cannot be indexed")]
    NoIndex(String),
    #[error("index {index} is beyond the end of `{label}`")]
    Beyond { index: U256, label: String },
    #[error("`{0}` needs a key in brackets")]
    NeedsKey(String),
    #[error("`{0}` needs an index in brackets, or `.length`")]
    NeedsIndex(String),
    #[error("`{0}` needs a member: `.name`")]
    NeedsMember(String),
    #[error("`{0}` is no value of at most 32 bytes; it cannot be read")]
    NoValue(String),
    #[error("the layout does not say which type `{label}` stands for")]
    UserDefined { label: String, bytes: usize },
    #[error("`{label}` has {bytes} bytes, {asked} has {}", asked.size())]
    OtherSize {
        label: String,
        bytes: usize,
        asked: ValueType,
    },
}

/// What stands in the brackets behind something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyType {
    /// A key of this type.
    Value(ValueType),
    /// A text or bytes.
    Bytes,
    /// The index of an element.
    Index,
}

/// A key or index, read.
#[derive(Clone, Debug)]
pub(super) enum Key {
    Value(U256),
    Bytes(Vec<u8>),
}

/// A place in storage on the way to a value.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    layout: &'a Layout,
    slot: U256,
    offset: u8,
    type_id: &'a str,
    /// The length of a dynamic array.
    length: bool,
}

impl Layout {
    /// Reads a layout, or an artifact with one in it.
    pub(super) fn from_json(value: &Value) -> Result<Self, LayoutError> {
        let layout = value.get("storageLayout").unwrap_or(value);
        Self::deserialize(layout).map_err(|error| LayoutError::Foreign(error.to_string()))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.storage.iter().any(|variable| variable.label == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.storage.iter().map(|variable| variable.label.as_str())
    }

    /// Where a variable lies.
    pub(super) fn variable(&self, name: &str) -> Result<Place<'_>, LayoutError> {
        let mut found = self.storage.iter().filter(|variable| variable.label == name);
        let Some(variable) = found.next() else {
            return Err(LayoutError::Unknown {
                what: "variable",
                name: name.to_owned(),
                known: self.names().map(str::to_owned).collect(),
            });
        };
        if found.next().is_some() {
            return Err(LayoutError::Ambiguous(name.to_owned()));
        }
        Ok(Place {
            layout: self,
            slot: number(&variable.slot)?,
            offset: variable.offset,
            type_id: &variable.type_id,
            length: false,
        })
    }

    fn type_of(&self, id: &str) -> Result<&Type, LayoutError> {
        let types = self.types.as_ref();
        types
            .and_then(|types| types.get(id))
            .ok_or_else(|| LayoutError::Damaged(format!("type {id} is missing")))
    }
}

impl<'a> Place<'a> {
    /// A member of a struct, or the length of a dynamic array.
    pub(super) fn member(self, name: &str) -> Result<Self, LayoutError> {
        let kind = self.kind()?;
        if kind.encoding == "dynamic_array" && name == "length" && !self.length {
            return Ok(Self { length: true, ..self });
        }
        let Some(members) = &kind.members else {
            return Err(LayoutError::NoMembers(kind.label.clone()));
        };
        let Some(member) = members.iter().find(|member| member.label == name) else {
            return Err(LayoutError::Unknown {
                what: "member",
                name: name.to_owned(),
                known: members.iter().map(|member| member.label.clone()).collect(),
            });
        };
        Ok(Self {
            slot: self.slot.wrapping_add(number(&member.slot)?),
            offset: member.offset,
            type_id: &member.type_id,
            ..self
        })
    }

    /// What the brackets behind it may hold.
    pub(super) fn key_type(&self) -> Result<KeyType, LayoutError> {
        let kind = self.kind()?;
        if self.length {
            return Err(LayoutError::NoIndex("length".to_owned()));
        }
        match &kind.key {
            Some(key) => {
                let key_kind = self.layout.type_of(key)?;
                if key_kind.encoding == "bytes" {
                    return Ok(KeyType::Bytes);
                }
                match elementary(key, key_kind) {
                    Err(LayoutError::UserDefined { bytes, .. }) => {
                        // A key is padded by its type; those of full width are not padded at all.
                        let full = (bytes == 32).then_some(KeyType::Value(ValueType::Uint(256)));
                        full.ok_or_else(|| LayoutError::NoIndex(kind.label.clone()))
                    }
                    other => other.map(KeyType::Value),
                }
            }
            None if kind.base.is_some() => Ok(KeyType::Index),
            None => Err(LayoutError::NoIndex(kind.label.clone())),
        }
    }

    /// The element of a mapping or array.
    pub(super) fn index(self, key: &Key) -> Result<Self, LayoutError> {
        let kind = self.kind()?;
        let key_type = self.key_type()?;
        match (key_type, key) {
            (KeyType::Value(value_type), Key::Value(key)) => {
                let slot = mapping_slot(self.slot, encode_abi(value_type, *key));
                self.mapped(kind, slot)
            }
            (KeyType::Bytes, Key::Bytes(key)) => {
                let mut hasher = Keccak256::new();
                hasher.update(key);
                hasher.update(self.slot.to_be_bytes::<32>());
                let slot = U256::from_be_bytes(hasher.finalize().0);
                self.mapped(kind, slot)
            }
            (KeyType::Index, Key::Value(index)) => self.element(kind, *index),
            _ => Err(LayoutError::NoIndex(kind.label.clone())),
        }
    }

    fn mapped(self, kind: &'a Type, slot: U256) -> Result<Self, LayoutError> {
        let value = kind.value.as_deref();
        Ok(Self {
            slot,
            offset: 0,
            type_id: value.ok_or_else(|| LayoutError::Damaged(format!("{} has no value type", kind.label)))?,
            ..self
        })
    }

    fn element(self, kind: &'a Type, index: U256) -> Result<Self, LayoutError> {
        let base = kind.base.as_deref().unwrap_or_default();
        let size = size(self.layout.type_of(base)?)?;
        let start = match kind.encoding.as_str() {
            "dynamic_array" => U256::from_be_bytes(keccak256(self.slot.to_be_bytes::<32>()).0),
            _ => {
                let length = kind.label.strip_suffix(']').and_then(|label| label.rsplit_once('['));
                let length = length.and_then(|(_, length)| length.parse::<U256>().ok());
                let length = length.ok_or_else(|| LayoutError::Damaged(format!("{} has no length", kind.label)))?;
                if index >= length {
                    return Err(LayoutError::Beyond {
                        index,
                        label: kind.label.clone(),
                    });
                }
                self.slot
            }
        };
        // Values smaller than a slot share one, as many as fit; larger ones take whole slots.
        let (slots, offset) = if size < 32 {
            let per_slot = 32 / size;
            let (slot, within) = index.div_rem(U256::from(per_slot));
            (slot, usize::try_from(within).unwrap_or(0) * size)
        } else {
            (index.wrapping_mul(U256::from(size.div_ceil(32))), 0)
        };
        Ok(Self {
            slot: start.wrapping_add(slots),
            offset: u8::try_from(offset).unwrap_or(0),
            type_id: base,
            ..self
        })
    }

    /// Slot, type and byte offset of the value that lies here; `asked` says how to read it where the layout does not.
    pub(super) fn value(&self, asked: Option<ValueType>) -> Result<(U256, ValueType, u8), LayoutError> {
        if self.length {
            return Ok((self.slot, ValueType::Uint(256), 0));
        }
        let kind = self.kind()?;
        let (known, bytes) = match elementary(self.type_id, kind) {
            Ok(value_type) => (Some(value_type), value_type.size()),
            Err(LayoutError::UserDefined { bytes, .. }) => (None, bytes),
            Err(other) => return Err(other),
        };
        let value_type = match (asked, known) {
            (Some(asked), _) if asked.size() != bytes => {
                return Err(LayoutError::OtherSize {
                    label: kind.label.clone(),
                    bytes,
                    asked,
                });
            }
            (Some(asked), _) => asked,
            (None, Some(known)) => known,
            (None, None) => {
                return Err(LayoutError::UserDefined {
                    label: kind.label.clone(),
                    bytes,
                });
            }
        };
        if !value_type.fits_at(self.offset) {
            return Err(LayoutError::Damaged(format!("{} leaves its slot", kind.label)));
        }
        Ok((self.slot, value_type, self.offset))
    }

    fn kind(&self) -> Result<&'a Type, LayoutError> {
        self.layout.type_of(self.type_id)
    }
}

/// The slot of a mapping's element: `keccak256(key . slot)`, the key already padded.
pub(super) fn mapping_slot(slot: U256, key: U256) -> U256 {
    let mut bytes = [0; 64];
    let (front, back) = bytes.split_at_mut(32);
    front.copy_from_slice(&key.to_be_bytes::<32>());
    back.copy_from_slice(&slot.to_be_bytes::<32>());
    U256::from_be_bytes(keccak256(bytes).0)
}

/// The value type that a type of the layout is.
fn elementary(id: &str, kind: &Type) -> Result<ValueType, LayoutError> {
    match kind.encoding.as_str() {
        "mapping" => return Err(LayoutError::NeedsKey(kind.label.clone())),
        "dynamic_array" => return Err(LayoutError::NeedsIndex(kind.label.clone())),
        "bytes" => return Err(LayoutError::NoValue(kind.label.clone())),
        _ => {}
    }
    if kind.base.is_some() {
        return Err(LayoutError::NeedsIndex(kind.label.clone()));
    }
    if kind.members.is_some() {
        return Err(LayoutError::NeedsMember(kind.label.clone()));
    }
    let bytes = size(kind)?;
    let value_type = match id {
        "t_address" | "t_address_payable" => Some(ValueType::Address),
        _ if id.starts_with("t_contract") => Some(ValueType::Address),
        _ if id.starts_with("t_enum") => u16::try_from(bytes * 8).ok().map(ValueType::Uint),
        _ if id.starts_with("t_userDefinedValueType") => {
            return Err(LayoutError::UserDefined {
                label: kind.label.clone(),
                bytes,
            });
        }
        _ => id.strip_prefix("t_").and_then(|name| name.parse().ok()),
    };
    value_type
        .filter(|value_type| value_type.is_valid() && value_type.size() == bytes)
        .ok_or_else(|| LayoutError::NoValue(kind.label.clone()))
}

fn size(kind: &Type) -> Result<usize, LayoutError> {
    let bytes = kind.bytes.parse::<usize>().ok().filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| LayoutError::Damaged(format!("{} has a size of {} bytes", kind.label, kind.bytes)))
}

fn number(text: &str) -> Result<U256, LayoutError> {
    U256::from_str_radix(text, 10).map_err(|_| LayoutError::Damaged(format!("slot {text:?} is no number")))
}
