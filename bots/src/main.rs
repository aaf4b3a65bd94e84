//! The `bots` binary.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bots::localnet::race::{self, RaceOptions};
use bots::localnet::report::page;
use bots::localnet::{LocalnetError, Options, tables};
use bots::{adversaries, communities, scoring};
use clap::{Parser, Subcommand};
use eyre::{WrapErr, eyre};
use node::exit::{Code, Failure, OrConfiguration};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How a shell says that a process was ended by SIGINT.
const INTERRUPTED: u8 = 130;

/// Brings whole networks to life: for a demonstration, for tests, for measurements
#[derive(Debug, Parser)]
#[command(name = "bots", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a ledger, a platform, validators and miners on this machine, with --live also keepers, auditors and monitors of payments;
    /// send transactions through them, and report
    ///
    /// Exit code: 0 when everything was judged and every gas is as recorded, 1 when not, 2 when something given is wrong, 3 when a node or
    /// a process does not answer, 4 when a process of the network crashed, 130 when interrupted.
    Localnet(Box<Options>),
    /// Race attacks on a vulnerable vault against the pause, on a real node, with Portcullis and without
    ///
    /// Exit code: 0 when every pause was mined ahead and every vault kept its funds (and lost them without Portcullis), 1 when not, 2
    /// when something given is wrong, 3 when the node does not answer, 4 when a process crashed, 130 when interrupted.
    Race(RaceOptions),
    /// Let dishonest miners loose on a validator: each way to cheat once, and nine of ten in league, beside one honest miner
    ///
    /// Exit code: 0 when every attack was confirmed, nothing else was, and the honest miner earned most; 1 when not, 2 when something
    /// given is wrong, 4 when a node ended, 130 when interrupted.
    Adversaries(adversaries::Options),
    /// Make the picture and the tables of `docs/scoring.md` anew
    Scoring(scoring::Options),
    /// Found a bot community: founders, funded by the faucet, registered in phase REGISTERING only
    ///
    /// Exit code: 0 when it is founded, 1 when the faucet did not fund everybody, 2 when something given is wrong, 3 when the ledger or the
    /// faucet does not answer.
    Init(communities::InitOptions),
    /// Do what the current phase asks of a community's bots, once; a second time it changes nothing
    ///
    /// Exit code: 0 when it is done (refusals are counted), 2 when something given is wrong, 3 when the ledger or the faucet does not answer.
    Run(communities::RunOptions),
    /// Run a community ceremony after ceremony, with what each took
    ///
    /// Exit code: 0 when everything held, 1 when not, 2 when something given is wrong, 3 when the ledger does not answer, 130 when
    /// interrupted.
    Benchmark(communities::BenchmarkOptions),
    /// Run so many ceremonies in one process, exactly: the same seed gives the same figures
    ///
    /// Exit code: 0 when everything held, 1 when not or when growth is not what the golden vector says, 2 when something given is wrong.
    Simulate(communities::SimulateOptions),
    /// Serve a community's faucet over HTTP
    Faucet(communities::FaucetOptions),
    /// Begin the next phase of a community when all bots are done
    ///
    /// Exit code: 0 done, 2 when something given is wrong (a remote ledger's phases follow its epochs), 4 when the next phase does not begin.
    Phase(communities::PhaseOptions),
    /// The recorded scenario that the project contains
    #[command(subcommand)]
    Scenario(Scenario),
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Make the scenario's recording and its invariants anew
    Write {
        /// The folder to write them into
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let Cli { command } = node::cli::parse();
    let mut interrupted = false;
    let code = node::exit::run(async {
        match command {
            Command::Localnet(options) => localnet(&options, &mut interrupted).await,
            Command::Race(options) => race(&options, &mut interrupted).await,
            Command::Scoring(options) => scoring::write(&options).or_configuration(),
            Command::Adversaries(options) => adversaries(&options, &mut interrupted).await,
            Command::Init(options) => {
                prepare("warn")?;
                communities::init(&options).await
            }
            Command::Run(options) => {
                prepare("warn")?;
                communities::run(&options).await
            }
            Command::Benchmark(options) => {
                let shutdown = started(if options.screen { "off" } else { "warn" })?;
                let ended = communities::benchmark(&options, &shutdown).await;
                interrupted = shutdown.is_cancelled();
                ended
            }
            Command::Simulate(options) => {
                let shutdown = started("warn")?;
                let ended = communities::simulate(&options, &shutdown).await;
                interrupted = shutdown.is_cancelled();
                ended
            }
            Command::Faucet(options) => communities::faucet(&options, started("warn")?).await,
            Command::Phase(options) => communities::phase(&options, &started("warn")?).await,
            Command::Scenario(Scenario::Write { folder }) => write_scenario(&folder),
        }
    });
    if interrupted { ExitCode::from(INTERRUPTED) } else { code }
}

/// What a command begins with: logs by this filter, and what HTTP needs.
fn prepare(log: &str) -> Result<(), Failure> {
    node::telemetry::start(&node::cli::NodeConfig {
        log: log.to_owned(),
        ..Default::default()
    })?;
    // Somebody else may have installed one already: that is as good.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    Ok(())
}

/// The same for one that looks out for signals; every other one is ended by them at once.
fn started(log: &str) -> Result<CancellationToken, Failure> {
    prepare(log)?;
    Ok(node::shutdown::on_signals(false)?)
}

/// The same for a network.
fn network_started(log: &str) -> Result<CancellationToken, Failure> {
    let shutdown = started(log)?;
    end_with_terminal(shutdown.clone())?;
    Ok(shutdown)
}

async fn localnet(options: &Options, interrupted: &mut bool) -> Result<(), Failure> {
    let shutdown = network_started("warn")?;
    let ended = bots::localnet::run(options, &shutdown).await;
    *interrupted = ended.is_err() && shutdown.is_cancelled();
    let report = reported(ended, *interrupted)?;
    if let Some(path) = &options.report {
        write_json(path, &report)?;
        let page = path.with_extension("html");
        std::fs::write(&page, page::render(&report)?)
            .wrap_err_with(|| format!("cannot write the report {}", page.display()))?;
    }
    shown(&tables::render(&report), report.failure())
}

async fn race(options: &RaceOptions, interrupted: &mut bool) -> Result<(), Failure> {
    let shutdown = network_started("warn")?;
    let ended = race::run(options, &shutdown).await;
    *interrupted = ended.is_err() && shutdown.is_cancelled();
    let report = reported(ended, *interrupted)?;
    if let Some(path) = &options.report {
        write_json(path, &report)?;
    }
    shown(&report.render(), report.failure())
}

async fn adversaries(options: &adversaries::Options, interrupted: &mut bool) -> Result<(), Failure> {
    let shutdown = network_started("error")?;
    let report = tokio::select! {
        () = shutdown.cancelled() => {
            *interrupted = true;
            return Err(Failure::new(Code::Restart, eyre!("interrupted")));
        }
        report = adversaries::run(options) => report.map_err(|error| Failure::new(Code::Restart, error))?,
    };
    shown(&report.render(), report.failure())
}

/// The report of a network, unless it came to none.
fn reported<T>(ended: Result<T, LocalnetError>, interrupted: bool) -> Result<T, Failure> {
    ended.map_err(|error| {
        let error = if interrupted { LocalnetError::Interrupted } else { error };
        Failure::new(error.code(), error)
    })
}

fn write_json(path: &Path, report: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(report)?;
    std::fs::write(path, json + "\n").wrap_err_with(|| format!("cannot write the report {}", path.display()))?;
    Ok(())
}

/// Prints what came of it, and fails with the reason why it is no success.
fn shown(text: &str, failure: Option<String>) -> Result<(), Failure> {
    // A reader that has gone away (`| head`) is no reason to end otherwise than the run did.
    let _closed = std::io::stdout().lock().write_all(text.as_bytes());
    match failure {
        None => Ok(()),
        Some(reason) => Err(Failure::new(Code::Negative, eyre!(reason))),
    }
}

/// A terminal that is closed ends the network too.
fn end_with_terminal(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = hangup.recv() => shutdown.cancel(),
            () = shutdown.cancelled() => {}
        }
    });
    Ok(())
}

fn write_scenario(folder: &Path) -> Result<(), Failure> {
    let recording = bots::scenario::record(bots::scenario::SEED)?;
    for path in recording.write(folder).or_configuration()? {
        println!("{}", path.display());
    }
    Ok(())
}
