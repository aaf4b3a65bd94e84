//! The subnet on which a community lives: the embedded ledger in its own folder, or a remote one.
//!
//! On the embedded one the bots make the blocks: one for each phase, and those up to the epoch's end with the ceremony's. A remote one
//! has its own time; the phase follows from where its epoch stands.

use std::path::Path;
use std::time::Duration;

use chain::ledger::RAO_PER_TAO;
use chain::local::params::{Overrides, Tao};
use chain::local::{LocalLedger, Opening};
use chain::{AccountId, Ledger, RemoteLedger};

use crate::error::CommunityError;
use crate::phase::Phase;

/// Blocks of an epoch of the embedded ledger: one for each phase, and some more.
const TEMPO: u64 = 6;
/// What a validator stakes; the least with which the main network lets it set weights.
pub const STAKE: u64 = 1_000 * RAO_PER_TAO;
/// How long a call to a remote ledger may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Where a community lives.
#[derive(Debug)]
pub enum Subnet {
    /// In its own folder.
    Embedded(LocalLedger),
    /// Somewhere else.
    Remote(Box<RemoteLedger>),
}

/// Where a subnet's time stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Epochs run so far.
    pub epoch: u64,
    /// The phase that follows from where the epoch stands; none where the bots themselves say which it is.
    pub phase: Option<Phase>,
}

impl Subnet {
    /// Opens the embedded ledger at `path`, or makes one that `owner` owns.
    ///
    /// # Errors
    /// It is in use, damaged, or another's.
    pub async fn embedded(path: &Path, owner: AccountId) -> Result<Self, CommunityError> {
        let overrides = Overrides {
            tempo: Some(TEMPO),
            weights_set_rate_limit: Some(0),
            max_allowed_uids: Some(u16::MAX),
            faucet: true,
            faucet_allowance: Some(Tao::from_rao(STAKE)),
            ..Overrides::default()
        };
        let opening = Opening {
            overrides,
            owner: Some(owner),
            endowments: Vec::new(),
        };
        Ok(Self::Embedded(LocalLedger::open(path, &opening).await?))
    }

    /// The ledger at `url`. Does not connect yet.
    ///
    /// # Errors
    /// The address is none.
    pub fn remote(url: &str) -> Result<Self, CommunityError> {
        Ok(Self::Remote(Box::new(RemoteLedger::new(url, DEADLINE)?)))
    }

    /// The ledger.
    pub fn ledger(&self) -> &dyn Ledger {
        match self {
            Self::Embedded(ledger) => ledger,
            Self::Remote(ledger) => ledger.as_ref(),
        }
    }

    /// What tells this network from every other.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn network(&self) -> Result<String, CommunityError> {
        Ok(match self {
            Self::Embedded(ledger) => ledger.genesis_id().to_string(),
            Self::Remote(ledger) => ledger.chain().await?.genesis_id.to_string(),
        })
    }

    /// Where its time stands.
    ///
    /// # Errors
    /// The ledger does not answer.
    pub async fn moment(&self) -> Result<Moment, CommunityError> {
        Ok(match self {
            Self::Embedded(ledger) => Moment {
                epoch: ledger.state().clock.epoch_index,
                phase: None,
            },
            Self::Remote(ledger) => {
                let chain = ledger.chain().await?;
                let since = chain.block.saturating_sub(chain.last_epoch_block);
                Moment {
                    epoch: chain.epoch_index,
                    phase: Some(Phase::of_tempo(since, chain.tempo)),
                }
            }
        })
    }

    /// Ends a phase on the embedded ledger: a block, and with `epoch` all blocks until so many epochs have run. Gives the epochs run.
    ///
    /// # Errors
    /// A block cannot be stored, or the ledger is a remote one.
    pub async fn end_phase(&self, epoch: Option<u64>) -> Result<u64, CommunityError> {
        let Self::Embedded(ledger) = self else {
            return Err(CommunityError::NotDriven);
        };
        match epoch {
            None => drop(ledger.advance().await?),
            Some(epoch) => {
                while ledger.state().clock.epoch_index < epoch {
                    ledger.advance().await?;
                }
            }
        }
        Ok(ledger.state().clock.epoch_index)
    }

    /// Gives the embedded ledger's database free.
    pub async fn close(self) {
        if let Self::Embedded(ledger) = self {
            ledger.close().await;
        }
    }
}
