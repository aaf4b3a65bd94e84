//! Which nonces were seen: what makes a signed request good for one time only.
//!
//! Bounded in time and in number. A nonce is kept for the retention, which is never shorter than a request stays fresh;
//! where there is no room, a request is refused rather than a fresh nonce forgotten, since forgetting one would let its
//! request in again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::account::AccountId;
use crate::auth::{MAX_AGE, MAX_SKEW};

/// How much is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayLimits {
    /// How long a nonce is kept; raised to 12 s (age and skew) where it is less.
    pub retention: Duration,
    /// Nonces of one hotkey.
    pub per_hotkey: usize,
    /// Hotkeys.
    pub hotkeys: usize,
}

impl Default for ReplayLimits {
    /// 60 s, 65,536 nonces for each of 4,096 hotkeys.
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(60),
            per_hotkey: 1 << 16,
            hotkeys: 1 << 12,
        }
    }
}

/// Why a nonce was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// It was admitted before.
    #[error("the nonce was seen before")]
    Seen,
    /// This hotkey has no room for another.
    #[error("{0} requests of this hotkey are still fresh")]
    HotkeyFull(usize),
    /// There is no room for another hotkey.
    #[error("{0} hotkeys have fresh requests")]
    Full(usize),
}

/// The nonces that were seen, by hotkey.
#[derive(Debug)]
pub struct ReplayGuard {
    limits: ReplayLimits,
    retention_ns: u64,
    seen: Mutex<HashMap<AccountId, BTreeSet<u64>>>,
}

/// Until a nonce is this old, its request may still be fresh on a clock that is slow by the skew.
const FRESH_NS: u64 = (MAX_AGE.as_secs() + MAX_SKEW.as_secs()) * 1_000_000_000;

impl ReplayGuard {
    /// An empty guard.
    pub fn new(limits: ReplayLimits) -> Self {
        let retention_ns = u64::try_from(limits.retention.as_nanos())
            .unwrap_or(u64::MAX)
            .max(FRESH_NS);
        Self {
            limits,
            retention_ns,
            seen: Mutex::default(),
        }
    }

    /// Writes down that `hotkey` used `nonce_ns`, whose request was found fresh and correctly signed.
    ///
    /// # Errors
    /// [`ReplayError::Seen`] for the second use; the other variants where there is no room.
    pub fn admit(&self, hotkey: AccountId, nonce_ns: u64, now_ns: u64) -> Result<(), ReplayError> {
        let kept_from = now_ns.saturating_sub(self.retention_ns);
        let fresh_from = now_ns.saturating_sub(FRESH_NS);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains_key(&hotkey) && seen.len() >= self.limits.hotkeys {
            seen.retain(|_, nonces| nonces.last().is_some_and(|newest| *newest >= fresh_from));
            if seen.len() >= self.limits.hotkeys {
                return Err(ReplayError::Full(seen.len()));
            }
        }
        let nonces = seen.entry(hotkey).or_default();
        if nonces.contains(&nonce_ns) {
            return Err(ReplayError::Seen);
        }
        while nonces.first().is_some_and(|oldest| *oldest < kept_from) {
            nonces.pop_first();
        }
        if nonces.len() >= self.limits.per_hotkey {
            if nonces.first().is_none_or(|oldest| *oldest >= fresh_from) {
                return Err(ReplayError::HotkeyFull(nonces.len()));
            }
            nonces.pop_first();
        }
        nonces.insert(nonce_ns);
        Ok(())
    }

    /// Nonces that are remembered, over all hotkeys.
    pub fn len(&self) -> usize {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .map(BTreeSet::len)
            .sum()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 1_752_076_800 * SECOND;

    fn key(n: u8) -> AccountId {
        AccountId::new([n; 32])
    }
    fn guard(per_hotkey: usize, hotkeys: usize) -> ReplayGuard {
        ReplayGuard::new(ReplayLimits {
            retention: Duration::from_secs(60),
            per_hotkey,
            hotkeys,
        })
    }

    #[test]
    fn a_nonce_is_admitted_once_for_each_hotkey() {
        let guard = guard(8, 8);
        assert_eq!(guard.admit(key(1), NOW, NOW), Ok(()));
        assert_eq!(guard.admit(key(1), NOW, NOW), Err(ReplayError::Seen));
        assert_eq!(guard.admit(key(2), NOW, NOW), Ok(()));
        assert_eq!(
            guard.admit(key(1), NOW - 1, NOW),
            Ok(()),
            "order does not matter, only repetition"
        );
    }

    #[test]
    fn old_nonces_leave_after_the_retention() {
        let guard = guard(1000, 8);
        for second in 0..200 {
            guard
                .admit(key(1), NOW + second * SECOND, NOW + second * SECOND)
                .unwrap();
        }
        assert_eq!(guard.len(), 61, "60 s and the newest");
    }

    #[test]
    fn a_full_guard_refuses_rather_than_forgets_what_is_fresh() {
        let guard = guard(3, 2);
        for n in 0..3 {
            guard.admit(key(1), NOW + n, NOW).unwrap();
        }
        assert_eq!(guard.admit(key(1), NOW + 3, NOW), Err(ReplayError::HotkeyFull(3)));
        assert_eq!(
            guard.admit(key(1), NOW, NOW),
            Err(ReplayError::Seen),
            "nothing was forgotten"
        );
        guard.admit(key(2), NOW, NOW).unwrap();
        assert_eq!(guard.admit(key(3), NOW, NOW), Err(ReplayError::Full(2)));
        // Once nothing of theirs can be fresh any more, there is room again.
        let later = NOW + 13 * SECOND;
        assert_eq!(guard.admit(key(1), later, later), Ok(()));
        assert_eq!(guard.admit(key(3), later, later), Ok(()));
    }

    #[test]
    fn a_retention_shorter_than_freshness_is_raised() {
        let guard = ReplayGuard::new(ReplayLimits {
            retention: Duration::ZERO,
            per_hotkey: 8,
            hotkeys: 8,
        });
        guard.admit(key(1), NOW, NOW).unwrap();
        guard.admit(key(1), NOW + 10 * SECOND, NOW + 10 * SECOND).unwrap();
        assert_eq!(guard.admit(key(1), NOW, NOW + 10 * SECOND), Err(ReplayError::Seen));
    }
}
