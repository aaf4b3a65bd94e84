//! Reading and writing case files: every form they come in, and every way they can be bad.

use std::{fs, io::Write, path::Path, sync::Arc};

use crate::data::recorded;
use crate::world::*;
use engine::{
    Bytes, Comparison, CompleteState, Hardfork, Invariant, Replay, U256, ValueType, Verdict, WatchSet,
    case::{Case, CaseError, CaseFile, CaseKind, Expect, Expected, ExpectedStatus},
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A generated case: one signed transaction on the vault, and an invariant that it keeps.
fn scenario() -> Case {
    let state = world(STORE, &[(1, U256::from(150))]);
    let floor = Invariant::new(
        7,
        "floor",
        VAULT,
        U256::from(1),
        ValueType::Uint(64),
        0,
        Comparison::Ge,
        U256::from(100),
    );
    let transactions: Vec<_> = store_by_every_type(1, 120).into_iter().take(1).collect();
    Case {
        id: "scenario".to_owned(),
        kind: CaseKind::Tx,
        chain_id: CHAIN,
        hardfork: Hardfork::Prague,
        relaxed: false,
        block: env(Hardfork::Prague),
        block_hash: None,
        parent_hash: None,
        expect: Expect {
            block_gas_used: Some(26_292),
            per_tx: vec![Expected {
                gas_used: 26_292,
                status: Some(ExpectedStatus::Success),
                logs: Some(0),
            }],
        },
        transactions,
        pre: state,
        invariants: vec![floor.unwrap()],
        inexpressible: Vec::new(),
    }
}

fn read(bytes: impl Into<Vec<u8>>) -> Result<Vec<Case>, CaseError> {
    CaseFile::from_bytes(bytes)?.collect()
}

fn read_json(json: &Value) -> Result<Case, CaseError> {
    read(json.to_string()).map(|cases| cases.into_iter().next().unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_written_reads_back_as_the_same_case_and_replays() {
    let case = scenario();
    assert_eq!(read_json(&case.to_json()).unwrap(), case);
    let steps: Vec<_> = Replay::new(case.clone())
        .watching(Arc::new(WatchSet::of(case.invariants).unwrap()))
        .map(Result::unwrap)
        .collect();
    assert!(
        steps[0].expected.unwrap().agrees(&steps[0].outcome),
        "{:?}",
        steps[0].outcome
    );
    assert_eq!(steps[0].judgements[0].verdict, Verdict::Holds);
}

#[test]
fn every_transaction_type_survives_writing_with_and_without_its_raw_bytes() {
    for tx in store_by_every_type(1, 5) {
        let case = Case {
            transactions: vec![tx],
            expect: Expect::default(),
            ..scenario()
        };
        let mut json = case.to_json();
        assert_eq!(read_json(&json).unwrap(), case);
        // Without raw bytes they are built from the fields, and the signature still proves the sender.
        assert!(json["txs"][0].as_object_mut().unwrap().remove("raw").is_some());
        assert_eq!(read_json(&json).unwrap(), case);
    }
}

#[test]
fn a_file_may_be_plain_or_compressed_one_case_or_many_whatever_its_name() {
    let (case, folder) = (scenario(), tempfile::tempdir().unwrap());
    let two = [
        case.clone(),
        Case {
            id: "second".to_owned(),
            ..case
        },
    ];
    for name in ["a.json", "a.ndjson", "a.json.gz", "a.ndjson.zst"] {
        let path = folder.path().join(name);
        Case::save(&two, &path).unwrap();
        assert_eq!(
            CaseFile::open(&path).unwrap().collect::<Result<Vec<_>, _>>().unwrap(),
            two,
            "{name}"
        );
    }
    let misnamed = folder.path().join("plain-by-name.json");
    fs::copy(folder.path().join("a.json.gz"), &misnamed).unwrap();
    assert_eq!(CaseFile::open(&misnamed).unwrap().count(), 2);
    let pretty = serde_json::to_string_pretty(&two[0].to_json()).unwrap();
    assert_eq!(read(pretty).unwrap(), two[..1]);
    assert!(
        fs::read(folder.path().join("a.json.gz"))
            .unwrap()
            .starts_with(&[0x1f, 0x8b])
    );
}

#[test]
fn a_folder_is_read_in_the_order_of_numbers_and_goes_on_after_a_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let named = |id: &str| Case {
        id: id.to_owned(),
        ..scenario()
    };
    for name in ["10.json", "9.json", "zebra.json", "100.json.gz"] {
        Case::save([&named(name)], folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("50.json"), "{").unwrap();
    fs::write(folder.path().join("README.md"), "not a case").unwrap();
    fs::write(folder.path().join("codes.json"), "{}").unwrap();
    let read: Vec<_> = CaseFile::open(folder.path())
        .unwrap()
        .map(|case| case.map(|case| case.id))
        .collect();
    assert_eq!(read.len(), 5);
    assert!(
        matches!(&read[2], Err(CaseError::Truncated { place, .. }) if place.path.as_ref().unwrap().ends_with("50.json"))
    );
    let good: Vec<_> = read.into_iter().flatten().collect();
    assert_eq!(good, ["9.json", "10.json", "100.json.gz", "zebra.json"]);
}

#[test]
fn codes_named_by_hash_come_from_the_file_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let case = scenario();
    let mut json = case.to_json();
    let vault = json["pre"][format!("{VAULT:#x}")].as_object_mut().unwrap();
    let code = vault.remove("code").unwrap();
    let (hash, _) = case.pre.0.codes.iter().next().unwrap();
    vault.insert("code_hash".to_owned(), json!(hash));
    let path = folder.path().join("case.json");
    fs::write(&path, json.to_string()).unwrap();
    let open = |path: &Path| CaseFile::open(path).unwrap().next().unwrap();
    let missing = open(&path).unwrap_err();
    assert!(matches!(missing, CaseError::MissingCode { account: VAULT, .. }));
    assert!(
        missing.to_string().contains("case.json") && missing.to_string().contains("codes.json.gz"),
        "{missing}"
    );
    fs::write(
        folder.path().join("codes.json.gz"),
        gzip(json!({ hash.to_string(): code }).to_string().as_bytes()),
    )
    .unwrap();
    assert_eq!(open(&path).unwrap(), case);
    fs::write(
        folder.path().join("codes.json.gz"),
        gzip(json!({ hash.to_string(): "0x00" }).to_string().as_bytes()),
    )
    .unwrap();
    assert!(matches!(open(&path), Err(CaseError::WrongCode { .. })));
    fs::write(folder.path().join("codes.json.gz"), "[]").unwrap();
    assert!(matches!(open(&path), Err(CaseError::Foreign { .. })));
}

/// A change to a case, and the error that it must give.
type Spoilt = (fn(&mut Value), fn(&CaseError) -> bool);

#[test]
fn every_spoilt_field_gives_one_clear_line_that_says_where() {
    let spoilt: [Spoilt; 16] = [
        (
            |j| j["schema"] = json!("evm-case/2"),
            |e| matches!(e, CaseError::Foreign { .. }),
        ),
        (
            |j| drop(j.as_object_mut().unwrap().remove("txs")),
            |e| matches!(e, CaseError::Foreign { .. }),
        ),
        (|j| j["kind"] = json!("bundle"), |e| e.to_string().contains("/kind")),
        (
            |j| j["hardfork"] = json!("constantinople"),
            |e| e.to_string().contains("/hardfork"),
        ),
        (
            |j| j["block"]["number"] = json!("0x10000000000000000"),
            |e| e.to_string().contains("/block/number"),
        ),
        (
            |j| j["block"]["timestamp"] = json!("12"),
            |e| matches!(e, CaseError::Foreign { .. }),
        ),
        (
            |j| j["block_hashes"] = json!({ "0x1": j["txs"][0]["hash"] }),
            |e| e.to_string().contains("/block_hashes"),
        ),
        (
            |j| j["txs"][0]["r"] = json!("0x0"),
            |e| matches!(e, CaseError::Hash { index: 0, .. }),
        ),
        (
            |j| j["txs"][0]["value"] = json!("0x1"),
            |e| matches!(e, CaseError::Hash { index: 0, .. }),
        ),
        (
            |j| j["txs"][0]["from"] = json!(VAULT),
            |e| matches!(e, CaseError::Sender { index: 0, .. }),
        ),
        (
            |j| j["txs"][0]["type"] = json!(9),
            |e| e.to_string().contains("/txs/0/type"),
        ),
        (
            |j| drop(j["txs"][0].as_object_mut().unwrap().remove("gas_price")),
            |e| e.to_string().contains("/txs/0/gas_price"),
        ),
        (|j| j["txs"][0]["v"] = json!(7), |e| e.to_string().contains("/txs/0/v")),
        (
            |j| j["expect"]["per_tx"] = json!([{"gas_used": 1}, {"gas_used": 1}]),
            |e| e.to_string().contains("/expect/per_tx"),
        ),
        (
            |j| j["invariants"][0]["value_type"] = json!("uint7"),
            |e| e.to_string().contains("/invariants/0/value_type"),
        ),
        (
            |j| j["invariants"][0]["offset"] = json!(30),
            |e| e.to_string().contains("leaves its 32-byte slot"),
        ),
    ];
    for (number, (spoil, is_it)) in spoilt.into_iter().enumerate() {
        let mut json = scenario().to_json();
        json["txs"][0].as_object_mut().unwrap().remove("raw");
        spoil(&mut json);
        let error = read_json(&json).unwrap_err();
        assert!(is_it(&error), "{number}: {error:?}");
        let line = error.to_string();
        assert!(line.starts_with("input: ") && !line.contains('\n'), "{line}");
    }
}

#[test]
fn a_signature_that_proves_nobody_is_told_apart_from_changed_fields() {
    // r = 0 in the raw bytes themselves, with the hash that goes with them.
    let mut json = scenario().to_json();
    let tx = json["txs"][0].as_object_mut().unwrap();
    let raw: Bytes = tx["raw"].as_str().unwrap().parse().unwrap();
    let mut broken = raw.to_vec();
    // The last 33 bytes are s with its length; before them r with its own.
    let r = raw.len() - 66 + 1;
    broken[r..r + 32].fill(0xff);
    tx.insert("raw".to_owned(), json!(Bytes::from(broken.clone())));
    tx.insert("hash".to_owned(), json!(alloy::primitives::keccak256(&broken)));
    let error = read_json(&json).unwrap_err();
    assert!(matches!(error, CaseError::Signature { index: 0, .. }), "{error:?}");
    assert!(error.to_string().contains("/txs/0: broken signature"), "{error}");
}

#[test]
fn files_that_are_no_cases_are_told_apart() {
    let whole = scenario().to_json().to_string();
    let compressed = gzip(whole.as_bytes());
    let is = |bytes: &[u8], what: fn(&CaseError) -> bool| {
        let error = read(bytes).unwrap_err();
        assert!(what(&error), "{error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    };
    is(b"", |e| matches!(e, CaseError::Empty { .. }));
    is(b"  \n", |e| matches!(e, CaseError::Empty { .. }));
    is(&gzip(b""), |e| matches!(e, CaseError::Empty { .. }));
    is(&whole.as_bytes()[..whole.len() / 2], |e| {
        matches!(e, CaseError::Truncated { .. })
    });
    is(&compressed[..compressed.len() / 2], |e| {
        matches!(e, CaseError::Truncated { .. })
    });
    is(&[0x1f, 0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], |e| {
        matches!(e, CaseError::Corrupt { .. })
    });
    is(&[0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff], |e| {
        matches!(e, CaseError::Corrupt { .. } | CaseError::Truncated { .. })
    });
    is(b"PK\x03\x04", |e| matches!(e, CaseError::NotJson { .. }));
    is(b"{\"jsonrpc\":\"2.0\"}", |e| matches!(e, CaseError::Foreign { .. }));
    is(b"[1,2,3]", |e| matches!(e, CaseError::Foreign { .. }));
    is("[".repeat(100_000).as_bytes(), |e| {
        matches!(e, CaseError::Foreign { .. } | CaseError::NotJson { .. })
    });
    // What is skipped is skipped without recursion.
    let bomb = format!("{{\"evidence\":{}", "[".repeat(100_000));
    is(bomb.as_bytes(), |e| matches!(e, CaseError::Truncated { .. }));
}

#[test]
fn a_path_that_is_not_there_or_holds_nothing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.json");
    let error = CaseFile::open(&absent).unwrap_err();
    assert!(
        matches!(error, CaseError::Io { .. }) && error.to_string().contains("absent.json"),
        "{error}"
    );
    assert!(matches!(CaseFile::open(folder.path()), Err(CaseError::Empty { .. })));
    assert!(matches!(
        Case::save([&scenario()], folder.path().join("no/such/folder.json")),
        Err(CaseError::Io { .. })
    ));
}

#[test]
fn recorded_predicates_become_bounds_and_the_rest_is_counted_by_name() {
    let mut json = scenario().to_json();
    let slot = |name: &str, predicate: &str| {
        json!({"name": name, "kind": "storage_slot", "address": VAULT, "slot": "0x1", "predicate": predicate,
               "num": 9, "den": 10, "limit": "0x7"})
    };
    json["invariants"] = json!([
        slot("same", "unchanged"), slot("floor", "min_ratio"), slot("cap", "max_ratio"), slot("down", "max_decrease"),
        slot("up", "max_increase"), {"name": "wei", "kind": "eth_balance", "address": VAULT, "predicate": "max_decrease"},
        {"name": "view", "kind": "view_call", "to": VAULT, "data": "0x", "predicate": "unchanged"},
        slot("later", "sum_of_parts"),
    ]);
    let case = read_json(&json).unwrap();
    assert_eq!(case.inexpressible, ["wei", "view", "later"]);
    let bounds: Vec<_> = case.invariants.iter().map(|i| (i.id, i.comparison, i.target)).collect();
    let bound = |id, comparison, target: u64| (id, comparison, U256::from(target));
    assert_eq!(
        bounds,
        [
            bound(0, Comparison::Eq, 150),
            bound(1, Comparison::Ge, 135),
            bound(2, Comparison::Le, 135),
            bound(3, Comparison::Ge, 143),
            bound(4, Comparison::Le, 157),
        ]
    );
    json["invariants"] =
        json!([{"name": "n", "kind": "storage_slot", "address": VAULT, "slot": "0x1", "predicate": "min_ratio"}]);
    assert!(read_json(&json).unwrap_err().to_string().contains("/invariants/0/num"));
}

#[test]
fn recorded_blocks_attacks_and_fixtures_survive_writing() {
    let Some(path) = recorded("exploits/ronin-2022-03.json.gz") else {
        return;
    };
    let ronin = CaseFile::open(path).unwrap().next().unwrap().unwrap();
    assert!(ronin.relaxed && !ronin.invariants.is_empty());
    let again = read_json(&ronin.to_json()).unwrap();
    assert_eq!(
        Case {
            inexpressible: ronin.inexpressible.clone(),
            ..again
        },
        ronin
    );
    let Some(path) = recorded("blocks/19426587.json.gz") else {
        return;
    };
    let block = CaseFile::open(path).unwrap().next().unwrap().unwrap();
    assert!(block.parent_hash.is_some() && block.block.excess_blob_gas.is_some());
    assert_eq!(read_json(&block.to_json()).unwrap(), block);
    let Some(path) = recorded("txs/geth_call_tracer.ndjson.gz") else {
        return;
    };
    for case in CaseFile::open(path).unwrap() {
        let case = case.unwrap();
        assert_eq!(read_json(&case.to_json()).unwrap(), case);
    }
}

#[test]
fn a_case_without_what_it_reads_ends_its_replay_with_the_name_of_what_is_missing() {
    let mut case = scenario();
    case.pre = world(STORE_BLOCK_HASH, &[]);
    let mut replay = Replay::new(case);
    let error = replay.next().unwrap().unwrap_err();
    assert!(error.to_string().contains("hash of block 999"), "{error}");
    assert!(replay.next().is_none());
    let _: &CompleteState = replay.state();
}

/// Replaces one node of a document by another value; a path that is too long ends at a leaf.
fn replace(node: &mut Value, path: &[usize], new: Value) {
    let child = match (node as &mut Value, path) {
        (Value::Object(map), [step, ..]) if !map.is_empty() => {
            let index = step % map.len();
            map.values_mut().nth(index)
        }
        (Value::Array(list), [step, ..]) if !list.is_empty() => {
            let index = step % list.len();
            list.get_mut(index)
        }
        _ => None,
    };
    match child {
        Some(child) => replace(child, &path[1..], new),
        None => *node = new,
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<u128>().prop_map(|n| format!("{n:#x}").into()),
        "0x[0-9a-fA-F]{0,70}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_mutated_document_panics_reading_or_replaying(
        mutations in prop::collection::vec((prop::collection::vec(any::<usize>(), 1..6), any_value()), 1..4), tx_type in 0usize..5
    ) {
        let tx = store_by_every_type(1, 5).into_iter().nth(tx_type).unwrap();
        let mut json = Case { transactions: vec![tx], expect: Expect::default(), ..scenario() }.to_json();
        json["txs"][0].as_object_mut().unwrap().remove("raw");
        for (path, value) in mutations {
            replace(&mut json, &path, value);
        }
        if let Ok(cases) = read(json.to_string()) {
            for case in cases {
                let watched = Arc::new(WatchSet::of(case.invariants.clone()).unwrap());
                for step in Replay::new(case).watching(watched).flatten() {
                    prop_assert!(step.outcome.gas_used <= step.transaction.gas_limit());
                }
            }
        }
    }

    #[test]
    fn no_bytes_panic_reading(bytes in prop::collection::vec(any::<u8>(), 0..200), magic in 0usize..3) {
        let magic: &[u8] = [&[][..], &[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]][magic];
        let _ = read([magic, &bytes].concat());
    }

    #[test]
    fn no_cut_or_flipped_file_panics(cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), bit in 0u8..8, packed: bool) {
        let plain = scenario().to_json().to_string().into_bytes();
        let mut bytes = if packed { gzip(&plain) } else { plain };
        let at = flip.index(bytes.len());
        bytes[at] ^= 1 << bit;
        bytes.truncate(cut.index(bytes.len()) + 1);
        let _ = read(bytes);
    }
}
