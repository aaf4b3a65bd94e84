//! `bots localnet`: the whole network in one command.
//!
//! A ledger, a platform, validators and miners are started as processes of their own on free loopback ports, a recording is replayed
//! through them, or a living chain followed ([`live`]), with keepers, auditors and payments on it ([`services`]), and a report says what
//! was found, how fast, and what everybody earned for it. What is pure is apart from what starts processes: [`plan`] (who is in the network), [`chaos`] (whom `--kill` and `--chaos` strike), [`gas`] and [`report`] (what it came to),
//! [`tables`] (how it is told).

pub mod chaos;
mod clients;
mod error;
mod fleet;
mod folder;
pub mod gas;
mod grounds;
mod input;
pub mod live;
mod members;
mod network;
mod options;
pub mod plan;
mod process;
mod progress;
pub mod race;
pub mod recording;
pub mod report;
mod run;
mod screen;
pub mod services;
pub mod tables;

pub use error::LocalnetError;
pub use fleet::FleetError;
pub use live::LiveError;
pub use options::Options;
pub use run::run;
