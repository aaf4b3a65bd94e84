//! API keys: made, checked, forgotten. A key is `pk_PREFIX_SECRET`; the prefix finds it, its argon2 hash proves it.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use rand::RngCore as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::log::LogError;
use crate::store::Store;

/// How long a key that was proven is not proven again. Whether it is revoked is looked up each time.
const PROVEN_FOR: Duration = Duration::from_secs(60);
/// So many are remembered as proven.
const PROVEN: u64 = 1_024;
/// So many proofs at once: each takes 19 MiB and some milliseconds.
const PROOFS: usize = 2;

/// What a key allows; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reading.
    Read,
    /// Reading, and registering what is watched.
    Write,
    /// All of it, and keys.
    Admin,
}

impl Role {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// Whoever asks.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The key's name and prefix, or `anonymous`.
    pub name: String,
    /// What it may do; `None`: no good key was given.
    pub role: Option<Role>,
}

/// A key that was not made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The hash failed.
    #[error("the key cannot be hashed: {0}")]
    Hash(argon2::password_hash::Error),
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Checks keys.
#[derive(Debug, Clone)]
pub struct Keys {
    store: Arc<Store>,
    proven: moka::sync::Cache<[u8; 32], ()>,
    turns: Arc<tokio::sync::Semaphore>,
}

fn hasher() -> Argon2<'static> {
    // OWASP's first recommendation, which is also the library's default, spelt out: 19 MiB, 2 passes, 1 lane.
    Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        Params::new(19 * 1024, 2, 1, None).unwrap_or_default(),
    )
}

/// Makes a key and gives it: it cannot be shown again.
///
/// # Errors
/// [`KeyError`].
pub async fn make(store: &Store, name: &str, role: Role) -> Result<Zeroizing<String>, KeyError> {
    let mut bytes = Zeroizing::new([0_u8; 36]);
    rand::rng().fill_bytes(bytes.as_mut_slice());
    let (prefix, secret) = bytes.split_at(4);
    let (prefix, secret) = (alloy::hex::encode(prefix), Zeroizing::new(alloy::hex::encode(secret)));
    let key = Zeroizing::new(format!("pk_{prefix}_{}", secret.as_str()));
    let salt = SaltString::generate(&mut OsRng);
    let hash = hasher().hash_password(key.as_bytes(), &salt).map_err(KeyError::Hash)?;
    store.add_key(name, role.name(), &prefix, &hash.to_string()).await?;
    Ok(key)
}

impl Keys {
    /// Over the keys of `store`.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        let proven = moka::sync::Cache::builder()
            .max_capacity(PROVEN)
            .time_to_live(PROVEN_FOR)
            .build();
        Self {
            store,
            proven,
            turns: Arc::new(tokio::sync::Semaphore::new(PROOFS)),
        }
    }

    /// Whose key it is; without a role when it is nobody's, or revoked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn check(&self, key: Option<&str>) -> Result<Actor, LogError> {
        let anonymous = Actor {
            name: "anonymous".to_owned(),
            role: None,
        };
        let Some(key) = key else { return Ok(anonymous) };
        let prefix = key.strip_prefix("pk_").and_then(|rest| rest.split_once('_'));
        let Some((prefix, _)) = prefix.filter(|_| key.len() <= 200) else {
            return Ok(anonymous);
        };
        let found = self.store.keys(Some(prefix)).await?.pop();
        let Some(row) = found.filter(|row| row.revoked_at_ms.is_none()) else {
            return Ok(anonymous);
        };
        // Under the digest of key and hash: what is remembered is no key.
        let digest = alloy::primitives::keccak256([key.as_bytes(), row.hash.as_bytes()].concat()).0;
        if self.proven.get(&digest).is_none() {
            let (key, hash) = (Zeroizing::new(key.to_owned()), row.hash.clone());
            let _turn = self.turns.acquire().await;
            let proven = tokio::task::spawn_blocking(move || {
                PasswordHash::new(&hash).is_ok_and(|hash| hasher().verify_password(key.as_bytes(), &hash).is_ok())
            });
            if !proven.await.unwrap_or(false) {
                return Ok(anonymous);
            }
            self.proven.insert(digest, ());
        }
        Ok(Actor {
            name: format!("{} (pk_{})", row.name, row.prefix),
            role: Role::parse(&row.role),
        })
    }
}
