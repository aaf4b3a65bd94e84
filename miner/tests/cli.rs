//! The command line's bad inputs: one line, exit code 2.
#![allow(missing_docs)]

use testkit::cli::{Binary, a_neuron_is_told_who_it_is};

fn miner(base: &[&str]) -> Binary {
    Binary::new(env!("CARGO_BIN_EXE_miner"), base)
}

#[test]
fn a_miner_is_told_who_it_is() {
    a_neuron_is_told_who_it_is(&miner(&["run", "--state", "challenge"]));
}

#[test]
fn a_miner_without_a_state_source_does_not_start() {
    miner(&["run"]).refuses(&["--hotkey", "k.json", "--ledger", "http://127.0.0.1:1"], &["state"]);
}

#[test]
fn what_needs_a_node_of_its_own_says_so() {
    let check = miner(&[
        "run",
        "--check",
        "--hotkey",
        "k",
        "--ledger",
        "http://127.0.0.1:1",
        "--state",
    ]);
    check.refuses(&["node"], &["--node URL", "`state`"]);
    check.refuses(&["challenge", "--check-prestate"], &["--node URL", "`check_prestate`"]);
    check.takes(&[
        "challenge",
        "--check-prestate=undecided",
        "--node",
        "http://127.0.0.1:2",
    ]);
    check.refuses(&["node", "--node", "no url"], &["nodes"]);
}
