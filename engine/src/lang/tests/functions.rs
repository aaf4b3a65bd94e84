//! Functions and events through an ABI.

use serde_json::json;

use super::*;

/// A contract with functions of every shape, by lines and as JSON.
fn shapes() -> Names {
    let mut names = names();
    let lines = json!([
        "function getReserves() view returns (uint112 reserve0, uint112 reserve1, uint32 updatedAt)",
        "function pair(uint256) view returns (bytes4, int8[3], string, bool)",
        "function size() view returns (uint256)",
        "function size(address) view returns (uint256)",
        "function size(bytes32) view returns (uint256)",
        "function both(address) view returns (uint256)",
        "function both(bytes20) view returns (uint256)",
        "function words(string) view returns (uint256)",
        "function text() view returns (string)",
        "function nothing() view",
        "event Mint(address indexed by, uint256 amount0, uint256 amount1)",
        "event Moved(int64 indexed by, string what, int256 far)",
        "event Twice(uint256)",
        "event Twice(uint128)"
    ]);
    let dex = Contract::new(address(0xde)).with_abi(&lines).unwrap();
    names.insert("dex", dex).unwrap();
    let struct_abi = json!([{
        "type": "function", "name": "slot0", "stateMutability": "view", "inputs": [],
        "outputs": [{"name": "", "type": "tuple", "components": [
            {"name": "price", "type": "uint160"},
            {"name": "ranges", "type": "tuple[2]", "components": [{"name": "from", "type": "int24"}, {"name": "to", "type": "int24"}]},
            {"name": "unlocked", "type": "bool"}
        ]}]
    }]);
    let pool = Contract::new(address(0xdf)).with_abi(&json!({"abi": struct_abi})).unwrap();
    names.insert("pool", pool).unwrap();
    names
}

fn source(text: &str) -> String {
    let program = parse(text, &shapes()).unwrap_or_else(|error| panic!("{error}"));
    program.reads()[0].source.to_string()
}

fn refused(text: &str) -> String {
    parse(text, &shapes()).unwrap_err().to_string()
}

const DEX: &str = "0x00000000000000000000000000000000000000de";
const POOL: &str = "0x00000000000000000000000000000000000000df";

#[test]
fn a_value_is_taken_from_what_a_function_returns() {
    let reserves = |word: u8, ty: &str| format!("call({DEX}, 0x0902f1ac, {word}, {ty})");
    assert_eq!(source("dex.getReserves().reserve1 >= 1"), reserves(1, "uint112"));
    assert_eq!(source("dex.getReserves()[2] >= 1"), reserves(2, "uint32"));
    let pair = |word: u8, ty: &str| format!("({DEX}, {word}, {ty})");
    let short = |text: &str| {
        let source = source(text);
        let (head, rest) = source.trim_start_matches("call").split_once(", 0x").unwrap();
        format!("{head}, {}", rest.split_once(", ").unwrap().1)
    };
    assert_eq!(short("dex.pair(5)[0] == 0x01020304"), pair(0, "bytes4"));
    assert_eq!(short("dex.pair(5)[1][2] == -1"), pair(3, "int8"));
    // The text takes one word: where it lies.
    assert_eq!(short("dex.pair(5)[3] == true"), pair(5, "bool"));
    assert!(source("pool.slot0().price > 0").ends_with(", 0, uint160)"));
    assert!(source("pool.slot0().ranges[1].to > 0").ends_with(", 4, int24)"));
    assert!(source("pool.slot0().unlocked == true").starts_with(&format!("call({POOL}, 0x3850c7bd, 5, bool)")));
}

#[test]
fn an_overload_is_chosen_by_what_is_given() {
    let size = source("dex.size() == 1");
    assert_eq!(size, format!("call({DEX}, 0x949d225d, 0, uint256)"));
    assert_eq!(
        source("dex.size(alice) == 1"),
        format!("call({DEX}, 0xe85f9740{:064x}, 0, uint256)", 1)
    );
    let hash = "ab".repeat(32);
    assert!(source(&format!("dex.size(0x{hash}) == 1")).contains(&hash));
    let both = refused("dex.both(0x00000000000000000000000000000000000000aa) == 1");
    assert!(both.contains("fit several functions") && both.contains("both(bytes20)"), "{both}");
}

#[test]
fn a_signature_in_the_text_needs_no_abi() {
    assert_eq!(source("call(alice, \"size()(uint256)\") == 1").replace("0001,", "00de,"), source("dex.size() == 1"));
    let getter = source("dex.getReserves().reserve0 >= 1");
    assert_eq!(source("call(dex, \"function getReserves() view returns (uint112)\") >= 1"), getter);
    assert_eq!(source("call(dex, 0x0902F1AC, 0, uint112) >= 1"), getter);
    assert_eq!(source("call(dex, 0x) >= 1"), format!("call({DEX}, 0x, 0, uint256)"));
}

#[test]
fn functions_that_cannot_be_read_are_refused() {
    for (text, message) in [
        ("dex.getReserves() >= 1", "take one of them: `reserve0`, `reserve1`, `updatedAt`"),
        ("dex.getReserves().reserve2 >= 1", "which has no such part"),
        ("dex.getReserves()[3] >= 1", "which has no such part"),
        ("dex.pair(5) == 1", "take one of them: [0], [1], .."),
        ("dex.pair(5)[1] == 1", "returns int8[3], which is not one value"),
        ("dex.pair(5)[1][3] == 1", "which has no such part"),
        ("dex.pair(5)[2] == 1", "returns string, which is not one value"),
        ("dex.text() == 1", "returns string, which is not one value"),
        ("dex.nothing() == 1", "returns nothing, which is not one value"),
        ("dex.words(5) == 1", "an argument of type string cannot be given"),
        ("dex.size(1, 2) == 1", "does not take 2 arguments"),
        ("dex.getReserves().reserve0.x == 1", "which has no such part"),
        ("dex.getReserves()() == 1", "which has no such part"),
        ("call(dex, 0x123) == 1", "two hex digits for each byte"),
        ("call(dex, \"size()(uint256)\", 5) == 1", "takes 0 arguments and not 1"),
        ("call(dex, 5) == 1", "expected the signature of a function"),
        ("call(dex, 0x01, 300) == 1", "expected a number from 0 to 255"),
        ("count(dex.Twice) == 1", "there are different events"),
        ("sum(dex.Moved.what) == 1", "is no number"),
    ] {
        let shown = refused(text);
        assert!(shown.contains(message), "{shown}");
    }
}

#[test]
fn parameters_of_events_are_found_by_name() {
    assert!(source("sum(dex.Mint.amount1 by alice) == 1").ends_with("), data[1], uint256)"));
    assert!(source("sum(Moved.far) == 1").ends_with("), data[1], int256)"));
    assert!(source("sum(Moved.by) == 1").ends_with("), topic[1], int64)"));
    let minus_one = "f".repeat(64);
    assert!(source("count(Moved by -1) == 1").contains(&minus_one));
    let inline = source("sum(\"Mint(address indexed by, uint256 amount0, uint256 amount1)\".amount1 by alice) == 1");
    assert_eq!(inline, source("sum(Mint.amount1 by alice) == 1"));
}
