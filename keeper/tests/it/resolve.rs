//! Resolvers that behave, and resolvers that do not, on one state.

use std::time::{Duration, Instant};

use alloy::primitives::{keccak256, uint};
use engine::{Account, AccountState, Address, B256, BlockEnv, Bytes, CompleteState, Missing, Prestate, U256};
use keeper::resolve::batch::{Limits, evaluate};
use keeper::resolve::{Answer, Answered, Fault, Query, Ready};
use proptest::prelude::*;

const CHAIN: u64 = 31_337;
const GAS: u64 = 300_000;

/// Says what is in the slot that its calldata names, with four bytes of calldata.
const BY_SLOT: &str = "5f35545f5260406020526004604052 63aabbccdd60e01b606052 60805ff3";
const LOOPS: &str = "5b5f56";
const REVERTS: &str = "5f5ffd";
const INVALID: &str = "fe";
const GARBAGE: &str = "335f5260205ff3";
const WRITES: &str = "60015f5560205ff3";
/// Returns 4 GB.
const GREEDY: &str = "63ffffffff5ff3";
/// Says yes when its caller is the Agent.
const ASKS_WHO: &str = "73a6e47a6e47a6e47a6e47a6e47a6e47a6e47a6e4733145f5260406020525f60405260605ff3";
/// Says yes when the block's time is even.
const BY_TIME: &str = "6002420615 5f5260406020525f60405260605ff3";

const AGENT: Address = alloy::primitives::address!("0xa6e47a6e47a6e47a6e47a6e47a6e47a6e47a6e47");

fn at(code: &str) -> Address {
    Address::from_word(keccak256(code))
}

fn world() -> Prestate {
    let mut state = Prestate::default();
    for code in [
        BY_SLOT, LOOPS, REVERTS, INVALID, GARBAGE, WRITES, GREEDY, ASKS_WHO, BY_TIME,
    ] {
        let bytes: Bytes = code.replace(' ', "").parse().unwrap();
        let slots = (0..100_u64).map(|slot| (U256::from(slot), U256::from(slot % 2)));
        state.insert_contract(at(code), Account::default(), bytes, slots);
    }
    state.accounts.insert(AGENT, AccountState::default());
    state
}

fn env() -> BlockEnv {
    BlockEnv {
        number: 20,
        timestamp: 1_700_000_001,
        beneficiary: Address::ZERO,
        gas_limit: 30_000_000,
        base_fee: 7,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::ZERO),
        excess_blob_gas: Some(0),
        hardfork: None,
    }
}

fn limits(threads: usize) -> Limits {
    Limits {
        from: AGENT,
        gas: GAS,
        deadline: Instant::now() + Duration::from_secs(600),
        threads,
    }
}

fn query(code: &str, word: u64) -> Query {
    Query {
        resolver: at(code),
        calldata: U256::from(word).to_be_bytes_vec().into(),
    }
}

fn answers(queries: &[Query], threads: usize) -> Vec<Answer> {
    let state = CompleteState(world());
    let all = evaluate(CHAIN, &env(), &state, queries, &limits(threads));
    all.into_iter().map(|answered| answered.answer).collect()
}

fn yes() -> Answer {
    Answer::Ready(Ready {
        calldata: Bytes::from_static(&[0xaa, 0xbb, 0xcc, 0xdd]),
        since: 0,
    })
}

#[test]
fn a_resolver_says_yes_with_calldata_or_no() {
    assert_eq!(
        answers(&[query(BY_SLOT, 3), query(BY_SLOT, 4)], 1),
        [yes(), Answer::Idle]
    );
}

#[test]
fn a_resolver_sees_the_agent_as_its_caller_and_the_next_blocks_time() {
    let ready = Answer::Ready(Ready {
        calldata: Bytes::new(),
        since: 0,
    });
    assert_eq!(answers(&[query(ASKS_WHO, 0)], 1).first(), Some(&ready));
    assert_eq!(answers(&[query(BY_TIME, 0)], 1), [Answer::Idle]);
    let later = BlockEnv {
        timestamp: 1_700_000_002,
        ..env()
    };
    let all = evaluate(CHAIN, &later, &CompleteState(world()), &[query(BY_TIME, 0)], &limits(1));
    assert_eq!(all[0].answer, ready);
}

#[test]
fn one_that_loops_burns_or_lies_costs_its_own_budget_and_touches_no_other() {
    let bad = [LOOPS, REVERTS, INVALID, GARBAGE, WRITES, GREEDY];
    let mut queries = Vec::new();
    for code in bad {
        queries.push(query(BY_SLOT, 1));
        queries.push(query(code, 0));
    }
    queries.push(query(BY_SLOT, 1));
    queries.push(Query {
        resolver: Address::repeat_byte(9),
        calldata: Bytes::new(),
    });
    let state = CompleteState(world());
    let all: Vec<Answered> = evaluate(CHAIN, &env(), &state, &queries, &limits(1));
    for answered in all.iter().step_by(2) {
        assert_eq!(answered.answer, yes());
    }
    let faults: Vec<_> = all
        .iter()
        .skip(1)
        .step_by(2)
        .map(|answered| answered.answer.clone())
        .collect();
    assert_eq!(faults[0], Answer::Bad(Fault::OutOfGas { gas: GAS }));
    assert_eq!(faults[1], Answer::Bad(Fault::Reverted));
    assert!(matches!(&faults[2], Answer::Bad(Fault::Halted(_))), "{:?}", faults[2]);
    assert_eq!(faults[3], Answer::Bad(Fault::Garbage));
    assert!(
        matches!(&faults[4], Answer::Bad(Fault::Halted(why)) if why.contains("Static")),
        "{:?}",
        faults[4]
    );
    assert_eq!(faults[5], Answer::Bad(Fault::OutOfGas { gas: GAS }));
    assert_eq!(faults[6], Answer::Bad(Fault::NoCode));
    assert!(all.iter().all(|answered| answered.gas <= GAS));
    assert_eq!(all[1].gas, GAS, "it loops to the end of its budget");
}

#[test]
fn what_is_not_known_is_named_and_never_taken_for_zero() {
    let mut state = world();
    state
        .accounts
        .get_mut(&at(BY_SLOT))
        .unwrap()
        .storage
        .remove(&uint!(7_U256));
    let queries = [
        query(BY_SLOT, 7),
        query(BY_SLOT, 3),
        query(BY_SLOT, 7),
        query(BY_SLOT, 5),
    ];
    let all = evaluate(CHAIN, &env(), &state, &queries, &limits(1));
    let missing = Answer::Missing(vec![Missing::Slot(at(BY_SLOT), uint!(7_U256))]);
    let given: Vec<_> = all.into_iter().map(|answered| answered.answer).collect();
    assert_eq!(given, [missing.clone(), yes(), missing, yes()]);
}

#[test]
fn after_the_deadline_nothing_is_begun() {
    let late = Limits {
        deadline: Instant::now(),
        ..limits(2)
    };
    let all = evaluate(
        CHAIN,
        &env(),
        &CompleteState(world()),
        &vec![query(LOOPS, 0); 200],
        &late,
    );
    assert_eq!(all.len(), 200);
    assert!(all.iter().all(|answered| answered.answer == Answer::Late));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whoever stands beside it and on however many threads: a query has its own answer, at its own place.
    #[test]
    fn an_answer_depends_on_its_query_alone(
        picks in proptest::collection::vec((0_usize..7, 0_u64..100), 1..300),
        threads in 1_usize..5,
    ) {
        let codes = [BY_SLOT, BY_SLOT, BY_SLOT, REVERTS, GARBAGE, WRITES, INVALID];
        let queries: Vec<_> = picks.iter().map(|(code, word)| query(codes[*code], *word)).collect();
        let together = answers(&queries, threads);
        for (query, given) in queries.iter().zip(&together).take(20) {
            prop_assert_eq!(&answers(std::slice::from_ref(query), 1)[0], given);
        }
        for ((code, word), given) in picks.iter().zip(&together) {
            if *code < 3 {
                prop_assert_eq!(given, &if word % 2 == 1 { yes() } else { Answer::Idle });
            }
        }
    }
}
