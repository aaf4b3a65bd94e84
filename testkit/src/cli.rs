//! Command lines as their users meet them: bad input is one line that names it, and exit code 2.

use std::path::PathBuf;
use std::process::{Command, Output};

/// A binary under test, with the arguments that every call of it begins with.
#[derive(Debug, Clone)]
pub struct Binary {
    path: PathBuf,
    base: Vec<String>,
}

impl Binary {
    /// The binary at this path, `env!("CARGO_BIN_EXE_name")`, and what stands before all other arguments.
    pub fn new(path: impl Into<PathBuf>, base: &[&str]) -> Self {
        Self {
            path: path.into(),
            base: base.iter().map(ToString::to_string).collect(),
        }
    }

    /// The same with more that stands before.
    #[must_use]
    pub fn with(&self, more: &[&str]) -> Self {
        let mut longer = self.clone();
        longer.base.extend(more.iter().map(ToString::to_string));
        longer
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.path);
        command.args(&self.base).args(args).env_remove("RUST_BACKTRACE");
        match command.output() {
            Ok(output) => output,
            Err(error) => panic!("{}: {error}", self.path.display()),
        }
    }

    /// It must do what these arguments say; gives what it prints.
    #[track_caller]
    pub fn takes(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// It must refuse these arguments in one line that holds all of `said`; gives the line.
    #[track_caller]
    pub fn refuses(&self, args: &[&str], said: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
        for word in said {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
        error
    }
}

/// What every neuron's `run` says of its hotkey, wallet, ledger and subnet. `run` has all else that it needs.
#[track_caller]
pub fn a_neuron_is_told_who_it_is(run: &Binary) {
    const EMBEDDED: [&str; 2] = ["--ledger", "http://127.0.0.1:1"];
    let check = run.with(&["--check"]);
    run.refuses(&["--speed", "9"], &["--speed"]);
    check.refuses(&["--hotkey", "k", "--ledger", "http://["], &["http://["]);
    let valid = check.with(&EMBEDDED).takes(&["--hotkey", "k"]);
    assert_eq!(valid.trim(), "the configuration is valid");
    run.with(&EMBEDDED)
        .refuses(&["--hotkey", "nowhere/k.json"], &["nowhere/k.json"]);

    // The real chain and a wallet are named as Bittensor's users name them.
    let wallet = check.with(&[
        "--wallet.name",
        "mine",
        "--wallet.hotkey",
        "first",
        "--wallet.path",
        "/wallets",
    ]);
    for ledger in [
        "finney",
        "test",
        "local",
        "ws://127.0.0.1:9944",
        "wss://a:443,wss://b:443",
    ] {
        wallet.takes(&["--ledger", ledger, "--netuid", "7"]);
    }
    check.refuses(&["--ledger", "finney", "--hotkey", "k"], &["finney", "--netuid"]);
    let mixed = ["--ledger", "ws://a,http://b", "--netuid", "1", "--hotkey", "k"];
    check.refuses(&mixed, &["http://b"]);
    let embedded = check.with(&EMBEDDED);
    embedded.refuses(&[], &["--hotkey FILE", "--wallet.name"]);
    embedded.refuses(&["--wallet.name", "../mine"], &["--wallet.name", "../mine"]);
    let missing = run
        .with(&EMBEDDED)
        .with(&["--wallet.name", "mine", "--wallet.path", "/no/such/wallets"]);
    missing.refuses(&[], &["/no/such/wallets/mine/hotkeys/default"]);
    let line = missing.refuses(&["--wallet.password", "correct horse"], &["env:NAME or file:PATH"]);
    assert!(!line.contains("horse"), "a password was repeated");
}
