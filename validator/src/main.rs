//! The `validator` binary.

use std::process::ExitCode;

use clap::Parser;
use node::cli::RunArgs;
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
}

fn main() -> ExitCode {
    let Cli {
        command: Command::Run(args),
    } = node::cli::parse();
    node::exit::run(async move { args.serve(Config::load, |config| &config.node, validator::run).await })
}
