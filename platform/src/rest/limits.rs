//! How often anybody may ask: a bucket for each address, and one for each key.
//!
//! The address is looked at before the key is: guessing keys costs its caller's turns, not this machine's time. Behind a proxy every
//! caller has the proxy's address; there the proxy limits addresses, and `per_address` is 0.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::key_of;

/// How many buckets are kept. When there are more, the full ones go; when none is full, all begin anew.
const BUCKETS: usize = 65_536;

/// The part `[http.limits]` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitOptions {
    /// Requests a second from one address; 0: any number.
    pub per_address: u32,
    /// Requests a second with one key; 0: any number.
    pub per_key: u32,
    /// So many seconds' worth may come at once.
    pub burst_seconds: u32,
}

impl Default for LimitOptions {
    fn default() -> Self {
        Self {
            per_address: 50,
            per_key: 100,
            burst_seconds: 4,
        }
    }
}

/// Whose bucket it is. A key is remembered by a number that says nothing about it.
type Holder = u64;

/// The buckets.
#[derive(Debug, Clone)]
pub struct Limits {
    per_address: Option<Buckets>,
    per_key: Option<Buckets>,
    /// Differs from process to process.
    hasher: RandomState,
}

#[derive(Debug, Clone)]
struct Buckets {
    quota: Quota,
    limiter: Arc<Mutex<Arc<DefaultKeyedRateLimiter<Holder>>>>,
}

impl Limits {
    /// With these rates.
    #[must_use]
    pub fn new(options: LimitOptions) -> Self {
        let buckets = |rate: u32| {
            let second = NonZeroU32::new(rate)?;
            let burst = NonZeroU32::new(rate.saturating_mul(options.burst_seconds)).unwrap_or(second);
            Some(Buckets::new(Quota::per_second(second).allow_burst(burst)))
        };
        Self {
            per_address: buckets(options.per_address),
            per_key: buckets(options.per_key),
            hasher: RandomState::new(),
        }
    }

    /// Takes a turn; how long to wait where there is none left.
    fn take(&self, address: Option<IpAddr>, key: Option<&str>) -> Result<(), Duration> {
        if let (Some(buckets), Some(address)) = (&self.per_address, address) {
            buckets.take(self.hasher.hash_one(network(address)))?;
        }
        if let (Some(buckets), Some(key)) = (&self.per_key, key) {
            buckets.take(self.hasher.hash_one(key))?;
        }
        Ok(())
    }
}

impl Buckets {
    fn new(quota: Quota) -> Self {
        Self {
            quota,
            limiter: Arc::new(Mutex::new(Arc::new(RateLimiter::keyed(quota)))),
        }
    }

    fn take(&self, holder: Holder) -> Result<(), Duration> {
        let limiter = self.bounded();
        limiter
            .check_key(&holder)
            .map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }

    fn bounded(&self) -> Arc<DefaultKeyedRateLimiter<Holder>> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.len() >= BUCKETS {
            limiter.retain_recent();
            if limiter.len() >= BUCKETS {
                *limiter = Arc::new(RateLimiter::keyed(self.quota));
            }
        }
        Arc::clone(&limiter)
    }
}

/// What one caller holds: an IPv4 address, or the /64 of an IPv6 one, of which anybody has 2^64 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Lets a request through, or answers 429 with the time to wait.
pub async fn limit(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let address = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip());
    match limits.take(address, key_of(request.headers())) {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            metrics::counter!("platform_http_refused_total").increment(1);
            let seconds = wait.as_secs() + 1;
            let body = json!({ "detail": format!("too many requests; try again in {seconds} s") });
            let mut answer = (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response();
            answer
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_address: u32, per_key: u32) -> Limits {
        Limits::new(LimitOptions {
            per_address,
            per_key,
            burst_seconds: 2,
        })
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_address_and_each_key_has_its_own_turns() {
        let limits = limits(2, 3);
        let taken = |from: &str, key| (0..20).take_while(|_| limits.take(address(from), key).is_ok()).count();
        assert_eq!(taken("10.0.0.1", None), 4);
        assert_eq!(taken("10.0.0.2", None), 4, "another address has turns of its own");
        let spread = (0..20).filter(|n| limits.take(address(&format!("10.1.0.{n}")), Some("pk_a")).is_ok());
        assert_eq!(spread.count(), 6, "a key's turns are one over all addresses");
        assert!(limits.take(address("10.0.0.9"), Some("pk_b")).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller_and_a_mapped_address_is_its_ipv4_one() {
        let limits = limits(1, 0);
        let spread = (0..20).filter(|n| limits.take(address(&format!("2001:db8::{n:x}")), None).is_ok());
        assert_eq!(spread.count(), 2);
        assert_eq!(
            network("::ffff:10.0.0.1".parse().unwrap()),
            "10.0.0.1".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn nought_is_no_limit_and_buckets_are_bounded() {
        let free = limits(0, 0);
        assert!((0..1_000).all(|_| free.take(address("10.0.0.1"), Some("pk_a")).is_ok()));
        let limits = limits(1, 0);
        for n in 0..100_000_u32 {
            let _taken = limits.take(Some(IpAddr::from(n.to_be_bytes())), None);
        }
        let buckets = limits.per_address.as_ref().unwrap().bounded().len();
        assert!(buckets <= BUCKETS, "{buckets}");
    }
}
