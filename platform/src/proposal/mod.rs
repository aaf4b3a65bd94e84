//! What somebody proposes to watch, compiled and not yet in force: an expression of the language with the contracts that it names, or
//! the original form (one slot against a constant).
//!
//! What always holds: everything that is wrong is told at once, each with its field and, inside an expression, its place; and what is
//! streamed says what was written ([`Proposal::streamed`]): one stored value against a constant as an invariant over a slot, which is the
//! form that everybody knows, everything else as the canonical text of its expression.

mod flaw;
mod storage;

use std::collections::BTreeMap;

use engine::lang::{Format, InvariantSet, NamedProgram, Names, Severity};
use engine::{ProgramInvariant, Watched};
use serde_json::{Map, Value, json};

pub use self::flaw::{Flaw, Place};
use self::storage::as_storage;
use crate::registry::{Draft, NETWORK, Source, is_network};

/// The most contracts that a proposal may bring along.
const CONTRACTS: usize = 50;
/// The longest name or variable, in characters.
const LONGEST_NAME: usize = 200;
/// The longest description, in characters.
const LONGEST_DESCRIPTION: usize = 10_000;

/// Something that is proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Name, text, program, and what people say of it.
    pub named: NamedProgram,
    /// The chain, by name.
    pub network: String,
    /// The variable's name in the source, where the original form gives it.
    pub variable: Option<String>,
}

/// A severity's name.
const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

impl Proposal {
    /// Compiles what is proposed. `known` are contracts that expressions may name without bringing them along, each as a set's
    /// `contracts` has it (address, layout, abi); what is brought along takes the place of a known one.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn compile(body: &Map<String, Value>, known: &BTreeMap<String, Value>) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let mut entry = body.clone();
        let text = |field: &str, flaws: &mut Vec<Flaw>| match body.get(field) {
            Some(Value::String(text)) => Some(text.clone()),
            None | Some(Value::Null) => None,
            Some(_) => {
                flaws.push(Flaw::new(format!("/{field}"), "must be text, in quotation marks"));
                None
            }
        };
        for (field, longest) in [
            ("name", LONGEST_NAME),
            ("variable", LONGEST_NAME),
            ("description", LONGEST_DESCRIPTION),
        ] {
            let text = text(field, &mut flaws).unwrap_or_default();
            if let Err(detail) = storable(&text, longest) {
                flaws.push(Flaw::new(format!("/{field}"), detail));
            }
        }
        let network = text("network", &mut flaws).unwrap_or_else(|| NETWORK.to_owned());
        if !is_network(&network) {
            let detail = format!("is no network; use {NETWORK} or chain-<id>");
            flaws.push(Flaw::new("/network", detail));
        }
        let variable = text("variable", &mut flaws);
        let brought = match entry.remove("contracts") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(brought)) if brought.len() <= CONTRACTS => brought,
            Some(Value::Object(_)) => {
                flaws.push(Flaw::new("/contracts", format!("has more than {CONTRACTS} entries")));
                Map::new()
            }
            Some(_) => {
                flaws.push(Flaw::new("/contracts", "must hold one entry for each name"));
                Map::new()
            }
        };
        if !flaws.is_empty() {
            return Err(flaws);
        }
        // An empty text is what a form sends for nothing.
        entry.retain(|field, value| !value.is_null() && (field == "expression" || value.as_str() != Some("")));
        let expression = entry.contains_key("expression");
        entry.remove("network");
        if expression {
            for field in [
                "contract",
                "type",
                "target",
                "storage",
                "slot_type",
                "offset",
                "variable",
            ] {
                if entry.remove(field).is_some() {
                    flaws.push(Flaw::new(
                        format!("/{field}"),
                        "an expression says this itself; send the one or the other",
                    ));
                }
            }
        }
        let mut contracts: Map<String, Value> = known
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        contracts.extend(brought);
        let set = json!({ "contracts": contracts, "invariants": [entry] }).to_string();
        let mut no_files = |_: &str| Err("there are no files here: put the JSON itself in its place".to_owned());
        match InvariantSet::parse(&set, Format::Json, &mut no_files) {
            Ok(set) => match set.invariants.into_iter().next().filter(|_| flaws.is_empty()) {
                Some(named) => Ok(Self {
                    named,
                    network,
                    variable,
                }),
                None => Err(flaws),
            },
            Err(errors) => {
                flaws.extend(errors.into_iter().map(Flaw::from));
                Err(flaws)
            }
        }
    }

    /// The invariant that the network judges.
    ///
    /// # Errors
    /// Why the network cannot judge it.
    pub fn streamed(&self) -> Result<Draft, String> {
        let variable = self.variable.clone();
        Ok(Draft {
            variable,
            ..draft(&self.named, self.network.clone())?
        })
    }

    /// For an engine, under this number.
    #[must_use]
    pub fn watched(&self, id: u64) -> Watched {
        let named = &self.named;
        streamed(named).unwrap_or_else(|_| program(named)).with_id(id)
    }
}

fn program(named: &NamedProgram) -> Watched {
    Watched::Program(ProgramInvariant {
        id: 0,
        name: named.name.clone(),
        program: named.program.clone(),
    })
}

/// The form in which it travels, under the number 0.
fn streamed(named: &NamedProgram) -> Result<Watched, String> {
    if let Some(invariant) = &named.plain {
        return Ok(invariant.clone().into());
    }
    if let Some(invariant) = as_storage(&named.name, &named.program) {
        return Ok(invariant.into());
    }
    let watched = program(named);
    let text = watched.expression();
    // Names stand for more than they are long.
    match engine::lang::parse(&text, &Names::default()) {
        Ok(again) if again == named.program => Ok(watched),
        Ok(_) => Err("with every name resolved it says something else: please report this".to_owned()),
        Err(error) => Err(format!(
            "with every name resolved it cannot be sent on: {}",
            error.message
        )),
    }
}

fn draft(named: &NamedProgram, network: String) -> Result<Draft, String> {
    Ok(Draft {
        invariant: streamed(named)?,
        network,
        variable: None,
        source: Some(Source {
            expression: named.expression.clone(),
            severity: named.severity.map(|severity| severity_name(severity).to_owned()),
            description: named.description.clone(),
        }),
    })
}

/// The invariants of a set, as they are streamed; of one that names its chain, those of that chain.
///
/// # Errors
/// The first that the network cannot judge, or whose texts cannot be kept, by its name.
pub fn of_set(set: &InvariantSet) -> Result<Vec<Draft>, String> {
    let network = match set.chain {
        None | Some(1) => NETWORK.to_owned(),
        Some(chain) => format!("chain-{chain}"),
    };
    let draft = |named: &NamedProgram| {
        let description = named.description.as_deref().unwrap_or_default();
        storable(&named.name, LONGEST_NAME)
            .and_then(|()| storable(description, LONGEST_DESCRIPTION).map_err(|why| format!("its description {why}")))
            .and_then(|()| draft(named, network.clone()))
            .map_err(|why| format!("{:?}: {why}", named.name))
    };
    set.invariants.iter().map(draft).collect()
}

/// Whether the database takes a text.
fn storable(text: &str, longest: usize) -> Result<(), String> {
    if text.chars().count() > longest {
        return Err(format!("has more than {longest} characters"));
    }
    // PostgreSQL cannot hold it.
    if text.contains('\0') {
        return Err("contains NUL, which no text may".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use engine::{Comparison, Invariant, U256};
    use proptest::prelude::*;

    use super::*;

    const VAULT: &str = "0x00000000000000000000000000000000000000b1";

    fn layout() -> Value {
        json!({
            "storage": [
                { "label": "totalDebt", "slot": "1", "offset": 0, "type": "t_uint128" },
                { "label": "paused", "slot": "1", "offset": 16, "type": "t_bool" },
                { "label": "owner", "slot": "2", "offset": 0, "type": "t_address" },
            ],
            "types": {
                "t_uint128": { "encoding": "inplace", "label": "uint128", "numberOfBytes": "16" },
                "t_bool": { "encoding": "inplace", "label": "bool", "numberOfBytes": "1" },
                "t_address": { "encoding": "inplace", "label": "address", "numberOfBytes": "20" },
            },
        })
    }

    fn known() -> BTreeMap<String, Value> {
        BTreeMap::from([("vault".to_owned(), json!({ "address": VAULT, "layout": layout() }))])
    }

    fn compiled(expression: &str) -> Result<Proposal, Vec<Flaw>> {
        let body = json!({ "name": "x", "expression": expression });
        Proposal::compile(body.as_object().unwrap(), &known())
    }

    fn slot_of(draft: Draft) -> Invariant {
        match draft.invariant {
            Watched::Slot(invariant) => invariant,
            other => panic!("{other:?}"),
        }
    }

    fn streamed(expression: &str) -> Result<(U256, u8, Comparison, U256), String> {
        let Invariant {
            slot,
            offset,
            comparison,
            target,
            ..
        } = slot_of(compiled(expression).unwrap().streamed()?);
        Ok((slot, offset, comparison, target))
    }

    #[test]
    fn what_compares_one_value_with_a_constant_is_streamed_as_a_slot() {
        let seven = U256::from(7);
        let one = U256::ONE;
        assert_eq!(streamed("vault.totalDebt >= 7"), Ok((one, 0, Comparison::Ge, seven)));
        assert_eq!(
            streamed("7 > post(vault.totalDebt)"),
            Ok((one, 0, Comparison::Lt, seven))
        );
        assert_eq!(streamed("vault.totalDebt <= 0x7"), Ok((one, 0, Comparison::Le, seven)));
        assert_eq!(streamed("not vault.paused"), Ok((one, 16, Comparison::Eq, U256::ZERO)));
        assert_eq!(streamed("vault.paused"), Ok((one, 16, Comparison::Eq, one)));
        let owner = format!("vault.owner == {VAULT}");
        assert_eq!(
            streamed(&owner),
            Ok((U256::from(2), 0, Comparison::Eq, U256::from(0xb1)))
        );
        assert_eq!(
            streamed("slot(vault, 0x5, int64, 8) >= -3").map(|found| found.3),
            Ok(U256::MAX - U256::from(2))
        );
    }

    #[test]
    fn what_says_more_is_streamed_as_its_text() {
        for expression in [
            "vault.totalDebt * 2 >= 7",
            "delta(vault.totalDebt) >= 7",
            "pre(vault.totalDebt) >= 7",
            "vault.totalDebt >= 7 and vault.totalDebt <= 9",
            "vault.totalDebt != 7",
            "balance(vault) >= 7",
            "vault.totalDebt >= 0.5",
            "vault.totalDebt <= 2 * vault.totalDebt",
        ] {
            let proposal = compiled(expression).unwrap();
            let streamed = proposal.streamed().unwrap().invariant;
            assert_eq!(proposal.watched(7), streamed.clone().with_id(7));
            let Watched::Program(invariant) = &streamed else {
                panic!("{expression}: {streamed:?}")
            };
            assert_eq!(invariant.program, proposal.named.program);
            let again = engine::lang::parse(&streamed.expression(), &Names::default()).unwrap();
            assert_eq!(format!("{again:#}"), streamed.expression(), "labels and all");
        }
    }

    #[test]
    fn each_flaw_has_its_field_and_an_expression_its_place() {
        let flaws = compiled("vault.totalDebt >= \n  vault.totelDebt").unwrap_err();
        let place = flaws[0].place.as_ref().unwrap();
        assert_eq!((flaws[0].pointer.as_str(), place.line), ("/expression", 2));
        assert!(place.shown.contains('^') && place.start >= 19, "{place:?}");
        for (body, pointer) in [
            (json!({ "expression": "true" }), ""),
            (json!({ "name": "x", "expression": 7 }), ""),
            (json!({ "name": 7, "expression": "true" }), "/name"),
            (json!({ "name": "a\u{0}b", "expression": "true" }), "/name"),
            (json!({ "name": "x".repeat(201), "expression": "true" }), "/name"),
            (
                json!({ "name": "x", "expression": "1 < 2", "network": "mars" }),
                "/network",
            ),
            (json!({ "name": "x", "expression": "1 < 2", "target": "3" }), "/target"),
            (
                json!({ "name": "x", "expression": "1 < 2", "contracts": [] }),
                "/contracts",
            ),
            (
                json!({ "name": "x", "expression": "1 < 2", "contracts": { "a": "0x12" } }),
                "/contracts/a/address",
            ),
            (
                json!({ "name": "x", "expression": "1 < 2", "contracts": { "a": { "address": VAULT, "layout": "/etc/passwd" } } }),
                "/contracts/a/layout",
            ),
            (
                json!({ "contract": "0x12", "type": ">=", "target": "1", "storage": "0" }),
                "/contract",
            ),
            (
                json!({ "contract": VAULT, "type": "~", "target": "1", "storage": "0" }),
                "/type",
            ),
            (json!({}), ""),
        ] {
            let flaws = Proposal::compile(body.as_object().unwrap(), &known()).unwrap_err();
            assert_eq!(flaws[0].pointer, pointer, "{body}: {flaws:?}");
            assert!(!flaws[0].detail.is_empty());
        }
    }

    #[test]
    fn the_original_form_is_taken_and_what_is_brought_along_counts() {
        let body = json!({ "contract": VAULT, "type": "<", "target": "9", "storage": "0x1", "slot_type": "uint128", "variable": "debt",
            "severity": "high", "network": "chain-5" });
        let proposal = Proposal::compile(body.as_object().unwrap(), &BTreeMap::new()).unwrap();
        let draft = proposal.streamed().unwrap();
        assert_eq!(
            (draft.network.as_str(), draft.variable.as_deref()),
            ("chain-5", Some("debt"))
        );
        assert_eq!(proposal.named.severity.map(severity_name), Some("high"));
        let other = "0x00000000000000000000000000000000000000c1";
        let body = json!({ "name": "x", "expression": "vault.totalDebt < 9", "contracts": { "vault": { "address": other, "layout": layout() } } });
        let draft = Proposal::compile(body.as_object().unwrap(), &known())
            .unwrap()
            .streamed()
            .unwrap();
        assert_eq!(format!("{:#x}", draft.invariant.contract()), other);
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer(text in ".{0,80}") {
            let _answer = compiled(&text).map(|proposal| proposal.streamed());
        }
    }
}
