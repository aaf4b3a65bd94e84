//! Keepers: jobs of the Agent contract, executed when they are due, by staked keepers that are slashed when they are not.
//!
//! The contract's rules stand in [`rule`], once, over plain values; the contract is held to them.

pub mod admin;
pub mod agent;
pub mod aside;
pub mod blame;
pub mod book;
pub mod calls;
pub mod cli;
pub mod config;
pub mod desk;
pub mod follow;
pub mod heads;
pub mod health;
pub mod job;
pub mod keystore;
pub mod pause;
pub mod plan;
pub mod resolve;
pub mod rule;
pub mod run;
pub mod status;
pub mod store;
pub mod streak;
pub mod touched;
pub mod vm;
