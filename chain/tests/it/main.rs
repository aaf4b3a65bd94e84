//! The room from outside: the epoch's rule, the ledger embedded, over a socket and as a process, and the keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod binary;
mod migration;
mod network;
mod python_wallet;
mod rules;
mod twenty_epochs;
mod vectors;
mod wallet;
mod weights;
mod world;
mod yuma_properties;
mod yuma_vectors;
