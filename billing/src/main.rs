//! The `billing` binary.

use std::process::ExitCode;

use billing::cli::{MonitorArgs, SourceArgs};
use billing::monitor::{self, CheckError, health::Health, rule::Conclusion};
use billing::reader::Unknown;
use billing::status::Status;
use clap::Parser;
use eyre::eyre;
use node::cli::NodeConfig;
use node::exit::{Code, Failure};

/// Protection paid by the second: the service's contract, and a monitor that acts when it is not paid
#[derive(Debug, Parser)]
#[command(name = "billing", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Paid until when, for how long, what is missing
    Status {
        #[command(flatten)]
        source: SourceArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check whether the service is paid, and act on the edge (exit codes: 0 paid, 1 unpaid, 2 configuration, 3 not known)
    Monitor(Box<MonitorArgs>),
}

fn main() -> ExitCode {
    let Cli { command } = node::cli::parse();
    node::exit::run(async move {
        match command {
            Command::Status { source, json } => status(&source, json).await,
            Command::Monitor(args) => watch(*args).await,
        }
    })
}

async fn status(args: &SourceArgs, json: bool) -> Result<(), Failure> {
    let source = args.source()?;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let standing = source.read(now).await.map_err(|unknown| match unknown {
        Unknown::NoService(_) => Failure::configuration(eyre!("CONTRACT_ADDRESS: {unknown}")),
        Unknown::Indeterminate(_) => Failure::new(Code::Indeterminate, unknown),
    })?;
    let status = Status::new(source.contract, standing);
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        println!("{}", status.table());
    }
    Ok(())
}

async fn watch(args: MonitorArgs) -> Result<(), Failure> {
    let monitor = args.monitor()?;
    let node = NodeConfig {
        listen: args.node.listen.unwrap_or(NodeConfig::default().listen),
        ready_file: args.node.ready_file.clone(),
        metrics: args.node.metrics,
        exit_with_parent: args.node.exit_with_parent,
        log: args.node.log.clone().unwrap_or(NodeConfig::default().log),
        log_json: args.node.log_json,
    };
    node::telemetry::start(&node)?;
    if !args.watch {
        return end(monitor.check().await);
    }
    let shutdown = node::shutdown::on_signals(node.exit_with_parent)?;
    let listener = node::server::bind(node.listen).await?;
    let address = listener.local_addr()?;
    tracing::info!(%address, "serving /health");
    let health = Health::default();
    let serving = tokio::spawn(health.clone().serve(listener, shutdown.clone()));
    if let Some(path) = &node.ready_file {
        node::server::announce(path, address)?;
    }
    let watched = monitor::watch(monitor, args.every.into(), health, shutdown.clone()).await;
    shutdown.cancel();
    serving.await??;
    watched.map_err(Failure::configuration)
}

/// The exit code of one check.
fn end(checked: Result<Conclusion, CheckError>) -> Result<(), Failure> {
    match checked {
        Ok(Conclusion::Paid { .. } | Conclusion::Grace { .. }) => Ok(()),
        Ok(Conclusion::Unpaid { arrears, .. }) => Err(Failure::new(
            Code::Negative,
            eyre!("the service is not paid sufficiently: {arrears} base units are missing"),
        )),
        Ok(Conclusion::Indeterminate { reason }) => Err(Failure::new(Code::Indeterminate, eyre!("{reason}"))),
        Err(error) => Err(Failure::configuration(error)),
    }
}
