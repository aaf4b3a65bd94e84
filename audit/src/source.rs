//! Where the audits' results are read: a table in the configuration of whoever shows or counts them.

use std::time::Duration;

use alloy::primitives::Address;
use node::config::Secret;
use sender::client::{self, ClientError, wrong};
use serde::Deserialize;

/// The table. `EVERY` is how often its reader reads where nobody says otherwise, in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditOptions<const EVERY: u64> {
    /// The AuditManager.
    pub contract: Address,
    /// The block that it was created in.
    #[serde(default)]
    pub deployed_at: u64,
    /// JSON-RPC nodes of its chain, the preferred one first; each may be `env:NAME` or `file:PATH`.
    pub endpoints: Vec<Secret>,
    /// How often what is new is read.
    #[serde(default = "seconds::<EVERY>", with = "humantime_serde")]
    pub every: Duration,
}

const fn seconds<const COUNT: u64>() -> Duration {
    Duration::from_secs(COUNT)
}

/// Where the results are read, checked.
#[derive(Debug, Clone)]
pub struct Source {
    /// Nodes of the contract's chain.
    pub nodes: state::NodeConfig,
    /// The AuditManager.
    pub contract: Address,
    /// The block that it was created in.
    pub deployed_at: u64,
    /// How often what is new is read.
    pub every: Duration,
}

impl<const EVERY: u64> AuditOptions<EVERY> {
    /// Where to read.
    ///
    /// # Errors
    /// [`ClientError`] names the key within the table; an address, which may hold a password, is not repeated.
    pub fn source(&self) -> Result<Source, ClientError> {
        if self.contract.is_zero() {
            return wrong("contract", "give the address of the AuditManager");
        }
        if self.endpoints.is_empty() || self.every.is_zero() {
            return wrong("endpoints", "name at least one, and `every` above 0");
        }
        Ok(Source {
            nodes: state::NodeConfig {
                endpoints: client::urls("endpoints", &self.endpoints)?,
                ..state::NodeConfig::default()
            },
            contract: self.contract,
            deployed_at: self.deployed_at,
            every: self.every,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_without_a_secret() {
        let options = |contract: u8, endpoints: &[&str]| AuditOptions::<60> {
            contract: Address::repeat_byte(contract),
            deployed_at: 0,
            endpoints: endpoints.iter().map(|text| Secret::from((*text).to_owned())).collect(),
            every: seconds::<60>(),
        };
        let refused = |contract, endpoints| options(contract, endpoints).source().unwrap_err().to_string();
        assert!(options(1, &["http://127.0.0.1:1"]).source().is_ok());
        assert!(refused(0, &["http://127.0.0.1:1"]).starts_with("contract: "));
        assert!(refused(1, &[]).contains("endpoints"));
        let error = refused(1, &["http://user:s3cret@x y"]);
        assert!(error.starts_with("endpoints: ") && !error.contains("s3cret"), "{error}");
    }
}
