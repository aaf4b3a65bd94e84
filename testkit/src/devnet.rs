//! Contracts on an anvil of one test's own, called in the names of its development accounts. Everything here ends the test where anvil
//! does not do as it is told.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider as _};
use alloy::rpc::types::{Filter, TransactionReceipt};
use alloy::sol_types::{SolCall, SolEvent};
use serde_json::{Value, json};

use crate::{Mining, TestAnvil, anvil};

/// How long a transaction may take to be mined.
const PATIENCE: Duration = Duration::from_secs(60);
/// Gas that a creation, and a call, is sent with.
const CREATION_GAS: u64 = 40_000_000;
const CALL_GAS: u64 = 12_000_000;

/// An anvil with room for large contracts. Each transaction is mined at once until the test says otherwise.
#[derive(Debug)]
pub struct Devnet {
    /// The chain.
    pub anvil: TestAnvil,
    /// A client of it.
    pub provider: DynProvider,
}

impl Devnet {
    /// Starts it with further command-line `arguments`; `None`, after saying so, where anvil is not installed.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let roomy = ["--gas-limit", "60000000", "--code-size-limit", "60000"];
        let anvil = anvil(Mining::Automatic, &[&roomy, arguments].concat())?;
        Some(Self {
            provider: anvil.provider(),
            anvil,
        })
    }

    /// The development account `index`.
    #[track_caller]
    pub fn account(&self, index: usize) -> Address {
        match self.anvil.instance().addresses().get(index) {
            Some(account) => *account,
            None => panic!("anvil has no account {index}"),
        }
    }

    /// Its private key: 64 hexadecimal digits.
    #[track_caller]
    pub fn private_key(&self, index: usize) -> String {
        match self.anvil.instance().keys().get(index) {
            Some(key) => alloy::hex::encode(key.to_bytes()),
            None => panic!("anvil has no account {index}"),
        }
    }

    /// Any JSON-RPC method.
    pub async fn rpc(&self, method: &'static str, params: Value) -> Value {
        match self.provider.raw_request(method.into(), params).await {
            Ok(answer) => answer,
            Err(error) => panic!("{method}: {error}"),
        }
    }

    /// Sends in a development account's name, with so many wei; `to` nobody creates a contract.
    pub async fn submit(&self, from: usize, to: Option<Address>, value: U256, input: Bytes) -> B256 {
        let gas = if to.is_some() { CALL_GAS } else { CREATION_GAS };
        let tx =
            json!({ "from": self.account(from), "to": to, "value": value, "input": input, "gas": U256::from(gas) });
        typed(self.rpc("eth_sendTransaction", json!([tx])).await)
    }

    /// The receipt, as soon as there is one.
    pub async fn receipt(&self, hash: B256) -> TransactionReceipt {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.provider.get_transaction_receipt(hash).await {
                Ok(Some(receipt)) => return receipt,
                Ok(None) => assert!(Instant::now() < deadline, "{hash} is not mined"),
                Err(error) => panic!("{hash}: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn transact(&self, from: usize, to: Option<Address>, value: U256, input: Bytes) -> TransactionReceipt {
        let hash = self.submit(from, to, value, input).await;
        let receipt = self.receipt(hash).await;
        assert!(receipt.status(), "{hash} reverted");
        receipt
    }

    /// A contract of the development account 0.
    pub async fn create(&self, input: Bytes) -> Address {
        self.create_with(0, U256::ZERO, input).await
    }

    /// A contract of a development account's, with so many wei.
    pub async fn create_with(&self, from: usize, value: U256, input: Bytes) -> Address {
        let receipt = self.transact(from, None, value, input).await;
        receipt
            .contract_address
            .unwrap_or_else(|| panic!("a creation without address"))
    }

    /// Calls a contract in a development account's name, mined at once.
    pub async fn call<C: SolCall>(&self, from: usize, to: Address, value: U256, call: &C) -> TransactionReceipt {
        self.transact(from, Some(to), value, call.abi_encode().into()).await
    }

    /// What a view answers.
    pub async fn view<C: SolCall>(&self, to: Address, call: &C) -> C::Return {
        let tx = json!({ "to": to, "input": Bytes::from(call.abi_encode()) });
        let output: Bytes = typed(self.rpc("eth_call", json!([tx, "latest"])).await);
        C::abi_decode_returns(&output).unwrap_or_else(|error| panic!("{}: {error}", C::SIGNATURE))
    }

    /// All events of a kind of a contract's, with their blocks.
    pub async fn events<E: SolEvent>(&self, contract: Address) -> Vec<(u64, E)> {
        let filter = Filter::new()
            .address(contract)
            .event_signature(E::SIGNATURE_HASH)
            .from_block(0);
        let logs = self.provider.get_logs(&filter).await;
        let logs = logs.unwrap_or_else(|error| panic!("eth_getLogs: {error}"));
        let event = |log: alloy::rpc::types::Log| match E::decode_log(&log.inner) {
            Ok(event) => (log.block_number.unwrap_or_default(), event.data),
            Err(error) => panic!("{}: {error}", E::SIGNATURE),
        };
        logs.into_iter().map(event).collect()
    }

    /// Transactions that are ready in the pool.
    pub async fn pending(&self) -> u64 {
        #[derive(serde::Deserialize)]
        struct Pool {
            pending: U256,
        }
        let pool: Pool = typed(self.rpc("txpool_status", json!([])).await);
        pool.pending.saturating_to()
    }
}

fn typed<T: serde::de::DeserializeOwned>(answer: Value) -> T {
    serde_json::from_value(answer).unwrap_or_else(|error| panic!("anvil's answer: {error}"))
}
