//! What a uid set and got at one epoch, as the embedded ledger keeps it.
//!
//! An entry holds all that the epoch knew of the neuron, so that whoever has the entries of an epoch (and the bonds of the one
//! before) can compute it again.

use serde::Serialize;

use crate::account::AccountId;

/// One uid at one epoch. Shares are of 65535, amounts RAO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpochEntry {
    /// The epoch's number, 1 for the first.
    pub epoch: u64,
    /// Its block.
    pub block: u64,
    /// The uid.
    pub uid: u16,
    /// Whose it was.
    pub hotkey: AccountId,
    /// Stake with which the epoch was computed.
    pub stake: u64,
    /// Block of the registration.
    pub registered_at: u64,
    /// Block at which weights were last set or committed.
    pub last_update: u64,
    /// Permit with which the epoch was computed.
    pub validator_permit: bool,
    /// Permit that the epoch gave.
    pub new_validator_permit: bool,
    /// Weights with which the epoch was computed, in the order in which they were set.
    pub weights: Vec<(u16, u16)>,
    /// Bonds after the epoch.
    pub bonds: Vec<(u16, u16)>,
    /// Stake-weighted median of the weights on it.
    pub consensus: u16,
    /// Share of the miners' reward.
    pub incentive: u16,
    /// Share of the validators' reward.
    pub dividends: u16,
    /// Share of its weights that the consensus left standing.
    pub validator_trust: u16,
    /// Emission by Yuma.
    pub emission: u64,
    /// What the neuron got, which for the subnet's owner is its cut in place of incentive.
    pub paid: u64,
    /// What the epoch shared in all.
    pub shared: u64,
    /// Block of the epoch before; 0 without one.
    pub last_mechanism_step_block: u64,
    /// Block of the hotkey's oldest commit that was open at the epoch.
    pub commit_block: Option<u64>,
}
