//! Private keys: read once, held by name, never printed, wiped when dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use node::config::Secret;
use zeroize::Zeroizing;

/// The name of the key that a lane uses unless it names another.
pub const DEFAULT: &str = "default";

/// Where a private key is. Exactly one of `hex` and `keystore` is given.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyConfig {
    /// 64 hexadecimal digits, with or without `0x`; better `env:NAME` or `file:PATH` than the digits themselves.
    pub hex: Option<Secret>,
    /// An encrypted key file (Web3 Secret Storage, version 3, as geth, foundry and others write it).
    pub keystore: Option<PathBuf>,
    /// The key file's password.
    pub password: Option<Secret>,
}

/// A private key that cannot be used. No message contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not exactly one source.
    #[error("sender.keys.{0}: give either `hex` or `keystore` with `password`")]
    Source(String),
    /// The reference leads nowhere.
    #[error("sender.keys.{name}: {reason}")]
    Reference {
        /// Name of the key.
        name: String,
        /// What is wrong.
        reason: node::config::ConfigError,
    },
    /// Not a private key.
    #[error("sender.keys.{0}: not a secp256k1 private key; expected 64 hexadecimal digits")]
    Form(String),
    /// The key file cannot be read or decrypted.
    #[error("sender.keys.{name}: key file {path}: {reason}")]
    Keystore {
        /// Name of the key.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Private keys by name.
#[derive(Clone, Default)]
pub struct Keys(BTreeMap<String, PrivateKeySigner>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, signer)| (name, signer.address())))
            .finish()
    }
}

impl Keys {
    /// One key, for all lanes.
    #[must_use]
    pub fn single(signer: PrivateKeySigner) -> Self {
        Self::default().with(DEFAULT, signer)
    }

    /// Adds a key.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, signer: PrivateKeySigner) -> Self {
        self.0.insert(name.into(), signer);
        self
    }

    /// Reads the configured keys. Decrypting a key file takes about a second, on purpose of its format; call it off
    /// the runtime's threads.
    ///
    /// # Errors
    /// [`KeyError`] names the key and what is wrong, never a secret.
    pub fn load(config: &BTreeMap<String, KeyConfig>) -> Result<Self, KeyError> {
        config.iter().try_fold(Self::default(), |keys, (name, source)| {
            Ok(keys.with(name, read(name, source)?))
        })
    }

    /// The account of a name.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<Address> {
        self.0.get(name).map(PrivateKeySigner::address)
    }

    /// All of them, by name.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&str, Address)> {
        self.0.iter().map(|(name, signer)| (name.as_str(), signer.address()))
    }

    /// The private key of a name, to sign what is no transaction (a permit, say).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&PrivateKeySigner> {
        self.0.get(name)
    }
}

fn read(name: &str, source: &KeyConfig) -> Result<PrivateKeySigner, KeyError> {
    let reveal = |secret: &Secret| {
        secret
            .reveal()
            .map(Zeroizing::new)
            .map_err(|reason| KeyError::Reference {
                name: name.to_owned(),
                reason,
            })
    };
    match source {
        KeyConfig {
            hex: Some(secret),
            keystore: None,
            password: None,
        } => parse(&reveal(secret)?).ok_or_else(|| KeyError::Form(name.to_owned())),
        KeyConfig {
            hex: None,
            keystore: Some(path),
            password: Some(password),
        } => {
            let password = reveal(password)?;
            let bytes = eth_keystore::decrypt_key(path, password.as_bytes())
                .map(Zeroizing::new)
                .map_err(|error| KeyError::Keystore {
                    name: name.to_owned(),
                    path: path.clone(),
                    reason: error.to_string(),
                })?;
            PrivateKeySigner::from_slice(&bytes).map_err(|_| KeyError::Form(name.to_owned()))
        }
        _ => Err(KeyError::Source(name.to_owned())),
    }
}

/// A private key from its 64 hexadecimal digits, with or without `0x`; `None`: it is none.
#[must_use]
pub fn parse(text: &str) -> Option<PrivateKeySigner> {
    let digits = text.trim();
    let digits = digits.strip_prefix("0x").unwrap_or(digits);
    let mut bytes = Zeroizing::new([0u8; 32]);
    hex::decode_to_slice(digits, bytes.as_mut_slice()).ok()?;
    PrivateKeySigner::from_slice(bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first development key of anvil and hardhat.
    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    const ADDRESS: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

    fn config(toml: serde_json::Value) -> BTreeMap<String, KeyConfig> {
        BTreeMap::from([("default".to_owned(), serde_json::from_value(toml).unwrap())])
    }

    #[test]
    fn digits_are_read_from_a_file_and_never_printed() {
        let place = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(place.path(), format!("{KEY}\n")).unwrap();
        let keys = Keys::load(&config(
            serde_json::json!({ "hex": format!("file:{}", place.path().display()) }),
        ))
        .unwrap();
        assert_eq!(keys.address("default").unwrap().to_string(), ADDRESS);
        assert!(!format!("{keys:?}").contains("ac0974"));
    }

    /// The test vector of the Web3 Secret Storage Definition, version 3 (PBKDF2).
    const KEYSTORE: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
        "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

    #[test]
    fn a_key_file_opens_with_its_password_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        std::fs::write(&path, KEYSTORE).unwrap();
        let with = |password: &str| Keys::load(&config(serde_json::json!({ "keystore": path, "password": password })));
        assert_eq!(
            with("testpassword").unwrap().address("default").unwrap().to_string(),
            "0x008AeEda4D805471dF9b2A5B0f38A0C3bCBA786b"
        );
        let error = with("hunter3").unwrap_err().to_string();
        assert!(error.contains("key.json") && !error.contains("hunter3"), "{error}");
        std::fs::write(&path, "{}").unwrap();
        assert!(matches!(with("testpassword"), Err(KeyError::Keystore { .. })));
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        for bad in [
            "0x1234",
            "s3cret-no-hex",
            "0x0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            let error = Keys::load(&config(serde_json::json!({ "hex": bad })))
                .unwrap_err()
                .to_string();
            assert!(error.contains("default") && !error.contains(bad), "{error}");
        }
        assert!(matches!(
            Keys::load(&config(serde_json::json!({}))),
            Err(KeyError::Source(_))
        ));
        assert!(matches!(
            Keys::load(&config(serde_json::json!({ "hex": KEY, "keystore": "x" }))),
            Err(KeyError::Source(_))
        ));
    }
}
