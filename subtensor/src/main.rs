//! The binary `subtensor`: looks at a subnet of the real Bittensor chain, and does there what a neuron's owner does once:
//! registration, stake, the axon. What `ledger` is to an embedded ledger, and works on one too.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chain::wallets::WalletArgs;
use chain::{AxonInfo, Keypair, Ledger, LedgerError, Tao, keyfile, table};
use clap::{Parser, Subcommand};
use node::exit::{Code, Failure, OrConfiguration};
use subtensor::Options;

/// Looks at a subnet of the Bittensor chain, registers, stakes
#[derive(Debug, Parser)]
#[command(name = "subtensor", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the subnet's neurons
    Metagraph {
        #[command(flatten)]
        at: Place,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show the subnet's hyperparameters
    Hyperparameters {
        #[command(flatten)]
        at: Place,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Show the weights that a uid has set, as JSON pairs of uid and weight
    Weights {
        /// The uid
        uid: u16,
        #[command(flatten)]
        at: Place,
    },
    /// Register the hotkey and print its uid; the burn is paid by the coldkey where one is given, else by the hotkey
    Register {
        #[command(flatten)]
        at: Place,
        #[command(flatten)]
        signer: Signer,
    },
    /// Put TAO behind the hotkey and print what it has then; paid as the registration
    Stake {
        #[command(flatten)]
        at: Place,
        #[command(flatten)]
        signer: Signer,
        /// How much
        #[arg(long, value_name = "TAO")]
        amount: Tao,
    },
    /// Say on the chain where the hotkey's neuron is reached
    ServeAxon {
        #[command(flatten)]
        at: Place,
        #[command(flatten)]
        signer: Signer,
        /// The address
        #[arg(long, value_name = "IP:PORT")]
        axon: SocketAddr,
    },
}

/// Which subnet of which chain.
#[derive(Debug, clap::Args)]
struct Place {
    /// finney, test, local, ws://.. or wss://.. (several nodes with commas between); or http://HOST:PORT, an embedded ledger
    #[arg(long, value_name = "LEDGER")]
    ledger: String,
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: Option<u16>,
    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "10s")]
    deadline: humantime::Duration,
    /// How long a call may take until it is final
    #[arg(long, value_name = "TIME", default_value = "120s")]
    finality: humantime::Duration,
}

impl Place {
    fn open(&self, coldkey: Option<Keypair>) -> Result<Arc<dyn Ledger>, Failure> {
        let options = Options {
            deadline: self.deadline.into(),
            finality: self.finality.into(),
            coldkey: coldkey.map(Arc::new),
            ..Options::default()
        };
        subtensor::open(&self.ledger, self.netuid, options).or_configuration()
    }
}

/// Whose call it is.
#[derive(Debug, clap::Args)]
struct Signer {
    /// Hotkey file; or name a wallet by --wallet.name and --wallet.hotkey
    #[arg(long, value_name = "FILE")]
    hotkey: Option<PathBuf>,
    /// The wallet's coldkey pays; it is opened with --wallet.password
    #[arg(long)]
    coldkey: bool,
    #[command(flatten)]
    wallet: WalletArgs,
}

impl Signer {
    fn hotkey(&self) -> Result<Keypair, Failure> {
        self.wallet.read_hotkey(self.hotkey.as_deref()).or_configuration()
    }

    fn payer(&self) -> Result<Option<Keypair>, Failure> {
        if !self.coldkey {
            return Ok(None);
        }
        let path = self.wallet.coldkey_file().or_configuration()?;
        let password = self.wallet.password().or_configuration()?;
        Ok(Some(keyfile::read_with(&path, password.as_ref()).or_configuration()?))
    }
}

fn main() -> ExitCode {
    let cli: Cli = node::cli::parse();
    node::exit::run(run(cli.command))
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Metagraph { at, json } => {
            let metagraph = at.open(None)?.metagraph().await.map_err(failed)?;
            node::cli::print(&metagraph, json, table::metagraph)?;
        }
        Command::Hyperparameters { at, json } => {
            let params = at.open(None)?.hyperparameters().await.map_err(failed)?;
            node::cli::print(&params, json, |params| table::hyperparameters(params).to_string())?;
        }
        Command::Weights { uid, at } => {
            let weights = at.open(None)?.weights(uid).await.map_err(failed)?;
            println!("{}", serde_json::to_string(&weights)?);
        }
        Command::Register { at, signer } => {
            let hotkey = signer.hotkey()?;
            let registration = at.open(signer.payer()?)?.register(&hotkey).await.map_err(failed)?;
            let (uid, block) = (registration.uid, registration.block);
            println!("{} is uid {uid} since block {block}", hotkey.account());
        }
        Command::Stake { at, signer, amount } => {
            let hotkey = signer.hotkey()?;
            let ledger = at.open(signer.payer()?)?;
            let stake = ledger.add_stake(&hotkey, amount.rao()).await.map_err(failed)?;
            println!("{} has a stake of {} TAO", hotkey.account(), Tao::from_rao(stake));
        }
        Command::ServeAxon { at, signer, axon } => {
            let hotkey = signer.hotkey()?;
            let info = AxonInfo {
                version: chain::AXON_VERSION,
                ip: axon.ip(),
                port: axon.port(),
                protocol: chain::AXON_PROTOCOL,
            };
            let block = at.open(None)?.serve_axon(&hotkey, info).await.map_err(failed)?;
            println!("{} serves at {axon} since block {block}", hotkey.account());
        }
    }
    Ok(())
}

/// A refusal is an answer, and the answer is no; a chain that does not answer is another matter.
fn failed(error: LedgerError) -> Failure {
    match error {
        LedgerError::Refused(_) => Failure::new(Code::Negative, error),
        LedgerError::Unavailable { .. } | LedgerError::Deadline { .. } | LedgerError::Busy => {
            Failure::new(Code::Indeterminate, error)
        }
        error => Failure::from(error),
    }
}
