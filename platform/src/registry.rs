//! What a user writes to register an invariant, and the check of it. Pure: from text to a checked [`Draft`].
//!
//! The form is the original system's, as the engine reads it ([`from_wire_form`]): `contract`, `type` (the comparison), `target`
//! (decimal text), `storage` (the slot) and `slot_type`, to which `offset`, `name`, `network` and `variable` may be added. An error names
//! the entry and the field.

use std::fmt;

use engine::lang::{FieldError, from_wire_form};
use engine::{Address, U256, ValueType, Watched};
use serde_json::{Map, Value};

/// Ethereum's main network, as the original names it; every other chain is `chain-<EIP-155 id>`.
pub const NETWORK: &str = "ethereum";

/// What an invariant was written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its text; of the original form, the same in the language.
    pub expression: String,
    /// How much it matters, where said.
    pub severity: Option<String>,
    /// What people should know about it, where said.
    pub description: Option<String>,
}

/// An invariant that was checked and has no id yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The invariant, with id 0.
    pub invariant: Watched,
    /// The chain, by name.
    pub network: String,
    /// The variable's name in the source, where the user gave it.
    pub variable: Option<String>,
    /// What it was written as; `None` of the original form alone, which cannot say more than the invariant itself.
    pub source: Option<Source>,
}

/// An entry that is no invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RegistryError {
    /// Which entry of a list, from 0; `None` for a single one.
    pub index: Option<usize>,
    /// The field; empty when it is about the whole.
    pub field: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.index, self.field.as_str()) {
            (Some(index), "") => write!(f, "invariant [{index}]: {}", self.reason),
            (Some(index), field) => write!(f, "invariant [{index}], field `{field}`: {}", self.reason),
            (None, "") => f.write_str(&self.reason),
            (None, field) => write!(f, "field `{field}`: {}", self.reason),
        }
    }
}

/// Reads a JSON document: one invariant, or a list of them.
///
/// # Errors
/// [`RegistryError`] for the first entry and field that does not fit.
pub fn parse(text: &str) -> Result<Vec<Draft>, RegistryError> {
    let whole = |index: Option<usize>, reason: String| RegistryError {
        index,
        field: String::new(),
        reason,
    };
    let read = |index: Option<usize>, entry: &Map<String, Value>| {
        Draft::from_entry(entry).map_err(|FieldError { field, reason }| RegistryError { index, field, reason })
    };
    let value = serde_json::from_str(text).map_err(|error| whole(None, format!("is not JSON: {error}")))?;
    match value {
        Value::Object(entry) => Ok(vec![read(None, &entry)?]),
        Value::Array(entries) => (0..)
            .zip(&entries)
            .map(|(index, entry)| match entry {
                Value::Object(entry) => read(Some(index), entry),
                _ => Err(whole(Some(index), "must be a JSON object".to_owned())),
            })
            .collect(),
        _ => Err(whole(None, "must be a JSON object, or a list of them".to_owned())),
    }
}

impl Draft {
    /// Reads one entry of the original form.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn from_entry(entry: &Map<String, Value>) -> Result<Self, FieldError> {
        let invariant = from_wire_form(entry)?;
        // That these are texts was seen there.
        let text = |field: &str| entry.get(field).and_then(Value::as_str).map(str::to_owned);
        let network = text("network").unwrap_or_else(|| NETWORK.to_owned());
        Ok(Self {
            invariant: invariant.into(),
            network,
            variable: text("variable"),
            source: None,
        })
    }
}

/// A decoded value as people write it: decimal, negative where the type is signed.
#[must_use]
pub fn display_value(value: U256, value_type: ValueType) -> String {
    match value_type {
        ValueType::Int(_) if value.bit(255) => format!("-{}", value.wrapping_neg()),
        ValueType::Address => Address::from_word(value.into()).to_string(),
        _ => value.to_string(),
    }
}

/// Whether it names a chain: `ethereum`, or `chain-31337`, an EIP-155 chain id written in the one way that there is.
#[must_use]
pub fn is_network(network: &str) -> bool {
    let id = network.strip_prefix("chain-").unwrap_or_default();
    let is_id = |number: u64| number > 0 && number.to_string() == id;
    network == NETWORK || id.parse().is_ok_and(is_id)
}

#[cfg(test)]
mod tests {
    use engine::{B256, Invariant};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn vault() -> Value {
        json!({
            "contract": "0xDe0B295669a9FD93d5F28D9Ec85E40f4cb697BAe", "type": ">=", "target": "1000",
            "storage": "0x0000000000000000000000000000000000000000000000000000000000000003",
        })
    }

    fn with(field: &str, value: Value) -> Value {
        let mut entry = vault();
        entry[field] = value;
        entry
    }

    fn one(entry: &Value) -> Result<Draft, RegistryError> {
        parse(&entry.to_string()).map(|mut drafts| drafts.remove(0))
    }

    fn slot_of(invariant: Watched) -> Invariant {
        match invariant {
            Watched::Slot(invariant) => invariant,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_original_form_is_taken_as_it_stands() {
        let draft = one(&with("variable", json!("totalAssets"))).unwrap();
        let invariant = slot_of(draft.invariant);
        assert_eq!(invariant.slot, U256::from(3));
        assert_eq!(invariant.target, U256::from(1000));
        assert_eq!(invariant.value_type, ValueType::Uint(256));
        assert_eq!((invariant.offset, draft.network.as_str()), (0, "ethereum"));
        assert_eq!(invariant.name, "totalAssets >= 1000");
    }

    #[test]
    fn a_file_holds_one_or_many() {
        assert_eq!(parse(&json!([vault(), vault()]).to_string()).unwrap().len(), 2);
        assert_eq!(parse("[]").unwrap(), []);
        let error = parse(&json!([vault(), with("target", json!("much"))]).to_string())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("invariant [1], field `target`") && error.contains("\"much\""),
            "{error}"
        );
    }

    #[test]
    fn each_bad_field_is_named_with_its_reason() {
        for (field, value, says) in [
            ("colour", json!("red"), "unknown"),
            ("contract", json!("0x12"), "40 hex digits"),
            ("contract", json!(5), "must be text"),
            ("contract", Value::Null, "missing"),
            ("type", json!("=>"), "unknown comparison"),
            ("target", json!("1e5"), "no number"),
            ("target", json!("-1"), "no number of uint256"),
            ("target", json!(1000), "must be text"),
            ("storage", json!("0x"), "no slot"),
            ("storage", json!(format!("0x{}", "0".repeat(65))), "no slot"),
            ("slot_type", json!("uint7"), "unknown value type"),
            ("slot_type", json!("string"), "unknown value type"),
            ("offset", json!(32), "0 to 31"),
            ("offset", json!(-1), "0 to 31"),
            ("offset", json!(1), "within one slot"),
            ("network", json!("moon"), "ethereum"),
            ("network", json!("chain-"), "chain-<id>"),
            ("network", json!("chain-007"), "chain-<id>"),
            ("name", json!("x".repeat(201)), "200 characters"),
        ] {
            let error = one(&with(field, value)).unwrap_err();
            assert_eq!(error.field, field, "{error}");
            assert!(error.reason.contains(says), "{error}");
        }
    }

    #[test]
    fn a_target_is_a_value_of_its_type() {
        let of = |slot_type: &str, target: &str| {
            let mut entry = with("slot_type", json!(slot_type));
            entry["target"] = json!(target);
            one(&entry).map(|draft| slot_of(draft.invariant).target)
        };
        assert_eq!(of("uint8", "255"), Ok(U256::from(255)));
        assert_eq!(of("uint8", "256").unwrap_err().field, "target");
        assert_eq!(of("int8", "-128"), Ok(U256::MAX - U256::from(127)));
        assert_eq!(of("int8", "-129").unwrap_err().field, "target");
        assert_eq!(of("int256", &U256::MAX.to_string()).unwrap_err().field, "target");
        assert_eq!(of("int256", &format!("-{}", U256::MAX)).unwrap_err().field, "target");
        assert_eq!(of("bool", "2").unwrap_err().field, "target");
        assert_eq!(
            of("address", "0xDe0B295669a9FD93d5F28D9Ec85E40f4cb697BAe").map(|v| v.bit_len()),
            Ok(160)
        );
        assert_eq!(of("uint256", &format!("{}0", U256::MAX)).unwrap_err().field, "target");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_what_was_written(raw: [u8; 32], bits in 1u16..=32, signed: bool) {
            let value_type = if signed { ValueType::Int(bits * 8) } else { ValueType::Uint(bits * 8) };
            let value = value_type.decode(U256::from_be_bytes(raw), 0).unwrap();
            let mut entry = with("slot_type", json!(value_type.to_string()));
            entry["target"] = json!(display_value(value, value_type));
            prop_assert_eq!(slot_of(one(&entry).unwrap().invariant).target, value);
        }

        #[test]
        fn any_slot_is_read_in_either_form(raw: [u8; 32]) {
            let number = U256::from_be_bytes(raw);
            for text in [B256::from(raw).to_string(), number.to_string()] {
                let draft = one(&with("storage", json!(text))).unwrap();
                prop_assert_eq!(slot_of(draft.invariant).slot, number);
            }
        }

        #[test]
        fn any_text_is_an_answer_and_no_panic(text in ".{0,60}") {
            let _answer = parse(&text);
            let _answer = one(&with("target", json!(text)));
            let _answer = one(&with("contract", json!(text)));
        }
    }
}
