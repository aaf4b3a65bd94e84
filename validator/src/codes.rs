//! Bytecode by its hash, and which miner has been sent what.
//!
//! The stream carries each bytecode once, and a challenge only what the miner lacks: that is most of the traffic saved. Both
//! records are hints of what the other side has. A wrong one costs a round trip ([`wire::AnswerOutcome::MissingCodes`]), never a verdict.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use engine::{B256, Bytes};
use moka::sync::Cache;

use crate::store::{Hotkey, Store, StoreError};

/// Hashes remembered for one miner; when there are more, all are forgotten and sent again as they are needed.
const REMEMBERED: usize = 50_000;

/// The validator's bytecode: in memory what is used, on disk all.
#[derive(Debug)]
pub struct Codes {
    memory: Cache<B256, Bytes>,
    store: Store,
    sent: Mutex<HashMap<Hotkey, HashSet<B256>>>,
}

impl Codes {
    /// Keeps at most `bytes` in memory.
    pub fn new(store: Store, bytes: u64) -> Self {
        let weigh = |_: &B256, code: &Bytes| u32::try_from(code.len() + 64).unwrap_or(u32::MAX);
        let memory = Cache::builder().max_capacity(bytes).weigher(weigh).build();
        Self {
            memory,
            store,
            sent: Mutex::default(),
        }
    }

    /// Keeps what the stream carried.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert(&self, codes: Vec<(B256, Bytes)>) -> Result<(), StoreError> {
        if codes.is_empty() {
            return Ok(());
        }
        self.store.put_codes(&codes).await?;
        for (hash, code) in codes {
            self.memory.insert(hash, code);
        }
        Ok(())
    }

    /// The bytecodes with these hashes; those that are not known are left out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn get(&self, hashes: &[B256]) -> Result<HashMap<B256, Bytes>, StoreError> {
        let mut found = HashMap::new();
        for &hash in hashes {
            if let Some(code) = self.memory.get(&hash) {
                found.insert(hash, code);
            } else if let Some(code) = self.store.code(hash).await? {
                self.memory.insert(hash, code.clone());
                found.insert(hash, code);
            }
        }
        Ok(found)
    }

    /// Those of `hashes` that this miner has not been sent yet; from now on it has.
    pub fn to_send(&self, miner: Hotkey, hashes: impl IntoIterator<Item = B256>) -> Vec<B256> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sent.entry(miner).or_default();
        if known.len() > REMEMBERED {
            known.clear();
        }
        hashes.into_iter().filter(|hash| known.insert(*hash)).collect()
    }

    /// A miner could not be reached: nobody knows what it has now.
    pub fn forget(&self, miner: &Hotkey) {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).remove(miner);
    }
}
