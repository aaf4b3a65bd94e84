//! Expressions of the language, watched on executed transactions.

use alloy::consensus::TxLegacy;
use engine::{
    Address, Bytes, Context, Engine, Hardfork, Invariant, Options, Outcome, ProgramInvariant, Reason, State,
    Transaction, Transition, U256, Verdict, WatchSet, Watched,
    lang::{Names, parse},
};

use crate::world::*;

const OTHER: Address = Address::repeat_byte(0x0b);

fn expression(id: u64, text: &str) -> Watched {
    let text = text
        .replace("VAULT", &format!("{VAULT:#x}"))
        .replace("OTHER", &format!("{OTHER:#x}"))
        .replace("ALICE", &format!("{:#x}", alice().address()));
    Watched::Program(ProgramInvariant {
        id,
        name: format!("expression {id}"),
        program: parse(&text, &Names::default()).unwrap_or_else(|error| panic!("{error}")),
    })
}

fn judged(state: &dyn State, tx: &Transaction, text: &str) -> Outcome {
    let set = WatchSet::new(vec![expression(1, text)]).unwrap();
    Engine::new(CHAIN)
        .judge_watched(
            tx,
            Context::new(&env(Hardfork::Cancun), state, &set, &Options::default()),
        )
        .unwrap()
}

fn transition(state: &dyn State, tx: &Transaction, text: &str) -> Option<Transition> {
    judged(state, tx, text)
        .judgements
        .first()
        .and_then(|judgement| judgement.transition)
}

fn store(slot: u64, value: u64) -> Transaction {
    by_alice(call(VAULT, words(u(slot), u(value))))
}

#[test]
fn slots_before_and_after_are_those_of_the_journal() {
    let state = world(STORE, &[(1, u(150)), (2, u(40))]);
    let ratio = "slot(VAULT, 2, uint256, 0) * 100 <= slot(VAULT, 1, uint256, 0) * 80";
    assert_eq!(transition(&state, &store(1, 50), ratio), Some(Transition::Kept));
    assert_eq!(transition(&state, &store(1, 49), ratio), Some(Transition::Broke));
    assert_eq!(
        transition(&state, &store(3, 49), ratio),
        None,
        "it reads nothing of that"
    );
    let fall = "delta(slot(VAULT, 1, uint256, 0)) >= -10% of pre";
    assert_eq!(transition(&state, &store(1, 135), fall), Some(Transition::Kept));
    let broken = judged(&state, &store(1, 134), fall);
    let witness = broken.violations().next().unwrap();
    assert_eq!(witness.readings.len(), 1);
    assert_eq!(
        (witness.readings[0].pre, witness.readings[0].post),
        (Some(u(150)), Some(u(134)))
    );
    assert_eq!(witness.readings[0].slot, Some(u(1)));
    assert_eq!(
        witness.path.iter().map(|call| call.address).collect::<Vec<_>>(),
        [VAULT]
    );
    assert_eq!(broken.judgements[0].margin.unwrap().post.to_string(), "-1");
}

#[test]
fn an_expression_over_one_slot_says_what_the_original_form_says() {
    let state = world(STORE, &[(1, u(150))]);
    let set = |watched| WatchSet::new(vec![watched]).unwrap();
    let original = set(Watched::Slot(at_least_100(VAULT, 1)));
    let written = set(expression(1, "slot(VAULT, 1, uint256, 0) >= 100"));
    let mut engine = Engine::new(CHAIN);
    for value in [0, 99, 100, 101, 150, 200] {
        let mut judge = |set| {
            let outcome = engine
                .judge_watched(
                    &store(1, value),
                    Context::new(&env(Hardfork::Cancun), &state, set, &Options::default()),
                )
                .unwrap();
            outcome
                .judgements
                .first()
                .map(|judgement| (judgement.transition, judgement.margin))
        };
        assert_eq!(judge(&original), judge(&written), "{value}");
    }
}

#[test]
fn balances_and_nonces_trigger_by_what_changed_of_the_account() {
    let state = world(STORE, &[(1, u(150))]);
    let pay = by_alice(TxLegacy {
        value: u(7),
        ..call(OTHER, Bytes::new())
    });
    assert_eq!(transition(&state, &pay, "balance(OTHER) < 7"), Some(Transition::Broke));
    assert_eq!(transition(&state, &pay, "balance(OTHER) <= 7"), Some(Transition::Kept));
    assert_eq!(
        transition(&state, &pay, "delta(nonce(ALICE)) == 1"),
        Some(Transition::Kept)
    );
    assert_eq!(transition(&state, &pay, "nonce(OTHER) == 0"), None);
    assert_eq!(transition(&state, &pay, "balance(VAULT) == 5"), None);
}

#[test]
fn a_code_hash_changes_with_creation_and_destruction() {
    let created = alice().address().create(0);
    let state = world(DESTROY, &[]);
    let create = by_alice(TxLegacy {
        to: alloy::primitives::TxKind::Create,
        // Deploys one byte: STOP.
        input: "600060005360016000f3".parse().unwrap(),
        ..call(VAULT, Bytes::new())
    });
    let same = format!("codehash({created:#x}) == pre");
    let outcome = judged(&state, &create, &same);
    let reading = &outcome.violations().next().unwrap().readings[0];
    assert_eq!(
        (reading.pre, reading.post),
        (Some(u(0)), Some(alloy::primitives::keccak256([0]).into()))
    );
    let set = WatchSet::new(vec![
        expression(1, "codehash(VAULT) == pre"),
        expression(2, "balance(VAULT) == pre"),
    ])
    .unwrap();
    let outcome = Engine::new(CHAIN)
        .judge_watched(
            &by_alice(call(VAULT, Bytes::new())),
            Context::new(&env(Hardfork::Shanghai), &state, &set, &Options::default()),
        )
        .unwrap();
    assert_eq!(outcome.violations().count(), 2);
}

#[test]
fn logs_are_counted_and_summed() {
    // log1(topic = calldata[0..32], data = calldata[32..64])
    let state = world("6020356000526000356020600 0a100".replace(' ', "").as_str(), &[]);
    let topic = u(0xabc);
    let emit = by_alice(call(VAULT, words(topic, u(9))));
    let named = |text: &str| text.replace("TOPIC", &format!("{:#x}", engine::B256::from(topic)));
    assert_eq!(
        transition(&state, &emit, &named("count(logs(VAULT, TOPIC)) == 0")),
        Some(Transition::Broke)
    );
    assert_eq!(
        transition(&state, &emit, &named("count(logs(any, TOPIC)) <= 1")),
        Some(Transition::Kept)
    );
    assert_eq!(
        transition(&state, &emit, &named("sum(logs(any, TOPIC), data[0], uint256) < 9")),
        Some(Transition::Broke)
    );
    assert_eq!(
        transition(&state, &emit, &named("count(logs(OTHER, TOPIC)) == 0")),
        Some(Transition::Kept)
    );
    let unless = named("count(logs(any, TOPIC)) == 0 unless tx.sender in {ALICE}");
    assert_eq!(transition(&state, &emit, &unless), Some(Transition::Kept));
    let elsewhere = by_alice(call(VAULT, words(u(1), u(9))));
    assert_eq!(
        transition(&state, &elsewhere, &named("count(logs(VAULT, TOPIC)) == 0")),
        None
    );
}

#[test]
fn what_reads_the_block_always_runs_and_what_reads_only_state_does_not() {
    let state = world(STORE, &[(1, u(150))]);
    assert_eq!(
        transition(&state, &store(2, 1), "block.number < 5"),
        Some(Transition::StayedBroken)
    );
    assert_eq!(
        transition(&state, &store(2, 1), "block.timestamp > slot(VAULT, 1, uint256, 0)"),
        Some(Transition::Kept)
    );
    assert_eq!(
        transition(&state, &store(2, 1), "slot(VAULT, 1, uint256, 0) > 500"),
        None
    );
}

#[test]
fn a_view_in_an_expression_is_called_only_when_what_it_read_was_written() {
    // With 4 bytes of calldata it returns slot 1, else it stores.
    let state = world(
        "36600414600f5760203560003555005b60015460005260206000f3",
        &[(1, u(150)), (2, u(150))],
    );
    let text = "call(VAULT, 0x01020304, 0, uint256) >= slot(VAULT, 2, uint256, 0)";
    assert_eq!(transition(&state, &store(1, 150), text), None);
    assert_eq!(transition(&state, &store(1, 149), text), Some(Transition::Broke));
    // Only the slot was written; the view says what it said before.
    assert_eq!(transition(&state, &store(2, 151), text), Some(Transition::Broke));
    assert_eq!(transition(&state, &store(2, 100), text), Some(Transition::Kept));
}

#[test]
fn arithmetic_without_a_value_is_undecided_with_its_reason() {
    let state = world(STORE, &[(1, u(150)), (2, u(1))]);
    let outcome = judged(
        &state,
        &store(2, 0),
        "slot(VAULT, 1, uint256, 0) / slot(VAULT, 2, uint256, 0) >= 1",
    );
    assert_eq!(undecided(&outcome), &Reason::Arithmetic("division by zero".to_owned()));
    let outcome = judged(
        &state,
        &store(2, 300),
        "call(OTHER, 0x01020304, 0, uint256) >= slot(VAULT, 2, uint256, 0)",
    );
    assert!(matches!(undecided(&outcome), Reason::View { .. }));
}

#[test]
fn warnings_and_sequences_know_expressions_too() {
    let state = world(STORE_AND_REVERT, &[(1, u(150))]);
    let set = WatchSet::new(vec![expression(1, "delta(slot(VAULT, 1, uint256, 0)) >= -10% of pre")]).unwrap();
    let options = Options {
        warnings: true,
        ..Options::default()
    };
    let mut engine = Engine::new(CHAIN);
    let env = env(Hardfork::Cancun);
    let outcome = engine
        .judge_watched(&store(1, 100), Context::new(&env, &state, &set, &options))
        .unwrap();
    assert_eq!(outcome.warnings.len(), 1);
    assert_eq!(outcome.warnings[0].frame.address, VAULT);

    // Two steps of less than a tenth each are more than a tenth together.
    let state = world(STORE, &[(1, u(150))]);
    let step = |nonce, value: u64| {
        by_alice(TxLegacy {
            nonce,
            ..call(VAULT, words(u(1), u(value)))
        })
    };
    let sequence = engine
        .judge_sequence(
            &[step(0, 140), step(1, 130)],
            Context::new(&env, &state, &set, &Options::default()),
        )
        .unwrap();
    assert!(
        sequence
            .each
            .iter()
            .all(|outcome| outcome.judgements[0].verdict == Verdict::Holds)
    );
    assert!(matches!(sequence.whole[0].verdict, Verdict::Violated(_)));
}

#[test]
fn a_mixed_set_is_judged_in_its_order() {
    let state = world(STORE, &[(1, u(150))]);
    let watched = vec![
        expression(5, "slot(VAULT, 1, uint256, 0) >= 100"),
        Watched::Slot(Invariant {
            id: 2,
            ..at_least_100(VAULT, 1)
        }),
        expression(9, "nonce(ALICE) >= 1"),
    ];
    let outcome = Engine::new(CHAIN)
        .judge_watched(
            &store(1, 9),
            Context::new(
                &env(Hardfork::Cancun),
                &state,
                &WatchSet::new(watched).unwrap(),
                &Options::default(),
            ),
        )
        .unwrap();
    let seen: Vec<_> = outcome
        .judgements
        .iter()
        .map(|j| (j.invariant_id, j.transition.unwrap()))
        .collect();
    assert_eq!(
        seen,
        [
            (5, Transition::Broke),
            (2, Transition::Broke),
            (9, Transition::Restored)
        ]
    );
    let _: U256 = outcome.violations().next().unwrap().post;
}
