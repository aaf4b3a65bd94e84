//! Invariants of other forms, written in the language: the original system's comparison of one slot with a constant, and the
//! predicates that recorded cases carry.

use alloy::primitives::aliases::U512;
use serde_json::{Map, Value};

use super::{
    diagnostic::LangError,
    names::Names,
    program::{Program, Source},
    resolve::parse,
    wide::Wide,
};
use crate::{Address, Comparison, Invariant, InvariantError, U256, ValueType};

/// The main network; every other chain is `chain-<EIP-155 id>`.
const NETWORK: &str = "ethereum";

/// The longest name, in characters.
pub(super) const LONGEST_NAME: usize = 200;

/// Fields of the original form.
pub(super) const WIRE_FIELDS: [&str; 9] = [
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

/// A field and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {reason}")]
pub struct FieldError {
    /// The field.
    pub field: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

fn wrong<T>(field: &str, reason: impl Into<String>) -> Result<T, FieldError> {
    Err(FieldError {
        field: field.to_owned(),
        reason: reason.into(),
    })
}

/// The text of an invariant over one slot.
#[must_use]
pub fn invariant_text(invariant: &Invariant) -> String {
    let Invariant {
        contract,
        slot,
        value_type,
        offset,
        comparison,
        target,
        ..
    } = *invariant;
    let source = Source::Slot {
        contract,
        slot,
        value_type,
        offset,
    };
    compared(&source, comparison, target)
}

/// The text of "what this source says compares so with this value of its type".
pub(crate) fn compared(source: &Source, comparison: Comparison, target: U256) -> String {
    let value_type = source.value_type();
    let number = Wide::from_value(value_type, target);
    if matches!(value_type, ValueType::Uint(_) | ValueType::Int(_)) {
        return format!("{source} {comparison} {number}");
    }
    if comparison != Comparison::Eq {
        // The original form orders whatever a slot holds, as a number.
        return format!("number({source}) {comparison} {number}");
    }
    match value_type {
        ValueType::Bool => format!("{source} == {}", !target.is_zero()),
        ValueType::Address => format!("{source} == 0x{target:040x}"),
        _ => format!(
            "{source} == {value_type}(0x{target:0width$x})",
            width = value_type.size() * 2
        ),
    }
}

/// The program that says what an invariant over one slot says.
///
/// # Errors
/// When the invariant is none ([`Invariant::check`]).
pub fn from_invariant(invariant: &Invariant) -> Result<Program, LangError> {
    parse(&invariant_text(invariant), &Names::default())
}

/// Reads the original form: `contract`, `type` (the comparison), `target` (text), `storage` (the slot) and `slot_type`, to which
/// `offset`, `name`, `network` and `variable` may be added. The invariant has the number 0.
///
/// # Errors
/// The first field that does not fit.
pub fn from_wire_form(entry: &Map<String, Value>) -> Result<Invariant, FieldError> {
    if let Some(unknown) = entry.keys().find(|key| !WIRE_FIELDS.contains(&key.as_str())) {
        return wrong(unknown, format!("is unknown; there are {}", WIRE_FIELDS.join(", ")));
    }
    let contract = needed(entry, "contract")?;
    let contract: Address = match contract.parse() {
        Ok(address) if contract.starts_with("0x") => address,
        _ => {
            return wrong(
                "contract",
                format!("{} is no address: 0x and 40 hex digits", quoted(contract)),
            );
        }
    };
    let comparison = needed(entry, "type")?;
    let comparison: Comparison = match comparison.parse() {
        Ok(comparison) => comparison,
        Err(error) => return wrong("type", InvariantError::to_string(&error)),
    };
    let slot_text = needed(entry, "storage")?;
    let Some(slot) = unsigned(slot_text.trim()) else {
        let reason = format!(
            "{} is no slot: 0x and up to 64 hex digits, or a decimal number",
            quoted(slot_text)
        );
        return wrong("storage", reason);
    };
    let value_type = text(entry, "slot_type")?.unwrap_or("uint256");
    let value_type: ValueType = match value_type.parse() {
        Ok(value_type) => value_type,
        Err(error) => return wrong("slot_type", crate::ValueTypeError::to_string(&error)),
    };
    let offset = match entry.get("offset") {
        None | Some(Value::Null) => Some(0),
        Some(value) => value
            .as_u64()
            .and_then(|offset| u8::try_from(offset).ok())
            .filter(|offset| *offset < 32),
    };
    let Some(offset) = offset else {
        return wrong("offset", "is no byte offset: 0 to 31");
    };
    let target_text = needed(entry, "target")?;
    let Some(target) = value(target_text.trim(), value_type) else {
        return wrong(
            "target",
            format!("{} is no number of {value_type}", quoted(target_text)),
        );
    };
    network(entry)?;
    let variable = text(entry, "variable")?;
    let name = match text(entry, "name")? {
        Some(name) => name.to_owned(),
        None => format!("{} {comparison} {}", variable.unwrap_or("value"), target_text.trim()),
    };
    for (field, text) in [("name", Some(name.as_str())), ("variable", variable)] {
        if text.is_some_and(|text| text.chars().count() > LONGEST_NAME) {
            return wrong(field, format!("has more than {LONGEST_NAME} characters"));
        }
    }
    Invariant::new(0, name, contract, slot, value_type, offset, comparison, target).or_else(|error| match error {
        InvariantError::Offset { .. } => wrong(
            "offset",
            format!("{value_type} at byte {offset} does not lie within one slot of 32 bytes"),
        ),
        InvariantError::Target { .. } => wrong("target", format!("is no value of {value_type}")),
        other => wrong("slot_type", other.to_string()),
    })
}

/// The chain that an entry of the original form names as `chain-<id>`; `None` where it says `ethereum` or nothing.
///
/// # Errors
/// When `network` is something else.
pub fn network(entry: &Map<String, Value>) -> Result<Option<u64>, FieldError> {
    let name = match text(entry, "network")? {
        None => return Ok(None),
        Some(name) if name == NETWORK => return Ok(None),
        Some(name) => name,
    };
    let digits = name.strip_prefix("chain-").unwrap_or_default();
    match digits.parse::<u64>() {
        // An id is written in one way.
        Ok(id) if id > 0 && id.to_string() == digits => Ok(Some(id)),
        _ => wrong(
            "network",
            format!("{} is no network; use {NETWORK} or chain-<id>", quoted(name)),
        ),
    }
}

/// A field that may be absent or null, and is text where it is not.
fn text<'a>(entry: &'a Map<String, Value>, field: &str) -> Result<Option<&'a str>, FieldError> {
    match entry.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => wrong(field, "must be text, in quotation marks"),
    }
}

fn needed<'a>(entry: &'a Map<String, Value>, field: &str) -> Result<&'a str, FieldError> {
    match text(entry, field)? {
        Some(text) => Ok(text),
        None => wrong(field, "is missing"),
    }
}

/// A value: decimal, negative where the type is signed; or hex with `0x`.
fn value(text: &str, value_type: ValueType) -> Option<U256> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let number = Wide::from(unsigned(magnitude)?);
    match value_type {
        ValueType::Int(_) => (if negative { -number } else { number }).to_value(ValueType::Int(256)),
        _ if negative => None,
        _ => number.to_value(ValueType::Uint(256)),
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

/// What a recorded case watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseInvariant {
    /// Its name.
    pub name: String,
    /// Its text in the language.
    pub expression: String,
}

/// Writes an invariant of a recorded case (`evm-case/1`) in the language. Kinds `storage_slot {address, slot}`,
/// `eth_balance {address}` and `view_call {to, data}`, all as `uint256`; predicates `unchanged`, `min_ratio` and `max_ratio`
/// `{num, den}`, `max_decrease` and `max_increase {limit}`, and `compare {value_type, offset, comparison, target}` of a slot.
///
/// # Errors
/// The field that is missing or does not fit.
pub fn from_case_invariant(entry: &Map<String, Value>) -> Result<CaseInvariant, FieldError> {
    let name = needed(entry, "name")?.to_owned();
    let address = |field| {
        let text = needed(entry, field)?;
        let address = text.parse::<Address>().ok().filter(|_| text.starts_with("0x"));
        address.map_or_else(|| wrong(field, format!("{} is no address", quoted(text))), Ok)
    };
    let number = |field| quantity(entry, field);
    let kind = needed(entry, "kind")?;
    let predicate = needed(entry, "predicate")?;
    if (kind, predicate) == ("storage_slot", "compare") {
        let value_type = needed(entry, "value_type")?;
        let value_type: ValueType = match value_type.parse() {
            Ok(value_type) => value_type,
            Err(error) => return wrong("value_type", crate::ValueTypeError::to_string(&error)),
        };
        let offset = entry
            .get("offset")
            .map_or(Some(0), |offset| u8::try_from(offset.as_u64()?).ok());
        let Some(offset) = offset else {
            return wrong("offset", "is no byte offset: 0 to 31");
        };
        let comparison = match needed(entry, "comparison")?.parse() {
            Ok(comparison) => comparison,
            Err(error) => return wrong("comparison", InvariantError::to_string(&error)),
        };
        let (contract, slot, target) = (address("address")?, number("slot")?, number("target")?);
        return match Invariant::new(0, name, contract, slot, value_type, offset, comparison, target) {
            Ok(invariant) => Ok(CaseInvariant {
                expression: invariant_text(&invariant),
                name: invariant.name,
            }),
            Err(error) => wrong("target", error.to_string()),
        };
    }
    let term = match kind {
        "storage_slot" => format!("slot({:#x}, {:#x}, uint256)", address("address")?, number("slot")?),
        "eth_balance" => format!("balance({:#x})", address("address")?),
        "view_call" => {
            let data = needed(entry, "data")?;
            let digits = data
                .strip_prefix("0x")
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
            let Some(digits) = digits.filter(|digits| digits.len() % 2 == 0) else {
                return wrong("data", "is no calldata: 0x and two hex digits for each byte");
            };
            format!("call({:#x}, 0x{digits}, 0, uint256)", address("to")?)
        }
        other => {
            let kinds = "storage_slot, eth_balance and view_call";
            return wrong("kind", format!("{} is unknown; there are {kinds}", quoted(other)));
        }
    };
    let expression = match predicate {
        "unchanged" => format!("{term} == pre"),
        "min_ratio" => ratio(&term, ">=", number("num")?, number("den")?)?,
        "max_ratio" => ratio(&term, "<=", number("num")?, number("den")?)?,
        "max_decrease" => format!("delta({term}) >= -{}", amount(kind, number("limit")?)),
        "max_increase" => format!("delta({term}) <= {}", amount(kind, number("limit")?)),
        other => {
            let predicates = "unchanged, min_ratio, max_ratio, max_decrease, max_increase and compare";
            return wrong(
                "predicate",
                format!("{} is unknown; there are {predicates}", quoted(other)),
            );
        }
    };
    Ok(CaseInvariant { name, expression })
}

/// A number: text with `0x`, or a JSON number.
fn quantity(entry: &Map<String, Value>, field: &str) -> Result<U256, FieldError> {
    let number = match entry.get(field) {
        Some(Value::String(text)) if text.starts_with("0x") => unsigned(text),
        Some(Value::Number(number)) => number.as_u64().map(U256::from),
        _ => None,
    };
    number.map_or_else(
        || wrong(field, "must be a number: 0x and up to 64 hex digits, or a JSON number"),
        Ok,
    )
}

/// `term >= num/den of what it was`, as a percentage where that is a whole one.
fn ratio(term: &str, relation: &str, num: U256, den: U256) -> Result<String, FieldError> {
    if den.is_zero() {
        return wrong("den", "is zero");
    }
    let hundredfold: U512 = num.widening_mul(U256::from(100));
    let (percent, rest) = hundredfold.div_rem(U512::from(den));
    if rest.is_zero() && percent <= U512::from(10_000) {
        return Ok(format!("{term} {relation} {percent}% of pre"));
    }
    Ok(format!("post({term}) * {den} {relation} pre({term}) * {num}"))
}

/// An amount, of ether in ether where that is a whole number.
fn amount(kind: &str, wei: U256) -> String {
    let ether = U256::from(1_000_000_000_000_000_000_u64);
    let (whole, rest) = wei.div_rem(ether);
    if kind == "eth_balance" && rest.is_zero() && !whole.is_zero() {
        return format!("{whole} ether");
    }
    wei.to_string()
}
