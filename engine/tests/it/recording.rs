//! What one judgement read: state by key, the block by instruction.

use engine::{
    BlockEnv, Bytes, Context, Engine, EnvReads, Hardfork, Missing, Options, ProgramInvariant, Reason, Recording, State,
    Transaction, WatchSet, Watched,
    lang::{Names, parse},
};

use crate::world::*;

fn cancun() -> BlockEnv {
    env(Hardfork::Cancun)
}

fn touch() -> Transaction {
    by_alice(call(VAULT, Bytes::new()))
}

fn record(state: &dyn State, tx: &Transaction) -> Recording {
    Engine::new(CHAIN).record(&cancun(), tx, state).unwrap()
}

#[test]
fn each_instruction_that_reads_the_block_is_noted_and_no_other() {
    for (opcode, expected) in [
        (0x32, EnvReads::NONE), // ORIGIN
        (0x3a, EnvReads::GAS_PRICE),
        (0x41, EnvReads::BENEFICIARY),
        (0x42, EnvReads::TIMESTAMP),
        (0x43, EnvReads::NUMBER),
        (0x44, EnvReads::PREVRANDAO),
        (0x45, EnvReads::GAS_LIMIT),
        (0x46, EnvReads::NONE), // CHAINID
        (0x48, EnvReads::BASE_FEE),
        (0x4a, EnvReads::BLOB_BASE_FEE),
    ] {
        let state = world(&format!("{opcode:02x}60005500"), &[]);
        let recording = record(&state, &touch());
        assert_eq!(recording.env_reads, expected, "opcode {opcode:#x}");
        assert!(recording.outcome.execution.is_some());
    }
    let mut state = world(STORE_BLOCK_HASH, &[]);
    state.0.block_hashes.insert(NUMBER - 1, engine::B256::repeat_byte(4));
    let recording = record(&state, &touch());
    assert_eq!(recording.env_reads, EnvReads::BLOCK_HASH | EnvReads::NUMBER);
    assert_eq!(recording.prestate.block_hashes.len(), 1);
}

#[test]
fn what_a_frame_read_that_reverted_counts_too() {
    // timestamp; sstore(0); revert
    let state = world("426000556000600 0fd".replace(' ', "").as_str(), &[]);
    assert_eq!(record(&state, &touch()).env_reads, EnvReads::TIMESTAMP);
}

#[test]
fn one_recording_does_not_leak_into_the_next() {
    let (timed, plain) = (world("4260005500", &[]), world(STORE, &[]));
    let mut engine = Engine::new(CHAIN);
    let env = cancun();
    let first = engine.record(&env, &touch(), &timed).unwrap();
    let tx = by_alice(call(VAULT, words(u(1), u(2))));
    let second = engine.record(&env, &tx, &plain).unwrap();
    assert_eq!(
        (first.env_reads, second.env_reads),
        (EnvReads::TIMESTAMP, EnvReads::NONE)
    );
    assert_eq!(second, Engine::new(CHAIN).record(&env, &tx, &plain).unwrap());
}

#[test]
fn views_and_predicates_read_the_block_too_and_their_state_is_in_the_record() {
    let mut state = world(STORE, &[(1, u(150))]);
    // return timestamp + sload(vault-independent slot 7)
    contract(
        &mut state,
        ORACLE,
        "60075442016000526020 6000f3".replace(' ', "").as_str(),
    );
    let view = Watched::View(view(1, ORACLE));
    let program = Watched::Program(ProgramInvariant {
        id: 2,
        name: "number".to_owned(),
        program: parse("block.number > 5", &Names::default()).unwrap(),
    });
    let set = WatchSet::new(vec![view, program]).unwrap();
    let tx = by_alice(call(VAULT, words(u(1), u(120))));
    let options = Options {
        state_id: Some(engine::B256::repeat_byte(3)),
        ..Options::default()
    };
    let mut engine = Engine::new(CHAIN);
    let (env, whole) = (cancun(), &state);
    for _ in 0..2 {
        // The second time the name is known; the record is the same.
        let recording = engine
            .record_watched(&tx, Context::new(&env, whole, &set, &options))
            .unwrap();
        assert_eq!(recording.env_reads, EnvReads::TIMESTAMP | EnvReads::NUMBER);
        assert_eq!(recording.outcome.judgements.len(), 2);
        assert_eq!(recording.prestate.storage(ORACLE, u(7)), Ok(u(0)));
        let again = Engine::new(CHAIN)
            .judge_watched(&tx, Context::new(&env, &recording.prestate, &set, &options))
            .unwrap();
        assert_eq!(again, recording.outcome, "the record suffices");
        assert_eq!(
            recording.outcome,
            engine
                .judge_watched(&tx, Context::new(&env, whole, &set, &options))
                .unwrap()
        );
    }
}

#[test]
fn what_is_missing_is_named_and_what_was_read_before_it_is_there() {
    let state = world("60015460005500", &[(1, u(9))]);
    let mut part = record(&state, &touch()).prestate;
    assert_eq!(
        record(&part, &touch()).prestate,
        part,
        "the record of a record is itself"
    );
    part.accounts.get_mut(&VAULT).unwrap().storage.remove(&u(0));
    let recording = record(&part, &touch());
    let missing = Reason::MissingState(Missing::Slot(VAULT, u(0)));
    assert_eq!(recording.outcome.undecided, Some(missing));
    assert_eq!(recording.prestate.storage(VAULT, u(1)), Ok(u(9)));
}
