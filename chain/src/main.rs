//! The binary `ledger`: runs an embedded ledger, looks at one, keeps wallets.

mod show;
mod wallet_cli;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use chain::local::params::{Overrides, resolve};
use chain::local::service::LedgerService;
use chain::local::{LocalLedger, OpenError, Opening, StoreError, clock};
use chain::remote::RemoteLedger;
use chain::wallets::WalletArgs;
use chain::{AccountId, Keypair, Ledger, LedgerError, Tao, keyfile};
use clap::{Parser, Subcommand};
use eyre::WrapErr;
use node::cli::{NodeArgs, NodeConfig};
use node::database::column;
use node::exit::{Code, Failure, OrConfiguration};
use node::health::HealthArgs;
use serde::{Deserialize, Serialize};
use show::Look;
use wallet_cli::WalletCommand;

/// A Bittensor-style ledger in one process: registration, stake, axons, weights, epochs
#[derive(Debug, Parser)]
#[command(name = "ledger", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "made once")]
enum Command {
    /// Run a ledger and serve it over gRPC
    Run(RunArgs),
    /// Show the neurons of a running ledger
    Metagraph {
        #[command(flatten)]
        look: Look,
    },
    /// Show what a uid set and got in its last epochs, newest first
    History {
        /// The uid
        uid: u16,
        /// Epochs at most
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        #[command(flatten)]
        look: Look,
    },
    /// Show the subnet's hyperparameters as they are now
    Hyperparameters {
        #[command(flatten)]
        look: Look,
    },
    /// Register a hotkey on the subnet and print its uid
    Register {
        #[command(flatten)]
        signer: Signer,
    },
    /// Put stake behind a registered hotkey and print what it has then
    Stake {
        #[command(flatten)]
        signer: Signer,
        /// How much
        #[arg(long, value_name = "TAO")]
        amount: Tao,
    },
    /// Make, take over, list or show keys, where btcli keeps them
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Ask a running node whether it serves
    Health(HealthArgs),
}

/// Who signs a call, and where it goes.
#[derive(Debug, clap::Args)]
struct Signer {
    /// The ledger's address, as in http://127.0.0.1:9944
    #[arg(long, value_name = "URL")]
    ledger: String,
    /// Hotkey file that signs; or name a wallet by --wallet.name and --wallet.hotkey
    #[arg(long, value_name = "FILE")]
    hotkey: Option<PathBuf>,
    #[command(flatten)]
    wallet: WalletArgs,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "5s")]
    deadline: humantime::Duration,
}

impl Signer {
    fn open(&self) -> Result<(RemoteLedger, Keypair), Failure> {
        let hotkey = self.wallet.read_hotkey(self.hotkey.as_deref()).or_configuration()?;
        Ok((
            RemoteLedger::new(&self.ledger, self.deadline.into()).or_configuration()?,
            hotkey,
        ))
    }
}

/// `PORTCULLIS_LEDGER_<KEY>` in the environment and the keys of the `--config` file say the same as these flags
#[derive(Debug, clap::Args, Serialize)]
struct RunArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    #[serde(skip)]
    check: bool,
    #[command(flatten)]
    node: NodeArgs,
    /// The database; made when it is not there [default: ledger.db]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<PathBuf>,
    /// Time between two blocks [default: 12s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde::option")]
    block_time: Option<Duration>,
    /// Make a block for each line on standard input, not by time, and print its number; the end of the input ends the ledger
    #[arg(long, conflicts_with = "exit_with_parent")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    step: bool,
    /// Hotkey (ss58) of the subnet's owner, uid 0; a new ledger without it makes one, in DATABASE.owner
    #[arg(long, value_name = "SS58")]
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<AccountId>,
    /// Balance that a key has in a new ledger (repeatable)
    #[arg(long, value_name = "SS58=TAO")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    endow: Vec<Endowment>,
    #[command(flatten)]
    subnet: Overrides,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    node: NodeConfig,
    #[serde(default = "default_database")]
    database: PathBuf,
    #[serde(default = "default_block_time", with = "humantime_serde")]
    block_time: Duration,
    #[serde(default)]
    step: bool,
    owner: Option<AccountId>,
    #[serde(default)]
    endow: Vec<Endowment>,
    #[serde(default)]
    subnet: Overrides,
}

fn default_database() -> PathBuf {
    PathBuf::from("ledger.db")
}

fn default_block_time() -> Duration {
    Duration::from_secs(12)
}

/// `SS58=TAO`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Endowment {
    account: AccountId,
    amount: Tao,
}

impl FromStr for Endowment {
    type Err = eyre::Report;

    fn from_str(text: &str) -> Result<Self, eyre::Report> {
        let (account, amount) = text
            .split_once('=')
            .ok_or_else(|| eyre::eyre!("`{text}` is not SS58=TAO"))?;
        Ok(Self {
            account: account.parse()?,
            amount: amount.parse()?,
        })
    }
}

impl TryFrom<String> for Endowment {
    type Error = eyre::Report;

    fn try_from(text: String) -> Result<Self, eyre::Report> {
        text.parse()
    }
}

impl From<Endowment> for String {
    fn from(endowment: Endowment) -> Self {
        format!("{}={}", endowment.account, endowment.amount)
    }
}

fn main() -> ExitCode {
    let cli: Cli = node::cli::parse();
    node::exit::run(async {
        match cli.command {
            Command::Run(args) => Box::pin(run(args)).await,
            Command::Metagraph { look } => show::metagraph(&look).await,
            Command::History { uid, limit, look } => show::history(&look, uid, limit).await,
            Command::Hyperparameters { look } => show::hyperparameters(&look).await,
            Command::Register { signer } => register(&signer).await,
            Command::Stake { signer, amount } => stake(&signer, amount).await,
            Command::Wallet(command) => wallet_cli::run(&command),
            Command::Health(args) => args.run().await,
        }
    })
}

async fn run(args: RunArgs) -> Result<(), Failure> {
    let config: Config = node::config::load("ledger", args.config.as_deref(), &args).or_configuration()?;
    if config.block_time < Duration::from_millis(1) {
        return Err(Failure::configuration(eyre::eyre!("block_time must be at least 1ms")));
    }
    if config.step && config.node.exit_with_parent {
        return Err(Failure::configuration(eyre::eyre!(
            "`step` and `node.exit_with_parent` both read standard input; the first alone ends with it too"
        )));
    }
    resolve(None, &config.subnet).or_configuration()?;
    if args.check {
        println!("the configuration is valid");
        return Ok(());
    }
    node::telemetry::start(&config.node)?;
    let shutdown = node::shutdown::on_signals(config.node.exit_with_parent)?;
    let listener = node::server::bind(config.node.listen).await?;
    let address = listener.local_addr()?;

    let endowments = config.endow.iter().map(|e| (e.account, e.amount.rao())).collect();
    let opening = Opening {
        overrides: config.subnet,
        owner: config.owner,
        endowments,
    };
    let ledger = open(&config.database, opening).await?;
    let state = ledger.state();
    tracing::info!(
        %address, database = %config.database.display(), genesis = %state.genesis_id, netuid = state.params.netuid,
        block = state.clock.block, tempo = state.params.tempo, faucet = state.params.faucet_allowance > 0, "ledger runs",
    );

    let (ticker, token, block_time, step) = (ledger.clone(), shutdown.clone(), config.block_time, config.step);
    let ticking = tokio::spawn(async move {
        let ended = match step {
            true => clock::on_request(ticker, lines(), print_block, token.clone()).await,
            false => {
                clock::run(ticker, block_time, token.clone()).await;
                Ok(())
            }
        };
        token.cancel();
        ended
    });
    let service = LedgerService::new(ledger.clone(), config.block_time, chain::auth::now_ns);
    if let Some(path) = &config.node.ready_file {
        node::server::announce(path, address)?;
    }
    let served = service.serve(listener, shutdown.clone()).await;
    shutdown.cancel();
    let ticked = ticking.await.wrap_err("the block clock");
    ledger.close().await;
    served?;
    Ok(ticked??)
}

/// A request for each line on standard input. Reading it cannot be cancelled, so the thread is nobody's and ends with the process;
/// a parent that writes faster than blocks are made waits.
fn lines() -> tokio::sync::mpsc::Receiver<()> {
    let (requests, asked) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            if line.is_err() || requests.blocking_send(()).is_err() {
                return;
            }
        }
    });
    asked
}

/// A parent that does not read sees the blocks in the metagraph all the same.
fn print_block(block: u64) {
    let mut out = std::io::stdout().lock();
    let _unread = writeln!(out, "{block}").and_then(|()| out.flush());
}

/// Opens the ledger; a new one without a named owner gets one made.
async fn open(database: &Path, mut opening: Opening) -> Result<LocalLedger, Failure> {
    let mut opened = LocalLedger::open(database, &opening).await;
    if matches!(opened, Err(OpenError::NoOwner)) {
        opening.owner = Some(new_owner(database)?);
        opened = LocalLedger::open(database, &opening).await;
    }
    opened.map_err(|error| match error {
        OpenError::Store(StoreError::Sql(ref sql)) if !column::is_damage(sql) => Failure::from(error),
        error => Failure::configuration(error),
    })
}

/// A new hotkey beside the database, or the one that an earlier start left there.
fn new_owner(database: &Path) -> Result<AccountId, Failure> {
    let mut path = database.as_os_str().to_owned();
    path.push(".owner");
    let path = PathBuf::from(path);
    if path.exists() {
        return Ok(keyfile::read(&path).or_configuration()?.account());
    }
    let pair = Keypair::generate();
    keyfile::write(&path, &pair).or_configuration()?;
    tracing::info!(owner = %pair.account(), file = %path.display(), "made a hotkey for the subnet's owner");
    Ok(pair.account())
}

async fn register(signer: &Signer) -> Result<(), Failure> {
    let (ledger, hotkey) = signer.open()?;
    let registration = ledger.register(&hotkey).await.map_err(refused)?;
    println!(
        "{} is uid {} since block {}",
        hotkey.account(),
        registration.uid,
        registration.block
    );
    Ok(())
}

async fn stake(signer: &Signer, amount: Tao) -> Result<(), Failure> {
    let (ledger, hotkey) = signer.open()?;
    let stake = ledger.add_stake(&hotkey, amount.rao()).await.map_err(refused)?;
    println!("{} has a stake of {} TAO", hotkey.account(), Tao::from_rao(stake));
    Ok(())
}

/// A refusal is an answer, and the answer is no; a ledger that does not answer is another matter.
fn refused(error: LedgerError) -> Failure {
    match error {
        LedgerError::Refused(_) => Failure::new(Code::Negative, error),
        LedgerError::Unavailable { .. } | LedgerError::Deadline { .. } => Failure::new(Code::Indeterminate, error),
        error => Failure::from(error),
    }
}
