//! Real keeper processes on a real anvil, whose blocks and time the tests make by hand.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod commands;
mod contained;
mod defence;
mod fees;
mod following;
mod gate;
mod slashing;
mod world;
