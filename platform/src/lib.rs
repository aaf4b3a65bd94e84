//! The platform: feed, registry, and the one ordered, resumable stream.
//!
//! ```text
//! feed (replay) --> pump: pace, assignment --> log (SQLite) --> one stream for each validator
//!                                                ^    |
//!                       registry of invariants --+    +<-- reports: executions, incidents
//! ```
//!
//! Every event is logged once, with a cursor, in one transaction with the feed's position; validators read from the log, each
//! at its own speed. See [`log`] for what always holds.

pub mod assignment;
pub mod audits;
pub mod broker;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod feed;
pub mod gate;
pub mod log;
pub mod page;
pub mod proposal;
pub mod registry;
pub mod rest;
pub mod run;
pub mod service;
pub mod standing;
pub mod store;
mod stream;
pub mod tail;
pub mod validators;
