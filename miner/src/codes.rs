//! Bytecode by its hash, within a bound.

use engine::{B256, Bytes};
use moka::sync::Cache;

/// What a miner remembers of the bytecode that it was sent. The least used goes first; what is gone is asked for again.
#[derive(Debug, Clone)]
pub struct CodeCache {
    codes: Cache<B256, Bytes>,
}

impl CodeCache {
    /// Room for `bytes` of bytecode.
    pub fn new(bytes: u64) -> Self {
        let weigh = |_: &B256, code: &Bytes| u32::try_from(code.len() + 64).unwrap_or(u32::MAX);
        Self {
            codes: Cache::builder().max_capacity(bytes).weigher(weigh).build(),
        }
    }

    /// Remembers bytecode, which has been checked against its hash.
    pub fn insert(&self, hash: B256, code: Bytes) {
        self.codes.insert(hash, code);
    }

    /// Bytecode, if it is remembered.
    pub fn get(&self, hash: B256) -> Option<Bytes> {
        self.codes.get(&hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bound() {
        let cache = CodeCache::new(10_000);
        for i in 0..100u8 {
            cache.insert(B256::repeat_byte(i), Bytes::from(vec![i; 1_000]));
        }
        cache.codes.run_pending_tasks();
        assert!(cache.codes.weighted_size() <= 10_000);
        assert!(cache.codes.entry_count() > 0);
    }
}
