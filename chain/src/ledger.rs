//! The subnet's ledger as the rest of the house sees it: one trait, whatever chain stands behind it.
//!
//! Amounts are RAO (10^-9 TAO), times are block numbers. Every call has a deadline of the implementation's and ends in a
//! typed error; a call that is refused changed nothing.

use std::net::IpAddr;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::account::AccountId;
use crate::commit::round::{Schedule, Stateful};
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

    /// Commits to weights by their hash, where the subnet asks for commit-reveal; gives the block of the commit.
    fn commit_weights<'a>(&'a self, hotkey: &'a Keypair, commit: WeightsCommit) -> Answer<'a, u64>;

    /// Opens an earlier [`WeightsCommit`], in the epoch in which the subnet takes it; gives the block at which the weights took
    /// effect.
    fn reveal_weights<'a>(&'a self, hotkey: &'a Keypair, reveal: WeightsReveal) -> Answer<'a, u64>;

    /// Commits to weights that the chain opens by itself once the beacon has signed a round; gives the block of the commit.
    fn commit_timelocked<'a>(&'a self, hotkey: &'a Keypair, commit: TimelockedCommit) -> Answer<'a, u64>;

    /// The beacon to which [`TimelockedCommit`]s are sealed, and the clock by which its rounds are told.
    ///
    /// The real chains take drand's quicknet, which is what this gives unless a ledger says otherwise.
    fn beacon(&self) -> Answer<'_, Beacon> {
        Box::pin(async { Ok(Beacon::quicknet()) })
    }

    /// By what schedule epochs run: counted from the last epoch, unless a ledger says otherwise.
    fn schedule(&self) -> Answer<'_, Schedule> {
        Box::pin(async {
            let metagraph = self.metagraph().await?;
            Ok(Schedule::Stateful(Stateful {
                tempo: metagraph.tempo,
                last_epoch_block: metagraph.last_epoch_block,
                pending_epoch_at: 0,
                epoch_index: metagraph.epoch_index,
                blocks_since_last_step: metagraph.block.saturating_sub(metagraph.last_epoch_block),
            }))
        })
    }
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

/// A promise of weights: `blake2b-256` of the SCALE tuple of hotkey, netuid, uids, values, salt and version key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightsCommit {
    /// The hash.
    pub hash: [u8; 32],
}

/// The most bytes that a [`TimelockedCommit`] may have.
pub const CIPHERTEXT_LIMIT: usize = 5_000;

/// The opening of a [`WeightsCommit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsReveal {
    /// For whom.
    pub uids: Vec<u16>,
    /// How much, in the same order; only ratios count.
    pub values: Vec<u16>,
    /// What made the hash impossible to guess.
    pub salt: Vec<u16>,
    /// The validator's version.
    pub version_key: u64,
}

/// Weights sealed to a round of the beacon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelockedCommit {
    /// The sealed payload, at most 5,000 bytes.
    pub ciphertext: Vec<u8>,
    /// The round whose signature opens it.
    pub reveal_round: u64,
    /// The form of the payload: [`Hyperparameters::commit_reveal_version`], 4 on the main network.
    pub version: u16,
}

/// A randomness beacon of drand's `bls-unchained-g1-rfc9380` scheme, and the wall clock beside the block clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// The beacon's public key: a compressed point of G2, 96 bytes.
    pub public_key: Vec<u8>,
    /// Unix milliseconds of round 1.
    pub genesis_ms: u64,
    /// Milliseconds between two rounds.
    pub period_ms: u64,
    /// Milliseconds between two blocks of the ledger.
    pub block_time_ms: u64,
    /// What the beacon's clock shows, in Unix milliseconds; the embedded ledger's beacon counts blocks instead.
    pub now_ms: u64,
}

impl Beacon {
    /// drand's quicknet (chain hash `52db9ba7..c84e971`) beside Subtensor's blocks of twelve seconds, now.
    pub fn quicknet() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            public_key: QUICKNET_PUBLIC_KEY.to_vec(),
            genesis_ms: 1_692_803_367_000,
            period_ms: 3_000,
            block_time_ms: 12_000,
            now_ms: now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Quicknet's public key, as <https://api.drand.sh> gives it.
const QUICKNET_PUBLIC_KEY: [u8; 96] = [
    0x83, 0xcf, 0x0f, 0x28, 0x96, 0xad, 0xee, 0x7e, 0xb8, 0xb5, 0xf0, 0x1f, 0xca, 0xd3, 0x91, 0x22, 0x12, 0xc4, 0x37,
    0xe0, 0x07, 0x3e, 0x91, 0x1f, 0xb9, 0x00, 0x22, 0xd3, 0xe7, 0x60, 0x18, 0x3c, 0x8c, 0x4b, 0x45, 0x0b, 0x6a, 0x0a,
    0x6c, 0x3a, 0xc6, 0xa5, 0x77, 0x6a, 0x2d, 0x10, 0x64, 0x51, 0x0d, 0x1f, 0xec, 0x75, 0x8c, 0x92, 0x1c, 0xc2, 0x2b,
    0x0e, 0x17, 0xe6, 0x3a, 0xaf, 0x4b, 0xcb, 0x5e, 0xd6, 0x63, 0x04, 0xde, 0x9c, 0xf8, 0x09, 0xbd, 0x27, 0x4c, 0xa7,
    0x3b, 0xab, 0x4a, 0xf5, 0xa6, 0xe9, 0xc7, 0x6a, 0x4b, 0xc0, 0x9e, 0x76, 0xea, 0xe8, 0x99, 0x1e, 0xf5, 0xec, 0xe4,
    0x5a,
];

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
    /// Stake-weighted median of the weights on it at the last epoch, of 65535.
    pub consensus: u16,
    /// Share of its own weights that the consensus left standing at the last epoch, of 65535.
    pub validator_trust: u16,
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
            consensus: 0,
            validator_trust: 0,
            emission: 0,
            earned: 0,
            weights_known: false,
        }
    }
}

/// The subnet's parameters, under Subtensor's names. Shares are of 65535, amounts RAO, times blocks.
///
/// What a chain does not have (an older runtime, or the embedded ledger's own fields on the real chain) stays at its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hyperparameters {
    /// The subnet.
    pub netuid: u16,
    /// Blocks between two epochs.
    pub tempo: u64,
    /// Blocks between two weight settings of one hotkey.
    #[serde(alias = "weights_rate_limit")]
    pub weights_set_rate_limit: u64,
    /// Least version key that is taken; 0 takes all.
    #[serde(alias = "weights_version")]
    pub weights_version_key: u64,
    /// Weights that a row must have at least (or one for every uid, where there are fewer).
    pub min_allowed_weights: u16,
    /// Largest share of a row that one weight may have; 65535 is no limit, and what Subtensor has used since 2025.
    pub max_weights_limit: u16,
    /// Uids that the subnet has at most.
    pub max_allowed_uids: u16,
    /// Permits that are given at most.
    pub max_allowed_validators: u16,
    /// Stake that a hotkey needs to set weights and to hold a permit.
    pub stake_threshold: u64,
    /// Blocks after its last update for which a neuron counts as active.
    pub activity_cutoff: u64,
    /// Blocks between two axons of one hotkey.
    pub serving_rate_limit: u64,
    /// Blocks after its registration for which a neuron is not pruned.
    pub immunity_period: u64,
    /// Neurons past their immunity that a full subnet keeps: with no more of them it prunes among the immune.
    pub min_non_immune_uids: u16,
    /// Steepness of the trust curve of older runtimes. Shown, not used by Yuma 2 and 3.
    pub rho: u16,
    /// Share of stake that must put a weight or more on a neuron for it to be consensus.
    pub kappa: u16,
    /// Part of the old bonds that stays at an epoch, in millionths.
    pub bonds_moving_average: u64,
    /// How far bonds follow the clipped weights (65535) rather than the weights as set (0).
    pub bonds_penalty: u16,
    /// Whether bonds are Yuma 3's, one rate for each pair, instead of Yuma 2's.
    pub yuma3_on: bool,
    /// Whether Yuma 3's rate follows how early a validator saw the consensus coming.
    pub liquid_alpha: bool,
    /// Least liquid rate.
    pub alpha_low: u16,
    /// Greatest liquid rate.
    pub alpha_high: u16,
    /// Steepness of the curve between the two, in hundredths.
    pub alpha_sigmoid_steepness: i16,
    /// Whether weights are committed first and revealed later.
    pub commit_reveal_weights_enabled: bool,
    /// The form of commits that the subnet asks for: 3 and 4 are time-locked, below that is the hash.
    pub commit_reveal_version: u16,
    /// Epochs between a commit and its reveal.
    pub reveal_period_epochs: u64,
    /// What the next registration costs.
    #[serde(alias = "registration_burn")]
    pub burn: u64,
    /// The burn falls no lower.
    pub min_burn: u64,
    /// The burn rises no higher.
    pub max_burn: u64,
    /// By how much a registration multiplies the burn, in thousandths.
    pub burn_increase_mult: u64,
    /// Blocks in which the burn halves without a registration; 0 keeps it.
    pub burn_half_life: u64,
    /// The owner's share of the emission.
    pub subnet_owner_cut: u16,
    /// RAO issued in each block.
    pub emission_per_block: u64,
    /// RAO that each hotkey may draw from the embedded ledger's faucet in all; 0 means there is none.
    pub faucet_allowance: u64,
    /// Whether an axon may be on 127.0.0.1 or ::1 (embedded ledger only).
    pub loopback_axons: bool,
}

impl Hyperparameters {
    /// What a validator of this subnet sends instead of plain weights.
    pub const fn weights_form(&self) -> WeightsForm {
        match (self.commit_reveal_weights_enabled, self.commit_reveal_version) {
            (false, _) => WeightsForm::Plain,
            (true, 0..=2) => WeightsForm::Hash,
            (true, _) => WeightsForm::Timelock,
        }
    }
}

/// The form in which a subnet takes weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightsForm {
    /// `set_weights`.
    Plain,
    /// A hash first, the weights an epoch later, both from the validator.
    Hash,
    /// Sealed weights, which the chain opens by itself.
    Timelock,
}

impl WeightsForm {
    /// Its name in logs, metrics and databases.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Hash => "hash",
            Self::Timelock => "timelock",
        }
    }
}

impl Default for Hyperparameters {
    /// Subtensor's defaults (spec 425), but for four: one weight is enough for a row, the threshold is the 1,000 TAO of the main
    /// network, weights are set plainly, and the owner has no cut.
    fn default() -> Self {
        Self {
            netuid: 1,
            tempo: 360,
            weights_set_rate_limit: 100,
            weights_version_key: 0,
            min_allowed_weights: 1,
            max_weights_limit: u16::MAX,
            max_allowed_uids: 256,
            max_allowed_validators: 128,
            stake_threshold: 1_000 * RAO_PER_TAO,
            activity_cutoff: 5_000,
            serving_rate_limit: 50,
            immunity_period: 4_096,
            min_non_immune_uids: 10,
            rho: 10,
            kappa: 32_767,
            bonds_moving_average: 900_000,
            bonds_penalty: u16::MAX,
            yuma3_on: false,
            liquid_alpha: false,
            alpha_low: 45_875,
            alpha_high: 58_982,
            alpha_sigmoid_steepness: 1_000,
            commit_reveal_weights_enabled: false,
            commit_reveal_version: 4,
            reveal_period_epochs: 1,
            burn: RAO_PER_TAO / 10,
            min_burn: RAO_PER_TAO / 2_000,
            max_burn: 100 * RAO_PER_TAO,
            burn_increase_mult: 1_260,
            burn_half_life: 360,
            subnet_owner_cut: 0,
            emission_per_block: RAO_PER_TAO,
            faucet_allowance: 0,
            loopback_axons: false,
        }
    }
}
