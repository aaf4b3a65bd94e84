//! An anvil with an Agent, a stake token and jobs; keepers are real processes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider as _};
use alloy::rpc::types::{Filter, TransactionReceipt};
use alloy::sol_types::{SolCall, SolConstructor as _, SolEvent};
use contracts::{Agent, Contract, Token};
use serde_json::{Value, json};
use testkit::{Mining, TestAnvil, anvil};
use tokio::process::{Child, Command};

/// One whole token, one ether.
pub(crate) const WHOLE: u128 = 1_000_000_000_000_000_000;
/// Seconds from block to block, of the chain's own time.
pub(crate) const BLOCK_TIME: u64 = 5;
/// How long anything may take by the wall clock.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn whole(units: u64) -> U256 {
    U256::from(units) * U256::from(WHOLE)
}

/// Grace 15 s, slasher's window 30 s, epochs of 3 blocks; a slash takes 10 tokens and 3 %.
pub(crate) fn config() -> Agent::Config {
    Agent::Config {
        minKeeperStake: U96::from(whole(100)),
        slashingFeeFixed: U96::from(whole(10)),
        withdrawalTimeout: 20,
        slashingFeeBps: 300,
        maxStake: U96::ZERO,
        jobMinCredits: U96::from(WHOLE / 10),
        activationTimeout: 20,
        feePpm: U24::ZERO,
        slashingEpochBlocks: 3,
        jobFixedReward: 30_000_000_000_000,
        stakeDivisor: 50_000_000,
        period1: U24::from(15),
        period2: U24::from(30),
        compensationMultiplierBps: 10_000,
        gasOverhead: 136_000,
        retryBase: 12,
        retryCap: 3_600,
    }
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
    pub(crate) anvil: TestAnvil,
    pub(crate) provider: DynProvider,
    pub(crate) token: Address,
    pub(crate) agent: Address,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) client: reqwest_lite::Client,
}

/// `GET` of a small JSON document from the loopback: all that a test wants of HTTP.
pub(crate) mod reqwest_lite {
    use std::net::SocketAddr;

    use serde_json::Value;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    #[derive(Debug, Default)]
    pub(crate) struct Client;

    impl Client {
        /// The body, and whether the status was 200.
        pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> std::io::Result<(bool, Value, String)> {
            let mut stream = TcpStream::connect(address).await?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let json = serde_json::from_str(body).unwrap_or(Value::Null);
            Ok((text.starts_with("HTTP/1.1 200"), json, text))
        }
    }
}

impl World {
    /// The Agent is there; each transaction is mined at once until [`World::by_hand`].
    pub(crate) async fn start() -> Option<Self> {
        let anvil = anvil(
            Mining::Automatic,
            &[
                "--gas-limit",
                "60000000",
                "--code-size-limit",
                "60000",
                "--order",
                "fees",
            ],
        )?;
        let provider = anvil.provider();
        let mut world = Self {
            provider,
            anvil,
            token: Address::ZERO,
            agent: Address::ZERO,
            folder: tempfile::tempdir().unwrap(),
            client: reqwest_lite::Client,
        };
        let arguments = Token::constructorCall {
            name_: "Stake".into(),
            symbol_: "STK".into(),
            supply: whole(1_000_000),
            holder: world.account(0),
        };
        world.token = world.create(Contract::Token.creation(&arguments)).await;
        let arguments = Agent::constructorCall {
            owner_: world.account(0),
            stakeToken_: world.token,
            ticketStake_: whole(1),
            config_: config(),
        };
        assert!(arguments.abi_encoded_size() > 0);
        world.agent = world.create(Contract::Agent.creation(&arguments)).await;
        Some(world)
    }

    /// The development account `index`.
    pub(crate) fn account(&self, index: usize) -> Address {
        self.anvil.instance().addresses()[index]
    }

    /// Its private key.
    pub(crate) fn private_key(&self, index: usize) -> String {
        let key = &self.anvil.instance().keys()[index];
        alloy::hex::encode(key.to_bytes())
    }

    pub(crate) async fn rpc(&self, method: &'static str, params: Value) -> Value {
        self.provider.raw_request(method.into(), params).await.unwrap()
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

    pub(crate) async fn create(&self, input: Bytes) -> Address {
        self.create_with(0, U256::ZERO, input).await
    }

    /// A contract of a development account's, with so many wei.
    pub(crate) async fn create_with(&self, from: usize, value: U256, input: Bytes) -> Address {
        let receipt = self.transact(from, None, value, input).await;
        receipt.contract_address.unwrap()
    }

    pub(crate) async fn submit(&self, from: usize, to: Option<Address>, value: U256, input: Bytes) -> B256 {
        let mut tx = json!({ "from": self.account(from), "value": value, "input": input, "gas": "0x2625a00" });
        if to.is_some() || input.len() < 20_000 {
            tx["gas"] = json!("0xb71b00");
        }
        if let Some(to) = to {
            tx["to"] = json!(to);
        }
        let hash = self.rpc("eth_sendTransaction", json!([tx])).await;
        serde_json::from_value(hash).unwrap()
    }

    pub(crate) async fn receipt(&self, hash: B256) -> TransactionReceipt {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await.unwrap() {
                return receipt;
            }
            assert!(Instant::now() < deadline, "{hash} is not mined");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn transact(&self, from: usize, to: Option<Address>, value: U256, input: Bytes) -> TransactionReceipt {
        let hash = self.submit(from, to, value, input).await;
        let receipt = self.receipt(hash).await;
        assert!(receipt.status(), "{hash} reverted");
        receipt
    }

    /// Calls a contract in a development account's name, mined at once.
    pub(crate) async fn call<C: SolCall>(&self, from: usize, to: Address, value: U256, call: &C) -> TransactionReceipt {
        self.transact(from, Some(to), value, call.abi_encode().into()).await
    }

    pub(crate) async fn view<C: SolCall>(&self, to: Address, call: &C) -> C::Return {
        let tx = json!({ "to": to, "input": Bytes::from(call.abi_encode()) });
        let output: Bytes = serde_json::from_value(self.rpc("eth_call", json!([tx, "latest"])).await).unwrap();
        C::abi_decode_returns(&output).unwrap()
    }

    /// Registers a job of account 0's with one ether of credits.
    pub(crate) async fn register(&self, terms: Agent::JobTerms, resolver: Address, data: Bytes) -> B256 {
        let call = Agent::registerJobCall { terms, resolver, data };
        let receipt = self.call(0, self.agent, whole(1), &call).await;
        receipt.decoded_log::<Agent::RegisterJob>().unwrap().jobKey
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

    /// All events of a kind, with their blocks.
    pub(crate) async fn events<E: SolEvent>(&self) -> Vec<(u64, E)> {
        let filter = Filter::new()
            .address(self.agent)
            .event_signature(E::SIGNATURE_HASH)
            .from_block(0);
        let logs = self.provider.get_logs(&filter).await.unwrap();
        logs.into_iter()
            .map(|log| (log.block_number.unwrap(), E::decode_log(&log.inner).unwrap().data))
            .collect()
    }

    /// The keeper `number` hears of pending transactions too.
    pub(crate) fn push_to(&self, number: usize) {
        let path = self.folder.path().join(format!("keeper{number}/keeper.toml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let http = format!("endpoints = [\"{}\"", self.anvil.http());
        let both = format!("{http}, \"{}\"", self.anvil.ws());
        std::fs::write(&path, text.replace(&http, &both)).unwrap();
    }

    /// The configuration of the keeper `number`: account 3 + number works, account 6 + number owns it.
    pub(crate) fn configure(&self, number: usize, more: &str) -> PathBuf {
        let home = self.folder.path().join(format!("keeper{number}"));
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

    /// `keeper ARGUMENTS`, as the keeper `number`.
    pub(crate) fn command(&self, number: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keeper"));
        command
            .args(arguments)
            .env("WORKER_KEY", self.private_key(3 + number))
            .env("ADMIN_KEY", self.private_key(6 + number))
            .kill_on_drop(true);
        command
    }

    /// Runs it to its end: exit code, standard output, standard error.
    pub(crate) async fn keeper(&self, number: usize, arguments: &[&str]) -> (i32, String, String) {
        let config = self.folder.path().join(format!("keeper{number}/keeper.toml"));
        let mut all = arguments.to_vec();
        all.extend(["--config", config.to_str().unwrap()]);
        let ended = tokio::time::timeout(PATIENCE, self.command(number, &all).output())
            .await
            .unwrap()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (
            ended.status.code().unwrap_or(-1),
            text(ended.stdout),
            text(ended.stderr),
        )
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
        let config = self.folder.path().join(format!("keeper{number}/keeper.toml"));
        let ready = self.folder.path().join(format!("keeper{number}/ready"));
        let log = self.folder.path().join(format!("keeper{number}/log"));
        drop(std::fs::remove_file(&ready));
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let arguments = [
            "run",
            "--config",
            config.to_str().unwrap(),
            "--ready-file",
            ready.to_str().unwrap(),
        ];
        let mut command = self.command(number, &arguments);
        let child = command
            .stderr(file)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                break text.parse().unwrap();
            }
            assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(&log).unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Running { child, address, log }
    }

    /// What a keeper shows of itself.
    pub(crate) async fn health(&self, keeper: &Running) -> Value {
        self.client.get(keeper.address, "/health").await.unwrap().1
    }

    /// Waits until every keeper has worked on the block.
    pub(crate) async fn worked(&self, keepers: &[&Running], block: u64) {
        let deadline = Instant::now() + PATIENCE;
        for keeper in keepers {
            loop {
                let health = self.health(keeper).await;
                if health["head"].as_u64().unwrap_or_default() >= block {
                    break;
                }
                let log = std::fs::read_to_string(&keeper.log).unwrap_or_default();
                assert!(Instant::now() < deadline, "block {block}: {health}\n{log}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        // What was submitted is on its way: the pool says when it is there.
        self.settled(keepers).await;
    }

    /// Waits until what the keepers have under way is in the pool.
    async fn settled(&self, keepers: &[&Running]) {
        let deadline = Instant::now() + Duration::from_millis(400);
        loop {
            let mut wanted = 0;
            for keeper in keepers {
                wanted += self.health(keeper).await["under_way"].as_u64().unwrap_or_default();
            }
            let pool = self.rpc("txpool_status", json!([])).await;
            let pending = pool["pending"]
                .as_str()
                .and_then(|text| u64::from_str_radix(&text[2..], 16).ok());
            // One that was mined and not yet settled counts as under way: then the time limit ends the wait.
            if pending.unwrap_or_default() >= wanted || Instant::now() > deadline {
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
        let mut logs = String::new();
        for keeper in keepers {
            logs += &std::fs::read_to_string(&keeper.log).unwrap_or_default();
        }
        assert!(done().await, "not within {most} blocks\n{logs}");
        most
    }
}

/// A keeper's process.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) log: PathBuf,
}

impl Running {
    /// Ends it without a word.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
