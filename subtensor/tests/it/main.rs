//! The room against Bittensor's own bytes, and against a node stand-in that can be made to fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod binary;
mod data;
mod faults;
mod golden;
mod node;
mod real_runtime;
mod world;
