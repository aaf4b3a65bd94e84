//! The command line's bad inputs: one line, exit code 2.
#![allow(clippy::unwrap_used, missing_docs)]

use std::process::{Command, Output};

fn validator(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_validator"))
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
fn a_validator_without_a_platform_does_not_start() {
    assert_one_line(
        &validator(&["run", "--hotkey", "k.json", "--ledger", "http://127.0.0.1:1"]),
        &["platform"],
    );
}

#[test]
fn an_unknown_flag_is_named() {
    assert_one_line(&validator(&["run", "--speed", "9"]), &["--speed"]);
}

#[test]
fn a_missing_hotkey_file_is_named() {
    let args = [
        "run",
        "--hotkey",
        "nowhere/k.json",
        "--ledger",
        "http://127.0.0.1:1",
        "--platform",
        "http://127.0.0.1:1",
    ];
    assert_one_line(&validator(&args), &["nowhere/k.json"]);
}

#[test]
fn a_malformed_ledger_address_is_named() {
    let args = [
        "run",
        "--hotkey",
        "k",
        "--ledger",
        "http://[",
        "--platform",
        "http://127.0.0.1:1",
        "--check",
    ];
    assert_one_line(&validator(&args), &["http://["]);
}

#[test]
fn check_validates_and_exits() {
    let args = [
        "run",
        "--hotkey",
        "k",
        "--ledger",
        "http://127.0.0.1:1",
        "--platform",
        "http://127.0.0.1:1",
        "--check",
    ];
    let output = validator(&args);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "the configuration is valid"
    );
}

#[test]
fn a_score_that_makes_no_sense_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hotkey = \"k\"\nledger = \"http://127.0.0.1:1\"\nplatform = \"http://127.0.0.1:1\"\n[score]\nsmoothing = 2.0\n").unwrap();
    assert_one_line(
        &validator(&["run", "--config", file.path().to_str().unwrap()]),
        &["score.smoothing", "2"],
    );
}

#[test]
fn the_real_chain_and_a_wallet_are_named_as_bittensors_users_name_them() {
    let with = |more: &[&str]| {
        let mut args = vec!["run", "--platform", "http://127.0.0.1:1", "--check"];
        args.extend_from_slice(more);
        validator(&args)
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
    let mut missing = vec!["run", "--platform", "http://127.0.0.1:1", "--wallet.name", "mine"];
    missing.extend(["--wallet.path", "/no/such/wallets"]);
    missing.extend(embedded);
    assert_one_line(&validator(&missing), &["/no/such/wallets/mine/hotkeys/default"]);
    missing.extend(["--wallet.password", "correct horse"]);
    let output = validator(&missing);
    assert_one_line(&output, &["env:NAME or file:PATH"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("horse"));
}
