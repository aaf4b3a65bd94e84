//! Twelve to twenty-four English words as a key: BIP-39 words, but Substrate's way from them to a seed.
//!
//! Substrate stretches the *entropy* behind the words (PBKDF2-HMAC-SHA512, 2048 rounds, salt `mnemonic`), not the words
//! themselves as Bitcoin wallets do, and takes the first 32 bytes as the mini secret.

use bip39::Mnemonic;
use sha2::Sha512;
use zeroize::{Zeroize, Zeroizing};

use crate::wallet::Keypair;

const ROUNDS: u32 = 2_048;
const SALT: &[u8] = b"mnemonic";
/// Twelve words.
const ENTROPY: usize = 16;

/// Words that are no mnemonic. Never quotes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid mnemonic: 12 to 24 words of the English BIP-39 list, the last of which is a checksum")]
pub struct InvalidMnemonic;

/// The seed that Substrate derives from the words, without a password.
///
/// # Errors
/// [`InvalidMnemonic`] for a word that is not on the list, a wrong number of words or a wrong checksum.
pub fn seed(words: &str) -> Result<Zeroizing<[u8; 32]>, InvalidMnemonic> {
    let mnemonic = Mnemonic::parse_in_normalized(bip39::Language::English, words).map_err(|_| InvalidMnemonic)?;
    let (mut entropy, length) = mnemonic.to_entropy_array();
    let mut stretched = Zeroizing::new([0u8; 64]);
    pbkdf2::pbkdf2_hmac::<Sha512>(
        entropy.get(..length).unwrap_or_default(),
        SALT,
        ROUNDS,
        stretched.as_mut_slice(),
    );
    entropy.zeroize();
    let mut seed = Zeroizing::new([0u8; 32]);
    seed.iter_mut().zip(stretched.iter()).for_each(|(to, from)| *to = *from);
    Ok(seed)
}

/// Twelve new words from the operating system's randomness, and their key.
pub fn generate() -> (Zeroizing<String>, Keypair) {
    loop {
        let mut entropy = Zeroizing::new([0u8; ENTROPY]);
        rand::fill(entropy.as_mut());
        // Sixteen bytes are always twelve words, and twelve such words always a seed.
        let Ok(mnemonic) = Mnemonic::from_entropy_in(bip39::Language::English, entropy.as_slice()) else {
            continue;
        };
        let words = Zeroizing::new(mnemonic.to_string());
        if let Ok(seed) = seed(&words) {
            return (words, Keypair::from_seed(*seed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    #[test]
    fn the_words_give_the_seed_that_every_substrate_tool_derives() {
        // As btcli writes it (`secretSeed`), for these words.
        let expected = "4ed8d4b17698ddeaa1f1559f152f87b5d472f725ca86d341bd0276f1b61197e2";
        assert_eq!(hex::encode(*seed(WORDS).unwrap()), expected);
        assert_eq!(
            Keypair::from_seed(*seed(WORDS).unwrap()).account().to_string(),
            "5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH"
        );
    }

    #[test]
    fn a_mistyped_or_missing_word_is_refused_without_quoting_it() {
        for words in [
            &WORDS[8..],
            &WORDS.replace("about", "abouts"),
            &WORDS.replace("about", "abandon"),
            "",
        ] {
            let error = seed(words).unwrap_err();
            assert!(!error.to_string().contains("abandon"), "{error}");
        }
    }

    #[test]
    fn new_words_lead_to_their_key_and_differ() {
        let (words, pair) = generate();
        assert_eq!(words.split(' ').count(), 12);
        assert_eq!(Keypair::from_seed(*seed(&words).unwrap()).account(), pair.account());
        assert_ne!(*generate().0, *words);
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer_and_no_panic(text: String) {
            let _seed = seed(&text);
        }
    }
}
