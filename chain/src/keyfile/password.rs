//! Where the password of a key file comes from, without anybody to ask: a file, or the variable that btcli uses too.
//!
//! `BT_PW_` and the file's path, in capitals, with `_` for `/` and `.`, names the variable. It holds base64 of the password
//! xored with the variable's own name: a veil against a glance, not protection.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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
        let name = variable(Path::new("/tmp/sub/x_test/coldkey"));
        assert_eq!(name, "BT_PW__TMP_SUB_X_TEST_COLDKEY");
        assert_eq!(*veil(&name, "secret pass"), "MTE8IjIrfyQsIyw=");
        assert_eq!(unveil(&name, "MTE8IjIrfyQsIyw=").unwrap().bytes(), b"secret pass");
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

    proptest! {
        #[test]
        fn a_veiled_password_comes_back(name in "BT_PW_[A-Z_]{1,40}", password in ".{1,40}") {
            let unveiled = unveil(&name, &veil(&name, &password)).unwrap();
            prop_assert_eq!(unveiled.bytes(), password.as_bytes());
            let _answer = unveil(&name, &password);
        }
    }
}
