//! However a network ends, nothing of it stays behind, and it says why.

use bots::localnet::report::Report;

use crate::common::{Place, signal};

/// A pace at which the scenario lasts for minutes.
const SLOWLY: [&str; 2] = ["--pace", "4/s"];
/// Everybody: ledger, platform, three validators, ten miners.
const PROCESSES: usize = 15;

#[test]
fn an_interrupt_leaves_no_process_and_no_folder() {
    for name in ["INT", "TERM", "HUP"] {
        let place = Place::new();
        let running = place.start(&SLOWLY);
        assert_eq!(place.processes("").len(), PROCESSES);
        signal(name, running.pid());
        running.end().assert_interrupted();
        place.assert_clean();
    }
}

#[test]
fn even_a_killed_localnet_leaves_no_process() {
    let place = Place::new();
    let running = place.start(&SLOWLY);
    assert_eq!(place.processes("").len(), PROCESSES);
    signal("KILL", running.pid());
    assert_eq!(running.end().code, None);
    place.await_no_process();
}

#[test]
fn a_crash_of_one_ends_all_and_is_told_with_its_name() {
    for victim in ["validator-2", "miner-9"] {
        let place = Place::new();
        let running = place.start(&SLOWLY);
        let [pid] = place.processes(&format!("{victim}.ready"))[..] else {
            panic!("one process is {victim}")
        };
        signal("KILL", pid);
        let ended = running.end();
        assert_eq!(ended.code, Some(4), "{}", ended.errors);
        assert!(
            !ended.errors.contains("waiting for weights"),
            "at once, not when all was replayed: {}",
            ended.errors
        );
        let error = ended.error();
        assert!(
            error.contains(&format!("{victim} ended with signal 9 (SIGKILL); its last words: ")),
            "{error}"
        );
        place.assert_clean();
    }
}

#[test]
fn a_kept_folder_holds_every_log() {
    let place = Place::new();
    let [feed, invariants] = place.scenario_blocks(0..1);
    let mut args = vec![
        "--feed",
        &feed,
        "--invariants",
        &invariants,
        "--settle-epochs",
        "0",
        "--keep",
    ];
    args.extend(SMALL);
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let [kept] = place.left_behind().try_into().unwrap();
    assert!(
        ended.errors.contains(kept.to_str().unwrap()),
        "where it is was told: {}",
        ended.errors
    );
    for name in ["ledger", "platform", "validator-1", "miner-2", "miner-3"] {
        assert!(kept.join(format!("{name}.log")).is_file(), "{name}");
    }
}

/// One validator, and two miners: enough where it is not about the network.
const SMALL: [&str; 10] = [
    "--validators",
    "1",
    "--replicas",
    "1",
    "--miners",
    "2",
    "--slow",
    "0",
    "--lazy",
    "0",
];

#[test]
fn a_run_that_takes_too_long_reports_how_far_it_came() {
    let place = Place::new();
    let path = place.file("report.json");
    let mut args = vec!["--timeout", "3s", "--report", path.to_str().unwrap()];
    args.extend(SLOWLY);
    args.extend(SMALL);
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.errors);
    assert!(ended.output.contains("NOT FINISHED"), "{}", ended.output);
    let report: Report = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(!report.complete && report.judged < 622, "{report:?}");
    place.assert_clean();
}

#[test]
fn other_gas_than_recorded_is_a_negative_answer_that_names_the_transaction() {
    let place = Place::new();
    let [feed, invariants] = place.scenario_blocks(0..1);
    let mut block: serde_json::Value = serde_json::from_slice(&std::fs::read(&feed).unwrap()).unwrap();
    let expected = &mut block["expect"]["per_tx"][2]["gas_used"];
    *expected = "0x5209".into();
    let hash = block["txs"][2]["hash"].as_str().unwrap().to_owned();
    std::fs::write(&feed, block.to_string()).unwrap();
    let path = place.file("report.json");
    let mut args = vec!["--feed", &feed, "--invariants", &invariants, "--settle-epochs", "0"];
    args.extend(["--report", path.to_str().unwrap()]);
    args.extend(SMALL);
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(1), "{}", ended.errors);
    assert!(
        ended.error().contains("1 transactions used other gas"),
        "{}",
        ended.error()
    );
    let report: Report = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(report.gas_mismatches, 1);
    assert_eq!(
        (
            report.gas_mismatch_list[0].tx.to_string(),
            report.gas_mismatch_list[0].expected
        ),
        (hash, 0x5209)
    );
    place.assert_clean();
}
