//! Whatever comes in, an answer with a reason comes out: each kind of bad input by its name, through the public interface.
//!
//! Bounded time is bounded work here: gas, looks at the deadline, bytes read. What is bounded in memory is counted in
//! `tests/allocations.rs`.

use std::cell::Cell;

use alloy::{consensus::TxLegacy, primitives::hex};
use engine::{
    Address, B256, Bytes, CompleteState, Context, Engine, Hardfork, Options, Outcome, ProgramInvariant, Reason, State,
    Status, Transaction, Transition, U256, ValueType, Verdict, ViewError, WatchSet, Watched,
    lang::{Contract, Format, InvariantSet, LangError, MAX_SET_TEXT, MAX_TEXT, Names, parse},
};
use serde_json::json;

use crate::world::*;

const TARGET: Address = Address::repeat_byte(0x0a);

/// The vault and the target by name; the target with an ABI that promises this.
fn names(abi: &[&str]) -> Names {
    let mut names = Names::default();
    names.insert("vault", Contract::new(VAULT)).unwrap();
    let target = Contract::new(TARGET).with_abi(&json!(abi)).unwrap();
    names.insert("target", target).unwrap();
    names
}

const ABI: [&str; 3] = [
    "function value() view returns (uint256)",
    "function paused() view returns (bool)",
    "function pair() view returns (uint256, address)",
];

fn set(expressions: &[&str]) -> WatchSet {
    let names = names(&ABI);
    let watched = (1..).zip(expressions).map(|(id, text)| {
        Watched::Program(ProgramInvariant {
            id,
            name: (*text).to_owned(),
            program: parse(text, &names).unwrap_or_else(|error| panic!("{error}")),
        })
    });
    WatchSet::new(watched.collect()).unwrap()
}

fn judged_under(hardfork: Hardfork, state: &dyn State, tx: &Transaction, expressions: &[&str]) -> Outcome {
    Engine::new(CHAIN)
        .judge_watched(
            tx,
            Context::new(&env(hardfork), state, &set(expressions), &Options::default()),
        )
        .unwrap()
}

fn judged(state: &dyn State, tx: &Transaction, expressions: &[&str]) -> Outcome {
    judged_under(Hardfork::Cancun, state, tx, expressions)
}

/// The reason of the only judgement, which is undecided.
fn reason(state: &dyn State, tx: &Transaction, expression: &str) -> Reason {
    undecided(&judged(state, tx, &[expression])).clone()
}

fn store(slot: u64, value: U256) -> Transaction {
    by_alice(call(VAULT, words(u(slot), value)))
}

/// A vault that stores and a target that runs this.
fn with_target(code: &str) -> CompleteState {
    let mut state = world(STORE, &[(1, u(150)), (2, u(1))]);
    contract(&mut state, TARGET, code);
    state
}

/// Runs it on half the stack that a thread usually has.
fn on_a_small_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    thread.join().unwrap()
}

#[test]
fn overflow_is_undecided_and_never_wraps_around() {
    let state = world(STORE, &[(1, u(150)), (2, u(1))]);
    let huge = store(2, U256::MAX);
    let slot = format!("slot({VAULT:#x}, 2, uint256, 0)");
    // 2^512 and more does not fit; whichever way it is asked, nobody learns that it holds.
    for relation in [">=", "<", "!="] {
        let cubed = format!("{slot} * {slot} * {slot} {relation} 1");
        let Reason::Arithmetic(why) = reason(&state, &huge, &cubed) else {
            panic!("{cubed}")
        };
        assert!(why.contains("512 bits"), "{why}");
    }
    // What fits into 512 bits is exact, far above 2^256.
    let squared = format!("{slot} * {slot} > {slot} * 2");
    let outcome = judged(&state, &huge, &[&squared]);
    assert_eq!(only(&outcome), (&Verdict::Holds, Some(Transition::Restored)));
    let margin = outcome.judgements[0].margin.unwrap().post.to_string();
    assert_eq!(margin.len(), 155, "2^512 has 155 digits: {margin}");
}

#[test]
fn the_wire_form_at_both_ends_of_its_numbers_does_not_overflow() {
    let state = world(STORE, &[(1, U256::MAX)]);
    let mut floor = at_least_100(VAULT, 1);
    floor.target = U256::MAX;
    let outcome = judge(&state, Hardfork::Cancun, &store(1, u(0)), &[floor]);
    assert_eq!(values(&outcome), (U256::MAX, U256::ZERO));
    let margin = outcome.judgements[0].margin.unwrap().post.to_string();
    assert_eq!(margin, format!("-{}", U256::MAX));
}

#[test]
fn division_by_zero_is_undecided_for_every_operation_that_divides() {
    let state = world(STORE, &[(1, u(150)), (2, u(1))]);
    let (dividend, divisor) = (
        format!("slot({VAULT:#x}, 1, uint256, 0)"),
        format!("slot({VAULT:#x}, 2, uint256, 0)"),
    );
    for expression in [
        format!("{dividend} / {divisor} >= 1"),
        format!("{dividend} % {divisor} == 0"),
        format!("not ({dividend} / {divisor} >= 1)"),
        format!("{divisor} / {divisor} == {dividend} / {divisor}"),
    ] {
        assert_eq!(
            reason(&state, &store(2, u(0)), &expression),
            Reason::Arithmetic("division by zero".to_owned()),
            "{expression}"
        );
        // The same expression has a value where the divisor does.
        let outcome = judged(&state, &store(2, u(2)), &[&expression]);
        assert_eq!(outcome.judgements.len(), 1);
        assert!(!matches!(outcome.judgements[0].verdict, Verdict::Undecided(_)));
    }
    // So is a constant one, which reads nothing and is always judged.
    assert_eq!(
        reason(&state, &store(9, u(1)), "1 / 0 == 1"),
        Reason::Arithmetic("division by zero".to_owned())
    );
}

#[test]
fn a_recursion_bomb_of_an_expression_is_refused_with_its_place_on_a_small_stack() {
    let deep = |open: &str, middle: &str, close: &str| {
        let times = 5_000;
        let text = format!("{}{middle}{}", open.repeat(times), close.repeat(times));
        on_a_small_stack(move || parse(&text, &Names::default()).unwrap_err())
    };
    for (open, middle, close) in [
        ("(", "1 == 1", ")"),
        ("not ", "true", ""),
        ("1 - (", "1", ")"),
        ("abs(", "1", ")"),
    ] {
        let error: LangError = deep(open, middle, close);
        assert!(error.message.contains("inside one another"), "{error}");
        assert!(error.span.end <= 10 * 5_000 + 10 && !error.span.is_empty(), "{error:?}");
        assert!(error.to_string().len() < 4_000, "the answer is short");
    }
}

#[test]
fn a_recursion_bomb_of_a_set_is_refused_in_both_formats_on_a_small_stack() {
    for (format, text) in [
        (Format::Json, "[".repeat(200_000)),
        (Format::Json, "{\"contracts\":".repeat(100_000)),
        (Format::Toml, format!("contracts = {}", "[".repeat(200_000))),
        (Format::Toml, format!("{}x = 1", "a.".repeat(100_000))),
        (Format::Toml, format!("contracts = {}", "{a=".repeat(100_000))),
    ] {
        let errors = on_a_small_stack(move || {
            InvariantSet::parse(&text, format, &mut |_| Err("no file".to_owned())).unwrap_err()
        });
        assert_eq!(errors.len(), 1, "{format:?}");
    }
}

/// Calls itself with all the gas it has until the stack of calls or the gas is at its end, and goes on as if nothing had been.
const CALL_ITSELF: &str = "60006000600060006000305af15000";
/// The same by static calls, so many of them a frame, and then returns 150.
fn ask_itself(times: usize) -> String {
    format!("{}609660005260206000f3", "6000600060006000305afa50".repeat(times))
}

#[test]
fn a_recursion_bomb_of_calls_ends_with_the_gas_of_the_transaction() {
    let state = world(CALL_ITSELF, &[(1, u(150))]);
    let tx = by_alice(TxLegacy {
        gas_limit: 30_000_000,
        ..call(VAULT, Bytes::new())
    });
    let outcome = on_a_small_stack(move || judge(&state, Hardfork::Cancun, &tx, &[at_least_100(VAULT, 1)]));
    assert_eq!(execution(&outcome).status, Status::Success);
    assert!(execution(&outcome).gas_used <= 30_000_000);
    assert_eq!(only(&outcome), (&Verdict::Holds, Some(Transition::Untouched)));
}

#[test]
fn a_recursion_bomb_of_a_view_ends_with_its_gas() {
    let expressions = ["target.value() >= 100", "slot(vault, 1, uint256, 0) >= 100"];
    let asked = |times| {
        let (state, tx) = (with_target(&ask_itself(times)), store(1, u(120)));
        let outcome = on_a_small_stack(move || judged(&state, &tx, &expressions));
        assert_eq!(outcome.judgements.last().unwrap().transition, Some(Transition::Kept));
        outcome
    };
    // Each call leaves its frame a 64th of what it had: after two of them enough for an answer, after four nothing.
    assert_eq!(
        asked(2).judgements.len(),
        1,
        "the view has a value, and nothing wrote what it reads"
    );
    let outcome = asked(4);
    let (contract, why) = (TARGET, ViewError::OutOfGas { gas: 1_000_000 });
    assert_eq!(
        outcome.judgements[0].verdict,
        Verdict::Undecided(Reason::View { contract, why })
    );
}

#[test]
fn ten_megabytes_of_expression_are_refused_unread() {
    for text in [
        "(".repeat(10 << 20),
        "1 == 1 and ".repeat(1 << 20),
        "€".repeat(4 << 20),
        "\"".repeat(10 << 20),
    ] {
        let bytes = text.len();
        let error = parse(&text, &Names::default()).unwrap_err();
        assert_eq!(
            error.message,
            format!("the expression has {bytes} bytes, more than the {MAX_TEXT} that one may have")
        );
        assert!(error.to_string().len() < 2_000);
    }
}

#[test]
fn ten_megabytes_of_expression_in_a_set_are_refused_with_their_key() {
    let expression = "1 == 1 and ".repeat(1 << 20);
    let json = json!({ "invariants": [{ "name": "long", "expression": expression }] }).to_string();
    let toml = format!("[[invariants]]\nname = \"long\"\nexpression = \"{expression}\"\n");
    for (format, text) in [(Format::Json, json), (Format::Toml, toml)] {
        let errors = InvariantSet::parse(&text, format, &mut |_| Err("no file".to_owned())).unwrap_err();
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert_eq!(error.key, "invariants[0].expression");
        assert!(error.to_string().len() < 2_000);
    }
    let beyond = " ".repeat(MAX_SET_TEXT + 1);
    let errors = InvariantSet::parse(&beyond, Format::Json, &mut |_| Err("no file".to_owned())).unwrap_err();
    assert!(errors[0].to_string().contains("more than the"), "{}", errors[0]);
}

#[test]
fn a_view_that_burns_all_gas_is_undecided_and_the_others_are_judged() {
    for burner in [
        FOREVER,
        // Halts: an invalid opcode takes all that is left, as does memory that nobody can pay.
        "fe",
        "6001600160ff1b52",
    ] {
        let state = with_target(burner);
        let outcome = judged(
            &state,
            &store(1, u(120)),
            &["target.value() >= 100", "slot(vault, 1, uint256, 0) >= 130"],
        );
        let Verdict::Undecided(Reason::View { contract, why }) = &outcome.judgements[0].verdict else {
            panic!("{outcome:?}")
        };
        assert_eq!(*contract, TARGET);
        assert!(
            matches!(why, ViewError::OutOfGas { .. } | ViewError::Halted(_)),
            "{why}"
        );
        assert_eq!(outcome.judgements[1].transition, Some(Transition::Broke));
    }
}

#[test]
fn a_view_that_burns_all_gas_is_asked_for_the_deadline_all_the_while() {
    let state = with_target(FOREVER);
    let looks = Cell::new(0_u64);
    let expired = || {
        looks.set(looks.get() + 1);
        looks.get() > 500
    };
    let options = Options {
        expired: Some(&expired),
        ..Options::default()
    };
    let watched = set(&["target.value() >= 100"]);
    let outcome = Engine::new(CHAIN)
        .judge_watched(
            &store(1, u(120)),
            Context::new(&env(Hardfork::Cancun), &state, &watched, &options),
        )
        .unwrap();
    assert_eq!(outcome.undecided, Some(Reason::Deadline));
    assert!(looks.get() < 510, "it went on for {} looks", looks.get());
}

#[test]
fn a_budget_beyond_any_block_buys_no_terabytes_of_memory() {
    // mstore(2^40, 1)
    let state = with_target("600165010000000000525b");
    let options = Options {
        view_gas: u64::MAX,
        views_gas: u64::MAX,
        ..Options::default()
    };
    let watched = set(&["target.value() >= 100"]);
    let outcome = Engine::new(CHAIN)
        .judge_watched(
            &store(1, u(120)),
            Context::new(&env(Hardfork::Cancun), &state, &watched, &options),
        )
        .unwrap();
    assert!(
        matches!(
            undecided(&outcome),
            Reason::View {
                contract: TARGET,
                why: ViewError::OutOfGas { .. }
            }
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_target_that_the_transaction_destroys_has_no_value_left_and_its_views_no_code() {
    let mut state = with_target("60aa60005260206000f3");
    // The vault destroys itself; everything that can be said of it is said.
    contract(&mut state, VAULT, DESTROY);
    state.0.accounts.get_mut(&VAULT).unwrap().storage = [(u(1), u(150))].into();
    let tx = by_alice(call(VAULT, Bytes::new()));
    let text = |text: &str| text.replace("VAULT", &format!("{VAULT:#x}"));
    let expressions = [
        text("slot(VAULT, 1, uint256, 0) >= 100"),
        text("balance(VAULT) == pre"),
        text("codehash(VAULT) == pre"),
        text("call(VAULT, 0x01020304, 0, uint256) >= 100"),
    ];
    let expressions: Vec<&str> = expressions.iter().map(String::as_str).collect();
    let outcome = judged_under(Hardfork::Shanghai, &state, &tx, &expressions);
    let broke: Vec<_> = outcome.violations().map(|witness| witness.invariant_id).collect();
    assert_eq!(broke, [1, 2, 3]);
    // Asked before, it ran into its own end: a static call may not destroy.
    let Verdict::Undecided(Reason::View { why, .. }) = &outcome.judgements[3].verdict else {
        panic!("{outcome:?}")
    };
    assert_eq!(*why, ViewError::NoCode);
}

#[test]
fn a_target_that_somebody_else_destroys_is_without_code_afterwards() {
    // The target answers 150 to four bytes and destroys itself otherwise; the vault calls it with nothing.
    let target = "366004146009 5733ff5b609660005260206000f3".replace(' ', "");
    let mut state = with_target(&target);
    contract(
        &mut state,
        VAULT,
        &format!("6000600060006000600073{}5af15000", hex::encode(TARGET)),
    );
    let tx = by_alice(call(VAULT, Bytes::new()));
    let outcome = judged_under(Hardfork::Shanghai, &state, &tx, &["target.value() >= 100"]);
    assert_eq!(execution(&outcome).status, Status::Success);
    assert_eq!(
        undecided(&outcome),
        &Reason::View {
            contract: TARGET,
            why: ViewError::NoCode
        }
    );
    // Since Cancun it only loses its balance (EIP-6780), and says what it said.
    let outcome = judged(&state, &tx, &["target.value() >= 100", "balance(target) == pre"]);
    let transitions: Vec<_> = outcome
        .judgements
        .iter()
        .map(|judgement| (judgement.invariant_id, judgement.transition))
        .collect();
    assert!(transitions.contains(&(2, Some(Transition::Broke))), "{transitions:?}");
    assert!(!transitions.contains(&(1, Some(Transition::Broke))), "{transitions:?}");
}

#[test]
fn an_empty_target_has_no_views_and_its_slots_are_zero() {
    let absent = world(STORE, &[(1, u(150))]);
    let mut empty = absent.clone();
    give(&mut empty, TARGET, U256::ZERO);
    let mut rich = absent.clone();
    give(&mut rich, TARGET, u(7));
    for state in [absent, empty, rich] {
        let tx = store(1, u(120));
        assert_eq!(
            reason(&state, &tx, "target.value() >= 100"),
            Reason::View {
                contract: TARGET,
                why: ViewError::NoCode
            }
        );
        let outcome = judged(
            &state,
            &tx,
            &[
                "slot(target, 1, uint256, 0) <= slot(vault, 1, uint256, 0)",
                "codehash(target) == codehash(vault)",
            ],
        );
        assert_eq!(only(&outcome), (&Verdict::Holds, Some(Transition::Kept)));
        // The original form over a slot of nobody: untouched.
        let outcome = judge(&state, Hardfork::Cancun, &tx, &[at_least_100(TARGET, 1)]);
        assert_eq!(only(&outcome), (&Verdict::Holds, Some(Transition::Untouched)));
    }
}

#[test]
fn an_abi_whose_function_the_contract_does_not_have_is_undecided() {
    let tx = store(1, u(120));
    // As solc compiles a contract that does not know the selector: it reverts, or its fallback returns nothing.
    for (code, expected) in [
        ("60006000fd", ViewError::Reverted),
        ("00", ViewError::Short { bytes: 0, needed: 32 }),
    ] {
        assert_eq!(
            reason(&with_target(code), &tx, "target.value() >= 100"),
            Reason::View {
                contract: TARGET,
                why: expected
            }
        );
    }
}

#[test]
fn an_abi_that_promises_more_than_the_contract_returns_is_undecided() {
    let tx = store(1, u(120));
    for (code, expression, bytes, needed) in [
        // 31 bytes, and one word where two are promised.
        ("601f6000f3", "target.value() >= 0", 31, 32),
        ("60206000f3", "target.pair()[1] == target", 32, 64),
    ] {
        let why = ViewError::Short { bytes, needed };
        let expected = Reason::View { contract: TARGET, why };
        assert_eq!(reason(&with_target(code), &tx, expression), expected);
    }
}

#[test]
fn an_abi_of_another_type_than_the_contract_returns_is_undecided() {
    let tx = store(1, u(120));
    // Two is no truth.
    let two = with_target("600260005260206000f3");
    let Reason::View {
        contract: TARGET,
        why: ViewError::Range { word, value_type },
    } = reason(&two, &tx, "target.paused() == false")
    else {
        panic!("decided")
    };
    assert_eq!((word, value_type), (u(2), ValueType::Bool));
    // One is.
    let outcome = judged(&with_target("600160005260206000f3"), &tx, &["target.paused() == false"]);
    assert!(outcome.judgements.is_empty(), "nothing that it reads was written");
}

#[test]
fn a_name_or_function_that_is_not_there_is_told_with_its_place() {
    let names = names(&ABI);
    for (text, wanted) in [
        ("nobody.value() >= 1", "nobody"),
        ("target.valeu() >= 1", "valeu"),
        ("vault.value() >= 1", "vault"),
        ("target.value(1) >= 1", "value"),
        ("target.paused() >= 1", ""),
    ] {
        let error = parse(text, &names).unwrap_err();
        let shown = error.to_string();
        assert!(shown.contains(wanted) && shown.contains('^'), "{shown}");
        assert!(error.span.end <= text.len());
    }
    let wrong = Contract::new(TARGET)
        .with_abi(&json!({ "abi": "nonsense" }))
        .unwrap_err();
    assert!(wrong.to_string().starts_with("abi: "), "{wrong}");
}

#[test]
fn an_engine_is_as_good_as_new_after_all_that() {
    let bad: [(CompleteState, Transaction); 4] = [
        (with_target(FOREVER), store(1, u(5))),
        (with_target(&ask_itself(4)), store(1, u(5))),
        (with_target("6001600160ff1b52"), store(1, u(5))),
        (world(CALL_ITSELF, &[]), by_alice(call(VAULT, Bytes::new()))),
    ];
    let watched = set(&["target.value() >= 100", "slot(vault, 1, uint256, 0) >= 100"]);
    let (good, tx) = (with_target("60aa60005260206000f3"), store(1, u(5)));
    let options = Options {
        digest: true,
        ..Options::default()
    };
    let env = env(Hardfork::Cancun);
    let fresh = Engine::new(CHAIN)
        .judge_watched(&tx, Context::new(&env, &good, &watched, &options))
        .unwrap();
    assert_ne!(fresh.execution.as_ref().unwrap().post_state_digest, B256::ZERO);
    let mut engine = Engine::new(CHAIN);
    for (state, bad_tx) in &bad {
        engine
            .judge_watched(bad_tx, Context::new(&env, state, &watched, &options))
            .unwrap();
        assert_eq!(
            engine
                .judge_watched(&tx, Context::new(&env, &good, &watched, &options))
                .unwrap(),
            fresh
        );
    }
}
