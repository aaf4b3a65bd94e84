//! Text of any size and shape is answered: in bounded time, memory and stack, and without a panic.

use proptest::prelude::*;

use super::*;

/// Parses on a stack of half the size that a thread usually has.
fn on_a_small_stack(text: String) -> Result<Program, LangError> {
    let parse = move || parse(&text, &names());
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(parse)
        .unwrap()
        .join()
        .unwrap()
}

#[test]
fn text_beyond_the_limit_is_refused_unread() {
    let error = on_a_small_stack("(".repeat(10_000_000)).unwrap_err();
    assert_eq!(
        error.message,
        "the expression has 10000000 bytes, more than the 65536 that one may have"
    );
    assert!(error.to_string().len() < 2_000);
}

#[test]
fn nesting_is_refused_before_it_fills_the_stack() {
    let most = MAX_TEXT;
    for (open, middle, close) in [
        ("(", "1 == 1", ")"),
        ("not ", "true", ""),
        ("!", "true", ""),
        ("-", "1 == 1", ""),
        ("1 == 1 implies ", "true", ""),
        ("abs(", "1", ")"),
        ("vault.sharesOf[", "alice", "]"),
        ("min(1, ", "1", ")"),
        ("1 - (", "1", ")"),
        ("1 in {", "1", "}"),
        ("1 == number(1 == ", "1", " == 1)"),
        ("count(Transfer from ", "alice", ")"),
        ("f", ".f", ".f"),
        ("1 + ", "1", " + 1"),
        ("f", "(1)", "(1)"),
        ("f", "[1]", "[1]"),
        ("f", " as uint8", " as uint8"),
    ] {
        let times = (most - middle.len()) / (open.len() + close.len());
        for times in [times, 2_000, 230] {
            let text = format!("{}{middle}{}", open.repeat(times.min(most)), close.repeat(times));
            let refused = on_a_small_stack(text).map(|program| program.to_string().len());
            // All of them are too deep, or were no invariants to begin with.
            assert!(refused.is_err(), "{open}{middle}{close} {times} times: {refused:?}");
        }
    }
}

#[test]
fn what_is_as_deep_as_allowed_is_evaluated_and_printed_on_a_small_stack() {
    let text = |depth: usize| format!("{}tx.value{} == 1", "1 - (".repeat(depth), ")".repeat(depth));
    let deepest = (1..200)
        .rev()
        .find(|depth| on_a_small_stack(text(*depth)).is_ok())
        .unwrap();
    assert!(deepest >= 90, "{deepest}");
    let run = move || {
        let program = parse(&text(deepest), &names()).unwrap();
        assert_eq!(parse(&program.to_string(), &Names::default()).unwrap(), program);
        assert_eq!(parse(&format!("{program:#}"), &Names::default()).unwrap(), program);
        evaluate(&program, &mut World::default().small("tx.value", 1, 1))
            .after
            .holds
            .unwrap()
    };
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn operands_that_count_twice_do_not_double_for_ever() {
    // Each level uses its middle twice: 2^40 nodes, were it not for the limit.
    let text = (0..40).fold("1".to_owned(), |inner, _| format!("number(1 == {inner} == 1)")) + " == 1";
    let error = on_a_small_stack(text).unwrap_err();
    assert!(error.message.contains("operations"), "{error}");
    let value = vec!["tx.value"; 80].join(" + ");
    let members = vec!["tx.value"; 5_000].join(", ");
    let error = on_a_small_stack(format!("{value} in {{{members}}}")).unwrap_err();
    assert!(error.message.contains("operations"), "{error}");
}

#[test]
fn wide_expressions_are_fine() {
    let long = vec!["tx.value == 1"; 3_000].join(" and ");
    assert!(on_a_small_stack(long).is_ok());
    let set = (0..5_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let program = on_a_small_stack(format!("tx.value in {{{set}}}")).unwrap();
    assert_eq!(
        evaluate(&program, &mut World::default().small("tx.value", 1, 4_999))
            .after
            .holds,
        Ok(true)
    );
    assert_eq!(
        evaluate(&program, &mut World::default().small("tx.value", 1, 5_000))
            .after
            .holds,
        Ok(false)
    );
    assert!(on_a_small_stack(format!("tx.value >= {}", "9".repeat(60_000))).is_err());
    assert!(on_a_small_stack(format!("tx.value >= 1e{}", "9".repeat(60_000))).is_err());
    assert!(on_a_small_stack(format!("tx.value >= 0x{}1", "0".repeat(60_000))).is_ok());
    assert!(on_a_small_stack(format!("tx.value >= 0.{}1", "0".repeat(60_000))).is_err());
    assert!(on_a_small_stack(format!("{} == 1", "x".repeat(60_000))).is_err());
    let reads = (0..2_000)
        .map(|n| format!("slot(alice, {n}) == 1"))
        .collect::<Vec<_>>()
        .join(" and ");
    assert!(
        on_a_small_stack(reads)
            .unwrap_err()
            .message
            .contains("different things")
    );
}

#[test]
fn what_would_not_fit_when_spelt_out_is_refused() {
    let text = |times| vec!["vault.sharesOf[bob]==1"; times].join(" and ");
    let fits = on_a_small_stack(text(400)).unwrap();
    assert_eq!(parse(&format!("{fits:#}"), &Names::default()).unwrap(), fits);
    let error = on_a_small_stack(text(2_000)).unwrap_err();
    assert!(error.message.starts_with("spelt out"), "{error}");
}

/// Pieces of the language in any order.
fn any_soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "vault",
        "token",
        "alice",
        ".totalAssets",
        ".sharesOf",
        "[alice]",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        " and ",
        " or ",
        " not ",
        " implies ",
        " unless ",
        " in ",
        " of ",
        " as ",
        "pre",
        "post",
        "delta",
        "pre(",
        "delta(",
        "count(",
        "sum(",
        "Transfer",
        " from ",
        "0x0",
        "5",
        "5%",
        "1 ether",
        "1e18",
        "true",
        "\"x\"",
        "\"f()(uint256)\"",
        "slot(",
        "call(",
        "logs(",
        "any",
        "data[0]",
        "uint256",
        "block.number",
        "tx.sender",
        "balance(",
        "codehash(",
        "mapping(",
        "min(",
        "abs(",
        "number(",
        "bytes4(",
        "#",
        "\n",
        " ",
        "0x00000000000000000000000000000000000000aa",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn answered(text: &str) {
    match parse(text, &names()) {
        Ok(program) => {
            assert_eq!(
                parse(&program.to_string(), &Names::default()).unwrap(),
                program,
                "{text}"
            );
            let _ = evaluate(&program, &mut World::default());
        }
        Err(error) => {
            assert!(
                error.span.start <= error.span.end && error.span.end <= text.len(),
                "{text}"
            );
            assert!(!error.to_string().is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        answered(&text);
    }

    #[test]
    fn no_soup_of_the_language_panics(text in any_soup()) {
        answered(&text);
    }

    #[test]
    fn no_bytes_around_an_error_panic(text in "[€🦀é\n\"( a]{0,40}") {
        answered(&text);
    }
}
