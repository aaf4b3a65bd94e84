//! What wallets there are in a folder, and whose keys they hold, without opening anything that is encrypted.
//!
//! An encrypted key's address is that of its public part beside it. A file that cannot be used is listed with the reason.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::account::AccountId;
use crate::keyfile::{self, KeyfileError};

/// More files in one folder than anybody has.
const MOST: usize = 10_000;
/// The end of a public part's name.
const PUBLIC: &str = "pub.txt";

/// A wallet: a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wallet {
    /// The folder's name.
    pub name: String,
    /// The coldkey, or its public part alone.
    pub coldkey: Option<Key>,
    /// By name.
    pub hotkeys: Vec<Key>,
}

/// A key's file, or its public part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Key {
    /// The file's name.
    pub name: String,
    /// What can be done with it.
    pub form: Form,
    /// Whose it is, where that can be read.
    pub address: Option<AccountId>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// In plain.
    Plain,
    /// Under a password.
    Encrypted,
    /// Its public part only.
    Public,
}

impl Form {
    /// The name that is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Encrypted => "encrypted",
            Self::Public => "public",
        }
    }
}

/// The wallets in `folder`, by name. A folder that is not there has none.
///
/// # Errors
/// [`KeyfileError::Io`] when a folder cannot be read.
pub fn wallets(folder: &Path) -> Result<Vec<Wallet>, KeyfileError> {
    let mut wallets = Vec::new();
    for (name, path) in entries(folder)? {
        if !path.is_dir() {
            continue;
        }
        let hotkeys = entries(&path.join("hotkeys"))?
            .into_iter()
            .filter(|(name, path)| !name.ends_with(PUBLIC) && path.is_file())
            .map(|(name, path)| key(name, &path))
            .collect();
        let coldkey = ["coldkey", "coldkeypub.txt"]
            .into_iter()
            .find(|name| path.join(name).is_file())
            .map(|name| key(name.to_owned(), &path.join(name)));
        wallets.push(Wallet { name, coldkey, hotkeys });
    }
    Ok(wallets)
}

fn key(name: String, path: &Path) -> Key {
    let (form, address) = match keyfile::is_encrypted(path) {
        Ok(true) => (Form::Encrypted, keyfile::address(path, None)),
        Ok(false) if name.ends_with(PUBLIC) => (Form::Public, keyfile::read_public(path)),
        Ok(false) => (Form::Plain, keyfile::address(path, None)),
        Err(error) => (Form::Plain, Err(error)),
    };
    let (address, problem) = match address {
        Ok(address) => (Some(address), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Key {
        name,
        form,
        address,
        problem,
    }
}

/// What is in a folder, by name; hidden files and names that are no text are passed over.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, KeyfileError> {
    let fail = |reason: io::Error| KeyfileError::Io {
        path: folder.to_owned(),
        reason,
    };
    let read = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(fail)?,
    };
    let mut entries = Vec::new();
    for entry in read.take(MOST) {
        let entry = entry.map_err(fail)?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            entries.push((name, entry.path()));
        }
    }
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::Keypair;

    #[test]
    fn wallets_are_listed_with_what_is_wrong_with_them() {
        let home = tempfile::tempdir().unwrap();
        let (cold, hot, other) = (Keypair::generate(), Keypair::generate(), Keypair::generate());
        let mine = home.path().join("mine");
        keyfile::write(&mine.join("coldkey"), &cold).unwrap();
        // As a machine has it whose coldkey is kept elsewhere.
        std::fs::remove_file(mine.join("coldkey")).unwrap();
        keyfile::write(&mine.join("hotkeys/first"), &hot).unwrap();
        std::fs::write(mine.join("hotkeys/cut"), "{\"secretSeed\": \"0x12").unwrap();
        // An encrypted key beside another's public part would show the wrong address, unless it is opened.
        keyfile::write(&mine.join("hotkeys/swapped"), &other).unwrap();
        std::fs::copy(mine.join("hotkeys/firstpub.txt"), mine.join("hotkeys/swappedpub.txt")).unwrap();
        std::fs::write(home.path().join("a file"), "").unwrap();

        let listed = wallets(home.path()).unwrap();
        let [wallet] = listed.as_slice() else {
            panic!("{listed:?}")
        };
        let coldkey = wallet.coldkey.as_ref().unwrap();
        assert_eq!((coldkey.form, coldkey.address), (Form::Public, Some(cold.account())));
        let names: Vec<&str> = wallet.hotkeys.iter().map(|key| key.name.as_str()).collect();
        assert_eq!(names, ["cut", "first", "swapped"]);
        let [cut, first, swapped] = &wallet.hotkeys[..] else {
            panic!()
        };
        assert!(cut.problem.as_ref().unwrap().contains("ends too early"), "{cut:?}");
        assert_eq!((first.form, first.address), (Form::Plain, Some(hot.account())));
        assert!(swapped.problem.as_ref().unwrap().contains("public part"), "{swapped:?}");
        assert!(wallets(&home.path().join("none")).unwrap().is_empty());
    }
}
