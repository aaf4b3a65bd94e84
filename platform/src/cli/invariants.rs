//! `platform invariants add | list | remove`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use eyre::eyre;
use node::database::Place;
use node::exit::{Failure, OrConfiguration};
use serde_json::{Map, Value, json};

use super::services::service_failure;
use super::{ListArgs, existing, say, table};
use crate::registry::{self, Draft, display_value};
use crate::run::open;
use crate::store::RegisteredInvariant;

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
    /// One invariant or a list, as JSON: contract, type, target, storage [, slot_type, offset, name, network, variable]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["contract", "comparison", "target", "slot", "slot_type", "offset", "name", "variable"])]
    file: Option<PathBuf>,
    /// Address of the contract
    #[arg(long, value_name = "ADDRESS", required_unless_present = "file")]
    contract: Option<String>,
    /// The relation that must hold between value and target: ==, >=, <=, > or <
    #[arg(long = "type", value_name = "RELATION", required_unless_present = "file")]
    comparison: Option<String>,
    /// What the value is compared with, decimal
    #[arg(
        long,
        value_name = "NUMBER",
        required_unless_present = "file",
        allow_hyphen_values = true
    )]
    target: Option<String>,
    /// The storage slot, hex or decimal
    #[arg(long, value_name = "SLOT", required_unless_present = "file")]
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
        say(format_args!("added invariant {id}: {}", draft.invariant.name))?;
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
        return registry::parse(&text).map_err(|error| named(&error));
    }
    let mut entry = Map::new();
    let fields = [
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
    registry::parse(&Value::Object(entry).to_string()).or_configuration()
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let invariants = existing(&args.database).await?.invariants().await?;
    if args.json {
        let rows: Vec<Value> = invariants.iter().map(row_as_json).collect();
        return say(serde_json::to_string_pretty(&rows)?);
    }
    let mut table = table(["id", "name", "contract", "slot", "type", "must be"]);
    for RegisteredInvariant { invariant, .. } in invariants {
        let at = if invariant.offset == 0 {
            String::new()
        } else {
            format!(" + {}", invariant.offset)
        };
        table.add_row([
            invariant.id.to_string(),
            invariant.name.clone(),
            invariant.contract.to_string(),
            format!("{:#x}{at}", invariant.slot),
            invariant.value_type.to_string(),
            format!(
                "{} {}",
                invariant.comparison,
                display_value(invariant.target, invariant.value_type)
            ),
        ]);
    }
    say(table)
}

/// In the form of the file that `add` takes, with the id.
fn row_as_json(row: &RegisteredInvariant) -> Value {
    let invariant = &row.invariant;
    json!({
        "id": invariant.id,
        "name": invariant.name,
        "contract": invariant.contract.to_string(),
        "type": invariant.comparison.symbol(),
        "target": display_value(invariant.target, invariant.value_type),
        "storage": engine::B256::from(invariant.slot).to_string(),
        "slot_type": invariant.value_type.to_string(),
        "offset": invariant.offset,
        "network": row.network,
        "variable": row.variable,
        "created_at_ms": row.created_at_ms,
    })
}

async fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let store = existing(&args.database).await?;
    if !store.remove_invariant(args.id).await? {
        return Err(Failure::configuration(eyre!(
            "there is no active invariant {}; `platform invariants list` shows them",
            args.id
        )));
    }
    super::made(&store, &http::Method::DELETE, &format!("/v1/invariants/{}", args.id)).await?;
    let version = store.invariant_set_version().await?;
    say(format_args!(
        "removed invariant {}; version {version} is in force",
        args.id
    ))
}
