//! A key that two hotkeys share and nobody else knows: Diffie and Hellman's of their two sr25519 keys.
//!
//! Either of the two derives it from its own secret and the other's public key, without a message between them, so there is no session
//! that a restart could lose. What it tags convinces the other one, and nobody else: the receiver could have made the tag itself. For
//! what is to be shown to others there are signatures. That a key which signs (Schnorr) may serve here as well: Degabriele, Lehmann,
//! Paterson, Smart, Strefler, CT-RSA 2012, <https://eprint.iacr.org/2011/615>.

use std::fmt;

use hmac::{Hmac, Mac};
use schnorrkel::PublicKey;
use schnorrkel::context::SigningContext;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Keypair;
use crate::account::AccountId;

/// What the key is derived for: no other use of the same two keys gives it.
const CONTEXT: &[u8] = b"portcullis shared key 1";

/// A tag's bytes.
pub type TagBytes = [u8; 32];

/// The key that two hotkeys share.
#[derive(Clone)]
pub struct SharedKey(Zeroizing<[u8; 32]>);

impl Keypair {
    /// The key that this pair shares with `peer`: the same that `peer` finds with this pair's account. `None` where the account's bytes
    /// are no key, or the one that everybody knows the secret of (zero).
    pub fn shared_with(&self, peer: &AccountId) -> Option<SharedKey> {
        if *peer.as_bytes() == [0; 32] {
            return None;
        }
        let public = PublicKey::from_bytes(peer.as_bytes()).ok()?;
        let mut transcript = SigningContext::new(CONTEXT).bytes(b"");
        self.pair.commit_key_exchange(&mut transcript, b"shared", &public);
        let mut key = Zeroizing::new([0; 32]);
        transcript.challenge_bytes(b"key", key.as_mut_slice());
        Some(SharedKey(key))
    }
}

impl SharedKey {
    /// HMAC-SHA256 of `message`.
    pub fn tag(&self, message: &[u8]) -> TagBytes {
        self.over(message).finalize().into_bytes().into()
    }

    /// Whether `tag` is that of `message`; takes as long for any wrong one.
    pub fn holds(&self, message: &[u8], tag: &TagBytes) -> bool {
        self.over(message).verify_slice(tag).is_ok()
    }

    fn over(&self, message: &[u8]) -> Hmac<Sha256> {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(self.0.as_slice()) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.chain_update(message)
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nobody_shares_a_key_with_what_is_no_key_or_with_zero() {
        let pair = Keypair::from_seed([1; 32]);
        assert!(pair.shared_with(&AccountId::new([0; 32])).is_none());
        assert!(pair.shared_with(&AccountId::new([0xff; 32])).is_none());
    }

    #[test]
    fn debug_shows_nothing_of_it() {
        let key = Keypair::from_seed([1; 32]).shared_with(&Keypair::from_seed([2; 32]).account());
        assert_eq!(format!("{:?}", key.unwrap()), "SharedKey { .. }");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn both_find_the_same_key_and_a_third_does_not(seeds: [[u8; 32]; 3], message: Vec<u8>, bit in 0usize..256) {
            let [a, b, c] = seeds.map(Keypair::from_seed);
            prop_assume!(a.account() != c.account() && b.account() != c.account());
            let tag = a.shared_with(&b.account()).unwrap().tag(&message);
            let known = b.shared_with(&a.account()).unwrap();
            prop_assert!(known.holds(&message, &tag));
            prop_assert!(!c.shared_with(&a.account()).unwrap().holds(&message, &tag));
            prop_assert!(!c.shared_with(&b.account()).unwrap().holds(&message, &tag));
            let mut altered = tag;
            altered[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!known.holds(&message, &altered));
            prop_assert!(!known.holds(&[&message[..], b"!"].concat(), &tag));
        }
    }
}
