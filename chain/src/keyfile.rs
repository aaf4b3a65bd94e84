//! Key files as btcli and `bittensor-wallet` keep them: JSON, plain (hotkeys) or under a password (coldkeys), mode 0600 in
//! folders of mode 0700.
//!
//! A file is believed only as far as it agrees with itself: the key derived from its secret must be the address, public
//! key and account id that it states. Older forms are read too (no `cryptoType`, `" ss58Address"` with a leading space,
//! a bare hex seed or mnemonic). What cannot be read is named. Texts that held a secret are zeroised.

mod content;
pub mod password;
mod sealed;
mod writing;

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

pub use self::content::{ContentError, parse};
use self::content::{fields_of, parse_bytes, stated, text_of};
use self::password::Password;
use self::sealed::Scheme;
pub use self::writing::{write, write_with, write_words};
use crate::account::AccountId;
use crate::wallet::Keypair;

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

#[cfg(test)]
mod tests;
