//! An anvil with an Agent, a stake token and jobs; keepers are real processes.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::Provider as _;
use alloy::sol_types::SolEvent;
use contracts::{Agent, Contract, Token};
use serde_json::json;
use testkit::Devnet;
use testkit::process::{Running, run_to_end};
use tokio::process::Command;

/// One whole token, one ether.
pub(crate) const WHOLE: u128 = 1_000_000_000_000_000_000;
/// Seconds from block to block, of the chain's own time.
pub(crate) const BLOCK_TIME: u64 = 5;
/// How long anything may take by the wall clock.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn whole(units: u64) -> U256 {
    U256::from(units) * U256::from(WHOLE)
}

/// The terms of a job that calls `target`.
pub(crate) fn terms(target: Address, source: u8, interval: u32, flags: u8) -> Agent::JobTerms {
    Agent::JobTerms {
        target,
        selector: [0x12, 0x34, 0x56, 0x78].into(),
        source,
        interval: U24::from(interval),
        flags,
        maxBaseFeeGwei: 1_000,
        defenceWindow: 2,
        gasLimit: 300_000,
        minStake: U96::ZERO,
        maxStake: U96::ZERO,
    }
}

pub(crate) const SELECTOR: u8 = 0;
pub(crate) const RESOLVER: u8 = 2;
pub(crate) const ACTIVE: u8 = 1;
pub(crate) const DEFENCE: u8 = 32;

pub(crate) struct World {
    chain: Devnet,
    pub(crate) token: Address,
    pub(crate) agent: Address,
    pub(crate) folder: tempfile::TempDir,
}

impl Deref for World {
    type Target = Devnet;

    fn deref(&self) -> &Devnet {
        &self.chain
    }
}

impl World {
    /// The Agent is there; each transaction is mined at once until [`World::by_hand`].
    pub(crate) async fn start() -> Option<Self> {
        let chain = Devnet::start(&["--order", "fees"])?;
        let arguments = Token::constructorCall {
            name_: "Stake".into(),
            symbol_: "STK".into(),
            supply: whole(1_000_000),
            holder: chain.account(0),
        };
        let token = chain.create(Contract::Token.creation(&arguments)).await;
        let arguments = Agent::constructorCall {
            owner_: chain.account(0),
            stakeToken_: token,
            ticketStake_: whole(1),
            config_: contracts::development::agent(),
        };
        let agent = chain.create(Contract::Agent.creation(&arguments)).await;
        Some(Self {
            chain,
            token,
            agent,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// Blocks are made by [`World::mine`] from now on, [`BLOCK_TIME`] apart.
    pub(crate) async fn by_hand(&self) {
        self.rpc("evm_setAutomine", json!([false])).await;
        self.rpc("anvil_setBlockTimestampInterval", json!([BLOCK_TIME])).await;
    }

    pub(crate) async fn mine(&self) -> u64 {
        self.rpc("anvil_mine", json!(["0x1"])).await;
        self.provider.get_block_number().await.unwrap()
    }

    /// Registers a job of account 0's with one ether of credits.
    pub(crate) async fn register(&self, terms: Agent::JobTerms, resolver: Address, data: Bytes) -> B256 {
        let call = Agent::registerJobCall { terms, resolver, data };
        let receipt = self.call(0, self.agent, whole(1), &call).await;
        receipt.decoded_log::<Agent::RegisterJob>().unwrap().jobKey
    }

    /// A target whose job is due every 20 s.
    pub(crate) async fn every_twenty_seconds(&self) -> (Address, B256) {
        let target = self.create(Contract::TestJob.bytecode().clone()).await;
        let key = self
            .register(terms(target, SELECTOR, 20, ACTIVE), Address::ZERO, Bytes::new())
            .await;
        (target, key)
    }

    pub(crate) async fn job(&self, key: B256) -> Agent::Job {
        self.view(self.agent, &Agent::jobInfoCall { jobKey: key }).await
    }

    pub(crate) async fn stake(&self, keeper: u64) -> U256 {
        let call = Agent::keeperInfoCall {
            keeperId: U256::from(keeper),
        };
        U256::from(self.view(self.agent, &call).await.stake)
    }

    /// All events of a kind of the Agent's, with their blocks.
    pub(crate) async fn events<E: SolEvent>(&self) -> Vec<(u64, E)> {
        self.chain.events(self.agent).await
    }

    /// The folder of the keeper `number`.
    fn home(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("keeper{number}"))
    }

    /// The keeper `number` hears of pending transactions too.
    pub(crate) fn push_to(&self, number: usize) {
        let path = self.home(number).join("keeper.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let http = format!("endpoints = [\"{}\"", self.anvil.http());
        let both = format!("{http}, \"{}\"", self.anvil.ws());
        std::fs::write(&path, text.replace(&http, &both)).unwrap();
    }

    /// The configuration of the keeper `number`: account 3 + number works, account 6 + number owns it.
    pub(crate) fn configure(&self, number: usize, more: &str) -> PathBuf {
        let home = self.home(number);
        std::fs::create_dir_all(&home).unwrap();
        let path = home.join("keeper.toml");
        let text = format!(
            "agent = \"{}\"\nendpoints = [\"{}\"]\ndata = \"{}\"\n\
             [worker]\nhex = \"env:WORKER_KEY\"\n[admin]\nhex = \"env:ADMIN_KEY\"\n\
             [rpc]\npoll = \"20ms\"\nmax_head_age = \"1day\"\n[state]\nblock_time = \"{BLOCK_TIME}s\"\n\
             [sender]\npoll = \"50ms\"\nconfirmations = 1\n{more}",
            self.agent,
            self.anvil.http(),
            home.join("data").display(),
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `keeper ARGUMENTS`, as the keeper `number`, without its configuration file.
    pub(crate) fn command(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keeper"));
        command
            .args(arguments)
            .env("WORKER_KEY", self.private_key(3 + number))
            .env("ADMIN_KEY", self.private_key(6 + number));
        command
    }

    /// The same with it.
    fn configured(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = self.command(number, arguments);
        command.arg("--config").arg(self.home(number).join("keeper.toml"));
        command
    }

    /// Runs it to its end: exit code, standard output, standard error.
    pub(crate) async fn keeper(&self, number: usize, arguments: &[&str]) -> (i32, String, String) {
        run_to_end(&mut self.configured(number, arguments), &self.home(number)).await
    }

    /// The first so many keepers join, with 1,000 tokens each.
    pub(crate) async fn join_all(&self, count: usize) {
        for number in 1..=count {
            self.join(number, 1_000, "").await;
        }
    }

    /// Gives the keeper's admin tokens and registers it by the command line. Its id is its number, when done in order.
    pub(crate) async fn join(&self, number: usize, stake: u64, more: &str) {
        self.configure(number, more);
        let gift = Token::transferCall {
            to: self.account(6 + number),
            value: whole(stake),
        };
        self.call(0, self.token, U256::ZERO, &gift).await;
        let (code, out, err) = self.keeper(number, &["register", "--stake", "all"]).await;
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.contains(&format!("keeper {number} with")), "{out}");
    }

    /// Starts `keeper run`.
    pub(crate) async fn run(&self, number: usize) -> Running {
        Running::start(self.configured(number, &["run"]), &self.home(number)).await
    }

    /// Starts the first three keepers but for one, which is dead.
    pub(crate) async fn run_all_but(&self, dead: u64) -> Vec<Running> {
        let mut alive = Vec::new();
        for number in (1..=3).filter(|number| *number as u64 != dead) {
            alive.push(self.run(number).await);
        }
        alive
    }

    /// Waits until every keeper has worked on the block.
    pub(crate) async fn worked(&self, keepers: &[&Running], block: u64) {
        let deadline = Instant::now() + PATIENCE;
        for keeper in keepers {
            loop {
                let health = keeper.health().await;
                if health["head"].as_u64().unwrap_or_default() >= block {
                    break;
                }
                assert!(Instant::now() < deadline, "block {block}: {health}\n{}", keeper.log());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        // What was submitted is on its way: the pool says when it is there.
        self.settled(keepers).await;
    }

    /// Waits until what the keepers have under way is in the pool.
    async fn settled(&self, keepers: &[&Running]) {
        let deadline = Instant::now() + Duration::from_millis(1_500);
        loop {
            let mut wanted = 0;
            for keeper in keepers {
                wanted += keeper.health().await["under_way"].as_u64().unwrap_or_default();
            }
            // One that was mined and not yet settled counts as under way: then the time limit ends the wait.
            if self.pending().await >= wanted || Instant::now() > deadline {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Makes blocks, each worked on by the keepers, until `done`; the number of blocks that it took.
    pub(crate) async fn until<F: AsyncFn() -> bool>(&self, keepers: &[&Running], most: usize, done: F) -> usize {
        for count in 0..most {
            if done().await {
                return count;
            }
            let block = self.mine().await;
            self.worked(keepers, block).await;
        }
        let logs: String = keepers.iter().map(|keeper| keeper.log()).collect();
        assert!(done().await, "not within {most} blocks\n{logs}");
        most
    }
}
