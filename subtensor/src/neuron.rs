//! What a binary that is a neuron of the subnet is told: whose hotkey it has, and which ledger it is registered on.
//!
//! Miner and validator have the same flags, checks and first steps. Their configurations keep the keys at the top level, each with fields
//! of its own: of what is flattened (serde) a wrong value is told without its key and its file. [`Identity`] looks at them together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chain::wallets::WalletArgs;
use chain::{Followed, Keypair, Ledger};
use node::exit::{Code, Failure, OrConfiguration};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// Flags of a neuron.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct NeuronArgs {
    /// Hotkey file (Bittensor's JSON key file); or name a wallet by --wallet.name and --wallet.hotkey
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotkey: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub wallet: WalletArgs,
    /// The subnet's ledger: http://HOST:PORT, an embedded one; or the real chain: finney, test, local, ws://.. or wss://.. (several
    /// nodes with commas between)
    #[arg(long, value_name = "LEDGER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<String>,
    /// The subnet; needed on the real chain
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netuid: Option<u16>,
}

/// What a configuration says of its neuron.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// Hotkey file; without it, the wallet's.
    pub hotkey: Option<&'a Path>,
    /// The wallet, by btcli's names.
    pub wallet: &'a WalletArgs,
    /// The ledger, as [`crate::open`] takes it.
    pub ledger: &'a str,
    /// The subnet.
    pub netuid: Option<u16>,
}

/// A neuron that is registered.
#[derive(Debug)]
pub struct Neuron {
    /// Its hotkey.
    pub hotkey: Arc<Keypair>,
    /// Its uid at the start.
    pub uid: u16,
    /// Its ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The metagraph, followed.
    pub metagraph: Followed,
}

impl Identity<'_> {
    /// Checks what can be checked without a key, a file or a ledger.
    ///
    /// # Errors
    /// Exit code 2, naming what is wrong.
    pub fn check(&self) -> Result<(), Failure> {
        self.open()?;
        self.wallet.which(self.hotkey).or_configuration()?;
        Ok(())
    }

    fn open(&self) -> Result<Arc<dyn Ledger>, Failure> {
        crate::open(self.ledger, self.netuid, crate::Options::default()).or_configuration()
    }

    /// Reads the hotkey, finds it on the metagraph, and follows that every `period` until `shutdown`.
    ///
    /// # Errors
    /// A key that cannot be read and a hotkey that is not registered (exit code 2), a ledger that cannot be reached (3).
    pub async fn join(&self, period: Duration, shutdown: CancellationToken) -> Result<Neuron, Failure> {
        let hotkey = Arc::new(self.wallet.read_hotkey(self.hotkey).or_configuration()?);
        let ledger = self.open()?;
        let metagraph = chain::follow(Arc::clone(&ledger), period, shutdown)
            .await
            .map_err(|error| Failure::new(Code::Indeterminate, error))?;
        let account = hotkey.account();
        let (uid, netuid) = {
            let metagraph = metagraph.borrow();
            (metagraph.by_hotkey(&account).map(|neuron| neuron.uid), metagraph.netuid)
        };
        let Some(uid) = uid else {
            return Err(Failure::configuration(eyre::eyre!(
                "hotkey {account} ({}) is not registered on subnet {netuid}: register it first, by `ledger register` or, on the real \
                 chain, `subtensor register`",
                self.wallet.which(self.hotkey).or_configuration()?.display(),
            )));
        };
        Ok(Neuron {
            hotkey,
            uid,
            ledger,
            metagraph,
        })
    }
}
