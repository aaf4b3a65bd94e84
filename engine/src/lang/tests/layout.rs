//! Variables lie where solc puts them: found by its layout, compared with what a deployed contract has really stored.
//!
//! fixtures/Everything.json is what solc makes of fixtures/Everything.sol: every kind of variable, each with a value of its own.

use std::collections::BTreeMap;

use alloy::primitives::{Bytes, keccak256};
use revm::{
    Context, ExecuteEvm, MainBuilder, MainContext,
    context::TxEnv,
    database::{CacheDB, EmptyDB},
    primitives::TxKind,
};

use super::*;

fn fixture() -> serde_json::Value {
    serde_json::from_str(include_str!("fixtures/Everything.json")).unwrap()
}

fn everything() -> Names {
    let mut names = Names::default();
    let contract = Contract::new(address(0xee)).with_layout(&fixture()).unwrap();
    names.insert("every", contract).unwrap();
    names
}

/// The storage of the contract after its constructor.
fn deployed() -> BTreeMap<U256, U256> {
    let code: Bytes = fixture()["bytecode"].as_str().unwrap().parse().unwrap();
    let mut evm = Context::mainnet()
        .with_db(CacheDB::new(EmptyDB::default()))
        .build_mainnet();
    let tx = TxEnv {
        kind: TxKind::Create,
        data: code,
        gas_limit: 15_000_000,
        ..TxEnv::default()
    };
    let done = evm.transact(tx).unwrap();
    assert!(done.result.is_success(), "{:?}", done.result);
    let created = done
        .state
        .into_values()
        .find(|account| account.info.code_hash != keccak256([]) && !account.storage.is_empty());
    let storage = created.unwrap().storage;
    storage
        .into_iter()
        .map(|(slot, value)| (slot, value.present_value))
        .collect()
}

struct Storage(BTreeMap<U256, U256>);

impl Reader for Storage {
    fn read(&mut self, _: Moment, source: &Source) -> Result<U256, Reason> {
        match source {
            Source::Slot { slot, .. } => Ok(self.0.get(slot).copied().unwrap_or_default()),
            _ => Err(Reason::Deadline),
        }
    }

    fn logs(&mut self, _: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        Ok(())
    }
}

#[test]
fn every_variable_is_found_where_the_contract_has_put_it() {
    let mut storage = Storage(deployed());
    let (names, person) = (everything(), |n: &str| format!("0x{n:0>40}"));
    let (a1, a2) = (person("a1"), person("a2"));
    let max = U256::MAX.to_string();
    let min = format!("-{}", U256::from(1) << 255);
    let hash = keccak256("x").to_string();
    let expected: Vec<(String, String)> = [
        ("flag", "true"),
        ("small", "-5"),
        ("phase", "2"),
        ("price as uint128", "77"),
        ("tag", "0xdeadbeef"),
        ("whole", &max),
        ("signed", &min),
        ("owner", &person("a11ce")),
        ("other", &person("b0b")),
        ("packed[0]", "11"),
        ("packed[4]", "15"),
        ("halves[0]", "21"),
        ("halves[1]", "22"),
        ("halves[2]", "23"),
        ("steps.length", "12"),
        ("steps[0]", "1000"),
        ("steps[9]", "1009"),
        ("steps[10]", "1010"),
        ("steps[11]", "1011"),
        ("wholes.length", "2"),
        ("wholes[1]", "502"),
        ("people[0]", &person("cafe")),
        ("people[1]", &person("beef")),
        ("grid.length", "2"),
        ("grid[0][3]", "4"),
        ("grid[1][0]", "5"),
        ("grid[1][2]", "7"),
        ("point.x", "91"),
        ("point.y", "-92"),
        ("point.who", &person("93")),
        ("point.seen", "true"),
        ("point.weight", "94"),
        ("points.length", "2"),
        ("points[0].y", "-102"),
        ("points[1].who", &person("113")),
        ("points[1].seen", "true"),
        ("points[1].weight", "114"),
        ("pair[0].weight", "0"),
        ("pair[1].x", "121"),
        ("pair[1].y", "-122"),
        ("pair[1].weight", "124"),
        (&format!("balances[{a1}]"), "201"),
        (&format!("balances[{a2}]"), "0"),
        (&format!("allowance[{a1}][{a2}]"), "202"),
        (&format!("allowance[{a2}][{a1}]"), "0"),
        ("nested[7][true]", "-203"),
        ("nested[7][false]", "0"),
        ("byTag[0xdeadbeef]", "204"),
        (&format!("seen[{hash}]"), "true"),
        ("bySigned[-3]", "205"),
        ("byName[\"left over\"]", "206"),
        ("byPhase[1]", "207"),
        (&format!("lists[{a1}].length"), "2"),
        (&format!("lists[{a1}][1]"), "209"),
        (&format!("markets[{a1}].fee"), "210"),
        (&format!("markets[{a1}].points[{a2}].weight"), "211"),
        (&format!("markets[{a1}].points[{a2}].seen"), "true"),
        (&format!("markets[{a1}].steps[0]"), "212"),
        (&format!("markets[{a1}].last.y"), "-213"),
    ]
    .map(|(term, value)| (term.to_owned(), value.to_owned()))
    .into();
    for (term, value) in expected {
        let text = format!("every.{term} == {value}");
        let program = parse(&text, &names).unwrap_or_else(|error| panic!("{error}"));
        let found = evaluate(&program, &mut storage);
        assert_eq!(found.after.holds, Ok(true), "{text}: {program}");
        let other = parse(&format!("every.{term} != {value}"), &names).unwrap();
        assert_eq!(evaluate(&other, &mut storage).after.holds, Ok(false), "{text}");
    }
}

#[test]
fn what_the_layout_does_not_give_is_refused() {
    let names = everything();
    for (term, message) in [
        (
            "price",
            "the layout does not say which type `Everything.Price` stands for",
        ),
        ("price as uint64", "`Everything.Price` has 16 bytes, uint64 has 8"),
        ("name", "`string` is no value of at most 32 bytes"),
        ("name.length", "`string` has no members"),
        ("packed", "`uint8[5]` needs an index in brackets"),
        ("packed[5]", "index 5 is beyond the end of `uint8[5]`"),
        ("packed.length", "`uint8[5]` has no members"),
        ("steps", "`uint24[]` needs an index in brackets, or `.length`"),
        ("steps.length.length", "`uint24[]` has no members"),
        ("steps.length[0]", "`length` cannot be indexed"),
        ("point", "`struct Everything.Point` needs a member"),
        ("point.z", "there is no member `z`"),
        ("balances", "`mapping(address => uint256)` needs a key"),
        ("byTag[0xdead]", "bytes4 has 8 hex digits, this has 4"),
        ("byName[5]", "expected a text in quotation marks"),
        ("byPhase[256]", "this is no value of uint8"),
        ("bySigned[40000]", "this is no value of int16"),
        ("nothing", "there is no variable `nothing`"),
    ] {
        let error = parse(&format!("every.{term} == 1"), &names).unwrap_err();
        assert!(error.message.starts_with(message), "{term}: {}", error.message);
    }
}

fn slot_of(text: &str) -> (U256, u8) {
    match &parsed(text).reads()[0].source {
        Source::Slot { slot, offset, .. } => (*slot, *offset),
        other => panic!("{other}"),
    }
}

/// `keccak256(key . slot)` as the documentation of solc writes it.
fn element(key: &str, slot: U256) -> U256 {
    let words = format!("{key:0>64}{slot:064x}");
    let bytes: Bytes = words.parse().unwrap();
    U256::from_be_bytes(keccak256(bytes).0)
}

#[test]
fn our_own_contracts_are_read_by_the_documented_rules() {
    let (alice, bob) = ("1", "2");
    assert_eq!(slot_of("vault.paused == true"), (U256::ZERO, 20));
    assert_eq!(slot_of("vault.flashFeeBps == 0"), (U256::ZERO, 22));
    assert_eq!(slot_of("vault.totalShares == 0"), (U256::from(1), 16));
    assert_eq!(slot_of("pair.updatedAt == 0"), (U256::from(1), 28));
    assert_eq!(
        slot_of("vault.sharesOf[alice] == 0"),
        (element(alice, U256::from(2)), 0)
    );
    let inner = element(bob, element(alice, U256::from(4)));
    assert_eq!(slot_of("token.allowance[alice][bob] == 0"), (inner, 0));
    // Without a layout.
    assert_eq!(slot_of("slot(token, mapping(4, alice, bob)) == 0"), (inner, 0));
    assert_eq!(
        slot_of("slot(token, mapping(0x4, 0x0000000000000000000000000000000000000001, bob)) == 0"),
        (inner, 0)
    );
}

#[test]
fn a_slot_of_a_recorded_attack_is_that_of_its_mapping() {
    // Opyn: USDC balances[victim] at slot 9, as recorded from the chain.
    let text =
        "slot(0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48, mapping(9, 0x951d51baefb72319d9fbe941e1615938d89abfe2)) == 0";
    let slot = U256::from_str_radix("894619dcbdcfda3ef694e1d934197426bb39b61dc8e72ea0f1450b8013cab6dc", 16).unwrap();
    assert_eq!(slot_of(text), (slot, 0));
}

#[test]
fn layouts_that_are_none_are_refused() {
    let contract = || Contract::new(Address::ZERO);
    for bad in ["{}", "[]", "5", "{\"storage\":[{}]}", "{\"storageLayout\":null}"] {
        let error = contract().with_layout(&serde_json::from_str(bad).unwrap()).unwrap_err();
        assert!(error.to_string().contains("storageLayout"), "{error}");
    }
    let empty = serde_json::json!({"storage": [], "types": null});
    assert!(contract().with_layout(&empty).is_ok());
    // Damaged ones are told when they are used.
    for (storage, types) in [
        ("\"slot\": \"x\"", "{}"),
        ("\"slot\": \"0\"", "null"),
        (
            "\"slot\": \"0\"",
            "{\"t\": {\"encoding\": \"inplace\", \"label\": \"uint256\", \"numberOfBytes\": \"0\"}}",
        ),
        (
            "\"slot\": \"0\"",
            "{\"t\": {\"encoding\": \"mapping\", \"label\": \"m\", \"numberOfBytes\": \"32\", \"key\": \"k\"}}",
        ),
        (
            "\"slot\": \"0\"",
            "{\"t\": {\"encoding\": \"inplace\", \"label\": \"x\", \"numberOfBytes\": \"32\", \"base\": \"t\"}}",
        ),
    ] {
        let text = format!(
            "{{\"storage\": [{{\"label\": \"x\", \"offset\": 0, \"type\": \"t\", {storage}}}], \"types\": {types}}}"
        );
        let mut names = Names::default();
        let contract = contract().with_layout(&serde_json::from_str(&text).unwrap()).unwrap();
        names.insert("c", contract).unwrap();
        for term in ["c.x", "c.x[0]", "c.x[0][0]", "c.x.y", "c.x as uint8"] {
            assert!(parse(&format!("{term} == 1"), &names).is_err(), "{text} {term}");
        }
    }
}
