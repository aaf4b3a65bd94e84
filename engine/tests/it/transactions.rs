//! Every type of transaction, and every way that one can be bad.

use crate::world::*;
use alloy::{
    consensus::{TxEip7702, TxLegacy},
    eips::{eip2930::AccessList, eip7702::Authorization},
    primitives::keccak256,
    signers::SignerSync,
};
use engine::{
    B256, Bytes, Comparison, Engine, Execution, Hardfork, Invariant, Reason, Status, Transaction, U256, ValueType,
};

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
