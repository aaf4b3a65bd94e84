//! The text of a key file: its fields, the forms that there were, and whether all that it states is one key.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::password::Password;
use super::sealed::Scheme;
use crate::account::AccountId;
use crate::mnemonic::{self, InvalidMnemonic};
use crate::wallet::Keypair;

/// sr25519 in Substrate's numbering of key types.
pub(super) const SR25519: u8 = 1;

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
pub(super) struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) public_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) private_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_phrase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) secret_seed: Option<String>,
    #[serde(alias = " ss58Address", skip_serializing_if = "Option::is_none")]
    pub(super) ss58_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) crypto_type: Option<u8>,
}

impl Drop for Fields {
    fn drop(&mut self) {
        self.private_key.zeroize();
        self.secret_phrase.zeroize();
        self.secret_seed.zeroize();
    }
}

pub(super) fn text_of(content: &[u8]) -> Result<&str, ContentError> {
    std::str::from_utf8(content).map_err(|_| ContentError::Malformed("it is not text".to_owned()))
}

pub(super) fn fields_of(text: &str) -> Result<Fields, ContentError> {
    serde_json::from_str(text).map_err(|error| malformed(&error))
}

/// The key that a public part states, each of its fields agreeing.
pub(super) fn stated(fields: &Fields) -> Result<AccountId, ContentError> {
    let address = fields.ss58_address.as_ref().ok_or(ContentError::NoSecret)?;
    let account = address.parse().map_err(|error| ContentError::Field {
        field: "ss58Address",
        reason: format!("{error}"),
    })?;
    check(fields, account)?;
    Ok(account)
}

pub(super) fn parse_bytes(content: &[u8], password: Option<&Password>) -> Result<Keypair, ContentError> {
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
