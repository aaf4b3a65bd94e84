//! The `validator` binary.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use validator::config::{Config, Flags};

/// Judges pending transactions with the help of miners, scores them, and reports weights.
#[derive(Debug, Parser)]
#[command(name = "validator", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Validate until interrupted
    Run {
        /// Configuration file (TOML); flags and `PORTCULLIS_VALIDATOR_*` variables win over it
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
        validator::run(config, shutdown).await
    })
}
