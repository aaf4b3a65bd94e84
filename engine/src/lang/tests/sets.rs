//! Invariant sets, the original form and recorded cases.

use std::{io::Read as _, path::Path};

use serde_json::{Value, json};

use super::*;

fn no_files(path: &str) -> Result<String, String> {
    Err(format!("{path} is not here"))
}

fn artifacts(path: &str) -> Result<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../contracts/artifacts")
        .join(path);
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn errors(text: &str, format: Format) -> Vec<String> {
    match InvariantSet::parse(text, format, &mut artifacts) {
        Ok(set) => panic!("accepted: {set:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

const TOML: &str = r#"
chain = 1

[contracts]
treasury = "0x00000000000000000000000000000000000000aa"
vault = { address = "0x00000000000000000000000000000000000000bb", layout = "Vault.json", abi = "Vault.json" }

[contracts.dex]
address = "0x00000000000000000000000000000000000000cc"
chain = 1
abi = ["function getReserves() view returns (uint112 reserve0, uint112 reserve1)"]

[[invariants]]
name = "owner"
expression = "vault.owner == pre unless sender == treasury"
severity = "critical"
description = "Only the treasury hands the vault over."

[[invariants]]
name = "reserves"
expression = """
  dex.getReserves().reserve0 > 0 and
  dex.getReserves().reserve1 > 0
"""

[[invariants]]
contract = "0x00000000000000000000000000000000000000bb"
type = ">="
target = "1000"
storage = "0x1"
slot_type = "uint128"
offset = 16
variable = "totalShares"
severity = "low"
"#;

#[test]
fn a_set_reads_the_same_from_toml_and_json() {
    let set = InvariantSet::parse(TOML, Format::Toml, &mut artifacts).unwrap();
    assert_eq!(set.chain, Some(1));
    assert_eq!(set.names.get("treasury").unwrap().address(), address(0xaa));
    let names: Vec<_> = set.invariants.iter().map(|invariant| invariant.name.as_str()).collect();
    assert_eq!(names, ["owner", "reserves", "totalShares >= 1000"]);
    assert_eq!(set.invariants[0].severity, Some(Severity::Critical));
    assert_eq!(
        set.invariants[0].description.as_deref(),
        Some("Only the treasury hands the vault over.")
    );
    assert_eq!(
        set.invariants[2].expression,
        "slot(0x00000000000000000000000000000000000000bb, 0x1, uint128, 16) >= 1000"
    );
    assert_eq!(
        (set.invariants[2].severity, set.invariants[2].plain.is_some()),
        (Some(Severity::Low), true)
    );

    let mut value: Value = toml::from_str(TOML).unwrap();
    // The layout may stand in the set itself.
    value["contracts"]["vault"]["layout"] = artifact("Vault")["storageLayout"].clone();
    let json = InvariantSet::parse(&value.to_string(), Format::Json, &mut artifacts).unwrap();
    assert_eq!(json.invariants, set.invariants);
    assert_eq!(
        (
            Format::of_file("a/set.toml"),
            Format::of_file("set.json"),
            Format::of_file("set")
        ),
        (Format::Toml, Format::Json, Format::Json)
    );
}

#[test]
fn every_error_of_a_set_is_reported_with_its_key() {
    let text = json!({
        "chain": 1, "colour": "red",
        "contracts": {
            "vault": {"address": "0x00000000000000000000000000000000000000bb", "layout": "Nothing.json"},
            "token": {"address": "0x12"},
            "pre": "0x00000000000000000000000000000000000000bb",
            "l2": {"address": "0x00000000000000000000000000000000000000bb", "chain": 10},
            "odd": {"address": "0x00000000000000000000000000000000000000bb", "speed": 5},
            "bad": {"address": "0x00000000000000000000000000000000000000bb", "abi": 5}
        },
        "invariants": [
            {"name": "a", "expression": "l2.x == 1"},
            {"name": "a", "expression": "balance(l2) >= 1 ether"},
            {"name": "a", "expression": "balance(l2) >= 1 ether", "severity": "loud"},
            {"name": "", "expression": "true"},
            {"expression": "true"},
            {"name": "b"},
            {"contract": "0x00000000000000000000000000000000000000bb", "type": "~", "target": "1", "storage": "0"},
            "true",
            {"name": "c", "expression": "balance(l2) >= 1 ether"},
            {"name": "c", "expression": "balance(l2) >= 2 ether"}
        ]
    });
    let errors = errors(&text.to_string(), Format::Json);
    let expected = [
        "colour: is unknown; there are chain, contracts and invariants",
        "contracts.bad.abi: abi: it is no ABI",
        "contracts.l2.chain: the set is about chain 1",
        "contracts.odd: unknown field `speed`, expected one of `address`, `chain`, `layout`, `abi`",
        "contracts.pre: `pre` is a word of the language",
        "contracts.token.address: \"0x12\" is no address",
        "contracts.vault.layout: Nothing.json: cannot be read",
        "error: no storage layout is known of `l2`",
        "invariants[2]: unknown variant `loud`",
        "invariants[3].name: must have 1 to 200 characters",
        "invariants[4]: missing field `name`",
        "invariants[5]: needs an `expression`, or the fields",
        "invariants[6].type: unknown comparison \"~\"",
        "invariants[7]: must be an invariant",
        "invariants[9].name: \"c\" is also the name of [8]",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error}\nand not\n{expected}");
    }
}

#[test]
fn an_error_in_an_expression_is_shown_in_it() {
    let text = TOML.replace("vault.owner == pre", "vault.ownr == pre");
    let shown = errors(&text, Format::Toml);
    let lines: Vec<_> = shown[0].lines().map(str::trim_end).collect();
    assert_eq!(
        lines.join("\n"),
        "\
error: there is no variable `ownr`
 --> invariants[0].expression (owner):1:7
  |
1 | vault.ownr == pre unless sender == treasury
  |       ^^^^
  |
  = help: did you mean `owner`?"
    );
}

#[test]
fn text_that_is_no_set_is_refused() {
    for (text, format, expected) in [
        ("", Format::Json, "this is no JSON"),
        ("{", Format::Json, "this is no JSON"),
        ("a = ", Format::Toml, "this is no TOML"),
        ("5", Format::Json, "this is no invariant set"),
        ("{}", Format::Json, "this is no invariant set"),
        ("", Format::Toml, "this is no invariant set"),
        ("{\"invariants\": 5}", Format::Json, "invariants: must be a list"),
        ("{\"contracts\": {}}", Format::Json, "invariants: is missing"),
        (
            "{\"contracts\": 5, \"invariants\": []}",
            Format::Json,
            "contracts: must hold one entry for each name",
        ),
        (
            "{\"chain\": \"one\", \"invariants\": []}",
            Format::Json,
            "chain: must be a chain id",
        ),
        ("[5]", Format::Json, "[0]: must be an invariant"),
    ] {
        let errors = errors(text, format);
        assert!(
            errors.len() == 1 && errors[0].starts_with(expected),
            "{text}: {errors:?}"
        );
    }
    let deep = "[".repeat(1_000_000);
    assert!(errors(&deep, Format::Json)[0].starts_with("this is no JSON"));
    assert!(errors(&format!("x = {deep}"), Format::Toml)[0].starts_with("this is no TOML"));
    assert!(errors(&" ".repeat(MAX_SET_TEXT + 1), Format::Json)[0].contains("more than"));
}

#[test]
fn not_more_than_a_hundred_errors_are_reported() {
    let entries = vec![json!({"name": "x", "expression": "("}); 500];
    assert_eq!(
        errors(&json!({ "invariants": entries }).to_string(), Format::Json).len(),
        100
    );
}

fn original() -> Value {
    json!({
        "contract": "0xDe0B295669a9FD93d5F28D9Ec85E40f4cb697BAe", "type": ">=", "target": "1000",
        "storage": "0x0000000000000000000000000000000000000000000000000000000000000003",
    })
}

fn plain(field: &str, value: Value) -> Result<crate::Invariant, FieldError> {
    let mut entry = original();
    entry[field] = value;
    from_wire_form(entry.as_object().unwrap())
}

#[test]
fn the_original_form_is_accepted_as_it_stands() {
    for text in [original().to_string(), json!([original()]).to_string()] {
        let set = InvariantSet::parse(&text, Format::Json, &mut no_files).unwrap();
        let invariant = set.invariants[0].plain.clone().unwrap();
        assert_eq!((invariant.slot, invariant.target), (U256::from(3), U256::from(1000)));
        assert_eq!(
            (invariant.value_type, invariant.offset),
            (crate::ValueType::Uint(256), 0)
        );
        assert_eq!(set.invariants[0].name, "value >= 1000");
    }
    let twice = json!([original(), original()]).to_string();
    assert_eq!(
        InvariantSet::parse(&twice, Format::Json, &mut no_files)
            .unwrap()
            .invariants
            .len(),
        2
    );
    let negative = plain("target", json!("-5")).unwrap_err();
    assert_eq!(negative.to_string(), "field `target`: \"-5\" is no number of uint256");
    let mut entry = original();
    entry["slot_type"] = json!("int8");
    entry["target"] = json!("-128");
    let least = from_wire_form(entry.as_object().unwrap()).unwrap();
    assert_eq!(invariant_text(&least).split_once(" >= ").unwrap().1, "-128");
    entry["target"] = json!("-129");
    assert_eq!(from_wire_form(entry.as_object().unwrap()).unwrap_err().field, "target");
}

#[test]
fn a_field_of_the_original_form_that_does_not_fit_is_named() {
    for (field, value) in [
        ("contract", json!("0x12")),
        ("contract", json!("DE0B295669A9FD93D5F28D9EC85E40F4CB697BAE")),
        ("contract", json!(null)),
        ("type", json!("=")),
        ("target", json!(5)),
        ("target", json!("")),
        ("target", json!("0x")),
        ("storage", json!("slot")),
        ("slot_type", json!("uint7")),
        ("offset", json!(32)),
        ("offset", json!(1)),
        ("offset", json!("1")),
        ("network", json!("base")),
        ("network", json!("chain-")),
        ("network", json!("chain-+1")),
        ("network", json!("chain-0")),
        ("network", json!("chain-007")),
        ("network", json!("chain-99999999999999999999")),
        ("name", json!("x".repeat(201))),
        ("colour", json!("red")),
    ] {
        assert_eq!(plain(field, value.clone()).unwrap_err().field, field, "{value}");
    }
}

#[test]
fn the_original_form_may_name_another_chain_and_then_the_set_is_about_that() {
    let on = |network: &str| {
        let mut entry = original();
        entry["network"] = json!(network);
        entry
    };
    for (text, chain) in [
        (json!([on("chain-31337"), on("chain-31337")]), Some(31_337)),
        (on("chain-31337"), Some(31_337)),
        (json!({ "invariants": [on("chain-10"), original()] }), Some(10)),
        (json!({ "chain": 10, "invariants": [on("chain-10")] }), Some(10)),
        (json!([on("ethereum")]), None),
    ] {
        let set = InvariantSet::parse(&text.to_string(), Format::Json, &mut no_files).unwrap();
        assert_eq!(set.chain, chain, "{text}");
    }
    for text in [
        json!([on("chain-1"), on("chain-2")]),
        json!({ "chain": 10, "invariants": [on("chain-1")] }),
    ] {
        let errors = InvariantSet::parse(&text.to_string(), Format::Json, &mut no_files).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].to_string().contains(".network: the set is about chain"),
            "{}",
            errors[0]
        );
    }
}

fn cases() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/exploits");
    let folder = std::env::var_os("PORTCULLIS_DATA").map_or(folder, |data| Path::new(&data).join("exploits"));
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: recorded attacks, because {} is not there", folder.display());
        return Vec::new();
    };
    files
        .map(|file| {
            let mut text = String::new();
            let file = std::fs::File::open(file.unwrap().path()).unwrap();
            flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
            serde_json::from_str(&text).unwrap()
        })
        .collect()
}

/// The same word for whatever is read.
struct Values(U256, U256);

impl Reader for Values {
    fn read(&mut self, moment: Moment, _: &Source) -> Result<U256, Reason> {
        Ok(if moment == Moment::Pre { self.0 } else { self.1 })
    }

    fn logs(&mut self, _: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        Ok(())
    }
}

#[test]
fn the_invariants_of_recorded_attacks_are_written_in_the_language() {
    let mut written = 0;
    for case in cases() {
        for entry in case["invariants"].as_array().unwrap() {
            let CaseInvariant { name, expression } = from_case_invariant(entry.as_object().unwrap()).unwrap();
            let program = parse(&expression, &Names::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let value = |field: &str| {
                U256::from_str_radix(entry[field].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
            };
            let (pre, post) = (value("pre"), value("post"));
            assert_eq!(
                evaluate(&program, &mut Values(pre, post)).violated(),
                Ok(true),
                "{name}: {expression}"
            );
            assert_eq!(
                evaluate(&program, &mut Values(pre, pre)).violated(),
                Ok(false),
                "{name}: {expression}"
            );
            written += 1;
        }
    }
    assert!(written == 0 || written >= 29, "{written}");
}

#[test]
fn predicates_of_cases_read_as_people_would_write_them() {
    let entry = |kind: &str, predicate: &str, more: Value| {
        let mut entry = json!({
            "name": "n", "kind": kind, "predicate": predicate, "address": address(0xaa), "slot": "0x4",
            "to": address(0xaa), "data": "0x18160ddd",
        });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        from_case_invariant(entry.as_object().unwrap()).map(|case| case.expression)
    };
    let a = "0x00000000000000000000000000000000000000aa";
    for (kind, predicate, more, expected) in [
        (
            "storage_slot",
            "unchanged",
            json!({}),
            format!("slot({a}, 0x4, uint256) == pre"),
        ),
        (
            "storage_slot",
            "min_ratio",
            json!({"num": 9, "den": 10}),
            format!("slot({a}, 0x4, uint256) >= 90% of pre"),
        ),
        (
            "view_call",
            "max_ratio",
            json!({"num": 11, "den": "0xa"}),
            format!("call({a}, 0x18160ddd, 0, uint256) <= 110% of pre"),
        ),
        (
            "eth_balance",
            "min_ratio",
            json!({"num": 1, "den": 3}),
            format!("post(balance({a})) * 3 >= pre(balance({a})) * 1"),
        ),
        (
            "eth_balance",
            "max_decrease",
            json!({"limit": "0x3635c9adc5dea00000"}),
            format!("delta(balance({a})) >= -1000 ether"),
        ),
        (
            "eth_balance",
            "max_increase",
            json!({"limit": 5}),
            format!("delta(balance({a})) <= 5"),
        ),
        (
            "storage_slot",
            "compare",
            json!({"value_type": "address", "offset": 2, "comparison": "==", "target": "0xbb"}),
            format!("slot({a}, 0x4, address, 2) == 0x00000000000000000000000000000000000000bb"),
        ),
    ] {
        assert_eq!(entry(kind, predicate, more), Ok(expected));
    }
    for (kind, predicate, more, field) in [
        ("nonce", "unchanged", json!({}), "kind"),
        ("storage_slot", "odd", json!({}), "predicate"),
        ("storage_slot", "min_ratio", json!({"num": 1}), "den"),
        ("storage_slot", "min_ratio", json!({"num": 1, "den": 0}), "den"),
        ("view_call", "unchanged", json!({"data": "0x1"}), "data"),
        ("eth_balance", "unchanged", json!({"address": "0x1"}), "address"),
        (
            "storage_slot",
            "compare",
            json!({"value_type": "uint8", "comparison": "==", "target": 256}),
            "target",
        ),
    ] {
        assert_eq!(entry(kind, predicate, more).unwrap_err().field, field);
    }
}
