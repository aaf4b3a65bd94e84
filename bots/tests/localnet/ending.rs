//! However a network ends, nothing of it stays behind, and it says why.

use crate::common::{Place, signal};

/// A pace at which the scenario lasts for minutes.
const SLOWLY: [&str; 2] = ["--pace", "4/s"];
/// Everybody: ledger, platform, three validators, ten miners.
const PROCESSES: usize = 15;

#[test]
fn an_interrupt_leaves_no_process_and_no_folder() {
    for name in ["INT", "TERM"] {
        let place = Place::new();
        let running = place.start(&SLOWLY);
        assert_eq!(place.processes("").len(), PROCESSES);
        signal(name, running.pid());
        let ended = running.end();
        assert_eq!(
            (ended.code, ended.error()),
            (Some(130), "error: interrupted"),
            "{}",
            ended.errors
        );
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
    let small = [
        "--validators",
        "1",
        "--replicas",
        "1",
        "--miners",
        "3",
        "--slow",
        "0",
        "--lazy",
        "0",
    ];
    let mut args = vec![
        "--feed",
        &feed,
        "--invariants",
        &invariants,
        "--settle-epochs",
        "0",
        "--keep",
    ];
    args.extend(small);
    let ended = place.run(&args);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let [kept] = place.left_behind().try_into().unwrap();
    assert!(
        ended.errors.contains(kept.to_str().unwrap()),
        "where it is was told: {}",
        ended.errors
    );
    for name in ["ledger", "platform", "validator-1", "miner-2", "miner-3", "miner-4"] {
        assert!(kept.join(format!("{name}.log")).is_file(), "{name}");
    }
}
