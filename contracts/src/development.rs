//! Parameters for a chain that lives for minutes: everything that takes days elsewhere takes seconds.

use alloy::primitives::aliases::U96;

use crate::{Agent, parameters, tokens};

/// Of an Agent whose keepers stake 100 tokens or more: cool-downs of 20 s, epochs of 3 blocks, and 10 tokens and 3 % a slash. The rest
/// is [`parameters::agent`]'s.
pub fn agent() -> Agent::Config {
    Agent::Config {
        minKeeperStake: tokens(100),
        maxStake: U96::ZERO,
        slashingFeeFixed: tokens(10),
        withdrawalTimeout: 20,
        activationTimeout: 20,
        slashingEpochBlocks: 3,
        ..parameters::agent()
    }
}
