//! What a verdict means, told with a vault whose slot must not fall below 100.

use crate::world::*;
use alloy::{
    consensus::TxLegacy,
    primitives::{TxKind, keccak256},
};
use engine::{
    Address, B256, Bytes, Comparison, Engine, Execution, Hardfork, Invariant, State, Status, Transaction, Transition,
    U256, ValueType, Verdict,
};

#[test]
fn the_four_transitions_of_an_executed_store() {
    let judged = |before: u64, after: u64| {
        let state = world(STORE, &[(1, u(before))]);
        let tx = by_alice(call(VAULT, words(u(1), u(after))));
        let outcome = judge(&state, Hardfork::Cancun, &tx, &[at_least_100(VAULT, 1)]);
        let (verdict, transition) = only(&outcome);
        (
            matches!(verdict, Verdict::Violated(_)),
            matches!(verdict, Verdict::Holds),
            transition.unwrap(),
        )
    };
    assert_eq!(judged(150, 100), (false, true, Transition::Kept));
    assert_eq!(judged(150, 99), (true, false, Transition::Broke));
    assert_eq!(judged(99, 98), (false, true, Transition::StayedBroken));
    assert_eq!(judged(99, 100), (false, true, Transition::Restored));
    assert_eq!(judged(150, 150), (false, true, Transition::Untouched));
}

#[test]
fn invariants_are_judged_in_their_order_and_each_by_its_own_slot_and_contract() {
    let state = world(STORE, &[(1, u(150)), (2, u(150))]);
    let tx = by_alice(call(VAULT, words(u(1), u(5))));
    let (other, elsewhere) = (at_least_100(VAULT, 2), at_least_100(Address::repeat_byte(3), 1));
    let outcome = judge(
        &state,
        Hardfork::Cancun,
        &tx,
        &[other, at_least_100(VAULT, 1), elsewhere],
    );
    let transitions: Vec<_> = outcome
        .judgements
        .iter()
        .map(|judgement| judgement.transition.unwrap())
        .collect();
    assert_eq!(
        transitions,
        [Transition::Untouched, Transition::Broke, Transition::Untouched]
    );
}

#[test]
fn a_value_in_a_packed_slot_is_judged_by_itself() {
    // int64 at byte 8; its neighbours change too.
    let floor = |target: i64| {
        let target = ValueType::Int(64).decode(U256::from(target as u64), 0).unwrap();
        Invariant::new(
            1,
            "signed floor",
            VAULT,
            u(1),
            ValueType::Int(64),
            8,
            Comparison::Gt,
            target,
        )
        .unwrap()
    };
    let packed = |neighbours: u64, value: i64| {
        U256::from(neighbours) | (U256::from(value as u64) << 64) | (U256::from(neighbours) << 128)
    };
    let state = world(STORE, &[(1, packed(7, -3))]);
    let store = |neighbours, value| by_alice(call(VAULT, words(u(1), packed(neighbours, value))));
    let transition = |tx: &Transaction, target| only(&judge(&state, Hardfork::Cancun, tx, &[floor(target)])).1.unwrap();
    assert_eq!(transition(&store(u64::MAX, -3), -10), Transition::Kept);
    assert_eq!(transition(&store(0, -9), -10), Transition::Kept);
    assert_eq!(transition(&store(0, -10), -10), Transition::Broke);
    assert_eq!(transition(&store(0, 1), -1), Transition::Restored);
}

#[test]
fn what_reverts_or_halts_violates_nothing() {
    let tx = by_alice(call(VAULT, words(u(1), u(0))));
    let reverted = judge(
        &world(STORE_AND_REVERT, &[(1, u(150))]),
        Hardfork::Cancun,
        &tx,
        &[at_least_100(VAULT, 1)],
    );
    assert_eq!(execution(&reverted).status, Status::Revert);
    assert_eq!(only(&reverted), (&Verdict::Holds, Some(Transition::Untouched)));
    let halted = judge(
        &world(STORE_AND_HALT, &[(1, u(150))]),
        Hardfork::Cancun,
        &tx,
        &[at_least_100(VAULT, 1)],
    );
    assert!(matches!(execution(&halted).status, Status::Halt(_)));
    assert_eq!(execution(&halted).gas_used, tx.gas_limit());
    assert_eq!(only(&halted), (&Verdict::Holds, Some(Transition::Untouched)));
    assert_ne!(
        execution(&reverted).post_state_digest,
        execution(&halted).post_state_digest
    );
}

#[test]
fn a_creation_is_judged_on_the_storage_that_it_leaves() {
    let state = world(STORE, &[]);
    let tx = by_alice(TxLegacy {
        to: TxKind::Create,
        input: CREATE_WITH_SEVEN.parse::<Bytes>().unwrap(),
        ..call(VAULT, Bytes::new())
    });
    assert_eq!(tx.to(), None);
    let created = alice().address().create(0);
    let zero = Invariant::new(
        1,
        "stays zero",
        created,
        u(0),
        ValueType::Uint(256),
        0,
        Comparison::Eq,
        u(0),
    )
    .unwrap();
    let outcome = judge(&state, Hardfork::Cancun, &tx, &[zero]);
    assert_eq!(execution(&outcome).status, Status::Success);
    assert_eq!(values(&outcome), (u(0), u(7)));
}

#[test]
fn a_destroyed_contract_has_nothing_left_in_any_slot() {
    let state = world(DESTROY, &[(1, u(150)), (2, u(3))]);
    let tx = by_alice(call(VAULT, Bytes::new()));
    let outcome = judge(&state, Hardfork::Shanghai, &tx, &[at_least_100(VAULT, 1)]);
    assert_eq!(execution(&outcome).status, Status::Success);
    assert_eq!(values(&outcome), (u(150), u(0)));
    let broken_before = judge(&state, Hardfork::Shanghai, &tx, &[at_least_100(VAULT, 2)]);
    assert_eq!(only(&broken_before), (&Verdict::Holds, Some(Transition::StayedBroken)));
    // EIP-6780: since Cancun only the balance moves.
    let kept = judge(&state, Hardfork::Cancun, &tx, &[at_least_100(VAULT, 1)]);
    assert_eq!(only(&kept), (&Verdict::Holds, Some(Transition::Untouched)));
}

#[test]
fn a_digest_is_the_documented_hash_of_status_gas_and_everything_that_changed() {
    let state = world(STORE, &[(1, u(150))]);
    let tx = by_alice(call(VAULT, words(u(1), u(99))));
    let outcome = judge(&state, Hardfork::Cancun, &tx, &[]);
    let Execution {
        gas_used,
        post_state_digest,
        ..
    } = *execution(&outcome);
    let env = env(Hardfork::Cancun);
    let price = 10 * GWEI;
    let fee = U256::from(price * u128::from(gas_used));
    let tip = U256::from((price - u128::from(env.base_fee)) * u128::from(gas_used));
    let ether = U256::from(10).pow(u(18));
    let empty = keccak256([]);
    let account = |address: Address, balance: U256, nonce: u64, code_hash: B256, slots: &[(U256, U256)]| {
        let mut bytes = address.to_vec();
        bytes.push(1);
        bytes.extend(balance.to_be_bytes::<32>());
        bytes.extend(nonce.to_be_bytes());
        bytes.extend(code_hash);
        bytes.extend((slots.len() as u64).to_be_bytes());
        for (slot, value) in slots {
            bytes.extend(slot.to_be_bytes::<32>());
            bytes.extend(value.to_be_bytes::<32>());
        }
        bytes
    };
    let mut changed = [
        account(alice().address(), u(10) * ether - fee, 1, empty, &[]),
        account(
            VAULT,
            u(5),
            1,
            state.account(VAULT).unwrap().unwrap().code_hash,
            &[(u(1), u(99))],
        ),
        account(env.beneficiary, tip, 0, empty, &[]),
    ];
    changed.sort();
    let mut bytes = b"portcullis/post-state/1".to_vec();
    bytes.push(0);
    bytes.extend(gas_used.to_be_bytes());
    bytes.extend(0u64.to_be_bytes());
    bytes.extend(changed.concat());
    assert_eq!(post_state_digest, keccak256(bytes));
}

#[test]
fn judging_leaves_no_trace_in_the_state_or_in_the_engine() {
    let state = world(STORE, &[(1, u(150))]);
    let before = state.clone();
    let env = env(Hardfork::Cancun);
    let mut engine = Engine::new(CHAIN);
    let watched = [at_least_100(VAULT, 1)];
    let store = |value: u64| by_alice(call(VAULT, words(u(1), u(value))));
    let first = engine.judge(&env, &store(99), &state, &watched).unwrap();
    engine.judge(&env, &store(3), &state, &watched).unwrap();
    engine
        .judge(&self::env(Hardfork::Frontier), &store(3), &state, &watched)
        .unwrap();
    assert_eq!(engine.judge(&env, &store(99), &state, &watched).unwrap(), first);
    assert_eq!(state, before);
}
