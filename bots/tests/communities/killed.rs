//! SIGKILL in the middle: what comes after is what would have come.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::command::Place;

/// What is written down of each ceremony, but for what says how often something was tried.
fn history(report: &Value) -> Vec<Value> {
    let rows = report["rows"].as_array().unwrap();
    let without = |row: &Value| {
        let mut row = row.clone();
        row.as_object_mut().unwrap().remove("benign");
        row
    };
    rows.iter().map(without).collect()
}

/// Ceremonies of the run that is not killed: more than the other one can come to before it is killed for the last time.
const WHOLE: u64 = 30;

#[test]
fn a_benchmark_that_is_killed_again_and_again_has_the_history_of_one_that_was_not() {
    let place = Place::new();
    let args = ["benchmark", "--miners", "30"];
    let whole = ["--state", "whole", "--ceremonies", "30", "--report", "whole.json"];
    place.ok(&[&args[..], &whole].concat());
    let whole = history(&place.json("whole.json"));
    assert_eq!(whole.len() as u64, WHOLE);

    // Killed after so many ceremonies, at some point of one that comes later.
    for ceremonies in [1, 2, 1] {
        let mut command = place.command(&[&args[..], &["--state", "killed"]].concat());
        let mut bots = command.stdout(Stdio::piped()).spawn().unwrap();
        for line in BufReader::new(bots.stdout.take().unwrap()).lines().take(ceremonies) {
            line.unwrap();
        }
        bots.kill().unwrap();
        bots.wait().unwrap();
    }
    let phase = place.ok(&["phase", "--state", "killed", "--show"]);
    let now: u64 = phase.split(' ').next().unwrap().parse().unwrap();
    assert!((5..=WHOLE).contains(&now), "{phase}");
    let left = (WHOLE + 1 - now).to_string();
    place.ok(&[
        "benchmark",
        "--state",
        "killed",
        "--ceremonies",
        &left,
        "--report",
        "killed.json",
    ]);
    let resumed = history(&place.json("killed.json"));
    assert_eq!(resumed, whole[usize::try_from(now - 1).unwrap()..]);
}
