//! Keepers: jobs of the Agent contract, executed when they are due, by staked keepers that are slashed when they are not.
//!
//! ```text
//! head --> follow: events, touched jobs --> book --+
//!      \-> resolve: all resolvers on the snapshot --+--> plan (pure) --> simulate --> sender: pause > slash > claim > report
//!                                                            ^-- streak, aside (pure)            +--> settle
//! ```
//!
//! The contract's rules stand in [`rule`], once, over plain values; the contract is held to them. What a keeper does about a job stands in
//! [`plan`](mod@plan), pure as well; around it is the shell of the binary `keeper` ([`run`](mod@run), [`admin`], [`status`]).
//!
//! What always holds: a defence job waits for no other; one effect is sent at most once, across restarts; nothing is sent that a
//! simulation on the head did not carry through; no output holds a secret.

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
pub mod pending;
pub mod plan;
pub mod pool;
mod push;
pub mod resolve;
pub mod rule;
pub mod run;
pub mod status;
pub mod store;
pub mod streak;
pub mod touched;
pub mod vm;
