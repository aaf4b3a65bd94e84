//! Keepers: jobs of the Agent contract, executed when they are due, by staked keepers that are slashed when they are not.
//!
//! The contract's rules stand in [`rule`], once, over plain values; the contract is held to them.

pub mod aside;
pub mod config;
pub mod job;
pub mod plan;
pub mod resolve;
pub mod rule;
pub mod store;
pub mod streak;
pub mod vm;
