//! Real `audit` processes on a real anvil, whose blocks and time the tests make by hand: nothing is reported twice, nothing is lost, and
//! the reason stands in the log.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod claims;
mod commands;
mod crash;
mod epoch;
mod trouble;
mod world;
