//! An anvil with an AuditManager and its token, nodes whose endpoints the test serves, and auditors that are real processes.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::TransactionReceipt;
use alloy::sol_types::{SolCall, SolEvent};
use contracts::{AuditManager, Contract, Token};
use serde_json::json;
use testkit::Devnet;
use testkit::process::{Running, run_to_end};
use tokio::net::TcpListener;
use tokio::process::Command;

/// One whole token.
pub(crate) const WHOLE: u128 = 1_000_000_000_000_000_000;
/// A node's epoch, its window, and an interval: eight of them are measured.
pub(crate) const PERIOD: u64 = 600;
pub(crate) const WINDOW: u64 = 120;
pub(crate) const INTERVAL: u64 = 60;
/// How long anything may take by the wall clock.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn config() -> AuditManager::Config {
    AuditManager::Config {
        rewardPeriod: u32::try_from(PERIOD).unwrap(),
        deltaPeriod: u32::try_from(WINDOW).unwrap(),
        checkTime: u32::try_from(INTERVAL).unwrap(),
        allowableLatency: 150_000,
        toleranceDivisor: 30,
        quorumBps: 5_000,
        coverageBps: 5_000,
        dutyBps: 2_000,
        groupSize: 24,
        minStake: WHOLE,
    }
}

/// A keeper's health, as the test wants it.
#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    up: Arc<AtomicBool>,
}

impl Fake {
    async fn start(chain_id: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let up = Arc::new(AtomicBool::new(true));
        let shared = Arc::clone(&up);
        let health = move || {
            let reason = (!shared.load(Ordering::SeqCst)).then_some("told to be down");
            std::future::ready(axum::Json(
                json!({ "reason": reason, "chain_id": chain_id + 1, "head": 1 }),
            ))
        };
        let app = axum::Router::new().route("/health", axum::routing::get(health));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, up }
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::SeqCst);
    }
}

pub(crate) struct World {
    chain: Devnet,
    pub(crate) token: Address,
    pub(crate) manager: Address,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) nodes: Vec<Fake>,
}

impl Deref for World {
    type Target = Devnet;

    fn deref(&self) -> &Devnet {
        &self.chain
    }
}

impl World {
    /// So many nodes, each measured by all others. Account 0 owns all; account n is the operator of node n. Blocks are made by hand.
    pub(crate) async fn start(nodes: usize) -> Option<Self> {
        let chain = Devnet::start(&[])?;
        let chain_id = chain.provider.get_chain_id().await.unwrap();
        let arguments = Token::constructorCall {
            name_: "Bounty".into(),
            symbol_: "BTY".into(),
            supply: U256::from(WHOLE) * U256::from(1_000_000),
            holder: chain.account(0),
        };
        let token = chain.create(Contract::Token.creation(&arguments)).await;
        let arguments = AuditManager::constructorCall {
            owner_: chain.account(0),
            token_: token,
            config_: config(),
        };
        let manager = chain.create(Contract::AuditManager.creation(&arguments)).await;
        let mut world = Self {
            chain,
            token,
            manager,
            folder: tempfile::tempdir().unwrap(),
            nodes: Vec::new(),
        };
        let approve = Token::approveCall {
            spender: world.manager,
            value: U256::MAX,
        };
        world.call(0, world.token, &approve).await;
        for number in 1..=nodes {
            let fake = Fake::start(chain_id).await;
            let register = AuditManager::registerCall {
                operator: world.account(number),
                kind: 3,
                hotkey: B256::ZERO,
                endpoint: format!("http://{}", fake.address),
                stake: WHOLE,
            };
            world.call(0, world.manager, &register).await;
            world.nodes.push(fake);
        }
        for number in 1..=nodes {
            let subject = u32::try_from(number).unwrap();
            let group = world.view(&AuditManager::groupOfCall { subject }).await;
            if group.len() < nodes - 1 {
                world
                    .call(0, world.manager, &AuditManager::fillGroupCall { subject })
                    .await;
            }
        }
        let pool = Token::transferCall {
            to: world.manager,
            value: U256::from(WHOLE) * U256::from(1_000),
        };
        world.call(0, world.token, &pool).await;
        let end = world.now().await + 100 * PERIOD;
        world.call(0, world.manager, &AuditManager::releaseCall { end }).await;
        world.rpc("evm_setAutomine", json!([false])).await;
        Some(world)
    }

    pub(crate) async fn now(&self) -> u64 {
        let block = self
            .provider
            .get_block(alloy::eips::BlockId::latest())
            .await
            .unwrap()
            .unwrap();
        block.header.timestamp
    }

    /// A block of this time, with what waits.
    pub(crate) async fn mine_at(&self, timestamp: u64) {
        self.rpc("evm_setNextBlockTimestamp", json!([timestamp])).await;
        self.rpc("anvil_mine", json!(["0x1"])).await;
    }

    /// Some blocks, a second apart.
    pub(crate) async fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            let next = self.now().await + 1;
            self.mine_at(next).await;
        }
    }

    /// Calls a contract in a development account's name, mined at once.
    pub(crate) async fn call<C: SolCall>(&self, from: usize, to: Address, call: &C) -> TransactionReceipt {
        self.chain.call(from, to, U256::ZERO, call).await
    }

    /// What a view of the manager's answers.
    pub(crate) async fn view<C: SolCall>(&self, call: &C) -> C::Return {
        self.chain.view(self.manager, call).await
    }

    /// The manager's events of a kind.
    pub(crate) async fn events<E: SolEvent>(&self) -> Vec<E> {
        let events = self.chain.events(self.manager).await;
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// How often this auditor's verdict on this peer's epoch was consumed.
    pub(crate) async fn reported(&self, auditor: u32, subject: u32, epoch: u32) -> usize {
        let events = self.events::<AuditManager::VerdictReported>().await;
        let same =
            |one: &&AuditManager::VerdictReported| (one.auditor, one.subject, one.epoch) == (auditor, subject, epoch);
        events.iter().filter(same).count()
    }

    /// The start and the reward date of a node's running epoch.
    pub(crate) async fn epoch(&self, id: u32) -> (u32, u64, u64) {
        let info = self.view(&AuditManager::nodeInfoCall { id }).await;
        let next = self.view(&AuditManager::nextRewardCall { id }).await;
        (info.epoch, info.lastReward.to(), next.to())
    }

    /// Writes the configuration of the auditor of node `number`.
    pub(crate) fn configure(&self, number: usize, more: &str) -> PathBuf {
        let home = self.home(number);
        std::fs::create_dir_all(&home).unwrap();
        let path = home.join("audit.toml");
        let text = format!(
            "contract = \"{}\"\nendpoints = [\"{}\"]\ndata = \"{}\"\n\
             [operator]\nhex = \"env:OPERATOR_KEY\"\n[rpc]\npoll = \"50ms\"\nmax_head_age = \"9999days\"\n\
             [measure]\nevery = \"100ms\"\n[report]\nretry = \"200ms\"\n[claim]\nretry = \"200ms\"\n\
             [probe]\nreferences = [\"{}\"]\nprivate_addresses = true\n\
             [sender]\npoll = \"50ms\"\nconfirmations = 2\n{more}",
            self.manager,
            self.anvil.http(),
            home.join("data").display(),
            self.anvil.http().trim_start_matches("http://"),
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The folder of the auditor of node `number`.
    fn home(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("node{number}"))
    }

    pub(crate) fn data(&self, number: usize) -> PathBuf {
        self.home(number).join("data")
    }

    fn command(&self, number: usize, arguments: &[&str]) -> Command {
        // A file that grows above a limit is an error to be handled, and not the end.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_audit")])
            .args(arguments)
            .arg("--config")
            .arg(self.home(number).join("audit.toml"))
            .env("OPERATOR_KEY", self.private_key(number));
        command
    }

    /// Runs it to its end: exit code, standard output, standard error.
    pub(crate) async fn audit(&self, number: usize, arguments: &[&str]) -> (i32, String, String) {
        run_to_end(&mut self.command(number, arguments), &self.home(number)).await
    }

    /// Starts `audit run`.
    pub(crate) async fn run(&self, number: usize, more: &[&str]) -> Running {
        let arguments = [&["run"], more].concat();
        Running::start(self.command(number, &arguments), &self.home(number)).await
    }

    /// Waits until every auditor has measured at this chain time or later.
    pub(crate) async fn measured(&self, auditors: &[&Running], at: u64) {
        for auditor in auditors {
            auditor
                .until(&format!("measured at {at}"), |health| {
                    health["measured_at"].as_u64() >= Some(at)
                })
                .await;
        }
    }

    /// Lets the chain's time pass up to `until`, an interval at a time; each auditor measures in each of them.
    pub(crate) async fn pass(&self, auditors: &[&Running], until: u64) {
        loop {
            let next = self.now().await + INTERVAL;
            if next >= until {
                break;
            }
            self.mine_at(next).await;
            self.measured(auditors, next).await;
        }
        self.mine_at(until).await;
    }

    /// Waits until `done`, making no blocks.
    pub(crate) async fn until(&self, what: &str, auditors: &[&Running], done: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done().await {
            let logs: String = auditors.iter().map(|auditor| auditor.log()).collect();
            assert!(Instant::now() < deadline, "{what}\n{logs}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes blocks a second apart, each looked at by all, until `done`.
    pub(crate) async fn mine_until(&self, what: &str, auditors: &[&Running], done: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done().await {
            let logs: String = auditors.iter().map(|auditor| auditor.log()).collect();
            assert!(Instant::now() < deadline, "{what}\n{logs}");
            self.mine(1).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
