//! What a transaction changed, read off the journal.

use std::collections::BTreeMap;

use alloy::primitives::Keccak256;
use revm::{
    primitives::hardfork::SpecId,
    state::{Account as JournalAccount, EvmState},
};

use crate::{Account, Address, B256, Bytes, State, StateError, Status, U256};

/// Everything that a transaction changed, with the new values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) accounts: BTreeMap<Address, AccountChange>,
    /// Code that the transaction deployed or delegated to.
    pub(crate) codes: BTreeMap<B256, Bytes>,
}

/// One changed account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AccountChange {
    /// `None`: it does not exist any more, nor does any of its storage.
    pub(crate) account: Option<Account>,
    /// Its storage was empty before the slots below were written.
    pub(crate) created: bool,
    /// New values of slots that changed.
    pub(crate) storage: BTreeMap<U256, U256>,
}

/// What a transaction does to the existence of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unchanged,
    Gone,
    Present,
}

/// True when the account's contract was destroyed in this transaction, and its storage with it.
pub(super) const fn is_destroyed(account: &JournalAccount) -> bool {
    account.is_selfdestructed()
}

fn fate(account: &JournalAccount, spec: SpecId) -> Fate {
    if !account.is_touched() && !is_destroyed(account) {
        return Fate::Unchanged;
    }
    let existed = !account.is_loaded_as_not_existing();
    // EIP-161: since Spurious Dragon a touched account that is empty is deleted; before, touching creates it.
    let deleted = account.is_empty() && spec.is_enabled_in(SpecId::SPURIOUS_DRAGON);
    if is_destroyed(account) || deleted {
        return if existed { Fate::Gone } else { Fate::Unchanged };
    }
    if !existed || account.is_changed() || account.changed_storage_slots().next().is_some() {
        Fate::Present
    } else {
        Fate::Unchanged
    }
}

/// A slot's word before and after; `None` when it was left as it was. Asks the state source only for a slot of a destroyed
/// contract that the transaction itself did not read.
pub(super) fn slot(
    accounts: &EvmState,
    state: &dyn State,
    contract: Address,
    slot: U256,
) -> Result<Option<(U256, U256)>, StateError> {
    let Some(account) = accounts.get(&contract) else {
        return Ok(None);
    };
    let loaded = account.storage.get(&slot);
    let (pre, post) = if is_destroyed(account) {
        let pre = match loaded {
            Some(value) => value.original_value,
            // A contract that did not exist before the transaction had no storage.
            None if account.is_loaded_as_not_existing() || account.is_created() => U256::ZERO,
            None => state.storage(contract, slot)?,
        };
        (pre, U256::ZERO)
    } else {
        let Some(value) = loaded else { return Ok(None) };
        (value.original_value, value.present_value)
    };
    Ok((pre != post).then_some((pre, post)))
}

/// A slot's word before and after, changed or not.
pub(super) fn words(
    accounts: Option<&EvmState>,
    state: &dyn State,
    contract: Address,
    key: U256,
) -> Result<(U256, U256), StateError> {
    if let Some(accounts) = accounts {
        if let Some(words) = slot(accounts, state, contract, key)? {
            return Ok(words);
        }
        if let Some(account) = accounts.get(&contract) {
            if let Some(loaded) = account.storage.get(&key) {
                return Ok((loaded.original_value, loaded.original_value));
            }
            if account.is_created() || account.is_loaded_as_not_existing() {
                return Ok((U256::ZERO, U256::ZERO));
            }
        }
    }
    let word = state.storage(contract, key)?;
    Ok((word, word))
}

/// An account before and after.
pub(super) fn account(
    accounts: Option<&EvmState>,
    spec: SpecId,
    state: &dyn State,
    address: Address,
) -> Result<(Option<Account>, Option<Account>), StateError> {
    match accounts.and_then(|accounts| accounts.get(&address)) {
        Some(account) => Ok(before_and_after(account, spec)),
        None => {
            let account = state.account(address)?;
            Ok((account, account))
        }
    }
}

/// An account before and after the transaction; `None` when it does not exist (since EIP-161 an empty one does not).
pub(super) fn before_and_after(account: &JournalAccount, spec: SpecId) -> (Option<Account>, Option<Account>) {
    let of = |info: &revm::state::AccountInfo| Account {
        balance: info.balance,
        nonce: info.nonce,
        code_hash: info.code_hash,
    };
    let before = (!account.is_loaded_as_not_existing()).then(|| of(&account.original_info()));
    let after = match fate(account, spec) {
        Fate::Unchanged => before,
        Fate::Gone => None,
        Fate::Present => Some(of(&account.info)),
    };
    (before, after)
}

/// Buffers for sorting, kept from one digest to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    addresses: Vec<Address>,
    slots: Vec<(U256, U256)>,
}

/// The digest described at [`crate::Execution::post_state_digest`].
pub(super) fn digest(
    status: &Status,
    gas_used: u64,
    logs: usize,
    state: &EvmState,
    spec: SpecId,
    scratch: &mut Scratch,
) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(b"portcullis/post-state/1");
    hasher.update([status.tag()]);
    hasher.update(gas_used.to_be_bytes());
    hasher.update((logs as u64).to_be_bytes());
    scratch.addresses.clear();
    scratch.addresses.extend(
        state
            .iter()
            .filter(|(_, a)| fate(a, spec) != Fate::Unchanged)
            .map(|(address, _)| *address),
    );
    scratch.addresses.sort_unstable();
    for address in &scratch.addresses {
        let Some(account) = state.get(address) else { continue };
        hasher.update(address);
        if fate(account, spec) == Fate::Gone {
            hasher.update([0]);
            continue;
        }
        hasher.update([1]);
        hasher.update(account.info.balance.to_be_bytes::<32>());
        hasher.update(account.info.nonce.to_be_bytes());
        hasher.update(account.info.code_hash);
        scratch.slots.clear();
        scratch.slots.extend(
            account
                .changed_storage_slots()
                .map(|(slot, value)| (*slot, value.present_value)),
        );
        scratch.slots.sort_unstable_by_key(|(slot, _)| *slot);
        hasher.update((scratch.slots.len() as u64).to_be_bytes());
        for (slot, value) in &scratch.slots {
            hasher.update(slot.to_be_bytes::<32>());
            hasher.update(value.to_be_bytes::<32>());
        }
    }
    hasher.finalize()
}

/// The changes themselves, for whoever goes on from this transaction.
pub(super) fn changes(state: &EvmState, spec: SpecId) -> Changes {
    let mut changes = Changes::default();
    for (address, account) in state {
        let change = match fate(account, spec) {
            Fate::Unchanged => continue,
            Fate::Gone => AccountChange {
                account: None,
                created: false,
                storage: BTreeMap::new(),
            },
            Fate::Present => {
                let info = &account.info;
                if let Some(code) = info.code.as_ref().filter(|code| !code.is_empty()) {
                    changes.codes.insert(info.code_hash, code.original_bytes());
                }
                AccountChange {
                    account: Some(Account {
                        balance: info.balance,
                        nonce: info.nonce,
                        code_hash: info.code_hash,
                    }),
                    created: account.is_created(),
                    storage: account
                        .changed_storage_slots()
                        .map(|(slot, value)| (*slot, value.present_value))
                        .collect(),
                }
            }
        };
        changes.accounts.insert(*address, change);
    }
    changes
}
