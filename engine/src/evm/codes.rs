//! Analysed bytecode by hash: finding the jump destinations of a contract costs more than calling it.
//!
//! Bounded by the bytes of code it keeps; full, it starts anew. Every code is checked against its hash before it is kept, so
//! one bad state source cannot poison what is executed on another.

use alloy::primitives::{KECCAK256_EMPTY, keccak256, map::B256HashMap};
use revm::bytecode::Bytecode;

use crate::{B256, Bytes};

/// Analysed bytecode, as much of it as fits.
#[derive(Debug)]
pub(super) struct Codes {
    known: B256HashMap<Bytecode>,
    bytes: usize,
    limit: usize,
}

impl Codes {
    /// Keeps at most so many bytes of code.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            known: B256HashMap::default(),
            bytes: 0,
            limit,
        }
    }

    /// The analysed form of the code with this hash, if it is kept.
    #[inline]
    pub(super) fn known(&self, code_hash: B256) -> Option<&Bytecode> {
        self.known.get(&code_hash)
    }

    /// The analysed form of this code; `Err` when it does not have this hash or is no code that a chain can hold.
    pub(super) fn analysed(&mut self, code_hash: B256, code: Bytes) -> Result<Bytecode, String> {
        if let Some(known) = self.known.get(&code_hash) {
            return Ok(known.clone());
        }
        let actual = if code.is_empty() {
            KECCAK256_EMPTY
        } else {
            keccak256(&code)
        };
        if actual != code_hash {
            return Err(format!("code given for hash {code_hash} has hash {actual}"));
        }
        let size = code.len();
        let bytecode = Bytecode::new_raw_checked(code.clone()).unwrap_or_else(|_| Bytecode::new_legacy(code));
        if self.bytes + size > self.limit {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += size;
        self.known.insert(code_hash, bytecode.clone());
        Ok(bytecode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_does_not_have_its_hash_is_refused_and_not_kept() {
        let mut codes = Codes::new(1024);
        let code = Bytes::from_static(&[0x5b, 0x00]);
        let hash = keccak256(&code);
        assert!(codes.analysed(hash, Bytes::from_static(&[0x00])).is_err());
        assert!(codes.analysed(hash, code.clone()).is_ok());
        // Once known, the hash alone decides.
        assert_eq!(
            codes
                .analysed(hash, Bytes::from_static(&[0x00]))
                .unwrap()
                .original_bytes(),
            code
        );
    }

    #[test]
    fn it_never_keeps_more_than_its_limit() {
        let mut codes = Codes::new(100);
        for n in 0..50u8 {
            let code = Bytes::from(vec![n; 30]);
            codes.analysed(keccak256(&code), code).unwrap();
            assert!(codes.bytes <= 100 && codes.known.len() <= 3);
        }
    }

    #[test]
    fn code_that_only_looks_like_a_delegation_is_plain_code() {
        let mut codes = Codes::new(100);
        let code = Bytes::from_static(&[0xef, 0x01, 0x00, 0x01]);
        assert!(!codes.analysed(keccak256(&code), code).unwrap().is_eip7702());
    }
}
