//! The one secret of a community, and everything that is drawn from it: keys, roles, meetups, challenges.
//!
//! Each draw has a purpose and a number of its own, so that one more draw somewhere changes nothing elsewhere, and a community that is
//! taken up again draws what it would have drawn. Keys made of it are for test networks.

use std::fmt;

use chain::Keypair;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The secret that all draws of a community come from.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// The seed of a number that a user gave.
    pub fn of(number: u64) -> Self {
        Self(Zeroizing::new(Sha256::digest(number.to_be_bytes()).into()))
    }

    /// A seed that nobody knows.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0u8; 32]);
        rand::fill(bytes.as_mut());
        Self(bytes)
    }

    /// The stored one.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// For the community's database.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn derive(&self, purpose: &str, number: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0.as_slice());
        hash.update(number.to_be_bytes());
        hash.update(purpose.as_bytes());
        hash.finalize().into()
    }

    /// Randomness for one purpose.
    pub fn rng(&self, purpose: &str, number: u64) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.derive(purpose, number))
    }

    /// The hotkey of an account.
    pub fn hotkey(&self, account: u32) -> Keypair {
        Keypair::from_seed(self.derive("hotkey", account.into()))
    }

    /// The key that owns the community's embedded ledger (uid 0).
    pub fn owner(&self) -> Keypair {
        Keypair::from_seed(self.derive("owner", 0))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(secret)")
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_purposes_do_not_meet() {
        let draw = |seed: &Seed, purpose, number| seed.rng(purpose, number).random::<u64>();
        let (one, again, other) = (Seed::of(1), Seed::of(1), Seed::of(2));
        assert_eq!(draw(&one, "a", 1), draw(&again, "a", 1));
        assert_ne!(draw(&one, "a", 1), draw(&one, "a", 2));
        assert_ne!(draw(&one, "a", 1), draw(&one, "b", 1));
        assert_ne!(draw(&one, "a", 1), draw(&other, "a", 1));
        assert_ne!(one.hotkey(1).account(), one.hotkey(2).account());
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", Seed::of(1)), "Seed(secret)");
    }
}
