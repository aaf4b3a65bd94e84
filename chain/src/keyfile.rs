//! Key files as btcli and `bittensor-wallet` keep them: JSON, plain (hotkeys) or under a password (coldkeys), mode 0600 in
//! folders of mode 0700.
//!
//! A file is believed only as far as it agrees with itself: the key derived from its secret must be the address, public
//! key and account id that it states. Older forms are read too (no `cryptoType`, `" ss58Address"` with a leading space,
//! a bare hex seed or mnemonic). What cannot be read is named. Texts that held a secret are zeroised.

pub mod password;
mod sealed;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use self::password::Password;
use self::sealed::Scheme;
use crate::account::AccountId;
use crate::mnemonic::{self, InvalidMnemonic};
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
    /// The public part beside a key file is another key's.
    #[error("public part {path}: says {stated}, but the key file beside it is that of {derived}; remove the wrong one")]
    PublicPart {
        /// The public part's file.
        path: PathBuf,
        /// The key that it states.
        stated: AccountId,
        /// The key of the secret.
        derived: AccountId,
    },
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
    #[error(
        "is encrypted ({0}) and there is no password for it; say where it is by --wallet.password, or set btcli's variable BT_PW_..."
    )]
    Encrypted(&'static str),
    /// The password does not open the file, or somebody altered it.
    #[error("the password is wrong, or the file was altered")]
    WrongPassword,
    /// Encrypted in a way that is no longer used.
    #[error(
        "is encrypted as {0}, an old form; any command of btcli that unlocks the key turns it into the present form"
    )]
    Legacy(&'static str),
    /// Words from which no key is derived.
    #[error("{0}")]
    Mnemonic(#[from] InvalidMnemonic),
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

/// Reads the key pair of a key file. The password of an encrypted one is that which the environment has for it.
///
/// # Errors
/// [`KeyfileError`] names the file and what is wrong with it, and never quotes a secret.
pub fn read(path: &Path) -> Result<Keypair, KeyfileError> {
    read_with(path, None)
}

/// Reads the key pair of a key file, of an encrypted one with this password (or else with the environment's).
///
/// # Errors
/// [`KeyfileError`] names the file and what is wrong with it, and never quotes a secret.
pub fn read_with(path: &Path, password: Option<&Password>) -> Result<Keypair, KeyfileError> {
    let content = load(path)?;
    let environment = match (Scheme::of(&content), password) {
        (Some(_), None) => Password::from_environment(path)?,
        _ => None,
    };
    parse_bytes(&content, password.or(environment.as_ref())).map_err(|reason| KeyfileError::Content {
        path: path.to_owned(),
        reason,
    })
}

/// Reads whose key a file is: a key file in plain, or its public part (`...pub.txt`).
///
/// # Errors
/// [`KeyfileError`] names the file and what is wrong with it.
pub fn read_public(path: &Path) -> Result<AccountId, KeyfileError> {
    let (content, _mode) = content(path)?;
    let account = match parse_bytes(&content, None) {
        Err(ContentError::NoSecret) => text_of(&content).and_then(|text| stated(&fields_of(text)?)),
        parsed => parsed.map(|pair| pair.account()),
    };
    account.map_err(|reason| KeyfileError::Content {
        path: path.to_owned(),
        reason,
    })
}

/// Whether a file is encrypted, in any of the forms that there were.
///
/// # Errors
/// [`KeyfileError::Io`] when it cannot be read.
pub fn is_encrypted(path: &Path) -> Result<bool, KeyfileError> {
    Ok(Scheme::of(&content(path)?.0).is_some())
}

/// The address of a key file's key: that of its secret where it can be opened, and of an encrypted one without a password that of
/// the public part beside it. Both must agree where both can be read.
///
/// # Errors
/// [`KeyfileError`] names the file and what is wrong with it.
pub fn address(path: &Path, password: Option<&Password>) -> Result<AccountId, KeyfileError> {
    let beside = public_part(path);
    let derived = match read_with(path, password) {
        Err(KeyfileError::Content {
            reason: ContentError::Encrypted(_),
            ..
        }) if beside.exists() => return read_public(&beside),
        read => read?.account(),
    };
    if beside.exists() {
        let stated = read_public(&beside)?;
        if stated != derived {
            return Err(KeyfileError::PublicPart {
                path: beside,
                stated,
                derived,
            });
        }
    }
    Ok(derived)
}

/// Where the public part of a key file is.
fn public_part(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push("pub.txt");
    PathBuf::from(beside)
}

/// A file's text, which may hold a secret.
fn text(path: &Path) -> Result<Zeroizing<String>, KeyfileError> {
    let content = load(path)?;
    let text = text_of(&content).map_err(|reason| KeyfileError::Content {
        path: path.to_owned(),
        reason,
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A file that may hold a secret.
fn load(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyfileError> {
    let (content, mode) = content(path)?;
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "key file is open to other users; chmod 600 it");
    }
    Ok(content)
}

/// What is in a file, and its mode.
fn content(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), KeyfileError> {
    let fail = |reason| KeyfileError::Io {
        path: path.to_owned(),
        reason,
    };
    let file = fs::File::open(path).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.permissions().mode();
    let mut content = Zeroizing::new(Vec::new());
    file.take(LARGEST_FILE).read_to_end(&mut content).map_err(fail)?;
    Ok((content, mode))
}

fn text_of(content: &[u8]) -> Result<&str, ContentError> {
    std::str::from_utf8(content).map_err(|_| ContentError::Malformed("it is not text".to_owned()))
}

fn fields_of(text: &str) -> Result<Fields, ContentError> {
    serde_json::from_str(text).map_err(|error| malformed(&error))
}

/// The key that a public part states, each of its fields agreeing.
fn stated(fields: &Fields) -> Result<AccountId, ContentError> {
    let address = fields.ss58_address.as_ref().ok_or(ContentError::NoSecret)?;
    let account = address.parse().map_err(|error| ContentError::Field {
        field: "ss58Address",
        reason: format!("{error}"),
    })?;
    check(fields, account)?;
    Ok(account)
}

fn parse_bytes(content: &[u8], password: Option<&Password>) -> Result<Keypair, ContentError> {
    match Scheme::of(content) {
        Some(scheme) => parse(text_of(&scheme.open(content, password)?)?),
        None => parse(text_of(content)?),
    }
}

/// Reads the key pair out of a key file's text.
///
/// # Errors
/// [`ContentError`] says what is wrong with it, and never quotes a secret.
pub fn parse(text: &str) -> Result<Keypair, ContentError> {
    let text = text.trim();
    if let Some(scheme) = Scheme::of(text.as_bytes()) {
        let _plain = scheme.open(text.as_bytes(), None)?;
    }
    if text.starts_with('{') {
        return from_fields(&fields_of(text)?);
    }
    let words = text.split_whitespace().count();
    if (12..=24).contains(&words) && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_whitespace()) {
        return Ok(Keypair::from_seed(*mnemonic::seed(text)?));
    }
    if words == 1 {
        return Ok(Keypair::from_seed(*bytes::<32>("seed", text)?));
    }
    Err(ContentError::Malformed(
        if text.is_empty() {
            "it is empty"
        } else {
            "neither JSON nor a hex seed nor a mnemonic"
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
        (None, None) => match &fields.secret_phrase {
            Some(words) => Keypair::from_seed(*mnemonic::seed(words)?),
            None => return Err(ContentError::NoSecret),
        },
    };
    check(fields, pair.account())?;
    Ok(pair)
}

/// Whether everything that the file states is this key.
fn check(fields: &Fields, derived: AccountId) -> Result<(), ContentError> {
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
    Ok(())
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
    write_with(path, pair, None, None)
}

/// As [`write`], with the words that the key is made of, and under a password where there is one.
///
/// # Errors
/// [`KeyfileError::Exists`] when there is a file at `path`: a key is never overwritten. Words of another key are refused, and so is
/// a place beside another key's public part.
pub fn write_with(
    path: &Path,
    pair: &Keypair,
    words: Option<&str>,
    password: Option<&Password>,
) -> Result<(), KeyfileError> {
    let fail = |reason: io::Error| match reason.kind() {
        io::ErrorKind::AlreadyExists => KeyfileError::Exists(path.to_owned()),
        _ => KeyfileError::Io {
            path: path.to_owned(),
            reason,
        },
    };
    let wrong = |reason| KeyfileError::Content {
        path: path.to_owned(),
        reason,
    };
    if path.exists() {
        return Err(KeyfileError::Exists(path.to_owned()));
    }
    let beside = public_part(path);
    if beside.exists() {
        let (stated, derived) = (read_public(&beside)?, pair.account());
        if stated != derived {
            return Err(KeyfileError::PublicPart {
                path: beside,
                stated,
                derived,
            });
        }
    }
    if let Some(words) = words {
        let derived = Keypair::from_seed(*mnemonic::seed(words).map_err(|error| wrong(error.into()))?).account();
        if derived != pair.account() {
            return Err(wrong(ContentError::Mismatch {
                field: "secretPhrase",
                stated: pair.account(),
                derived,
            }));
        }
    }
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
    fields.secret_phrase = words.map(str::to_owned);
    let plain = json(&fields).map_err(fail)?;
    match password {
        Some(password) => create(path, &sealed::seal(&plain, password).map_err(wrong)?).map_err(fail)?,
        None => create(path, &plain).map_err(fail)?,
    }
    match create(&beside, &json(&public()).map_err(fail)?) {
        // The same public part may have been there before its key.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(KeyfileError::Io {
            path: beside,
            reason: error,
        }),
        _ => Ok(()),
    }
}

/// Writes the words of a key into a new file of mode 0600, for whoever keeps them elsewhere.
///
/// # Errors
/// [`KeyfileError::Exists`] when there is a file at `path`.
pub fn write_words(path: &Path, words: &str) -> Result<(), KeyfileError> {
    create(path, words.as_bytes()).map_err(|reason| match reason.kind() {
        io::ErrorKind::AlreadyExists => KeyfileError::Exists(path.to_owned()),
        _ => KeyfileError::Io {
            path: path.to_owned(),
            reason,
        },
    })
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
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
        let address = "5EPCUjPxiHAcNooYipQFWr9NmmXJKpNG5RhcntXwbtUySrgH";
        let old = format!(r#"{{"secretPhrase": "{words}", "ss58Address": "{address}"}}"#);
        for text in [words, &old] {
            assert_eq!(parse(text).unwrap().account().to_string(), address);
        }
    }

    #[test]
    fn an_encrypted_file_opens_with_its_password_only() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("wallets/default/coldkey");
        let (words, pair) = mnemonic::generate();
        let password = Password::new("golden-test-password");
        write_with(&path, &pair, Some(&words), Some(&password)).unwrap();
        assert_eq!(mode(&path), 0o600);
        let content = fs::read(&path).unwrap();
        assert!(content.starts_with(b"$NACL"));

        assert_eq!(read_with(&path, Some(&password)).unwrap().account(), pair.account());
        let reason = |error: KeyfileError| match error {
            KeyfileError::Content { reason, .. } => reason,
            other => panic!("{other}"),
        };
        let wrong = Password::new("golden-test-passwort");
        assert_eq!(
            reason(read_with(&path, Some(&wrong)).unwrap_err()),
            ContentError::WrongPassword
        );
        assert_eq!(reason(read(&path).unwrap_err()), ContentError::Encrypted("NaCl"));
        assert_eq!(
            read_public(&path.with_file_name("coldkeypub.txt")).unwrap(),
            pair.account()
        );

        fs::write(&path, &content[..40]).unwrap();
        let cut = reason(read_with(&path, Some(&password)).unwrap_err()).to_string();
        assert!(cut.contains("cut off"), "{cut}");
    }

    #[test]
    fn a_key_is_not_written_beside_anothers_public_part() {
        let home = tempfile::tempdir().unwrap();
        let (cold, path) = (Keypair::generate(), home.path().join("coldkey"));
        write(&path, &cold).unwrap();
        fs::remove_file(&path).unwrap();
        let refused = write(&path, &Keypair::generate()).unwrap_err();
        assert!(matches!(refused, KeyfileError::PublicPart { .. }), "{refused}");
        assert!(!path.exists());
        write(&path, &cold).unwrap();
        assert_eq!(address(&path, None).unwrap(), cold.account());
    }

    #[test]
    fn words_of_another_key_are_not_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("hotkey");
        let (words, _) = mnemonic::generate();
        let refused = write_with(&path, &Keypair::generate(), Some(&words), None).unwrap_err();
        assert!(refused.to_string().contains("secretPhrase"), "{refused}");
        assert!(!path.exists());
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
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon";
        assert_eq!(parse(words).unwrap_err(), ContentError::Mnemonic(InvalidMnemonic));
        assert_eq!(
            parse("$ANSIBLE_VAULT;1.1;AES256").unwrap_err(),
            ContentError::Legacy("an Ansible vault")
        );
        assert_eq!(parse("gAAAAABk").unwrap_err(), ContentError::Legacy("Fernet"));
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
