//! The `miner` binary.

use std::process::ExitCode;

use clap::Parser;
use miner::config::{Config, Flags};
use node::cli::RunArgs;

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
}

fn main() -> ExitCode {
    let Cli {
        command: Command::Run(args),
    } = node::cli::parse();
    node::exit::run(async move { args.serve(Config::load, |config| &config.node, miner::run).await })
}
