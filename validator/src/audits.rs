//! What the audits of the network's nodes say of miners, as a factor of their scores: `uptime^exponent`.
//!
//! Off unless `[audits]` names the AuditManager. What always holds: it can only take away; it is about what was measured at the address that
//! the subnet's ledger has for the miner, since anybody can register anybody's hotkey elsewhere; what nobody knows (a node that is silent, a miner
//! that is not audited, too few verdicts) costs what the operator has set, and nothing by default.
//!
//! ```toml
//! [audits]
//! exponent = 1.0
//! unknown = 1.0
//!
//! [audits.source]
//! contract = "0x..."                     # the AuditManager
//! deployed_at = 21000000
//! endpoints = ["https://node.example"]   # of its chain; each may be env:NAME or file:PATH
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use audit::results::{Results, follow};
use audit::source::Source;
use sender::client::ClientError;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::store::Hotkey;

/// The part `[audits]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditOptions {
    /// Where the audits are read: every five minutes, where nobody says otherwise.
    pub source: audit::source::AuditOptions<300>,
    /// Weight of the uptime, the part of its newest settled epoch in which a miner served: 0 switches it off.
    #[serde(default = "one")]
    pub exponent: f64,
    /// The factor of a miner that is not audited, or on which too few have reported: 0 to 1.
    #[serde(default = "one")]
    pub unknown: f64,
}

const fn one() -> f64 {
    1.0
}

impl AuditOptions {
    /// Whether a factor can be made with them.
    ///
    /// # Errors
    /// Which one is out of its range, in one line.
    pub fn check(&self) -> Result<(), String> {
        if !self.exponent.is_finite() || self.exponent < 0.0 {
            return Err("audits.exponent: must be a number, 0 or more".into());
        }
        if !(0.0..=1.0).contains(&self.unknown) {
            return Err(format!("audits.unknown: {} is not between 0 and 1", self.unknown));
        }
        self.source
            .source()
            .map(drop)
            .map_err(|error| format!("audits.source: {error}"))
    }
}

/// The factor of a miner with this uptime (0 to 1); `None`: not known.
#[must_use]
pub fn factor(uptime: Option<f64>, exponent: f64, unknown: f64) -> f64 {
    uptime.map_or(unknown, |uptime| uptime.clamp(0.0, 1.0).powf(exponent))
}

/// The audits, followed.
#[derive(Debug)]
pub struct Audits {
    options: AuditOptions,
    source: Source,
    uptimes: Mutex<BTreeMap<(Hotkey, SocketAddr), f64>>,
}

impl Audits {
    /// Knows nothing yet.
    ///
    /// # Errors
    /// An endpoint that is none, or a secret that is not where it is said to be.
    pub fn new(options: AuditOptions) -> Result<Self, ClientError> {
        Ok(Self {
            source: options.source.source()?,
            options,
            uptimes: Mutex::default(),
        })
    }

    /// The factor of a miner's score: of one that serves at `address`.
    #[must_use]
    pub fn factor(&self, hotkey: &Hotkey, address: Option<SocketAddr>) -> f64 {
        let uptimes = self.uptimes.lock().unwrap_or_else(PoisonError::into_inner);
        let uptime = address.and_then(|address| uptimes.get(&(*hotkey, address)).copied());
        factor(uptime, self.options.exponent, self.options.unknown)
    }

    /// Reads what is settled, again and again, until `shutdown`. A node that is silent leaves what is known as it is.
    pub async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let tell = |results: &Results| {
            *self.uptimes.lock().unwrap_or_else(PoisonError::into_inner) = results.uptimes();
        };
        follow(self.source.clone(), shutdown, tell).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_only_takes_away_and_what_is_not_known_costs_what_is_set() {
        assert_eq!(factor(Some(0.9), 1.0, 1.0), 0.9);
        assert!((factor(Some(0.9), 2.0, 1.0) - 0.81).abs() < 1e-12);
        assert_eq!(factor(Some(0.5), 0.0, 1.0), 1.0, "switched off");
        assert_eq!((factor(None, 1.0, 1.0), factor(None, 1.0, 0.5)), (1.0, 0.5));
        assert_eq!(factor(Some(7.0), 1.0, 1.0), 1.0);
    }

    #[test]
    fn options_out_of_range_are_named_without_a_secret() {
        let load = |more: &str, every: &str| {
            let text = format!(
                "{more}\n[source]\ncontract = \"{}\"\nendpoints = [\"http://user:s3cret@x y\"]\n{every}",
                alloy::primitives::Address::repeat_byte(1)
            );
            let mut file = tempfile::NamedTempFile::new().unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            #[derive(serde::Serialize)]
            struct NoFlags {}
            node::config::load::<AuditOptions>("auditstest", Some(file.path()), &NoFlags {})
        };
        let options = |more: &str| load(more, "").unwrap();
        let usual = options("");
        assert_eq!(
            (usual.source.every.as_secs(), usual.exponent, usual.unknown),
            (300, 1.0, 1.0)
        );
        assert_eq!(load("", "every = \"7s\"").unwrap().source.every.as_secs(), 7);
        for (more, every, named) in [
            ("exponnt = 1.0", "", "exponnt"),
            ("", "every = \"soon\"", "source.every"),
            ("", "evry = \"7s\"", "evry"),
        ] {
            let error = load(more, every).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(options("unknown = 2.0").check().unwrap_err().contains("audits.unknown"));
        assert!(
            options("exponent = -1.0")
                .check()
                .unwrap_err()
                .contains("audits.exponent")
        );
        let error = Audits::new(options("")).unwrap_err().to_string();
        assert!(error.contains("endpoints") && !error.contains("s3cret"), "{error}");
    }
}
