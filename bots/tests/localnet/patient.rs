//! Makes the blocks of a node that does not mine by itself: one at a time, and only when the network has judged all that waits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protos::v1;
use protos::v1::platform_client::PlatformClient;
use serde_json::Value;
use tonic::transport::Channel;

/// How long the network may take to judge what waits.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What was mined.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Judged before they were mined, by EIP-2718 type.
    pub(crate) judged_before: BTreeMap<u64, u64>,
    /// Came between the last look at the pool and the block, by EIP-2718 type.
    pub(crate) unseen: BTreeMap<u64, u64>,
}

/// Mines for the network that runs in a folder under `runs`, at most every `pause`, until it is aborted.
pub(crate) async fn mine(node: String, runs: PathBuf, pause: Duration, book: Arc<Mutex<Book>>) {
    let node = Rpc(reqwest::Client::new(), node);
    // The town is built by whoever tells the story, who mines for that.
    let mut platform = loop {
        match platform(&runs).await {
            Some(platform) => break platform,
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    };
    loop {
        tokio::time::sleep(pause).await;
        let begun = Instant::now();
        let waiting = loop {
            let waiting = pool(&node).await;
            let judged = judged(&mut platform).await;
            // Again the same: nobody has sent anything meanwhile.
            if waiting.is_subset(&judged) && pool(&node).await == waiting {
                break waiting;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "not judged: {:?}",
                waiting.difference(&judged)
            );
            tokio::time::sleep(LOOK_EVERY).await;
        };
        node.call("evm_mine", serde_json::json!([])).await;
        let block = node
            .call("eth_getBlockByNumber", serde_json::json!(["latest", true]))
            .await;
        let mut book = book.lock().unwrap();
        for tx in block["transactions"].as_array().unwrap() {
            let kind = tx["type"].as_str().unwrap().trim_start_matches("0x");
            let kind = u64::from_str_radix(kind, 16).unwrap();
            let counted = match waiting.contains(tx["hash"].as_str().unwrap()) {
                true => &mut book.judged_before,
                false => &mut book.unseen,
            };
            *counted.entry(kind).or_default() += 1;
        }
    }
}

struct Rpc(reqwest::Client, String);

impl Rpc {
    async fn call(&self, method: &str, params: Value) -> Value {
        let call = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.0.post(&self.1).json(&call).send().await.unwrap();
        let mut answer: Value = answer.json().await.unwrap();
        answer["result"].take()
    }
}

/// The network's platform, once it serves.
async fn platform(runs: &Path) -> Option<PlatformClient<Channel>> {
    let mut folders = std::fs::read_dir(runs).ok()?.filter_map(Result::ok);
    let ready = folders.find_map(|folder| std::fs::read_to_string(folder.path().join("platform.ready")).ok())?;
    PlatformClient::connect(format!("http://{}", ready.trim())).await.ok()
}

/// Hashes of everything that waits.
async fn pool(node: &Rpc) -> BTreeSet<String> {
    let content = node.call("txpool_content", serde_json::json!([])).await;
    let senders = content
        .as_object()
        .unwrap()
        .values()
        .flat_map(|senders| senders.as_object().unwrap().values());
    let waiting = senders.flat_map(|nonces| nonces.as_object().unwrap().values());
    waiting.map(|tx| tx["hash"].as_str().unwrap().to_owned()).collect()
}

/// Hashes of everything that a validator has reported on.
async fn judged(platform: &mut PlatformClient<Channel>) -> BTreeSet<String> {
    let (mut judged, mut after) = (BTreeSet::new(), 0);
    loop {
        let request = v1::ExecutionsRequest { after, limit: 0 };
        let page = platform.executions(request).await.unwrap().into_inner().executions;
        let Some(last) = page.last() else { return judged };
        after = last.cursor;
        judged.extend(page.iter().map(|of| format!("0x{}", hex::encode(&of.tx_hash))));
    }
}
