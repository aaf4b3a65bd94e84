//! The binary `engine`, built and run: what it answers, what it says of bad input, and what it writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod bad_input;
mod check;
#[path = "../data/mod.rs"]
mod data;
mod desk;
mod recorded;
mod report;
