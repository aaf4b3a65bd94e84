//! The command line: `run`, `invariants add | list | remove`, `services`, `keys`, `backup`, `status`.

mod invariants;
mod keys;
mod services;
mod status;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use eyre::eyre;
use node::database::Place;
use node::exit::{Failure, OrConfiguration};
use node::health::HealthArgs;

use self::invariants::Invariants;
use self::keys::Keys;
use self::services::Services;
use self::status::StatusArgs;
use crate::config::{Config, RunArgs};
use crate::run::open;
use crate::store::Store;

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

#[derive(Debug, Args)]
struct ListArgs {
    /// The platform's database, a SQLite file or postgres://..
    #[arg(long, value_name = "DATABASE")]
    database: Place,
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
            Command::Invariants { command } => command.execute().await,
            Command::Services { command } => command.execute().await,
            Command::Keys { command } => command.execute().await,
            Command::Backup { database, file } => {
                let size = existing(&database)
                    .await?
                    .database()
                    .back_up(&file)
                    .await
                    .or_configuration()?;
                say(format_args!("copied {database} into {}, {size} bytes", file.display()))
            }
            Command::Status(args) => args.execute().await,
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

/// Writes down a change that was made here beside those over HTTP, as the request that it stands for.
async fn made(store: &Store, method: &http::Method, path: &str) -> Result<(), Failure> {
    let status = match *method {
        http::Method::POST => http::StatusCode::CREATED,
        _ => http::StatusCode::NO_CONTENT,
    };
    let written = store.audit("command line", method.as_str(), path, status.as_u16());
    Ok(written.await?)
}

/// An existing database: a mistyped path must not make a new one.
async fn existing(place: &Place) -> Result<Store, Failure> {
    if place.file().is_some_and(|path| !path.exists()) {
        return Err(Failure::configuration(eyre!("database {place}: there is no such file")));
    }
    open(place).await
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
