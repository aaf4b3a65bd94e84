//! Whole sets of invariants: what triggers them, views, budgets, evidence, and sequences.

mod evidence;
mod sequences;
mod triggers;
mod views;

use std::{cell::Cell, time::Duration};

use alloy::primitives::hex;
use engine::{
    Account, AccountState, Address, BlockEnv, Bytes, CompleteState, Context, Engine, Hardfork, Invariant, Missing,
    Options, Outcome, Prestate, Reason, State, Status, Transaction, Transition, U256, ValueType, Verdict, ViewError,
    ViewTime, WatchError, WatchSet, Watched,
};

use crate::world::*;

/// Returns slot 1.
const RETURN_SLOT_ONE: &str = "60015460005260206000f3";

fn slot(id: u64, contract: Address, slot: u64) -> Watched {
    Watched::Slot(Invariant {
        id,
        ..at_least_100(contract, slot)
    })
}

fn set(watched: impl IntoIterator<Item = Watched>) -> WatchSet {
    WatchSet::new(watched.into_iter().collect()).unwrap()
}

fn at(hardfork: Hardfork) -> BlockEnv {
    env(hardfork)
}

fn watch(state: &dyn State, tx: &Transaction, set: &WatchSet, options: &Options<'_>) -> Outcome {
    Engine::new(CHAIN)
        .judge_watched(tx, Context::new(&at(Hardfork::Cancun), state, set, options))
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

/// The vault stores; the oracle's view returns twice what it finds in the vault's slot 1.
fn oracle() -> CompleteState {
    // Vault: with 4 bytes of calldata return slot 1, else store.
    let vault = format!("36600414600f5760203560003555005b{RETURN_SLOT_ONE}");
    let mut state = world(&vault, &[(1, u(150))]);
    contract(&mut state, ORACLE, &doubling());
    state
}
