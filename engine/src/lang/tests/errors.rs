//! What is said about text that is no invariant: what is wrong, the line, a caret, what was expected.

use super::*;

fn refused(text: &str) -> LangError {
    match parse(text, &names()) {
        Ok(program) => panic!("{text} was accepted as {program}"),
        Err(error) => error,
    }
}

/// The whole message, its lines without blanks at the end.
fn shown(text: &str) -> String {
    let shown = refused(text).to_string();
    shown.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_unknown_name_is_shown_with_the_one_that_was_meant() {
    assert_eq!(
        shown("post(valt.totalAssets) <= 10"),
        "\
error: unknown name `valt`
  |
1 | post(valt.totalAssets) <= 10
  |      ^^^^ no contract, function or word of the language
  |
  = help: did you mean `vault`?"
    );
}

#[test]
fn the_line_of_a_long_expression_is_shown_with_its_number() {
    let text = "vault.totalAssets >= 5 and # at least\n  vault.totalShares >=\n  vault.totalShare";
    assert_eq!(
        shown(text),
        "\
error: there is no variable `totalShare`
  |
3 |   vault.totalShare
  |         ^^^^^^^^^^
  |
  = help: did you mean `totalShares`?"
    );
    assert_eq!(refused(text).position(), (3, 9));
}

#[test]
fn operands_that_do_not_fit_are_named() {
    assert_eq!(
        shown("tx.sender == vault.totalAssets"),
        "\
error: cannot compare an address with a number
  |
1 | tx.sender == vault.totalAssets
  | --------- ^^ ----------------- this is a number
  | |
  | this is an address"
    );
}

#[test]
fn an_expression_that_stops_says_what_is_missing() {
    assert_eq!(
        shown("vault.totalAssets >= "),
        "\
error: the expression ends too early
  |
1 | vault.totalAssets >=
  |                     ^ expected a term"
    );
    assert_eq!(
        shown("token.balanceOf[vault >= 1"),
        "\
error: the expression ends too early
  |
1 | token.balanceOf[vault >= 1
  |                           ^ expected an operator or `]`"
    );
}

#[test]
fn a_misplaced_token_is_shown_with_what_was_expected() {
    assert_eq!(
        shown("vault.totalAssets = 5"),
        "\
error: unexpected `=`
  |
1 | vault.totalAssets = 5
  |                   ^ expected an operator or the end
  |
  = help: equality is written `==`"
    );
    assert_eq!(
        shown("vault.totalAssets == 5% 3"),
        "\
error: unexpected the number 3
  |
1 | vault.totalAssets == 5% 3
  |                         ^ expected an operator or the end
  |
  = help: a number with `%` right behind it is a percentage; the remainder is written with spaces: `a % b`"
    );
}

#[test]
fn an_error_in_a_long_line_shows_its_surroundings_only() {
    let text = format!(
        "{} and vault.nothing == 1 and {}",
        vec!["1 == 1"; 2_000].join(" and "),
        vec!["2 == 2"; 2_000].join(" and ")
    );
    let shown = shown(&text);
    assert!(shown.contains("vault.nothing") && shown.len() < 2_000, "{shown}");
    let lines = format!("{}vault.nothing == 1", "1 == 1 and\n".repeat(5_000));
    assert_eq!(refused(&lines).position(), (5_001, 7));
    assert!(
        refused(&lines).to_string().contains("5001 | vault.nothing"),
        "{}",
        refused(&lines)
    );
}

/// Text, column, what is wrong, and a part of what is said about it.
const REFUSED: [(&str, usize, &str, &str); 51] = [
    (
        "vault.totalAssets >= 5 5",
        24,
        "unexpected the number 5",
        "expected an operator or the end",
    ),
    (
        "vault.owner >= alice",
        13,
        "an address has no order: only == and != compare it",
        "",
    ),
    (
        "vault.paused == 1",
        14,
        "cannot compare true or false with a number",
        "compare it with true or false",
    ),
    (
        "codehash(vault) == 5",
        17,
        "cannot compare bytes32 with a number",
        "this is bytes32",
    ),
    (
        "codehash(vault) == alice",
        17,
        "cannot compare bytes32 with an address",
        "",
    ),
    (
        "codehash(vault) == 0x1234",
        20,
        "bytes32 has 64 hex digits, this has 4",
        "",
    ),
    (
        "vault.totalAssets == 0x00000000000000000000000000000000000000aa",
        19,
        "cannot compare a number with an address",
        "",
    ),
    (
        "vault.totalAssets",
        1,
        "an invariant is true or false, but this is a number",
        "compare it with something",
    ),
    (
        "vault.totalAssets + vault.owner == 5",
        21,
        "cannot calculate with an address",
        "expected a number",
    ),
    (
        "vault.totalAssets and true",
        1,
        "this is a number and not true or false",
        "compare it",
    ),
    ("not vault.totalAssets", 5, "this is a number and not true or false", ""),
    (
        "vault.sharesOf >= 1",
        7,
        "`mapping(address => uint256)` needs a key in brackets",
        "",
    ),
    (
        "vault.sharesOf[5] >= 1",
        16,
        "expected a constant of type address",
        "0x and 40 hex digits",
    ),
    (
        "vault.sharesOf[tx.sender] >= 1",
        16,
        "expected a constant of type address",
        "",
    ),
    (
        "vault.sharesOf[alise] >= 1",
        16,
        "unknown name `alise`",
        "did you mean `alice`?",
    ),
    ("vault.sharesOf[alice].x >= 1", 23, "`uint256` has no members", ""),
    ("vault.totalAssets[0] >= 1", 19, "`uint128` cannot be indexed", ""),
    ("vault.sharesOf(alice) >= 1", 1, "", ""),
    (
        "token.balanceOf(vault, 1) >= 1",
        7,
        "`balanceOf` does not take 2 arguments",
        "it is declared `balanceOf(address)`",
    ),
    ("token.balanceOf(5) >= 1", 17, "expected a constant of type address", ""),
    (
        "token.balanceof(vault) >= 1",
        7,
        "`token` has no function `balanceof`",
        "did you mean `balanceOf`?",
    ),
    (
        "token.transfer(vault, 1) == true",
        7,
        "`transfer` changes state; only view and pure functions can be read",
        "",
    ),
    (
        "alice.totalSupply() == 1",
        7,
        "no ABI is known of `alice`, so it has no functions here",
        "give its `abi`",
    ),
    (
        "alice.totalSupply == 1",
        7,
        "no storage layout is known of `alice`, so it has no variables here",
        "give its `layout`",
    ),
    (
        "count(Transfr from 0x0) == 0",
        7,
        "no contract has an event `Transfr`",
        "did you mean `Transfer`?",
    ),
    (
        "count(token.Transfr) == 0",
        13,
        "`token` has no event `Transfr`",
        "did you mean `Transfer`?",
    ),
    (
        "count(Transfer frm 0x0) == 0",
        16,
        "`Transfer` has no parameter `frm`",
        "`from`, `to`",
    ),
    (
        "count(Transfer value 5) == 0",
        16,
        "`value` is not indexed; only indexed parameters can be asked for",
        "",
    ),
    (
        "count(Transfer from alice from bob) == 0",
        27,
        "`from` is asked for twice",
        "",
    ),
    (
        "sum(Transfer.from) == 0",
        14,
        "`from` is no number; only numbers have a sum",
        "",
    ),
    (
        "sum(Transfer) == 0",
        5,
        "sum(..) needs a parameter of the event",
        "sum(Transfer.value)",
    ),
    (
        "pre(count(Transfer)) == 0",
        5,
        "events happen in the transaction; there are none before it",
        "",
    ),
    (
        "delta(block.number) == 0",
        7,
        "this is the same before and after the transaction",
        "",
    ),
    (
        "pre(delta(vault.totalAssets)) == 0",
        5,
        "pre(..), post(..) and delta(..) do not stand inside one another",
        "",
    ),
    (
        "vault.totalAssets * 2 >= pre",
        26,
        "`pre` alone stands for the single term",
        "write pre(..) around",
    ),
    ("pre == pre", 8, "`pre` alone stands for the single term", ""),
    (
        "vault.totalAssets / 5% >= 1",
        1,
        "a decimal fraction or percentage cannot be divided",
        "multiply the other side",
    ),
    (
        "balance(0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96046) >= 1",
        9,
        "the checksum of this address is wrong (EIP-55)",
        "",
    ),
    (
        "balance(0x1234) >= 1",
        9,
        "an address has 40 hex digits, this has 4",
        "",
    ),
    ("vault.totalAssets >= 1e80", 22, "a number must be below 2^256", ""),
    ("vault.totalAssets >= \"abc", 22, "this text has no end", ""),
    (
        "vault.totalAssets >= 0xzz",
        22,
        "a hexadecimal number needs digits after `0x`",
        "",
    ),
    (
        "vault.totalAssets >= 5 € 3",
        24,
        "unexpected character '€'",
        "not part of the language",
    ),
    (
        "slot(vault, 1, uint7) == 1",
        16,
        "unknown value type \"uint7\"",
        "uint8 to uint256",
    ),
    (
        "slot(vault, 1, uint128, 17) == 1",
        25,
        "uint128 at byte 17 leaves its slot of 32 bytes",
        "",
    ),
    ("min(1) >= 2", 1, "min(..) takes other arguments", "min(a, b, ..)"),
    (
        "token.name == 5",
        7,
        "`string` is no value of at most 32 bytes; it cannot be read",
        "",
    ),
    (
        "vault(5) == 1",
        1,
        "`vault` is a contract and no function",
        "vault.function(..)",
    ),
    (
        "call(vault, \"nonsense\") == 1",
        13,
        "this is no signature of a function",
        "",
    ),
    (
        "block.nmber > 1",
        7,
        "there is no `nmber` here",
        "`number`, `timestamp`, `basefee`",
    ),
    (
        "vault.totalAssets as uint256 == 1",
        7,
        "`uint128` has 16 bytes, uint256 has 32",
        "",
    ),
];

#[test]
fn every_mistake_is_told_with_its_place() {
    for (text, column, message, said) in REFUSED {
        if message.is_empty() {
            // A mapping that is public has a function of its name.
            assert!(parse(text, &names()).is_ok());
            continue;
        }
        let error = refused(text);
        assert!(error.message.starts_with(message), "{text}: {}", error.message);
        assert_eq!(error.position(), (1, column), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn text_without_an_expression_is_told_so() {
    for text in ["", "  \n ", "# only a comment"] {
        assert_eq!(refused(text).message, "there is no expression");
    }
}

#[test]
fn names_that_mean_something_in_the_language_cannot_be_given() {
    for bad in [
        "pre",
        "and",
        "uint256",
        "balance",
        "address",
        "",
        "1st",
        "a b",
        "é",
        &"x".repeat(101),
    ] {
        assert!(
            Names::default().insert(bad, Contract::new(Address::ZERO)).is_err(),
            "{bad}"
        );
    }
    for good in ["USDC", "_x", "days", "ether", "from", "a$1"] {
        assert!(
            Names::default().insert(good, Contract::new(Address::ZERO)).is_ok(),
            "{good}"
        );
    }
}
