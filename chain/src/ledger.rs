//! The subnet's ledger as the rest of the house sees it: one trait, whatever chain stands behind it.
//!
//! Amounts are RAO (10^-9 TAO), times are block numbers. Every call has a deadline of the implementation's and ends in a
//! typed error; a call that is refused changed nothing.

use std::net::IpAddr;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::account::AccountId;
use crate::error::LedgerError;
use crate::wallet::Keypair;

/// RAO in one TAO.
pub const RAO_PER_TAO: u64 = 1_000_000_000;

/// What a ledger's methods give: boxed, so that `Arc<dyn Ledger>` works.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, LedgerError>>;

/// A subnet's ledger.
///
/// Mutations take the key pair that signs them; nothing else may act for a hotkey.
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// The number of the newest block.
    fn block(&self) -> Answer<'_, u64>;

    /// All neurons as of the newest block.
    fn metagraph(&self) -> Answer<'_, Metagraph>;

    /// The subnet's parameters.
    fn hyperparameters(&self) -> Answer<'_, Hyperparameters>;

    /// The weight row that a uid has set, as pairs of uid and value (max-upscaled to 65535); empty when it has set none.
    fn weights(&self, uid: u16) -> Answer<'_, Vec<(u16, u16)>>;

    /// Registers a hotkey and gives its uid.
    fn register<'a>(&'a self, hotkey: &'a Keypair) -> Answer<'a, Registration>;

    /// Adds `amount` RAO to the hotkey's stake and gives the stake after it.
    fn add_stake<'a>(&'a self, hotkey: &'a Keypair, amount: u64) -> Answer<'a, u64>;

    /// Publishes where the hotkey's neuron serves; gives the block at which it took effect.
    fn serve_axon<'a>(&'a self, hotkey: &'a Keypair, axon: AxonInfo) -> Answer<'a, u64>;

    /// Sets the hotkey's weights; gives the block at which they took effect.
    fn set_weights<'a>(&'a self, hotkey: &'a Keypair, weights: WeightsCall) -> Answer<'a, u64>;
}

/// A registration that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The hotkey's uid.
    pub uid: u16,
    /// The block at which it took effect.
    pub block: u64,
}

/// Where a neuron serves, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AxonInfo {
    /// Version of the software, as one number.
    pub version: u32,
    /// Address.
    pub ip: IpAddr,
    /// Port.
    pub port: u16,
    /// Protocol number; 4 has been Bittensor's for HTTP.
    pub protocol: u8,
}

/// A served axon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axon {
    /// Block at which it was served.
    pub block: u64,
    /// What was served.
    #[serde(flatten)]
    pub info: AxonInfo,
}

/// Weights to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsCall {
    /// For whom.
    pub uids: Vec<u16>,
    /// How much, in the same order; only ratios count.
    pub values: Vec<u16>,
    /// The validator's version.
    pub version_key: u64,
}

/// All neurons at one block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metagraph {
    /// The subnet.
    pub netuid: u16,
    /// The block.
    pub block: u64,
    /// Blocks between two epochs.
    pub tempo: u64,
    /// Block of the last epoch.
    pub last_epoch_block: u64,
    /// Epochs run so far.
    pub epoch_index: u64,
    /// Ordered by uid, without gaps.
    pub neurons: Vec<Neuron>,
}

impl Metagraph {
    /// A subnet at block 0 with these neurons, in the order of their uids.
    pub const fn new(netuid: u16, tempo: u64, neurons: Vec<Neuron>) -> Self {
        Self {
            netuid,
            block: 0,
            tempo,
            last_epoch_block: 0,
            epoch_index: 0,
            neurons,
        }
    }

    /// The neuron of a hotkey.
    pub fn by_hotkey(&self, hotkey: &AccountId) -> Option<&Neuron> {
        self.neurons.iter().find(|neuron| neuron.hotkey == *hotkey)
    }

    /// The neuron of a uid.
    pub fn by_uid(&self, uid: u16) -> Option<&Neuron> {
        self.neurons.get(usize::from(uid))
    }

    /// The block at which the next epoch runs.
    pub fn next_epoch_block(&self) -> u64 {
        self.last_epoch_block.saturating_add(self.tempo)
    }
}

/// A registered hotkey.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neuron {
    /// Its number in the subnet.
    pub uid: u16,
    /// The key that it signs with.
    pub hotkey: AccountId,
    /// The key that owns it. On the embedded ledger a hotkey owns itself.
    pub coldkey: AccountId,
    /// RAO.
    pub stake: u64,
    /// Where it serves, once it said so.
    pub axon: Option<Axon>,
    /// Whether it may set weights on others.
    pub validator_permit: bool,
    /// Whether its last update is recent enough to count.
    pub active: bool,
    /// Block of its registration.
    pub registered_at: u64,
    /// Block at which it last set weights; until then that of its registration.
    pub last_update: u64,
    /// Share of the miners' reward at the last epoch, of 65535.
    pub incentive: u16,
    /// Share of the validators' reward at the last epoch, of 65535.
    pub dividends: u16,
    /// [`Neuron::incentive`] before it was cut to 16 bits, 0 to 1.
    pub incentive_share: f64,
    /// RAO paid at the last epoch.
    pub emission: u64,
    /// RAO paid since registration.
    pub earned: u64,
    /// Whether the ledger holds a weight row of it.
    pub weights_known: bool,
}

impl Neuron {
    /// A neuron as it is right after its registration at block 0: its own coldkey, active, without stake, axon, permit or weights.
    pub const fn new(uid: u16, hotkey: AccountId) -> Self {
        Self {
            uid,
            hotkey,
            coldkey: hotkey,
            stake: 0,
            axon: None,
            validator_permit: false,
            active: true,
            registered_at: 0,
            last_update: 0,
            incentive: 0,
            dividends: 0,
            incentive_share: 0.0,
            emission: 0,
            earned: 0,
            weights_known: false,
        }
    }
}

/// The subnet's parameters, under Subtensor's names where it has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyperparameters {
    /// The subnet.
    pub netuid: u16,
    /// Blocks between two epochs.
    pub tempo: u64,
    /// Blocks between two weight settings of one hotkey.
    pub weights_rate_limit: u64,
    /// Least version key that is taken; 0 takes all.
    pub weights_version: u64,
    /// Weights that a row must have at least (or one for every uid, where there are fewer).
    pub min_allowed_weights: u16,
    /// Uids that the subnet has at most.
    pub max_allowed_uids: u16,
    /// Permits that are given at most.
    pub max_allowed_validators: u16,
    /// RAO a hotkey needs to set weights and to hold a permit.
    pub stake_threshold: u64,
    /// Blocks after its last update for which a neuron counts as active.
    pub activity_cutoff: u64,
    /// Blocks between two axons of one hotkey.
    pub serving_rate_limit: u64,
    /// RAO that a registration costs.
    pub registration_burn: u64,
    /// RAO issued in each block.
    pub emission_per_block: u64,
    /// RAO that each hotkey may draw from the faucet in all; 0 means there is none.
    pub faucet_allowance: u64,
    /// Whether an axon may be on 127.0.0.1 or ::1.
    pub loopback_axons: bool,
}

impl Default for Hyperparameters {
    /// Subtensor's defaults (spec 425), but for three: one weight is enough for a row, the threshold is the 1,000 TAO of
    /// the main network, and registration costs 0.1 TAO for good.
    fn default() -> Self {
        Self {
            netuid: 1,
            tempo: 360,
            weights_rate_limit: 100,
            weights_version: 0,
            min_allowed_weights: 1,
            max_allowed_uids: 256,
            max_allowed_validators: 128,
            stake_threshold: 1_000 * RAO_PER_TAO,
            activity_cutoff: 5_000,
            serving_rate_limit: 50,
            registration_burn: RAO_PER_TAO / 10,
            emission_per_block: RAO_PER_TAO,
            faucet_allowance: 0,
            loopback_axons: false,
        }
    }
}
