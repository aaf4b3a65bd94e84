//! What the tests of several rooms start: real components on free ports, ended with the value that holds them.
//!
//! A test that needs one asks for it and says aloud that it is skipped, and why, where the component is not installed
//! (`make tools` installs them). What should not fail and does ends the test: this room panics where others answer.

#![allow(clippy::panic)]

mod anvil;
pub mod cli;
mod collector;
pub mod crowd;
mod devnet;
mod evm;
mod gas;
mod port;
pub mod process;
mod proxy;
mod servers;
mod service;
mod wait;

pub use anvil::{Mining, TestAnvil, anvil, anvil_path};
pub use collector::{Collected, Collector};
pub use devnet::Devnet;
pub use evm::{Chain, Receipt, Refused};
pub use gas::{GasTable, fits_the_chain};
pub use port::Port;
pub use proxy::{Fault, Proxy};
pub use servers::{Nats, Postgres, nats, postgres};
pub use service::PaidService;
pub use wait::until;

/// The TLS clients of this process use ring, whoever is first to say so.
pub(crate) fn choose_cryptography() {
    let _chosen = rustls::crypto::ring::default_provider().install_default();
}
