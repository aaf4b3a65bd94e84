//! The binary on a living node: what a user starts, asks and ends.

use std::process::Command;

use serde_json::Value;
use testkit::process::Running;
use testkit::{Mining, anvil, until};

use super::person::Person;
use crate::world::{PATIENCE, open, permitted, platform, run_alone};

#[tokio::test]
async fn the_platform_follows_several_nodes_tells_its_status_and_ends_when_asked() {
    let Some(anvil) = anvil(Mining::Interval(1), &[]) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // The ledger is not there: transactions go to validators that the database knows from before.
    open(folder.path())
        .await
        .remember(&Vec::from_iter(permitted([1])))
        .await
        .unwrap();
    let (polled, followed) = (anvil.http(), anvil.ws());
    let feeds = ["--feed", &polled, "--feed", &followed, "--chain-id", "31337"];
    let mut command = run_alone(&[&feeds[..], &["--block-time", "1s", "--database"]].concat());
    command.arg(folder.path().join("platform.db"));
    let mut running = Running::start(command.into(), folder.path()).await;
    let alice = Person::new(&anvil, 0);
    for nonce in 0..5 {
        alice.send(&alice.transfer(nonce, 5)).await;
    }
    let address = running.address.to_string();
    let told = async || {
        let asked = platform(&["status", "--json", "--platform", &address])
            .output()
            .unwrap();
        assert!(asked.status.success(), "{asked:?}\n{}", running.log());
        serde_json::from_slice::<Value>(&asked.stdout).unwrap()
    };
    let all = |told: &Value| told["transactions"] == 5 && told["pending"] == 0 && told["head"].as_u64() > Some(1);
    let status = until("all is told", told, all).await;
    let nodes: Vec<&str> = status["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(nodes.len(), 2);
    assert!(
        nodes.iter().filter(|node| node.contains(" followed")).count() == 1,
        "{nodes:?}"
    );
    assert!(
        nodes
            .iter()
            .any(|node| node.starts_with("ws://") && node.contains("mode: bodies")),
        "{nodes:?}"
    );
    assert_eq!(
        (&status["gaps"], &status["refused"]),
        (&0.into(), &0.into()),
        "{status:#}"
    );

    let id = running.child.id().unwrap();
    let signalled = Command::new("kill").arg(id.to_string()).status().unwrap();
    assert!(signalled.success());
    let ended = tokio::time::timeout(PATIENCE, running.child.wait()).await;
    assert_eq!(ended.expect("it does not end").unwrap().code(), Some(0));
}
