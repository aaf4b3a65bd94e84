//! The `miner` binary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use miner::config::{Config, Flags};

/// Answers validators' challenges: executes each transaction and judges its invariants.
#[derive(Debug, Parser)]
#[command(name = "miner", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve challenges until interrupted
    Run {
        /// Configuration file (TOML); flags and `PORTCULLIS_MINER_*` variables win over it
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Check the configuration and exit
        #[arg(long)]
        check: bool,
        #[command(flatten)]
        flags: Box<Flags>,
    },
}

fn main() -> ExitCode {
    let Cli {
        command: Command::Run {
            config: file,
            check,
            flags,
        },
    } = node::cli::parse();
    node::exit::run(async move {
        let config = Config::load(file.as_deref(), &flags)?;
        if check {
            println!("configuration is valid");
            return Ok(());
        }
        node::telemetry::start(&config.node)?;
        let shutdown = node::shutdown::on_signals(config.node.exit_with_parent)?;
        miner::run(config, shutdown).await
    })
}
