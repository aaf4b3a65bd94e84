//! The binary `ledger` as a user meets it: it starts, is looked at, survives SIGKILL, and says in one line what is wrong.

use std::path::{Path, PathBuf};
use std::process::Output;

use chain::remote::RemoteLedger;
use chain::{Ledger, keyfile};
use serde_json::Value;
use testkit::process::Running;

use crate::world::{DEADLINE, TAO, ledger, pair};

/// Runs one whose blocks take 20 ms, on the database of `home`.
async fn run(home: &Path, flags: &[&str]) -> Running {
    let mut command = ledger();
    command
        .args(["run", "--listen", "127.0.0.1:0", "--block-time", "20ms", "--tempo", "5"])
        .args(["--faucet", "--weights-rate-limit", "2", "--database"])
        .arg(home.join("ledger.db"))
        .args(flags);
    Running::start(command.into(), home).await
}

fn url(running: &Running) -> String {
    format!("http://{}", running.address)
}

fn remote(running: &Running) -> RemoteLedger {
    RemoteLedger::new(&url(running), DEADLINE).unwrap()
}

fn failed(output: &Output, code: i32) -> String {
    let line = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(line.lines().count(), 1, "one line: {line}");
    assert!(line.starts_with("error: "), "{line}");
    line
}

#[tokio::test]
async fn what_was_acknowledged_survives_sigkill_and_the_block_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let validator = pair(1);
    let running = run(home.path(), &[]).await;
    let ledger = remote(&running);
    ledger.register(&validator).await.unwrap();
    let mut stake = 0;
    for n in 0..40 {
        stake = ledger.add_stake(&validator, 100 * TAO + n).await.unwrap();
    }
    let before = ledger.metagraph().await.unwrap();
    running.kill().await;

    let running = run(home.path(), &[]).await;
    let after = remote(&running).metagraph().await.unwrap();
    assert!(
        after.block >= before.block && after.block < before.block + 1000,
        "{} then {}",
        before.block,
        after.block
    );
    let neuron = after.by_hotkey(&validator.account()).unwrap();
    assert_eq!(neuron.uid, 1);
    assert!(neuron.stake >= stake);
    assert_eq!(
        neuron.stake - neuron.earned,
        40 * 100 * TAO + (0..40).sum::<u64>(),
        "each stake once"
    );
}

/// What a command prints that looks at a running ledger.
fn shown(running: &Running, command: &[&str]) -> String {
    let output = ledger()
        .args(command)
        .args(["--ledger", &url(running)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_running_ledger_is_shown_as_table_and_as_json() {
    let home = tempfile::tempdir().unwrap();
    let running = run(home.path(), &["--stake-threshold", "10"]).await;
    let miner = pair(2);
    remote(&running).register(&miner).await.unwrap();

    let show = |flags: &[&str]| shown(&running, &[&["metagraph"][..], flags].concat());
    let table = show(&[]);
    assert!(
        table.contains(&miner.account().to_string()) && table.contains("incentive"),
        "{table}"
    );
    let json: Value = serde_json::from_str(&show(&["--json"])).unwrap();
    assert_eq!(json["neurons"][1]["hotkey"], miner.account().to_string());
    assert_eq!(json["tempo"], 5);
    // The owner that nobody named has its key beside the database.
    let owner = keyfile::read(&home.path().join("ledger.db.owner")).unwrap().account();
    assert_eq!(json["neurons"][0]["hotkey"], owner.to_string());
}

#[tokio::test]
async fn the_parameters_and_a_uids_past_are_shown_as_table_and_as_json() {
    let home = tempfile::tempdir().unwrap();
    let running = run(home.path(), &[]).await;
    let owner = keyfile::read(&home.path().join("ledger.db.owner")).unwrap().account();
    let remote = remote(&running);
    let epochs = async || remote.metagraph().await.unwrap().epoch_index;
    testkit::until("two epochs", epochs, |epochs| *epochs >= 2).await;

    let table = shown(&running, &["history", "0"]);
    assert!(
        table.contains("dividends") && table.contains(&owner.to_string()[..10]),
        "{table}"
    );
    let past: Value = serde_json::from_str(&shown(&running, &["history", "0", "--limit", "1", "--json"])).unwrap();
    assert_eq!(past.as_array().unwrap().len(), 1);
    assert_eq!(past[0]["hotkey"], owner.to_string());
    assert!(past[0]["epoch"].as_u64().unwrap() >= 2, "the newest first: {past}");

    let table = shown(&running, &["hyperparameters"]);
    assert!(table.contains("weights_set_rate_limit"), "{table}");
    let params: Value = serde_json::from_str(&shown(&running, &["hyperparameters", "--json"])).unwrap();
    assert_eq!((&params["tempo"], &params["netuid"]), (&5.into(), &1.into()));
}

#[test]
fn a_hotkey_is_made_once_and_shown() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("hotkeys/miner");
    let run = |verb: &str| ledger().args(["wallet", verb]).arg(&path).output().unwrap();
    let line = failed(&run("show"), 2);
    assert!(line.contains("hotkeys/miner"), "{line}");
    let made = run("new");
    assert!(made.status.success(), "{made:?}");
    let shown = run("show");
    assert_eq!(shown.stdout, made.stdout);
    assert_eq!(
        String::from_utf8(shown.stdout).unwrap().trim(),
        keyfile::read(&path).unwrap().account().to_string()
    );
    assert!(failed(&run("new"), 2).contains("never overwritten"));
}

#[tokio::test]
async fn a_hotkey_registers_stakes_and_is_told_when_it_may_not() {
    let home = tempfile::tempdir().unwrap();
    let running = run(home.path(), &[]).await;
    let hotkey = home.path().join("hotkey.json");
    keyfile::write(&hotkey, &pair(7)).unwrap();
    let url = url(&running);
    let call = |command: &str, more: &[&str]| {
        let signer = ["--ledger", &url, "--hotkey", hotkey.to_str().unwrap()];
        ledger().arg(command).args(signer).args(more).output().unwrap()
    };
    let refusal = failed(&call("stake", &["--amount", "5"]), 1);
    assert!(refusal.contains("HotKeyAccountNotExists"), "{refusal}");
    let registered = call("register", &[]);
    assert!(
        String::from_utf8_lossy(&registered.stdout).contains("is uid 1"),
        "{registered:?}"
    );
    assert!(call("stake", &["--amount", "5"]).status.success());
    let metagraph = remote(&running).metagraph().await.unwrap();
    assert!(metagraph.by_uid(1).unwrap().stake >= 5 * TAO);
    let refusal = failed(&call("register", &[]), 1);
    assert!(refusal.contains("AlreadyRegistered"), "{refusal}");
    running.kill().await;
}

#[test]
fn bad_configuration_is_one_line_and_code_2() {
    let home = tempfile::tempdir().unwrap();
    let database = home.path().join("ledger.db");
    let run = |flags: &[&str]| {
        let output = ledger()
            .arg("run")
            .args(["--database", database.to_str().unwrap(), "--log", "off"])
            .args(flags)
            .output();
        failed(&output.unwrap(), 2)
    };
    assert!(run(&["--speed", "3"]).contains("--speed"));
    assert!(run(&["--block-time", "soon"]).contains("soon"));
    assert!(run(&["--block-time", "0s"]).contains("block_time"));
    assert!(run(&["--tempo", "0"]).contains("tempo"));
    assert!(run(&["--netuid", "0"]).contains("netuid"));
    assert!(run(&["--owner", "5Grwva"]).contains("5Grwva"));
    assert!(run(&["--endow", "5Grwva"]).contains("SS58=TAO"));
    assert!(run(&["--faucet-allowance", "5"]).contains("faucet"));
    assert!(run(&["--stake-threshold", "much"]).contains("much"));
    assert!(run(&["--config", "nowhere.toml"]).contains("nowhere.toml"));
    let config = home.path().join("ledger.toml");
    std::fs::write(&config, "[subnet]\ntempoo = 5\n").unwrap();
    assert!(run(&["--config", config.to_str().unwrap()]).contains("tempoo"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    assert!(run(&["--listen", &address]).contains(&address));
    assert!(
        !database.exists() && !PathBuf::from(format!("{}.owner", database.display())).exists(),
        "nothing was made"
    );

    std::fs::write(&database, "no database at all").unwrap();
    assert!(run(&[]).contains("ledger.db"));
}

#[test]
fn a_configuration_file_says_the_same_as_flags() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("ledger.toml");
    std::fs::write(
        &config,
        "block_time = \"250ms\"\n[subnet]\ntempo = 20\nstake_threshold = 5\nfaucet = true\n",
    )
    .unwrap();
    let output = ledger()
        .args(["run", "--check", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_second_ledger_on_the_same_database_is_told_so() {
    let home = tempfile::tempdir().unwrap();
    let _running = run(home.path(), &[]).await;
    let database = home.path().join("ledger.db");
    let output = ledger()
        .args(["run", "--log", "off", "--database", database.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(failed(&output, 2).contains("in use by another ledger"));
}

#[test]
fn an_unreachable_ledger_is_code_3() {
    let port = testkit::Port::free();
    let closed = port.address();
    let output = ledger()
        .args(["metagraph", "--ledger", &format!("http://{closed}")])
        .output()
        .unwrap();
    assert!(failed(&output, 3).contains(&closed.to_string()));
    let output = ledger().args(["metagraph", "--ledger", "nonsense"]).output().unwrap();
    assert!(failed(&output, 2).contains("nonsense"));
}
