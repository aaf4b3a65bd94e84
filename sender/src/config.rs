//! The sender's part of a configuration.
//!
//! ```toml
//! [sender]
//! endpoints = ["http://127.0.0.1:8545", "env:BACKUP_NODE"]
//!
//! [sender.keys.default]
//! hex = "file:/run/secrets/sender"
//!
//! [sender.keys.pause]
//! keystore = "pause.json"
//! password = "env:PAUSE_PASSWORD"
//!
//! [sender.lanes.pause]
//! key = "pause"
//! max_fee_cap = 2_000_000_000_000
//!
//! [sender.relay]
//! url = "https://relay.example.org"
//! lanes = ["pause"]
//! ```
//!
//! Whatever is not given has a default; [`Config::check`] says what does not fit together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fees::FeePolicy;
use crate::keys::{DEFAULT, KeyConfig};
use crate::lane::Lane;
use node::config::Secret;

/// Everything that can be set.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// JSON-RPC nodes (`http`, `https`), the preferred one first; at least one. Each may be `env:NAME` or `file:PATH`, since
    /// such an address often contains a password.
    pub endpoints: Vec<Secret>,
    /// The chain that they must serve; without it, the one that they serve.
    pub chain_id: Option<u64>,
    /// Private keys by name. A lane uses the key `default` unless it names another.
    pub keys: BTreeMap<String, KeyConfig>,
    /// The lanes' settings.
    pub lanes: Lanes,
    /// Where urgent transactions go first, unseen by others.
    pub relay: Option<RelayConfig>,
    /// A transaction is final with so many blocks, its own counted. At least 1.
    pub confirmations: u64,
    /// How often the nodes are asked for a new head.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// How long a node may take for an answer.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// So many transactions of a key are in flight; a pause may exceed it. go-ethereum keeps at least 16 of an account.
    pub max_in_flight: usize,
    /// So many requests may be unfinished; then new ones are refused. A quarter more is reserved for pauses.
    pub queue: usize,
    /// Finished requests are remembered for so long: that long an idempotency key protects.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            chain_id: None,
            keys: BTreeMap::new(),
            lanes: Lanes::default(),
            relay: None,
            confirmations: 3,
            poll: Duration::from_millis(500),
            timeout: Duration::from_secs(2),
            max_in_flight: 16,
            queue: 1024,
            keep: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

/// Settings of the four lanes.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Of [`Lane::Pause`].
    pub pause: LaneConfig,
    /// Of [`Lane::Slash`].
    pub slash: LaneConfig,
    /// Of [`Lane::Claim`].
    pub claim: LaneConfig,
    /// Of [`Lane::Report`].
    pub report: LaneConfig,
}

/// Settings of one lane; what is not given has the lane's own default ([`LaneConfig::resolve`]).
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaneConfig {
    /// Name of its private key; `default` unless given.
    pub key: Option<String>,
    /// Never offer more than this `maxFeePerGas`, in wei.
    pub max_fee_cap: Option<u64>,
    /// Never offer the builder less than this, in wei per gas.
    pub min_priority_fee: Option<u64>,
    /// The builder is offered this percentile of what the transactions of the last blocks paid; 0 to 100.
    pub percentile: Option<f64>,
    /// After so many blocks without inclusion the offer is raised.
    pub patience: Option<u64>,
    /// The offer stays includable over so many full blocks.
    pub horizon: Option<u32>,
    /// Percent by which the projected base fee is exceeded.
    pub margin_percent: Option<u32>,
}

/// A lane's settings with its defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneSettings {
    /// Name of its private key.
    pub key: String,
    /// How it makes its offers.
    pub fees: FeePolicy,
    /// Percentile of others' priority fees.
    pub percentile: f64,
    /// Blocks until an offer is raised.
    pub patience: u64,
}

impl LaneConfig {
    /// Fills in the defaults of `lane`:
    ///
    /// | lane | cap (gwei) | least tip (gwei) | percentile | patience | horizon | margin |
    /// |---|---|---|---|---|---|---|
    /// | pause | 1000 | 2 | 95 | 1 | 4 | 25 % |
    /// | slash | 300 | 1 | 75 | 2 | 3 | 20 % |
    /// | claim | 150 | 0.1 | 50 | 3 | 2 | 10 % |
    /// | report | 100 | 0.05 | 25 | 5 | 2 | 10 % |
    #[must_use]
    pub fn resolve(&self, lane: Lane) -> LaneSettings {
        const GWEI: u64 = 1_000_000_000;
        let (cap, tip, percentile, patience, horizon, margin) = match lane {
            Lane::Pause => (1000 * GWEI, 2 * GWEI, 95.0, 1, 4, 25),
            Lane::Slash => (300 * GWEI, GWEI, 75.0, 2, 3, 20),
            Lane::Claim => (150 * GWEI, GWEI / 10, 50.0, 3, 2, 10),
            Lane::Report => (100 * GWEI, GWEI / 20, 25.0, 5, 2, 10),
        };
        LaneSettings {
            key: self.key.clone().unwrap_or_else(|| DEFAULT.to_owned()),
            fees: FeePolicy {
                cap: u128::from(self.max_fee_cap.unwrap_or(cap)),
                min_priority_fee: u128::from(self.min_priority_fee.unwrap_or(tip)),
                horizon: self.horizon.unwrap_or(horizon),
                margin_percent: self.margin_percent.unwrap_or(margin),
            },
            percentile: self.percentile.unwrap_or(percentile),
            patience: self.patience.unwrap_or(patience),
        }
    }
}

impl Lanes {
    /// The settings of `lane`.
    #[must_use]
    pub fn of(&self, lane: Lane) -> LaneSettings {
        match lane {
            Lane::Pause => &self.pause,
            Lane::Slash => &self.slash,
            Lane::Claim => &self.claim,
            Lane::Report => &self.report,
        }
        .resolve(lane)
    }
}

/// How a relay takes a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayMethod {
    /// `eth_sendPrivateTransaction` with `{tx, maxBlockNumber}` (Flashbots Protect, bloXroute, Titan).
    #[default]
    SendPrivateTransaction,
    /// `eth_sendRawTransaction` (MEV Blocker, Flashbots Protect RPC).
    SendRawTransaction,
}

/// A private relay.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayConfig {
    /// Its address (`http`, `https`); may be `env:NAME` or `file:PATH`.
    pub url: Secret,
    /// How it takes a transaction.
    #[serde(default)]
    pub method: RelayMethod,
    /// The lanes that go there first.
    #[serde(default = "pause_only")]
    pub lanes: Vec<Lane>,
    /// A key that signs each call (`X-Flashbots-Signature`); it holds no money. `0x` and 64 hexadecimal digits.
    #[serde(default)]
    pub identity: Option<Secret>,
    /// What is not mined after so many blocks goes to the public mempool as well.
    #[serde(default = "two")]
    pub public_after: u64,
    /// Never go to the public mempool, not even when the relay refuses.
    #[serde(default)]
    pub never_public: bool,
}

fn pause_only() -> Vec<Lane> {
    vec![Lane::Pause]
}

const fn two() -> u64 {
    2
}

/// A configuration that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No node is given.
    #[error("sender.endpoints is empty: give the address of at least one Ethereum node")]
    NoEndpoint,
    /// A number that makes no sense.
    #[error("sender.{field}: {reason}")]
    Value {
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Config {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`CheckError`] names the field and what is wrong with it.
    pub fn check(&self) -> Result<(), CheckError> {
        let wrong = |field: &str, reason: String| {
            Err(CheckError::Value {
                field: field.to_owned(),
                reason,
            })
        };
        if self.endpoints.is_empty() {
            return Err(CheckError::NoEndpoint);
        }
        if !(1..=1000).contains(&self.confirmations) {
            return wrong("confirmations", format!("{} is not in 1..=1000", self.confirmations));
        }
        if !(1..=1024).contains(&self.max_in_flight) {
            return wrong("max_in_flight", format!("{} is not in 1..=1024", self.max_in_flight));
        }
        if !(4..=1_000_000).contains(&self.queue) {
            return wrong("queue", format!("{} is not in 4..=1000000", self.queue));
        }
        for (field, value) in [("poll", self.poll), ("timeout", self.timeout)] {
            if value.is_zero() || value > Duration::from_secs(60) {
                return wrong(field, format!("{value:?} is not above 0 and at most 60 s"));
            }
        }
        for lane in Lane::ALL {
            let settings = self.lanes.of(lane);
            if !(0.0..=100.0).contains(&settings.percentile) {
                return wrong(
                    &format!("lanes.{lane}.percentile"),
                    format!("{} is not in 0..=100", settings.percentile),
                );
            }
            if settings.fees.min_priority_fee > settings.fees.cap {
                return wrong(
                    &format!("lanes.{lane}.min_priority_fee"),
                    "is above max_fee_cap".to_owned(),
                );
            }
            if settings.fees.margin_percent > 1000 || settings.fees.horizon > 100 {
                return wrong(
                    &format!("lanes.{lane}"),
                    "margin_percent is at most 1000, horizon at most 100".to_owned(),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<Config, node::config::ConfigError> {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(toml.as_bytes()).unwrap();
        #[derive(serde::Serialize)]
        struct NoFlags {}
        node::config::load("sendertest", Some(file.path()), &NoFlags {})
    }

    #[test]
    fn a_lane_keeps_its_defaults_where_only_one_value_is_given() {
        let config = parse("endpoints = [\"http://localhost:1\"]\n[lanes.pause]\nkey = \"fast\"\n").unwrap();
        config.check().unwrap();
        let pause = config.lanes.of(Lane::Pause);
        assert_eq!(
            (pause.key.as_str(), pause.patience, pause.fees.margin_percent),
            ("fast", 1, 25)
        );
        assert_eq!(config.lanes.of(Lane::Report).key, "default");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert_eq!(parse("").unwrap().check(), Err(CheckError::NoEndpoint));
        let bad = parse("endpoints = [\"http://localhost:1\"]\n[lanes.slash]\npercentile = 101.0\n").unwrap();
        assert!(bad.check().unwrap_err().to_string().contains("lanes.slash.percentile"));
        let bad = parse("endpoints = [\"http://localhost:1\"]\nconfirmations = 0\n").unwrap();
        assert!(bad.check().unwrap_err().to_string().contains("confirmations"));
        assert!(parse("[lanes.urgent]\n").unwrap_err().to_string().contains("urgent"));
    }

    #[test]
    fn an_endpoints_password_is_not_printed() {
        let config = parse("endpoints = [\"http://user:s3cret@localhost:1\"]\n").unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
