//! What a user writes to register an invariant, and the check of it. Pure: from text to a checked [`Draft`].
//!
//! The form is the original system's: `contract`, `type` (the comparison), `target` (decimal text), `storage` (the slot) and
//! `slot_type`, to which `offset`, `name`, `network` and `variable` may be added. An error names the entry and the field.

use std::fmt;

use engine::{Address, Comparison, Invariant, InvariantError, U256, ValueType, Watched};
use serde_json::{Map, Value};

/// Ethereum's main network, as the original names it; every other chain is `chain-<EIP-155 id>`.
pub const NETWORK: &str = "ethereum";

/// The longest name or variable, in characters.
const LONGEST_NAME: usize = 200;

const FIELDS: [&str; 9] = [
    "name",
    "contract",
    "type",
    "target",
    "storage",
    "slot_type",
    "offset",
    "network",
    "variable",
];

/// An invariant that was checked and has no id yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The invariant, with id 0.
    pub invariant: Watched,
    /// The chain, by name.
    pub network: String,
    /// The variable's name in the source, where the user gave it.
    pub variable: Option<String>,
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

/// A field and what is wrong with it.
type Problem = (String, String);

fn problem<T>(field: &str, reason: impl fmt::Display) -> Result<T, Problem> {
    Err((field.to_owned(), reason.to_string()))
}

/// Reads a JSON document: one invariant, or a list of them.
///
/// # Errors
/// [`RegistryError`] for the first entry and field that does not fit.
pub fn parse(text: &str) -> Result<Vec<Draft>, RegistryError> {
    let whole = |reason: String| RegistryError {
        index: None,
        field: String::new(),
        reason,
    };
    let value: Value = serde_json::from_str(text).map_err(|error| whole(format!("is not JSON: {error}")))?;
    match value {
        Value::Object(entry) => {
            let draft = check(&entry).map_err(|(field, reason)| RegistryError {
                index: None,
                field,
                reason,
            })?;
            Ok(vec![draft])
        }
        Value::Array(entries) => entries
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let at = |(field, reason)| RegistryError {
                    index: Some(index),
                    field,
                    reason,
                };
                let entry = entry
                    .as_object()
                    .ok_or_else(|| at((String::new(), "must be a JSON object".to_owned())))?;
                check(entry).map_err(at)
            })
            .collect(),
        _ => Err(whole("must be a JSON object, or a list of them".to_owned())),
    }
}

/// Checks one entry.
fn check(entry: &Map<String, Value>) -> Result<Draft, Problem> {
    if let Some(unknown) = entry.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return problem(unknown, format!("is unknown; there are {}", FIELDS.join(", ")));
    }
    let contract = needed(entry, "contract")?;
    let contract: Address = match contract.parse() {
        Ok(address) if contract.starts_with("0x") => address,
        _ => {
            return problem(
                "contract",
                format!("{} is no address: 0x and 40 hex digits", quoted(contract)),
            );
        }
    };
    let comparison: Comparison = needed(entry, "type")?.parse().or_else(|error| problem("type", error))?;
    let slot = slot(needed(entry, "storage")?)?;
    let value_type: ValueType = text(entry, "slot_type")?
        .unwrap_or("uint256")
        .parse()
        .or_else(|error| problem("slot_type", error))?;
    let offset = match entry.get("offset") {
        None | Some(Value::Null) => 0,
        Some(value) => match value
            .as_u64()
            .and_then(|offset| u8::try_from(offset).ok())
            .filter(|offset| *offset < 32)
        {
            Some(offset) => offset,
            None => return problem("offset", format!("{value} is no byte offset: 0 to 31")),
        },
    };
    let target = number(needed(entry, "target")?, value_type)?;
    let network = text(entry, "network")?.unwrap_or(NETWORK);
    if network != NETWORK && !is_chain(network) {
        return problem(
            "network",
            format!("{} is no network; use {NETWORK} or chain-<id>", quoted(network)),
        );
    }
    let variable = text(entry, "variable")?;
    let name = match text(entry, "name")? {
        Some(name) => name.to_owned(),
        None => format!(
            "{} {comparison} {}",
            variable.unwrap_or("value"),
            needed(entry, "target")?.trim()
        ),
    };
    for (field, text) in [("name", Some(name.as_str())), ("variable", variable)] {
        if text.is_some_and(|text| text.chars().count() > LONGEST_NAME) {
            return problem(field, format!("has more than {LONGEST_NAME} characters"));
        }
    }
    let invariant = Invariant::new(0, name, contract, slot, value_type, offset, comparison, target);
    let invariant = invariant.map_err(|error| match error {
        InvariantError::Type { .. } => ("slot_type".to_owned(), format!("{value_type} is no Solidity type")),
        InvariantError::Offset { .. } => (
            "offset".to_owned(),
            format!("{value_type} at byte {offset} does not lie within one slot of 32 bytes"),
        ),
        InvariantError::Target { .. } => ("target".to_owned(), format!("is no value of {value_type}")),
        InvariantError::Comparison(text) => ("type".to_owned(), text),
    })?;
    Ok(Draft {
        invariant: invariant.into(),
        network: network.to_owned(),
        variable: variable.map(str::to_owned),
    })
}

/// A field that may be absent or null, and is text where it is not.
fn text<'a>(entry: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>, Problem> {
    match entry.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => problem(field, "must be text, in quotation marks"),
    }
}

fn needed<'a>(entry: &'a Map<String, Value>, field: &str) -> Result<&'a str, Problem> {
    match text(entry, field)? {
        Some(text) => Ok(text),
        None => problem(field, "is missing"),
    }
}

/// A slot: hex with `0x`, or decimal.
fn slot(text: &str) -> Result<U256, Problem> {
    match unsigned(text.trim()) {
        Some(slot) => Ok(slot),
        None => problem(
            "storage",
            format!(
                "{} is no slot: 0x and up to 64 hex digits, or a decimal number",
                quoted(text)
            ),
        ),
    }
}

/// A value: decimal, negative where the type is signed; or hex with `0x`, for addresses and bytes.
fn number(text: &str, value_type: ValueType) -> Result<U256, Problem> {
    let trimmed = text.trim();
    let value = match trimmed.strip_prefix('-') {
        Some(magnitude) if matches!(value_type, ValueType::Int(_)) => {
            // Two's complement; a magnitude beyond 2^255 would come out positive.
            unsigned(magnitude)
                .filter(|magnitude| *magnitude <= U256::from(1) << 255)
                .map(U256::wrapping_neg)
        }
        Some(_) => {
            return problem(
                "target",
                format!("{} is negative, and {value_type} is not signed", quoted(text)),
            );
        }
        // Without a sign a number is not negative, also where its bits would say so.
        None => unsigned(trimmed).filter(|value| !matches!(value_type, ValueType::Int(_)) || !value.bit(255)),
    };
    match value {
        Some(value) => Ok(value),
        None => problem(
            "target",
            format!("{} is no decimal number of {value_type}", quoted(text)),
        ),
    }
}

fn unsigned(text: &str) -> Option<U256> {
    match text.strip_prefix("0x") {
        Some(digits) if (1..=64).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            U256::from_str_radix(digits, 16).ok()
        }
        None if (1..=78).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) => {
            U256::from_str_radix(text, 10).ok()
        }
        _ => None,
    }
}

/// As it was given, shortened.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("{short:?}")
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

/// Whether it names a chain: `ethereum`, or `chain-<id>`.
#[must_use]
pub fn is_network(network: &str) -> bool {
    network == NETWORK || is_chain(network)
}

/// `chain-31337`: an EIP-155 chain id, written in the one way that there is.
fn is_chain(network: &str) -> bool {
    let id = network.strip_prefix("chain-").unwrap_or_default();
    id.parse::<u64>()
        .is_ok_and(|number| number > 0 && number.to_string() == id)
}

#[cfg(test)]
mod tests {
    use engine::B256;
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
            ("target", json!("1e5"), "no decimal number"),
            ("target", json!("-1"), "not signed"),
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
            prop_assert_eq!(number(&display_value(value, value_type), value_type), Ok(value));
        }

        #[test]
        fn any_slot_is_read_in_either_form(raw: [u8; 32]) {
            let number = U256::from_be_bytes(raw);
            prop_assert_eq!(slot(&B256::from(raw).to_string()), Ok(number));
            prop_assert_eq!(slot(&number.to_string()), Ok(number));
        }

        #[test]
        fn any_text_is_an_answer_and_no_panic(text in ".{0,60}") {
            let _answer = parse(&text);
            let _answer = one(&with("target", json!(text)));
            let _answer = one(&with("contract", json!(text)));
        }
    }
}
