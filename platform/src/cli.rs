//! The command line: `run`, `invariants add | list | remove`, `services`, `keys`, `backup`, `status`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use eyre::eyre;
use node::database::Place;
use node::exit::{Code, Failure, OrConfiguration};
use node::health::HealthArgs;
use protos::v1;
use protos::v1::platform_client::PlatformClient;
use serde_json::{Map, Value, json};

use crate::config::{Config, RunArgs};
use crate::registry::{self, Draft, display_value};
use crate::rest::key::{self, Role};
use crate::run::open;
use crate::store::{KeyRow, RegisteredInvariant, Service, ServiceError, Store};

/// The platform: one ordered, resumable stream of transactions, heads and invariants for the validators
#[derive(Debug, Parser)]
#[command(name = "platform", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the stream
    Run(Box<RunArgs>),
    /// What must hold; works while the platform runs on the same database
    Invariants {
        #[command(subcommand)]
        command: Invariants,
    },
    /// Protocols that pay for their protection; works while the platform runs on the same database
    Services {
        #[command(subcommand)]
        command: Services,
    },
    /// Keys of the HTTP interface; works while the platform runs on the same database
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Copy the SQLite database into a file, also while the platform runs on it; PostgreSQL has `pg_dump`
    Backup {
        /// The platform's database
        #[arg(long, value_name = "DATABASE")]
        database: Place,
        /// The copy; must not be there yet
        file: PathBuf,
    },
    /// Where the feed and the reports stand
    Status(StatusArgs),
    /// Ask a running platform whether it serves
    Health(HealthArgs),
}

#[derive(Debug, Subcommand)]
enum Invariants {
    /// Register invariants, from a JSON file or from flags
    Add(Box<AddArgs>),
    /// List the active ones
    List(ListArgs),
    /// Remove one
    Remove(RemoveArgs),
}

#[derive(Debug, Subcommand)]
enum Services {
    /// Add one: its invariants are streamed only while it is paid
    Add {
        /// The protected protocol's name
        name: String,
        /// Its payment contract, as `billing deploy` prints it
        #[arg(long, value_name = "ADDRESS")]
        payment: alloy::primitives::Address,
        /// The platform's database, a SQLite file or postgres://..; a file is made when it is not there
        #[arg(long, value_name = "DATABASE")]
        database: Place,
    },
    /// List them: paid until when, streamed or not
    List(ListArgs),
    /// Remove one that has no invariants any more
    Remove {
        /// Its name
        name: String,
        /// The platform's database, a SQLite file or postgres://..
        #[arg(long, value_name = "DATABASE")]
        database: Place,
    },
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Make a key and print it; it is not shown again
    Create {
        /// Whose it is, or what for
        name: String,
        /// What it allows
        #[arg(long, value_enum, default_value = "read")]
        role: Role,
        /// The platform's database, a SQLite file or postgres://..; a file is made when it is not there
        #[arg(long, value_name = "DATABASE")]
        database: Place,
    },
    /// List them, without their secrets
    List(ListArgs),
    /// Revoke one: it is refused from now on
    Revoke {
        /// Its number, as `list` shows it
        id: u64,
        /// The platform's database, a SQLite file or postgres://..
        #[arg(long, value_name = "DATABASE")]
        database: Place,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
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
struct ListArgs {
    /// The platform's database, a SQLite file or postgres://..
    #[arg(long, value_name = "DATABASE")]
    database: Place,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RemoveArgs {
    /// The platform's database, a SQLite file or postgres://..
    #[arg(long, value_name = "DATABASE")]
    database: Place,
    /// Its id, as `list` shows it
    id: u64,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// The platform, as in http://127.0.0.1:8000
    #[arg(long, value_name = "URL")]
    platform: String,
    /// The certificate (PEM) that a platform at an https address is known by [default: the authorities that browsers trust]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// [`Failure`] carries the line and the exit code.
    pub async fn execute(self) -> Result<(), Failure> {
        match self.command {
            Command::Run(args) => {
                let config: Config =
                    node::config::load("platform", args.config.as_deref(), &args).or_configuration()?;
                if args.check {
                    crate::run::check(&config)?;
                    return say("the configuration is valid");
                }
                Box::pin(crate::run::run(config)).await
            }
            Command::Invariants {
                command: Invariants::Add(args),
            } => add(*args).await,
            Command::Invariants {
                command: Invariants::List(args),
            } => list(args).await,
            Command::Invariants {
                command: Invariants::Remove(args),
            } => remove(args).await,
            Command::Services { command } => services(command).await,
            Command::Keys { command } => keys(command).await,
            Command::Backup { database, file } => {
                let size = existing(&database)
                    .await?
                    .database()
                    .back_up(&file)
                    .await
                    .or_configuration()?;
                say(format_args!("copied {database} into {}, {size} bytes", file.display()))
            }
            Command::Status(args) => status(args).await,
            Command::Health(args) => args.run().await,
        }
    }
}

/// Prints a line of the answer. A reader that has closed the pipe (`| head`) wants no more, which is no failure.
fn say(line: impl std::fmt::Display) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
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

/// An existing database: a mistyped path must not make a new one.
async fn existing(place: &Place) -> Result<Store, Failure> {
    if place.file().is_some_and(|path| !path.exists()) {
        return Err(Failure::configuration(eyre!("database {place}: there is no such file")));
    }
    open(place).await
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
    let version = store.invariant_set_version().await?;
    say(format_args!(
        "removed invariant {}; version {version} is in force",
        args.id
    ))
}

async fn services(command: Services) -> Result<(), Failure> {
    match command {
        Services::Add {
            name,
            payment,
            database,
        } => {
            let store = open(&database).await?;
            store.add_service(&name, payment).await.map_err(service_failure)?;
            say(format_args!("added service {name}, paid into {payment}"))
        }
        Services::Remove { name, database } => {
            let store = existing(&database).await?;
            store.remove_service(&name).await.map_err(service_failure)?;
            say(format_args!("removed service {name}"))
        }
        Services::List(args) => {
            let services = existing(&args.database).await?.services().await?;
            if args.json {
                let rows: Vec<Value> = services.iter().map(service_as_json).collect();
                return say(serde_json::to_string_pretty(&rows)?);
            }
            let mut table = table(["name", "payment contract", "invariants", "streamed", "payment"]);
            for service in services {
                let payment = service
                    .conclusion
                    .map_or("not looked at yet".to_owned(), |known| known.to_string());
                table.add_row([
                    service.name,
                    service.payment.to_string(),
                    service.invariants.to_string(),
                    if service.served { "yes" } else { "NO" }.to_owned(),
                    payment,
                ]);
            }
            say(table)
        }
    }
}

async fn keys(command: Keys) -> Result<(), Failure> {
    match command {
        Keys::Create { name, role, database } => {
            let store = open(&database).await?;
            say(key::make(&store, &name, role).await?.as_str())
        }
        Keys::Revoke { id, database } => {
            if !existing(&database).await?.revoke_key(id).await? {
                return Err(Failure::configuration(eyre!(
                    "there is no key {id} that is good; `platform keys list` shows them"
                )));
            }
            say(format_args!("revoked key {id}"))
        }
        Keys::List(args) => {
            let keys = existing(&args.database).await?.keys(None).await?;
            let date = |ms: u64| crate::rest::date(ms);
            if args.json {
                let row = |key: &KeyRow| {
                    json!({
                        "id": key.id, "name": key.name, "role": key.role, "prefix": format!("pk_{}", key.prefix),
                        "created_at": date(key.created_at_ms), "revoked_at": key.revoked_at_ms.map(date),
                    })
                };
                return say(serde_json::to_string_pretty(&keys.iter().map(row).collect::<Vec<_>>())?);
            }
            let mut table = table(["id", "name", "role", "prefix", "created", "revoked"]);
            for key in keys {
                table.add_row([
                    key.id.to_string(),
                    key.name,
                    key.role,
                    format!("pk_{}", key.prefix),
                    date(key.created_at_ms),
                    key.revoked_at_ms.map_or_else(String::new, date),
                ]);
            }
            say(table)
        }
    }
}

fn service_as_json(service: &Service) -> Value {
    json!({
        "name": service.name,
        "payment_contract": service.payment.to_string(),
        "invariants": service.invariants,
        "streamed": service.served,
        "payment": service.conclusion,
        "checked_at_ms": service.checked_at_ms,
    })
}

/// A wrong name is the user's to mend.
fn service_failure(error: ServiceError) -> Failure {
    match error {
        ServiceError::Log(error) => Failure::from(error),
        other => Failure::configuration(other),
    }
}

async fn status(args: StatusArgs) -> Result<(), Failure> {
    const DEADLINE: Duration = Duration::from_secs(5);
    let url = if args.platform.contains("://") {
        args.platform.clone()
    } else {
        format!("http://{}", args.platform)
    };
    let wrong = |error| Failure::configuration(eyre!("platform address {}: {error}", args.platform));
    let mut endpoint = tonic::transport::Endpoint::from_shared(url.clone()).map_err(wrong)?;
    if url.starts_with("https:") {
        let tls = node::tls::client(args.ca.as_deref()).or_configuration()?;
        endpoint = endpoint.tls_config(tls).map_err(wrong)?;
    }
    let endpoint = endpoint.connect_timeout(DEADLINE).timeout(DEADLINE);
    let unreachable = |error: &dyn std::fmt::Display| {
        Failure::new(
            Code::Indeterminate,
            eyre!("platform {} does not answer: {error}", args.platform),
        )
    };
    let mut client = PlatformClient::new(endpoint.connect().await.map_err(|error| unreachable(&error))?);
    let status = client
        .status(v1::StatusRequest {})
        .await
        .map_err(|error| unreachable(&error))?
        .into_inner();
    let rows = status_rows(&status);
    if args.json {
        let object: Map<String, Value> = rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        return say(serde_json::to_string_pretty(&object)?);
    }
    let mut table = table(["", ""]);
    for (name, value) in rows {
        // A text without its quotes, a list as lines.
        let shown = match &value {
            Value::String(text) => text.clone(),
            Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
            other => other.to_string(),
        };
        table.add_row([name.replace('_', " "), shown]);
    }
    say(table)
}

/// Where a live feed stands, as rows.
fn feed_rows(feed: &v1::FeedStatus) -> Vec<(&'static str, Value)> {
    let hash = alloy::primitives::hex::encode_prefixed(&feed.head_hash);
    vec![
        ("head", feed.head_number.into()),
        ("head_hash", hash.into()),
        ("pending", feed.pending.into()),
        ("included", feed.included.into()),
        ("replaced", feed.replaced.into()),
        ("dropped", feed.dropped.into()),
        ("orphaned_heads", feed.orphaned.into()),
        ("carried_over", feed.carried_over.into()),
        ("rejudged", feed.rejudged.into()),
        ("without_prestate", feed.without_prestate.into()),
        ("refused", feed.refused.into()),
        ("gaps", feed.gaps.into()),
        ("gap_ms", feed.gap_ms.into()),
        ("missed_heads", feed.missed_heads.into()),
        ("last_gap", feed.last_gap.as_str().into()),
    ]
}

/// A node in a line.
fn node_line(node: &v1::EndpointStatus) -> String {
    let state = match (node.connected, node.followed) {
        (true, true) => "followed",
        (true, false) => "connected",
        (false, _) => "down",
    };
    let mut line = format!("{} {state}", node.url);
    for (name, value) in [("mode", &node.mode), ("error", &node.error)] {
        if !value.is_empty() {
            line.push_str(&format!(", {name}: {value}"));
        }
    }
    format!("{line}, first to show {}, connections {}", node.first, node.connections)
}

fn status_rows(status: &v1::StatusResponse) -> Vec<(&'static str, Value)> {
    let mut rows = vec![
        ("last_cursor", status.last_cursor.into()),
        ("feed_ended", status.feed_ended.into()),
        ("validators_connected", status.validators_connected.into()),
        ("invariant_set_version", status.invariant_set_version.into()),
        ("transactions", status.transactions.into()),
        ("assigned", status.assigned.into()),
        ("reported", status.reported.into()),
        ("judged", status.judged.into()),
        ("executed", status.executed.into()),
        ("holds", status.holds.into()),
        ("violated", status.violated.into()),
        ("undecided", status.undecided.into()),
        ("challenges", status.challenges.into()),
        ("answers", status.answers.into()),
        ("agreed", status.agreed.into()),
        ("arbitrated", status.arbitrated.into()),
        ("incidents", status.incidents.into()),
    ];
    if let Some(feed) = &status.feed {
        rows.extend(feed_rows(feed));
        let nodes: Vec<Value> = feed.endpoints.iter().map(|node| node_line(node).into()).collect();
        rows.push(("nodes", nodes.into()));
    }
    rows
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if header.iter().any(|name| !name.is_empty()) {
        table.set_header(header);
    }
    table
}
