//! What judging allocates, counted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    missing_docs
)]

#[path = "it/world.rs"]
mod world;

use std::{alloc::System, sync::Mutex};

use engine::{Address, Engine, Hardfork, Invariant, Options, Outcome, State, Transition, U256, WatchSet, Watched};
use revm::{
    Context, ExecuteEvm as _, MainBuilder as _, MainContext as _,
    bytecode::Bytecode,
    context::TxEnv,
    database_interface::{DBErrorMarker, Database},
    primitives::{B256, TxKind, hardfork::SpecId},
    state::AccountInfo,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use world::*;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The counter is of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn counted(mut run: impl FnMut()) -> usize {
    for _ in 0..50 {
        run();
    }
    let region = Region::new(COUNTING);
    for _ in 0..100 {
        run();
    }
    let change = region.change();
    (change.allocations + change.reallocations) / 100
}

/// For revm as it comes: the same state, with code at hand.
struct Plain<'a>(&'a engine::CompleteState, Vec<(B256, Bytecode)>);

#[derive(Debug, thiserror::Error)]
#[error("missing")]
struct Lacking;

impl DBErrorMarker for Lacking {}

impl Database for Plain<'_> {
    type Error = Lacking;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Lacking> {
        let account = self.0.account(address).map_err(|_| Lacking)?;
        Ok(account.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            code: None,
            account_id: None,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Lacking> {
        self.1
            .iter()
            .find(|(hash, _)| *hash == code_hash)
            .map(|(_, code)| code.clone())
            .ok_or(Lacking)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Lacking> {
        self.0.storage(address, slot).map_err(|_| Lacking)
    }

    fn block_hash(&mut self, _: u64) -> Result<B256, Lacking> {
        Err(Lacking)
    }
}

#[test]
fn judging_allocates_nothing_beyond_what_revm_does() {
    let _alone = ALONE.lock();
    let state = world(STORE, &[(1, u(150))]);
    let tx = by_alice(call(VAULT, words(u(1), u(120))));
    let env = env(Hardfork::Cancun);

    let codes = state
        .0
        .codes
        .iter()
        .map(|(hash, code)| (*hash, Bytecode::new_raw(code.clone())))
        .collect();
    let mut raw = Context::mainnet()
        .with_db(Plain(&state, codes))
        .modify_cfg_chained(|cfg| {
            cfg.set_spec_and_mainnet_gas_params(SpecId::CANCUN);
        })
        .build_mainnet();
    let fields = TxEnv {
        caller: alice().address(),
        gas_limit: tx.gas_limit(),
        gas_price: 10 * GWEI,
        kind: TxKind::Call(VAULT),
        data: tx.input().clone(),
        chain_id: Some(CHAIN),
        ..TxEnv::default()
    };
    raw.ctx.tx = fields;
    let plain = counted(|| assert!(raw.replay().unwrap().result.is_success()));

    let (mut engine, mut outcome) = (Engine::new(CHAIN), Outcome::default());
    let mut watching = |invariants: Vec<Watched>, judged: usize| {
        let set = WatchSet::new(invariants).unwrap();
        counted(|| {
            engine
                .judge_watched_into(
                    &tx,
                    engine::Context::new(&env, &state, &set, &Options::default()),
                    &mut outcome,
                )
                .unwrap();
            assert_eq!(outcome.judgements.len(), judged);
            assert!(
                outcome
                    .judgements
                    .iter()
                    .all(|j| j.transition == Some(Transition::Kept))
            );
        })
    };
    let of = |id| {
        Watched::Slot(Invariant {
            id,
            ..at_least_100(VAULT, 1)
        })
    };
    let (nothing, one, many) = (
        watching(Vec::new(), 0),
        watching(vec![of(1)], 1),
        watching((0..500).map(of).collect(), 500),
    );
    eprintln!("allocations per transaction: revm {plain}, engine {nothing}, with 1 invariant {one}, with 500 {many}");
    assert!(
        nothing <= plain,
        "the engine allocates {nothing} times, revm {plain} times"
    );
    assert_eq!((one, many), (nothing, nothing));
}

#[test]
fn a_hundred_thousand_invariants_fit_into_250_megabytes() {
    let _alone = ALONE.lock();
    let contract = |id: u64| Address::from_word(B256::from(U256::from(id / 4 + 1)));
    let region = Region::new(COUNTING);
    let watched = (0..100_000).map(|id| {
        let invariant = at_least_100(contract(id), id);
        Watched::Slot(Invariant { id, ..invariant })
    });
    let set = WatchSet::new(watched.collect()).unwrap();
    let change = region.change();
    let kept = change.bytes_allocated - change.bytes_deallocated;
    eprintln!(
        "100,000 invariants keep {} kB, {} kB allocated in all",
        kept >> 10,
        change.bytes_allocated >> 10
    );
    assert_eq!(set.len(), 100_000);
    assert!(change.bytes_allocated < 250 << 20);
}

/// Bytes asked for while this ran, and those still kept after it.
fn bytes<T>(run: impl FnOnce() -> T) -> (usize, usize, T) {
    let region = Region::new(COUNTING);
    let result = run();
    let change = region.change();
    // What a growing buffer gained is counted apart from what was allocated anew.
    let grown = usize::try_from(change.bytes_reallocated).unwrap_or(0);
    let all = change.bytes_allocated + grown;
    (all, all.saturating_sub(change.bytes_deallocated), result)
}

#[test]
fn ten_megabytes_of_expression_are_refused_without_copying_them() {
    let _alone = ALONE.lock();
    let text = "1 == 1 and ".repeat(1 << 20);
    let (asked, _, refused) = bytes(|| engine::lang::parse(&text, &engine::lang::Names::default()).unwrap_err());
    eprintln!("{} bytes of expression: {asked} bytes asked for", text.len());
    assert!(refused.message.contains("more than the"));
    assert!(asked < 16 << 10, "{asked} bytes");
}

#[test]
fn bombs_take_bounded_memory_and_leave_less() {
    let _alone = ALONE.lock();
    let mut engine = Engine::new(CHAIN);
    let env = env(Hardfork::Cancun);
    let set = |text: &str| {
        let text = text.replace("VAULT", &format!("{VAULT:#x}"));
        let program = engine::lang::parse(&text, &engine::lang::Names::default()).unwrap();
        let (id, name) = (1, text);
        WatchSet::new(vec![Watched::Program(engine::ProgramInvariant { id, name, program })]).unwrap()
    };
    let view = set("call(VAULT, 0x01020304, 0, uint256) >= 100");
    let all_the_gas = Options {
        view_gas: u64::MAX,
        views_gas: u64::MAX,
        ..Options::default()
    };
    for (what, code, options, most) in [
        (
            "calls itself",
            "60006000600060006000305af15000",
            Options::default(),
            128 << 20,
        ),
        (
            "asks itself",
            "6000600060006000305afa60005260206000f3",
            Options::default(),
            128 << 20,
        ),
        // loop { mstore(msize * 2, 1) }: as much memory as 2^32 gas buys.
        ("takes all memory", "5b60015960020252600056", all_the_gas, 512 << 20),
    ] {
        let state = world(code, &[(1, u(150))]);
        let tx = by_alice(alloy::consensus::TxLegacy {
            gas_limit: 30_000_000,
            ..call(VAULT, engine::Bytes::new())
        });
        let judge = |engine: &mut Engine| {
            engine
                .judge_watched(&tx, engine::Context::new(&env, &state, &view, &options))
                .unwrap();
        };
        let (asked, kept, ()) = bytes(|| judge(&mut engine));
        let (_, again, ()) = bytes(|| judge(&mut engine));
        eprintln!(
            "{what}: {} kB asked for, {} kB kept, {} kB more the next time",
            asked >> 10,
            kept >> 10,
            again >> 10
        );
        assert!(asked < most, "{what}: {asked} bytes");
        assert!(kept < 64 << 20, "{what}: keeps {kept} bytes");
        assert!(again < 1 << 20, "{what}: keeps {again} bytes more each time");
    }
}
