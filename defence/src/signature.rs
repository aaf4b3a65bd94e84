//! The signature of a webhook, made here and checked by who receives it.
//!
//! `X-Portcullis-Signature: v1=<hex of HMAC-SHA256(secret, "v1:" || timestamp || ":" || body)>`, where the timestamp is that of
//! `X-Portcullis-Timestamp`, seconds since 1970, new for every attempt: a receiver that refuses old ones cannot be played an old alert.
//! HMAC is RFC 2104.

use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Header with the signature.
pub const SIGNATURE_HEADER: &str = "X-Portcullis-Signature";
/// Header with the time of signing.
pub const TIMESTAMP_HEADER: &str = "X-Portcullis-Timestamp";
/// Header with the idempotency key: an alert that comes twice has the same one.
pub const IDEMPOTENCY_HEADER: &str = "X-Idempotency-Key";

/// Why a signature is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not `v1=` and 64 hexadecimal digits.
    #[error("the header {SIGNATURE_HEADER} is not `v1=` and 64 hexadecimal digits")]
    Malformed,
    /// The timestamp is too far from now.
    #[error("signed at {timestamp}, which is more than {tolerance:?} from now ({now})")]
    Stale {
        /// What was signed.
        timestamp: u64,
        /// The receiver's clock.
        now: u64,
        /// What it tolerates.
        tolerance: Duration,
    },
    /// Another secret, another body or another time.
    #[error("the signature does not fit the body, the timestamp and the secret")]
    Wrong,
}

/// The value of the signature's header for `body`, signed at `timestamp` (seconds since 1970).
#[must_use]
pub fn sign(secret: &[u8], timestamp: u64, body: &[u8]) -> String {
    format!(
        "v1={}",
        hex::encode(mac(secret, timestamp, body).finalize().into_bytes())
    )
}

/// Checks it, in constant time.
///
/// # Errors
/// [`SignatureError`] says what is wrong.
pub fn verify(
    secret: &[u8],
    signature: &str,
    timestamp: u64,
    body: &[u8],
    now: u64,
    tolerance: Duration,
) -> Result<(), SignatureError> {
    let digest = signature.strip_prefix("v1=").ok_or(SignatureError::Malformed)?;
    let digest: [u8; 32] = hex::decode(digest)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SignatureError::Malformed)?;
    if timestamp.abs_diff(now) > tolerance.as_secs() {
        return Err(SignatureError::Stale {
            timestamp,
            now,
            tolerance,
        });
    }
    mac(secret, timestamp, body)
        .verify_slice(&digest)
        .map_err(|_| SignatureError::Wrong)
}

fn mac(secret: &[u8], timestamp: u64, body: &[u8]) -> Hmac<Sha256> {
    // A key of one block always fits; RFC 2104 pads a shorter one with zeros and hashes a longer one.
    let mut block = zeroize::Zeroizing::new([0_u8; 64]);
    if secret.len() > block.len() {
        block
            .iter_mut()
            .zip(Sha256::digest(secret))
            .for_each(|(to, from)| *to = from);
    } else {
        block.iter_mut().zip(secret).for_each(|(to, from)| *to = *from);
    }
    let mut mac = <Hmac<Sha256> as Mac>::new((&*block).into());
    mac.update(b"v1:");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b":");
    mac.update(body);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_anybody_else_computes() {
        // printf 'v1:1800000000:{"a":1}' | openssl dgst -sha256 -hmac s3cret
        assert_eq!(sign(b"s3cret", 1_800_000_000, br#"{"a":1}"#), EXPECTED);
    }
    const EXPECTED: &str = "v1=fd3c7fca2b9a79a59a21c741208d714ffb123b58970e6dcb83f6a8a72e3ca0ec";

    #[test]
    fn only_the_same_body_secret_and_time_pass() {
        let (now, tolerance) = (1_800_000_100, Duration::from_secs(300));
        let signature = sign(b"k", 1_800_000_000, b"body");
        let check = |secret: &[u8], at, body: &[u8], now| verify(secret, &signature, at, body, now, tolerance);
        assert_eq!(check(b"k", 1_800_000_000, b"body", now), Ok(()));
        assert_eq!(check(b"x", 1_800_000_000, b"body", now), Err(SignatureError::Wrong));
        assert_eq!(check(b"k", 1_800_000_001, b"body", now), Err(SignatureError::Wrong));
        assert_eq!(check(b"k", 1_800_000_000, b"bodY", now), Err(SignatureError::Wrong));
        assert!(matches!(
            check(b"k", 1_800_000_000, b"body", now + 400),
            Err(SignatureError::Stale { .. })
        ));
        for malformed in ["", "v1=", "v1=zz", "v2=00", &signature[3..]] {
            assert_eq!(
                verify(b"k", malformed, 1_800_000_000, b"body", now, tolerance),
                Err(SignatureError::Malformed)
            );
        }
    }
}
