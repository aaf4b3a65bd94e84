//! `bots localnet` as a user runs it: real binaries, real processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod bad_input;
mod common;
mod ending;
mod expressions;
mod live;
mod network;
mod patient;
mod race;
mod services;
