//! docs/invariants.md does not rot: its sets parse, and say of numbers what the text says of them.

use serde_json::json;

use super::*;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/invariants.md");
    std::fs::read_to_string(path).unwrap()
}

/// The blocks of code of a language.
fn blocks(language: &str) -> Vec<String> {
    let document = document();
    let mut blocks = Vec::new();
    for part in document.split(&format!("```{language}\n")).skip(1) {
        blocks.push(part.split("\n```").next().unwrap().to_owned());
    }
    blocks
}

/// The files that the examples name: small artifacts with a layout and an ABI.
fn files(path: &str) -> Result<String, String> {
    let variable = |(label, slot, offset, type_id): (&str, u32, u8, &str)| json!({"label": label, "slot": slot.to_string(), "offset": offset, "type": type_id});
    let value =
        |bytes: u32, label: &str| json!({"encoding": "inplace", "label": label, "numberOfBytes": bytes.to_string()});
    let mapping = |key: &str, to: &str| json!({"encoding": "mapping", "label": "mapping", "numberOfBytes": "32", "key": key, "value": to});
    let mut types = json!({
        "t_address": value(20, "address"), "t_bool": value(1, "bool"), "t_uint128": value(16, "uint128"),
        "t_uint256": value(32, "uint256"), "t_userDefinedValueType(Rate)1": value(8, "Rate"),
        "t_mapping(t_address,t_uint256)": mapping("t_address", "t_uint256"),
        "t_mapping(t_address,m)": mapping("t_address", "t_mapping(t_address,t_uint256)"),
        "t_array(t_uint256)dyn_storage": {
            "encoding": "dynamic_array", "label": "uint256[]", "numberOfBytes": "32", "base": "t_uint256",
        },
        "t_mapping(t_uint256,t_struct(Market)2)": mapping("t_uint256", "t_struct(Market)2"),
    });
    types["t_struct(Market)2"] = json!({
        "encoding": "inplace", "label": "struct Market", "numberOfBytes": "32",
        "members": [variable(("rate", 0, 8, "t_userDefinedValueType(Rate)1"))],
    });
    let (storage, abi) = match path {
        "Vault.json" => (
            vec![
                ("owner", 0, 0, "t_address"),
                ("paused", 0, 20, "t_bool"),
                ("totalDebt", 1, 0, "t_uint128"),
                ("totalCollateral", 1, 16, "t_uint128"),
                ("totalShares", 2, 0, "t_uint256"),
                ("seniorShares", 3, 0, "t_uint128"),
                ("juniorShares", 3, 16, "t_uint128"),
                ("reports", 4, 0, "t_array(t_uint256)dyn_storage"),
                ("markets", 5, 0, "t_mapping(t_uint256,t_struct(Market)2)"),
            ],
            json!([
                "function totalAssets() view returns (uint256)",
                "function totalSupply() view returns (uint256)"
            ]),
        ),
        "Token.json" => (
            vec![("allowance", 4, 0, "t_mapping(t_address,m)")],
            json!([
                "function totalSupply() view returns (uint256)",
                "function balanceOf(address) view returns (uint256)",
                "event Transfer(address indexed from, address indexed to, uint256 value)",
            ]),
        ),
        other => return Err(format!("the examples name no file {other}")),
    };
    let storage: Vec<_> = storage.into_iter().map(variable).collect();
    Ok(json!({"storageLayout": {"storage": storage, "types": types}, "abi": abi}).to_string())
}

/// The contracts that the examples are about, and the examples.
fn examples() -> InvariantSet {
    let text = blocks("toml").join("\n");
    InvariantSet::parse(&text, Format::Toml, &mut files).unwrap_or_else(|errors| {
        panic!(
            "{}",
            errors.iter().map(|error| format!("{error}\n")).collect::<String>()
        )
    })
}

#[test]
fn the_ten_examples_are_there_and_typed() {
    let set = examples();
    let names: Vec<_> = set.invariants.iter().map(|invariant| invariant.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "solvency",
            "mint cap",
            "owner change",
            "proxy upgrade",
            "pause flag",
            "oracle bounds",
            "withdrawal rate",
            "share price",
            "supply equals sum",
            "allowance drain",
        ]
    );
    for invariant in set.invariants {
        let again = parse(&format!("{:#}", invariant.program), &Names::default()).unwrap();
        assert_eq!(again, invariant.program, "{}", invariant.name);
    }
}

#[test]
fn the_json_form_says_the_same() {
    let text = blocks("json").join("");
    let set = InvariantSet::parse(&text, Format::Json, &mut files).unwrap_or_else(|errors| panic!("{}", errors[0]));
    assert_eq!(set.invariants[0].program, examples().invariants[0].program);
    assert!(set.invariants[1].plain.is_some());
}

#[test]
fn the_expressions_of_the_reference_parse() {
    let names = examples().names;
    let mut tried = 0;
    for block in blocks("text") {
        for line in block.lines().filter(|line| !line.trim().is_empty()) {
            parse(line, &names).unwrap_or_else(|error| panic!("{error}"));
            tried += 1;
        }
    }
    assert!(tried >= 10, "{tried}");
}

/// Labels, and the raw words that they stand for before and after.
type Values<'a> = &'a [(&'a str, U256, U256)];

/// Raw words by the label of what is read; what is not listed cannot be read.
struct Told<'a>(Values<'a>, &'a Program);

impl Reader for Told<'_> {
    fn read(&mut self, moment: Moment, source: &Source) -> Result<U256, Reason> {
        let read = self.1.reads().iter().find(|read| read.source == *source).unwrap();
        let (_, pre, post) = self
            .0
            .iter()
            .find(|(label, ..)| **label == *read.label)
            .ok_or(Reason::Deadline)?;
        Ok(if moment == Moment::Pre { *pre } else { *post })
    }

    fn logs(&mut self, _: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        Ok(())
    }
}

fn violated(name: &str, values: Values<'_>) -> Result<bool, String> {
    let set = examples();
    let program = &set
        .invariants
        .iter()
        .find(|invariant| invariant.name == name)
        .unwrap()
        .program;
    let evaluation = evaluate(program, &mut Told(values, program));
    evaluation.violated().map_err(ToString::to_string)
}

#[test]
fn the_examples_find_what_they_are_there_for() {
    // A value so many bytes up in its slot, before and after.
    let packed = |label, bytes: usize, pre: u64, post: u64| {
        (label, U256::from(pre) << (bytes * 8), U256::from(post) << (bytes * 8))
    };
    let value = |label, pre, post| packed(label, 0, pre, post);
    let debt = |before, after| {
        [
            value("vault.totalDebt", before, after),
            packed("vault.totalCollateral", 16, 100, 100),
        ]
    };
    let owner = |after, sender| [value("vault.owner", 7, after), value("sender", sender, sender)];
    let slot = "slot(proxy, 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc, address)";
    let proxy = |implementation, code| [value(slot, 7, implementation), value("codehash(proxy)", 1, code)];
    let paused = |flag, after| {
        [
            packed("vault.paused", 20, flag, 0),
            value("token.balanceOf(vault)", 100, after),
        ]
    };
    let answer = |after| [value("oracle.latestAnswer()", 1_000, after)];
    let held = |after| [value("token.balanceOf(vault)", 1_000, after)];
    let price = |after| {
        [
            value("vault.totalAssets()", 1_000, after),
            value("vault.totalSupply()", 1_000, 1_000),
        ]
    };
    let drained = |after, sender| {
        let allowance = value("token.allowance[treasury][router]", 5, 5);
        [
            value("token.balanceOf(treasury)", 1_000, after),
            allowance,
            value("sender", sender, sender),
        ]
    };
    let table: [(&str, Values<'_>, bool); 22] = [
        ("solvency", &debt(70, 80), false),
        ("solvency", &debt(70, 81), true),
        ("solvency", &debt(81, 82), false),
        ("owner change", &owner(8, 5), true),
        ("owner change", &owner(8, 0xa2), false),
        ("owner change", &owner(7, 5), false),
        ("proxy upgrade", &proxy(8, 1), true),
        ("proxy upgrade", &proxy(7, 2), true),
        ("proxy upgrade", &proxy(7, 1), false),
        ("pause flag", &paused(1, 99), true),
        ("pause flag", &paused(1, 100), false),
        ("pause flag", &paused(0, 0), false),
        ("oracle bounds", &answer(1_050), false),
        ("oracle bounds", &answer(1_051), true),
        ("oracle bounds", &answer(949), true),
        ("withdrawal rate", &held(949), true),
        ("withdrawal rate", &held(950), false),
        ("share price", &price(990), false),
        ("share price", &price(989), true),
        ("share price", &price(1_100), true),
        ("allowance drain", &drained(899, 5), true),
        ("allowance drain", &drained(899, 0xa1), false),
    ];
    for (name, values, expected) in table {
        assert_eq!(violated(name, values), Ok(expected), "{name} {values:?}");
    }
}

#[test]
fn the_examples_on_events_find_what_they_are_there_for() {
    let (zero, someone) = (B256::ZERO, address(9).into_word());
    let transfer = alloy::primitives::keccak256("Transfer(address,address,uint256)");
    let set = examples();
    let judged = |name: &str, minted: &str, supply: (u64, u64)| {
        let amount = U256::from_str_radix(minted, 10).unwrap();
        let program = &set
            .invariants
            .iter()
            .find(|invariant| invariant.name == name)
            .unwrap()
            .program;
        let mut world = World::default().log(address(0xb2), &[transfer, zero, someone], &[amount]);
        for read in program.reads() {
            let (pre, post) = if read.label.contains("totalSupply") {
                supply
            } else {
                (0, 0)
            };
            world
                .values
                .insert(read.source.to_string(), (U256::from(pre), U256::from(post)));
        }
        evaluate(program, &mut world).violated().map_err(ToString::to_string)
    };
    assert_eq!(judged("mint cap", "1000000000000000000000000", (0, 5)), Ok(false));
    assert_eq!(judged("mint cap", "1000000000000000000000001", (0, 5)), Ok(true));
    assert_eq!(judged("supply equals sum", "30", (100, 130)), Ok(false));
    assert_eq!(judged("supply equals sum", "30", (100, 131)), Ok(true));
}
