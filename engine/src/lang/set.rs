//! Invariant sets: the file that a user writes, as JSON or TOML.
//!
//! ```toml
//! chain = 1
//!
//! [contracts]
//! treasury = "0x00000000000000000000000000000000000000aa"
//! vault = { address = "0x00000000000000000000000000000000000000bb", layout = "Vault.json", abi = "Vault.json" }
//!
//! [[invariants]]
//! name = "solvency"
//! expression = "vault.totalDebt * 100 <= vault.totalCollateral * 80"
//! severity = "critical"
//! description = "Every loan is covered."
//! ```
//!
//! An invariant may also be of the original form (`contract`, `type`, `target`, `storage`, `slot_type`), and a file may be one such
//! entry or a list of them. Everything that is wrong is reported, each with its key.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    diagnostic::LangError,
    names::{Contract, NameError, Names},
    plain::{FieldError, LONGEST_NAME, WIRE_FIELDS, from_invariant, from_wire_form, network},
    program::Program,
    resolve::parse,
};
use crate::{Address, Invariant};

/// Most bytes of a set's text.
pub const MAX_SET_TEXT: usize = 64 * 1024 * 1024;
/// Most invariants of a set.
pub const MAX_INVARIANTS: usize = 100_000;
/// Most errors that are reported.
const MOST_ERRORS: usize = 100;

/// How a set is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON.
    Json,
    /// TOML.
    Toml,
}

impl Format {
    /// The format of a file by its ending; JSON where it says nothing.
    #[must_use]
    pub fn of_file(path: &str) -> Self {
        let toml = path
            .rsplit_once('.')
            .is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("toml"));
        if toml { Self::Toml } else { Self::Json }
    }
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Unusual.
    Low,
    /// To be looked at.
    Medium,
    /// Something of value may be at stake.
    High,
    /// Something of value is at stake.
    Critical,
}

/// An invariant of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedProgram {
    /// Its name, unlike all others of the set.
    pub name: String,
    /// What it says, as it was written; of the original form, the same in the language.
    pub expression: String,
    /// Compiled.
    pub program: Program,
    /// The invariant of the original form, where it was written so.
    pub plain: Option<Invariant>,
    /// How much it matters, where said.
    pub severity: Option<Severity>,
    /// What people should know about it, where said.
    pub description: Option<String>,
}

/// A set of invariants, checked and compiled.
#[derive(Clone, Debug, Default)]
pub struct InvariantSet {
    /// Chain that it is about, where said.
    pub chain: Option<u64>,
    /// Its contracts by name.
    pub names: Names,
    /// In the order of the text.
    pub invariants: Vec<NamedProgram>,
}

/// What is wrong with a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetError {
    /// Where: a key such as `invariants[3].expression`; empty when it is about the whole text.
    pub key: String,
    /// What.
    pub problem: Problem,
}

/// What is wrong with one entry of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The entry.
    Entry(String),
    /// Its expression: shown with the line and a caret.
    Expression(LangError),
}

impl std::error::Error for SetError {}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::Entry(why) if self.key.is_empty() => f.write_str(why),
            Problem::Entry(why) => write!(f, "{}: {why}", self.key),
            Problem::Expression(error) => write!(f, "{error}"),
        }
    }
}

impl SetError {
    fn entry(key: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: Problem::Entry(why.into()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractEntry {
    address: String,
    chain: Option<u64>,
    layout: Option<Value>,
    abi: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpressionEntry {
    name: String,
    expression: String,
    severity: Option<Severity>,
    description: Option<String>,
}

/// Reads a file that a set names, given as it stands in the set.
type Loader<'l> = &'l mut dyn FnMut(&str) -> Result<String, String>;

struct Reading<'l> {
    loader: Loader<'l>,
    /// Files that were read already.
    files: BTreeMap<String, Result<Value, String>>,
    errors: Vec<SetError>,
}

impl InvariantSet {
    /// Reads a set. `loader` reads a file that the set names, by the path as it stands there, or says why it cannot.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text, up to a hundred errors.
    pub fn parse(text: &str, format: Format, loader: Loader<'_>) -> Result<Self, Vec<SetError>> {
        let mut reading = Reading {
            loader,
            files: BTreeMap::new(),
            errors: Vec::new(),
        };
        let set = reading.set(text, format);
        match (set, reading.errors) {
            (Ok(set), errors) if errors.is_empty() => Ok(set),
            (Ok(_), errors) => Err(errors),
            (Err(error), mut errors) => {
                errors.push(error);
                Err(errors)
            }
        }
    }
}

impl Reading<'_> {
    fn set(&mut self, text: &str, format: Format) -> Result<InvariantSet, SetError> {
        if text.len() > MAX_SET_TEXT {
            let why = format!(
                "the set has {} bytes, more than the {MAX_SET_TEXT} that one may have",
                text.len()
            );
            return Err(SetError::entry("", why));
        }
        let value: Value = match format {
            Format::Json => {
                serde_json::from_str(text).map_err(|error| SetError::entry("", format!("this is no JSON: {error}")))?
            }
            Format::Toml => {
                toml::from_str(text).map_err(|error| SetError::entry("", format!("this is no TOML: {error}")))?
            }
        };
        let mut set = InvariantSet::default();
        match value {
            Value::Array(entries) => self.invariants("", &entries, &mut set),
            Value::Object(object) if object.contains_key("invariants") || object.contains_key("contracts") => {
                self.sections(&object, &mut set);
            }
            Value::Object(entry) if entry.contains_key("contract") => {
                self.invariants("", &[Value::Object(entry)], &mut set);
            }
            _ => {
                return Err(SetError::entry(
                    "",
                    "this is no invariant set: it needs `invariants`, and may have `contracts` and `chain`",
                ));
            }
        }
        Ok(set)
    }

    fn sections(&mut self, object: &Map<String, Value>, set: &mut InvariantSet) {
        for (key, value) in object {
            match (key.as_str(), value) {
                ("chain", value) => match value.as_u64() {
                    Some(chain) => set.chain = Some(chain),
                    None => self.entry("chain", "must be a chain id: a whole number"),
                },
                ("contracts", Value::Object(_)) | ("invariants", Value::Array(_)) => {}
                ("contracts", _) => self.entry("contracts", "must hold one entry for each name"),
                ("invariants", _) => self.entry("invariants", "must be a list"),
                (unknown, _) => self.entry(unknown, "is unknown; there are chain, contracts and invariants"),
            }
        }
        if let Some(Value::Object(contracts)) = object.get("contracts") {
            for (name, value) in contracts {
                self.contract(name, value, set);
            }
        }
        match object.get("invariants") {
            Some(Value::Array(entries)) => self.invariants("invariants", entries, set),
            Some(_) => {}
            None => self.entry("invariants", "is missing"),
        }
    }

    fn contract(&mut self, name: &str, value: &Value, set: &mut InvariantSet) {
        let key = format!("contracts.{name:.100}");
        let entry = match value {
            Value::String(address) => ContractEntry {
                address: address.clone(),
                chain: None,
                layout: None,
                abi: None,
            },
            value => match ContractEntry::deserialize(value) {
                Ok(entry) => entry,
                Err(error) => return self.entry(key, error.to_string()),
            },
        };
        let address = entry
            .address
            .parse::<Address>()
            .ok()
            .filter(|_| entry.address.starts_with("0x"));
        let Some(address) = address else {
            let why = format!("{:?} is no address: 0x and 40 hex digits", short(&entry.address));
            return self.entry(format!("{key}.address"), why);
        };
        match (entry.chain, set.chain) {
            (Some(chain), Some(of_set)) if chain != of_set => {
                let why = format!("the set is about chain {of_set}; write a set for each chain");
                self.entry(format!("{key}.chain"), why);
            }
            (Some(chain), None) => set.chain = Some(chain),
            _ => {}
        }
        let mut contract = Contract::new(address);
        for (field, value) in [("layout", entry.layout), ("abi", entry.abi)] {
            let Some(value) = value else { continue };
            let key = format!("{key}.{field}");
            let described = self.json(value).and_then(|value| {
                let contract = contract.clone();
                let described = match field {
                    "layout" => contract.with_layout(&value),
                    _ => contract.with_abi(&value),
                };
                described.map_err(|error: NameError| error.to_string())
            });
            match described {
                Ok(described) => contract = described,
                Err(why) => self.entry(key, why),
            }
        }
        if let Err(error) = set.names.insert(name, contract) {
            self.entry(key, error.to_string());
        }
    }

    /// What stands in the set, or in the file that it names.
    fn json(&mut self, value: Value) -> Result<Value, String> {
        let Value::String(path) = value else {
            return Ok(value);
        };
        if let Some(known) = self.files.get(&path) {
            return known.clone();
        }
        let content = (self.loader)(&path).map_err(|why| format!("{path}: cannot be read: {why}"));
        let json = content
            .and_then(|content| serde_json::from_str(&content).map_err(|error| format!("{path}: is no JSON: {error}")));
        self.files.insert(path, json.clone());
        json
    }

    fn invariants(&mut self, key: &str, entries: &[Value], set: &mut InvariantSet) {
        if entries.len() > MAX_INVARIANTS {
            let why = format!(
                "has {} invariants, more than the {MAX_INVARIANTS} of one set",
                entries.len()
            );
            return self.entry(key, why);
        }
        let mut seen = BTreeMap::new();
        for (index, value) in entries.iter().enumerate() {
            let key = format!("{key}[{index}]");
            let invariant = match value {
                Value::Object(entry) if entry.contains_key("expression") => expression(&key, value, &set.names),
                Value::Object(entry) => self.of_chain(&key, entry, set).and_then(|()| plain(&key, entry)),
                _ => Err(SetError::entry(
                    key.as_str(),
                    "must be an invariant: an object with `name` and `expression`",
                )),
            };
            match invariant {
                Ok(invariant) => {
                    if let Some(first) = seen.insert(invariant.name.clone(), index)
                        && invariant.plain.is_none()
                    {
                        let why = format!("{:?} is also the name of [{first}]", invariant.name);
                        self.entry(format!("{key}.name"), why);
                    }
                    set.invariants.push(invariant);
                }
                Err(error) => self.push(error),
            }
        }
    }

    /// An entry of the original form may name its chain; all of a set are about one.
    fn of_chain(&self, key: &str, entry: &Map<String, Value>, set: &mut InvariantSet) -> Result<(), SetError> {
        let chain =
            network(entry).map_err(|FieldError { field, reason }| SetError::entry(format!("{key}.{field}"), reason))?;
        match (chain, set.chain) {
            (Some(chain), Some(of_set)) if chain != of_set => {
                let why = format!("the set is about chain {of_set}; write a set for each chain");
                Err(SetError::entry(format!("{key}.network"), why))
            }
            (Some(chain), None) => {
                set.chain = Some(chain);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn entry(&mut self, key: impl Into<String>, why: impl Into<String>) {
        self.push(SetError::entry(key, why));
    }

    fn push(&mut self, error: SetError) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(error);
        }
    }
}

fn expression(key: &str, value: &Value, names: &Names) -> Result<NamedProgram, SetError> {
    let entry = ExpressionEntry::deserialize(value).map_err(|error| SetError::entry(key, error.to_string()))?;
    let length = entry.name.chars().count();
    if length == 0 || length > LONGEST_NAME {
        return Err(SetError::entry(
            format!("{key}.name"),
            format!("must have 1 to {LONGEST_NAME} characters"),
        ));
    }
    let program = parse(&entry.expression, names).map_err(|error| {
        let key = format!("{key}.expression");
        SetError {
            problem: Problem::Expression(error.in_text(format!("{key} ({})", entry.name))),
            key,
        }
    })?;
    Ok(NamedProgram {
        name: entry.name,
        expression: entry.expression,
        program,
        plain: None,
        severity: entry.severity,
        description: entry.description,
    })
}

/// An invariant of the original form, to which severity and description may be added.
fn plain(key: &str, entry: &Map<String, Value>) -> Result<NamedProgram, SetError> {
    let mut entry = entry.clone();
    let mut take = |field: &str| entry.remove(field).filter(|value| !value.is_null());
    let severity = take("severity").map(|value| {
        Severity::deserialize(value).map_err(|error| SetError::entry(format!("{key}.severity"), error.to_string()))
    });
    let description = take("description").map(|value| match value {
        Value::String(text) => Ok(text),
        _ => Err(SetError::entry(
            format!("{key}.description"),
            "must be text, in quotation marks",
        )),
    });
    if !entry
        .keys()
        .any(|field| field != "name" && WIRE_FIELDS.contains(&field.as_str()))
    {
        return Err(SetError::entry(
            key,
            "needs an `expression`, or the fields contract, type, target and storage",
        ));
    }
    let invariant = from_wire_form(&entry)
        .map_err(|FieldError { field, reason }| SetError::entry(format!("{key}.{field}"), reason))?;
    let program = from_invariant(&invariant).map_err(|error| SetError {
        key: key.to_owned(),
        problem: Problem::Expression(error),
    })?;
    Ok(NamedProgram {
        name: invariant.name.clone(),
        expression: super::plain::invariant_text(&invariant),
        program,
        plain: Some(invariant),
        severity: severity.transpose()?,
        description: description.transpose()?,
    })
}

fn short(text: &str) -> String {
    text.chars().take(60).collect()
}
