//! Whether somebody is there: connections, ours and a peer's.
//!
//! A peer's address was written into the contract by whoever registered it. What always holds: an auditor connects to public addresses only,
//! unless it is told otherwise, and to the very address that was checked: a name is looked up once a probe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use url::{Host, Url};

use super::verdict::TRIES;

/// Between two connections to one peer.
const SPACING: Duration = Duration::from_millis(200);

/// Why an endpoint cannot be probed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of the form `http://HOST:PORT`.
    #[error("its endpoint is not of the form http://HOST:PORT")]
    Form,
    /// A name that nobody knows.
    #[error("its name cannot be looked up: {0}")]
    Name(String),
    /// Loopback, a private network, and the like.
    #[error("{0} is no public address")]
    Private(IpAddr),
}

/// Whether an address is anybody's on the Internet (RFC 6890, as far as it matters).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public_v4(ip),
            None => is_public_v6(ip),
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_documentation()
        || ip.is_multicast()
        || shared
        || a == 0
        || a >= 240)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let documentation = first == 0x2001 && second == 0xdb8;
    // 64:ff9b::/96 and 2002::/16 carry an IPv4 address, of which nobody knows here where it leads.
    let carries_v4 = (first == 0x64 && second == 0xff9b) || first == 0x2002;
    !(ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_unique_local()
        || ip.is_unicast_link_local()
        || documentation
        || carries_v4)
}

/// The address behind an endpoint.
///
/// # Errors
/// [`AddressError`]: there is none that may be connected to.
pub async fn resolve(endpoint: &str, private: bool, limit: Duration) -> Result<SocketAddr, AddressError> {
    let url = Url::parse(endpoint).map_err(|_| AddressError::Form)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AddressError::Form);
    }
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(AddressError::Form);
    };
    let candidates = match host {
        Host::Ipv4(ip) => vec![SocketAddr::new(ip.into(), port)],
        Host::Ipv6(ip) => vec![SocketAddr::new(ip.into(), port)],
        Host::Domain(name) => {
            let looked_up = tokio::time::timeout(limit, tokio::net::lookup_host((name, port))).await;
            match looked_up {
                Ok(Ok(found)) => found.take(8).collect(),
                Ok(Err(error)) => return Err(AddressError::Name(error.to_string())),
                Err(_) => return Err(AddressError::Name("no answer".to_owned())),
            }
        }
    };
    let mut refused = None;
    for candidate in candidates {
        if private || is_public(candidate.ip()) {
            return Ok(candidate);
        }
        refused = Some(candidate.ip());
    }
    Err(refused.map_or_else(
        || AddressError::Name("it has no address".to_owned()),
        AddressError::Private,
    ))
}

/// How long a connection takes; `None`: it does not come about within `limit`.
pub async fn connect(address: SocketAddr, limit: Duration) -> Option<Duration> {
    let begun = Instant::now();
    match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Some(begun.elapsed()),
        Ok(Err(_)) | Err(_) => None,
    }
}

/// Several connections, one after the other.
pub async fn connections(address: SocketAddr, limit: Duration) -> [Option<Duration>; TRIES] {
    let mut made = [None; TRIES];
    for (number, one) in made.iter_mut().enumerate() {
        if number > 0 {
            tokio::time::sleep(SPACING).await;
        }
        *one = connect(address, limit).await;
    }
    made
}

/// Whether this auditor itself is connected: any of these takes a connection. Without any reference there is no doubt.
pub async fn is_online(references: &[String], limit: Duration) -> bool {
    if references.is_empty() {
        return true;
    }
    let tries = references.iter().map(|reference| {
        Box::pin(async move {
            match tokio::time::timeout(limit, TcpStream::connect(reference.as_str())).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(()),
            }
        })
    });
    futures::future::select_ok(tries).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn an_address_of_ones_own_network_is_not_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.9",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "2001:db8::1",
            "64:ff9b::a00:1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn an_endpoint_is_looked_up_and_refused_where_it_leads_inside() {
        let inside = resolve("http://127.0.0.1:9000", false, SOON).await;
        assert_eq!(inside, Err(AddressError::Private("127.0.0.1".parse().unwrap())));
        assert!(matches!(
            resolve("http://localhost:9000", false, SOON).await,
            Err(AddressError::Private(_))
        ));
        assert_eq!(
            resolve("http://127.0.0.1:9000", true, SOON).await,
            Ok("127.0.0.1:9000".parse().unwrap())
        );
        for text in [
            "",
            "127.0.0.1:9000",
            "ftp://1.1.1.1:1",
            "http://",
            "javascript:alert(1)",
        ] {
            assert_eq!(resolve(text, true, SOON).await, Err(AddressError::Form), "{text}");
        }
    }

    #[tokio::test]
    async fn who_listens_is_reached_and_who_does_not_is_not() {
        let port = testkit::Port::free();
        let there = port.address();
        let listener = tokio::net::TcpListener::bind(there).await.unwrap();
        assert!(connections(there, SOON).await.iter().all(Option::is_some));
        drop(listener);
        assert_eq!(connections(there, SOON).await, [None; TRIES]);
        assert!(!is_online(&[there.to_string()], SOON).await);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = listener.local_addr().unwrap();
        assert!(is_online(&[there.to_string(), other.to_string()], SOON).await);
    }
}
