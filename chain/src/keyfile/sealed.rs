//! Key files under a password, as `bittensor-wallet` writes them: `$NACL`, a nonce of 24 bytes, and a NaCl secret box
//! (XSalsa20-Poly1305) under a key that argon2i makes of the password (8 passes over 512 MiB: some seconds, on purpose).
//!
//! Two older forms, Ansible's vault and Fernet, are recognised and named; btcli turns them into this one.

use argon2::{Algorithm, Argon2, Params, Version};
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use zeroize::Zeroizing;

use super::ContentError;
use super::password::Password;

const NACL: &[u8] = b"$NACL";
const NONCE: usize = 24;
const TAG: usize = 16;
const PASSES: u32 = 8;
const MEMORY_KIB: u32 = 512 << 10;
/// Every wallet of Bittensor has the same.
const SALT: [u8; 16] = [
    0x13, 0x71, 0x83, 0xdf, 0xf1, 0x5a, 0x09, 0xbc, 0x9c, 0x90, 0xb5, 0x51, 0x87, 0x39, 0xe9, 0xb1,
];

/// How a file is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Nacl,
    Ansible,
    Fernet,
}

impl Scheme {
    /// The scheme by which `content` is encrypted, if it is.
    pub(super) fn of(content: &[u8]) -> Option<Self> {
        [
            (NACL, Self::Nacl),
            (b"$ANSIBLE_VAULT", Self::Ansible),
            (b"gAAAAA", Self::Fernet),
        ]
        .into_iter()
        .find_map(|(start, scheme)| content.starts_with(start).then_some(scheme))
    }

    /// What the file's content becomes under `password`.
    pub(super) fn open(self, content: &[u8], password: Option<&Password>) -> Result<Zeroizing<Vec<u8>>, ContentError> {
        match self {
            Self::Nacl => open(content, password.ok_or(ContentError::Encrypted("NaCl"))?),
            Self::Ansible => Err(ContentError::Legacy("an Ansible vault")),
            Self::Fernet => Err(ContentError::Legacy("Fernet")),
        }
    }
}

fn cipher(password: &Password) -> Result<XSalsa20Poly1305, ContentError> {
    let mut key = Zeroizing::new([0u8; 32]);
    Params::new(MEMORY_KIB, PASSES, 1, Some(key.len()))
        .map(|params| Argon2::new(Algorithm::Argon2i, Version::V0x13, params))
        .and_then(|argon2| argon2.hash_password_into(password.bytes(), &SALT, key.as_mut_slice()))
        .map_err(|error| ContentError::Malformed(format!("the password cannot be stretched: {error}")))?;
    Ok(XSalsa20Poly1305::new(<&Key>::from(&*key)))
}

fn open(content: &[u8], password: &Password) -> Result<Zeroizing<Vec<u8>>, ContentError> {
    let (nonce, boxed) = content
        .strip_prefix(NACL)
        .and_then(|rest| rest.split_first_chunk::<NONCE>())
        .filter(|(_, boxed)| boxed.len() > TAG)
        .ok_or_else(|| ContentError::Malformed("an encrypted file that is cut off".to_owned()))?;
    cipher(password)?
        .decrypt(<&Nonce>::from(nonce), boxed)
        .map(Zeroizing::new)
        .map_err(|_| ContentError::WrongPassword)
}

/// `plain` under `password`.
pub(super) fn seal(plain: &[u8], password: &Password) -> Result<Vec<u8>, ContentError> {
    let nonce: [u8; NONCE] = rand::random();
    let boxed = cipher(password)?
        .encrypt(<&Nonce>::from(&nonce), plain)
        .map_err(|_| ContentError::Malformed("the file cannot be encrypted".to_owned()))?;
    Ok([NACL, nonce.as_slice(), &boxed].concat())
}
