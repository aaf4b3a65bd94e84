//! The keepers from outside: their resolvers, the compiled Agent, and processes on a real chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod anvil;
mod contract;
mod resolve;
