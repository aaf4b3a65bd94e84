//! Both commands on attacks and blocks of the main chain.

use std::{fs, path::Path};

use engine::U256;
use serde_json::{Value, json};

use crate::data::recorded;
use crate::desk::{Desk, backtest, check, json_of, said, scenario, text};

#[test]
fn every_recorded_attack_is_found_and_no_ordinary_block_is_accused() {
    let (Some(attacks), Some(blocks)) = (recorded("exploits"), recorded("blocks")) else {
        return;
    };
    let desk = Desk::new();
    let (set, json) = (scenario("exploits.invariants.toml"), desk.path("report.json"));
    let report = |recording: &Path, code: i32| -> Value {
        let output = backtest(recording, &set, &["--json", text(&json)]);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}{}",
            said(&output.stdout),
            said(&output.stderr)
        );
        serde_json::from_slice(&fs::read(&json).unwrap()).unwrap()
    };
    let found = report(&attacks, 1);
    let mut expected = 0;
    for file in fs::read_dir(&attacks).unwrap() {
        let file = fs::File::open(file.unwrap().path()).unwrap();
        let case: Value = serde_json::from_reader(flate2::read::GzDecoder::new(file)).unwrap();
        let id = case["id"].as_str().unwrap();
        for invariant in case["invariants"].as_array().unwrap() {
            let name = format!(
                "{}: {}",
                id.trim_start_matches("exploit-"),
                invariant["name"].as_str().unwrap()
            );
            let mut violations = found["violations"].as_array().unwrap().iter();
            let violation = violations.find(|violation| violation["invariant"] == *name && violation["case"] == *id);
            let violation = violation.unwrap_or_else(|| panic!("{name} was not found"));
            assert_eq!(violation["tx"], case["txs"][0]["hash"], "{name}");
            let decimal = |value: &Value| json!(value.as_str().unwrap().parse::<U256>().unwrap().to_string());
            assert_eq!(violation["pre"], decimal(&invariant["pre"]), "{name}");
            assert_eq!(violation["post"], decimal(&invariant["post"]), "{name}");
            expected += 1;
        }
    }
    assert_eq!((&found["violation_count"], expected), (&json!(expected), 29));

    let ordinary = report(&blocks, 0);
    assert_eq!(
        (&ordinary["verdict"], &ordinary["violation_count"]),
        (&json!("holds"), &json!(0))
    );
    assert!(ordinary["transactions"].as_u64().unwrap() >= 11_784);
    assert_eq!(ordinary["gas"]["mismatched"], 0);
    eprintln!(
        "{expected} violations in the recorded attacks, none in {} ordinary transactions",
        ordinary["transactions"]
    );
}

#[test]
fn a_case_can_be_checked_against_what_it_carries() {
    let Some(attacks) = recorded("exploits") else { return };
    let case = attacks.join("harmony-bridge-2022-06.json.gz");
    let answers = json_of(&check(&case, Path::new("case"), &["--json"]));
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (&answers[0]["verdict"], &answers[0]["post"]),
        (&json!("violated"), &json!("0"))
    );
    assert_eq!(answers[0]["margin"], "-12100000000000000000000");
}
