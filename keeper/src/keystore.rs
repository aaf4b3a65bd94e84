//! Encrypted key files: Web3 Secret Storage, version 3, as geth, foundry and others write and read them.
//!
//! What always holds: a key is written encrypted or not at all, an existing file is never overwritten, and only the address is shown.

use std::path::Path;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use node::config::{ConfigError, Secret};
use sender::keys;
use zeroize::Zeroizing;

/// A key file that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A secret is not where it is said to be.
    #[error(transparent)]
    Secret(#[from] ConfigError),
    /// The place.
    #[error("key file {path}: {reason}")]
    File {
        /// As given.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// An empty password protects nothing.
    #[error("the password is empty: a key file without one protects nothing")]
    NoPassword,
    /// Not a private key.
    #[error("not a secp256k1 private key; expected 64 hexadecimal digits")]
    Form,
}

/// Writes a key file and gives its address: a new key, or the one that `import` is. Takes about a second, on purpose of the format.
///
/// # Errors
/// [`KeystoreError`], never with a secret in it.
pub fn create(path: &Path, password: &Secret, import: Option<&Secret>) -> Result<Address, KeystoreError> {
    let fail = |reason: String| KeystoreError::File {
        path: path.display().to_string(),
        reason,
    };
    let password = Zeroizing::new(password.reveal()?);
    if password.is_empty() {
        return Err(KeystoreError::NoPassword);
    }
    if path.exists() {
        return Err(fail(
            "it is there already, and key files are not overwritten".to_owned(),
        ));
    }
    let key = match import {
        Some(secret) => keys::parse(&Zeroizing::new(secret.reveal()?)).ok_or(KeystoreError::Form)?,
        None => PrivateKeySigner::random(),
    };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(fail("it has no name".to_owned()));
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    std::fs::create_dir_all(folder).map_err(|error| fail(error.to_string()))?;
    let bytes = Zeroizing::new(key.to_bytes().0);
    eth_keystore::encrypt_key(
        folder,
        &mut rand_keystore::rngs::OsRng,
        bytes.as_slice(),
        password.as_bytes(),
        Some(name),
    )
    .map_err(|error| fail(error.to_string()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| fail(error.to_string()))?;
    }
    Ok(key.address())
}

#[cfg(test)]
mod tests {
    use sender::keys::{DEFAULT, KeyConfig, Keys};

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::from(text.to_owned())
    }

    #[test]
    fn what_was_written_opens_with_its_password_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/worker.json");
        let key = secret("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
        let address = create(&path, &secret("hunter2"), Some(&key)).unwrap();
        assert_eq!(address.to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\"version\":3") && !text.contains("ac0974bec39a"),
            "{text}"
        );
        let config = KeyConfig {
            keystore: Some(path.clone()),
            password: Some(secret("hunter2")),
            ..KeyConfig::default()
        };
        let keys = Keys::load(&[(DEFAULT.to_owned(), config)].into()).unwrap();
        assert_eq!(keys.address(DEFAULT), Some(address));
        let refused = create(&path, &secret("hunter2"), None).unwrap_err().to_string();
        assert!(refused.contains("not overwritten"), "{refused}");
    }

    #[test]
    fn no_password_and_no_key_are_refused_without_showing_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.json");
        assert!(matches!(
            create(&path, &secret(""), None),
            Err(KeystoreError::NoPassword)
        ));
        let refused = create(&path, &secret("pw"), Some(&secret("s3cret")))
            .unwrap_err()
            .to_string();
        assert!(!refused.contains("s3cret"), "{refused}");
        assert!(!path.exists());
    }
}
