//! The `audit` binary.

use std::path::PathBuf;
use std::process::ExitCode;

use audit::cli::{Common, RunFlags, load};
use audit::config::Config;
use audit::history::{Format, History, Rows};
use audit::once::{Once, once};
use audit::run;
use audit::status::Status;
use clap::Parser;
use eyre::WrapErr as _;
use node::cli::{RunArgs, print};
use node::exit::{Failure, OrConfiguration as _};

/// Measures the node's peers, reports on them once per epoch, and claims the node's own bounty
#[derive(Debug, Parser)]
#[command(name = "audit", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run: measure, report and claim, each at its time
    Run(Box<RunArgs<RunFlags>>),
    /// Report now what is due, once (exit code 1: nothing was due, or it does not count)
    Report {
        #[command(flatten)]
        common: Common,
    },
    /// Claim the bounty now, once (exit code 1: it is not due, or the claim failed)
    Claim {
        #[command(flatten)]
        common: Common,
    },
    /// How the node stands: its epoch, its auditors, what a claim would give, whom it measures
    Status {
        #[command(flatten)]
        common: Common,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// What was measured, reported and earned; needs no node
    History {
        #[command(flatten)]
        common: Common,
        /// Only of this peer
        #[arg(long, value_name = "ID")]
        peer: Option<u32>,
        /// Only the last so much, before the newest sample
        #[arg(long, value_name = "DURATION")]
        since: Option<humantime::Duration>,
        /// How it is shown
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        /// Which rows a CSV has
        #[arg(long, value_enum, default_value = "samples")]
        rows: Rows,
        /// Into this file instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let Cli { command } = node::cli::parse();
    // Whoever was first may have chosen a provider of cryptography already.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    node::exit::run(dispatch(command))
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => args.serve(load, |config: &Config| &config.node, run::run).await,
        Command::Report { common } => {
            println!("{}", once(common.load(load)?, Once::Report).await?);
            Ok(())
        }
        Command::Claim { common } => {
            println!("{}", once(common.load(load)?, Once::Claim).await?);
            Ok(())
        }
        Command::Status { common, json } => {
            let status = Status::read(&common.load(load)?).await?;
            print(&status, json, Status::table)
        }
        Command::History {
            common,
            peer,
            since,
            format,
            rows,
            out,
        } => {
            let history = History::read(&common.load(load)?, peer, since.map(Into::into)).await?;
            let text = history.render(format, rows)?;
            match out {
                Some(path) => std::fs::write(&path, text)
                    .wrap_err_with(|| format!("--out {}", path.display()))
                    .or_configuration(),
                None => {
                    print!("{text}{}", if text.ends_with('\n') { "" } else { "\n" });
                    Ok(())
                }
            }
        }
    }
}
