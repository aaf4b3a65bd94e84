//! Billing from outside: the compiled contract, and the processes on a real chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod contract;
mod monitor;
mod payees;
mod payments;
