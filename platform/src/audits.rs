//! What the audits of the network's nodes came to, as the platform shows it: read from the AuditManager's events.
//!
//! Only where `[audits]` names the contract. What always holds: a node that is silent leaves what is known as it is; nothing else of the
//! platform waits for it.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use audit::results::{Results, Source, Standing, follow};
use node::config::Secret;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// All nodes, by id.
pub type Standings = Arc<Vec<Standing>>;

/// The part `[audits]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditOptions {
    /// The AuditManager.
    pub contract: Address,
    /// The block that it was created in.
    #[serde(default)]
    pub deployed_at: u64,
    /// JSON-RPC nodes of its chain, the preferred one first; each may be `env:NAME` or `file:PATH`.
    pub endpoints: Vec<Secret>,
    /// How often what is new is read.
    #[serde(default = "minute", with = "humantime_serde")]
    pub every: Duration,
}

const fn minute() -> Duration {
    Duration::from_secs(60)
}

impl AuditOptions {
    /// Where to read, checked.
    ///
    /// # Errors
    /// One line that names the key; an address, which may hold a password, is not repeated.
    pub fn source(&self) -> Result<Source, String> {
        if self.contract.is_zero() || self.endpoints.is_empty() || self.every.is_zero() {
            return Err(
                "configuration: `audits`: give `contract`, at least one of `endpoints`, and `every` above 0".to_owned(),
            );
        }
        let endpoints = sender::client::urls("audits.endpoints", &self.endpoints)
            .map_err(|error| format!("configuration: {error}"))?;
        Ok(Source {
            nodes: state::NodeConfig {
                endpoints,
                ..state::NodeConfig::default()
            },
            contract: self.contract,
            deployed_at: self.deployed_at,
            every: self.every,
        })
    }
}

/// Keeps `shown` fresh until `shutdown`.
pub async fn keep(source: Source, shown: watch::Sender<Standings>, shutdown: CancellationToken) {
    let tell = |results: &Results| {
        let standings: Vec<Standing> = results.nodes().cloned().collect();
        shown.send_if_modified(|before| {
            let is_new = **before != standings;
            if is_new {
                *before = Arc::new(standings);
            }
            is_new
        });
    };
    follow(source, shutdown, tell).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_without_a_secret() {
        let options = |endpoints: &[&str]| AuditOptions {
            contract: Address::repeat_byte(1),
            deployed_at: 0,
            endpoints: endpoints.iter().map(|text| Secret::from((*text).to_owned())).collect(),
            every: minute(),
        };
        assert!(options(&["http://127.0.0.1:1"]).source().is_ok());
        assert!(options(&[]).source().unwrap_err().contains("endpoints"));
        let error = options(&["http://user:s3cret@x y"]).source().unwrap_err();
        assert!(
            error.contains("audits.endpoints") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
