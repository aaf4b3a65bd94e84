//! What is put on the wire comes off it the same, and what is malformed is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{
    Account, AccountState, Address, B256, BlockEnv, Bytes, Comparison, Hardfork, Invariant, Prestate, ProgramInvariant,
    Transaction, U256, ValueType, Watched,
    lang::{self, Names},
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use prost::Message;
use protos::v1;
use wire::{
    Answer, AnswerOutcome, Challenge, Finding, FindingVerdict, ReportedExecution, ShippedPrestate, Verdicts, Wire,
};

/// The first transaction of mainnet, block 46147.
const RAW: [u8; 105] = alloy::hex!(
    "f86780862d79883d2000825208945df9b87991262f6ba471f09758cde1c0fc1de734827a69801ca088ff6cf0fefd94db46111149ae4bfc179e9b94721fffd821d38d16464b3f71d0a045e0aff800961cfce805daef7016b9b675c137a6a41a548f7b60a3484c06a33a"
);

fn word() -> impl Strategy<Value = U256> {
    any::<[u8; 32]>().prop_map(U256::from_be_bytes)
}
fn hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::from)
}
fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address::from)
}
fn account() -> impl Strategy<Value = AccountState> {
    let existing = (word(), any::<u64>(), prop::option::of(hash())).prop_map(|(balance, nonce, code_hash)| Account {
        balance,
        nonce,
        code_hash: code_hash.unwrap_or(Account::default().code_hash),
    });
    (prop::option::of(existing), btree_map(word(), word(), 0..4))
        .prop_map(|(account, storage)| AccountState { account, storage })
}
fn prestate() -> impl Strategy<Value = ShippedPrestate> {
    (
        btree_map(address(), account(), 0..4),
        btree_map(any::<u64>(), hash(), 0..3),
        vec(vec(any::<u8>(), 0..40), 0..3),
    )
        .prop_map(|(accounts, block_hashes, codes)| {
            let codes = codes
                .into_iter()
                .map(|code| (alloy::primitives::keccak256(&code), Bytes::from(code)))
                .collect();
            ShippedPrestate::from(Prestate {
                accounts,
                codes,
                block_hashes,
            })
        })
}
fn env() -> impl Strategy<Value = BlockEnv> {
    let fork = prop::option::of(prop::sample::select(vec![
        Hardfork::Frontier,
        Hardfork::London,
        Hardfork::Prague,
    ]));
    (
        any::<[u64; 4]>(),
        address(),
        word(),
        prop::option::of(hash()),
        prop::option::of(any::<u64>()),
        fork,
    )
        .prop_map(
            |(
                [number, timestamp, gas_limit, base_fee],
                beneficiary,
                difficulty,
                prevrandao,
                excess_blob_gas,
                hardfork,
            )| {
                BlockEnv {
                    number,
                    timestamp,
                    beneficiary,
                    gas_limit,
                    base_fee,
                    difficulty,
                    prevrandao,
                    excess_blob_gas,
                    hardfork,
                }
            },
        )
}
fn challenge() -> impl Strategy<Value = Challenge> {
    (
        hash(),
        any::<u64>(),
        hash(),
        env(),
        any::<u64>(),
        word(),
        prop::option::of(prestate()),
        1u64..60_000,
    )
        .prop_map(
            |(id, chain_id, head_hash, env, invariant_set_version, target, prestate, deadline)| {
                let slot = target >> 1;
                let invariant = Invariant::new(
                    target.wrapping_to(),
                    "solvent",
                    Address::repeat_byte(3),
                    slot,
                    ValueType::Int(256),
                    0,
                    Comparison::Ge,
                    target,
                );
                let text = format!(
                    "slot(0x{:040x}, {slot:#x}, uint256, 0) \"vault.debt\" <= {target} or block.number >= 7",
                    3
                );
                let expression = ProgramInvariant {
                    id: 4,
                    name: "expression".to_owned(),
                    program: lang::parse(&text, &Names::default()).unwrap(),
                };
                Challenge {
                    id,
                    chain_id,
                    head_hash,
                    env,
                    invariant_set_version,
                    invariants: vec![invariant.unwrap().into(), expression.into()],
                    transaction: Transaction::decode(&RAW).unwrap(),
                    predecessors: Vec::new(),
                    prestate,
                    deadline: Duration::from_millis(deadline),
                }
            },
        )
}
fn verdict() -> impl Strategy<Value = FindingVerdict> {
    prop_oneof![
        any::<bool>().prop_map(|already_broken| FindingVerdict::Holds { already_broken }),
        (word(), word(), hash()).prop_map(|(pre, post, digest)| FindingVerdict::Violated { pre, post, digest }),
        ".{0,20}".prop_map(|reason| FindingVerdict::Undecided { reason }),
    ]
}
fn answer() -> impl Strategy<Value = Answer> {
    let execution = prop::option::of((1i32..5, any::<[u64; 2]>(), hash()).prop_map(
        |(status, [gas_used, logs], digest)| {
            let status = v1::ExecutionStatus::try_from(status).unwrap();
            ReportedExecution {
                status,
                gas_used,
                logs,
                post_state_digest: digest,
            }
        },
    ));
    let verdicts = (
        btree_map(any::<u64>(), verdict(), 0..5),
        execution,
        prop::option::of(hash()),
    );
    let verdicts = verdicts.prop_map(|(findings, execution, state_digest)| {
        let findings = findings
            .into_iter()
            .map(|(invariant_id, verdict)| Finding { invariant_id, verdict })
            .collect();
        AnswerOutcome::Verdicts(Verdicts {
            findings,
            execution,
            engine_version: "1".into(),
            state_digest,
        })
    });
    let missing = vec(hash(), 0..4).prop_map(AnswerOutcome::MissingCodes);
    (hash(), prop_oneof![verdicts, missing]).prop_map(|(challenge_id, outcome)| Answer { challenge_id, outcome })
}

proptest! {
    #[test]
    fn a_challenge_comes_off_the_wire_as_it_was_put_on(challenge in challenge()) {
        let bytes = challenge.to_wire().encode_to_vec();
        let again = Challenge::from_wire(&v1::Challenge::decode(bytes.as_slice()).unwrap()).unwrap();
        prop_assert_eq!(format!("{again:?}"), format!("{challenge:?}"));
    }

    #[test]
    fn an_answer_comes_off_the_wire_as_it_was_put_on(answer in answer()) {
        let bytes = answer.to_wire().encode_to_vec();
        prop_assert_eq!(Answer::from_wire(&v1::Answer::decode(bytes.as_slice()).unwrap()).unwrap(), answer);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_another_challenge_but_never_a_panic(
        challenge in challenge(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = challenge.to_wire().encode_to_vec();
        let index = at.index(bytes.len());
        bytes[index] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(message) = v1::Challenge::decode(bytes.as_slice()) {
            let _ = Challenge::from_wire(&message);
        }
    }
}

fn sound() -> v1::Challenge {
    let env = BlockEnv {
        number: 46_147,
        timestamp: 1,
        beneficiary: Address::ZERO,
        gas_limit: 5_000,
        base_fee: 0,
        difficulty: U256::from(1),
        prevrandao: None,
        excess_blob_gas: None,
        hardfork: None,
    };
    Challenge {
        id: B256::ZERO,
        chain_id: 1,
        head_hash: B256::ZERO,
        env,
        invariant_set_version: 0,
        invariants: vec![],
        transaction: Transaction::decode(&RAW).unwrap(),
        predecessors: Vec::new(),
        prestate: Some(ShippedPrestate::from(Prestate {
            accounts: BTreeMap::from([(Address::ZERO, AccountState::default())]),
            ..Default::default()
        })),
        deadline: Duration::from_secs(1),
    }
    .to_wire()
}

#[test]
fn every_field_that_does_not_fit_is_named() {
    type Damage = fn(&mut v1::Challenge);
    let cases: [(&str, Damage); 7] = [
        ("challenge.id", |c| c.id = vec![0; 31].into()),
        ("challenge.env", |c| c.env = None),
        ("block_env.beneficiary", |c| {
            c.env.as_mut().unwrap().beneficiary = vec![0; 32].into()
        }),
        ("block_env.hardfork", |c| {
            c.env.as_mut().unwrap().hardfork = "osaka2".into()
        }),
        ("transaction.sender", |c| {
            c.transaction.as_mut().unwrap().sender = vec![].into()
        }),
        ("transaction.raw", |c| {
            c.transaction.as_mut().unwrap().raw = vec![9, 9].into()
        }),
        ("prestate.accounts.address", |c| {
            c.prestate.as_mut().unwrap().accounts[0].address = vec![1].into()
        }),
    ];
    assert!(Challenge::from_wire(&sound()).is_ok());
    for (field, damage) in cases {
        let mut message = sound();
        damage(&mut message);
        let error = Challenge::from_wire(&message).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}`")), "expected {field}: {error}");
    }
}

#[test]
fn a_transaction_under_another_hash_is_refused() {
    let mut message = sound();
    message.transaction.as_mut().unwrap().hash = vec![7; 32].into();
    let error = Challenge::from_wire(&message).unwrap_err().to_string();
    assert!(
        error.contains("`transaction.hash`") && error.contains("0x5c504ed4"),
        "{error}"
    );
}

#[test]
fn an_account_that_is_listed_twice_is_refused() {
    let mut message = sound();
    let prestate = message.prestate.as_mut().unwrap();
    prestate.accounts.push(prestate.accounts[0].clone());
    assert!(
        Challenge::from_wire(&message)
            .unwrap_err()
            .to_string()
            .contains("listed twice")
    );
}

fn expression(text: &str) -> v1::Invariant {
    v1::Invariant {
        id: 7,
        name: "x".to_owned(),
        expression: text.to_owned(),
        ..v1::Invariant::default()
    }
}

#[test]
fn an_expression_travels_with_its_labels_and_keeps_its_digest() {
    let text = "slot(0x00000000000000000000000000000000000000aa, 0x1, uint256, 0) \"vault.debt\" * 100 <= \
                balance(0x00000000000000000000000000000000000000bb) * 80";
    let watched = Watched::from_wire(&expression(text)).unwrap();
    assert_eq!(watched.expression(), text);
    assert_eq!(watched.sources()[0].0, "vault.debt");
    assert_eq!(watched.to_wire(), expression(text));
}

#[test]
fn an_expression_has_one_form_and_no_other_beside_it() {
    let deep = format!("{}1 < 2{}", "(".repeat(10_000), ")".repeat(10_000));
    let long = "1 < 2 and ".repeat(100_000);
    for text in [
        "1<2",
        "vault.debt <= 7",
        "1 +",
        deep.as_str(),
        long.as_str(),
        "slot(0xaa, 1) >= 2",
    ] {
        let error = Watched::from_wire(&expression(text)).unwrap_err().to_string();
        assert!(
            error.contains("`invariant.expression`") && error.len() < 2_000,
            "{error}"
        );
    }
    let both = v1::Invariant {
        comparison: ">=".to_owned(),
        ..expression("1 < 2")
    };
    let error = Watched::from_wire(&both).unwrap_err().to_string();
    assert!(error.contains("beside the fields of a slot"), "{error}");
}
