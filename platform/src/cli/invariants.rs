//! `platform invariants add | list | remove`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use engine::Watched;
use engine::lang::{Format, InvariantSet};
use eyre::eyre;
use node::database::Place;
use node::exit::{Failure, OrConfiguration};
use serde_json::{Map, Value, json};

use super::services::service_failure;
use super::{ListArgs, existing, say, table};
use crate::proposal::of_set;
use crate::registry::{self, Draft, display_value};
use crate::run::open;
use crate::store::{CatalogError, Described};

#[derive(Debug, Subcommand)]
pub(super) enum Invariants {
    /// Register invariants, from a JSON file or from flags
    Add(Box<AddArgs>),
    /// List the active ones
    List(ListArgs),
    /// Remove one
    Remove(RemoveArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The platform's database, a SQLite file or postgres://..; a file is made when it is not there
    #[arg(long, value_name = "DATABASE")]
    database: Place,
    /// One invariant or a list, as JSON (contract, type, target, storage [, slot_type, offset, name, network, variable]), or a set in the
    /// language of invariants, as JSON or, with the ending .toml, as TOML; severity and description are kept
    #[arg(long, value_name = "FILE", conflicts_with_all = ["contract", "comparison", "target", "slot", "slot_type", "offset", "name", "variable"])]
    file: Option<PathBuf>,
    /// What must hold, in the language of invariants, with addresses in the place of names
    #[arg(long, value_name = "TEXT", requires = "name", conflicts_with_all = ["file", "contract", "comparison", "target", "slot", "slot_type", "offset", "variable"])]
    expression: Option<String>,
    /// Address of the contract
    #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["file", "expression"])]
    contract: Option<String>,
    /// The relation that must hold between value and target: ==, >=, <=, > or <
    #[arg(long = "type", value_name = "RELATION", required_unless_present_any = ["file", "expression"])]
    comparison: Option<String>,
    /// What the value is compared with, decimal
    #[arg(
        long,
        value_name = "NUMBER",
        required_unless_present_any = ["file", "expression"],
        allow_hyphen_values = true
    )]
    target: Option<String>,
    /// The storage slot, hex or decimal
    #[arg(long, value_name = "SLOT", required_unless_present_any = ["file", "expression"])]
    slot: Option<String>,
    /// Its Solidity type [default: uint256]
    #[arg(long, value_name = "TYPE")]
    slot_type: Option<String>,
    /// Bytes from the right end of the slot [default: 0]
    #[arg(long, value_name = "BYTES")]
    offset: Option<u64>,
    /// A name for people
    #[arg(long)]
    name: Option<String>,
    /// The variable's name in the source
    #[arg(long)]
    variable: Option<String>,
    /// The service that they belong to: they are streamed only while it is paid
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    /// The platform's database, a SQLite file or postgres://..
    #[arg(long, value_name = "DATABASE")]
    database: Place,
    /// Its id, as `list` shows it
    id: u64,
}

impl Invariants {
    pub(super) async fn execute(self) -> Result<(), Failure> {
        match self {
            Self::Add(args) => add(*args).await,
            Self::List(args) => list(args).await,
            Self::Remove(args) => remove(args).await,
        }
    }
}

async fn add(args: AddArgs) -> Result<(), Failure> {
    let drafts = drafts(&args)?;
    let store = open(&args.database).await?;
    let service = match &args.service {
        Some(name) => Some(store.service_id(name).await.map_err(service_failure)?),
        None => None,
    };
    let ids = store.add_invariants_of(service, &drafts).await?;
    super::made(&store, &http::Method::POST, "/v1/invariants").await?;
    for (id, draft) in ids.iter().zip(&drafts) {
        say(format_args!("added invariant {id}: {}", draft.invariant.name()))?;
    }
    say(format_args!(
        "version {} is in force",
        store.invariant_set_version().await?
    ))
}

fn drafts(args: &AddArgs) -> Result<Vec<Draft>, Failure> {
    if let Some(file) = &args.file {
        let named = |error: &dyn std::fmt::Display| Failure::configuration(eyre!("{}: {error}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
        let format = Format::of_file(&file.to_string_lossy());
        if format == Format::Json && !is_set(&text) {
            return registry::parse(&text).map_err(|error| named(&error));
        }
        return set(&text, format, file).map_err(|error| named(&error));
    }
    let mut entry = Map::new();
    let fields = [
        ("expression", &args.expression),
        ("contract", &args.contract),
        ("type", &args.comparison),
        ("target", &args.target),
        ("storage", &args.slot),
        ("slot_type", &args.slot_type),
        ("name", &args.name),
        ("variable", &args.variable),
    ];
    for (field, value) in fields {
        if let Some(value) = value {
            entry.insert(field.to_owned(), Value::from(value.as_str()));
        }
    }
    if let Some(offset) = args.offset {
        entry.insert("offset".to_owned(), Value::from(offset));
    }
    if args.expression.is_some() {
        let text = Value::Array(vec![Value::Object(entry)]).to_string();
        return set(&text, Format::Json, Path::new("")).map_err(|error| Failure::configuration(eyre!(error)));
    }
    Ok(vec![Draft::from_entry(&entry).or_configuration()?])
}

/// Whether a JSON text is a set, or has entries that say more than the original form can.
fn is_set(text: &str) -> bool {
    let has = |entry: &Value, fields: &[&str]| fields.iter().any(|field| entry.get(field).is_some());
    let more = ["expression", "severity", "description"];
    match serde_json::from_str(text) {
        Ok(Value::Array(entries)) => entries.iter().any(|entry| has(entry, &more)),
        Ok(set) => has(&set, &["invariants", "contracts"]) || has(&set, &more),
        Err(_) => false,
    }
}

/// Reads a set; the files that it names lie beside it.
fn set(text: &str, format: Format, file: &Path) -> Result<Vec<Draft>, String> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut beside = |path: &str| std::fs::read_to_string(folder.join(path)).map_err(|error| error.to_string());
    let set = InvariantSet::parse(text, format, &mut beside).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })?;
    of_set(&set)
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let invariants = existing(&args.database).await?.described(0, u32::MAX).await?;
    if args.json {
        let rows: Vec<Value> = invariants.iter().map(as_json).collect();
        return say(serde_json::to_string_pretty(&rows)?);
    }
    let mut table = table(["id", "name", "contract", "slot", "type", "must be"]);
    for Described { row, .. } in invariants {
        let invariant = row.invariant;
        let [slot, value_type, must_be] = match &invariant {
            Watched::Slot(slot) => {
                let at = if slot.offset == 0 {
                    String::new()
                } else {
                    format!(" + {}", slot.offset)
                };
                let target = display_value(slot.target, slot.value_type);
                let must_be = format!("{} {target}", slot.comparison);
                [format!("{:#x}{at}", slot.slot), slot.value_type.to_string(), must_be]
            }
            Watched::View(_) => [String::new(), String::new(), invariant.expression()],
            Watched::Program(of) => [String::new(), String::new(), of.program.in_words()],
        };
        let (id, contract) = (invariant.id().to_string(), invariant.contract().to_string());
        table.add_row([id, invariant.name().to_owned(), contract, slot, value_type, must_be]);
    }
    say(table)
}

/// In the form of an entry that `add` takes, with what else is known of it.
fn as_json(Described { row, source, .. }: &Described) -> Value {
    let source = source.as_ref();
    let common = [
        ("id", json!(row.invariant.id())),
        ("name", json!(row.invariant.name())),
        ("contract", json!(row.invariant.contract().to_string())),
        ("network", json!(row.network)),
        ("severity", json!(source.and_then(|source| source.severity.as_deref()))),
        (
            "description",
            json!(source.and_then(|source| source.description.as_deref())),
        ),
        ("created_at_ms", json!(row.created_at_ms)),
    ];
    let said = match &row.invariant {
        Watched::Slot(slot) => vec![
            ("type", json!(slot.comparison.symbol())),
            ("target", json!(display_value(slot.target, slot.value_type))),
            ("storage", json!(engine::B256::from(slot.slot).to_string())),
            ("slot_type", json!(slot.value_type.to_string())),
            ("offset", json!(slot.offset)),
            ("variable", json!(row.variable)),
        ],
        invariant => vec![("expression", json!(invariant.expression()))],
    };
    let fields = common.into_iter().chain(said);
    Value::Object(fields.map(|(field, value)| (field.to_owned(), value)).collect())
}

async fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let store = existing(&args.database).await?;
    store.remove_invariant(args.id).await.map_err(|error| match error {
        CatalogError::Unknown(..) => Failure::configuration(eyre!(
            "there is no active invariant {}; `platform invariants list` shows them",
            args.id
        )),
        CatalogError::Log(error) => error.into(),
    })?;
    super::made(&store, &http::Method::DELETE, &format!("/v1/invariants/{}", args.id)).await?;
    let version = store.invariant_set_version().await?;
    say(format_args!(
        "removed invariant {}; version {version} is in force",
        args.id
    ))
}
