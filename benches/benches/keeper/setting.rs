//! An Agent with one active keeper on an anvil, and what it is asked for.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, U256};
use benches::measure::Done;
use contracts::{Agent, Contract, Token};
use keeper::agent::AgentClient;
use keeper::config::JobsConfig;
use keeper::desk::{Desk, Worked};
use keeper::follow::{Follower, Scope};
use keeper::store::Store;
use sender::{Handle, IdempotencyKey, Keys, Lane, Sender};
use serde_json::json;
use state::{Node, NodeConfig, Reader, ReaderConfig};
use testkit::Devnet;

/// Keeps one word a job. 64 bytes and more: word 0 is set to word 1. 32 bytes: the resolver; due when the word is not zero, with
/// the calldata that sets it to zero.
const SWITCHES: &str = "60268060095f395ff336602014600e576020355f3555005b5f3580545f526040602052604060405260605260a05ff3";
/// The development accounts: who owns everything, and the keeper's worker and admin.
pub(crate) const OWNER: usize = 0;
const WORKER: usize = 1;

#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) devnet: Devnet,
    pub(crate) node: Node,
    pub(crate) agent: Address,
    pub(crate) switches: Address,
}

impl Setting {
    /// An Agent with one active keeper.
    pub(crate) async fn new(devnet: Devnet) -> Done<Self> {
        let config = NodeConfig {
            endpoints: vec![devnet.anvil.http().parse()?],
            request_timeout: Duration::from_secs(60),
            ..NodeConfig::default()
        };
        let node = Node::connect(config).await?;
        let token = Token::constructorCall {
            name_: "Stake".into(),
            symbol_: "STK".into(),
            supply: U256::from(1_000_000),
            holder: devnet.account(WORKER),
        };
        let token = devnet.create(Contract::Token.creation(&token)).await;
        let agent = Agent::constructorCall {
            owner_: devnet.account(OWNER),
            stakeToken_: token,
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
        let agent = devnet.create(Contract::Agent.creation(&agent)).await;
        let switches = devnet.create(SWITCHES.parse()?).await;
        let approve = Token::approveCall {
            spender: agent,
            value: U256::MAX,
        };
        devnet.call(WORKER, token, U256::ZERO, &approve).await;
        let register = Agent::registerAsKeeperCall {
            worker: devnet.account(WORKER),
            amount: U256::from(100_000),
        };
        devnet.call(WORKER, agent, U256::ZERO, &register).await;
        let finish = Agent::finalizeKeeperActivationCall { keeperId: U256::ONE };
        devnet.call(WORKER, agent, U256::ZERO, &finish).await;
        Ok(Self {
            devnet,
            node,
            agent,
            switches,
        })
    }

    /// Makes a block; gives its hash.
    pub(crate) async fn mine(&self) -> Done<B256> {
        self.devnet.rpc("anvil_mine", json!(["0x1"])).await;
        Ok(self.node.newest().await?.header.hash)
    }

    /// A sender over the development account `index`.
    pub(crate) async fn sender(&self, index: usize, journal: &std::path::Path) -> Done<Sender> {
        let config = sender::Config {
            endpoints: vec![self.devnet.anvil.http().into()],
            confirmations: 1,
            poll: Duration::from_millis(50),
            ..sender::Config::default()
        };
        let keys = Keys::single(self.devnet.private_key(index).parse()?);
        Ok(Sender::open(&config, &keys, journal).await?)
    }

    /// What works on a head, and its sender.
    pub(crate) async fn desk(&self, folder: &std::path::Path) -> Done<(Desk, Arc<Sender>)> {
        let sender = Arc::new(self.sender(WORKER, &folder.join("worker.db")).await?);
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

/// The one transaction that a keeper sent on a head.
pub(crate) async fn sent(sender: &Sender, worked: &Worked) -> Done<Handle> {
    let [(_, _, name)] = worked.sent.as_slice() else {
        return Err(format!("{worked:?}; one transaction was expected").into());
    };
    let handle = sender.find(&IdempotencyKey::new(name.as_str())?).await?;
    Ok(handle.ok_or("the keeper's transaction was not found")?)
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
