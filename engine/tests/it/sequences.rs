//! A sequence runs on one journal; whatever is in it, it says what committing each transaction before the next would.

use std::collections::BTreeSet;

use alloy::primitives::{TxKind, hex, keccak256};
use engine::{
    Address, Comparison, CompleteState, Context, Engine, Hardfork, Invariant, Options, Outcome, ProgramInvariant,
    Replay, State, Transaction, Transition, ValueType, ViewInvariant, WatchSet, Watched,
    case::{Case, CaseKind, Expect},
    lang::{Contract, Names, parse},
};
use proptest::prelude::*;

use crate::{common::on_every_case, data::recorded, world::*};

/// What judging each transaction on the committed state of the ones before gives, and that state at the end.
fn one_by_one(case: Case, set: &WatchSet, options: &Options<'_>) -> (Vec<Outcome>, CompleteState) {
    let transactions = case.transactions.clone();
    let mut engine = Engine::new(case.chain_id);
    let mut replay = Replay::new(case);
    let env = replay.env().clone();
    let outcomes = transactions
        .iter()
        .map(|tx| {
            let outcome = engine
                .judge_watched(tx, Context::new(&env, replay.state(), set, options))
                .unwrap();
            replay.next().unwrap().unwrap();
            outcome
        })
        .collect();
    (outcomes, replay.state().clone())
}

/// Judges a case both ways, with everything that can be wished for, and returns the number of violations and of warnings.
fn both_ways(case: Case, set: &WatchSet) -> (usize, usize) {
    let options = Options {
        digest: true,
        warnings: true,
        ..Options::default()
    };
    let (id, before) = (case.id.clone(), case.pre.clone());
    let mut engine = Engine::new(case.chain_id);
    let sequence = engine
        .judge_sequence(&case.transactions, Context::new(&case.block, &before, set, &options))
        .unwrap();
    let (expected, after) = one_by_one(case, set, &options);
    assert_eq!(sequence.undecided, None, "{id}");
    for (index, (one, other)) in sequence.each.iter().zip(&expected).enumerate() {
        assert_eq!(one, other, "{id} #{index}");
    }
    assert_eq!(sequence.each.len(), expected.len());
    // Together: those whose slot is another one now.
    let slots = set.watched().iter().filter_map(|watched| match watched {
        Watched::Slot(invariant) => Some(invariant),
        _ => None,
    });
    for invariant in slots {
        let word = |state: &CompleteState| state.storage(invariant.contract, invariant.slot).unwrap();
        let (pre, post) = (word(&before), word(&after));
        let judged = sequence
            .whole
            .iter()
            .find(|judgement| judgement.invariant_id == invariant.id);
        let transition = match (invariant.holds(pre), invariant.holds(post)) {
            _ if pre == post => None,
            (true, true) => Some(Transition::Kept),
            (true, false) => Some(Transition::Broke),
            (false, true) => Some(Transition::Restored),
            (false, false) => Some(Transition::StayedBroken),
        };
        let seen = judged.and_then(|judgement| judgement.transition);
        let seen = seen.filter(|_| pre != post);
        assert_eq!(seen, transition, "{id}: {}", invariant.name);
    }
    let each = || sequence.each.iter();
    (
        each().map(|outcome| outcome.violations().count()).sum(),
        each().map(|outcome| outcome.warnings.len()).sum(),
    )
}

/// "Nothing of what this case changes becomes less", for so many of its slots.
fn nothing_less(case: &Case, most: usize) -> WatchSet {
    let mut after = Replay::new(case.clone());
    after.by_ref().for_each(|step| drop(step.unwrap()));
    let mut slots = BTreeSet::new();
    for (address, known) in &after.state().0.accounts {
        for (slot, value) in &known.storage {
            if case.pre.storage(*address, *slot).unwrap() != *value {
                slots.insert((*slot, *address));
            }
        }
    }
    let watched = slots.iter().take(most).enumerate().map(|(id, (slot, contract))| {
        Watched::Slot(Invariant {
            id: id as u64,
            name: format!("{contract} {slot}"),
            contract: *contract,
            slot: *slot,
            value_type: ValueType::Uint(256),
            offset: 0,
            comparison: Comparison::Ge,
            target: case.pre.storage(*contract, *slot).unwrap(),
        })
    });
    WatchSet::new(watched.collect()).unwrap()
}

#[test]
fn every_recorded_block_as_one_sequence_is_what_its_transactions_are_one_by_one() {
    let Some(path) = recorded("blocks") else { return };
    let counts = on_every_case(&path, |case| {
        let set = nothing_less(&case, 64);
        let transactions = case.transactions.len();
        let (violations, warnings) = both_ways(case, &set);
        (transactions, violations, warnings)
    });
    let sum = |what: fn(&(usize, usize, usize)) -> usize| counts.iter().map(what).sum::<usize>();
    let (transactions, violations, warnings) = (sum(|c| c.0), sum(|c| c.1), sum(|c| c.2));
    eprintln!(
        "{transactions} transactions in sequences, {violations} violations and {warnings} warnings, all as one by one"
    );
    assert!(transactions >= 11_784 && violations > 100);
}

const OUTER: Address = Address::repeat_byte(0x99);
const REVERTS: Address = Address::repeat_byte(0x11);
const MINTS: Address = Address::repeat_byte(0x22);
const DIES: Address = Address::repeat_byte(0x33);
const CREATES: Address = Address::repeat_byte(0x44);
const PLACES: [Address; 7] = [
    Address::ZERO,
    VAULT,
    REVERTS,
    MINTS,
    DIES,
    CREATES,
    Address::repeat_byte(0x55),
];

/// The vault names the slot that it returns in its slot 0; the oracle says twice that; and there are some who revert, log, die and
/// create.
fn town() -> CompleteState {
    let mut state = world(
        "36600414600f5760203560003555005b6000545460005260206000f3",
        &[(0, u(1)), (1, u(70))],
    );
    contract(&mut state, ORACLE, &doubling());
    contract(&mut state, REVERTS, STORE_AND_REVERT);
    let topic = keccak256("Transfer(address,address,uint256)");
    contract(
        &mut state,
        MINTS,
        &format!("600060007f{}60006000a3", hex::encode(topic)),
    );
    contract(&mut state, DIES, DESTROY);
    // create(0, 0, 0), then store the new address in slot 0.
    contract(&mut state, CREATES, "600060006000f0600055");
    contract(&mut state, OUTER, RUNNER);
    state
}

fn watched() -> WatchSet {
    let mut names = Names::default();
    for (name, address) in [
        ("vault", VAULT),
        ("oracle", ORACLE),
        ("dies", DIES),
        ("creates", CREATES),
        ("outer", OUTER),
    ] {
        names.insert(name, Contract::new(address)).unwrap();
    }
    let texts = [
        "call(oracle, 0x01020304, 0, uint256) >= 100",
        "slot(vault, 1, uint256, 0) + slot(outer, 1, uint256, 0) <= 120",
        "delta(slot(outer, 2, uint256, 0)) >= -3",
        "balance(dies) == pre and codehash(dies) == pre",
        "nonce(creates) <= 3",
        "count(Transfer from 0x0) <= 1",
        "call(oracle, 0x01020304, 0, uint256) >= 2 * slot(outer, 1, uint256, 0) or block.number == 3",
    ];
    let mut all: Vec<Watched> = (10..)
        .zip(texts)
        .map(|(id, text)| {
            Watched::Program(ProgramInvariant {
                id,
                name: text.to_owned(),
                program: parse(text, &names).unwrap_or_else(|error| panic!("{error}")),
            })
        })
        .collect();
    all.push(Watched::View(ViewInvariant {
        target: u(90),
        ..view(1, ORACLE)
    }));
    all.push(Watched::Slot(Invariant {
        id: 2,
        target: u(60),
        ..at_least_100(VAULT, 1)
    }));
    WatchSet::new(all).unwrap()
}

type Step = (usize, u64, u64);

/// One transaction for each list of steps; every seventh nonce is wrong.
fn case(hardfork: Hardfork, lists: &[(u64, Vec<Step>)]) -> Case {
    let mut nonce = 0;
    let transactions: Vec<Transaction> = lists
        .iter()
        .map(|(skip, steps)| {
            let mut input = Vec::new();
            for (place, slot, value) in steps {
                input.extend_from_slice(PLACES[*place].into_word().as_slice());
                input.extend_from_slice(&words(u(*slot), u(*value)));
            }
            let wrong = u64::from(*skip == 0);
            let tx = alloy::consensus::TxLegacy {
                nonce: nonce + wrong,
                gas_limit: 3_000_000,
                to: TxKind::Call(OUTER),
                ..call(OUTER, input.into())
            };
            nonce += 1 - wrong;
            by_alice(tx)
        })
        .collect();
    Case {
        id: "drawn".to_owned(),
        kind: CaseKind::Tx,
        chain_id: CHAIN,
        hardfork,
        relaxed: false,
        block: env(hardfork),
        block_hash: None,
        parent_hash: None,
        transactions,
        pre: town(),
        expect: Expect::default(),
        invariants: Vec::new(),
        inexpressible: Vec::new(),
    }
}

fn lists() -> impl Strategy<Value = Vec<(u64, Vec<Step>)>> {
    let step = (0..PLACES.len(), 0_u64..3, prop_oneof![0_u64..4, 30_u64..90]);
    prop::collection::vec((0_u64..7, prop::collection::vec(step, 0..5)), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_drawn_sequence_is_what_its_transactions_are_one_by_one(
        lists in lists(),
        hardfork in prop_oneof![Just(Hardfork::Homestead), Just(Hardfork::Shanghai), Just(Hardfork::Prague)],
    ) {
        both_ways(case(hardfork, &lists), &watched());
    }
}

#[test]
fn a_contract_that_died_earlier_in_a_sequence_is_gone_for_the_rest_of_it() {
    // It has the slot that the vault's oracle is turned to; after its death that is zero, and its code is no more.
    let lists = [
        (1, vec![(4, 0, 0)]),
        (1, vec![(4, 0, 0), (1, 1, 50)]),
        (1, vec![(5, 0, 0)]),
        (1, vec![(5, 0, 0)]),
    ];
    let (violations, _) = both_ways(case(Hardfork::Shanghai, &lists), &watched());
    assert!(violations >= 2, "its code hash, and the oracle");
}

#[test]
fn what_a_sequence_learns_on_its_way_is_not_taken_for_the_state_before_it() {
    let state = town();
    let set = watched();
    let options = Options {
        state_id: Some(keccak256("a head")),
        ..Options::default()
    };
    let block = env(Hardfork::Cancun);
    let mut engine = Engine::new(CHAIN);
    let judge = |engine: &mut Engine| {
        let tx = &case(Hardfork::Cancun, &[(1, vec![(1, 1, 40)])]).transactions[0];
        engine
            .judge_watched(tx, Context::new(&block, &state, &set, &options))
            .unwrap()
    };
    let first = judge(&mut engine);
    let lists = [(1, vec![(1, 0, 2)]), (1, vec![(1, 2, 80)]), (1, vec![(1, 1, 3)])];
    let sequence = engine
        .judge_sequence(
            &case(Hardfork::Cancun, &lists).transactions,
            Context::new(&block, &state, &set, &options),
        )
        .unwrap();
    assert_eq!(sequence.each.len(), 3);
    assert_eq!(judge(&mut engine), first);
}
