//! The `validator` binary.

use std::process::ExitCode;

use clap::Parser;
use node::cli::RunArgs;
use node::health::HealthArgs;
use validator::config::{Config, Flags};

/// Judges pending transactions with the help of miners, scores them, and reports weights
#[derive(Debug, Parser)]
#[command(name = "validator", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Validate until interrupted
    Run(Box<RunArgs<Flags>>),
    /// Show where the validator stands, and what it holds of each miner
    Status(validator::show::StatusArgs),
    /// Show where miners were wrong or a violation was confirmed: the own engine's verdict, and all votes
    Disputes(validator::show::DisputesArgs),
    /// Show confirmed attacks: their transactions, whose balances they change by how much, and what was done about them
    Incidents(validator::incidents::IncidentsArgs),
    /// Show what was sent to the ledger as weights, what became of it, and why nothing is being sent
    Weights(validator::weights::show::Args),
    /// What is done about incidents: show it, or try it
    #[command(subcommand)]
    Actions(validator::actions::ActionsCommand),
    /// Ask a running node whether it serves
    Health(HealthArgs),
}

fn main() -> ExitCode {
    let Cli { command } = node::cli::parse();
    node::exit::run(async move {
        match command {
            Command::Run(args) => args.serve(Config::load, |config| &config.node, validator::run).await,
            Command::Status(args) => validator::show::status(args).await,
            Command::Disputes(args) => validator::show::disputes(args).await,
            Command::Incidents(args) => validator::incidents::run(args).await,
            Command::Weights(args) => validator::weights::show::run(args).await,
            Command::Actions(command) => command.run().await,
            Command::Health(args) => args.run().await,
        }
    })
}
