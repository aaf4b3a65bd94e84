//! The real Bittensor chain behind the trait [`chain::Ledger`].
//!
//! Every call, storage entry and error is looked up by name in the metadata that the node itself gives, so a runtime upgrade
//! needs no new build; what a runtime does not have is an error that names it and the runtime's version. A mutation counts
//! only once it stands in a finalized block and succeeded there. Nothing waits without a deadline.
//!
//! [`open`] is what a binary calls with its `--ledger`; [`Subtensor`] is the chain itself; [`call`] are the calls as plain
//! values.

pub mod call;
mod connection;
mod fault;
mod ledger;
mod metagraph;
pub mod neuron;
mod params;
mod read;
mod signer;
mod submit;
mod target;

use std::sync::Arc;
use std::time::Duration;

use chain::{Keypair, Ledger, RemoteLedger};

pub use ledger::Subtensor;
pub use signer::HotkeySigner;
pub use target::{Target, TargetError};

/// How a ledger is reached.
#[derive(Debug, Clone)]
pub struct Options {
    /// The subnet. [`open`] takes it beside the options.
    pub netuid: u16,
    /// How long a read may take.
    pub deadline: Duration,
    /// How long a mutation may take until it is final.
    pub finality: Duration,
    /// Who pays for registrations and stake on the real chain; without one the hotkey is its own coldkey.
    pub coldkey: Option<Arc<Keypair>>,
}

impl Default for Options {
    /// Subnet 1, 10 s, 120 s (ten blocks), no coldkey.
    fn default() -> Self {
        Self {
            netuid: 1,
            deadline: Duration::from_secs(10),
            finality: Duration::from_secs(120),
            coldkey: None,
        }
    }
}

/// Opens a ledger by what `--ledger` and `--netuid` say: `http://HOST:PORT` (or `HOST:PORT`) is an embedded ledger over gRPC; `ws://`,
/// `wss://` (several with commas between), `finney`, `test` and `local` are the real chain, which has many subnets and needs
/// `netuid`; an embedded ledger has one, and is refused where it is another. Does not connect yet. Needs a tokio runtime.
///
/// # Errors
/// [`TargetError`] when the text is none of these, or the real chain's subnet is not named.
pub fn open(ledger: &str, netuid: Option<u16>, options: Options) -> Result<Arc<dyn Ledger>, TargetError> {
    Ok(match ledger.parse()? {
        Target::Grpc(url) => {
            let remote = RemoteLedger::new(&url, options.deadline)?;
            match netuid {
                Some(netuid) => Arc::new(remote.on_subnet(netuid)),
                None => Arc::new(remote),
            }
        }
        Target::Chain { endpoints, genesis } => {
            let Some(netuid) = netuid else {
                return Err(TargetError::NoSubnet {
                    text: ledger.to_owned(),
                });
            };
            Arc::new(Subtensor::new(&endpoints, genesis, Options { netuid, ..options }))
        }
    })
}
