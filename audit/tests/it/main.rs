//! The auditor from outside: its database, the compiled AuditManager, its probes, a network of nodes, and processes on a real chain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod contract;
mod network;
mod probe;
mod process;
mod store;
