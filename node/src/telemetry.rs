//! Logs to standard error by `tracing`; metrics for Prometheus; traces for an OpenTelemetry collector.

use std::io::IsTerminal;
use std::net::SocketAddr;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::EnvFilter;

use crate::cli::NodeConfig;
use crate::exit::Failure;

/// Upper bounds of the buckets of every metric whose name ends in `_seconds`, so that several nodes' histograms add up: dense where a
/// pause is won or lost.
const SECONDS: [f64; 15] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// Starts logs, and metrics and traces where an address is configured. Needs a runtime.
///
/// # Errors
/// A filter that does not parse, an address that cannot be served on, or one that is none (exit code 2).
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
    if let Some(address) = config.metrics {
        serve_metrics(address)?;
    }
    match &config.otlp {
        Some(endpoint) => crate::trace::start(&binary(), endpoint, config.otlp_one_in)
            .map_err(|error| Failure::configuration(eyre::eyre!("traces to {endpoint}: {error}"))),
        None => Ok(()),
    }
}

/// What this process is called.
fn binary() -> String {
    std::env::current_exe()
        .ok()
        .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "portcullis".to_owned())
}

fn serve_metrics(address: SocketAddr) -> Result<(), Failure> {
    PrometheusBuilder::new()
        .with_http_listener(address)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install)
        .map_err(|error| Failure::configuration(eyre::eyre!("metrics on {address}: {error}")))
}
