//! Whole sets of invariants: what triggers them, views, budgets, evidence, and sequences.

use std::{cell::Cell, time::Duration};

use alloy::primitives::hex;
use engine::{
    Account, AccountState, Address, BlockEnv, Bytes, Comparison, CompleteState, Engine, Hardfork, Invariant, Missing,
    Options, Outcome, Prestate, Reason, State, Status, Transaction, Transition, U256, ValueType, Verdict, ViewError,
    ViewInvariant, ViewTime, WatchError, WatchSet, Watched, lang::View,
};

use crate::world::*;

const ORACLE: Address = Address::repeat_byte(0x0a);
/// Returns slot 1.
const RETURN_SLOT_ONE: &str = "60015460005260206000f3";

fn slot(id: u64, contract: Address, slot: u64) -> Watched {
    Watched::Slot(Invariant {
        id,
        ..at_least_100(contract, slot)
    })
}

/// "The first word that this contract returns is at least 100"
fn view(id: u64, contract: Address) -> ViewInvariant {
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

fn set(watched: impl IntoIterator<Item = Watched>) -> WatchSet {
    WatchSet::new(watched.into_iter().collect()).unwrap()
}

fn at(hardfork: Hardfork) -> BlockEnv {
    env(hardfork)
}

fn watch(state: &dyn State, tx: &Transaction, set: &WatchSet, options: &Options<'_>) -> Outcome {
    Engine::new(CHAIN)
        .judge_watched(&at(Hardfork::Cancun), tx, state, set, options)
        .unwrap()
}

fn store(slot: u64, value: u64) -> Transaction {
    by_alice(call(VAULT, words(u(slot), u(value))))
}

/// Bytecode that calls an address with the transaction's calldata, with this operation (0xf1 call, 0xf4 delegatecall), and goes on.
fn calling(to: Address, operation: u8) -> String {
    let value = if operation == 0xf1 { "6000" } else { "" };
    format!(
        "366000600037600060003660 00{value}73{}5a{operation:02x}50",
        hex::encode(to)
    )
    .replace(' ', "")
}

#[test]
fn only_what_reads_what_was_written_is_judged_and_in_the_order_of_the_set() {
    let state = world(STORE, &[(1, u(150)), (2, u(150))]);
    let watched: Vec<Watched> = [
        slot(9, VAULT, 1),
        slot(3, VAULT, 2),
        slot(5, ORACLE, 1),
        slot(1, VAULT, 1),
    ]
    .into();
    let outcome = watch(&state, &store(1, 5), &set(watched), &Options::default());
    let ids: Vec<_> = outcome
        .judgements
        .iter()
        .map(|judgement| judgement.invariant_id)
        .collect();
    assert_eq!(ids, [9, 1]);
    assert!(
        outcome
            .judgements
            .iter()
            .all(|judgement| judgement.transition == Some(Transition::Broke))
    );
    assert_eq!(outcome.undecided, None);
    let margins = outcome.judgements[0].margin.unwrap();
    assert_eq!(
        (margins.pre.to_string(), margins.post.to_string()),
        ("50".into(), "-95".into())
    );
    // Written with what was there: nothing is judged.
    assert!(
        watch(&state, &store(1, 150), &set([slot(1, VAULT, 1)]), &Options::default())
            .judgements
            .is_empty()
    );
}

#[test]
fn a_set_says_what_the_slice_says() {
    let state = world(STORE, &[(1, u(150)), (2, u(50))]);
    let invariants: Vec<Invariant> = (0..40)
        .map(|id| Invariant {
            id,
            target: u(id * 10),
            ..at_least_100(if id % 3 == 0 { ORACLE } else { VAULT }, id % 4)
        })
        .collect();
    let set = set(invariants.iter().cloned().map(Watched::from));
    let mut engine = Engine::new(CHAIN);
    for (slot, value) in [(0, 7), (1, 100), (1, 150), (2, 0), (2, 300), (3, 1)] {
        let tx = store(slot, value);
        let env = at(Hardfork::Cancun);
        let simple = engine.judge(&env, &tx, &state, &invariants).unwrap();
        let options = Options {
            digest: true,
            call_path: false,
            ..Options::default()
        };
        let watched = engine.judge_watched(&env, &tx, &state, &set, &options).unwrap();
        let touched: Vec<_> = simple
            .judgements
            .into_iter()
            .filter(|judgement| judgement.transition != Some(Transition::Untouched))
            .collect();
        assert_eq!(
            (watched.execution, watched.judgements),
            (simple.execution, touched),
            "slot {slot}"
        );
    }
}

#[test]
fn two_invariants_of_one_id_make_no_set() {
    assert_eq!(
        WatchSet::new(vec![slot(1, VAULT, 1), slot(1, VAULT, 2)]).unwrap_err(),
        WatchError::SameId(1)
    );
}

#[test]
fn a_destroyed_contract_triggers_whatever_reads_it() {
    let state = world(DESTROY, &[(1, u(150))]);
    let tx = by_alice(call(VAULT, Bytes::new()));
    let outcome = Engine::new(CHAIN)
        .judge_watched(
            &at(Hardfork::Shanghai),
            &tx,
            &state,
            &set([slot(1, VAULT, 1), Watched::View(view(2, VAULT))]),
            &Options::default(),
        )
        .unwrap();
    assert_eq!(
        values(&Outcome {
            judgements: outcome.judgements[..1].to_vec(),
            ..Outcome::default()
        }),
        (u(150), u(0))
    );
    // Its view returned nothing before, and there is nobody left to be asked.
    assert!(matches!(
        &outcome.judgements[1].verdict,
        Verdict::Undecided(Reason::View {
            why: ViewError::NoCode,
            ..
        })
    ));
    let witness = outcome.violations().next().unwrap();
    assert_eq!(
        witness.path.iter().map(|call| call.address).collect::<Vec<_>>(),
        [VAULT]
    );
}

/// The vault stores; the oracle's view returns twice what it finds in the vault's slot 1.
fn oracle() -> CompleteState {
    // Vault: with 4 bytes of calldata return slot 1, else store.
    let vault = format!("36600414600f5760203560003555005b{RETURN_SLOT_ONE}");
    let mut state = world(&vault, &[(1, u(150))]);
    // Oracle: staticcall the vault with 4 bytes, return the word doubled.
    let code = format!(
        "602060006004600073{}5afa5060005160020260005260206000f3",
        hex::encode(VAULT)
    );
    contract(&mut state, ORACLE, &code);
    state
}

#[test]
fn a_view_is_judged_when_what_it_read_was_written_even_in_another_contract() {
    let state = oracle();
    let set = set([Watched::View(view(4, ORACLE))]);
    let transition = |value| {
        let outcome = watch(&state, &store(1, value), &set, &Options::default());
        outcome.judgements.first().map(|judgement| {
            (
                judgement.transition.unwrap(),
                judgement.margin.unwrap().post.to_string(),
            )
        })
    };
    assert_eq!(transition(60), Some((Transition::Kept, "20".to_owned())));
    assert_eq!(transition(49), Some((Transition::Broke, "-2".to_owned())));
    let untouched = watch(&state, &store(2, 9), &set, &Options::default());
    assert_eq!(
        (untouched.execution.unwrap().status, untouched.judgements.len()),
        (Status::Success, 0)
    );
    let broken = watch(&state, &store(1, 49), &set, &Options::default());
    let witness = broken.violations().next().unwrap();
    assert_eq!((witness.contract, witness.pre, witness.post), (ORACLE, u(300), u(98)));
    assert_eq!(witness.readings[0].label, "view 4");
    assert_eq!(
        witness.path.iter().map(|call| call.address).collect::<Vec<_>>(),
        [VAULT]
    );
}

#[test]
fn judging_with_views_leaves_execution_and_digest_as_they_are() {
    let state = oracle();
    let watched = set([Watched::View(view(4, ORACLE))]);
    let (env, tx, mut engine) = (at(Hardfork::Cancun), store(1, 49), Engine::new(CHAIN));
    let plain = engine.judge(&env, &tx, &state, &[]).unwrap();
    let options = Options {
        digest: true,
        ..Options::default()
    };
    let with_view = engine.judge_watched(&env, &tx, &state, &watched, &options).unwrap();
    assert_eq!(with_view.execution, plain.execution);
    assert_eq!(
        engine.judge_watched(&env, &tx, &state, &watched, &options).unwrap(),
        with_view,
        "and again"
    );
}

/// A state that counts how often storage is read.
struct Counting<'a>(&'a CompleteState, Cell<usize>);

impl State for Counting<'_> {
    fn account(&self, address: Address) -> Result<Option<Account>, engine::StateError> {
        self.0.account(address)
    }
    fn code(&self, code_hash: engine::B256) -> Result<Bytes, engine::StateError> {
        self.0.code(code_hash)
    }
    fn storage(&self, address: Address, slot: U256) -> Result<U256, engine::StateError> {
        self.1.set(self.1.get() + 1);
        self.0.storage(address, slot)
    }
    fn block_hash(&self, number: u64) -> Result<engine::B256, engine::StateError> {
        self.0.block_hash(number)
    }
}

#[test]
fn views_of_a_named_state_are_learnt_once() {
    let whole = oracle();
    let state = Counting(&whole, Cell::new(0));
    let set = set([Watched::View(view(4, ORACLE))]);
    let (env, mut engine) = (at(Hardfork::Cancun), Engine::new(CHAIN));
    let mut reads = |options: &Options<'_>, env: &BlockEnv| {
        state.1.set(0);
        let outcome = engine.judge_watched(env, &store(2, 9), &state, &set, options).unwrap();
        assert!(outcome.judgements.is_empty());
        state.1.get()
    };
    let named = Options {
        state_id: Some(engine::B256::repeat_byte(1)),
        ..Options::default()
    };
    assert_eq!(reads(&named, &env), 2, "the view's and the transaction's");
    assert_eq!(reads(&named, &env), 1);
    let next = BlockEnv {
        timestamp: env.timestamp + 12,
        ..env.clone()
    };
    assert_eq!(reads(&named, &next), 2, "another block is another state");
    assert_eq!(reads(&Options::default(), &env), 2);
    assert_eq!(reads(&Options::default(), &env), 2, "without a name nothing is kept");
}

#[test]
fn a_view_that_reads_the_time_always_runs() {
    // timestamp
    let mut state = world(STORE, &[]);
    contract(&mut state, ORACLE, "4260005260206000f3");
    let outcome = watch(
        &state,
        &store(1, 1),
        &set([Watched::View(view(1, ORACLE))]),
        &Options::default(),
    );
    assert_eq!(outcome.judgements.len(), 1);
    assert_eq!(outcome.judgements[0].transition, Some(Transition::Kept));
}

fn only_reason(outcome: &Outcome) -> &Reason {
    undecided(outcome)
}

fn refused(outcome: &Outcome) -> &ViewError {
    match only_reason(outcome) {
        Reason::View { contract, why } => {
            assert_eq!(*contract, ORACLE);
            why
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_view_without_value_is_undecided_with_its_reason_whatever_is_written() {
    let of = |code: &str, value_type, word| {
        let mut state = world(STORE, &[]);
        if code.is_empty() {
            give(&mut state, ORACLE, u(1));
        } else {
            contract(&mut state, ORACLE, code);
        }
        let mut invariant = view(1, ORACLE);
        (invariant.view.value_type, invariant.view.word) = (value_type, word);
        let outcome = watch(
            &state,
            &store(1, 1),
            &set([Watched::View(invariant)]),
            &Options::default(),
        );
        refused(&outcome).clone()
    };
    let uint = ValueType::Uint(256);
    assert_eq!(of("", uint, 0), ViewError::NoCode);
    assert_eq!(of(FOREVER, uint, 0), ViewError::OutOfGas { gas: 1_000_000 });
    assert_eq!(of("60006000fd", uint, 0), ViewError::Reverted);
    assert!(matches!(of("fe", uint, 0), ViewError::Halted(_)));
    // It tries to write.
    assert!(matches!(of("600160015500", uint, 0), ViewError::Halted(_)));
    assert_eq!(of("00", uint, 0), ViewError::Short { bytes: 0, needed: 32 });
    assert_eq!(of("60206000f3", uint, 1), ViewError::Short { bytes: 32, needed: 64 });
    // It returns 2^256 - 1, which is no bool, no address and no bytes4.
    for value_type in [ValueType::Bool, ValueType::Address, ValueType::FixedBytes(4)] {
        let range = of("60001960005260206000f3", value_type, 0);
        assert_eq!(
            range,
            ViewError::Range {
                word: U256::MAX,
                value_type
            }
        );
    }
}

#[test]
fn views_share_the_gas_of_their_challenge() {
    let mut state = world(STORE, &[]);
    contract(&mut state, ORACLE, FOREVER);
    let mut other = view(2, ORACLE);
    other.view.calldata = Bytes::from_static(&[9]);
    let mut third = view(3, ORACLE);
    third.view.calldata = Bytes::from_static(&[8]);
    let set = set([
        Watched::View(view(1, ORACLE)),
        Watched::View(other),
        Watched::View(third),
    ]);
    let options = Options {
        view_gas: 100_000,
        views_gas: 150_000,
        ..Options::default()
    };
    let outcome = watch(&state, &store(1, 1), &set, &options);
    let why: Vec<_> = outcome
        .judgements
        .iter()
        .map(|judgement| match &judgement.verdict {
            Verdict::Undecided(Reason::View { why, .. }) => why.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        why,
        [
            ViewError::OutOfGas { gas: 100_000 },
            ViewError::Budget,
            ViewError::Budget
        ]
    );
}

#[test]
fn what_a_view_costs_does_not_depend_on_what_the_engine_ran_before() {
    // Asks the precompile that copies, which is warm for everybody, and then returns 150.
    let mut state = world(STORE, &[(1, u(150))]);
    contract(&mut state, ORACLE, "6000600060006000600461fffffa50609660005260206000f3");
    let watched = set([Watched::View(view(1, ORACLE))]);
    let mut used = Engine::new(CHAIN);
    let mut decided = 0;
    for view_gas in (100..4_000).step_by(100) {
        let options = Options {
            view_gas,
            ..Options::default()
        };
        let judge = |engine: &mut Engine| {
            engine
                .judge_watched(&at(Hardfork::Cancun), &store(1, 5), &state, &watched, &options)
                .unwrap()
        };
        let fresh = judge(&mut Engine::new(CHAIN));
        assert_eq!(judge(&mut used), fresh, "with {view_gas} gas");
        decided += usize::from(fresh.judgements.is_empty());
    }
    assert!((1..39).contains(&decided), "{decided} of 39 budgets suffice");
}

#[test]
fn a_slow_view_is_undecided_and_the_rest_is_judged() {
    let mut state = world(STORE, &[(1, u(150))]);
    contract(&mut state, ORACLE, FOREVER);
    let set = set([Watched::View(view(1, ORACLE)), slot(2, VAULT, 1)]);
    // A clock that goes on by a second whenever somebody looks.
    let clock = Cell::new(0);
    let now = || {
        clock.set(clock.get() + 1);
        Duration::from_secs(clock.get())
    };
    let time = ViewTime {
        now: &now,
        limit: Duration::from_secs(20),
    };
    let outcome = watch(
        &state,
        &store(1, 5),
        &set,
        &Options {
            view_time: Some(time),
            ..Options::default()
        },
    );
    let Verdict::Undecided(Reason::View {
        why: ViewError::Time, ..
    }) = &outcome.judgements[0].verdict
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(outcome.judgements[1].transition, Some(Transition::Broke));
}

#[test]
fn past_the_deadline_of_the_challenge_everything_is_undecided() {
    let state = world(STORE, &[(1, u(150))]);
    let expired = || true;
    let options = Options {
        expired: Some(&expired),
        ..Options::default()
    };
    let outcome = watch(&state, &store(1, 5), &set([slot(2, VAULT, 1)]), &options);
    assert_eq!(
        outcome,
        Outcome {
            undecided: Some(Reason::Deadline),
            ..Outcome::default()
        }
    );
}

#[test]
fn a_view_on_a_state_that_lacks_what_it_reads_is_undecided() {
    let whole = oracle();
    let mut state: Prestate = whole.0;
    state
        .accounts
        .insert(at(Hardfork::Cancun).beneficiary, AccountState::default());
    state.accounts.get_mut(&VAULT).unwrap().storage.remove(&u(1));
    state.accounts.get_mut(&VAULT).unwrap().storage.insert(u(2), u(0));
    let outcome = watch(
        &state,
        &store(2, 5),
        &set([Watched::View(view(1, ORACLE))]),
        &Options::default(),
    );
    assert_eq!(only_reason(&outcome), &Reason::MissingState(Missing::Slot(VAULT, u(1))));
    assert_eq!(execution(&outcome).status, Status::Success);
}

#[test]
fn a_violation_tells_the_calls_that_led_to_the_write() {
    // Alice calls the outer contract; it calls the middle one, which delegates to the storing code.
    let (outer, middle) = (Address::repeat_byte(0x11), Address::repeat_byte(0x22));
    let mut state = world(STORE, &[]);
    contract(&mut state, middle, &calling(VAULT, 0xf4));
    contract(&mut state, outer, &calling(middle, 0xf1));
    state.0.accounts.get_mut(&middle).unwrap().storage = [(u(1), u(150))].into();
    let tx = by_alice(call(outer, words(u(1), u(5))));
    let outcome = watch(&state, &tx, &set([slot(1, middle, 1)]), &Options::default());
    let witness = outcome.violations().next().unwrap();
    let path: Vec<_> = witness
        .path
        .iter()
        .map(|call| (call.depth, call.address, call.code))
        .collect();
    assert_eq!(path, [(0, outer, outer), (1, middle, middle), (2, middle, VAULT)]);
    assert_eq!(witness.path[0].caller, alice().address());
    let without = Options {
        call_path: false,
        ..Options::default()
    };
    let bare = watch(&state, &tx, &set([slot(1, middle, 1)]), &without);
    assert!(bare.violations().next().unwrap().path.is_empty());
    assert_eq!(
        bare.violations().next().unwrap().digest(),
        witness.digest(),
        "the path is no part of the identity"
    );
}

#[test]
fn what_a_reverting_transaction_would_have_violated_is_a_warning() {
    let outer = Address::repeat_byte(0x11);
    let mut state = world(STORE, &[(1, u(150)), (2, u(150))]);
    contract(&mut state, outer, &format!("{}60006000fd", calling(VAULT, 0xf1)));
    let watched = set([slot(1, VAULT, 1), slot(2, VAULT, 2)]);
    let tx = by_alice(call(outer, words(u(1), u(5))));
    let options = Options {
        warnings: true,
        ..Options::default()
    };
    let outcome = watch(&state, &tx, &watched, &options);
    assert_eq!(
        (execution(&outcome).status.clone(), outcome.judgements.len()),
        (Status::Revert, 0)
    );
    let [warning] = &outcome.warnings[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (warning.invariant_id, warning.pre, warning.at_revert),
        (1, u(150), u(5))
    );
    assert_eq!((warning.frame.depth, warning.frame.address), (0, outer));
    assert!(
        watch(&state, &tx, &watched, &Options::default()).warnings.is_empty(),
        "only when asked for"
    );
    // Here the storing frame itself reverts.
    let state = {
        let mut state = world(STORE_AND_REVERT, &[(1, u(150))]);
        contract(&mut state, outer, &format!("{}60006000fd", calling(VAULT, 0xf1)));
        state
    };
    let outcome = watch(&state, &tx, &watched, &options);
    assert_eq!(
        (outcome.warnings[0].frame.depth, outcome.warnings[0].frame.address),
        (1, VAULT)
    );
    // A harmless one that reverts warns of nothing.
    let harmless = by_alice(call(outer, words(u(1), u(120))));
    assert!(watch(&state, &harmless, &watched, &options).warnings.is_empty());
}

fn nth(nonce: u64, slot: u64, value: u64) -> Transaction {
    by_alice(alloy::consensus::TxLegacy {
        nonce,
        ..call(VAULT, words(u(slot), u(value)))
    })
}

#[test]
fn a_sequence_is_judged_step_by_step_and_as_a_whole() {
    let state = world(STORE, &[(1, u(150)), (2, u(150))]);
    let watched = set([slot(1, VAULT, 1), slot(2, VAULT, 2), slot(3, VAULT, 3)]);
    let mut engine = Engine::new(CHAIN);
    let mut judged = |transactions: &[Transaction]| {
        let env = at(Hardfork::Cancun);
        let sequence = engine
            .judge_sequence(&env, transactions, &state, &watched, &Options::default())
            .unwrap();
        let pairs = |judgements: &[engine::Judgement]| {
            judgements
                .iter()
                .map(|j| (j.invariant_id, j.transition.unwrap()))
                .collect::<Vec<_>>()
        };
        let each: Vec<_> = sequence.each.iter().map(|outcome| pairs(&outcome.judgements)).collect();
        (each, pairs(&sequence.whole), sequence)
    };
    // Broken and mended: each step shows it, the whole has nothing to say.
    let (each, whole, _) = judged(&[nth(0, 1, 5), nth(1, 1, 150)]);
    assert_eq!(each, [[(1, Transition::Broke)], [(1, Transition::Restored)]]);
    assert_eq!(whole, []);
    // Two invariants in two steps; later nonces run on what the earlier left.
    let (each, whole, _) = judged(&[nth(0, 1, 120), nth(1, 2, 5), nth(2, 1, 110)]);
    assert_eq!(
        each,
        [
            [(1, Transition::Kept)],
            [(2, Transition::Broke)],
            [(1, Transition::Kept)]
        ]
    );
    assert_eq!(whole, [(1, Transition::Kept), (2, Transition::Broke)]);
    // A gap in the nonces: that one is invalid and changes nothing.
    let (each, whole, sequence) = judged(&[nth(0, 1, 120), nth(2, 2, 5)]);
    assert_eq!((each[1].len(), whole), (0, vec![(1, Transition::Kept)]));
    assert!(matches!(
        sequence.each[1].undecided,
        Some(Reason::InvalidTransaction(_))
    ));
    let (each, whole, _) = judged(&[]);
    assert_eq!((each.len(), whole.len()), (0, 0));
}

#[test]
fn a_sequence_with_views_compares_the_state_before_the_first_with_that_after_the_last() {
    let state = oracle();
    let watched = set([Watched::View(view(4, ORACLE))]);
    let sequence = Engine::new(CHAIN)
        .judge_sequence(
            &at(Hardfork::Cancun),
            &[nth(0, 1, 60), nth(1, 1, 49)],
            &state,
            &watched,
            &Options::default(),
        )
        .unwrap();
    assert_eq!(sequence.each[0].judgements[0].transition, Some(Transition::Kept));
    let step = sequence.each[1].violations().next().unwrap();
    assert_eq!((step.pre, step.post), (u(120), u(98)));
    let Verdict::Violated(whole) = &sequence.whole[0].verdict else {
        panic!("{sequence:?}")
    };
    assert_eq!((whole.pre, whole.post), (u(300), u(98)));
}

#[test]
fn after_a_transaction_that_cannot_be_executed_a_sequence_is_undecided() {
    let mut state = world(STORE, &[(1, u(150))]).0;
    state
        .accounts
        .insert(at(Hardfork::Cancun).beneficiary, AccountState::default());
    state.accounts.get_mut(&VAULT).unwrap().storage.insert(u(3), u(0));
    let sequence = Engine::new(CHAIN)
        .judge_sequence(
            &at(Hardfork::Cancun),
            &[nth(0, 1, 120), nth(1, 2, 5), nth(2, 3, 5)],
            &state,
            &set([slot(1, VAULT, 1)]),
            &Options::default(),
        )
        .unwrap();
    let missing = Some(Reason::MissingState(Missing::Slot(VAULT, u(2))));
    assert_eq!(sequence.undecided, missing);
    assert_eq!(sequence.each[0].undecided, None);
    assert_eq!(
        (&sequence.each[1].undecided, &sequence.each[2].undecided),
        (&missing, &missing)
    );
    assert!(sequence.whole.is_empty());
}
