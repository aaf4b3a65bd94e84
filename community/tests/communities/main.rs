//! Communities from outside: founded, run, driven, funded, killed; on the embedded ledger and on one over gRPC.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;
mod faucet;
mod founding;
mod growth;
mod phases;
mod remote;
