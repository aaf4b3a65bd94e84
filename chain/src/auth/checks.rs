//! Everything that a signed message has to pass at one receiver: the rules of [`super`] with a clock, a memory of nonces, and signatures
//! that are verified together.

use protos::v1;

use super::verifier::Verifier;
use super::{AuthError, BodyDigest, Caller, Head, METHOD};
use crate::account::AccountId;
use crate::replay::ReplayGuard;

/// The checks of one receiver.
#[derive(Debug)]
pub struct Checks {
    me: Option<AccountId>,
    /// Written into everything that it is sent.
    address: Option<String>,
    guard: ReplayGuard,
    verifier: Verifier,
    now_ns: fn() -> u64,
}

impl Checks {
    /// For what is sent to `me`; without a hotkey of its own, a receiver takes only what is for anybody. `now_ns` is
    /// [`super::now_ns`].
    pub fn new(me: Option<AccountId>, guard: ReplayGuard, now_ns: fn() -> u64) -> Self {
        Self {
            address: me.as_ref().map(AccountId::to_ss58),
            me,
            guard,
            verifier: Verifier::new(),
            now_ns,
        }
    }

    /// Whose these checks are.
    pub const fn me(&self) -> Option<&AccountId> {
        self.me.as_ref()
    }

    /// Checks a message that carries its signature, signed for `path`.
    ///
    /// # Errors
    /// [`AuthError`] says which check failed; the checks run in the order of its variants.
    pub async fn open(&self, signed: &v1::Signed, path: &str) -> Result<Caller, AuthError> {
        let head = Head::of(signed)?;
        self.is_due(&head)?;
        self.is_authentic(&head, &BodyDigest::of(&signed.payload), path).await
    }

    /// What can be said before the body is there.
    pub(super) fn is_due(&self, head: &Head) -> Result<(), AuthError> {
        head.is_for(self.me.as_ref())?;
        head.is_fresh((self.now_ns)())
    }

    /// The rest, once it is due.
    pub(super) async fn is_authentic(&self, head: &Head, digest: &BodyDigest, path: &str) -> Result<Caller, AuthError> {
        let hotkey = head.hotkey;
        let bad = AuthError::BadSignature { hotkey };
        let Some(key) = self.verifier.key(&hotkey) else {
            return Err(bad);
        };
        // It is for this receiver: that was seen first.
        let message = super::message(
            METHOD,
            path,
            digest,
            head.nonce_ns,
            key.address(),
            self.address.as_deref(),
        );
        if !self.verifier.verify(key, message, head.signature).await {
            return Err(bad);
        }
        // Its body may have been long on the way.
        let now_ns = (self.now_ns)();
        head.is_fresh(now_ns)?;
        head.is_new(now_ns, &self.guard)
    }
}
