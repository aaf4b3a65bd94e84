//! The `billing` binary.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use alloy::primitives::Address;
use billing::account::{Account, AccountArgs};
use billing::cli::{MonitorArgs, RpcArgs, SourceArgs};
use billing::monitor::{self, CheckError, health::Health, rule::Conclusion};
use billing::reader::Unknown;
use billing::status::Status;
use billing::{deploy, pay, payees, withdraw};
use clap::Parser;
use eyre::{WrapErr as _, eyre};
use node::cli::{NodeConfig, print};
use node::exit::{Code, Failure, OrConfiguration as _};

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
    /// Deploy a service's contract; prints its address
    Deploy {
        #[command(flatten)]
        terms: deploy::Terms,
        #[command(flatten)]
        sending: Sending,
    },
    /// Pay for a service: how much, until when, or for how long
    Pay {
        #[command(flatten)]
        service: ServiceArg,
        #[command(flatten)]
        amount: pay::Amount,
        /// By an EIP-2612 permit, instead of an approval before
        #[arg(long)]
        permit: bool,
        #[command(flatten)]
        sending: Sending,
    },
    /// Withdraw a payee's share
    Withdraw {
        #[command(flatten)]
        service: ServiceArg,
        #[command(flatten)]
        sending: Sending,
    },
    /// Propose who shares a service's payments: the subnet's weightiest validators
    Payees {
        /// The subnet's ledger, as in http://127.0.0.1:9944, or finney
        #[arg(long, env = "LEDGER", value_name = "URL")]
        ledger: String,
        /// The subnet, where the ledger has several
        #[arg(long, value_name = "NETUID")]
        netuid: Option<u16>,
        /// A TOML file: hotkey (SS58) = Ethereum address
        #[arg(long, value_name = "FILE")]
        addresses: PathBuf,
        /// So many at most
        #[arg(long, value_name = "N", default_value_t = 16)]
        top: usize,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check whether the service is paid, and act on the edge (exit codes: 0 paid, 1 unpaid, 2 configuration, 3 not known)
    Monitor(Box<MonitorArgs>),
}

/// Which service.
#[derive(Debug, clap::Args)]
struct ServiceArg {
    /// The service's contract
    #[arg(long, env = "CONTRACT_ADDRESS", value_name = "ADDRESS")]
    contract: Address,
}

/// Through which node, and as whom.
#[derive(Debug, clap::Args)]
struct Sending {
    #[command(flatten)]
    rpc: RpcArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    account: AccountArgs,
}

impl Sending {
    async fn open(&self) -> Result<Account, Failure> {
        self.account.open(&self.rpc).await
    }

    /// Closes the account and prints what was done.
    async fn done<T: serde::Serialize>(
        &self,
        account: Account,
        done: Result<T, Failure>,
        line: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        account.close().await?;
        print(&done?, self.json, line)
    }
}

fn main() -> ExitCode {
    let Cli { command } = node::cli::parse();
    node::exit::run(async move {
        match command {
            Command::Status { source, json } => status(&source, json).await,
            Command::Deploy { terms, sending } => {
                let account = sending.open().await?;
                let done = deploy::deploy(&account, &terms).await;
                sending.done(account, done, |done| done.contract.to_string()).await
            }
            Command::Pay {
                service,
                amount,
                permit,
                sending,
            } => {
                let account = sending.open().await?;
                let done = pay::pay(&account, service.contract, &amount, permit).await;
                sending.done(account, done, paid).await
            }
            Command::Withdraw { service, sending } => {
                let account = sending.open().await?;
                let done = withdraw::withdraw(&account, service.contract).await;
                let line = |done: &withdraw::Withdrawn| {
                    format!("{} base units to {} in block {}", done.amount, done.payee, done.block)
                };
                sending.done(account, done, line).await
            }
            Command::Payees {
                ledger,
                netuid,
                addresses,
                top,
                json,
            } => propose(&ledger, netuid, &addresses, top, json).await,
            Command::Monitor(args) => watch(*args).await,
        }
    })
}

fn paid(done: &pay::Paid) -> String {
    format!(
        "{} base units in block {}; paid until {}",
        done.amount,
        done.block,
        node::clock::date(done.paid_until)
    )
}

async fn propose(ledger: &str, netuid: Option<u16>, addresses: &Path, top: usize, json: bool) -> Result<(), Failure> {
    let text = std::fs::read_to_string(addresses)
        .wrap_err_with(|| format!("--addresses {}", addresses.display()))
        .or_configuration()?;
    let known: payees::Addresses = toml::from_str(&text)
        .wrap_err_with(|| format!("--addresses {}", addresses.display()))
        .or_configuration()?;
    let ledger = subtensor::open(ledger, netuid, subtensor::Options::default()).or_configuration()?;
    let metagraph = ledger
        .metagraph()
        .await
        .map_err(|error| Failure::new(Code::Indeterminate, error))?;
    let (proposed, passed) = payees::propose(&metagraph, &known, top);
    for one in &passed {
        eprintln!(
            "uid {} ({}) has no address of its own in {}",
            one.uid,
            one.hotkey,
            addresses.display()
        );
    }
    print(&proposed, json, |proposed| {
        let addresses = proposed.iter().filter_map(|one| one.address);
        let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
        addresses.join(",")
    })?;
    if proposed.is_empty() {
        return Err(Failure::new(
            Code::Negative,
            eyre!("no validator with a permit has an address in {}", addresses.display()),
        ));
    }
    Ok(())
}

async fn status(args: &SourceArgs, json: bool) -> Result<(), Failure> {
    let source = args.source()?;
    let standing = source
        .read(node::clock::unix().as_secs())
        .await
        .map_err(|unknown| match unknown {
            Unknown::NoService(_) => Failure::configuration(eyre!("CONTRACT_ADDRESS: {unknown}")),
            Unknown::Indeterminate(_) => Failure::new(Code::Indeterminate, unknown),
        })?;
    print(&Status::new(source.contract, standing), json, Status::table)
}

async fn watch(args: MonitorArgs) -> Result<(), Failure> {
    let monitor = args.monitor()?;
    let node = NodeConfig::from(&args.node);
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
