//! What a user can get wrong: one line that says what and where, exit code 2, nothing begun and nothing left.

use std::io::Read;
use std::process::Command;

use crate::common::{Ended, Place, binaries, scenario, write_gz};

/// Runs `args` and expects one line with all of `said`, and exit code 2.
fn refused(place: &Place, args: &[&str], said: &[&str]) {
    let ended = place.run(args);
    assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.errors);
    for word in said {
        assert!(
            ended.error().contains(word),
            "{args:?}: `{word}` is missing in: {}",
            ended.error()
        );
    }
    assert_eq!(ended.output, "", "{args:?}");
    place.assert_clean();
}

#[test]
fn a_recording_that_cannot_be_read_is_named() {
    let place = Place::new();
    let path = |name: &str| place.file(name).to_str().unwrap().to_owned();

    refused(
        &place,
        &["--feed", &path("nowhere.json.gz")],
        &["nowhere.json.gz", "No such file"],
    );

    let whole = scenario();
    std::fs::write(path("cut.ndjson.gz"), &whole[..whole.len() / 2]).unwrap();
    refused(
        &place,
        &["--feed", &path("cut.ndjson.gz")],
        &["cut.ndjson.gz", "truncated"],
    );

    std::fs::write(path("foreign.json"), r#"{"name": "a shopping list", "items": []}"#).unwrap();
    refused(&place, &["--feed", &path("foreign.json")], &["foreign.json"]);

    std::fs::write(path("text.json"), "these are words").unwrap();
    refused(&place, &["--feed", &path("text.json")], &["text.json"]);

    std::fs::create_dir(path("empty")).unwrap();
    refused(&place, &["--feed", &path("empty")], &["empty", "no case"]);
}

#[test]
fn a_transaction_whose_signature_is_broken_is_named() {
    let place = Place::new();
    let mut text = String::new();
    flate2::read::GzDecoder::new(scenario().as_slice())
        .read_to_string(&mut text)
        .unwrap();
    let mut block: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let raw = block["txs"][3]["raw"].as_str().unwrap().to_owned();
    // The last byte belongs to the signature's s.
    let (rest, last) = raw.split_at(raw.len() - 2);
    let other = format!("{:02x}", u8::from_str_radix(last, 16).unwrap() ^ 1);
    block["txs"][3]["raw"] = format!("{rest}{other}").into();
    let path = place.file("forged.json.gz");
    write_gz(&path, block.to_string().as_bytes());
    refused(&place, &["--feed", path.to_str().unwrap()], &["forged.json.gz"]);
}

#[test]
fn an_invariant_that_is_malformed_is_named_with_its_field() {
    let place = Place::new();
    let path = place.file("wrong.json");
    let wrong = r#"[{"contract": "0x12", "type": ">=", "target": "1", "storage": "0x00", "slot_type": "uint256"}]"#;
    std::fs::write(&path, wrong).unwrap();
    refused(
        &place,
        &["--invariants", path.to_str().unwrap()],
        &["wrong.json", "contract"],
    );
    refused(&place, &["--invariants", "no-such-list.json"], &["no-such-list.json"]);
}

#[test]
fn what_the_command_line_gets_wrong_is_named() {
    let place = Place::new();
    refused(&place, &["--speed", "3"], &["'--speed'"]);
    refused(&place, &["--pace", "quickly"], &["quickly"]);
    refused(&place, &["--lazy", "10"], &["--lazy", "10"]);
    refused(&place, &["--replicas", "4"], &["--replicas 4"]);
    refused(
        &place,
        &["--report", "/no/such/folder/report.json"],
        &["/no/such/folder/report.json"],
    );
    let nothing = place.file("nothing");
    refused(
        &place,
        &["--bin-dir", nothing.to_str().unwrap()],
        &["ledger", "--bin-dir"],
    );
}

#[test]
fn a_port_in_use_is_named_by_every_server_that_needs_it() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let feed = format!(
        "replay:{}",
        concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios/vault-reentrancy.ndjson.gz")
    );
    let database = place.file("some.db");
    let own: [(&str, Vec<&str>); 2] = [
        ("ledger", vec![]),
        ("platform", vec!["--feed", &feed, "--ledger", "http://127.0.0.1:1"]),
    ];
    for (binary, args) in own {
        let output = Command::new(binaries().join(binary))
            .args(["run", "--listen", &address, "--database"])
            .arg(&database)
            .args(args)
            .output()
            .unwrap();
        let ended = Ended::from(output);
        assert_eq!(ended.code, Some(2), "{binary}: {}", ended.errors);
        assert!(ended.error().contains(&address), "{binary}: {}", ended.error());
    }
}
