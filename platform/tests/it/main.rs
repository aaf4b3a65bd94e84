//! The platform from outside: its store, its stream over a socket, its feed, its binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod broker;
mod browser;
mod cli;
mod cluster;
mod crash;
mod gate;
mod live;
mod page;
mod postgres;
mod replay;
mod reports;
mod rest;
mod schema;
mod seen;
mod served;
mod store;
mod stream;
mod tls;
mod v1;
mod walk;
mod world;
