//! Where the password of a key file comes from, without anybody to ask: `env:NAME` or `file:PATH` ([`SecretSource`]), or the
//! variable that btcli uses too.
//!
//! `BT_PW_` and the file's path, in capitals, with `_` for `/` and `.`, names the variable. It holds base64 of the password
//! xored with the variable's own name: a veil against a glance, not protection.

use std::convert::Infallible;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ContentError, KeyfileError};

/// More than anybody types; a larger file is the wrong one.
const LONGEST: usize = 4 << 10;

/// A password. Never shown, zeroised when dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

impl Password {
    /// This password.
    pub fn new(password: &str) -> Self {
        Self(Zeroizing::new(password.as_bytes().to_vec()))
    }

    /// The first line of a file, without its end.
    ///
    /// # Errors
    /// [`KeyfileError`] when the file cannot be read, or its first line is empty or far too long for a password.
    pub fn from_file(path: &Path) -> Result<Self, KeyfileError> {
        let content = Zeroizing::new(std::fs::read(path).map_err(|reason| KeyfileError::Io {
            path: path.to_owned(),
            reason,
        })?);
        let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.len() > LONGEST {
            return Err(KeyfileError::Content {
                path: path.to_owned(),
                reason: ContentError::Malformed("its first line is not a password".to_owned()),
            });
        }
        Ok(Self(Zeroizing::new(line.to_vec())))
    }

    /// The password that the environment has for a key file, if it has one.
    ///
    /// # Errors
    /// [`KeyfileError`] when the variable is set and cannot be read.
    pub fn from_environment(keyfile: &Path) -> Result<Option<Self>, KeyfileError> {
        let name = variable(keyfile);
        match std::env::var(&name) {
            Err(_) => Ok(None),
            Ok(value) => match unveil(&name, &Zeroizing::new(value)) {
                Some(password) => Ok(Some(password)),
                None => Err(KeyfileError::Content {
                    path: keyfile.to_owned(),
                    reason: ContentError::Malformed(format!(
                        "the variable {name} is not base64 of a veiled password, as btcli writes it"
                    )),
                }),
            },
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A secret that is not where it is said to be.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Something else than a reference, maybe the secret itself; so it is not quoted.
    #[error("a secret is never given itself: say where it is, env:NAME or file:PATH")]
    NotNamed,
    /// A variable that is not set, is empty, or is no text.
    #[error("the variable {0} is not set, or holds no password; export it")]
    Variable(String),
    /// A file that cannot be read, or holds none.
    #[error(transparent)]
    File(#[from] KeyfileError),
}

/// Where a password or another secret is: `env:NAME`, a variable that holds it, or `file:PATH`, a file that does (a password is its
/// first line).
///
/// Any text is taken, and complained of when the secret is read: an error of the command line would quote it, and it may be the
/// secret itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SecretSource(Zeroizing<String>);

impl From<String> for SecretSource {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<SecretSource> for String {
    fn from(source: SecretSource) -> Self {
        source.0.to_string()
    }
}

impl FromStr for SecretSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.split_once(':') {
            Some(("env" | "file", _)) => &self.0,
            _ => "SecretSource(..)",
        })
    }
}

impl SecretSource {
    /// The password that is there.
    ///
    /// # Errors
    /// [`SecretError`] names the place, and never what is in it.
    pub fn password(&self) -> Result<Password, SecretError> {
        match self.0.split_once(':') {
            Some(("env", name)) => Ok(Password::new(&variable_named(name)?)),
            Some(("file", path)) => Ok(Password::from_file(Path::new(path))?),
            _ => Err(SecretError::NotNamed),
        }
    }

    /// The whole text that is there: words, a seed, a key file.
    ///
    /// # Errors
    /// [`SecretError`] names the place, and never what is in it.
    pub fn text(&self) -> Result<Zeroizing<String>, SecretError> {
        match self.0.split_once(':') {
            Some(("env", name)) => variable_named(name),
            Some(("file", path)) => Ok(super::text(Path::new(path))?),
            _ => Err(SecretError::NotNamed),
        }
    }
}

fn variable_named(name: &str) -> Result<Zeroizing<String>, SecretError> {
    match std::env::var(name).map(Zeroizing::new) {
        Ok(value) if (1..=LONGEST).contains(&value.len()) => Ok(value),
        _ => Err(SecretError::Variable(name.to_owned())),
    }
}

/// The variable in which btcli looks for the password of a key file.
pub fn variable(keyfile: &Path) -> String {
    let path = std::path::absolute(keyfile).unwrap_or_else(|_| keyfile.to_owned());
    let name: String = path
        .to_string_lossy()
        .chars()
        .map(|c| if matches!(c, '/' | '.') { '_' } else { c })
        .collect();
    format!("BT_PW_{}", name.to_uppercase())
}

/// The value that [`variable`] has to have for a password.
pub fn veil(name: &str, password: &str) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(xor(password.as_bytes(), name)))
}

fn unveil(name: &str, value: &str) -> Option<Password> {
    let veiled = Zeroizing::new(STANDARD.decode(value.trim()).ok()?);
    (!veiled.is_empty() && veiled.len() <= LONGEST).then(|| Password(xor(&veiled, name)))
}

fn xor(bytes: &[u8], name: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(
        bytes
            .iter()
            .zip(name.bytes().cycle())
            .map(|(byte, veil)| byte ^ veil)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_variable_and_its_value_are_btclis() {
        // As bittensor-wallet 4.1.1 names and writes them.
        let name = variable(Path::new("/home/ann/.bittensor/wallets/mine/coldkey"));
        assert_eq!(name, "BT_PW__HOME_ANN__BITTENSOR_WALLETS_MINE_COLDKEY");
        assert_eq!(*veil(&name, "secret pass"), "MTE8IjIrfzguPjY=");
        assert_eq!(unveil(&name, "MTE8IjIrfzguPjY=").unwrap().bytes(), b"secret pass");
        assert_eq!(variable(Path::new("/w/my.val-1/coldkey")), "BT_PW__W_MY_VAL-1_COLDKEY");
    }

    #[test]
    fn a_password_file_is_its_first_line() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("password");
        std::fs::write(&path, "two words\r\nand more").unwrap();
        assert_eq!(Password::from_file(&path).unwrap().bytes(), b"two words");
        std::fs::write(&path, "\n").unwrap();
        let reason = Password::from_file(&path).unwrap_err().to_string();
        assert!(reason.contains("its first line is not a password"), "{reason}");
        assert!(Password::from_file(&home.path().join("none")).is_err());
        assert_eq!(format!("{:?}", Password::new("hidden")), "Password(..)");
    }

    #[test]
    fn a_password_is_named_and_never_given() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("password");
        std::fs::write(&path, "two words\n").unwrap();
        let source = |text: &str| text.parse::<SecretSource>().unwrap();
        let named = format!("file:{}", path.display());
        assert_eq!(source(&named).password().unwrap().bytes(), b"two words");
        assert_eq!(format!("{:?}", source(&named)), named);
        let missing = source("env:PORTCULLIS_NO_SUCH_PASSWORD")
            .password()
            .unwrap_err()
            .to_string();
        assert!(missing.contains("PORTCULLIS_NO_SUCH_PASSWORD"), "{missing}");
        let nowhere = source("file:/no/such/file").password().unwrap_err().to_string();
        assert!(nowhere.contains("/no/such/file"), "{nowhere}");
        let given = source("correct horse");
        let reason = given.password().unwrap_err().to_string();
        assert!(reason.contains("env:NAME or file:PATH"), "{reason}");
        assert!(!format!("{reason} {given:?}").contains("correct horse"));
    }

    proptest! {
        #[test]
        fn a_veiled_password_comes_back(name in "BT_PW_[A-Z_]{1,40}", password in ".{1,40}") {
            let unveiled = unveil(&name, &veil(&name, &password)).unwrap();
            prop_assert_eq!(unveiled.bytes(), password.as_bytes());
            let _answer = unveil(&name, &password);
        }
    }
}
