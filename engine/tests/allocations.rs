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
                .judge_watched_into(&env, &tx, &state, &set, &Options::default(), &mut outcome)
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
