//! `validator actions` as a person uses it: the configuration of the manual is read, and an action is tried.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NODES: &str = "hotkey = \"k.json\"\nplatform = \"http://127.0.0.1:1\"\nledger = \"http://127.0.0.1:1\"\n";

fn validator(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_validator"))
        .args(args)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap()
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("validator.toml");
    std::fs::write(&path, format!("{NODES}{text}")).unwrap();
    path
}

/// The first block of TOML on a page of the manual.
fn manual(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, block) = text.split_once("```toml\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_manuals_configuration_is_valid_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(folder.path(), &manual("defence.md"));
    let listed = validator(&["actions", "list", "--config", config.to_str().unwrap()]);
    let lines = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(
        lines.contains("stop: pause_agent") && lines.contains("rung 2 of ladder stop"),
        "{lines}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pause = "[[defence.actions]]\nid = \"stop\"\nkind = \"pause_agent\"\nfunction = \"pause()\"\n";
    for (text, args, said) in [
        (pause, &["list"][..], "[sender]"),
        ("", &["list"][..], "[defence]"),
        ("[defence]\n", &["test", "pager"][..], "pager"),
        (
            "[severity]\ninvariants = { x = \"low\" }\n",
            &["list"][..],
            "severity.invariants.x",
        ),
    ] {
        let config = file(folder.path(), text);
        let mut all = vec!["actions"];
        all.extend(args);
        all.extend(["--config", config.to_str().unwrap()]);
        let refused = validator(&all);
        let error = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{error}");
        assert!(
            error.contains(said) && error.lines().count() == 1,
            "`{said}` is not in: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_alert_arrives_and_says_that_it_is_one() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, mut told) = tokio::sync::mpsc::channel::<serde_json::Value>(4);
    let take = move |body: axum::Json<serde_json::Value>| async move { tell.send(body.0).await.unwrap() };
    let router = axum::Router::new().route("/hook", axum::routing::post(take));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    let folder = tempfile::tempdir().unwrap();
    let action = |id: &str, url: &str| {
        format!(
            "[[defence.actions]]\nid = \"{id}\"\nkind = \"webhook\"\nurl = \"{url}\"\nsecret = \"sixteen letters and more\"\n"
        )
    };
    let text = action("hook", &format!("http://{address}/hook")) + &action("gone", "http://127.0.0.1:1/hook");
    let config = file(folder.path(), &text);
    let path = config.to_str().unwrap().to_owned();
    let tried = tokio::task::spawn_blocking(move || {
        ["hook", "gone"].map(|id| validator(&["actions", "test", id, "--config", &path]))
    });
    let [hook, gone] = tried.await.unwrap();
    assert!(hook.status.success(), "{}", String::from_utf8_lossy(&hook.stderr));
    assert_eq!(told.recv().await.unwrap()["kind"], "test");
    let error = String::from_utf8_lossy(&gone.stderr);
    assert_eq!(gone.status.code(), Some(1), "{error}");
    assert!(error.contains("`gone`") && error.lines().count() == 1, "{error}");
}
