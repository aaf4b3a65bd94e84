//! `engine backtest`: the report on a recording, as a table, as JSON and as a page.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::desk::{Desk, SET, STORE, VAULT, backtest, case, said, scenario, store, text};

#[test]
fn the_scenario_has_exactly_the_one_violation_in_every_form_of_the_report() {
    let desk = Desk::new();
    let (recording, set) = (
        scenario("vault-reentrancy.ndjson.gz"),
        scenario("vault-reentrancy.invariants.json"),
    );
    let report = |threads: &str| -> (Output, Value) {
        let (json, html) = (desk.path(&format!("{threads}.json")), desk.path("report.html"));
        let options = ["--threads", threads, "--json", text(&json), "--html", text(&html)];
        let output = backtest(&recording, &set, &options);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output.stderr));
        let mut report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
        let timing = report.as_object_mut().unwrap().remove("timing").unwrap();
        assert_eq!(timing["threads"].to_string(), threads);
        assert!(timing["latency_us"]["p99"].as_f64().unwrap() > 0.0);
        (output, report)
    };
    let (output, alone) = report("1");
    let (_, together) = report("3");
    assert_eq!(alone, together, "the report depends on how many judged");

    assert_eq!(
        (&alone["format"], &alone["verdict"]),
        (&json!("portcullis-backtest/1"), &json!("violated"))
    );
    assert_eq!((&alone["violation_count"], &alone["cases"]), (&json!(1), &json!(12)));
    let violation = &alone["violations"][0];
    assert_eq!(violation["invariant"], "vault-assets-cover-seed");
    assert_eq!((&violation["block"], &violation["index"]), (&json!(21), &json!(28)));
    assert_eq!(violation["tx"], violation["witness"]["tx"]);
    let number = |field: &str| violation[field].as_str().unwrap().parse::<i128>().unwrap();
    assert_eq!(number("post") - 10_000_000_000_000_000_000, number("margin"));
    assert!(number("margin") < 0 && number("margin_before") > 0);
    assert_eq!(alone["gas"]["mismatched"], 0);
    assert_eq!(alone["gas"]["compared"], alone["transactions"]);
    // Somebody had tried before, and was stopped.
    assert_eq!(
        (&alone["warning_count"], &alone["warnings"][0]["block"]),
        (&json!(1), &json!(20))
    );
    let seed = &alone["invariants"][0];
    assert_eq!(seed["margin"]["min"], violation["margin"]);
    let blocks: Vec<_> = seed["margins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["block"].as_u64().unwrap())
        .collect();
    assert!(blocks.is_sorted() && blocks.contains(&21));

    let table = said(&output.stdout);
    assert!(
        table.contains("VIOLATED: 1 violations, 0 undecided, 1 warnings"),
        "{table}"
    );
}

#[test]
fn the_page_is_one_file_that_loads_nothing_and_is_well_formed() {
    let desk = Desk::new();
    let html = desk.path("report.html");
    let hostile = SET.replace("\"collateral\"\nexp", "\"<script>alert(1)</script> & co\"\nexp");
    assert_ne!(hostile, SET);
    let set = desk.put("set.toml", hostile);
    let case = desk.case(
        "case.json",
        &case(STORE, vec![store(VAULT, 0, 60), store(VAULT, 1, 40)]),
    );
    assert_eq!(backtest(&case, &set, &["--html", text(&html)]).status.code(), Some(1));
    let page = fs::read_to_string(html).unwrap();
    for reference in [
        "http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe", "<object",
    ] {
        assert!(!page.contains(reference), "{reference} in the page");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(
        page.contains("alert(1)") && page.contains("&#38; co"),
        "the name is shown as text"
    );
    balanced(&page);
    // Solvency and collateral have margins; one more picture is that of the latency.
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(page.matches("<circle").count() >= 2);
}

/// Every element that is opened is closed, in order.
fn balanced(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("<{tag:.40} does not end"));
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed in another order");
        } else if !tag.starts_with('!') && !tag.ends_with('/') && !["meta", "br"].contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<String>::new());
}

#[test]
fn a_record_that_execution_does_not_agree_with_is_told() {
    let desk = Desk::new();
    let set = desk.put("set.toml", SET);
    let mut case = case(STORE, vec![store(VAULT, 0, 60)]);
    case.expect.per_tx = vec![engine::case::Expected {
        gas_used: 21_000,
        status: None,
        logs: None,
    }];
    let (case, json) = (desk.case("case.json", &case), desk.path("report.json"));
    assert_eq!(backtest(&case, &set, &["--json", text(&json)]).status.code(), Some(0));
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(
        (
            &report["gas"]["mismatched"],
            &report["gas"]["mismatches"][0]["recorded_gas"]
        ),
        (&json!(1), &json!(21_000))
    );
}
