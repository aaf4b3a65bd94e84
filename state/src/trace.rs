//! What `prestateTracer` tells: in its ordinary mode facts about the state before, in `diffMode` what a transaction changed.
//!
//! Source: go-ethereum `eth/tracers/native/prestate.go`; anvil and reth give the same shape, with zeros written out.

use alloy::{
    primitives::{KECCAK256_EMPTY, keccak256},
    rpc::types::trace::geth::{AccountState, DiffMode, PreStateMode},
};
use engine::{Account, Bytes, U256};

use crate::{
    diff::{AccountDiff, Change, Diff, Rest},
    facts::Facts,
};

/// The code of an account that delegates (EIP-7702): this and an address.
const DELEGATION: [u8; 3] = [0xef, 0x01, 0x00];

/// Facts about the state that a call was traced on.
pub(crate) fn facts(trace: &PreStateMode) -> Facts {
    let mut facts = Facts::default();
    for (address, state) in &trace.0 {
        let account = account(state, None);
        facts.set_account(*address, account);
        if let Some(code) = state.code.as_ref().filter(|code| !code.is_empty()) {
            facts.codes.insert(keccak256(code), code.clone());
        }
        for (slot, value) in &state.storage {
            facts.set_slot(*address, (*slot).into(), (*value).into());
        }
    }
    facts
}

/// What one transaction did, and what undoes it.
pub(crate) fn diff(trace: &DiffMode) -> (Diff, Diff) {
    let (mut forth, mut back) = (Diff::default(), Diff::default());
    for (address, pre) in &trace.pre {
        let before = account(pre, None);
        add_code(&mut back, pre);
        let Some(post) = trace.post.get(address) else {
            // Destroyed, or empty and so deleted (EIP-161).
            forth.accounts.insert(
                *address,
                AccountDiff {
                    account: Change::Now(None),
                    rest: Rest::Zero,
                    ..AccountDiff::default()
                },
            );
            // Only the slots that it touched are told; it had others.
            back.accounts.insert(
                *address,
                AccountDiff {
                    account: Change::Now(before),
                    storage: words(pre),
                    rest: Rest::Unknown,
                },
            );
            continue;
        };
        add_code(&mut forth, post);
        // A slot set to zero is told before and not after. One that was zero is told after and perhaps not before.
        let mut written = words(pre);
        written.values_mut().for_each(|value| *value = U256::ZERO);
        written.extend(words(post));
        let mut restored = written.clone();
        restored.values_mut().for_each(|value| *value = U256::ZERO);
        restored.extend(words(pre));
        // Code that was taken away is not told apart from code that was kept; a delegation may have been.
        let delegates = pre.code.as_ref().is_some_and(|code| code.starts_with(&DELEGATION));
        let now = if delegates && post.code.is_none() && post.nonce.is_some() {
            Change::Unknown
        } else {
            Change::Now(account(post, Some(pre)))
        };
        // Code where there was none and no transaction ever sent: created just now, on an empty storage.
        let created = before.is_none_or(|before| before.nonce == 0 && !before.has_code()) && has_code(post);
        forth.accounts.insert(
            *address,
            AccountDiff {
                account: now,
                storage: written,
                rest: if created { Rest::Zero } else { Rest::Kept },
            },
        );
        back.accounts.insert(
            *address,
            AccountDiff {
                account: Change::Now(before),
                storage: restored,
                rest: if created { Rest::Zero } else { Rest::Kept },
            },
        );
    }
    for (address, post) in &trace.post {
        if trace.pre.contains_key(address) {
            continue;
        }
        add_code(&mut forth, post);
        forth.accounts.insert(
            *address,
            AccountDiff {
                account: Change::Now(account(post, None)),
                storage: words(post),
                rest: Rest::Zero,
            },
        );
        back.accounts.insert(
            *address,
            AccountDiff {
                account: Change::Now(None),
                rest: Rest::Zero,
                ..AccountDiff::default()
            },
        );
    }
    (forth, back)
}

fn has_code(state: &AccountState) -> bool {
    state.code.as_ref().is_some_and(|code| !code.is_empty())
}

fn add_code(diff: &mut Diff, state: &AccountState) {
    if let Some(code) = state.code.as_ref().filter(|code| !code.is_empty()) {
        diff.codes.insert(keccak256(code), Bytes::clone(code));
    }
}

/// The account; what is not said is as it was before, and without a before it is nothing. `None` when that makes it empty: since
/// EIP-161 there is no such account.
fn account(state: &AccountState, before: Option<&AccountState>) -> Option<Account> {
    let balance = state.balance.or_else(|| before.and_then(|before| before.balance));
    let nonce = state.nonce.or_else(|| before.and_then(|before| before.nonce));
    let code = state
        .code
        .as_ref()
        .or_else(|| before.and_then(|before| before.code.as_ref()));
    let account = Account {
        balance: balance.unwrap_or_default(),
        nonce: nonce.unwrap_or_default(),
        code_hash: code.filter(|code| !code.is_empty()).map_or(KECCAK256_EMPTY, keccak256),
    };
    (account != Account::default()).then_some(account)
}

fn words(state: &AccountState) -> std::collections::BTreeMap<U256, U256> {
    state
        .storage
        .iter()
        .map(|(slot, value)| ((*slot).into(), (*value).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use engine::Address;
    use serde_json::json;

    use super::*;

    const A: &str = "0x0101010101010101010101010101010101010101";
    const fn a() -> Address {
        Address::repeat_byte(1)
    }
    fn read(value: serde_json::Value) -> (Diff, Diff) {
        diff(&serde_json::from_value(value).unwrap())
    }
    fn word(byte: u8) -> String {
        format!("{:#066x}", byte)
    }

    #[test]
    fn an_ordinary_change_names_what_changed_and_keeps_the_rest() {
        let (forth, back) = read(json!({
            "pre": {A: {"balance": "0x5", "nonce": 1, "code": "0x6001", "storage": {word(1): word(7), word(2): word(8)}}},
            "post": {A: {"balance": "0x4", "storage": {word(1): word(9), word(3): word(3)}}},
        }));
        let code_hash = keccak256([0x60, 1]);
        let account = |balance| Account {
            balance: U256::from(balance),
            nonce: 1,
            code_hash,
        };
        assert_eq!(forth.account(a()), Change::Now(Some(account(4))));
        assert_eq!(back.account(a()), Change::Now(Some(account(5))));
        let of = |diff: &Diff, slot: u64| diff.slot(a(), U256::from(slot));
        assert_eq!(of(&forth, 1), Change::Now(U256::from(9)));
        assert_eq!(
            of(&forth, 2),
            Change::Now(U256::ZERO),
            "told before and not after: set to zero"
        );
        assert_eq!(of(&forth, 3), Change::Now(U256::from(3)));
        assert_eq!(of(&forth, 4), Change::Kept);
        assert_eq!(of(&back, 1), Change::Now(U256::from(7)));
        assert_eq!(of(&back, 2), Change::Now(U256::from(8)));
        assert_eq!(of(&back, 3), Change::Now(U256::ZERO), "not told before: it was zero");
    }

    #[test]
    fn a_creation_starts_on_empty_storage_and_undoing_it_leaves_nothing() {
        let (forth, back) = read(json!({
            "pre": {},
            "post": {A: {"balance": "0x0", "nonce": 1, "code": "0x6001", "storage": {word(1): word(9)}}},
        }));
        assert_eq!(forth.slot(a(), U256::from(5)), Change::Now(U256::ZERO));
        assert_eq!(forth.slot(a(), U256::from(1)), Change::Now(U256::from(9)));
        assert_eq!(forth.codes.len(), 1);
        assert_eq!(back.account(a()), Change::Now(None));
        assert_eq!(back.slot(a(), U256::from(1)), Change::Now(U256::ZERO));
    }

    #[test]
    fn a_destruction_leaves_nothing_and_undoing_it_does_not_know_the_slots_nobody_told() {
        let (forth, back) = read(json!({
            "pre": {A: {"balance": "0x5", "nonce": 1, "code": "0x6001", "storage": {word(1): word(7)}}},
            "post": {},
        }));
        assert_eq!(forth.account(a()), Change::Now(None));
        assert_eq!(forth.slot(a(), U256::from(3)), Change::Now(U256::ZERO));
        assert_eq!(back.slot(a(), U256::from(1)), Change::Now(U256::from(7)));
        assert_eq!(back.slot(a(), U256::from(3)), Change::Unknown);
    }

    #[test]
    fn a_delegation_that_may_have_been_taken_away_is_unknown() {
        let delegation = format!("0xef0100{}", "22".repeat(20));
        let (forth, _) = read(json!({
            "pre": {A: {"balance": "0x5", "nonce": 1, "code": delegation}},
            "post": {A: {"nonce": 2}},
        }));
        assert_eq!(forth.account(a()), Change::Unknown);
        let (forth, _) = read(json!({
            "pre": {A: {"balance": "0x5", "nonce": 1, "code": delegation}},
            "post": {A: {"balance": "0x6"}},
        }));
        assert!(
            matches!(forth.account(a()), Change::Now(Some(account)) if account.has_code()),
            "no nonce, no authorisation"
        );
    }

    #[test]
    fn a_traced_call_tells_zeros_and_absence() {
        let trace = serde_json::from_value(json!({
            A: {"balance": "0x0"},
            "0x0202020202020202020202020202020202020202": {"balance": "0x1", "code": "0x6001", "storage": {word(1): word(0)}},
        }));
        let facts = facts(&trace.unwrap());
        assert_eq!(facts.accounts[&a()].account, Some(None));
        let b = &facts.accounts[&Address::repeat_byte(2)];
        assert_eq!(b.storage[&U256::from(1)], U256::ZERO);
        assert!(facts.codes.contains_key(&b.account.unwrap().unwrap().code_hash));
    }
}
