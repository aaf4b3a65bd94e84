//! Everything that a signed or tagged message has to pass at one receiver: the rules of [`super`] with a clock, a memory of nonces,
//! signatures that are verified together, and the keys that the receiver shares.

use std::sync::Arc;

use protos::{DecodeError, v1};

use super::verifier::Verifier;
use super::{AuthError, BodyDigest, Caller, Head, METHOD, Proof, Scheme, SharedKeys, metadata, signature_of};
use crate::account::AccountId;
use crate::replay::{ReplayGuard, ReplayLimits};
use crate::wallet::{SignatureBytes, TagBytes};

/// The checks of one receiver.
#[derive(Debug)]
pub struct Checks {
    me: Option<AccountId>,
    /// Written into everything that it is sent.
    address: Option<String>,
    guard: ReplayGuard,
    verifier: Verifier,
    shared: Option<Arc<SharedKeys>>,
    now_ns: fn() -> u64,
}

impl Checks {
    /// For what is sent to `me`, with a memory of nonces that is empty; without a hotkey of its own, a receiver takes only what is for
    /// anybody.
    pub fn new(me: Option<AccountId>) -> Self {
        Self {
            address: me.as_ref().map(AccountId::to_ss58),
            me,
            guard: ReplayGuard::new(ReplayLimits::default()),
            verifier: Verifier::new(),
            shared: None,
            now_ns: super::now_ns,
        }
    }

    /// Goes on with this memory of nonces.
    #[must_use]
    pub fn remembering(mut self, guard: ReplayGuard) -> Self {
        self.guard = guard;
        self
    }

    /// By this clock in place of [`super::now_ns`].
    #[must_use]
    pub fn by(mut self, now_ns: fn() -> u64) -> Self {
        self.now_ns = now_ns;
        self
    }

    /// Takes also what is tagged with one of these keys, and for them.
    #[must_use]
    pub fn sharing(mut self, keys: Arc<SharedKeys>) -> Self {
        self.shared = Some(keys);
        self
    }

    /// Whose these checks are.
    pub const fn me(&self) -> Option<&AccountId> {
        self.me.as_ref()
    }

    /// Checks a message that carries its proof, sent for `path`: its tag where it has one and the key is shared, else its signature.
    /// A signature beside a tag that holds is the sender's ([`Self::sharing`]); whether it is good, [`super::authentic`] says.
    ///
    /// # Errors
    /// [`AuthError`] says which check failed; the checks run in the order of its variants.
    pub async fn open(&self, signed: &v1::Signed, path: &str) -> Result<Caller, AuthError> {
        let (head, signature) = (Head::of(signed)?, signature_of(signed)?);
        let (proof, digest) = if self.shared.is_some() && !signed.tag.is_empty() {
            let tag = protos::fixed("signed.tag", &signed.tag)?;
            (Proof::Tag(tag), BodyDigest::of_both(&signed.payload, &signature))
        } else {
            (Proof::Signature(signature), BodyDigest::of(&signed.payload))
        };
        self.is_due(&head, &proof)?;
        self.is_authentic(&head, &proof, &digest, path).await
    }

    /// What can be said before the body is there.
    pub(super) fn is_due(&self, head: &Head, proof: &Proof) -> Result<(), AuthError> {
        if matches!(proof, Proof::Tag(_)) && self.shared.is_none() {
            let reason = "is not taken here; sign the request";
            return Err(DecodeError::invalid(metadata::CRYPTO_KEY, reason).into());
        }
        head.is_for(self.me.as_ref())?;
        head.is_fresh((self.now_ns)())
    }

    /// The rest, once it is due.
    pub(super) async fn is_authentic(
        &self,
        head: &Head,
        proof: &Proof,
        digest: &BodyDigest,
        path: &str,
    ) -> Result<Caller, AuthError> {
        let proven = match proof {
            Proof::Signature(signature) => self.is_signed(head, signature, digest, path).await,
            Proof::Tag(tag) => self.is_tagged(head, tag, digest, path),
        };
        if !proven {
            return Err(AuthError::BadSignature { hotkey: head.hotkey });
        }
        // Its body may have been long on the way.
        let now_ns = (self.now_ns)();
        head.is_fresh(now_ns)?;
        head.is_new(now_ns, &self.guard)
    }

    // Both write this receiver into the lines: that it is the one that is meant was seen first.

    async fn is_signed(&self, head: &Head, signature: &SignatureBytes, digest: &BodyDigest, path: &str) -> bool {
        let Some(key) = self.verifier.key(&head.hotkey) else {
            return false;
        };
        let (sender, receiver) = (key.address(), self.address.as_deref());
        let lines = super::message(Scheme::Signature, METHOD, path, digest, head.nonce_ns, sender, receiver);
        self.verifier.verify(key, lines, *signature).await
    }

    fn is_tagged(&self, head: &Head, tag: &TagBytes, digest: &BodyDigest, path: &str) -> bool {
        let keys = self.shared.as_ref().zip(self.address.as_deref());
        keys.is_some_and(|(keys, me)| {
            let sender = keys.with(&head.hotkey);
            sender.is_some_and(|sender| sender.holds(path, digest, head.nonce_ns, me, tag))
        })
    }
}
