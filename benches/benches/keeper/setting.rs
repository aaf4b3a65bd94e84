//! An Agent with one active keeper on an anvil, and what it is asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use benches::measure::Done;
use contracts::{Agent, Contract, Token};
use keeper::agent::AgentClient;
use keeper::config::JobsConfig;
use keeper::desk::Desk;
use keeper::follow::{Follower, Scope};
use keeper::store::Store;
use sender::{Keys, Lane, Sender};
use serde_json::{Value, json};
use state::{Call, Node, NodeConfig, Reader, ReaderConfig};
use testkit::TestAnvil;

/// Keeps one word a job. 64 bytes and more: word 0 is set to word 1. 32 bytes: the resolver; due when the word is not zero, with
/// the calldata that sets it to zero.
const SWITCHES: &str = "60268060095f395ff336602014600e576020355f3555005b5f3580545f526040602052604060405260605260a05ff3";

#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) anvil: TestAnvil,
    pub(crate) node: Node,
    pub(crate) owner: Address,
    pub(crate) agent: Address,
    pub(crate) token: Address,
    pub(crate) switches: Address,
}

impl Setting {
    /// An Agent with one active keeper, whose worker and admin are the second development account.
    pub(crate) async fn new(anvil: TestAnvil) -> Done<Self> {
        let config = NodeConfig {
            endpoints: vec![anvil.http().parse()?],
            request_timeout: Duration::from_secs(60),
            ..NodeConfig::default()
        };
        let node = Node::connect(config).await?;
        let accounts = anvil.instance().addresses();
        let (Some(owner), Some(worker)) = (accounts.first().copied(), accounts.get(1).copied()) else {
            return Err("no development accounts".into());
        };
        let mut setting = Self {
            anvil,
            node,
            owner,
            agent: Address::ZERO,
            token: Address::ZERO,
            switches: Address::ZERO,
        };
        let token = Token::constructorCall {
            name_: "Stake".into(),
            symbol_: "STK".into(),
            supply: U256::from(10).pow(U256::from(24)),
            holder: worker,
        };
        setting.token = setting.create(Contract::Token.creation(&token)).await?;
        let agent = Agent::constructorCall {
            owner_: owner,
            stakeToken_: setting.token,
            ticketStake_: U256::from(1_000),
            config_: Agent::Config {
                minKeeperStake: U96::from(1_000),
                maxStake: U96::ZERO,
                slashingFeeFixed: U96::ZERO,
                withdrawalTimeout: 0,
                activationTimeout: 0,
                jobMinCredits: U96::from(1_000_000_000_u64),
                jobFixedReward: 0,
                ..contracts::parameters::agent()
            },
        };
        setting.agent = setting.create(Contract::Agent.creation(&agent)).await?;
        setting.switches = setting.create(SWITCHES.parse()?).await?;
        let approve = Token::approveCall {
            spender: setting.agent,
            value: U256::MAX,
        };
        setting.call(worker, setting.token, U256::ZERO, &approve).await?;
        let register = Agent::registerAsKeeperCall {
            worker,
            amount: U256::from(100_000),
        };
        setting.call(worker, setting.agent, U256::ZERO, &register).await?;
        let finish = Agent::finalizeKeeperActivationCall { keeperId: U256::ONE };
        setting.call(worker, setting.agent, U256::ZERO, &finish).await?;
        Ok(setting)
    }

    pub(crate) async fn ask<T: serde::de::DeserializeOwned>(&self, method: &'static str, params: Value) -> Done<T> {
        let deadline = Instant::now() + Duration::from_secs(60);
        Ok(self.node.call(Call::new(method, params), deadline).await?)
    }

    pub(crate) fn request(from: Address, to: Option<Address>, value: U256, input: &Bytes) -> Value {
        let mut tx = json!({ "from": from, "value": value, "input": input, "gas": "0x1000000" });
        if let (Some(to), Some(fields)) = (to, tx.as_object_mut()) {
            fields.insert("to".to_owned(), json!(to));
            fields.insert("gas".to_owned(), json!("0xf4240"));
        }
        tx
    }

    pub(crate) async fn submit(&self, from: Address, to: Option<Address>, value: U256, input: &Bytes) -> Done<B256> {
        self.ask("eth_sendTransaction", json!([Self::request(from, to, value, input)]))
            .await
    }

    pub(crate) async fn receipt(&self, hash: B256) -> Done<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let receipt: Value = self.ask("eth_getTransactionReceipt", json!([hash])).await?;
            if !receipt.is_null() {
                return if receipt.get("status") == Some(&json!("0x1")) {
                    Ok(receipt)
                } else {
                    Err(format!("{hash} reverted").into())
                };
            }
            if Instant::now() > deadline {
                return Err(format!("{hash} is not mined").into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) async fn create(&self, input: Bytes) -> Done<Address> {
        let receipt = self
            .receipt(self.submit(self.owner, None, U256::ZERO, &input).await?)
            .await?;
        let address = receipt.get("contractAddress").cloned().unwrap_or_default();
        Ok(serde_json::from_value(address)?)
    }

    pub(crate) async fn call<C: SolCall>(&self, from: Address, to: Address, value: U256, call: &C) -> Done<Value> {
        let hash = self.submit(from, Some(to), value, &call.abi_encode().into()).await?;
        self.receipt(hash).await
    }

    pub(crate) async fn mine(&self) -> Done<B256> {
        let _: Value = self.ask("anvil_mine", json!(["0x1"])).await?;
        Ok(self.node.newest().await?.header.hash)
    }

    /// A sender over the development account `index`.
    pub(crate) async fn sender(&self, index: usize, journal: &std::path::Path) -> Done<Sender> {
        let key = self.anvil.instance().keys().get(index).ok_or("no development key")?;
        let config = sender::Config {
            endpoints: vec![self.anvil.http().into()],
            confirmations: 1,
            poll: Duration::from_millis(50),
            ..sender::Config::default()
        };
        let keys = Keys::single(PrivateKeySigner::from_slice(&key.to_bytes())?);
        Ok(Sender::open(&config, &keys, journal).await?)
    }

    /// What works on a head, and its sender.
    pub(crate) async fn desk(&self, folder: &std::path::Path) -> Done<(Desk, Arc<Sender>)> {
        let sender = Arc::new(self.sender(1, &folder.join("worker.db")).await?);
        let worker = sender.account(Lane::Claim);
        let reader_config = ReaderConfig {
            block_time: Duration::from_secs(1),
            ..ReaderConfig::default()
        };
        let reader = Reader::new(self.node.clone(), reader_config).await?;
        let agent = AgentClient::open(self.node.clone(), self.agent, reader.head().hash()).await?;
        let store = Store::open(&folder.join("keeper.db"), reader.chain_id(), self.agent).await?;
        let scope = Scope {
            keeper: 1,
            deployed_at: 0,
            log_range: 10,
            max_jobs: 1_000_000,
        };
        let follower = Follower::new(reader, agent, store, scope).await?;
        let settings = JobsConfig {
            confirm_heads: 1,
            resolver_time: Duration::from_secs(60),
            ..JobsConfig::default()
        };
        Ok((
            Desk::new(follower, Arc::clone(&sender), worker, settings).await?,
            sender,
        ))
    }
}

/// Of a resolver job with these flags.
pub(crate) fn terms(target: Address, flags: u8) -> Agent::JobTerms {
    Agent::JobTerms {
        target,
        selector: [0; 4].into(),
        source: 2,
        interval: U24::ZERO,
        flags,
        maxBaseFeeGwei: 60_000,
        defenceWindow: 2,
        gasLimit: 100_000,
        minStake: U96::ZERO,
        maxStake: U96::ZERO,
    }
}
