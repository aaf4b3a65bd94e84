//! Opening a signed request that is addressed to anybody.
//!
//! The platform has no hotkey: validators sign for the receiver `-`. A request captured here is good at another platform for ten
//! seconds, where it opens a stream of public data or repeats a report that is true anyway. `chain::auth::open` wants a
//! receiver; the checks and their order are the same.

use chain::AccountId;
use chain::auth::{AuthError, MAX_AGE, MAX_SKEW, METHOD, message};
use chain::replay::{ReplayError, ReplayGuard};
use protos::v1;

use crate::assignment::Hotkey;

const NS_PER_MS: u64 = 1_000_000;

/// Checks that `signed` is for a call of `path` by anybody's receiver, fresh at `now_ns`, by the key that it states, and came for
/// the first time.
///
/// # Errors
/// [`AuthError`] says which check failed.
pub(crate) fn open(signed: &v1::Signed, path: &str, now_ns: u64, guard: &ReplayGuard) -> Result<Hotkey, AuthError> {
    let hotkey = AccountId::new(protos::fixed("signed.hotkey", &signed.hotkey)?);
    let signature = protos::fixed("signed.signature", &signed.signature)?;
    if !signed.receiver.is_empty() {
        let reason = "must be empty: the platform takes requests that are for anybody";
        return Err(protos::DecodeError::invalid("signed.receiver", reason).into());
    }
    let nonce_ns = signed.nonce_ns;
    let (age, ahead) = (now_ns.saturating_sub(nonce_ns), nonce_ns.saturating_sub(now_ns));
    if u128::from(age) > MAX_AGE.as_nanos() {
        return Err(AuthError::Stale {
            age_ms: age / NS_PER_MS,
        });
    }
    if u128::from(ahead) > MAX_SKEW.as_nanos() {
        return Err(AuthError::FromTheFuture {
            ahead_ms: ahead / NS_PER_MS,
        });
    }
    let expected = message(METHOD, path, &signed.payload, nonce_ns, &hotkey, None);
    if !chain::wallet::verify(&hotkey, expected.as_bytes(), &signature) {
        return Err(AuthError::BadSignature { hotkey });
    }
    guard.admit(hotkey, nonce_ns, now_ns).map_err(|error| match error {
        ReplayError::Seen => AuthError::Replayed { hotkey, nonce_ns },
        full => AuthError::TooMany(full),
    })?;
    Ok(*hotkey.as_bytes())
}

#[cfg(test)]
mod tests {
    use chain::Keypair;
    use chain::auth::{AuthKind, seal_with_nonce};
    use chain::replay::ReplayLimits;

    use super::*;

    const NOW: u64 = 1_752_076_800_000_000_000;
    const SECOND: u64 = 1_000_000_000;
    const PATH: &str = "/portcullis.v1.Platform/Stream";

    fn kind(signed: &v1::Signed, path: &str, now: u64) -> Result<Hotkey, AuthKind> {
        open(signed, path, now, &ReplayGuard::new(ReplayLimits::default())).map_err(|error| error.kind())
    }

    #[test]
    fn a_request_is_opened_once_while_it_is_fresh_and_for_its_own_method_only() {
        let validator = Keypair::from_seed([1; 32]);
        let hotkey = *validator.account().as_bytes();
        let signed = seal_with_nonce(&validator, None, PATH, &b"request"[..], NOW);
        let guard = ReplayGuard::new(ReplayLimits::default());
        assert_eq!(open(&signed, PATH, NOW + SECOND, &guard), Ok(hotkey));
        assert_eq!(
            open(&signed, PATH, NOW + SECOND, &guard).unwrap_err().kind(),
            AuthKind::ReplayedRequest
        );

        assert_eq!(kind(&signed, PATH, NOW + 10 * SECOND), Ok(hotkey));
        assert_eq!(kind(&signed, PATH, NOW + 10 * SECOND + 1), Err(AuthKind::StaleRequest));
        assert_eq!(kind(&signed, PATH, NOW - 2 * SECOND - 1), Err(AuthKind::FutureRequest));
        assert_eq!(
            kind(&signed, "/portcullis.v1.Platform/Report", NOW),
            Err(AuthKind::BadSignature)
        );
    }

    #[test]
    fn what_was_changed_on_the_way_or_is_for_somebody_is_refused() {
        let validator = Keypair::from_seed([1; 32]);
        let signed = seal_with_nonce(&validator, None, PATH, &b"request"[..], NOW);
        let changed = v1::Signed {
            payload: (&b"another"[..]).into(),
            ..signed.clone()
        };
        assert_eq!(kind(&changed, PATH, NOW), Err(AuthKind::BadSignature));
        let short = v1::Signed {
            signature: signed.signature.slice(..63),
            ..signed
        };
        assert_eq!(kind(&short, PATH, NOW), Err(AuthKind::MalformedRequest));
        let addressed = seal_with_nonce(&validator, Some(&validator.account()), PATH, &b"request"[..], NOW);
        assert_eq!(kind(&addressed, PATH, NOW), Err(AuthKind::MalformedRequest));
    }
}
