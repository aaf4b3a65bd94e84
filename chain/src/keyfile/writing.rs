//! New key files: private, whole or not there at all, and never in the place of another.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::content::{ContentError, Fields, SR25519};
use super::password::Password;
use super::{KeyfileError, public_part, read_public, sealed};
use crate::mnemonic;
use crate::wallet::Keypair;

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
