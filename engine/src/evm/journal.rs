//! revm's journal in a box, so that an EVM is put together and taken apart around it without moving it.
//!
//! revm's own `Journal` holds what it writes by value: half a kilobyte to move in and out for every transaction, which costs as much as
//! judging an invariant. Every method is revm's own, handed on: the compiler notices when an update of revm adds one.

use revm::{
    bytecode::Bytecode,
    context::journal::JournalEntry,
    context_interface::{
        JournalTr,
        context::{SStoreResult, SelfDestructResult, StateLoad},
        journaled_state::{
            AccountInfoLoad, AccountLoad, JournalCheckpoint, JournalLoadError, TransferError, account::JournaledAccount,
        },
    },
    primitives::{AddressMap, AddressSet, HashSet, Log, StorageKey, StorageValue, hardfork::SpecId},
    state::{Account, EvmState},
};

use super::{
    database::{ReadError, StateDatabase},
    trace::Undo,
};
use crate::{Address, B256, U256};

/// The journal that an execution writes, and the database that it reads.
pub(super) struct Boxed<'a> {
    pub(super) database: StateDatabase<'a>,
    pub(super) inner: Box<Undo>,
    /// In a traced run: for each log how many entries the journal had when it was emitted.
    pub(super) marks: Option<Vec<usize>>,
}

type LoadError = JournalLoadError<ReadError>;

impl<'a> JournalTr for Boxed<'a> {
    type Database = StateDatabase<'a>;
    type State = EvmState;
    type JournaledAccount<'j>
        = JournaledAccount<'j, StateDatabase<'a>, JournalEntry>
    where
        Self: 'j;

    fn new(database: Self::Database) -> Self {
        Self {
            database,
            inner: Box::new(Undo::new()),
            marks: None,
        }
    }

    #[inline]
    fn db_and_state(&self) -> (&Self::Database, &EvmState) {
        (&self.database, &self.inner.state)
    }

    #[inline]
    fn db_and_state_mut(&mut self) -> (&mut Self::Database, &mut EvmState) {
        (&mut self.database, &mut self.inner.state)
    }

    #[inline]
    fn sload_skip_cold_load(
        &mut self,
        address: Address,
        key: StorageKey,
        skip_cold_load: bool,
    ) -> Result<StateLoad<StorageValue>, LoadError> {
        self.inner
            .sload_assume_account_present(&mut self.database, address, key, skip_cold_load)
    }

    #[inline]
    fn sstore_skip_cold_load(
        &mut self,
        address: Address,
        key: StorageKey,
        value: StorageValue,
        skip_cold_load: bool,
    ) -> Result<StateLoad<SStoreResult>, LoadError> {
        self.inner
            .sstore_assume_account_present(&mut self.database, address, key, value, skip_cold_load)
    }

    #[inline]
    fn tload(&mut self, address: Address, key: StorageKey) -> StorageValue {
        self.inner.tload(address, key)
    }

    #[inline]
    fn tstore(&mut self, address: Address, key: StorageKey, value: StorageValue) {
        self.inner.tstore(address, key, value);
    }

    #[inline]
    fn log(&mut self, log: Log) {
        if let Some(marks) = &mut self.marks {
            // Logs of undone frames are gone, and revm may have added some of its own.
            marks.resize(self.inner.logs.len(), self.inner.journal.len());
            marks.push(self.inner.journal.len());
        }
        self.inner.log(log);
    }

    #[inline]
    fn take_logs(&mut self) -> Vec<Log> {
        self.inner.take_logs()
    }

    #[inline]
    fn logs(&self) -> &[Log] {
        &self.inner.logs
    }

    #[inline]
    fn selfdestruct(
        &mut self,
        address: Address,
        target: Address,
        skip_cold_load: bool,
    ) -> Result<StateLoad<SelfDestructResult>, LoadError> {
        self.inner
            .selfdestruct(&mut self.database, address, target, skip_cold_load)
    }

    #[inline]
    fn warm_access_list(&mut self, access_list: AddressMap<HashSet<StorageKey>>) {
        self.inner.warm_addresses.set_access_list(access_list);
    }

    #[inline]
    fn warm_coinbase_account(&mut self, address: Address) {
        self.inner.warm_addresses.set_coinbase(address);
    }

    #[inline]
    fn warm_precompiles(&mut self, addresses: &AddressSet) {
        self.inner.warm_addresses.set_precompile_addresses(addresses);
    }

    #[inline]
    fn precompile_addresses(&self) -> &AddressSet {
        self.inner.warm_addresses.precompiles()
    }

    #[inline]
    fn set_spec_id(&mut self, spec_id: SpecId) {
        self.inner.cfg.spec = spec_id;
    }

    #[inline]
    fn set_eip7708_config(&mut self, disabled: bool, delayed_clear_disabled: bool) {
        self.inner.set_eip7708_config(disabled, delayed_clear_disabled);
    }

    #[inline]
    fn touch_account(&mut self, address: Address) {
        self.inner.touch(address);
    }

    #[inline]
    fn transfer(&mut self, from: Address, to: Address, balance: U256) -> Result<Option<TransferError>, ReadError> {
        self.inner.transfer(&mut self.database, from, to, balance)
    }

    #[inline]
    fn transfer_loaded(&mut self, from: Address, to: Address, balance: U256) -> Option<TransferError> {
        self.inner.transfer_loaded(from, to, balance)
    }

    #[inline]
    #[expect(deprecated, reason = "revm's trait still asks for it")]
    fn caller_accounting_journal_entry(&mut self, address: Address, old_balance: U256, bump_nonce: bool) {
        self.inner
            .caller_accounting_journal_entry(address, old_balance, bump_nonce);
    }

    #[inline]
    fn balance_incr(&mut self, address: Address, balance: U256) -> Result<(), ReadError> {
        self.inner.balance_incr(&mut self.database, address, balance)
    }

    #[inline]
    #[expect(deprecated, reason = "revm's trait still asks for it")]
    fn nonce_bump_journal_entry(&mut self, address: Address) {
        self.inner.nonce_bump_journal_entry(address);
    }

    #[inline]
    fn load_account(&mut self, address: Address) -> Result<StateLoad<&Account>, ReadError> {
        self.inner.load_account(&mut self.database, address)
    }

    #[inline]
    fn load_account_with_code(&mut self, address: Address) -> Result<StateLoad<&Account>, ReadError> {
        self.inner.load_code(&mut self.database, address)
    }

    #[inline]
    fn load_account_delegated(&mut self, address: Address) -> Result<StateLoad<AccountLoad>, ReadError> {
        self.inner.load_account_delegated(&mut self.database, address)
    }

    #[inline]
    fn load_account_mut_skip_cold_load(
        &mut self,
        address: Address,
        skip_cold_load: bool,
    ) -> Result<StateLoad<Self::JournaledAccount<'_>>, LoadError> {
        self.inner
            .load_account_mut_optional(&mut self.database, address, skip_cold_load)
    }

    #[inline]
    fn load_account_mut_optional_code(
        &mut self,
        address: Address,
        load_code: bool,
    ) -> Result<StateLoad<Self::JournaledAccount<'_>>, ReadError> {
        self.inner
            .load_account_mut_optional_code(&mut self.database, address, load_code, false)
            .map_err(JournalLoadError::unwrap_db_error)
    }

    #[inline]
    fn set_code_with_hash(&mut self, address: Address, code: Bytecode, hash: B256) {
        self.inner.set_code_with_hash(address, code, hash);
    }

    #[inline]
    fn checkpoint(&mut self) -> JournalCheckpoint {
        self.inner.checkpoint()
    }

    #[inline]
    fn checkpoint_commit(&mut self) {
        self.inner.checkpoint_commit();
    }

    #[inline]
    fn checkpoint_revert(&mut self, checkpoint: JournalCheckpoint) {
        self.inner.checkpoint_revert(checkpoint);
    }

    #[inline]
    fn create_account_checkpoint(
        &mut self,
        caller: Address,
        address: Address,
        balance: U256,
        spec_id: SpecId,
    ) -> Result<JournalCheckpoint, TransferError> {
        self.inner.create_account_checkpoint(caller, address, balance, spec_id)
    }

    #[inline]
    fn depth(&self) -> usize {
        self.inner.depth
    }

    #[inline]
    fn commit_tx(&mut self) {
        self.inner.commit_tx();
    }

    #[inline]
    fn discard_tx(&mut self) {
        self.inner.discard_tx();
    }

    #[inline]
    fn finalize(&mut self) -> EvmState {
        self.inner.finalize()
    }

    #[inline]
    fn load_account_info_skip_cold_load(
        &mut self,
        address: Address,
        load_code: bool,
        skip_cold_load: bool,
    ) -> Result<AccountInfoLoad<'_>, LoadError> {
        let spec = self.inner.cfg.spec;
        self.inner
            .load_account_optional(&mut self.database, address, load_code, skip_cold_load)
            .map(|account| {
                AccountInfoLoad::new(
                    &account.data.info,
                    account.is_cold,
                    account.state_clear_aware_is_empty(spec),
                )
            })
    }
}
