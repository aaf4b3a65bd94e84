//! `engine check`: one transaction, each invariant, and a code for the answer.

use std::path::Path;

use engine::case::Case;
use serde_json::{Value, json};

use crate::desk::{Desk, SET, STORE, STORE_AND_REVERT, VAULT, answer, case, check, json_of, refused, said, store};

#[test]
fn check_tells_what_the_transaction_did_to_each_invariant() {
    let desk = Desk::new();
    let set = desk.put("set.toml", SET);
    let case = desk.case("case.json.gz", &case(STORE, vec![store(VAULT, 1, 40)]));
    let output = check(&case, &set, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let answers = json_of(&output);
    assert_eq!(answers.len(), 3);

    let collateral = answer(&answers, "collateral");
    assert_eq!(
        (&collateral["verdict"], &collateral["transition"]),
        (&json!("violated"), &json!("broke"))
    );
    assert_eq!((&collateral["pre"], &collateral["post"]), (&json!("100"), &json!("40")));
    assert_eq!(
        (&collateral["margin_before"], &collateral["margin"]),
        (&json!("50"), &json!("-10"))
    );
    assert_eq!(collateral["witness"]["readings"][0]["slot"], "0x1");
    assert_eq!(collateral["witness"]["path"][0]["address"], format!("{VAULT:#x}"));

    // It reads two numbers: there is no one value before and after.
    let solvency = answer(&answers, "solvency");
    assert_eq!(
        (&solvency["verdict"], &solvency["pre"]),
        (&json!("violated"), &Value::Null)
    );
    let readings: Vec<_> = solvency["readings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reading| &reading["label"])
        .collect();
    assert_eq!(readings, ["debt", "collateral"]);
    assert_eq!(
        (&solvency["readings"][1]["pre"], &solvency["readings"][1]["post"]),
        (&json!("100"), &json!("40"))
    );

    // What the transaction could not have changed is told all the same.
    let supply = answer(&answers, "supply");
    assert_eq!(
        (&supply["verdict"], &supply["transition"]),
        (&json!("holds"), &json!("untouched"))
    );
    assert_eq!(
        (&supply["pre"], &supply["post"], &supply["margin"]),
        (&json!("7"), &json!("7"), &json!("0"))
    );

    let human = said(&check(&case, &set, &[]).stdout);
    for words in [
        "VIOLATED  collateral (broke)",
        "value    100 -> 40",
        "margin   50 -> -10",
        "HOLDS     supply (untouched)",
    ] {
        assert!(human.contains(words), "{words:?} is not in\n{human}");
    }
}

#[test]
fn check_ends_with_a_code_for_each_answer() {
    let desk = Desk::new();
    let set = desk.put("set.toml", SET);
    let code = |name: &str, case: &Case, set: &Path| check(&desk.case(name, case), set, &[]).status.code();
    assert_eq!(
        code("holds.json", &case(STORE, vec![store(VAULT, 0, 60)]), &set),
        Some(0)
    );
    assert_eq!(
        code("violated.json", &case(STORE, vec![store(VAULT, 0, 90)]), &set),
        Some(1)
    );
    let nobody = desk.put(
        "nobody.toml",
        SET.replace(
            "0xcccccccccccccccccccccccccccccccccccccccc",
            "0xdddddddddddddddddddddddddddddddddddddddd",
        ),
    );
    let case = desk.case("nobody.json", &case(STORE, vec![store(VAULT, 0, 60)]));
    let output = check(&case, &nobody, &["--json"]);
    assert_eq!(output.status.code(), Some(3));
    let answers = json_of(&output);
    let supply = answer(&answers, "supply");
    assert_eq!(
        (&supply["verdict"], &supply["transition"]),
        (&json!("undecided"), &Value::Null)
    );
    assert!(supply["reason"].as_str().unwrap().contains("no code"), "{supply}");
}

#[test]
fn a_reverting_transaction_is_warned_about_and_violates_nothing() {
    let desk = Desk::new();
    let set = desk.put("set.toml", SET);
    let case = desk.case("case.json", &case(STORE_AND_REVERT, vec![store(VAULT, 1, 40)]));
    let output = check(&case, &set, &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    let answers = json_of(&output);
    let warning = &answer(&answers, "collateral")["warnings"][0];
    assert_eq!(warning["frame"]["address"], format!("{VAULT:#x}"));
}

#[test]
fn check_executes_what_comes_before_the_transaction_that_is_meant() {
    let desk = Desk::new();
    let set = desk.put("set.toml", SET);
    let case = desk.case(
        "case.json",
        &case(STORE, vec![store(VAULT, 1, 60), store(VAULT, 1, 40)]),
    );
    let line = refused(&check(&case, &set, &[]));
    assert!(line.contains("2 transactions") && line.contains("--tx"), "{line}");
    let line = refused(&check(&case, &set, &["--tx", "2"]));
    assert!(line.contains("0 to 1"), "{line}");
    let answers = json_of(&check(&case, &set, &["--tx", "1", "--json"]));
    let collateral = answer(&answers, "collateral");
    assert_eq!((&collateral["pre"], &collateral["post"]), (&json!("60"), &json!("40")));
    assert_eq!(collateral["verdict"], "holds");
}
