//! What a violation is explained by: the calls down to the very write that crossed the bound, and what was tried in vain.

use alloy::primitives::{hex, keccak256};
use engine::{
    Address, Bytes, CompleteState, Context, Engine, Hardfork, Options, Outcome, ProgramInvariant, Status, Transaction,
    U256, WatchSet, Watched,
    lang::{Contract, Names, parse},
};

use crate::world::*;

const OUTER: Address = Address::repeat_byte(0x99);
/// Both hand what they are called with on to the vault.
const FIRST: Address = Address::repeat_byte(0x11);
const SECOND: Address = Address::repeat_byte(0x22);

fn handing_on() -> String {
    format!("3660006000376000600036600060 0073{}5af150", hex::encode(VAULT)).replace(' ', "")
}

/// With four bytes of calldata the vault returns the slot that its slot 0 names, otherwise it stores.
const VAULT_CODE: &str = "36600414600f5760203560003555005b6000545460005260206000f3";

/// The vault's slot 0 names slot 1, where there are 150. The oracle says twice what the vault does.
fn town() -> CompleteState {
    let mut state = world(VAULT_CODE, &[(0, u(1)), (1, u(150)), (5, u(120))]);
    contract(&mut state, ORACLE, &doubling());
    contract(&mut state, FIRST, &handing_on());
    contract(&mut state, SECOND, &handing_on());
    contract(&mut state, OUTER, RUNNER);
    state
}

fn steps(steps: &[(Address, u64, u64)]) -> Transaction {
    let mut input = Vec::new();
    for (to, slot, value) in steps {
        input.extend_from_slice(to.into_word().as_slice());
        input.extend_from_slice(&words(u(*slot), u(*value)));
    }
    let tx = call(OUTER, Bytes::from(input));
    by_alice(alloy::consensus::TxLegacy {
        gas_limit: 2_000_000,
        ..tx
    })
}

/// "The oracle says at least 100"
fn oracle() -> Watched {
    Watched::View(view(1, ORACLE))
}

fn stated(id: u64, text: &str) -> Watched {
    let mut names = Names::default();
    names.insert("vault", Contract::new(VAULT)).unwrap();
    names.insert("oracle", Contract::new(ORACLE)).unwrap();
    Watched::Program(ProgramInvariant {
        id,
        name: text.to_owned(),
        program: parse(text, &names).unwrap_or_else(|error| panic!("{error}")),
    })
}

fn judged(state: &CompleteState, tx: &Transaction, watched: Vec<Watched>) -> Outcome {
    let options = Options {
        warnings: true,
        ..Options::default()
    };
    let set = WatchSet::new(watched).unwrap();
    Engine::new(CHAIN)
        .judge_watched(tx, Context::new(&env(Hardfork::Cancun), state, &set, &options))
        .unwrap()
}

/// The addresses that were called down to the crossing, of the only violation.
fn path(outcome: &Outcome) -> Vec<Address> {
    assert_eq!(execution(outcome).status, Status::Success);
    let violations: Vec<_> = outcome.violations().collect();
    let [witness] = violations[..] else {
        panic!("{outcome:?}")
    };
    witness.path.iter().map(|call| call.address).collect()
}

#[test]
fn the_path_of_a_view_leads_to_the_write_that_crossed_and_not_to_the_last() {
    let state = town();
    let tx = steps(&[(SECOND, 1, 60), (FIRST, 1, 40), (SECOND, 1, 45)]);
    assert_eq!(path(&judged(&state, &tx, vec![oracle()])), [OUTER, FIRST, VAULT]);
    // Mended in between: what counts is the last time that it broke.
    let tx = steps(&[(FIRST, 1, 40), (FIRST, 1, 70), (SECOND, 1, 45), (FIRST, 1, 44)]);
    assert_eq!(path(&judged(&state, &tx, vec![oracle()])), [OUTER, SECOND, VAULT]);
}

#[test]
fn the_path_of_a_view_is_exact_where_the_transaction_moves_what_it_reads() {
    let state = town();
    // The oracle is turned to slot 5, which nothing read before; that is then emptied; the last write it read at first is harmless.
    let tx = steps(&[(SECOND, 0, 5), (FIRST, 5, 3), (SECOND, 1, 149)]);
    assert_eq!(path(&judged(&state, &tx, vec![oracle()])), [OUTER, FIRST, VAULT]);
}

#[test]
fn the_path_of_an_expression_leads_to_the_write_after_which_it_does_not_hold() {
    let state = town();
    let sum = || stated(1, "slot(vault, 1, uint256, 0) + slot(vault, 5, uint256, 0) >= 200");
    let tx = steps(&[(SECOND, 5, 110), (FIRST, 1, 80), (SECOND, 5, 109), (SECOND, 9, 1)]);
    assert_eq!(path(&judged(&state, &tx, vec![sum()])), [OUTER, FIRST, VAULT]);
    // One that speaks of the change, and one that asks a view too.
    let change = stated(1, "delta(slot(vault, 1, uint256, 0)) >= -10");
    let tx = steps(&[(SECOND, 1, 145), (FIRST, 1, 139), (SECOND, 1, 138)]);
    assert_eq!(path(&judged(&state, &tx, vec![change])), [OUTER, FIRST, VAULT]);
    let both = stated(
        1,
        "call(oracle, 0x01020304, 0, uint256) >= 2 * slot(vault, 5, uint256, 0)",
    );
    let tx = steps(&[(SECOND, 1, 130), (FIRST, 5, 131), (SECOND, 1, 125)]);
    assert_eq!(path(&judged(&state, &tx, vec![both])), [OUTER, FIRST, VAULT]);
}

/// Logs a transfer of nothing from nobody, and goes on.
fn minting() -> String {
    let topic = keccak256("Transfer(address,address,uint256)");
    format!("600060007f{}60006000a3", hex::encode(topic))
}

#[test]
fn the_path_of_an_event_leads_to_the_call_that_logged_it() {
    let mut state = town();
    contract(&mut state, FIRST, &minting());
    let none = || stated(1, "count(Transfer from 0x0) == 0");
    let tx = steps(&[(SECOND, 1, 149), (FIRST, 0, 0), (SECOND, 1, 148)]);
    assert_eq!(path(&judged(&state, &tx, vec![none()])), [OUTER, FIRST]);
    // The second one is one too many.
    let one = stated(1, "count(Transfer from 0x0) <= 1");
    contract(&mut state, SECOND, &format!("{}{}", minting(), handing_on()));
    let tx = steps(&[(FIRST, 0, 0), (SECOND, 1, 149)]);
    assert_eq!(path(&judged(&state, &tx, vec![one])), [OUTER, SECOND]);
}

#[test]
fn several_violations_have_each_its_own_path() {
    let state = town();
    let watched = vec![
        oracle(),
        stated(2, "slot(vault, 5, uint256, 0) >= 100"),
        Watched::Slot(engine::Invariant {
            id: 3,
            ..at_least_100(VAULT, 1)
        }),
    ];
    let tx = steps(&[(FIRST, 5, 7), (SECOND, 1, 90), (FIRST, 1, 10)]);
    let outcome = judged(&state, &tx, watched);
    let paths: Vec<_> = outcome
        .violations()
        .map(|witness| (witness.invariant_id, witness.path[1].address))
        .collect();
    assert_eq!(paths, [(1, FIRST), (2, FIRST), (3, SECOND)]);
}

#[test]
fn a_call_whose_caller_was_undone_is_on_no_path() {
    let mut state = town();
    contract(&mut state, FIRST, &format!("{}60006000fd", handing_on()));
    // Undone with what the vault did for it; what follows takes its place in the history.
    let tx = steps(&[(FIRST, 7, 1), (SECOND, 1, 40), (SECOND, 8, 1)]);
    let slot = || {
        Watched::Slot(engine::Invariant {
            id: 1,
            ..at_least_100(VAULT, 1)
        })
    };
    assert_eq!(path(&judged(&state, &tx, vec![slot()])), [OUTER, SECOND, VAULT]);
    assert_eq!(path(&judged(&state, &tx, vec![oracle()])), [OUTER, SECOND, VAULT]);
}

#[test]
fn a_path_is_found_within_the_gas_of_the_views_or_is_that_of_the_last_write() {
    let state = town();
    let tx = steps(&[(FIRST, 1, 40), (SECOND, 1, 45)]);
    let set = WatchSet::new(vec![oracle()]).unwrap();
    let found = |views_gas| {
        let options = Options {
            views_gas,
            ..Options::default()
        };
        let outcome = Engine::new(CHAIN)
            .judge_watched(&tx, Context::new(&env(Hardfork::Cancun), &state, &set, &options))
            .unwrap();
        path(&outcome)
    };
    assert_eq!(found(100_000_000), [OUTER, FIRST, VAULT]);
    // Enough for one call, before and after, and no more.
    assert_eq!(found(8_000), [OUTER, SECOND, VAULT]);
}

#[test]
fn what_a_view_would_have_said_when_a_frame_was_undone_is_a_warning() {
    let mut state = town();
    // What the vault did for the first is undone when the first reverts; the transaction goes on, and reverts as well.
    contract(&mut state, FIRST, &format!("{}60006000fd", handing_on()));
    let code = format!("{}60006000fd", RUNNER.trim_end_matches("00"));
    contract(&mut state, OUTER, &code);
    let watched = vec![
        oracle(),
        stated(
            2,
            "slot(vault, 5, uint256, 0) >= 100 and call(oracle, 0x01020304, 0, uint256) >= 100",
        ),
        stated(3, "slot(vault, 1, uint256, 0) >= 100"),
    ];
    let tx = steps(&[(FIRST, 1, 40), (SECOND, 5, 3), (SECOND, 1, 70)]);
    let outcome = judged(&state, &tx, watched);
    assert_eq!(execution(&outcome).status, Status::Revert);
    let warnings: Vec<_> = outcome
        .warnings
        .iter()
        .map(|warning| {
            (
                warning.invariant_id,
                warning.frame.address,
                warning.pre,
                warning.at_revert,
            )
        })
        .collect();
    let (yes, no) = (U256::from(1), U256::ZERO);
    assert_eq!(
        warnings,
        [(1, FIRST, u(300), u(80)), (2, FIRST, yes, no), (3, FIRST, yes, no)],
        "in the inner frame all three"
    );
    // Without the first, the outer frame alone: 70 doubled are enough for the oracle.
    let outcome = judged(
        &state,
        &steps(&[(SECOND, 5, 3), (SECOND, 1, 70)]),
        vec![
            oracle(),
            stated(
                2,
                "slot(vault, 5, uint256, 0) >= 100 and call(oracle, 0x01020304, 0, uint256) >= 100",
            ),
            stated(3, "slot(vault, 1, uint256, 0) >= 100"),
        ],
    );
    let warned: Vec<_> = outcome
        .warnings
        .iter()
        .map(|warning| (warning.invariant_id, warning.frame.address))
        .collect();
    assert_eq!(warned, [(2, OUTER), (3, OUTER)]);
}

#[test]
fn what_a_frame_logged_before_it_was_undone_is_a_warning() {
    let mut state = town();
    contract(&mut state, OUTER, &format!("{}60006000fd", minting()));
    let outcome = judged(
        &state,
        &steps(&[]),
        vec![
            stated(1, "count(Transfer from 0x0) == 0"),
            stated(2, "count(Transfer from 0x0) <= 1"),
        ],
    );
    let warned: Vec<_> = outcome.warnings.iter().map(|warning| warning.invariant_id).collect();
    assert_eq!(warned, [1]);
    assert!(outcome.judgements.is_empty(), "nothing happened: {outcome:?}");
}
