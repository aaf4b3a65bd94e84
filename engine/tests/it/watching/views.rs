//! Invariants that call a view: when they run, what they may cost, what is said when they give no value.

use super::*;

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
    let with_view = engine
        .judge_watched(&tx, Context::new(&env, &state, &watched, &options))
        .unwrap();
    assert_eq!(with_view.execution, plain.execution);
    assert_eq!(
        engine
            .judge_watched(&tx, Context::new(&env, &state, &watched, &options))
            .unwrap(),
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
        let outcome = engine
            .judge_watched(&store(2, 9), Context::new(env, &state, &set, options))
            .unwrap();
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
                .judge_watched(
                    &store(1, 5),
                    Context::new(&at(Hardfork::Cancun), &state, &watched, &options),
                )
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
