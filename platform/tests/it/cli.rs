//! The binary: each bad input is one clear line and exit code 2, and a kill at any moment loses nothing.

mod invariants;

use std::net::TcpListener;
use std::path::Path;
use std::process::Output;

use engine::case::Case;
use platform::log::Event;
use testkit::process::Running;
use testkit::until;

use crate::world::{NOWHERE, PATIENCE, case, hotkey, open, permitted, platform, read_all, recording, run_alone};

fn output(args: &[&str]) -> Output {
    platform(args).output().unwrap()
}

/// The one line that a refused command prints.
fn refusal(args: &[&str], code: i32) -> String {
    let output = output(args);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{args:?}: {text}");
    assert!(
        text.ends_with(&format!("{}\n", errors[0])),
        "the error is the last line: {text}"
    );
    assert!(!text.contains("panicked"), "{text}");
    errors[0].to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn each_bad_input_is_one_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (database, recording) = (folder.path().join("p.db"), recording(folder.path()));
    let feed = format!("replay:{}", text(&recording));
    let run = |more: &[&str]| {
        let mut args = vec![
            "run",
            "--ledger",
            NOWHERE,
            "--listen",
            "127.0.0.1:0",
            "--database",
            text(&database),
        ];
        args.extend_from_slice(more);
        refusal(&args, 2)
    };
    let says = |line: String, words: &[&str]| {
        for word in words {
            assert!(line.contains(word), "{line} lacks {word}");
        }
    };
    says(run(&["--feed", &feed, "--speed", "3"]), &["--speed"]);
    says(run(&[]), &["feed"]);
    says(
        run(&["--feed", "ftp://localhost"]),
        &["ftp://localhost", "replay:PATH", "ws://"],
    );
    says(run(&["--feed", "ws://"]), &["without a host"]);
    says(run(&["--feed", &feed, "--feed", "ws://localhost"]), &["only feed"]);
    says(
        run(&["--feed", "ws://localhost", "--poll-interval", "1ms"]),
        &["live.poll_interval"],
    );
    says(run(&["--feed", "replay:nowhere.json"]), &["nowhere.json"]);
    says(run(&["--feed", &feed, "--pace", "fast"]), &["pace", "fast", "realtime"]);
    says(run(&["--feed", &feed, "--replicas", "0"]), &["replicas"]);
    says(
        run(&["--feed", &feed, "--metagraph-interval", "soon"]),
        &["metagraph_interval"],
    );
    says(run(&["--feed", &feed, "--config", "nowhere.toml"]), &["nowhere.toml"]);
    says(refusal(&["run", "--feed", &feed], 2), &["ledger"]);
    says(
        refusal(&["run", "--feed", &feed, "--ledger", "ftp://x:1"], 2),
        &["ftp://x:1"],
    );

    let config = folder.path().join("platform.toml");
    std::fs::write(&config, "replicaz = 3\n").unwrap();
    says(
        run(&["--feed", &feed, "--config", text(&config)]),
        &["replicaz", "platform.toml"],
    );

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run_there = [
        "run",
        "--ledger",
        NOWHERE,
        "--listen",
        &address,
        "--database",
        text(&database),
        "--feed",
        &feed,
    ];
    says(refusal(&run_there, 2), &[&address]);

    assert!(!database.exists(), "nothing was written before everything was checked");

    let foreign = folder.path().join("foreign.db");
    std::fs::write(&foreign, "this is no database, however long one looks at it").unwrap();
    says(
        refusal(&["invariants", "list", "--database", text(&foreign)], 2),
        &["foreign.db"],
    );
    says(
        refusal(&["invariants", "list", "--database", text(&database)], 2),
        &["p.db", "no such file"],
    );
    says(refusal(&["status", "--platform", NOWHERE], 3), &["127.0.0.1:9"]);
    says(
        refusal(&["status", "--platform", "not an address"], 2),
        &["not an address"],
    );
}

#[test]
fn a_bad_recording_is_one_line_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.json.gz");
    Case::save([&case(100)], &good).unwrap();
    let bytes = std::fs::read(&good).unwrap();
    for (name, content) in [
        ("truncated.json.gz", bytes[..bytes.len() / 2].to_vec()),
        ("foreign.json", br#"{"jsonrpc":"2.0","result":null}"#.to_vec()),
        ("empty.json", Vec::new()),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let feed = format!("replay:{}", text(&path));
        let line = refusal(&["run", "--check", "--ledger", NOWHERE, "--feed", &feed], 2);
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn check_says_that_all_is_well_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let feed = format!("replay:{}", text(&recording(folder.path())));
    let database = folder.path().join("p.db");
    let config = folder.path().join("platform.toml");
    std::fs::write(
        &config,
        format!("feed = {feed:?}\nledger = \"{NOWHERE}\"\ndatabase = {database:?}\n"),
    )
    .unwrap();
    let output = output(&["run", "--check", "--config", text(&config)]);
    assert!(output.status.success(), "{output:?}");
    assert!(!database.exists());
}

#[tokio::test]
async fn what_is_changed_by_command_is_in_the_audit_log_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let database = folder.path().join("platform.db");
    for args in [
        ["keys", "create", "ci"].as_slice(),
        &["keys", "revoke", "1"],
        &["keys", "list"],
        &[
            "services",
            "add",
            "vault",
            "--payment",
            "0x1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d",
        ],
        &["services", "remove", "vault"],
    ] {
        let output = output(&[args, &["--database", text(&database)]].concat());
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
    refusal(&["keys", "revoke", "7", "--database", text(&database)], 2);
    let audited = store.audited(None, 10).await.unwrap();
    let rows: Vec<String> = audited
        .iter()
        .rev()
        .map(|row| format!("{}: {} {} {}", row.actor, row.method, row.path, row.status))
        .collect();
    assert_eq!(
        rows,
        [
            "command line: POST /v1/keys 201",
            "command line: DELETE /v1/keys/1 204",
            "command line: POST /v1/services 201",
            "command line: DELETE /v1/services/vault 204",
        ]
    );
}

/// A platform that reads this recording.
async fn start(folder: &Path, recording: &Path, pace: &str) -> Running {
    let (feed, database) = (format!("replay:{}", text(recording)), folder.join("platform.db"));
    let from = ["--feed", &feed, "--pace", pace, "--database", text(&database)];
    let command = run_alone(&[&from[..], &["--log", "error"]].concat());
    Running::start(command.into(), folder).await
}

/// The ledger is not there: transactions go to validators that the database knows from before.
async fn known(folder: &Path, validators: std::ops::RangeInclusive<u8>) {
    let validators = Vec::from_iter(permitted(validators));
    open(folder).await.remember(&validators).await.unwrap();
}

#[tokio::test]
async fn a_killed_platform_goes_on_where_it_stopped() {
    let place = tempfile::tempdir().unwrap();
    let path = recording(place.path());
    let everything = async |folder: &Path| {
        let store = open(folder).await;
        let mut all = Vec::new();
        for n in 1..=3 {
            all.push(read_all(store.as_ref(), &hotkey(n)).await);
        }
        all
    };
    let last = async |folder: &Path| open(folder).await.status(None).await.unwrap().last_cursor;
    const LAST: u64 = 16;

    let calm = tempfile::tempdir().unwrap();
    known(calm.path(), 1..=3).await;
    let running = start(calm.path(), &path, "max").await;
    until(
        "the recording is read",
        async || last(calm.path()).await,
        |last| *last == LAST,
    )
    .await;
    running.kill().await;

    let killed = tempfile::tempdir().unwrap();
    known(killed.path(), 1..=3).await;
    let mut before = 0;
    while before < LAST {
        let running = start(killed.path(), &path, "20/s").await;
        let some = (before + 3).min(LAST);
        until(
            "the feed goes on",
            async || last(killed.path()).await,
            |last| *last >= some,
        )
        .await;
        // At whatever it is doing.
        running.kill().await;
        before = last(killed.path()).await;
    }
    let (calm, killed) = (everything(calm.path()).await, everything(killed.path()).await);
    assert_eq!(killed, calm);
    assert!(matches!(calm[0].last().unwrap().event, Some(Event::FeedEnded(_))));
}

#[tokio::test]
async fn a_bad_case_in_the_middle_ends_the_process_after_what_came_before_it() {
    let place = tempfile::tempdir().unwrap();
    let path = recording(place.path());
    let mut json = case(101).to_json();
    json["txs"][2]["from"] = "0x0000000000000000000000000000000000000001".into();
    std::fs::write(path.join("101.json.gz"), json.to_string()).unwrap();
    known(place.path(), 1..=2).await;
    let mut running = start(place.path(), &path, "max").await;
    let ended = tokio::time::timeout(PATIENCE, running.child.wait()).await;
    assert_eq!(ended.expect("it does not end").unwrap().code(), Some(2));
    let said = running.log();
    assert!(
        said.lines().count() == 1 && said.contains("101.json.gz") && said.contains("/txs/2"),
        "{said}"
    );
    let items = read_all(open(place.path()).await.as_ref(), &hotkey(1)).await;
    // The set, the parent, three transactions, the block.
    assert_eq!(items.len(), 6);
}

#[test]
fn the_real_chain_is_named_by_its_network_or_its_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let feed = format!("replay:{}", text(&recording(folder.path())));
    let with = |more: &'static [&'static str]| [&["run", "--check", "--feed", &feed, "--ledger"], more].concat();
    for ledger in [
        &["finney", "--netuid", "7"][..],
        &["test", "--netuid", "7"],
        &["ws://127.0.0.1:9944,wss://b:443", "--netuid", "7"],
        &[NOWHERE, "--netuid", "7"],
    ] {
        assert_eq!(output(&with(ledger)).status.code(), Some(0), "{ledger:?}");
    }
    let line = refusal(&with(&["finney"]), 2);
    assert!(line.contains("finney") && line.contains("--netuid N"), "{line}");
    let line = refusal(&with(&["ws://a,http://b", "--netuid", "7"]), 2);
    assert!(line.contains("http://b"), "{line}");
}
