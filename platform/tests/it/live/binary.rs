//! The binary on a living node: what a user starts, asks and ends.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Mining, anvil};

use super::world::Person;
use crate::world::{open, permitted};

/// Ended when dropped, whatever the test came to.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

fn platform() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platform"));
    command.stdin(Stdio::null());
    command
}

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
    let ready = folder.path().join("ready");
    let mut running = Running(
        platform()
            .args([
                "run",
                "--feed",
                &anvil.http(),
                "--feed",
                &anvil.ws(),
                "--chain-id",
                "31337",
                "--block-time",
                "1s",
            ])
            .args([
                "--ledger",
                "http://127.0.0.1:9",
                "--listen",
                "127.0.0.1:0",
                "--min-validators",
                "0",
            ])
            .arg("--database")
            .arg(folder.path().join("platform.db"))
            .arg("--ready-file")
            .arg(&ready)
            .spawn()
            .unwrap(),
    );
    let alice = Person::new(&anvil, 0);
    for nonce in 0..5 {
        alice.send(&alice.transfer(nonce, 5)).await;
    }
    let begun = Instant::now();
    let mut last = Value::Null;
    let status = loop {
        assert!(begun.elapsed() < Duration::from_secs(30), "{last:#}");
        assert_eq!(running.0.try_wait().unwrap(), None, "it ended by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Ok(address) = std::fs::read_to_string(&ready) else {
            continue;
        };
        let asked = platform()
            .args(["status", "--json", "--platform", address.trim()])
            .output()
            .unwrap();
        if asked.status.success() {
            last = serde_json::from_slice(&asked.stdout).unwrap();
            if last["transactions"] == 5 && last["pending"] == 0 && last["head"].as_u64() > Some(1) {
                break last;
            }
        }
    };
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

    let signalled = Command::new("kill").arg(running.0.id().to_string()).status().unwrap();
    assert!(signalled.success());
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = running.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(ended.code(), Some(0));
}
