//! Parameters for a network that lasts.

use alloy::primitives::aliases::{U24, U96};

use crate::{Agent, tokens};

/// Of an Agent like PowerAgent v2, with stakes in tokens of 18 decimals: keepers stake 3,000 to 50,000, join after 8 hours and have their
/// stake back after 3 days; 15 s of grace and a slasher's window of 30 s, epochs of 10 blocks; a slash takes 50 tokens and 3 %; a job
/// needs 0.1 ETH of credits; no fee.
pub fn agent() -> Agent::Config {
    Agent::Config {
        minKeeperStake: tokens(3_000),
        slashingFeeFixed: tokens(50),
        withdrawalTimeout: 3 * 86_400,
        slashingFeeBps: 300,
        maxStake: tokens(50_000),
        jobMinCredits: U96::from(10_u64.pow(17)),
        activationTimeout: 8 * 3_600,
        feePpm: U24::ZERO,
        slashingEpochBlocks: 10,
        jobFixedReward: 30_000_000_000_000,
        stakeDivisor: 50_000_000,
        period1: U24::from(15),
        period2: U24::from(30),
        compensationMultiplierBps: 10_000,
        gasOverhead: 136_000,
        retryBase: 12,
        retryCap: 3_600,
    }
}
