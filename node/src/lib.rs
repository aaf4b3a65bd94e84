//! What every binary shares: configuration, logs, metrics and traces, health, shutdown, a database, exit codes.
//!
//! A binary reads `node::cli::parse`, `node::config::load`, and hands its `async fn` to [`exit::run`]; every server is
//! started by [`server::serve`], so that health, reflection, the ready file and a clean end come for free.

pub mod cli;
pub mod clock;
pub mod condition;
pub mod config;
pub mod database;
pub mod exit;
pub mod health;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod trace;
