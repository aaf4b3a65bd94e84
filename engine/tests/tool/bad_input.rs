//! Whatever is wrong with the input: one line that says where, and code 2.

use std::{fs, path::Path};

use crate::desk::{Desk, SET, STORE, VAULT, backtest, case, check, engine, refused, said, store, text};

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
