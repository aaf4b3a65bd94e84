//! What expressions mean, with numbers.

use alloy::primitives::keccak256;
use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;
use crate::{Comparison, Invariant, Transition, ValueType};

/// Margin before and after, and what the transaction did.
fn judged(text: &str, mut world: World) -> (Option<Transition>, Option<String>, Option<String>) {
    let evaluation = evaluate(&parsed(text), &mut world);
    let margin = |judged: &Judged| judged.margin.map(|margin| margin.to_string());
    (
        evaluation.transition(),
        margin(&evaluation.before),
        margin(&evaluation.after),
    )
}

fn margins(pre: &str, post: &str) -> (Option<String>, Option<String>) {
    (Some(pre.to_owned()), Some(post.to_owned()))
}

fn holds(text: &str, mut world: World) -> Result<bool, Fault> {
    evaluate(&parsed(text), &mut world).after.holds
}

/// Slots of `alice` without any layout, `s0` to `s9`.
fn slots(text: &str) -> String {
    (0..10).fold(text.to_owned(), |text, n| {
        text.replace(&format!("s{n}"), &format!("slot(alice, {n})"))
    })
}

fn number(text: &str) -> U256 {
    U256::from_str_radix(text, 10).unwrap()
}

#[test]
fn a_predicate_on_the_present_state_is_judged_at_both_moments() {
    let text = slots("post(s1) * 100 <= post(s2) * 80");
    let world = |debt: (u64, u64), collateral: (u64, u64)| {
        World::default()
            .small("slot(alice, 1)", debt.0, debt.1)
            .small("slot(alice, 2)", collateral.0, collateral.1)
    };
    let (pre, post) = margins("1000", "-100");
    assert_eq!(
        judged(&text, world((70, 81), (100, 100))),
        (Some(Transition::Broke), pre, post)
    );
    let (pre, post) = margins("-100", "-200");
    assert_eq!(
        judged(&text, world((81, 82), (100, 100))),
        (Some(Transition::StayedBroken), pre, post)
    );
    let (pre, post) = margins("-100", "0");
    assert_eq!(
        judged(&text, world((81, 80), (100, 100))),
        (Some(Transition::Restored), pre, post)
    );
    assert_eq!(judged(&text, world((1, 2), (100, 100))).0, Some(Transition::Kept));
}

#[test]
fn a_bare_term_is_the_state_after_and_pre_the_one_before() {
    let world = || World::default().small("slot(alice, 1)", 100, 94);
    assert_eq!(
        holds(
            &slots("s1 == 94 and post(s1) == 94 and pre(s1) == 100 and delta(s1) == -6"),
            world()
        ),
        Ok(true)
    );
    assert_eq!(holds(&slots("s1 == pre"), world()), Ok(false));
    assert_eq!(holds(&slots("95% of pre <= s1 <= 105% of pre"), world()), Ok(false));
    assert_eq!(holds(&slots("94% of pre <= s1 <= 105% of pre"), world()), Ok(true));
    assert_eq!(holds(&slots("abs(delta(s1)) <= 6% of pre"), world()), Ok(true));
    assert_eq!(holds(&slots("s1 in {pre, 3}"), world()), Ok(false));
    assert_eq!(holds(&slots("pre(s1 + s1) == 200"), world()), Ok(true));
}

#[test]
fn percentages_are_exact_to_the_last_unit() {
    // 5% of 2^256 - 1 is no whole number; a division would lose it.
    let pre = U256::MAX;
    let limit = pre - pre / U256::from(20) - U256::from(1); // floor(0.95 * pre)
    let text = slots("delta(s1) >= -5% of pre");
    let world = |post| World::default().with("slot(alice, 1)", pre, post);
    let exact = BigInt::from(100) * (big(limit) - big(pre)) + BigInt::from(5) * big(pre);
    assert_eq!(holds(&text, world(limit)), Ok(exact >= BigInt::ZERO));
    assert_eq!(holds(&text, world(limit + U256::from(1))), Ok(true));
    assert_eq!(holds(&text, world(limit - U256::from(1))), Ok(false));
    assert_eq!(
        judged(&text, World::default().small("slot(alice, 1)", 1000, 949))
            .2
            .as_deref(),
        Some("-1")
    );
    assert_eq!(
        judged(&text, World::default().small("slot(alice, 1)", 1000, 950))
            .2
            .as_deref(),
        Some("0")
    );
    assert_eq!(
        judged(&text, World::default().small("slot(alice, 1)", 1010, 959))
            .2
            .as_deref(),
        Some("-1")
    );
    for same in ["50 bps", "0.5%", "0.005", "5e-3"] {
        assert_eq!(
            parsed(&slots(&format!("s1 >= {same} of pre"))),
            parsed(&slots("s1 >= 0.5% of pre")),
            "{same}"
        );
    }
}

fn big(value: U256) -> BigInt {
    value.to_string().parse().unwrap()
}

#[test]
fn units_and_ways_to_write_numbers() {
    for (written, plain) in [
        ("1000 ether", "1000000000000000000000"),
        ("1.5 ether", "1500000000000000000"),
        ("30 gwei", "30000000000"),
        ("1e18", "1000000000000000000"),
        ("1.5e3", "1500"),
        ("1_000_000", "1000000"),
        ("0x2A", "42"),
        ("100%", "1"),
        ("2 hours", "7200"),
        ("1 weeks", "604800"),
        ("-1 ether", "-1000000000000000000"),
    ] {
        assert_eq!(
            parsed(&slots(&format!("s1 >= {written}"))),
            parsed(&slots(&format!("s1 >= {plain}"))),
            "{written}"
        );
    }
}

#[test]
fn precedence_is_that_of_arithmetic_then_comparison_then_logic() {
    let world = || {
        World::default()
            .small("slot(alice, 1)", 0, 7)
            .small("slot(alice, 2)", 0, 2)
    };
    for (text, expected) in [
        ("s1 - s2 - 1 == 4", true),
        ("s1 - (s2 - 1) == 6", true),
        ("1 + s2 * 3 == 7", true),
        ("s1 / s2 * s2 == 6", true),
        ("s1 % s2 == 1", true),
        ("-s1 / s2 == -3", true),
        ("-s1 % s2 == -1", true),
        ("min(s1, s2, 3) == 2 and max(s1, s2) == 7 and abs(s2 - s1) == 5", true),
        ("not s1 == 7 or s2 == 2", true),
        ("not (s1 == 7 or s2 == 2)", false),
        ("s1 == 0 and s2 == 0 or s2 == 2", true),
        ("s1 == 0 and (s2 == 0 or s2 == 2)", false),
        ("s1 == 0 implies s2 == 0", true),
        ("s1 == 7 implies s2 == 0", false),
        ("s1 == 0 => s1 == 1 => s1 == 2", true),
        ("s1 == 0 unless s2 == 2", true),
        ("s1 == 0 unless s2 == 3", false),
        ("s1 == 0 and s2 == 2 unless s2 == 2 and s1 == 7", true),
        ("s2 < s1 > 3", true),
        ("2 <= s2 < s1 <= 7", true),
        ("s1 in {1, 0x7, -3}", true),
        ("s1 not in {1, 7}", false),
        ("s1 in {}", false),
        ("s1 in {s2, 5, s2 + 5}", true),
        ("!(s1 == 7) || s2 == 2 && true", true),
        ("number(s1 == 7) + number(s2 == 2) == 2", true),
        ("(s1 == 7) == (s2 == 2)", true),
        ("(s1 == 7) != (s2 == 2)", false),
        ("s1 == 7 # a comment\n and // another\n s2 == 2", true),
    ] {
        assert_eq!(holds(&slots(text), world()), Ok(expected), "{text}");
    }
}

#[test]
fn the_margin_of_logic_is_the_one_that_decides() {
    let world = || {
        World::default()
            .small("slot(alice, 1)", 0, 7)
            .small("slot(alice, 2)", 0, 2)
    };
    for (text, margin) in [
        ("s1 >= 5", Some("2")),
        ("s1 > 7", Some("-1")),
        ("s1 < 5", Some("-3")),
        ("s1 <= 9", Some("2")),
        ("s1 == 7", Some("0")),
        ("s1 == 9", Some("-2")),
        ("s1 != 9", Some("1")),
        ("not s1 >= 5", Some("-3")),
        ("s1 >= 5 and s2 >= 1", Some("1")),
        ("s1 >= 5 or s2 >= 1", Some("2")),
        ("s1 >= 5 and tx.sender == alice", Some("2")),
        ("s1 >= 5 and tx.sender == bob", None),
        ("s1 >= 9 unless tx.sender == bob", Some("-2")),
        ("s1 >= 9 unless tx.sender == alice", None),
        ("s1 * 0.5 >= 3", Some("0")),
        ("tx.sender == alice", None),
    ] {
        let world = world().small("tx.sender", 1, 1);
        assert_eq!(judged(&slots(text), world).2.as_deref(), margin, "{text}");
    }
}

#[test]
fn what_is_not_known_makes_undecided_only_what_depends_on_it() {
    let world = || World::default().small("slot(alice, 1)", 7, 7);
    let unread = |n: u8| {
        Err(Fault::Unread {
            label: format!("slot(alice, {n})"),
            reason: Reason::Deadline,
        })
    };
    assert_eq!(holds(&slots("s2 >= 1"), world()), unread(2));
    assert_eq!(holds(&slots("s1 == 7 and s2 >= 1"), world()), unread(2));
    assert_eq!(holds(&slots("s1 == 8 and s2 >= 1"), world()), Ok(false));
    assert_eq!(holds(&slots("s2 >= 1 unless s1 == 7"), world()), Ok(true));
    assert_eq!(holds(&slots("s2 >= 1 unless s1 == 8"), world()), unread(2));
    assert_eq!(holds(&slots("s2 + s3 >= 1 or s1 == 8"), world()), unread(2));
}

#[test]
fn arithmetic_without_a_value_is_a_fault_and_no_panic() {
    let world = || {
        World::default()
            .with("slot(alice, 1)", U256::MAX, U256::MAX)
            .small("slot(alice, 2)", 0, 0)
    };
    assert_eq!(holds(&slots("s1 / s2 >= 1"), world()), Err(Fault::DivisionByZero));
    assert_eq!(holds(&slots("s1 % s2 >= 1"), world()), Err(Fault::DivisionByZero));
    assert_eq!(holds(&slots("s1 * s1 >= s1"), world()), Ok(true));
    assert_eq!(holds(&slots("s1 * s1 * s1 >= s1"), world()), Err(Fault::Overflow));
    assert_eq!(holds(&slots("s1 * s1 * s2 == 0"), world()), Ok(true));
    assert_eq!(holds(&slots("s2 - s1 < 0"), world()), Ok(true));
    assert_eq!(
        Reason::from(Fault::DivisionByZero),
        Reason::Arithmetic("division by zero".to_owned())
    );
}

#[test]
fn storage_is_read_by_type_and_offset() {
    let packed = number("340282366920938463463374607431768211455") << 128 | U256::from(5); // two uint128: 5 and the largest
    let world = || World::default().with("slot(alice, 1)", U256::ZERO, packed);
    let same_slot = |value_type: &str, offset: u8| format!("slot(alice, 1, {value_type}, {offset})");
    for (term, expected) in [
        (same_slot("uint128", 0), "5"),
        (same_slot("uint128", 16), "340282366920938463463374607431768211455"),
        (same_slot("int128", 16), "-1"),
        (same_slot("uint8", 31), "255"),
    ] {
        let text = format!("{term} == {expected}");
        assert_eq!(
            holds(&text, world().with(&term, U256::ZERO, packed)),
            Ok(true),
            "{text}"
        );
    }
    let text = format!("{} and number({}) == 1", same_slot("bool", 0), same_slot("bool", 0));
    assert_eq!(
        holds(&text, world().with(&same_slot("bool", 0), U256::ZERO, packed)),
        Ok(true)
    );
}

#[test]
fn return_data_that_does_not_fit_its_type_is_a_fault() {
    let owner = "vault.owner()";
    let dirty = U256::MAX;
    let fault = holds(&format!("{owner} == alice"), World::default().with(owner, dirty, dirty)).unwrap_err();
    assert!(fault.to_string().starts_with("vault.owner():"), "{fault}");
    assert_eq!(
        holds(&format!("{owner} == alice"), World::default().small(owner, 1, 1)),
        Ok(true)
    );
}

#[test]
fn people_and_code_are_compared_as_what_they_are() {
    let world = || {
        World::default()
            .small("tx.sender", 1, 1)
            .small("codehash(vault)", 5, 6)
            .small("vault.owner", 1, 2)
    };
    assert_eq!(holds("sender in {alice, bob}", world()), Ok(true));
    assert_eq!(
        holds(
            "sender not in {bob, 0x0000000000000000000000000000000000000003}",
            world()
        ),
        Ok(true)
    );
    assert_eq!(holds("codehash(vault) == pre", world()), Ok(false));
    assert_eq!(
        holds("vault.owner == pre or sender == pre(vault.owner)", world()),
        Ok(true)
    );
    assert_eq!(holds("vault.owner != 0x0", world()), Ok(true));
}

fn padded(address: Address) -> B256 {
    address.into_word()
}

#[test]
fn events_are_counted_and_summed_by_what_is_indexed() {
    let transfer = keccak256("Transfer(address,address,uint256)");
    let (alice, bob, zero) = (padded(address(1)), padded(address(2)), padded(Address::ZERO));
    let world = || {
        World::default()
            .log(address(0xa2), &[transfer, zero, alice], &[U256::from(100)])
            .log(address(0xa2), &[transfer, alice, bob], &[U256::from(30)])
            .log(address(0x77), &[transfer, alice, bob], &[U256::from(1)])
            // ERC-721: the same signature, but the last parameter is indexed too.
            .log(address(0x78), &[transfer, alice, bob, alice], &[])
            .log(address(0xa2), &[keccak256("Other()")], &[])
            .log(address(0xa2), &[], &[])
    };
    for (text, expected) in [
        ("count(Transfer) == 3", true),
        ("count(token.Transfer) == 2", true),
        ("count(Transfer from 0x0) == 1", true),
        ("count(Transfer from alice to bob) == 2", true),
        ("count(token.Transfer from == bob) == 0", true),
        ("sum(Transfer.value from alice) == 31", true),
        ("sum(token.Transfer.value to alice) <= 99", false),
        ("count(\"Other()\") == 1", true),
        (
            "sum(logs(any, 0x0000000000000000000000000000000000000000000000000000000000000001), topic[1], uint8) == 0",
            true,
        ),
    ] {
        assert_eq!(holds(text, world()), Ok(expected), "{text}");
    }
    // A log with the right topics and without the word that is summed up.
    let broken = world().log(address(0xa2), &[transfer, alice, bob], &[]);
    assert!(matches!(
        holds("sum(Transfer.value) <= 5", broken),
        Err(Fault::NotOfType { .. })
    ));
    // What speaks of events cannot have been broken before.
    let (transition, pre, post) = judged("count(Transfer from 0x0) == 1", World::default());
    assert_eq!(
        (transition, (pre, post)),
        (Some(Transition::Broke), margins("-1", "-1"))
    );
}

#[test]
fn a_huge_sum_of_logs_does_not_wrap() {
    let transfer = keccak256("Transfer(address,address,uint256)");
    let topics = [transfer, B256::ZERO, B256::ZERO];
    let world = World::default()
        .log(address(1), &topics, &[U256::MAX])
        .log(address(1), &topics, &[U256::MAX]);
    let expected = big(U256::MAX) * 2;
    assert_eq!(
        holds(&format!("sum(Transfer.value) - {} == {}", U256::MAX, U256::MAX), world),
        Ok(true)
    );
    assert!(expected > big(U256::MAX));
}

#[test]
fn every_source_is_read_once_in_the_order_of_the_expression() {
    let program = parsed(&slots(
        "s2 + s1 >= pre(s2) and s2 != 5 and delta(s3) == 0 and block.number > 0",
    ));
    let labels: Vec<_> = program
        .reads()
        .iter()
        .map(|read| (read.moment, read.label.as_ref()))
        .collect();
    use Moment::{Post, Pre};
    assert_eq!(
        labels,
        [
            (Post, "slot(alice, 2)"),
            (Post, "slot(alice, 1)"),
            (Pre, "slot(alice, 2)"),
            (Post, "slot(alice, 3)"),
            (Pre, "slot(alice, 3)"),
            (Post, "block.number"),
        ]
    );
    let mut world = (1..4).fold(World::default(), |world, n| {
        world.small(&format!("slot(alice, {n})"), n, n + 1)
    });
    world = world.small("block.number", 9, 9);
    let mut evaluator = Evaluator::default();
    assert_eq!(evaluator.evaluate(&program, &mut world).after.holds, Ok(false));
    let observed: Vec<_> = evaluator
        .observed(&program)
        .map(|o| o.value.unwrap().to_string())
        .collect();
    assert_eq!(observed, ["3", "2", "2", "4", "3", "9"]);
    // Six readings after; before, only what the program did not read at that moment: s1.
    assert_eq!(world.read.len(), 7);
    assert_eq!(world.read[6].0, Pre);
}

#[test]
fn environment_and_relations_are_known_of_a_program() {
    assert!(parsed("block.timestamp - slot(alice, 1) <= 1 hours").reads_environment());
    assert!(!parsed("balance(alice) >= 1 ether").reads_environment());
    assert!(parsed("balance(alice) >= pre").is_relational());
    assert!(!parsed("balance(alice) >= 1 ether unless sender == alice").is_relational());
    assert!(parsed("count(Transfer) == 0").is_relational());
}

#[test]
fn an_evaluator_is_used_again_for_programs_of_any_size() {
    let mut evaluator = Evaluator::default();
    let (small, large) = (slots("s1 == 1"), slots("s1 + (s2 + (s3 + (s4 + (s5 + s6)))) == 21"));
    let mut world = (1..7).fold(World::default(), |world, n| {
        world.small(&format!("slot(alice, {n})"), n, n)
    });
    for text in [&small, &large, &small, &large] {
        assert_eq!(
            evaluator.evaluate(&parsed(text), &mut world).transition(),
            Some(Transition::Kept),
            "{text}"
        );
    }
}

fn any_value_type() -> impl Strategy<Value = ValueType> {
    prop_oneof![
        (1u16..=32).prop_map(|n| ValueType::Uint(n * 8)),
        (1u16..=32).prop_map(|n| ValueType::Int(n * 8)),
        Just(ValueType::Bool),
        Just(ValueType::Address),
        (1u8..=32).prop_map(ValueType::FixedBytes),
    ]
}

proptest! {
    #[test]
    fn an_invariant_of_the_original_form_means_the_same_as_a_program(
        value_type in any_value_type(), offset in 0u8..32, slot in any::<[u64; 4]>(), words in any::<[[u64; 4]; 2]>(),
        same: bool, comparison in 0usize..5
    ) {
        prop_assume!(value_type.fits_at(offset));
        let comparison = [Comparison::Eq, Comparison::Ge, Comparison::Le, Comparison::Gt, Comparison::Lt][comparison];
        let [word, target] = words.map(U256::from_limbs);
        let target = if same { value_type.decode(word, offset) } else { value_type.decode(target, 0) }.unwrap();
        let slot = U256::from_limbs(slot);
        let invariant = Invariant::new(0, "any", address(9), slot, value_type, offset, comparison, target).unwrap();
        let program = from_invariant(&invariant).unwrap();
        let mut world = World::default();
        world.values.insert(program.reads()[0].source.to_string(), (word, word));
        let evaluation = evaluate(&program, &mut world);
        prop_assert_eq!(evaluation.after.holds, Ok(invariant.holds(invariant.read(word).unwrap())));
    }

    #[test]
    fn ratios_agree_with_unbounded_integers(pre in any::<[u64; 4]>(), post in any::<[u64; 4]>(), percent in 0u32..300) {
        let (pre, post) = (U256::from_limbs(pre), U256::from_limbs(post));
        let world = World::default().with("slot(alice, 1)", pre, post);
        let exact = BigInt::from(100) * big(post) >= BigInt::from(percent) * big(pre);
        prop_assert_eq!(holds(&slots(&format!("s1 >= {percent}% of pre")), world), Ok(exact));
    }
}
