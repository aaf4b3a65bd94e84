//! `validator status` and `validator disputes`, on a database that a validator left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::Path;
use std::process::{Command, Output};

use chain::AccountId;
use protos::v1;
use validator::store::{Canary, Dispute, Sample, Store};

fn validator(args: &[&str], database: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_validator"))
        .args(args)
        .arg("--database")
        .arg(database)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// One miner found a violation that was a canary, another hid it.
async fn left_behind(database: &Path) {
    let store = Store::open(database).await.unwrap();
    let sample = |number: u8, correct| Sample {
        hotkey: [number; 32],
        latency: Some(900),
        correct,
        known: true,
        violating: true,
    };
    let vote = |number: u8, correct| v1::Vote {
        hotkey: vec![number; 32].into(),
        correct,
        verdicts: Some(v1::Verdicts::default()),
        missed: String::new(),
        answer: None,
    };
    let canary = Canary {
        violating: true,
        samples: vec![sample(1, true), sample(2, false)],
        dispute: Some(Dispute {
            cursor: 0,
            tx_hash: [0xab; 32].into(),
            reason: "a canary".into(),
            verdicts: v1::Verdicts::default(),
            votes: vec![vote(1, true), vote(2, false)],
        }),
    };
    store.record_canary(&canary).await.unwrap();
}

#[tokio::test]
async fn an_operator_sees_who_hid_a_violation() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("validator.db");
    left_behind(&database).await;

    let text = said(&validator(&["status"], &database));
    assert!(text.contains("1 canaries asked, 1 of them violating"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&said(&validator(&["status", "--json"], &database))).unwrap();
    let found: Vec<u64> = json["miners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|miner| miner["found"].as_u64().unwrap())
        .collect();
    assert_eq!(found.iter().sum::<u64>(), 1);

    let hash = format!("0x{}", "ab".repeat(32));
    let text = said(&validator(&["disputes", "--transaction", &hash], &database));
    for word in [
        "a canary",
        &hash,
        "wrong",
        "right",
        &AccountId::new([2; 32]).to_string(),
    ] {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(&said(&validator(&["disputes", "--json"], &database))).unwrap();
    assert_eq!(
        (json[0]["canary"].as_bool(), json[0]["votes"][1]["correct"].as_bool()),
        (Some(true), Some(false))
    );
    let other = format!("0x{}", "00".repeat(32));
    assert_eq!(
        said(&validator(&["disputes", "--transaction", &other], &database)).trim(),
        "no dispute is kept"
    );
}

#[test]
fn a_database_that_is_not_there_is_named() {
    for command in ["status", "disputes", "incidents", "weights"] {
        let output = validator(&[command], Path::new("/no/such/validator.db"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains("/no/such/validator.db") && error.contains("--database"),
            "{error}"
        );
    }
}

#[test]
fn a_share_that_is_none_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text =
        "hotkey = \"k\"\nledger = \"http://127.0.0.1:1\"\nplatform = \"http://127.0.0.1:1\"\n[canary]\nrate = 1.5\n";
    std::fs::write(file.path(), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_validator"))
        .args(["run", "--check", "--config"])
        .arg(file.path())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("canary.rate: 1.5"), "{error}");
}
