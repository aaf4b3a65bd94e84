//! Hotkey files as btcli and `bittensor-wallet` keep them: plain JSON, mode 0600 in folders of mode 0700.
//!
//! A file is believed only as far as it agrees with itself: the key derived from its secret must be the address, public
//! key and account id that it states. Older forms are read too (no `cryptoType`, `" ss58Address"` with a leading space,
//! a bare hex seed). What cannot be read is named: encrypted files and bare mnemonics are told apart from broken ones.
//! Texts that held a secret are zeroised.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::account::AccountId;
use crate::wallet::Keypair;

/// sr25519 in Substrate's numbering of key types.
const SR25519: u8 = 1;
/// A key file is some 500 bytes.
const LARGEST_FILE: u64 = 64 << 10;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyfileError {
    /// Reading or writing failed.
    #[error("key file {path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// There is a file already; a key is never overwritten.
    #[error("key file {0} exists already; a key is never overwritten, choose another path")]
    Exists(PathBuf),
    /// The content is none of the known forms, or states something impossible. Never quotes the content.
    #[error("key file {path}: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: ContentError,
    },
}

/// What is wrong with a key file's content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The file needs a password.
    #[error("is encrypted ({0}); a hotkey is kept plain, use an unencrypted hotkey file")]
    Encrypted(&'static str),
    /// Only a mnemonic, from which no key is derived here.
    #[error("holds only a mnemonic; let btcli regenerate the hotkey, so that the file has its private key or seed")]
    Mnemonic,
    /// Neither a private key nor a seed.
    #[error("holds no secret; is it the public part (`...pub.txt`)?")]
    NoSecret,
    /// A key type other than sr25519.
    #[error("has cryptoType {0}, expected {SR25519} (sr25519)")]
    CryptoType(u8),
    /// A field that cannot be read.
    #[error("field `{field}`: {reason}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The secret is another key's.
    #[error("field `{field}` says {stated}, but the secret is that of {derived}")]
    Mismatch {
        /// The field that disagrees.
        field: &'static str,
        /// The key it states.
        stated: AccountId,
        /// The key of the secret.
        derived: AccountId,
    },
    /// Not a key file at all.
    #[error("is not a key file: {0}")]
    Malformed(String),
}

/// The JSON of a key file. Deliberately without `Debug`.
#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_phrase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_seed: Option<String>,
    #[serde(alias = " ss58Address", skip_serializing_if = "Option::is_none")]
    ss58_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crypto_type: Option<u8>,
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.private_key.zeroize();
        self.secret_phrase.zeroize();
        self.secret_seed.zeroize();
    }
}

/// Reads the key pair of a plain hotkey file.
///
/// # Errors
/// [`KeyfileError`] names the file and what is wrong with it, and never quotes a secret.
pub fn read(path: &Path) -> Result<Keypair, KeyfileError> {
    let fail = |reason| KeyfileError::Io {
        path: path.to_owned(),
        reason,
    };
    let file = fs::File::open(path).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "key file is open to other users; chmod 600 it");
    }
    let mut text = Zeroizing::new(String::new());
    file.take(LARGEST_FILE).read_to_string(&mut text).map_err(fail)?;
    parse(&text).map_err(|reason| KeyfileError::Content {
        path: path.to_owned(),
        reason,
    })
}

/// Reads the key pair out of a key file's text.
///
/// # Errors
/// [`ContentError`] says what is wrong with it, and never quotes a secret.
pub fn parse(text: &str) -> Result<Keypair, ContentError> {
    let text = text.trim();
    for (start, scheme) in [
        ("$NACL", "NaCl"),
        ("$ANSIBLE_VAULT", "Ansible vault"),
        ("gAAAAA", "Fernet"),
    ] {
        if text.starts_with(start) {
            return Err(ContentError::Encrypted(scheme));
        }
    }
    if text.starts_with('{') {
        return from_fields(&serde_json::from_str(text).map_err(|error| malformed(&error))?);
    }
    let words = text.split_whitespace().count();
    if (12..=24).contains(&words) && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_whitespace()) {
        return Err(ContentError::Mnemonic);
    }
    if words == 1 {
        return Ok(Keypair::from_seed(*bytes::<32>("seed", text)?));
    }
    Err(ContentError::Malformed(
        if text.is_empty() {
            "it is empty"
        } else {
            "neither JSON nor a hex seed"
        }
        .to_owned(),
    ))
}

/// serde_json's own message may quote the value that it stumbled over, which may be a secret.
fn malformed(error: &serde_json::Error) -> ContentError {
    let what = if error.is_eof() {
        "JSON that ends too early"
    } else {
        "JSON of another form"
    };
    ContentError::Malformed(format!("{what} (line {}, column {})", error.line(), error.column()))
}

fn from_fields(fields: &Fields) -> Result<Keypair, ContentError> {
    if let Some(other) = fields.crypto_type.filter(|kind| *kind != SR25519) {
        return Err(ContentError::CryptoType(other));
    }
    let by_seed = match &fields.secret_seed {
        Some(seed) => Some(Keypair::from_seed(*bytes::<32>("secretSeed", seed)?)),
        None => None,
    };
    let by_secret = match &fields.private_key {
        Some(secret) => Some(
            Keypair::from_secret(&*bytes::<64>("privateKey", secret)?).map_err(|error| ContentError::Field {
                field: "privateKey",
                reason: error.to_string(),
            })?,
        ),
        None => None,
    };
    let pair = match (by_seed, by_secret) {
        (Some(pair), Some(other)) if pair.account() != other.account() => {
            let (stated, derived) = (other.account(), pair.account());
            return Err(ContentError::Mismatch {
                field: "privateKey",
                stated,
                derived,
            });
        }
        (Some(pair), _) | (None, Some(pair)) => pair,
        (None, None) if fields.secret_phrase.is_some() => return Err(ContentError::Mnemonic),
        (None, None) => return Err(ContentError::NoSecret),
    };
    let derived = pair.account();
    for (field, value) in [("publicKey", &fields.public_key), ("accountId", &fields.account_id)] {
        let Some(value) = value else { continue };
        let stated = AccountId::new(*bytes::<32>(field, value)?);
        if stated != derived {
            return Err(ContentError::Mismatch { field, stated, derived });
        }
    }
    if let Some(address) = &fields.ss58_address {
        let field = "ss58Address";
        let stated: AccountId = address.parse().map_err(|error| ContentError::Field {
            field,
            reason: format!("{error}"),
        })?;
        if stated != derived {
            return Err(ContentError::Mismatch { field, stated, derived });
        }
    }
    Ok(pair)
}

fn bytes<const N: usize>(field: &'static str, text: &str) -> Result<Zeroizing<[u8; N]>, ContentError> {
    let mut out = Zeroizing::new([0u8; N]);
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode_to_slice(digits, out.as_mut_slice()).map_err(|_| ContentError::Field {
        field,
        reason: format!("is not {N} bytes in hex"),
    })?;
    Ok(out)
}

/// Writes `pair` as a new hotkey file at `path`, and its public part beside it (`<path>pub.txt`).
///
/// Folders that are missing are made with mode 0700; the files get 0600. The key file appears whole or not at all.
///
/// # Errors
/// [`KeyfileError::Exists`] when there is a file at `path`: a key is never overwritten.
pub fn write(path: &Path, pair: &Keypair) -> Result<(), KeyfileError> {
    let fail = |reason: io::Error| match reason.kind() {
        io::ErrorKind::AlreadyExists => KeyfileError::Exists(path.to_owned()),
        _ => KeyfileError::Io {
            path: path.to_owned(),
            reason,
        },
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(fail)?;
    }
    let account = pair.account();
    let key = format!("0x{}", hex::encode(account.as_bytes()));
    let public = || {
        let mut fields = Fields::default();
        fields.account_id = Some(key.clone());
        fields.public_key = Some(key.clone());
        fields.ss58_address = Some(account.to_string());
        fields.crypto_type = Some(SR25519);
        fields
    };
    let mut fields = public();
    fields.private_key = Some(hex_text(pair.secret().as_slice()));
    fields.secret_seed = pair.seed().map(|seed| hex_text(seed.as_slice()));
    create(path, &json(&fields).map_err(fail)?).map_err(fail)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push("pub.txt");
    let beside = PathBuf::from(beside);
    match create(&beside, &json(&public()).map_err(fail)?) {
        // A public part that is there already belongs to a key that was there before; the key file is what counts.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(KeyfileError::Io {
            path: beside,
            reason: error,
        }),
        _ => Ok(()),
    }
}

fn hex_text(bytes: &[u8]) -> String {
    let digits = Zeroizing::new(hex::encode(bytes));
    let mut text = String::with_capacity(2 + digits.len());
    text.push_str("0x");
    text.push_str(&digits);
    text
}

fn json(fields: &Fields) -> io::Result<Zeroizing<Vec<u8>>> {
    Ok(Zeroizing::new(serde_json::to_vec(fields)?))
}

/// Writes a draft with mode 0600 and links it to `path`, which fails if there is anything.
fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}.draft", rand::random::<u64>()));
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    let linked = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    linked.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_key_file_is_private_and_reads_back() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("wallets/default/hotkeys/miner");
        let pair = Keypair::generate();
        write(&path, &pair).unwrap();

        assert_eq!(read(&path).unwrap().account(), pair.account());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "only the key and its public part: {names:?}");
        let public = path.with_file_name("minerpub.txt");
        let reason = read(&public).unwrap_err().to_string();
        assert!(
            reason.contains("minerpub.txt") && reason.contains("holds no secret"),
            "{reason}"
        );
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("hotkey");
        let first = Keypair::generate();
        write(&path, &first).unwrap();
        assert!(matches!(
            write(&path, &Keypair::generate()),
            Err(KeyfileError::Exists(_))
        ));
        assert_eq!(read(&path).unwrap().account(), first.account());
    }

    #[test]
    fn a_missing_file_is_named() {
        let reason = read(Path::new("no/such/hotkey")).unwrap_err().to_string();
        assert!(reason.contains("no/such/hotkey"), "{reason}");
    }

    #[test]
    fn old_forms_are_read() {
        let pair = Keypair::from_seed([3; 32]);
        let seed = hex::encode([3u8; 32]);
        let old = format!(r#"{{"secretSeed": "0x{seed}", " ss58Address": "{}"}}"#, pair.account());
        for text in [seed.clone(), format!("0x{seed}\n"), old] {
            assert_eq!(parse(&text).unwrap().account(), pair.account());
        }
    }

    #[test]
    fn unusable_content_is_told_apart() {
        let other = Keypair::from_seed([4; 32]).account();
        let seed = hex::encode([3u8; 32]);
        let derived = Keypair::from_seed([3; 32]).account();
        let lying = format!(r#"{{"secretSeed": "0x{seed}", "ss58Address": "{other}"}}"#);
        assert_eq!(
            parse(&lying).unwrap_err(),
            ContentError::Mismatch {
                field: "ss58Address",
                stated: other,
                derived
            }
        );
        assert_eq!(parse("$NACL....").unwrap_err(), ContentError::Encrypted("NaCl"));
        assert_eq!(
            parse("abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about")
                .unwrap_err(),
            ContentError::Mnemonic
        );
        assert_eq!(
            parse(&format!(r#"{{"secretSeed": "{seed}", "cryptoType": 0}}"#)).unwrap_err(),
            ContentError::CryptoType(0)
        );
        assert!(matches!(parse(""), Err(ContentError::Malformed(_))));
        assert!(matches!(
            parse("{\"secretSeed\": \"0x12"),
            Err(ContentError::Malformed(_))
        ));
        assert!(matches!(
            parse("0x1234"),
            Err(ContentError::Field { field: "seed", .. })
        ));
    }

    #[test]
    fn an_error_never_quotes_the_secret() {
        let secret = "0xdeadbeefdeadbeef";
        for text in [
            format!(r#"{{"privateKey": "{secret}"}}"#),
            format!(r#"{{"cryptoType": "{secret}"}}"#),
            format!(r#"{{"secretSeed": ["{secret}"]}}"#),
            secret.to_owned(),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("deadbeef"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_answer_and_no_panic(text: String) {
            let _answer = parse(&text);
            let _answer = parse(&format!("{{{text}}}"));
        }
    }
}
