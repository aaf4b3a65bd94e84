//! The canonical text: it parses back to the same program, without any names.

use alloy::primitives::aliases::U512;
use proptest::prelude::*;

use super::*;
use crate::{
    Bytes, ValueType,
    lang::{
        node::{Builder, Typed},
        program::Decimal,
    },
};

fn nameless(text: &str) -> Program {
    parse(text, &Names::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_canonical_text_spells_everything_out() {
    for (text, canonical) in [
        (
            "post(vault.totalAssets) * 100 <= vault.totalShares * 80",
            "slot(0x00000000000000000000000000000000000000a1, 0x1, uint128, 0) * 100 <= \
             slot(0x00000000000000000000000000000000000000a1, 0x1, uint128, 16) * 80",
        ),
        (
            "delta(token.balanceOf(vault)) >= -5% of pre",
            "call(0x00000000000000000000000000000000000000a2, \
             0x70a0823100000000000000000000000000000000000000000000000000000000000000a1, 0, uint256) - \
             pre(call(0x00000000000000000000000000000000000000a2, \
             0x70a0823100000000000000000000000000000000000000000000000000000000000000a1, 0, uint256)) >= -0.05 * \
             pre(call(0x00000000000000000000000000000000000000a2, \
             0x70a0823100000000000000000000000000000000000000000000000000000000000000a1, 0, uint256))",
        ),
        (
            "count(Transfer from 0x0) == 0 unless sender in {bob, alice}",
            "count(logs(any, 0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef, \
             0x0000000000000000000000000000000000000000000000000000000000000000, any)) == 0 or tx.sender in \
             {0x0000000000000000000000000000000000000001, 0x0000000000000000000000000000000000000002}",
        ),
        (
            "not (balance(alice) > 1 and not (nonce(alice) == 1 - -2 or true))",
            "not (balance(0x0000000000000000000000000000000000000001) > 1 and not \
          (nonce(0x0000000000000000000000000000000000000001) == 1 - -2 or true))",
        ),
        (
            "-(tx.value * 2) - (3 - tx.value) <= 1.50",
            "-(tx.value * 2) - (3 - tx.value) <= 1.5",
        ),
        ("(tx.value == 1) == (tx.value < 2)", "(tx.value == 1) == (tx.value < 2)"),
    ] {
        let program = parsed(text);
        assert_eq!(program.to_string(), canonical);
        assert_eq!(nameless(canonical), program);
    }
}

#[test]
fn labels_travel_where_they_are_wanted() {
    let program = parsed("delta( vault.sharesOf[alice] ) >= 0 and call(token, \"totalSupply()(uint256)\") > 0");
    let labels = |program: &Program| {
        program
            .reads()
            .iter()
            .map(|read| read.label.to_string())
            .collect::<Vec<_>>()
    };
    let expected = [
        "vault.sharesOf[alice]",
        "vault.sharesOf[alice]",
        "call(token, \"totalSupply()(uint256)\")",
    ];
    assert_eq!(labels(&program), expected);
    let travelled = nameless(&format!("{program:#}"));
    assert_eq!((labels(&travelled), &travelled), (labels(&program), &program));
    assert_ne!(labels(&nameless(&program.to_string())), expected);
}

#[test]
fn programs_that_differ_are_not_equal() {
    let different = [
        "slot(alice, 1) >= 5",
        "slot(alice, 1) >= 6",
        "slot(alice, 1) > 5",
        "slot(alice, 2) >= 5",
        "pre(slot(alice, 1)) >= 5",
        "slot(alice, 1, int256) >= 5",
        "slot(alice, 1) >= 0.5",
        "slot(alice, 1) in {5}",
        "slot(alice, 1) in {6}",
    ];
    for (i, one) in different.iter().enumerate() {
        for (j, other) in different.iter().enumerate() {
            assert_eq!(parsed(one) == parsed(other), i == j, "{one} and {other}");
        }
    }
}

/// An expression to build, of either kind: numbers and truths are told apart by where they stand.
#[derive(Clone, Debug)]
enum Sketch {
    Read(Moment, Source),
    Number(bool, [u64; 4], u8),
    Negate(Box<Sketch>),
    Absolute(Box<Sketch>),
    Arithmetic(Arithmetic, Box<Sketch>, Box<Sketch>),
    Compare(Relation, Box<Sketch>, Box<Sketch>),
    Person(bool, Moment, Address, Address),
    Member(Moment, Source, Vec<(bool, u64)>),
    Members(Vec<Address>),
    Bytes(bool, Moment, u8, [u64; 4]),
    Flag(bool),
    Same(bool, Box<Sketch>, Box<Sketch>),
    All(Vec<Sketch>),
    Any(Vec<Sketch>),
    Not(Box<Sketch>),
}

/// A value: whole or a fraction, negative or not.
fn decimal(negative: bool, limbs: [u64; 4], scale: u8) -> Decimal {
    let [a, b, c, d] = limbs;
    let number = Wide::new(negative, U512::from_limbs([a, b, c, d, 0, 0, 0, 0]));
    Decimal { number, scale }
}

fn build(sketch: &Sketch, builder: &mut Builder, number: bool) -> Typed {
    let built = match sketch {
        Sketch::Read(moment, source) => builder.read(*moment, source.clone(), "x"),
        Sketch::Number(negative, limbs, scale) => builder.decimal(decimal(*negative, *limbs, *scale)),
        Sketch::Negate(of) => {
            let of = build(of, builder, true);
            builder.negate(of)
        }
        Sketch::Absolute(of) => {
            let of = build(of, builder, true);
            builder.absolute(of)
        }
        Sketch::Arithmetic(operation, left, right) => {
            let (left, right) = (build(left, builder, true), build(right, builder, true));
            // Fractions are not divided.
            let sum = builder.arithmetic(*operation, left.clone(), right.clone());
            sum.or_else(|_| builder.arithmetic(Arithmetic::Sub, left, right))
        }
        Sketch::Compare(relation, left, right) => {
            let (left, right) = (build(left, builder, true), build(right, builder, true));
            builder.compare(*relation, left, right)
        }
        Sketch::Person(same, moment, contract, person) => {
            let slot = Source::Slot {
                contract: *contract,
                slot: U256::from(3),
                value_type: ValueType::Address,
                offset: 2,
            };
            let left = builder.read(*moment, slot, "x").unwrap();
            let right = builder.word(ValueType::Address, person.into_word().into()).unwrap();
            builder.compare(if *same { Relation::Eq } else { Relation::Ne }, left, right)
        }
        Sketch::Member(moment, source, members) => {
            let value = builder.read(*moment, source.clone(), "x").unwrap();
            let value = builder.number(value).unwrap();
            let members = members
                .iter()
                .map(|(negative, n)| decimal(*negative, [*n, 0, 0, 0], 0).number);
            builder.member(value, members.collect())
        }
        Sketch::Members(people) => {
            let sender = builder.read(Moment::Post, Source::TxSender, "x").unwrap();
            builder.member(
                sender,
                people
                    .iter()
                    .map(|person| Wide::from(U256::from_be_bytes(person.into_word().0)))
                    .collect(),
            )
        }
        Sketch::Bytes(same, moment, bytes, limbs) => {
            let value_type = ValueType::FixedBytes(*bytes);
            let view = View {
                contract: Address::ZERO,
                calldata: Bytes::from(vec![*bytes; usize::from(*bytes) + 3]),
                word: *bytes,
                value_type,
            };
            let left = builder.read(*moment, Source::View(Box::new(view)), "x").unwrap();
            let value = value_type.decode(U256::from_limbs(*limbs), 0).unwrap();
            let right = builder.word(value_type, value).unwrap();
            builder.compare(if *same { Relation::Eq } else { Relation::Ne }, right, left)
        }
        Sketch::Flag(flag) => builder.flag(*flag),
        Sketch::Same(same, left, right) => {
            let (left, right) = (build(left, builder, false), build(right, builder, false));
            builder.compare(if *same { Relation::Eq } else { Relation::Ne }, left, right)
        }
        Sketch::All(parts) => {
            let parts = parts.iter().map(|part| build(part, builder, false)).collect();
            builder.all(parts)
        }
        Sketch::Any(parts) => {
            let parts = parts.iter().map(|part| build(part, builder, false)).collect();
            builder.any(parts)
        }
        Sketch::Not(of) => {
            let of = build(of, builder, false);
            builder.not(of)
        }
    };
    let built = built.unwrap();
    if number { builder.number(built).unwrap() } else { built }
}

fn any_address() -> impl Strategy<Value = Address> {
    prop_oneof![any::<[u8; 20]>().prop_map(Address::from), Just(Address::ZERO)]
}

fn any_moment() -> impl Strategy<Value = Moment> {
    prop_oneof![Just(Moment::Pre), Just(Moment::Post)]
}

/// What can be read as a number, bytes and truths among it.
fn any_source() -> impl Strategy<Value = Source> {
    let value_type = || {
        prop_oneof![
            (1u16..=32).prop_map(|n| ValueType::Uint(n * 8)),
            (1u16..=32).prop_map(|n| ValueType::Int(n * 8)),
            Just(ValueType::Bool),
            Just(ValueType::Address),
            (1u8..=32).prop_map(ValueType::FixedBytes),
        ]
    };
    let slot =
        (any_address(), any::<[u64; 4]>(), value_type(), 0u8..32).prop_map(|(contract, slot, value_type, offset)| {
            Source::Slot {
                contract,
                slot: U256::from_limbs(slot),
                value_type,
                offset: if value_type.fits_at(offset) { offset } else { 0 },
            }
        });
    let view = (
        any_address(),
        prop::collection::vec(any::<u8>(), 0..40),
        any::<u8>(),
        value_type(),
    )
        .prop_map(|(contract, calldata, word, value_type)| {
            Source::View(Box::new(View {
                contract,
                calldata: calldata.into(),
                word,
                value_type,
            }))
        });
    let topic = || prop::option::of(any::<[u8; 32]>().prop_map(B256::from));
    let field = prop_oneof![any::<u8>().prop_map(LogField::Data), (0u8..4).prop_map(LogField::Topic)];
    let aggregate = prop_oneof![
        Just(Aggregate::Count),
        (field, 1u16..=32, any::<bool>()).prop_map(|(field, n, signed)| Aggregate::Sum {
            field,
            value_type: if signed {
                ValueType::Int(n * 8)
            } else {
                ValueType::Uint(n * 8)
            },
        }),
    ];
    let logs = (
        prop::option::of(any_address()),
        any::<[u8; 32]>(),
        prop::collection::vec(topic(), 0..4),
        aggregate,
    )
        .prop_map(|(emitter, topic0, topics, aggregate)| {
            Source::Logs(Box::new(LogQuery {
                emitter,
                topic0: topic0.into(),
                topics,
                aggregate,
            }))
        });
    prop_oneof![
        4 => slot,
        2 => view,
        1 => logs,
        1 => any_address().prop_map(Source::Balance),
        1 => any_address().prop_map(Source::Nonce),
        1 => any_address().prop_map(Source::CodeHash),
        1 => prop::sample::select(vec![
            Source::BlockNumber, Source::BlockTimestamp, Source::BaseFee, Source::TxSender, Source::TxTo, Source::TxValue,
        ]),
    ]
}

fn any_number() -> impl Strategy<Value = Sketch> {
    let operation = prop::sample::select(vec![
        Arithmetic::Add,
        Arithmetic::Sub,
        Arithmetic::Mul,
        Arithmetic::Div,
        Arithmetic::Rem,
        Arithmetic::Min,
        Arithmetic::Max,
    ]);
    let leaf = prop_oneof![
        3 => (any_moment(), any_source()).prop_map(|(moment, source)| Sketch::Read(moment, source)),
        1 => (any::<bool>(), any::<[u64; 4]>(), 0u8..4).prop_map(|(n, limbs, scale)| Sketch::Number(n, limbs, scale)),
        1 => (any::<bool>(), 0u64..50, 0u8..4).prop_map(|(n, small, scale)| Sketch::Number(n, [small, 0, 0, 0], scale)),
    ];
    leaf.prop_recursive(5, 24, 2, move |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| Sketch::Negate(Box::new(of))),
            inner.clone().prop_map(|of| Sketch::Absolute(Box::new(of))),
            (operation.clone(), inner.clone(), inner).prop_map(|(operation, a, b)| Sketch::Arithmetic(
                operation,
                Box::new(a),
                Box::new(b)
            )),
        ]
    })
}

fn any_truth() -> impl Strategy<Value = Sketch> {
    let relation = prop::sample::select(vec![
        Relation::Eq,
        Relation::Ne,
        Relation::Lt,
        Relation::Le,
        Relation::Gt,
        Relation::Ge,
    ]);
    let members = prop::collection::vec((any::<bool>(), any::<u64>()), 0..4);
    let leaf = prop_oneof![
        6 => (relation, any_number(), any_number()).prop_map(|(relation, a, b)| Sketch::Compare(relation, Box::new(a), Box::new(b))),
        1 => (any::<bool>(), any_moment(), any_address(), any_address()).prop_map(|(same, moment, a, b)| Sketch::Person(same, moment, a, b)),
        1 => (any_moment(), any_source(), members).prop_map(|(moment, source, members)| Sketch::Member(moment, source, members)),
        1 => prop::collection::vec(any_address(), 0..4).prop_map(Sketch::Members),
        1 => (any::<bool>(), any_moment(), 1u8..=32, any::<[u64; 4]>()).prop_map(|(same, moment, n, limbs)| Sketch::Bytes(same, moment, n, limbs)),
        1 => any::<bool>().prop_map(Sketch::Flag),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        let parts = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            parts().prop_map(Sketch::All),
            parts().prop_map(Sketch::Any),
            inner.clone().prop_map(|of| Sketch::Not(Box::new(of))),
            (any::<bool>(), inner.clone(), inner.clone()).prop_map(|(same, a, b)| Sketch::Same(
                same,
                Box::new(a),
                Box::new(b)
            )),
            inner.clone().prop_map(|of| Sketch::Compare(
                Relation::Eq,
                Box::new(of),
                Box::new(Sketch::Number(false, [1, 0, 0, 0], 0))
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_printed_parses_back_to_the_same_program(sketch in any_truth()) {
        let mut builder = Builder::default();
        let root = build(&sketch, &mut builder, false);
        let program = builder.finish(root).unwrap();
        let text = program.to_string();
        let again = parse(&text, &Names::default());
        prop_assert_eq!(again.as_ref().map_err(ToString::to_string), Ok(&program), "{}", text);
        prop_assert_eq!(again.unwrap().to_string(), text);
        let labelled = parse(&format!("{program:#}"), &Names::default()).unwrap();
        prop_assert_eq!(&*labelled.reads().first().map_or_else(|| "x".into(), |read| read.label.clone()), "x");
        prop_assert_eq!(labelled, program);
    }
}
