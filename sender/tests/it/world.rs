//! A chain, a key with ether, and payments that show how often they were made.

use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::providers::{DynProvider, Provider as _};
use alloy::signers::local::PrivateKeySigner;
use sender::{Config, Handle, IdempotencyKey, Keys, Lane, Outcome, Request, Sender, State};
use serde_json::{Value, json};
use testkit::{Mining, TestAnvil, anvil};

pub(crate) const LONG: Duration = Duration::from_secs(60);
/// How long one block's news may take before the next block is made.
pub(crate) const STEP: Duration = Duration::from_millis(200);
/// How many blocks are made at most until something must have happened.
pub(crate) const STEPS: u32 = 300;
pub(crate) const GWEI: u128 = 1_000_000_000;

/// A chain, a key with ether, a folder for the journal.
pub(crate) struct World {
    pub(crate) anvil: TestAnvil,
    pub(crate) node: DynProvider,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(mining: Mining) -> Option<Self> {
        let anvil = anvil(mining, &["--order", "fees"])?;
        let node = anvil.provider();
        Some(Self {
            anvil,
            node,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    pub(crate) fn signer(&self) -> PrivateKeySigner {
        self.anvil.instance().keys()[0].clone().into()
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.folder.path().join("sender.db")
    }

    pub(crate) async fn open(&self, endpoints: &[&str], more: Value) -> Sender {
        Sender::open(&config(endpoints, &more), &Keys::single(self.signer()), &self.journal())
            .await
            .unwrap()
    }

    pub(crate) async fn sender(&self) -> Sender {
        self.open(&[&self.anvil.http()], json!({})).await
    }

    pub(crate) async fn raw(&self, method: &'static str, params: Value) -> Value {
        self.node
            .raw_request(method.into(), params)
            .await
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        self.raw("anvil_mine", json!([U64::from(blocks)])).await;
    }

    /// Makes blocks until `handle` has ended.
    pub(crate) async fn mine_until_end(&self, handle: &Handle) -> Outcome {
        for _ in 0..STEPS {
            if let Ok(outcome) = handle.wait(STEP).await {
                return outcome;
            }
            self.mine(1).await;
        }
        panic!("did not end: {:?}", handle.status());
    }

    pub(crate) async fn balance(&self, account: Address) -> U256 {
        self.node.get_balance(account).await.unwrap()
    }

    pub(crate) async fn nonce(&self) -> u64 {
        self.node.get_transaction_count(self.signer().address()).await.unwrap()
    }

    /// The nonces of our transactions in the pool with their hashes.
    pub(crate) async fn pool(&self) -> Vec<(u64, B256)> {
        let content = self.raw("txpool_content", json!([])).await;
        let mut all = Vec::new();
        for part in ["pending", "queued"] {
            for (_, of) in content[part].as_object().into_iter().flatten() {
                for (nonce, transaction) in of.as_object().into_iter().flatten() {
                    all.push((
                        nonce.parse().unwrap(),
                        transaction["hash"].as_str().unwrap().parse().unwrap(),
                    ));
                }
            }
        }
        all.sort_unstable();
        all
    }
}

pub(crate) fn config(endpoints: &[&str], more: &Value) -> Config {
    let mut all =
        json!({ "endpoints": endpoints, "poll": "20ms", "timeout": "5s", "confirmations": 2, "max_in_flight": 128 });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

pub(crate) fn key(name: impl Into<String>) -> IdempotencyKey {
    IdempotencyKey::new(name).unwrap()
}

/// A receiver of its own for each number: what it has tells how often it was paid.
pub(crate) fn receiver(number: u64) -> Address {
    Address::left_padding_from(&(0xAA00_0000_0000 + number).to_be_bytes())
}

/// One wei to a receiver of its own.
pub(crate) fn pay(number: u64, lane: Lane) -> Request {
    let request = Request::call(key(format!("pay/{number}")), lane, receiver(number), Bytes::new());
    Request {
        value: U256::from(1),
        gas: Some(21_000),
        ..request
    }
}

pub(crate) fn mined(outcome: Outcome) -> sender::Inclusion {
    match outcome {
        Outcome::Mined(inclusion) => inclusion,
        other @ Outcome::Failed(_) => panic!("{other:?}"),
    }
}

pub(crate) fn broadcast(state: &State) -> bool {
    matches!(state, State::Broadcast { .. })
}
