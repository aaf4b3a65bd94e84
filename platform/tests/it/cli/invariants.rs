//! `platform invariants`: what is added is listed, and what is bad is named.

use serde_json::{Value, json};

use super::{output, refusal, text};
use crate::world::open;

#[test]
fn invariants_are_added_listed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("p.db");
    let at = ["--database", text(&database)];
    let invariants = |command: &str, more: &[&str]| {
        let mut args = vec!["invariants", command];
        args.extend_from_slice(&at);
        args.extend_from_slice(more);
        args.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let works = |args: Vec<String>| {
        let output = output(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let refused = |args: Vec<String>| refusal(&args.iter().map(String::as_str).collect::<Vec<_>>(), 2);
    let contract = "0x1d1D1d1D1D1d1D1D1d1d1d1D1D1d1d1d1d1d1D1d";

    works(invariants(
        "add",
        &[
            "--contract",
            contract,
            "--type",
            ">=",
            "--target",
            "-5",
            "--slot",
            "0x03",
            "--slot-type",
            "int128",
            "--offset",
            "16",
            "--name",
            "floor",
        ],
    ));
    let file = folder.path().join("invariants.json");
    let wire = |target: &str| {
        format!(
            r#"{{"contract":"{contract}","type":"<=","target":"{target}","storage":"0x{:064x}"}}"#,
            7
        )
    };
    std::fs::write(&file, format!("[{},{}]", wire("10"), wire("20"))).unwrap();
    works(invariants("add", &["--file", text(&file)]));
    works(invariants("remove", &["2"]));

    let listed: Value = serde_json::from_str(&works(invariants("list", &["--json"]))).unwrap();
    let column = |name: &str| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row[name].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(column("id"), [1, 3]);
    assert_eq!(column("target"), ["-5", "20"]);
    assert_eq!(column("slot_type"), ["int128", "uint256"]);
    let table = works(invariants("list", &[]));
    assert!(table.contains("floor") && table.contains(">= -5"), "{table}");

    // What is bad is named, and changes nothing.
    std::fs::write(&file, format!("[{},{}]", wire("30"), wire("many"))).unwrap();
    let line = refused(invariants("add", &["--file", text(&file)]));
    assert!(
        line.contains("invariants.json") && line.contains("[1]") && line.contains("`target`"),
        "{line}"
    );
    std::fs::write(&file, wire("30").replace("target", "goal")).unwrap();
    let line = refused(invariants("add", &["--file", text(&file)]));
    assert!(line.contains("`goal`"), "{line}");
    assert!(refused(invariants("add", &["--file", "nowhere.json"])).contains("nowhere.json"));
    assert!(refused(invariants("add", &["--contract", contract])).contains("--type"));
    let flags = ["--contract", "0x12", "--type", "==", "--target", "1", "--slot", "0"];
    assert!(refused(invariants("add", &flags)).contains("0x12"));
    assert!(refused(invariants("remove", &["2"])).contains("invariant 2"));
    let again: Value = serde_json::from_str(&works(invariants("list", &["--json"]))).unwrap();
    assert_eq!(again, listed);
}

#[tokio::test]
async fn of_a_set_it_is_kept_what_was_written_how_much_it_matters_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let (database, set) = (folder.path().join("platform.db"), folder.path().join("set.toml"));
    let toml = r#"
        chain = 5
        [contracts]
        vault = "0x00000000000000000000000000000000000000bb"
        [[invariants]]
        name = "floor"
        expression = "slot(vault, 0x1) >= 0x7"
        severity = "critical"
        description = "Every loan is covered."
        [[invariants]]
        name = "reserve"
        expression = "balance(vault) >= 1 ether"
        severity = "low"
        [[invariants]]
        name = "bare"
        expression = "balance(vault) >= 2 ether"
    "#;
    std::fs::write(&set, toml).unwrap();
    let at = ["--database", text(&database)];
    let added = output(&[&["invariants", "add", "--file", text(&set)], &at[..]].concat());
    assert!(added.status.success(), "{added:?}");

    let listed = output(&[&["invariants", "list", "--json"], &at[..]].concat());
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let rows = listed.as_array().unwrap();
    let kept = |row: &Value| [row["name"].clone(), row["severity"].clone(), row["description"].clone()];
    let expected = json!([
        ["floor", "critical", "Every loan is covered."],
        ["reserve", "low", null],
        ["bare", null, null],
    ]);
    assert_eq!(json!(rows.iter().map(kept).collect::<Vec<_>>()), expected);
    assert_eq!(
        (&rows[0]["target"], &rows[0]["network"]),
        (&"7".into(), &"chain-5".into())
    );
    // As it was written, names and all, beside what is judged.
    let described = store.described(0, 10).await.unwrap();
    let written: Vec<&str> = described
        .iter()
        .map(|one| one.source.as_ref().unwrap().expression.as_str())
        .collect();
    let expected = [
        "slot(vault, 0x1) >= 0x7",
        "balance(vault) >= 1 ether",
        "balance(vault) >= 2 ether",
    ];
    assert_eq!(written, expected);

    // Of the original form too.
    let json = folder.path().join("list.json");
    let slot = r#"{"contract":"0x00000000000000000000000000000000000000bb","type":">=","target":"1","storage":"0x1","severity":"info"}"#;
    std::fs::write(&json, format!("[{slot}]")).unwrap();
    let added = output(&[&["invariants", "add", "--file", text(&json)], &at[..]].concat());
    assert!(added.status.success(), "{added:?}");
    let described = store.described(0, 10).await.unwrap();
    let severity = &described[3].source.as_ref().unwrap().severity;
    assert_eq!(severity.as_deref(), Some("info"));

    // What cannot be kept is refused, and nothing of its set is added.
    std::fs::write(&set, toml.replace("Every loan", "\\u0000")).unwrap();
    let line = refusal(&[&["invariants", "add", "--file", text(&set)], &at[..]].concat(), 2);
    assert!(line.contains("floor") && line.contains("NUL"), "{line}");
    assert_eq!(store.described(0, 10).await.unwrap(), described);
}
