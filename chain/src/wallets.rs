//! Which key files a user means, said as btcli's users say it: `--wallet.name`, `--wallet.hotkey`, `--wallet.path`.
//!
//! A wallet is a folder, `~/.bittensor/wallets/NAME`, with a `coldkey` (usually encrypted), its public part `coldkeypub.txt`, and
//! `hotkeys/HOTKEY` (plain).

pub mod list;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::keyfile::password::{Password, SecretError, SecretSource};
use crate::keyfile::{self, KeyfileError};
use crate::wallet::Keypair;

/// btcli's name for a wallet and for a hotkey that have none.
pub const DEFAULT_NAME: &str = "default";
/// Where wallets are kept, under the home folder.
pub const DEFAULT_FOLDER: &str = ".bittensor/wallets";

/// A wallet that is not there, or not meant.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// Neither a file nor a wallet was named.
    #[error("no hotkey was given: --hotkey FILE, or --wallet.name NAME and --wallet.hotkey NAME")]
    NoHotkey,
    /// A name that would lead out of the wallets' folder.
    #[error("{flag} `{name}` is not a name: it must not be empty, begin with `.` or have a `/` in it")]
    Name {
        /// The flag.
        flag: &'static str,
        /// What it said.
        name: String,
    },
    /// There is no home folder to look in.
    #[error("there is no home folder (HOME is not set); say where the wallets are by --wallet.path")]
    NoHome,
    /// The file itself.
    #[error(transparent)]
    File(#[from] KeyfileError),
    /// The password that was named.
    #[error("--wallet.password: {0}")]
    Password(#[from] SecretError),
}

/// A wallet, by btcli's flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalletArgs {
    /// Wallet, as btcli names it [default: default]
    #[arg(id = "wallet_name", long = "wallet.name", visible_alias = "wallet-name", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Hotkey in the wallet [default: default]
    #[arg(
        id = "wallet_hotkey",
        long = "wallet.hotkey",
        visible_alias = "wallet-hotkey",
        value_name = "NAME"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotkey: Option<String>,
    /// Folder of the wallets [default: ~/.bittensor/wallets]
    #[arg(id = "wallet_path", long = "wallet.path", visible_alias = "wallet-path", value_name = "FOLDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Where the password of an encrypted key is: env:NAME or file:PATH; without it, btcli's variable BT_PW_... is looked at
    #[arg(
        id = "wallet_password",
        long = "wallet.password",
        visible_alias = "wallet-password",
        value_name = "PLACE"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
}

impl WalletArgs {
    /// Whether a wallet was named.
    pub const fn is_given(&self) -> bool {
        self.name.is_some() || self.hotkey.is_some()
    }

    /// The folder of all wallets.
    ///
    /// # Errors
    /// [`WalletError::NoHome`] where it would be in the home folder and there is none.
    pub fn wallets(&self) -> Result<PathBuf, WalletError> {
        let home = || {
            std::env::var_os("HOME")
                .filter(|home| !home.is_empty())
                .map(PathBuf::from)
        };
        Ok(match &self.path {
            Some(path) => match path.strip_prefix("~") {
                Ok(rest) => home().ok_or(WalletError::NoHome)?.join(rest),
                Err(_) => path.clone(),
            },
            None => home().ok_or(WalletError::NoHome)?.join(DEFAULT_FOLDER),
        })
    }

    /// The wallet's folder.
    ///
    /// # Errors
    /// [`WalletError`] for a name that is none, or without a home folder.
    pub fn folder(&self) -> Result<PathBuf, WalletError> {
        let name = named("--wallet.name", self.name.as_deref())?;
        Ok(self.wallets()?.join(name))
    }

    /// The hotkey's file.
    ///
    /// # Errors
    /// As [`WalletArgs::folder`].
    pub fn hotkey_file(&self) -> Result<PathBuf, WalletError> {
        let hotkey = named("--wallet.hotkey", self.hotkey.as_deref())?;
        Ok(self.folder()?.join("hotkeys").join(hotkey))
    }

    /// The coldkey's file.
    ///
    /// # Errors
    /// As [`WalletArgs::folder`].
    pub fn coldkey_file(&self) -> Result<PathBuf, WalletError> {
        Ok(self.folder()?.join("coldkey"))
    }

    /// The password that the flags name.
    ///
    /// # Errors
    /// [`WalletError::Password`] when it cannot be read.
    pub fn password(&self) -> Result<Option<Password>, WalletError> {
        Ok(self.password.as_ref().map(SecretSource::password).transpose()?)
    }

    /// Which file the hotkey is in: `file` where there is one, or else the named wallet's.
    ///
    /// # Errors
    /// [`WalletError::NoHotkey`] when neither was given; else as [`WalletArgs::folder`].
    pub fn which(&self, file: Option<&Path>) -> Result<PathBuf, WalletError> {
        match file {
            Some(file) => Ok(file.to_owned()),
            None if self.is_given() => self.hotkey_file(),
            None => Err(WalletError::NoHotkey),
        }
    }

    /// Reads the hotkey of [`WalletArgs::which`].
    ///
    /// # Errors
    /// [`WalletError`] names the file and what is wrong with it.
    pub fn read_hotkey(&self, file: Option<&Path>) -> Result<Keypair, WalletError> {
        let path = self.which(file)?;
        Ok(keyfile::read_with(&path, self.password()?.as_ref())?)
    }
}

fn named<'a>(flag: &'static str, name: Option<&'a str>) -> Result<&'a str, WalletError> {
    let name = name.unwrap_or(DEFAULT_NAME);
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(WalletError::Name {
            flag,
            name: name.to_owned(),
        });
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wallet(name: &str, hotkey: Option<&str>) -> WalletArgs {
        WalletArgs {
            name: Some(name.to_owned()),
            hotkey: hotkey.map(str::to_owned),
            path: Some(PathBuf::from("/wallets")),
            password: None,
        }
    }

    #[test]
    fn names_lead_to_btclis_files() {
        let own = wallet("mine", Some("validator"));
        assert_eq!(own.hotkey_file().unwrap(), Path::new("/wallets/mine/hotkeys/validator"));
        assert_eq!(own.coldkey_file().unwrap(), Path::new("/wallets/mine/coldkey"));
        assert_eq!(
            wallet("mine", None).which(None).unwrap(),
            Path::new("/wallets/mine/hotkeys/default")
        );
        assert_eq!(
            own.which(Some(Path::new("file"))).unwrap(),
            Path::new("file"),
            "the file goes first"
        );
        let reason = WalletArgs::default().which(None).unwrap_err().to_string();
        assert!(
            reason.contains("--hotkey FILE") && reason.contains("--wallet.name"),
            "{reason}"
        );
    }

    #[test]
    fn a_name_does_not_lead_elsewhere() {
        for name in ["", "..", "a/b", "../../etc", ".hidden"] {
            assert!(wallet(name, None).folder().is_err(), "{name}");
            assert!(wallet("mine", Some(name)).hotkey_file().is_err(), "{name}");
        }
    }
}
