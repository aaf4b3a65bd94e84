//! sr25519 keys: signing and verifying under Substrate's context, as Bittensor's hotkeys do.
//!
//! A secret never leaves a [`Keypair`] by accident: `Debug` shows the address only, and dropped keys are zeroised.
//! Key files are read and written by [`crate::keyfile`].

mod shared;

use std::fmt;
use std::sync::{Arc, LazyLock};

use schnorrkel::context::SigningContext;
use schnorrkel::{ExpansionMode, MiniSecretKey, PublicKey, SecretKey, Signature};
use zeroize::Zeroizing;

use crate::account::AccountId;

pub use shared::{SharedKey, TagBytes};

/// The signing context of every Substrate chain.
static CONTEXT: LazyLock<SigningContext> = LazyLock::new(|| SigningContext::new(b"substrate"));

/// An sr25519 signature's bytes.
pub type SignatureBytes = [u8; 64];

/// A secret key that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an sr25519 secret key: its scalar is out of range")]
pub struct InvalidSecret;

/// An sr25519 key pair: a hotkey that can sign.
#[derive(Clone)]
pub struct Keypair {
    pair: schnorrkel::Keypair,
    account: AccountId,
    /// Written into everything that is signed.
    address: String,
    /// Kept where it is known, since other wallets want it in the key file.
    seed: Option<Zeroizing<[u8; 32]>>,
}

impl Keypair {
    /// The key pair of a 32-byte seed (Substrate's mini secret, expanded the ed25519 way).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let Ok(mini) = MiniSecretKey::from_bytes(seed.as_slice()) else {
            unreachable!("only a length other than 32 is refused")
        };
        let pair = mini.expand_to_keypair(ExpansionMode::Ed25519);
        Self::of(pair, Some(seed))
    }

    /// The key pair of a 64-byte secret: schnorrkel's scalar and nonce, the `privateKey` of a key file.
    ///
    /// # Errors
    /// [`InvalidSecret`] when the first half is no scalar.
    pub fn from_secret(secret: &[u8; 64]) -> Result<Self, InvalidSecret> {
        let secret = SecretKey::from_bytes(secret).map_err(|_| InvalidSecret)?;
        Ok(Self::of(secret.to_keypair(), None))
    }

    /// A new key pair from the operating system's randomness.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0u8; 32]);
        rand::fill(seed.as_mut());
        Self::from_seed(*seed)
    }

    fn of(pair: schnorrkel::Keypair, seed: Option<Zeroizing<[u8; 32]>>) -> Self {
        let account = AccountId::new(pair.public.to_bytes());
        Self {
            pair,
            account,
            address: account.to_ss58(),
            seed,
        }
    }

    /// The public key.
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The public key's ss58 address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Signs `message`. Signatures are randomised: two over the same message differ.
    pub fn sign(&self, message: &[u8]) -> SignatureBytes {
        self.pair.sign(CONTEXT.bytes(message)).to_bytes()
    }

    /// The secret's 64 bytes, for a key file.
    pub(crate) fn secret(&self) -> Zeroizing<[u8; 64]> {
        Zeroizing::new(self.pair.secret.to_bytes())
    }

    /// The seed, when the pair was made from one.
    pub(crate) fn seed(&self) -> Option<&Zeroizing<[u8; 32]>> {
        self.seed.as_ref()
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keypair").field(&self.account).finish()
    }
}

/// A public key, decoded, with its address.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    account: AccountId,
    public: PublicKey,
    address: Arc<str>,
}

impl VerifyingKey {
    /// The key of an account; `None` where its bytes are no key.
    pub fn of(account: &AccountId) -> Option<Self> {
        let public = PublicKey::from_bytes(account.as_bytes()).ok()?;
        Some(Self {
            account: *account,
            public,
            address: account.to_ss58().into(),
        })
    }

    /// Whose it is.
    pub const fn account(&self) -> &AccountId {
        &self.account
    }

    /// Its ss58 address.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        self.public.verify(CONTEXT.bytes(message), signature).is_ok()
    }
}

/// That a signature over a message is by a key.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The key.
    pub key: &'a VerifyingKey,
    /// What was signed.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a SignatureBytes,
}

/// Whether `signature` over `message` is by `account`. A key or signature of no valid form verifies nothing.
pub fn verify(account: &AccountId, message: &[u8], signature: &SignatureBytes) -> bool {
    VerifyingKey::of(account)
        .is_some_and(|key| Signature::from_bytes(signature).is_ok_and(|signature| key.verify(message, &signature)))
}

/// Which of these claims hold, in their order. Where all do, that is found out together, which is faster the more there are, and
/// faster still where claims of one key stand next to each other.
pub fn verify_each(claims: &[Claim<'_>]) -> Vec<bool> {
    let signatures: Vec<Option<Signature>> = claims
        .iter()
        .map(|claim| Signature::from_bytes(claim.signature).ok())
        .collect();
    if claims.len() > 1
        && let Some(all) = signatures.iter().copied().collect::<Option<Vec<Signature>>>()
    {
        let transcripts = claims.iter().map(|claim| CONTEXT.bytes(claim.message));
        let keys: Vec<PublicKey> = claims.iter().map(|claim| claim.key.public).collect();
        if schnorrkel::verify_batch(transcripts, &all, &keys, true).is_ok() {
            return vec![true; claims.len()];
        }
    }
    let each = claims.iter().zip(&signatures);
    each.map(|(claim, signature)| signature.as_ref().is_some_and(|s| claim.key.verify(claim.message, s)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_seed_gives_the_key_that_substrate_derives() {
        // Alice's mini secret, as `subkey inspect //Alice` prints it.
        let seed = hex::decode("e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a").unwrap();
        let alice = Keypair::from_seed(seed.try_into().unwrap());
        assert_eq!(
            alice.account().to_string(),
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        );
    }

    #[test]
    fn debug_shows_the_address_and_no_secret() {
        let pair = Keypair::from_seed([7; 32]);
        let shown = format!("{pair:?} {pair:#?}");
        assert!(shown.contains(&pair.account().to_string()));
        assert!(
            !shown.contains(&hex::encode([7u8; 32])) && !shown.contains("7, 7, 7"),
            "{shown}"
        );
        assert!(!shown.contains(&hex::encode(*pair.secret())), "{shown}");
    }

    #[test]
    fn a_scalar_out_of_range_is_no_secret() {
        assert_eq!(Keypair::from_secret(&[0xff; 64]).unwrap_err(), InvalidSecret);
        let pair = Keypair::from_seed([1; 32]);
        assert_eq!(Keypair::from_secret(&pair.secret()).unwrap().account(), pair.account());
    }

    #[test]
    fn two_generated_keys_differ() {
        assert_ne!(Keypair::generate().account(), Keypair::generate().account());
    }

    proptest! {
        #[test]
        fn a_signature_is_good_for_its_key_and_message_only(seed: [u8; 32], message: Vec<u8>, bit in 0usize..512) {
            let (mine, other) = (Keypair::from_seed(seed), Keypair::from_seed([99; 32]));
            let signature = mine.sign(&message);
            prop_assert!(verify(&mine.account(), &message, &signature));
            prop_assert!(!verify(&other.account(), &message, &signature) || mine.account() == other.account());
            let mut longer = message.clone();
            longer.push(0);
            prop_assert!(!verify(&mine.account(), &longer, &signature));
            let mut altered = signature;
            altered[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!verify(&mine.account(), &message, &altered));
        }

        #[test]
        fn together_or_alone_the_verdicts_are_the_same(signers in proptest::collection::vec((0u8..4, any::<bool>(), 0usize..64), 0..12)) {
            let claims: Vec<(VerifyingKey, Vec<u8>, SignatureBytes)> = signers.iter().enumerate().map(|(n, (seed, good, at))| {
                let pair = Keypair::from_seed([*seed; 32]);
                let message = vec![u8::try_from(n).unwrap(); n];
                let mut signature = pair.sign(&message);
                if !good {
                    signature[*at] ^= 1;
                }
                (VerifyingKey::of(&pair.account()).unwrap(), message, signature)
            }).collect();
            let claimed: Vec<Claim<'_>> = claims.iter().map(|(key, message, signature)| Claim { key, message, signature }).collect();
            let alone: Vec<bool> = claims.iter().map(|(key, message, signature)| verify(key.account(), message, signature)).collect();
            prop_assert_eq!(&verify_each(&claimed), &alone);
            let expected: Vec<bool> = signers.iter().map(|(_, good, _)| *good).collect();
            prop_assert_eq!(alone, expected);
        }

        #[test]
        fn any_bytes_as_key_and_signature_verify_nothing(key: [u8; 32], first: [u8; 32], second: [u8; 32]) {
            let mut signature = [0u8; 64];
            signature[..32].copy_from_slice(&first);
            signature[32..].copy_from_slice(&second);
            prop_assert!(!verify(&AccountId::new(key), b"message", &signature));
        }
    }
}
