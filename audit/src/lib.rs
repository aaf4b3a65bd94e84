//! Nodes that measure each other, and are paid once per epoch for what the others measured.
//!
//! ```text
//! duties of the contract --> probe (every 5 min) --> samples --> report (in the verdict window) --> contract
//!                                                                                  claim (from the reward date) --> bounty
//!                                                        events of the contract --> counted verdicts, bounties
//! ```
//!
//! The rules stand in [`rule`], once, over plain values; the contract `AuditManager` is held to them. Around them is the shell of the
//! binary `audit`: [`probe`] measures, [`duty`] reports and claims, [`store`] remembers.
//!
//! What always holds: an auditor that is offline itself charges nobody; deadlines are compared with the time of blocks, and the wall clock
//! only wakes tasks up; a verdict is sent at most once, and counts as sent when the contract says so; nobody who is told holds up a claim.

pub mod abi;
pub mod cli;
pub mod config;
pub mod duty;
pub mod events;
pub mod health;
pub mod history;
pub mod manager;
pub mod once;
pub mod picture;
pub mod probe;
pub mod results;
pub mod rule;
pub mod run;
pub mod source;
pub mod status;
pub mod store;
