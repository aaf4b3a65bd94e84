//! One warm in-memory state for both sides: the engine reads it through its own trait, raw revm through its own.

use alloy::primitives::map::{AddressMap, B256Map, HashMap};
use alloy::primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use engine::{Account, CompleteState, Missing, State, StateError};
use revm::bytecode::Bytecode;
use revm::database_interface::{DBErrorMarker, DatabaseRef};
use revm::state::AccountInfo;

/// The state of one block in hash maps, with code analysed beforehand.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    accounts: AddressMap<AccountInfo>,
    storage: HashMap<(Address, U256), U256>,
    codes: B256Map<Bytes>,
    block_hashes: HashMap<u64, B256>,
}

/// The snapshot does not hold what was asked for. Boxed: revm is faster with a small error, and raw revm shall be as fast as it can.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("missing state: {0}")]
pub struct NotThere(pub Box<Missing>);

impl DBErrorMarker for NotThere {}

impl Snapshot {
    /// The same state in another shape.
    #[must_use]
    pub fn new(state: &CompleteState) -> Self {
        let mut snapshot = Self::default();
        for (hash, code) in &state.0.codes {
            snapshot.codes.insert(*hash, code.clone());
        }
        for (address, known) in &state.0.accounts {
            let Some(account) = known.account else { continue };
            let code = state
                .0
                .codes
                .get(&account.code_hash)
                .map(|code| Bytecode::new_raw(code.clone()));
            let info = AccountInfo::new(
                account.balance,
                account.nonce,
                account.code_hash,
                code.unwrap_or_default(),
            );
            snapshot.accounts.insert(*address, info);
            snapshot
                .storage
                .extend(known.storage.iter().map(|(slot, word)| ((*address, *slot), *word)));
        }
        snapshot
            .block_hashes
            .extend(state.0.block_hashes.iter().map(|(number, hash)| (*number, *hash)));
        snapshot
    }

    fn word(&self, address: Address, slot: U256) -> U256 {
        self.storage.get(&(address, slot)).copied().unwrap_or_default()
    }
}

impl State for Snapshot {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        Ok(self.accounts.get(&address).map(|info| Account {
            balance: info.balance,
            nonce: info.nonce,
            code_hash: info.code_hash,
        }))
    }

    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        self.codes
            .get(&code_hash)
            .cloned()
            .ok_or(StateError::Missing(Missing::Code(code_hash)))
    }

    /// It is whole, as raw revm takes it for: there the code comes with its account.
    fn has_code(&self, _: B256) -> Result<(), StateError> {
        Ok(())
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        Ok(self.word(address, slot))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.block_hashes
            .get(&number)
            .copied()
            .ok_or(StateError::Missing(Missing::BlockHash(number)))
    }
}

impl DatabaseRef for Snapshot {
    type Error = NotThere;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, NotThere> {
        Ok(self.accounts.get(&address).cloned())
    }

    fn code_by_hash_ref(&self, code_hash: B256) -> Result<Bytecode, NotThere> {
        if code_hash == KECCAK256_EMPTY {
            return Ok(Bytecode::default());
        }
        let code = self
            .codes
            .get(&code_hash)
            .cloned()
            .ok_or(NotThere(Box::new(Missing::Code(code_hash))))?;
        Ok(Bytecode::new_raw(code))
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, NotThere> {
        Ok(self.word(address, slot))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, NotThere> {
        self.block_hashes
            .get(&number)
            .copied()
            .ok_or(NotThere(Box::new(Missing::BlockHash(number))))
    }
}
