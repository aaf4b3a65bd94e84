//! A chain with two tokens, a market between them, a router, and traders.

use std::time::{Duration, Instant};

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718 as _,
    primitives::{Address, B256, Signature, TxKind, U256},
    providers::{DynProvider, Provider as _},
    rpc::types::{Block, TransactionReceipt},
    sol_types::SolCall,
};
use contracts::{Contract, Pair, Router, Token};
use engine::{Bytes, Transaction};
use serde_json::{Value, json};
use state::{Node, NodeConfig, Prefetch, Reader, ReaderConfig, Snapshot};
use testkit::{Mining, Proxy, TestAnvil};

pub const CHAIN: u64 = 31_337;

pub struct World {
    pub anvil: TestAnvil,
    pub provider: DynProvider,
    pub traders: Vec<Address>,
    pub a: Address,
    pub b: Address,
    pub pair: Address,
    pub router: Address,
}

impl World {
    /// `None` where anvil is not installed. Blocks are made when asked for only; all of this stands in blocks already.
    pub async fn new() -> Option<Self> {
        let anvil = testkit::anvil(Mining::Manual, &["--auto-impersonate"])?;
        let provider = anvil.provider();
        let traders = anvil.instance().addresses().to_vec();
        let mut world = Self {
            anvil,
            provider,
            traders,
            a: Address::ZERO,
            b: Address::ZERO,
            pair: Address::ZERO,
            router: Address::ZERO,
        };
        let owner = world.traders[0];
        let supply = U256::from(10).pow(U256::from(30));
        let token = |name: &str| {
            Contract::Token.creation(&Token::constructorCall {
                name_: name.to_owned(),
                symbol_: name.to_owned(),
                supply,
                holder: owner,
            })
        };
        world.a = world.create(token("A")).await;
        world.b = world.create(token("B")).await;
        let pair = Pair::constructorCall {
            token0_: world.a,
            token1_: world.b,
            feeBps_: 30,
        };
        world.pair = world.create(Contract::Pair.creation(&pair)).await;
        world.router = world.create(Contract::Router.bytecode().clone()).await;
        let million = U256::from(10).pow(U256::from(24));
        for token in [world.a, world.b] {
            for spender in [world.pair, world.router] {
                let value = U256::MAX;
                world.send(owner, token, Token::approveCall { spender, value }).await;
            }
            for to in world.traders.clone().into_iter().skip(1) {
                world
                    .send(owner, token, Token::transferCall { to, value: million })
                    .await;
            }
        }
        let liquidity = Pair::addLiquidityCall {
            amount0: million,
            amount1: million,
        };
        world.mine().await;
        world.send(owner, world.pair, liquidity).await;
        for trader in world.traders.clone().into_iter().skip(1) {
            for token in [world.a, world.b] {
                let approve = Token::approveCall {
                    spender: world.router,
                    value: U256::MAX,
                };
                world.send(trader, token, approve).await;
            }
        }
        world.mine().await;
        Some(world)
    }

    pub async fn rpc<T: serde::de::DeserializeOwned + Send + Sync + Unpin + std::fmt::Debug + 'static>(
        &self,
        method: &'static str,
        params: Value,
    ) -> T {
        let raw: Value = self.provider.raw_request(method.into(), params).await.unwrap();
        serde_json::from_value(raw).unwrap()
    }

    async fn create(&self, input: Bytes) -> Address {
        let params = json!([{"from": self.traders[0], "input": input, "gas": "0x6ACFC0"}]);
        let hash: B256 = self.rpc("eth_sendTransaction", params).await;
        self.mine().await;
        self.receipt(hash).await.contract_address.unwrap()
    }

    /// Sends a call from an account without a key; it waits for the next block.
    pub async fn send(&self, from: Address, to: Address, call: impl SolCall) -> B256 {
        let input = Bytes::from(call.abi_encode());
        let params = json!([{"from": from, "to": to, "input": input, "gas": "0x7A120"}]);
        self.rpc("eth_sendTransaction", params).await
    }

    pub async fn receipt(&self, hash: B256) -> TransactionReceipt {
        let receipt: TransactionReceipt = self.rpc("eth_getTransactionReceipt", json!([hash])).await;
        assert!(receipt.status(), "{hash} failed");
        receipt
    }

    /// Makes a block and gives its hash.
    pub async fn mine(&self) -> B256 {
        let _: Value = self.rpc("anvil_mine", json!(["0x1"])).await;
        self.newest().await
    }

    pub async fn newest(&self) -> B256 {
        let block: Block = self.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
        block.header.hash
    }

    /// A pending transaction of this sender, as somebody upstream would give it.
    pub fn pending(&self, from: Address, nonce: u64, to: Address, call: &impl SolCall) -> Transaction {
        let tx = TxEip1559 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 500_000,
            max_fee_per_gas: 50_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: TxKind::Call(to),
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        let signature = Signature::new(U256::from(1), U256::from(1), false);
        let raw = TxEnvelope::from(tx.into_signed(signature)).encoded_2718();
        Transaction::with_sender(&raw, from).unwrap()
    }

    pub async fn nonce(&self, of: Address) -> u64 {
        let nonce: U256 = self.rpc("eth_getTransactionCount", json!([of, "latest"])).await;
        nonce.to()
    }

    /// A swap of A for B through the router, never done before by this trader at this snapshot.
    pub async fn swap(&self, trader: usize) -> Transaction {
        let from = self.traders[trader];
        let call = Router::swapCall {
            path: vec![self.pair],
            tokenIn: self.a,
            amountIn: U256::from(1_000_000_u64),
            minOut: U256::ZERO,
            deadline: U256::MAX,
        };
        self.pending(from, self.nonce(from).await, self.router, &call)
    }

    /// A client of these endpoints, the first preferred.
    pub async fn node(&self, endpoints: &[&str]) -> Node {
        Node::connect(node_config(endpoints)).await.unwrap()
    }

    pub async fn reader(&self, endpoint: &str, prefetch: Prefetch) -> Reader {
        let config = ReaderConfig {
            prefetch,
            ..reader_config()
        };
        Reader::new(self.node(&[endpoint]).await, config).await.unwrap()
    }

    pub async fn proxy(&self, delay: Duration) -> Proxy {
        Proxy::before(&self.anvil.http(), delay).await
    }

    /// Compares everything that a snapshot knows with what the node says; gives how many accounts and slots that was.
    pub async fn assert_true(&self, snapshot: &Snapshot) -> usize {
        use engine::State as _;
        let pin = json!({"blockHash": snapshot.hash()});
        let mut compared = 0;
        for (address, known) in snapshot.contents().accounts {
            if let Ok(account) = snapshot.account(address) {
                let balance: U256 = self.rpc("eth_getBalance", json!([address, pin])).await;
                let nonce: U256 = self.rpc("eth_getTransactionCount", json!([address, pin])).await;
                let code: Bytes = self.rpc("eth_getCode", json!([address, pin])).await;
                let account = account.unwrap_or_default();
                assert_eq!(
                    (account.balance, U256::from(account.nonce)),
                    (balance, nonce),
                    "{address}"
                );
                assert_eq!(account.has_code(), !code.is_empty(), "{address}");
                if account.has_code() {
                    assert_eq!(alloy::primitives::keccak256(&code), account.code_hash, "{address}");
                }
                compared += 1;
            }
            for (slot, value) in known.storage {
                let params = json!([address, B256::from(slot), pin]);
                let word: B256 = self.rpc("eth_getStorageAt", params).await;
                assert_eq!(B256::from(value), word, "slot {slot:#x} of {address}");
                compared += 1;
            }
        }
        compared
    }
}

pub fn node_config(endpoints: &[&str]) -> NodeConfig {
    NodeConfig {
        endpoints: endpoints.iter().map(|url| url.parse().unwrap()).collect(),
        request_timeout: Duration::from_secs(20),
        hedge_after: Duration::from_secs(20),
        ..NodeConfig::default()
    }
}

pub fn reader_config() -> ReaderConfig {
    ReaderConfig {
        block_time: Duration::from_secs(1),
        ..ReaderConfig::default()
    }
}

pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
