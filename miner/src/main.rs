//! The `miner` binary.

use std::process::ExitCode;

use clap::Parser;
use miner::config::{Config, Flags};
use node::cli::RunArgs;
use node::health::HealthArgs;

/// Answers validators' challenges: executes each transaction and judges its invariants
#[derive(Debug, Parser)]
#[command(name = "miner", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve challenges until interrupted
    Run(Box<RunArgs<Flags>>),
    /// Ask a running node whether it serves
    Health(HealthArgs),
}

fn main() -> ExitCode {
    let Cli { command } = node::cli::parse();
    node::exit::run(async move {
        match command {
            Command::Run(args) => args.serve(Config::load, |config| &config.node, miner::run).await,
            Command::Health(args) => args.run().await,
        }
    })
}
