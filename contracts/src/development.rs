//! Parameters for a chain that lives for minutes: everything that takes days elsewhere takes seconds.

use alloy::primitives::aliases::{U24, U96};

use crate::Agent;

/// Of an Agent whose keepers stake 100 tokens of 18 digits: cool-downs of 20 s, 15 s of grace and a slasher's window of 30 s, epochs of 3
/// blocks; a slash takes 10 tokens and 3 %; a job needs 0.1 ETH of credits.
pub fn agent() -> Agent::Config {
    let tokens = |units: u64| U96::from(units) * U96::from(10_u64.pow(18));
    Agent::Config {
        minKeeperStake: tokens(100),
        slashingFeeFixed: tokens(10),
        withdrawalTimeout: 20,
        slashingFeeBps: 300,
        maxStake: U96::ZERO,
        jobMinCredits: U96::from(10_u64.pow(17)),
        activationTimeout: 20,
        feePpm: U24::ZERO,
        slashingEpochBlocks: 3,
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
