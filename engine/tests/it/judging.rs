//! What a verdict means, told with a vault whose slot must not fall below 100.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::cell::Cell;

use crate::world::*;
use alloy::{
    consensus::{TxEip7702, TxLegacy},
    eips::{eip2930::AccessList, eip7702::Authorization},
    primitives::{TxKind, keccak256},
    signers::SignerSync,
};
use engine::{
    Account, Address, B256, BlockEnv, Bytes, Comparison, CompleteState, Engine, EngineError, Execution, Hardfork,
    Invariant, Missing, Outcome, Prestate, Reason, Recorder, State, StateError, Status, Transaction, Transition, U256,
    ValueType, Verdict,
};

fn only(outcome: &Outcome) -> (&Verdict, Option<Transition>) {
    assert_eq!(outcome.judgements.len(), 1);
    (&outcome.judgements[0].verdict, outcome.judgements[0].transition)
}

fn execution(outcome: &Outcome) -> &Execution {
    outcome.execution.as_ref().unwrap()
}

fn values(outcome: &Outcome) -> (U256, U256) {
    match only(outcome) {
        (Verdict::Violated(witness), Some(Transition::Broke)) => (witness.pre, witness.post),
        other => panic!("no violation: {other:?}"),
    }
}

fn undecided(outcome: &Outcome) -> &Reason {
    match only(outcome) {
        (Verdict::Undecided(reason), None) => reason,
        other => panic!("decided: {other:?}"),
    }
}

fn u(value: u64) -> U256 {
    U256::from(value)
}

#[test]
fn a_store_below_the_floor_is_found_in_each_of_the_five_transaction_types() {
    let state = world(STORE, &[(1, u(150))]);
    for (tx_type, tx) in store_by_every_type(1, 99).into_iter().enumerate() {
        assert_eq!(usize::from(tx.tx_type()), tx_type);
        let outcome = judge(&state, Hardfork::Prague, &tx, &[at_least_100(VAULT, 1)]);
        assert_eq!(execution(&outcome).status, Status::Success, "type {tx_type}");
        assert_eq!(values(&outcome), (u(150), u(99)), "type {tx_type}");
        let witness = outcome.violations().next().unwrap();
        assert_eq!(
            (witness.tx_hash, witness.contract, witness.slot),
            (tx.hash(), VAULT, u(1))
        );
        assert_eq!(witness.engine_version, engine::ENGINE_VERSION);
    }
}

#[test]
fn a_type_that_the_rules_do_not_have_yet_is_an_invalid_transaction() {
    let state = world(STORE, &[(1, u(150))]);
    let last_without = [
        None,
        Some(Hardfork::Istanbul),
        Some(Hardfork::Berlin),
        Some(Hardfork::Shanghai),
        Some(Hardfork::Cancun),
    ];
    for (tx, last_without) in store_by_every_type(1, 99).into_iter().zip(last_without) {
        let Some(hardfork) = last_without else { continue };
        let outcome = judge(&state, hardfork, &tx, &[at_least_100(VAULT, 1)]);
        assert!(
            matches!(undecided(&outcome), Reason::InvalidTransaction(_)),
            "type {}",
            tx.tx_type()
        );
    }
}

#[test]
fn the_warm_slot_of_an_access_list_is_cheaper_and_changes_nothing_else() {
    let state = world(STORE, &[(1, u(150))]);
    let [plain, with_list, ..] = store_by_every_type(1, 99);
    let gas = |tx| execution(&judge(&state, Hardfork::Prague, tx, &[])).gas_used;
    // EIP-2930: 2400 for the address and 1900 for the key; the slot is then 2100 cheaper.
    assert_eq!(gas(&with_list), gas(&plain) + 2400 + 1900 - 2100);
}

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
fn a_slot_of_a_destroyed_contract_that_nobody_knows_is_undecided_and_a_recording_that_watches_it_knows_it() {
    let state = world(DESTROY, &[(1, u(150))]);
    let tx = by_alice(call(VAULT, Bytes::new()));
    let (mut engine, env, watched) = (Engine::new(CHAIN), env(Hardfork::Shanghai), [at_least_100(VAULT, 1)]);
    let recorder = Recorder::new(&state);
    engine.judge(&env, &tx, &recorder, &[]).unwrap();
    let without = recorder.into_prestate();
    let outcome = engine.judge(&env, &tx, &without, &watched).unwrap();
    assert_eq!(undecided(&outcome), &Reason::MissingState(Missing::Slot(VAULT, u(1))));
    assert_eq!(execution(&outcome).status, Status::Success);
    let recorder = Recorder::new(&state);
    engine.judge(&env, &tx, &recorder, &watched).unwrap();
    let with = recorder.into_prestate();
    assert_eq!(
        values(&engine.judge(&env, &tx, &with, &watched).unwrap()),
        (u(150), u(0))
    );
}

#[test]
fn code_that_an_account_delegates_to_writes_that_accounts_storage() {
    // Bob signs that his account runs the vault's code; Alice pays and calls him.
    let state = world(STORE, &[]);
    let authorization = Authorization {
        chain_id: u(CHAIN),
        address: VAULT,
        nonce: 0,
    };
    let signature = bob().sign_hash_sync(&authorization.signature_hash()).unwrap();
    let tx = by_alice(TxEip7702 {
        chain_id: CHAIN,
        nonce: 0,
        gas_limit: 200_000,
        max_fee_per_gas: 20 * GWEI,
        max_priority_fee_per_gas: GWEI,
        to: bob().address(),
        value: U256::ZERO,
        access_list: AccessList::default(),
        authorization_list: vec![authorization.into_signed(signature)],
        input: words(u(4), u(77)),
    });
    let (bob, slot) = (bob().address(), u(4));
    let zero = Invariant::new(
        1,
        "bob's slot",
        bob,
        slot,
        ValueType::Uint(256),
        0,
        Comparison::Eq,
        u(0),
    )
    .unwrap();
    let outcome = judge(&state, Hardfork::Prague, &tx, &[zero]);
    assert_eq!(execution(&outcome).status, Status::Success);
    assert_eq!(values(&outcome), (u(0), u(77)));
}

#[test]
fn a_transaction_that_cannot_be_included_is_invalid_with_one_digest_and_decides_nothing() {
    let state = world(STORE, &[(1, u(150))]);
    let input = words(u(1), u(0));
    let ether = U256::from(10).pow(u(18));
    let bad = [
        (
            "nonce",
            TxLegacy {
                nonce: 1,
                ..call(VAULT, input.clone())
            },
        ),
        (
            "balance",
            TxLegacy {
                value: ether * u(100),
                ..call(VAULT, input.clone())
            },
        ),
        (
            "gas limit of the block",
            TxLegacy {
                gas_limit: 30_000_001,
                ..call(VAULT, input.clone())
            },
        ),
        (
            "intrinsic gas",
            TxLegacy {
                gas_limit: 21_000,
                ..call(VAULT, input.clone())
            },
        ),
        (
            "base fee",
            TxLegacy {
                gas_price: 6,
                ..call(VAULT, input.clone())
            },
        ),
        (
            "chain",
            TxLegacy {
                chain_id: Some(5),
                ..call(VAULT, input.clone())
            },
        ),
        (
            "fees beyond 128 bits",
            TxLegacy {
                gas_price: u128::MAX,
                ..call(VAULT, input.clone())
            },
        ),
        (
            "value beyond 256 bits",
            TxLegacy {
                value: U256::MAX,
                ..call(VAULT, input)
            },
        ),
    ];
    let mut digests = std::collections::BTreeSet::new();
    for (what, tx) in bad {
        let outcome = judge(&state, Hardfork::Cancun, &by_alice(tx), &[at_least_100(VAULT, 1)]);
        assert!(
            matches!(undecided(&outcome), Reason::InvalidTransaction(_)),
            "{what}: {outcome:?}"
        );
        let Execution {
            status,
            gas_used,
            logs,
            post_state_digest,
        } = execution(&outcome);
        assert!(
            matches!(status, Status::Invalid(why) if !why.is_empty()),
            "{what}: {status:?}"
        );
        assert_eq!((*gas_used, *logs), (0, 0));
        digests.insert(*post_state_digest);
    }
    // Documented: an invalid transaction changes nothing, so this is all that is hashed.
    let expected = keccak256([b"portcullis/post-state/1".as_slice(), &[3], &[0; 8], &[0; 8]].concat());
    assert_eq!(digests.into_iter().collect::<Vec<_>>(), [expected]);
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

/// What is missing, and how it is taken away.
type Lacking = (Missing, fn(&mut Prestate, B256));

#[test]
fn every_piece_of_state_that_is_missing_is_named_and_nothing_is_decided() {
    let mut state = world(STORE_BLOCK_HASH, &[(0, u(150))]);
    state.0.block_hashes.insert(NUMBER - 1, B256::repeat_byte(4));
    let tx = by_alice(call(VAULT, Bytes::new()));
    let env = env(Hardfork::Cancun);
    let recorder = Recorder::new(&state);
    let mut engine = Engine::new(CHAIN);
    let watched = [at_least_100(VAULT, 0)];
    let whole = engine.judge(&env, &tx, &recorder, &watched).unwrap();
    let prestate = recorder.into_prestate();
    assert_eq!(execution(&whole).status, Status::Success);
    let code_hash = prestate.accounts[&VAULT].account.unwrap().code_hash;
    let without: [Lacking; 4] = [
        (Missing::Account(alice().address()), |state, _| {
            state.accounts.retain(|at, _| *at != alice().address())
        }),
        (Missing::Code(code_hash), |state, hash| {
            state.codes.retain(|known, _| *known != hash)
        }),
        (Missing::Slot(VAULT, u(0)), |state, _| {
            state.accounts.get_mut(&VAULT).unwrap().storage.clear()
        }),
        (Missing::BlockHash(NUMBER - 1), |state, _| state.block_hashes.clear()),
    ];
    for (what, remove) in without {
        let mut lacking = prestate.clone();
        remove(&mut lacking, code_hash);
        let outcome = engine.judge(&env, &tx, &lacking, &watched).unwrap();
        assert_eq!(undecided(&outcome), &Reason::MissingState(what));
        assert_eq!(outcome.execution, None);
        // The engine is as good as new after it.
        assert_eq!(engine.judge(&env, &tx, &prestate, &watched).unwrap(), whole);
    }
}

/// A source that fails on one account.
struct Unreachable(CompleteState, Address);

impl State for Unreachable {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        if address == self.1 {
            Err(StateError::Broken("connection refused".to_owned()))
        } else {
            self.0.account(address)
        }
    }
    fn code(&self, code_hash: B256) -> Result<Bytes, StateError> {
        self.0.code(code_hash)
    }
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.0.storage(address, slot)
    }
    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.0.block_hash(number)
    }
}

#[test]
fn a_broken_state_source_is_an_error_and_no_verdict() {
    let state = world(STORE, &[]);
    let tx = by_alice(call(VAULT, words(u(1), u(1))));
    let env = env(Hardfork::Cancun);
    for at in [alice().address(), VAULT, env.beneficiary] {
        let broken = Unreachable(state.clone(), at);
        let error = Engine::new(CHAIN).judge(&env, &tx, &broken, &[]).unwrap_err();
        assert_eq!(error, EngineError::State("connection refused".to_owned()));
    }
}

#[test]
fn code_that_does_not_have_its_hash_is_a_broken_source() {
    let mut state = world(STORE, &[]);
    for code in state.0.codes.values_mut() {
        *code = Bytes::from_static(&[0x00]);
    }
    let tx = by_alice(call(VAULT, words(u(1), u(1))));
    let error = Engine::new(CHAIN)
        .judge(&env(Hardfork::Cancun), &tx, &state, &[])
        .unwrap_err();
    assert!(matches!(error, EngineError::State(why) if why.contains("hash")));
}

#[test]
fn past_its_deadline_nothing_is_decided_not_even_in_an_endless_loop() {
    let state = world(FOREVER, &[]);
    let env = env(Hardfork::Cancun);
    let tx = by_alice(TxLegacy {
        gas_limit: 30_000_000,
        ..call(VAULT, Bytes::new())
    });
    let (mut engine, watched) = (Engine::new(CHAIN), [at_least_100(VAULT, 1)]);
    let asked_until_late = |engine: &mut Engine, looks: u64| {
        let asked = Cell::new(0);
        let expired = || {
            asked.set(asked.get() + 1);
            asked.get() > looks
        };
        (
            engine
                .judge_with_deadline(&env, &tx, &state, &watched, &expired)
                .unwrap(),
            asked.get(),
        )
    };
    for looks in [0, 1, 3, 10, 5_000] {
        let (outcome, asked) = asked_until_late(&mut engine, looks);
        assert_eq!(undecided(&outcome), &Reason::Deadline);
        assert_eq!(outcome.execution, None);
        assert_eq!(asked, looks + 1, "it stops at once");
    }
    let (in_time, asked) = asked_until_late(&mut engine, u64::MAX);
    assert!(asked > 10_000, "the loop was asked {asked} times");
    assert_eq!(
        in_time,
        engine.judge(&env, &tx, &state, &watched).unwrap(),
        "a deadline that does not pass changes nothing"
    );
    assert_eq!(execution(&in_time).status, Status::Halt("OutOfGas(Basic)".to_owned()));
}

#[test]
fn a_block_that_cannot_be_executed_under_is_unsupported() {
    let state = world(STORE, &[]);
    let tx = by_alice(call(VAULT, words(u(1), u(1))));
    let good = env(Hardfork::Cancun);
    let bad = [
        (
            777,
            BlockEnv {
                hardfork: None,
                ..good.clone()
            },
        ),
        (
            CHAIN,
            BlockEnv {
                prevrandao: None,
                ..good.clone()
            },
        ),
        (
            CHAIN,
            BlockEnv {
                excess_blob_gas: None,
                ..good.clone()
            },
        ),
        (
            CHAIN,
            BlockEnv {
                excess_blob_gas: Some(u64::MAX),
                ..good
            },
        ),
    ];
    for (chain_id, env) in bad {
        let outcome = Engine::new(chain_id)
            .judge(&env, &tx, &state, &[at_least_100(VAULT, 1)])
            .unwrap();
        assert!(matches!(undecided(&outcome), Reason::Unsupported(_)), "{env:?}");
        assert_eq!(outcome.execution, None);
    }
}

#[test]
fn gas_beyond_any_block_is_not_executed() {
    // It would buy terabytes of memory: mstore(2^40, 1)
    let state = world("600165010000000000525b", &[]);
    let tx = by_alice(TxLegacy {
        gas_limit: u64::MAX,
        gas_price: 7,
        ..call(VAULT, Bytes::new())
    });
    let env = BlockEnv {
        gas_limit: u64::MAX,
        ..env(Hardfork::Cancun)
    };
    let outcome = Engine::new(CHAIN)
        .judge(&env, &tx, &state, &[at_least_100(VAULT, 1)])
        .unwrap();
    assert!(matches!(undecided(&outcome), Reason::Unsupported(why) if why.contains("gas limit")));
}

#[test]
fn a_high_s_is_valid_under_frontier_rules_only_and_never_with_a_chain_id() {
    let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
    let flipped = |tx: TxLegacy| {
        use alloy::{consensus::SignableTransaction, eips::eip2718::Encodable2718, primitives::Signature};
        let low = alice().sign_hash_sync(&tx.signature_hash()).unwrap();
        let high = Signature::new(low.r(), order - low.s(), !low.v());
        tx.into_signed(high).encoded_2718()
    };
    let state = world(STORE, &[]);
    let before_eip155 = TxLegacy {
        chain_id: None,
        ..call(VAULT, words(u(1), u(1)))
    };
    let tx = Transaction::decode(&flipped(before_eip155.clone())).unwrap();
    assert_eq!(tx.sender(), alice().address());
    assert_ne!(tx.hash(), by_alice(before_eip155).hash());
    assert_eq!(
        execution(&judge(&state, Hardfork::Frontier, &tx, &[])).status,
        Status::Success
    );
    for hardfork in [Hardfork::Homestead, Hardfork::Prague] {
        assert!(matches!(
            execution(&judge(&state, hardfork, &tx, &[])).status,
            Status::Invalid(_)
        ));
    }
    let error = Transaction::decode(&flipped(call(VAULT, Bytes::new()))).unwrap_err();
    assert!(error.to_string().contains("EIP-2"), "{error}");
}

#[test]
fn an_unsigned_recording_executes_without_nonce_code_and_balance_checks() {
    // The sender is the vault itself: it has code, another nonce and next to no balance.
    let state = world(STORE, &[(1, u(150))]);
    let raw = {
        use alloy::{consensus::SignableTransaction, eips::eip2718::Encodable2718, primitives::Signature};
        let tx = TxLegacy {
            nonce: 9,
            ..call(VAULT, words(u(1), u(9)))
        };
        tx.into_signed(Signature::new(U256::ZERO, U256::ZERO, false))
            .encoded_2718()
    };
    assert!(Transaction::decode(&raw).is_err());
    let hash = B256::repeat_byte(0xaa);
    let tx = Transaction::unsigned(&raw, VAULT, hash).unwrap();
    assert!(tx.is_unsigned() && tx.hash() == hash && tx.sender() == VAULT);
    let outcome = judge(&state, Hardfork::Cancun, &tx, &[at_least_100(VAULT, 1)]);
    assert_eq!(values(&outcome), (u(150), u(9)));
    // The same engine is strict again with the next transaction.
    let mut engine = Engine::new(CHAIN);
    engine.judge(&env(Hardfork::Cancun), &tx, &state, &[]).unwrap();
    let strict = by_alice(TxLegacy {
        nonce: 9,
        ..call(VAULT, Bytes::new())
    });
    let outcome = engine.judge(&env(Hardfork::Cancun), &strict, &state, &[]).unwrap();
    assert!(matches!(execution(&outcome).status, Status::Invalid(_)));
}

#[test]
fn bytes_that_are_no_transaction_are_refused_in_one_line() {
    let good = signed(call(VAULT, Bytes::new()));
    let mut trailing = good.clone();
    trailing.push(0);
    let mut type_five = good.clone();
    type_five.insert(0, 5);
    for bad in [
        &[][..],
        &good[..good.len() - 1],
        &trailing,
        &type_five,
        &[0xc0],
        &[0x03],
        &[0xff; 40],
    ] {
        let error = Transaction::decode(bad).unwrap_err().to_string();
        assert!(!error.contains('\n') && error.len() < 300, "{error}");
        assert!(Transaction::with_sender(bad, VAULT).is_err());
    }
    // A signature outside the curve proves nobody; trusted, the bytes still decode.
    use alloy::{consensus::SignableTransaction, eips::eip2718::Encodable2718, primitives::Signature};
    let nobody = call(VAULT, Bytes::new())
        .into_signed(Signature::new(U256::ZERO, u(1), false))
        .encoded_2718();
    assert!(
        Transaction::decode(&nobody)
            .unwrap_err()
            .to_string()
            .contains("broken signature")
    );
    assert_eq!(Transaction::with_sender(&nobody, VAULT).unwrap().sender(), VAULT);
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
