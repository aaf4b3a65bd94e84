//! What cannot be said is not said: missing state, broken sources, deadlines and blocks that cannot be executed under.

use std::cell::Cell;

use crate::world::*;
use alloy::consensus::TxLegacy;
use engine::{
    Account, Address, B256, BlockEnv, Bytes, CompleteState, Context, Engine, EngineError, Hardfork, Missing, Options,
    Prestate, Reason, Recorder, State, StateError, Status, U256, WatchSet,
};

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
    let set = WatchSet::of(watched.to_vec()).unwrap();
    let asked_until_late = |engine: &mut Engine, looks: u64| {
        let asked = Cell::new(0);
        let expired = || {
            asked.set(asked.get() + 1);
            asked.get() > looks
        };
        let options = Options {
            digest: true,
            expired: Some(&expired),
            ..Options::default()
        };
        let mut outcome = engine
            .judge_watched(&tx, Context::new(&env, &state, &set, &options))
            .unwrap();
        outcome.complete(&set);
        (outcome, asked.get())
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
