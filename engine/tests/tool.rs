//! The binary `engine`, built and run: what it answers, what it says of bad input, and what it writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use alloy::{
    consensus::{SignableTransaction, TxEnvelope, TxLegacy},
    eips::eip2718::Encodable2718,
    primitives::{Signature, TxKind, hex, keccak256},
};
use engine::{
    Account, AccountState, Address, BlockEnv, Bytes, CompleteState, Hardfork, Transaction, U256,
    case::{Case, CaseKind, Expect},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const USER: Address = Address::repeat_byte(0xaa);
const VAULT: Address = Address::repeat_byte(0xbb);
const TOKEN: Address = Address::repeat_byte(0xcc);
/// `sstore(calldata[0..32], calldata[32..64])`
const STORE: &str = "60203560003555";
/// The same, then revert.
const STORE_AND_REVERT: &str = "6020356000355560006000fd";
/// Returns slot 1.
const RETURN_SLOT_ONE: &str = "60015460005260206000f3";

/// A folder of one test, and what is put there.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn case(&self, name: &str, case: &Case) -> PathBuf {
        Case::save([case], self.path(name)).unwrap();
        self.path(name)
    }
}

fn engine(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_engine")).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn check(case: &Path, invariants: &Path, more: &[&str]) -> Output {
    engine(&[&["check", "--case", text(case), "--invariants", text(invariants)], more].concat())
}

fn backtest(blocks: &Path, invariants: &Path, more: &[&str]) -> Output {
    engine(
        &[
            &["backtest", "--blocks", text(blocks), "--invariants", text(invariants)],
            more,
        ]
        .concat(),
    )
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Bad input: code 2, nothing on standard output, one line on standard error.
#[track_caller]
fn refused(output: &Output) -> String {
    let line = said(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(output.stdout.is_empty());
    assert!(line.starts_with("error: ") && line.lines().count() == 1, "{line:?}");
    line
}

fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name)
}

/// A part of the recorded data; `None`, said aloud, when it is not on this machine.
fn recorded(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PORTCULLIS_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(part);
    if !path.exists() {
        eprintln!(
            "SKIPPED: recorded data {part}, because {} does not exist (set PORTCULLIS_DATA)",
            path.display()
        );
        return None;
    }
    Some(path)
}

fn contract(state: &mut CompleteState, address: Address, code: &str, slots: &[(u64, u64)]) {
    let code = Bytes::from(hex::decode(code).unwrap());
    let account = Account {
        nonce: 1,
        code_hash: keccak256(&code),
        ..Account::default()
    };
    state.0.codes.insert(account.code_hash, code);
    let known = AccountState {
        account: Some(account),
        storage: slots
            .iter()
            .map(|(slot, value)| (U256::from(*slot), U256::from(*value)))
            .collect(),
    };
    state.0.accounts.insert(address, known);
}

/// `vault.store(slot, value)` by the user.
fn store(to: Address, slot: u64, value: u64) -> Transaction {
    let call = TxLegacy {
        chain_id: Some(1),
        nonce: 0,
        gas_price: 0,
        gas_limit: 200_000,
        to: TxKind::Call(to),
        value: U256::ZERO,
        input: [slot, value]
            .map(|word| U256::from(word).to_be_bytes::<32>())
            .concat()
            .into(),
    };
    let raw = TxEnvelope::from(call.into_signed(Signature::new(U256::ZERO, U256::ZERO, false))).encoded_2718();
    Transaction::unsigned(&raw, USER, keccak256(&raw)).unwrap()
}

/// A vault with 50 in slot 0 and 100 in slot 1, and these transactions.
fn case(code: &str, transactions: Vec<Transaction>) -> Case {
    let mut pre = CompleteState::default();
    contract(&mut pre, VAULT, code, &[(0, 50), (1, 100)]);
    contract(&mut pre, TOKEN, RETURN_SLOT_ONE, &[(1, 7)]);
    Case {
        id: "small".to_owned(),
        kind: CaseKind::Tx,
        chain_id: 1,
        hardfork: Hardfork::Cancun,
        relaxed: true,
        block: BlockEnv {
            number: 20_000_000,
            timestamp: 1_720_000_000,
            beneficiary: Address::ZERO,
            gas_limit: 30_000_000,
            base_fee: 0,
            difficulty: U256::ZERO,
            prevrandao: Some(keccak256("randao")),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        },
        block_hash: None,
        parent_hash: None,
        transactions,
        pre,
        expect: Expect::default(),
        invariants: Vec::new(),
        inexpressible: Vec::new(),
    }
}

const SET: &str = r#"
chain = 1
[contracts]
vault = "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
token = { address = "0xcccccccccccccccccccccccccccccccccccccccc", abi = ["function supply() view returns (uint256)"] }

[[invariants]]
name = "solvency"
expression = 'slot(vault, 0, uint256) "debt" * 100 <= slot(vault, 1, uint256) "collateral" * 80'

[[invariants]]
name = "collateral"
expression = 'slot(vault, 1, uint256) >= 50% of pre'

[[invariants]]
name = "supply"
expression = "token.supply() == 7"
"#;

fn json_of(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output.stderr)))
}

/// The fields of one invariant's answer, by its name.
fn answer<'a>(answers: &'a [Value], name: &str) -> &'a Value {
    answers.iter().find(|answer| answer["name"] == name).unwrap()
}

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

#[test]
fn bad_input_is_one_line_and_code_two() {
    let desk = Desk::new();
    let set = desk.put("set.toml", SET);
    let good = desk.case("case.json.gz", &case(STORE, vec![store(VAULT, 0, 60)]));
    let whole = fs::read(&good).unwrap();
    for (input, says) in [
        (desk.path("nowhere.json"), "cannot be read"),
        (desk.put("short.json.gz", &whole[..whole.len() / 2]), "truncated"),
        (desk.put("other.json", r#"{"jsonrpc": "2.0"}"#), "evm-case/1"),
        (desk.put("text.json", "hello"), "not JSON"),
        (desk.put("empty.json", ""), "holds no case"),
    ] {
        for line in [
            refused(&check(&input, &set, &[])),
            refused(&backtest(&input, &set, &[])),
        ] {
            assert!(line.contains(says) && line.contains(text(&input)), "{line}");
        }
    }
    for (name, set, says) in [
        ("broken.toml", "[[invariants", "no TOML"),
        ("broken.json", "[{", "no JSON"),
        ("foreign.json", r#"{"a": 1}"#, "no invariant set"),
        ("empty.json", "[]", "no invariant"),
        (
            "field.json",
            r#"[{"contract": "0x12", "type": ">=", "target": "1", "storage": "0x1"}]"#,
            "[0].contract",
        ),
        ("name.toml", "[[invariants]]\nexpression = \"1 == 1\"", "name"),
    ] {
        let path = desk.put(name, set);
        for line in [
            refused(&check(&good, &path, &[])),
            refused(&backtest(&good, &path, &[])),
        ] {
            assert!(line.contains(says) && line.contains(text(&path)), "{line}");
        }
    }
    let other_chain = desk.put("chain.toml", SET.replace("chain = 1", "chain = 5"));
    assert!(refused(&check(&good, &other_chain, &[])).contains("chain 5"));
    assert!(refused(&backtest(&good, &other_chain, &[])).contains("chain 5"));
    assert!(refused(&engine(&["check", "--speed"])).contains("--speed"));
    assert!(refused(&engine(&["launch"])).contains("launch"));
    assert!(refused(&backtest(&good, &set, &["--threads", "0"])).contains("--threads"));
    let nowhere = desk.path("no/such/folder.json");
    assert!(refused(&backtest(&good, &set, &["--json", text(&nowhere)])).contains("cannot be written"));
    assert!(refused(&backtest(&good, Path::new("case"), &[])).contains("engine check"));
}

#[test]
fn a_mistake_in_an_expression_is_shown_with_its_place() {
    let desk = Desk::new();
    let case = desk.case("case.json", &case(STORE, vec![store(VAULT, 0, 60)]));
    let set = desk.put("set.toml", SET.replace(">= 50% of pre", ">= 50% off pre"));
    let output = check(&case, &set, &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = said(&output.stderr);
    let (line, carets) = {
        let mut lines = told.lines().skip_while(|line| !line.contains("50% off pre"));
        (lines.next().unwrap(), lines.next().unwrap())
    };
    assert!(carets.find('^').unwrap() >= line.find("off").unwrap(), "{told}");
    assert!(told.contains("collateral") && output.stdout.is_empty(), "{told}");
}

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
