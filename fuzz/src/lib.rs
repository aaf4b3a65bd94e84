//! What the fuzz targets do with their bytes: take everything apart that comes from outside, and check what must hold.
//!
//! A target never fails on bad input; it fails when reading panics, hangs, or accepts something that it then contradicts. The
//! functions stand here, apart from libFuzzer, so that ordinary tests run them over the seeds and over random bytes.
#![allow(clippy::panic, reason = "a fuzz target reports what it found by panicking")]

use std::process::ExitCode;
use std::sync::Arc;

use engine::{
    Address, Comparison, Invariant, Reason, Replay, Transaction, U256, ValueType, WatchSet,
    case::CaseFile,
    lang::{self, Contract, LogRef, Moment, Names, Reader, Source},
};
use libfuzzer_sys as _;
use wire::Wire;

/// Most gas a fuzzed case may use in all: a target looks for panics, not for slow contracts.
const MOST_GAS: u64 = 2_000_000;

/// A case file: reading it does not panic, what was read is written and read back the same, and it replays.
pub fn case_file(bytes: &[u8]) {
    let Ok(cases) = CaseFile::from_bytes(bytes) else { return };
    for case in cases.take(8).flatten() {
        let gas = case
            .transactions
            .iter()
            .map(|tx| u128::from(tx.gas_limit()))
            .sum::<u128>();
        let again = CaseFile::from_bytes(case.to_json().to_string()).map(|mut cases| cases.next());
        match again {
            Ok(Some(Ok(mut again))) => {
                // Their names are all that is known of them, so they are not written; accounts that do not exist are not either.
                again.inexpressible.clone_from(&case.inexpressible);
                assert!(again == case, "a case reads back as another one");
            }
            other => panic!("a case does not read back: {other:?}"),
        }
        if gas > u128::from(MOST_GAS) {
            continue;
        }
        let Ok(watched) = WatchSet::of(case.invariants.clone()) else {
            panic!("the invariants of a case are no set")
        };
        for step in Replay::new(case).watching(Arc::new(watched)).flatten() {
            assert!(
                step.outcome.gas_used <= step.transaction.gas_limit(),
                "more gas used than allowed"
            );
        }
    }
}

/// A raw transaction: what decodes, decodes the same whoever vouches for the sender, and keeps its bytes.
pub fn raw_transaction(bytes: &[u8]) {
    let trusted = Transaction::with_sender(bytes, Address::ZERO);
    let Ok(proven) = Transaction::decode(bytes) else { return };
    let Ok(trusted) = trusted else {
        panic!("decodes only with a signature to check")
    };
    assert!(proven.hash() == trusted.hash(), "two hashes for the same bytes");
    assert!(proven.raw().as_ref() == bytes, "raw bytes were changed");
    assert!(proven.tx_type() <= 4, "a type that does not exist");
    let Ok(again) = Transaction::with_sender(bytes, proven.sender()) else {
        panic!("does not decode twice")
    };
    assert!(again == proven, "decodes differently the second time");
}

/// An encoded challenge, answer, prestate or set of invariants: what is understood is put on the wire and understood the same.
pub fn wire(bytes: &[u8]) {
    fn check<M: prost::Message + Default, T: Wire<Message = M> + std::fmt::Debug>(bytes: &[u8]) {
        let Ok(message) = M::decode(bytes) else { return };
        let Ok(meaning) = T::from_wire(&message) else { return };
        match T::from_wire(&meaning.to_wire()) {
            Ok(again) => assert!(
                format!("{again:?}") == format!("{meaning:?}"),
                "another meaning the second time"
            ),
            Err(error) => panic!("what was understood is not, once it was sent on: {error}"),
        }
    }
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 4 {
        0 => check::<_, wire::Challenge>(bytes),
        1 => check::<_, wire::Answer>(bytes),
        2 => check::<_, wire::ShippedPrestate>(bytes),
        _ => check::<_, wire::InvariantSet>(bytes),
    }
}

/// Type, comparison, offset, target and a slot's word, separated by blanks: what parses is displayed the same and reads values
/// of its type only.
pub fn invariant(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (value_type, comparison) = (word().parse::<ValueType>(), word().parse::<Comparison>());
    let (Ok(value_type), Ok(comparison)) = (value_type, comparison) else {
        return;
    };
    assert!(
        value_type.to_string().parse() == Ok(value_type),
        "a type displays as another"
    );
    assert!(
        comparison.to_string().parse() == Ok(comparison),
        "a comparison displays as another"
    );
    let (Ok(offset), Ok(target), Ok(slot)) = (word().parse(), word().parse::<U256>(), word().parse::<U256>()) else {
        return;
    };
    match Invariant::new(
        0,
        "fuzzed",
        Address::ZERO,
        U256::ZERO,
        value_type,
        offset,
        comparison,
        target,
    ) {
        Ok(invariant) => {
            let Some(value) = invariant.read(slot) else {
                panic!("a checked invariant cannot be read")
            };
            assert!(value_type.contains(value), "a value that is not of its type");
            assert!(
                value_type.encode(slot, offset, value).is_some(),
                "a value that cannot be stored"
            );
            let _ = invariant.holds(value);
        }
        Err(_) => assert!(
            !value_type.fits_at(offset) || !value_type.contains(target),
            "refused though type, offset and target fit"
        ),
    }
}

/// The contracts that expressions may name: variables and functions of several shapes.
fn contracts() -> Names {
    let variable = |label: &str, slot: u8, offset: u8, type_id: &str| serde_json::json!({"label": label, "slot": slot.to_string(), "offset": offset, "type": type_id});
    let inplace = |label: &str, bytes: u8| serde_json::json!({"encoding": "inplace", "label": label, "numberOfBytes": bytes.to_string()});
    let mut types = serde_json::json!({
        "t_uint128": inplace("uint128", 16), "t_bool": inplace("bool", 1), "t_bytes4": inplace("bytes4", 4),
        "t_address": inplace("address", 20), "t_int64": inplace("int64", 8), "t_userDefinedValueType(P)1": inplace("P", 8),
        "t_array(t_int64)dyn_storage": {
            "encoding": "dynamic_array", "label": "int64[]", "numberOfBytes": "32", "base": "t_int64",
        },
        "t_mapping(t_address,t_struct(S)2)": {
            "encoding": "mapping", "label": "mapping(address => S)", "numberOfBytes": "32", "key": "t_address",
            "value": "t_struct(S)2",
        },
    });
    let record = serde_json::json!({
        "encoding": "inplace", "label": "struct S", "numberOfBytes": "32", "members": [variable("x", 0, 16, "t_int64")],
    });
    if let Some(types) = types.as_object_mut() {
        types.insert("t_struct(S)2".to_owned(), record);
    }
    let layout = serde_json::json!({"types": types, "storage": [
        variable("totalDebt", 0, 0, "t_uint128"), variable("totalCollateral", 0, 16, "t_uint128"), variable("paused", 1, 0, "t_bool"),
        variable("tag", 1, 1, "t_bytes4"), variable("price", 1, 8, "t_userDefinedValueType(P)1"),
        variable("list", 2, 0, "t_array(t_int64)dyn_storage"), variable("shares", 3, 0, "t_mapping(t_address,t_struct(S)2)"),
    ]});
    let abi = serde_json::json!([
        "function balanceOf(address) view returns (uint256)",
        "function both() view returns (uint8 left, bytes4 right)",
        "event Transfer(address indexed from, address indexed to, uint256 value)"
    ]);
    let mut names = Names::default();
    for (name, byte) in [("vault", 1), ("token", 2)] {
        let contract = Contract::new(Address::with_last_byte(byte)).with_layout(&layout);
        let contract = contract.and_then(|contract| contract.with_abi(&abi));
        match contract.and_then(|contract| names.insert(name, contract)) {
            Ok(()) => {}
            Err(error) => panic!("the target's own contracts: {error}"),
        }
    }
    names
}

/// Some value of every source, another one before and after, and nothing of some.
struct Anything;

impl Reader for Anything {
    fn read(&mut self, moment: Moment, source: &Source) -> Result<U256, Reason> {
        let length = source.to_string().len();
        if length % 7 == 6 {
            return Err(Reason::Deadline);
        }
        let word = [U256::ZERO, U256::from(1), U256::from(1) << 255, U256::MAX];
        let place = (length + usize::from(moment == Moment::Pre)) % word.len();
        Ok(word.get(place).copied().unwrap_or_default())
    }

    fn logs(&mut self, visit: &mut dyn FnMut(LogRef<'_>)) -> Result<(), Reason> {
        let data = [0xff; 40];
        visit(LogRef {
            emitter: Address::with_last_byte(2),
            topics: &[],
            data: &data,
        });
        Ok(())
    }
}

/// An expression: what is refused is explained, what is accepted prints, parses back to the same without any names, and is
/// evaluated the same twice.
pub fn expression(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let program = match lang::parse(text, &contracts()) {
        Ok(program) => program,
        Err(error) => {
            assert!(
                error.span.start <= error.span.end && error.span.end <= text.len(),
                "a place outside of the text"
            );
            assert!(!error.to_string().is_empty(), "an error without a word");
            return;
        }
    };
    for canonical in [program.to_string(), format!("{program:#}")] {
        match lang::parse(&canonical, &Names::default()) {
            Ok(again) => assert!(again == program, "{canonical} is another program"),
            Err(error) => panic!("the canonical text does not parse: {error}"),
        }
    }
    let evaluation = lang::evaluate(&program, &mut Anything);
    assert!(
        evaluation == lang::evaluate(&program, &mut Anything),
        "judged otherwise the second time"
    );
    if let (Ok(holds), Some(margin)) = (&evaluation.after.holds, evaluation.after.margin) {
        assert!(
            margin.is_zero() || *holds != margin.is_negative(),
            "a margin on the wrong side"
        );
    }
}

/// The program that a target is without libFuzzer: runs it over the files given, to look at a crash again.
#[must_use]
pub fn replay_files(target: fn(&[u8])) -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("give the files to replay, or build with --features libfuzzer to fuzz (fuzz/README.md)");
        return ExitCode::from(2);
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => target(&bytes),
            Err(error) => {
                eprintln!("{}: cannot be read: {error}", file.display());
                return ExitCode::from(2);
            }
        }
        println!("{}: ok", file.display());
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
        let files = std::fs::read_dir(folder).unwrap();
        let seeds: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty());
        seeds
    }

    #[test]
    fn every_seed_is_good_input_and_passes() {
        for seed in seeds("case_file") {
            case_file(&seed);
            assert!(CaseFile::from_bytes(seed).unwrap().all(|case| case.is_ok()));
        }
        for seed in seeds("raw_transaction") {
            raw_transaction(&seed);
            assert!(Transaction::decode(&seed).is_ok());
        }
        for seed in seeds("wire") {
            super::wire(&seed);
        }
        for seed in seeds("expression") {
            expression(&seed);
            let text = std::str::from_utf8(&seed).unwrap();
            assert!(
                lang::parse(text, &contracts()).is_ok(),
                "{}",
                lang::parse(text, &contracts()).unwrap_err()
            );
        }
        for seed in seeds("invariant") {
            invariant(&seed);
            assert!(
                std::str::from_utf8(&seed)
                    .unwrap()
                    .split(' ')
                    .next()
                    .unwrap()
                    .parse::<ValueType>()
                    .is_ok()
            );
        }
    }

    /// A seed with some bytes overwritten, removed or repeated.
    fn mutated(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
        let edit = (any::<prop::sample::Index>(), any::<u8>(), 0u8..4);
        (prop::sample::select(seeds(target)), prop::collection::vec(edit, 0..6)).prop_map(|(mut bytes, edits)| {
            for (at, byte, kind) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, byte),
                    _ => bytes[at] ^= 1 << (byte % 8),
                }
            }
            bytes
        })
    }

    /// `FUZZ_RUNS`, or few enough for every run of all tests.
    fn runs() -> u32 {
        std::env::var("FUZZ_RUNS").map_or(1024, |runs| runs.parse().expect("FUZZ_RUNS is a number"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(runs()))]

        #[test]
        fn no_mutated_case_file_breaks_its_reader(bytes in mutated("case_file")) {
            case_file(&bytes);
        }

        #[test]
        fn no_mutated_transaction_breaks_its_decoder(bytes in mutated("raw_transaction")) {
            raw_transaction(&bytes);
        }

        #[test]
        fn no_mutated_expression_breaks_the_language(bytes in mutated("expression")) {
            expression(&bytes);
        }

        #[test]
        fn no_mutated_text_breaks_the_invariant_parser(bytes in mutated("invariant")) {
            invariant(&bytes);
        }

        #[test]
        fn no_mutated_message_breaks_the_decoders(bytes in mutated("wire")) {
            super::wire(&bytes);
        }
    }
}
