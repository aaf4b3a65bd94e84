//! A public key of the subnet and its ss58 address.
//!
//! Hotkeys, coldkeys and the ledger's own id are all 32 bytes and are all written in ss58 with Substrate's generic
//! format, 42. An address that was mistyped or belongs to another network's format never becomes an [`AccountId`].

use std::fmt;
use std::str::FromStr;

use blake2::{Blake2b512, Digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Substrate's generic address format, which Bittensor uses.
pub const SS58_FORMAT: u16 = 42;

const CHECKSUM_PREFIX: &[u8] = b"SS58PRE";
const CHECKSUM_LENGTH: usize = 2;
/// 35 bytes make at most 48 characters; longer text is refused before base58's quadratic decoding starts.
const LONGEST_ADDRESS: usize = 64;

/// An sr25519 public key: a hotkey, a coldkey, or the id that a ledger drew for itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId([u8; 32]);

/// Text that is not an ss58 address of format 42.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ss58Error {
    /// A character outside the base58 alphabet, or far too much text.
    #[error("`{0}` is not an ss58 address: not base58")]
    Base58(String),
    /// Not the length of a 32-byte key with prefix and checksum.
    #[error("`{address}` is not an ss58 address of a 32-byte key: {actual} bytes")]
    Length {
        /// As given.
        address: String,
        /// Bytes that it decodes to.
        actual: usize,
    },
    /// The checksum does not fit: most likely a typing error.
    #[error("`{0}` is not an ss58 address: its checksum is wrong (mistyped?)")]
    Checksum(String),
    /// An address of another network's format.
    #[error("`{address}` is an ss58 address of format {actual}, expected {SS58_FORMAT}")]
    Format {
        /// As given.
        address: String,
        /// Its format.
        actual: u16,
    },
}

impl AccountId {
    /// The account of a public key.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The ss58 address, format 42.
    pub fn to_ss58(&self) -> String {
        // Formats below 64 are one byte.
        let mut data = Vec::with_capacity(1 + 32 + CHECKSUM_LENGTH);
        data.push(SS58_FORMAT.to_le_bytes()[0]);
        data.extend_from_slice(&self.0);
        let checksum = checksum(&data);
        data.extend_from_slice(&checksum);
        bs58::encode(data).into_string()
    }

    /// Reads an ss58 address of format 42.
    ///
    /// # Errors
    /// [`Ss58Error`] says what is wrong with it; another network's format is told apart from a typing error.
    pub fn from_ss58(address: &str) -> Result<Self, Ss58Error> {
        if address.len() > LONGEST_ADDRESS {
            return Err(Ss58Error::Base58(
                address.chars().take(LONGEST_ADDRESS).chain(['…']).collect(),
            ));
        }
        let data = bs58::decode(address)
            .into_vec()
            .map_err(|_| Ss58Error::Base58(address.to_owned()))?;
        let wrong_length = || Ss58Error::Length {
            address: address.to_owned(),
            actual: data.len(),
        };
        let (format, prefix) = format_of(&data).ok_or_else(wrong_length)?;
        let (body, given) = data.split_last_chunk::<CHECKSUM_LENGTH>().ok_or_else(wrong_length)?;
        let key: [u8; 32] = body
            .get(prefix..)
            .and_then(|key| key.try_into().ok())
            .ok_or_else(wrong_length)?;
        if checksum(body) != *given {
            return Err(Ss58Error::Checksum(address.to_owned()));
        }
        if format != SS58_FORMAT {
            return Err(Ss58Error::Format {
                address: address.to_owned(),
                actual: format,
            });
        }
        Ok(Self(key))
    }
}

/// The format and the length of its prefix: one byte below 64, two bytes (14 bits) from 64 to 127.
fn format_of(data: &[u8]) -> Option<(u16, usize)> {
    match (data.first().copied()?, data.get(1).copied()) {
        (first @ 0..=63, _) => Some((u16::from(first), 1)),
        (first @ 64..=127, Some(second)) => {
            let lower = (first << 2) | (second >> 6);
            let upper = second & 0b0011_1111;
            Some((u16::from_le_bytes([lower, upper]), 2))
        }
        _ => None,
    }
}

fn checksum(data: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    let hash = Blake2b512::new()
        .chain_update(CHECKSUM_PREFIX)
        .chain_update(data)
        .finalize();
    hash.first_chunk::<CHECKSUM_LENGTH>().copied().unwrap_or_default()
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_ss58())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_ss58())
    }
}

impl FromStr for AccountId {
    type Err = Ss58Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_ss58(text)
    }
}

impl From<[u8; 32]> for AccountId {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

    #[test]
    fn alice_has_the_address_that_every_substrate_tool_gives_her() {
        let key = hex::decode("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d").unwrap();
        let alice = AccountId::new(key.try_into().unwrap());
        assert_eq!(alice.to_string(), ALICE);
        assert_eq!(ALICE.parse(), Ok(alice));
    }

    #[test]
    fn a_mistyped_address_is_refused() {
        let mistyped = ALICE.replace("5zXb", "5zXc");
        assert_eq!(
            AccountId::from_ss58(&mistyped),
            Err(Ss58Error::Checksum(mistyped.clone()))
        );
        assert!(matches!(AccountId::from_ss58("0x1234"), Err(Ss58Error::Base58(_))));
        assert!(matches!(
            AccountId::from_ss58(""),
            Err(Ss58Error::Length { actual: 0, .. })
        ));
        assert!(matches!(
            AccountId::from_ss58(&"5".repeat(100_000)),
            Err(Ss58Error::Base58(_))
        ));
    }

    #[test]
    fn an_address_of_another_network_is_told_apart() {
        // Alice on Polkadot (format 0) and on Kusama (format 2).
        for (address, format) in [
            ("15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5", 0),
            ("HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F", 2),
        ] {
            let error = AccountId::from_ss58(address).unwrap_err();
            assert_eq!(
                error,
                Ss58Error::Format {
                    address: address.to_owned(),
                    actual: format
                }
            );
        }
    }

    proptest! {
        #[test]
        fn every_key_survives_its_address(key: [u8; 32]) {
            let account = AccountId::new(key);
            prop_assert_eq!(account.to_ss58().parse::<AccountId>(), Ok(account));
        }

        #[test]
        fn any_text_is_an_answer_and_no_panic(text: String) {
            let _answer = AccountId::from_ss58(&text);
        }
    }
}
