//! Where the platform is: one address, or those of several platforms behind one database, which all give the same stream.
//!
//! A validator is at one of them at a time, and goes on to the next when that one fails; cursors and reports mean the same everywhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tonic::transport::Endpoint;

/// Before a platform that does not answer is asked again.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlatformsError {
    /// None is named.
    #[error("configuration: `platform`: names no address; use http://HOST:PORT, several with commas between")]
    None,
    /// It is none.
    #[error("platform `{address}`: {reason}")]
    Address {
        /// As given.
        address: String,
        /// What is wrong.
        reason: tonic::transport::Error,
    },
    /// The certificate that platforms are known by.
    #[error("configuration: `platform_ca`: {0}")]
    Certificate(#[from] node::tls::TlsError),
}

/// The platforms, and which of them has its turn.
#[derive(Debug, Clone)]
pub struct Platforms {
    endpoints: Arc<[Endpoint]>,
    turn: usize,
}

impl Platforms {
    /// Of `http://HOST:PORT` or `https://HOST:PORT`, several with commas between. Those with `https` are known by the certificate
    /// in the file `ca` (PEM), or by the authorities that browsers trust.
    ///
    /// # Errors
    /// [`PlatformsError`] names the address.
    pub fn parse(addresses: &str, ca: Option<&Path>) -> Result<Self, PlatformsError> {
        let tls = node::tls::client(ca)?;
        let endpoint = |address: &str| {
            let fail = |reason| PlatformsError::Address {
                address: address.to_owned(),
                reason,
            };
            let mut endpoint = Endpoint::from_shared(address.to_owned()).map_err(fail)?;
            if address.starts_with("https:") {
                endpoint = endpoint.tls_config(tls.clone()).map_err(fail)?;
            }
            Ok(endpoint
                .connect_timeout(Duration::from_secs(5))
                .tcp_nodelay(true)
                .http2_keep_alive_interval(Duration::from_secs(10))
                .keep_alive_timeout(Duration::from_secs(10)))
        };
        let named = addresses
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty());
        let endpoints: Arc<[Endpoint]> = named.map(endpoint).collect::<Result<_, PlatformsError>>()?;
        if endpoints.is_empty() {
            return Err(PlatformsError::None);
        }
        Ok(Self { endpoints, turn: 0 })
    }

    /// The one that has its turn.
    #[must_use]
    pub fn current(&self) -> &Endpoint {
        // There is at least one, and the turn is always of one that there is.
        #[allow(clippy::indexing_slicing, reason = "by construction")]
        &self.endpoints[self.turn]
    }

    /// Gives the turn to the next, round and round; false where there is only one.
    pub fn pass_on(&mut self) -> bool {
        self.turn = (self.turn + 1) % self.endpoints.len();
        self.endpoints.len() > 1
    }
}

/// What is waited before a platform is asked again: longer and longer, at most about [`LONGEST_PAUSE`], without an end.
pub(crate) fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(LONGEST_PAUSE)
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(platforms: &mut Platforms, turns: usize) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..turns {
            seen.push(platforms.current().uri().to_string());
            platforms.pass_on();
        }
        seen
    }

    #[test]
    fn each_has_its_turn_round_and_round() {
        let mut two = Platforms::parse("http://a:1, http://b:2", None).unwrap();
        assert_eq!(addresses(&mut two, 3), ["http://a:1/", "http://b:2/", "http://a:1/"]);
        let mut one = Platforms::parse("http://a:1", None).unwrap();
        assert_eq!(addresses(&mut one, 2), ["http://a:1/", "http://a:1/"]);
        assert!(!one.pass_on() && two.pass_on());
    }

    #[test]
    fn what_is_no_address_is_named() {
        assert!(matches!(Platforms::parse(" , ", None), Err(PlatformsError::None)));
        let error = Platforms::parse("http://a:1,http://b c", None).unwrap_err().to_string();
        assert!(error.contains("`http://b c`"), "{error}");
        let error = Platforms::parse("https://a:1", Some(Path::new("gone.pem")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("gone.pem"), "{error}");
    }
}
