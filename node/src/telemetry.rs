//! Logs to standard error by `tracing`; metrics for Prometheus.

use std::io::IsTerminal;
use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use crate::cli::NodeConfig;
use crate::exit::Failure;

/// Starts logs, and metrics when an address is configured.
///
/// # Errors
/// A filter that does not parse, or an address that cannot be served on (exit code 2).
pub fn start(config: &NodeConfig) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.log)
        .map_err(|error| Failure::configuration(eyre::eyre!("log filter `{}`: {error}", config.log)))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first subscriber.
    let _already_set = if config.log_json {
        logs.json().try_init()
    } else {
        logs.try_init()
    };
    match config.metrics {
        Some(address) => serve_metrics(address),
        None => Ok(()),
    }
}

fn serve_metrics(address: SocketAddr) -> Result<(), Failure> {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .with_http_listener(address)
        .install()
        .map_err(|error| Failure::configuration(eyre::eyre!("metrics on {address}: {error}")))
}
