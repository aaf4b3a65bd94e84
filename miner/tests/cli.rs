//! The command line's bad inputs: one line, exit code 2.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::{Command, Output};

fn miner(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_miner"))
        .args(args)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

#[track_caller]
fn assert_one_line(output: &Output, said: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    for word in said {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn a_miner_without_a_state_source_does_not_start() {
    assert_one_line(
        &miner(&["run", "--hotkey", "k.json", "--ledger", "http://127.0.0.1:1"]),
        &["state"],
    );
}

#[test]
fn an_unknown_flag_is_named() {
    assert_one_line(&miner(&["run", "--speed", "9"]), &["--speed"]);
}

#[test]
fn a_missing_hotkey_file_is_named() {
    let args = [
        "run",
        "--hotkey",
        "nowhere/k.json",
        "--ledger",
        "http://127.0.0.1:1",
        "--state",
        "challenge",
    ];
    assert_one_line(&miner(&args), &["nowhere/k.json"]);
}

#[test]
fn a_malformed_ledger_address_is_named() {
    let args = [
        "run",
        "--hotkey",
        "k",
        "--ledger",
        "http://[",
        "--state",
        "challenge",
        "--check",
    ];
    assert_one_line(&miner(&args), &["http://["]);
}

#[test]
fn check_validates_and_exits() {
    let args = [
        "run",
        "--hotkey",
        "k",
        "--ledger",
        "http://127.0.0.1:1",
        "--state",
        "challenge",
        "--check",
    ];
    let output = miner(&args);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "the configuration is valid"
    );
}

#[test]
fn what_needs_a_node_of_its_own_says_so() {
    let base = [
        "run",
        "--check",
        "--hotkey",
        "k",
        "--ledger",
        "http://127.0.0.1:1",
        "--state",
    ];
    assert_one_line(&miner(&[&base[..], &["node"]].concat()), &["--node URL", "`state`"]);
    assert_one_line(
        &miner(&[&base[..], &["challenge", "--check-prestate"]].concat()),
        &["--node URL", "`check_prestate`"],
    );
    let node = [
        "challenge",
        "--check-prestate=undecided",
        "--node",
        "http://127.0.0.1:2",
    ];
    assert_eq!(miner(&[&base[..], &node].concat()).status.code(), Some(0));
    assert_one_line(&miner(&[&base[..], &["node", "--node", "no url"]].concat()), &["nodes"]);
}

#[test]
fn the_real_chain_and_a_wallet_are_named_as_bittensors_users_name_them() {
    let with = |more: &[&str]| {
        let mut args = vec!["run", "--state", "challenge", "--check"];
        args.extend_from_slice(more);
        miner(&args)
    };
    for ledger in [
        "finney",
        "test",
        "local",
        "ws://127.0.0.1:9944",
        "wss://a:443,wss://b:443",
    ] {
        let wallet = [
            "--wallet.name",
            "mine",
            "--wallet.hotkey",
            "first",
            "--wallet.path",
            "/wallets",
        ];
        let output = with(&[&["--ledger", ledger, "--netuid", "7"][..], &wallet].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_one_line(&with(&["--ledger", "finney", "--hotkey", "k"]), &["finney", "--netuid"]);
    assert_one_line(
        &with(&["--ledger", "ws://a,http://b", "--netuid", "1", "--hotkey", "k"]),
        &["http://b"],
    );
    let embedded = ["--ledger", "http://127.0.0.1:1"];
    assert_one_line(&with(&embedded), &["--hotkey FILE", "--wallet.name"]);
    assert_one_line(
        &with(&[&embedded[..], &["--wallet.name", "../mine"]].concat()),
        &["--wallet.name", "../mine"],
    );
    let mut missing = vec!["run", "--state", "challenge", "--wallet.name", "mine"];
    missing.extend(["--wallet.path", "/no/such/wallets"]);
    missing.extend(embedded);
    assert_one_line(&miner(&missing), &["/no/such/wallets/mine/hotkeys/default"]);
    missing.extend(["--wallet.password", "correct horse"]);
    let output = miner(&missing);
    assert_one_line(&output, &["env:NAME or file:PATH"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("horse"));
}
