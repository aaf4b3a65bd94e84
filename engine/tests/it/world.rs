//! A small chain with named accounts and contracts: tests read like stories.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy},
    eips::{
        eip2718::Encodable2718,
        eip2930::{AccessList, AccessListItem},
        eip7702::Authorization,
    },
    primitives::{Signature, TxKind, hex},
    signers::{SignerSync, local::PrivateKeySigner},
};
use engine::{
    Account, Address, B256, BlockEnv, Bytes, Comparison, CompleteState, Engine, Execution, Hardfork, Invariant,
    Outcome, Reason, Transaction, Transition, U256, ValueType, Verdict, ViewInvariant, lang::View,
};

pub(crate) const CHAIN: u64 = 1;
/// Block 1000 of the chain.
pub(crate) const NUMBER: u64 = 1000;
pub(crate) const GWEI: u128 = 1_000_000_000;

/// `sstore(calldata[0..32], calldata[32..64])`
pub(crate) const STORE: &str = "60203560003555";
/// The same, then revert.
pub(crate) const STORE_AND_REVERT: &str = "6020356000355560006000fd";
/// The same, then an invalid opcode.
pub(crate) const STORE_AND_HALT: &str = "60203560003555fe";
/// `selfdestruct(caller)`
pub(crate) const DESTROY: &str = "33ff";
/// `loop {}`
pub(crate) const FOREVER: &str = "5b600056";
/// `sstore(0, blockhash(number - 1))`
pub(crate) const STORE_BLOCK_HASH: &str = "436001900340600055";
/// Code that runs to create an empty contract and stores 7 in its slot 0.
pub(crate) const CREATE_WITH_SEVEN: &str = "600760005500";

pub(crate) fn alice() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0xa1)).unwrap()
}

pub(crate) fn bob() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0xb0)).unwrap()
}

pub(crate) const VAULT: Address = Address::repeat_byte(0x77);

pub(crate) const ORACLE: Address = Address::repeat_byte(0x0a);

/// Runs a list of steps from its calldata, 96 bytes each: an address that is called with the two words after it. The zero
/// address stores the second word in the slot of the first, here.
pub(crate) const RUNNER: &str = "60005b80361115603b5760408160200160003780358015602b5760006000604060006000855af1506033565b\
                                 602051600051555b506060016002565b00";

/// Calls the vault with four bytes, and returns twice the word that it returns.
pub(crate) fn doubling() -> String {
    let vault = hex::encode(VAULT);
    format!("602060006004600073{vault}5afa5060005160020260005260206000f3")
}

/// "The first word that this contract returns is at least 100"
pub(crate) fn view(id: u64, contract: Address) -> ViewInvariant {
    ViewInvariant {
        id,
        name: format!("view {id}"),
        view: View {
            contract,
            calldata: Bytes::from_static(&hex!("01020304")),
            word: 0,
            value_type: ValueType::Uint(256),
        },
        comparison: Comparison::Ge,
        target: u(100),
    }
}

pub(crate) fn env(hardfork: Hardfork) -> BlockEnv {
    BlockEnv {
        number: NUMBER,
        timestamp: 1_700_000_000,
        beneficiary: Address::repeat_byte(0xbe),
        gas_limit: 30_000_000,
        base_fee: if hardfork >= Hardfork::London { 7 } else { 0 },
        difficulty: U256::ZERO,
        prevrandao: Some(B256::repeat_byte(1)),
        excess_blob_gas: Some(0),
        hardfork: Some(hardfork),
    }
}

/// Alice has 10 ether; the vault has this code and these slots.
pub(crate) fn world(vault: &str, slots: &[(u64, U256)]) -> CompleteState {
    let mut state = CompleteState::default();
    let ether = U256::from(10).pow(U256::from(18));
    give(&mut state, alice().address(), U256::from(10) * ether);
    contract(&mut state, VAULT, vault);
    let vault = state.0.accounts.get_mut(&VAULT).unwrap();
    vault.storage = slots.iter().map(|(slot, value)| (U256::from(*slot), *value)).collect();
    state
}

pub(crate) fn give(state: &mut CompleteState, address: Address, balance: U256) {
    let account = Account {
        balance,
        ..Account::default()
    };
    state.0.accounts.insert(address, account.into());
}

pub(crate) fn contract(state: &mut CompleteState, address: Address, code: &str) {
    let code = Bytes::from(hex::decode(code).unwrap());
    let account = Account {
        balance: U256::from(5),
        nonce: 1,
        ..Account::default()
    };
    state.0.insert_contract(address, account, code, []);
}

/// Calldata of two words.
pub(crate) fn words(first: impl Into<U256>, second: impl Into<U256>) -> Bytes {
    [first.into().to_be_bytes::<32>(), second.into().to_be_bytes::<32>()]
        .concat()
        .into()
}

pub(crate) fn call(to: Address, input: Bytes) -> TxLegacy {
    TxLegacy {
        chain_id: Some(CHAIN),
        nonce: 0,
        gas_price: 10 * GWEI,
        gas_limit: 200_000,
        to: TxKind::Call(to),
        value: U256::ZERO,
        input,
    }
}

/// Raw bytes of a transaction signed by Alice.
pub(crate) fn signed<T: SignableTransaction<Signature>>(tx: T) -> Vec<u8>
where
    alloy::consensus::Signed<T>: Encodable2718,
{
    let signature = alice().sign_hash_sync(&tx.signature_hash()).unwrap();
    tx.into_signed(signature).encoded_2718()
}

/// The same, decoded.
pub(crate) fn by_alice<T: SignableTransaction<Signature>>(tx: T) -> Transaction
where
    alloy::consensus::Signed<T>: Encodable2718,
{
    let tx = Transaction::decode(&signed(tx)).unwrap();
    assert_eq!(tx.sender(), alice().address());
    tx
}

fn warm_slot_one() -> AccessList {
    AccessList(vec![AccessListItem {
        address: VAULT,
        storage_keys: vec![B256::with_last_byte(1)],
    }])
}

/// `vault.store(slot, value)` as each of the five types that can be a call.
pub(crate) fn store_by_every_type(slot: u64, value: u64) -> [Transaction; 5] {
    let (input, max_fee_per_gas, max_priority_fee_per_gas) =
        (words(U256::from(slot), U256::from(value)), 20 * GWEI, GWEI);
    let authorization = Authorization {
        chain_id: U256::from(CHAIN),
        address: Address::repeat_byte(0xde),
        nonce: 0,
    };
    let signature = bob().sign_hash_sync(&authorization.signature_hash()).unwrap();
    let (chain_id, nonce, gas_limit, to) = (CHAIN, 0, 200_000, TxKind::Call(VAULT));
    let value = U256::ZERO;
    [
        by_alice(call(VAULT, input.clone())),
        by_alice(TxEip2930 {
            chain_id,
            nonce,
            gas_price: 10 * GWEI,
            gas_limit,
            to,
            value,
            access_list: warm_slot_one(),
            input: input.clone(),
        }),
        by_alice(TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to,
            value,
            access_list: AccessList::default(),
            input: input.clone(),
        }),
        by_alice(TxEip4844 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: VAULT,
            value,
            access_list: AccessList::default(),
            blob_versioned_hashes: vec![{
                let mut h = B256::repeat_byte(9);
                h.0[0] = 1;
                h
            }],
            max_fee_per_blob_gas: GWEI,
            input: input.clone(),
        }),
        by_alice(TxEip7702 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: VAULT,
            value,
            access_list: AccessList::default(),
            authorization_list: vec![authorization.into_signed(signature)],
            input,
        }),
    ]
}

/// "uint256 in this slot of this contract is at least 100"
pub(crate) fn at_least_100(contract: Address, slot: u64) -> Invariant {
    Invariant::new(
        1,
        "at least 100",
        contract,
        U256::from(slot),
        ValueType::Uint(256),
        0,
        Comparison::Ge,
        U256::from(100),
    )
    .unwrap()
}

pub(crate) fn judge(state: &CompleteState, hardfork: Hardfork, tx: &Transaction, invariants: &[Invariant]) -> Outcome {
    Engine::new(CHAIN).judge(&env(hardfork), tx, state, invariants).unwrap()
}

pub(crate) fn only(outcome: &Outcome) -> (&Verdict, Option<Transition>) {
    assert_eq!(outcome.judgements.len(), 1);
    (&outcome.judgements[0].verdict, outcome.judgements[0].transition)
}

pub(crate) fn execution(outcome: &Outcome) -> &Execution {
    outcome.execution.as_ref().unwrap()
}

pub(crate) fn values(outcome: &Outcome) -> (U256, U256) {
    match only(outcome) {
        (Verdict::Violated(witness), Some(Transition::Broke)) => (witness.pre, witness.post),
        other => panic!("no violation: {other:?}"),
    }
}

pub(crate) fn undecided(outcome: &Outcome) -> &Reason {
    match only(outcome) {
        (Verdict::Undecided(reason), None) => reason,
        other => panic!("decided: {other:?}"),
    }
}

pub(crate) fn u(value: u64) -> U256 {
    U256::from(value)
}
