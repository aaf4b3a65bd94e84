//! A process that is killed in the middle of its work (SIGKILL) sends nothing twice.
//!
//! The test starts itself again as the process to be killed.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use alloy::primitives::U256;
use alloy::providers::Provider as _;
use alloy::signers::local::PrivateKeySigner;
use sender::{Keys, Lane, Request, Sender};
use serde_json::json;
use testkit::{Fault, Mining, Proxy, anvil};

use crate::world::{LONG, config, mined, pay, receiver};

const COUNT: u64 = 20;

/// One wei to a receiver of its own, in each lane in turn.
fn payment(number: u64) -> Request {
    pay(number, Lane::ALL[(number % 4) as usize])
}

async fn open(endpoint: &str, key: &str, journal: &Path) -> Sender {
    let signer: PrivateKeySigner = key.parse().unwrap();
    let config = config(&[endpoint], &json!({}));
    Sender::open(&config, &Keys::single(signer), journal).await.unwrap()
}

/// The process that is killed: submits one after the other, and says so.
#[tokio::test]
#[ignore = "started by the test below"]
async fn child() {
    let (Ok(endpoint), Ok(key), Ok(journal)) = (
        std::env::var("KILLED_NODE"),
        std::env::var("KILLED_KEY"),
        std::env::var("KILLED_JOURNAL"),
    ) else {
        return;
    };
    let sender = open(&endpoint, &key, &PathBuf::from(journal)).await;
    for number in 0..COUNT {
        sender.submit(payment(number)).await.unwrap();
        println!("submitted {number}");
    }
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn killed_again_and_again_each_effect_is_mined_once() {
    let Some(node) = anvil(Mining::Interval(1), &[]) else {
        return;
    };
    let proxy = Proxy::before(&node.http(), Duration::ZERO).await;
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("sender.db");
    let key = alloy::primitives::hex::encode(node.instance().keys()[0].to_bytes());
    // Where in its work it is killed: after so many submissions, with the node there, hanging, or failing after a while.
    let rounds = [
        (1, None),
        (4, Some(Fault::Hang)),
        (7, None),
        (11, Some(Fault::Unavailable)),
        (16, Some(Fault::Hang)),
        (20, None),
    ];
    for (kill_after, fault) in rounds {
        proxy.set_fault(None);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child", "--ignored", "--nocapture"])
            .env("KILLED_NODE", proxy.url())
            .env("KILLED_KEY", &key)
            .env("KILLED_JOURNAL", &journal)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (told, mut lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
        let mut submitted = 0;
        let mut fault = fault;
        let reading = async {
            while let Some(line) = lines.recv().await {
                if line.contains("submitted") {
                    submitted += 1;
                    if submitted == 1 {
                        proxy.set_fault(fault.take());
                    }
                    if submitted == kill_after {
                        break;
                    }
                }
            }
        };
        let read = tokio::time::timeout(Duration::from_secs(30), reading).await;
        // `Child::kill` is SIGKILL: nothing of the process runs afterwards.
        child.kill().unwrap();
        child.wait().unwrap();
        read.unwrap();
        assert_eq!(submitted, kill_after);
    }

    let sender = open(&node.http(), &key, &journal).await;
    let mut nonces = Vec::new();
    for number in 0..COUNT {
        let handle = sender.submit(payment(number)).await.unwrap();
        nonces.push(mined(handle.wait(LONG).await.unwrap()).nonce);
    }
    let provider = node.provider();
    for number in 0..COUNT {
        assert_eq!(
            provider.get_balance(receiver(number)).await.unwrap(),
            U256::from(1),
            "receiver {number}"
        );
    }
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len() as u64, COUNT);
}
