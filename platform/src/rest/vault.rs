//! Secrets at rest: encrypted with XChaCha20-Poly1305 under one key of 32 bytes, from the environment or a file.

use std::path::Path;

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand::RngCore as _;
use zeroize::Zeroizing;

/// Bytes of a nonce: at random they do not meet again.
const NONCE: usize = 24;

/// A key that cannot be used, or what it cannot open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Not 64 hexadecimal digits.
    #[error("{0}: the key of the secrets is 64 hexadecimal digits")]
    Form(String),
    /// The file cannot be read or made.
    #[error("{0}: the key of the secrets: {1}")]
    File(String, String),
    /// Another key, or damaged.
    #[error("a stored secret cannot be opened: was it written with another key?")]
    Sealed,
}

/// Opens and closes secrets.
#[derive(Clone)]
pub struct Vault(XChaCha20Poly1305);

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(***)")
    }
}

impl Vault {
    /// With this key, in hexadecimal digits; `from` is what an error names.
    ///
    /// # Errors
    /// [`VaultError::Form`].
    pub fn with_key(from: &str, digits: &str) -> Result<Self, VaultError> {
        let form = || VaultError::Form(from.to_owned());
        let bytes = Zeroizing::new(alloy::hex::decode(digits.trim()).map_err(|_| form())?);
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| form())?;
        Ok(Self(cipher))
    }

    /// With the key in this file, which is made, for its owner's eyes only, when it is not there.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn in_file(path: &Path) -> Result<Self, VaultError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let name = path.display().to_string();
        let fail = |error: std::io::Error| VaultError::File(name.clone(), error.to_string());
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match made {
            Ok(mut file) => {
                let mut key = Zeroizing::new([0_u8; 32]);
                rand::rng().fill_bytes(key.as_mut_slice());
                let digits = Zeroizing::new(alloy::hex::encode(key.as_slice()));
                file.write_all(digits.as_bytes()).map_err(fail)?;
                file.sync_all().map_err(fail)?;
                Self::with_key(&name, &digits)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let digits = Zeroizing::new(std::fs::read_to_string(path).map_err(fail)?);
                Self::with_key(&name, &digits)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Closes a secret.
    #[must_use]
    pub fn seal(&self, secret: &str) -> Vec<u8> {
        let mut nonce = [0_u8; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        // It fails only for texts of more than 256 GiB.
        let body = self
            .0
            .encrypt(&XNonce::from(nonce), secret.as_bytes())
            .unwrap_or_default();
        [nonce.as_slice(), &body].concat()
    }

    /// Opens a secret.
    ///
    /// # Errors
    /// [`VaultError::Sealed`].
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<String>, VaultError> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE>().ok_or(VaultError::Sealed)?;
        let opened = self
            .0
            .decrypt(&XNonce::from(*nonce), body)
            .map_err(|_| VaultError::Sealed)?;
        String::from_utf8(opened)
            .map(Zeroizing::new)
            .map_err(|_| VaultError::Sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_comes_back_and_only_with_its_key() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secrets.key");
        let vault = Vault::in_file(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = vault.seal("123:token");
        assert!(!sealed.windows(5).any(|part| part == b"token"));
        assert_ne!(
            sealed,
            vault.seal("123:token"),
            "the same secret looks different each time"
        );
        assert_eq!(*Vault::in_file(&path).unwrap().open(&sealed).unwrap(), "123:token");
        let other = Vault::with_key("test", &"07".repeat(32)).unwrap();
        assert_eq!(other.open(&sealed), Err(VaultError::Sealed));
        assert_eq!(vault.open(&sealed[..10]), Err(VaultError::Sealed));
        assert!(matches!(Vault::with_key("test", "07"), Err(VaultError::Form(_))));
    }
}
