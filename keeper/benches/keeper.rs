//! `cargo bench -p keeper`: 10,000 resolver jobs on one head of an anvil: from the head to the sent transaction, beside
//! asking each resolver by `eth_call` on the same anvil; and a confirmed incident's pause, by a validator's own call and by a keeper.
//!
//! Each round makes one job due in a new block, times the keeper's whole work on that head (the block's changes, the Agent's events,
//! all resolvers, the simulation, journal, signature, broadcast), then lets it be mined. Every tenth round is followed by the baseline on the same
//! head: 10,000 `eth_call`s over 16 connections. `target/bench/keeper.json`. `KEEPER_JOBS` and `KEEPER_ROUNDS` change the size.
//! Skipped, saying so, where anvil is not installed.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall;
use contracts::{Agent, Contract, PauseGuard, TestPausable, Token};
use futures::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use keeper::agent::AgentClient;
use keeper::config::JobsConfig;
use keeper::desk::Desk;
use keeper::follow::{Follower, Scope};
use keeper::store::Store;
use sender::{IdempotencyKey, Keys, Lane, Outcome, Request, Sender};
use serde::Serialize;
use serde_json::{Value, json};
use state::{BlockRef, Call, Node, NodeConfig, Reader, ReaderConfig, read};
use testkit::{Mining, TestAnvil};

#[allow(dead_code, unreachable_pub)]
#[path = "../../benches/src/measure.rs"]
mod measure;

type Done<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Keeps one word a job. 64 bytes and more: word 0 is set to word 1. 32 bytes: the resolver; due when the word is not zero, with
/// the calldata that sets it to zero.
const SWITCHES: &str = "60268060095f395ff336602014600e576020355f3555005b5f3580545f526040602052604060405260605260a05ff3";

fn main() -> ExitCode {
    if measure::is_dry_run() {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench keeper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn size(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Times in nanoseconds.
#[derive(Debug, Serialize)]
struct Case {
    name: String,
    samples: u64,
    p50_ns: u64,
    p99_ns: u64,
    most_ns: u64,
    baseline: String,
    baseline_ns: u64,
    ratio: f64,
}

#[derive(Debug)]
struct Setting {
    anvil: TestAnvil,
    node: Node,
    owner: Address,
    agent: Address,
    token: Address,
    switches: Address,
}

fn percentiles(times: &[Duration]) -> Done<Histogram<u64>> {
    let mut histogram = Histogram::new_with_bounds(1, 600_000_000_000, 3)?;
    for time in times {
        histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(histogram)
}

fn case(name: String, ours: &[Duration], baseline_name: String, baseline: &[Duration]) -> Done<Case> {
    let (ours, baseline) = (percentiles(ours)?, percentiles(baseline)?);
    let (p50, base) = (ours.value_at_quantile(0.5), baseline.value_at_quantile(0.5));
    Ok(Case {
        name,
        samples: ours.len(),
        p50_ns: p50,
        p99_ns: ours.value_at_quantile(0.99),
        most_ns: ours.max(),
        baseline: baseline_name,
        baseline_ns: base,
        ratio: (p50 as f64 / base as f64 * 10_000.0).round() / 10_000.0,
    })
}

fn run() -> Done<()> {
    let Some(anvil) = testkit::anvil(
        Mining::Automatic,
        &[
            "--gas-limit",
            "1000000000",
            "--accounts",
            "4",
            "--balance",
            "1000000",
            "--code-size-limit",
            "60000",
        ],
    ) else {
        return Ok(());
    };
    let (jobs, rounds) = (size("KEEPER_JOBS", 10_000), size("KEEPER_ROUNDS", 200));
    let cases = tokio::runtime::Runtime::new()?.block_on(async {
        let setting = Setting::new(anvil).await?;
        let mut cases = setting.pauses().await?;
        setting.register(jobs).await?;
        cases.insert(0, setting.heads(jobs, rounds).await?);
        Done::Ok(cases)
    })?;
    println!("{:<58}{:>10}{:>10}{:>10}  beside", "", "p50 ms", "p99 ms", "most ms");
    for case in &cases {
        let ms = |ns: u64| ns as f64 / 1e6;
        println!(
            "{:<58}{:>10.2}{:>10.2}{:>10.2}  {:.4} of {} ({:.1} ms)",
            case.name,
            ms(case.p50_ns),
            ms(case.p99_ns),
            ms(case.most_ns),
            case.ratio,
            case.baseline,
            ms(case.baseline_ns)
        );
    }
    println!("{}", measure::write("keeper", &cases)?.display());
    Ok(())
}

impl Setting {
    /// An Agent with one active keeper, whose worker and admin are the second development account.
    async fn new(anvil: TestAnvil) -> Done<Self> {
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
                slashingFeeFixed: U96::ZERO,
                withdrawalTimeout: 0,
                slashingFeeBps: 300,
                maxStake: U96::ZERO,
                jobMinCredits: U96::from(1_000_000_000_u64),
                activationTimeout: 0,
                feePpm: U24::ZERO,
                slashingEpochBlocks: 10,
                jobFixedReward: 0,
                stakeDivisor: 50_000_000,
                period1: U24::from(15),
                period2: U24::from(30),
                compensationMultiplierBps: 10_000,
                gasOverhead: 136_000,
                retryBase: 12,
                retryCap: 3_600,
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

    async fn ask<T: serde::de::DeserializeOwned>(&self, method: &'static str, params: Value) -> Done<T> {
        let deadline = Instant::now() + Duration::from_secs(60);
        Ok(self.node.call(Call::new(method, params), deadline).await?)
    }

    fn request(from: Address, to: Option<Address>, value: U256, input: &Bytes) -> Value {
        let mut tx = json!({ "from": from, "value": value, "input": input, "gas": "0x1000000" });
        if let (Some(to), Some(fields)) = (to, tx.as_object_mut()) {
            fields.insert("to".to_owned(), json!(to));
            fields.insert("gas".to_owned(), json!("0xf4240"));
        }
        tx
    }

    async fn submit(&self, from: Address, to: Option<Address>, value: U256, input: &Bytes) -> Done<B256> {
        self.ask("eth_sendTransaction", json!([Self::request(from, to, value, input)]))
            .await
    }

    async fn receipt(&self, hash: B256) -> Done<Value> {
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

    async fn create(&self, input: Bytes) -> Done<Address> {
        let receipt = self
            .receipt(self.submit(self.owner, None, U256::ZERO, &input).await?)
            .await?;
        let address = receipt.get("contractAddress").cloned().unwrap_or_default();
        Ok(serde_json::from_value(address)?)
    }

    async fn call<C: SolCall>(&self, from: Address, to: Address, value: U256, call: &C) -> Done<Value> {
        let hash = self.submit(from, Some(to), value, &call.abi_encode().into()).await?;
        self.receipt(hash).await
    }

    async fn mine(&self) -> Done<B256> {
        let _: Value = self.ask("anvil_mine", json!(["0x1"])).await?;
        let head = self.node.block(BlockRef::Latest, false, self.node.patience()).await?;
        head.map(|head| head.header.hash).ok_or_else(|| "no head".into())
    }

    /// Resolver jobs, one for each switch.
    async fn register(&self, jobs: usize) -> Done<()> {
        let _: Value = self.ask("evm_setAutomine", json!([false])).await?;
        let begun = Instant::now();
        // The calls of a batch are worked on in any order.
        let first: U256 = self
            .ask("eth_getTransactionCount", json!([self.owner, "latest"]))
            .await?;
        for chunk in (0..jobs).collect::<Vec<_>>().chunks(500) {
            let calls = chunk
                .iter()
                .map(|number| {
                    let call = Agent::registerJobCall {
                        terms: terms(self.switches, 1),
                        resolver: self.switches,
                        data: slot(*number),
                    };
                    let value = U256::from(1_000_000_000_000_000_u64);
                    let mut tx = Self::request(self.owner, Some(self.agent), value, &call.abi_encode().into());
                    if let Some(fields) = tx.as_object_mut() {
                        fields.insert("nonce".to_owned(), json!(first + U256::from(*number)));
                    }
                    Call::new("eth_sendTransaction", json!([tx]))
                })
                .collect();
            let answers = self.node.batch(calls, Instant::now() + Duration::from_secs(60)).await?;
            let hashes: Result<Vec<B256>, _> = answers
                .iter()
                .map(|answer| read("eth_sendTransaction", answer))
                .collect();
            let last = hashes?.last().copied().unwrap_or_default();
            self.mine().await?;
            self.receipt(last).await?;
        }
        println!("{jobs} jobs registered in {:.1} s", begun.elapsed().as_secs_f64());
        Ok(())
    }

    async fn desk(&self, folder: &std::path::Path) -> Done<(Desk, Arc<Sender>)> {
        let key = self.anvil.instance().keys().get(1).ok_or("no development key")?;
        let signer = PrivateKeySigner::from_slice(&key.to_bytes())?;
        let worker = signer.address();
        let config = sender::Config {
            endpoints: vec![self.anvil.http().into()],
            confirmations: 1,
            poll: Duration::from_millis(50),
            ..sender::Config::default()
        };
        let sender = Arc::new(Sender::open(&config, &Keys::single(signer), &folder.join("worker.db")).await?);
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

    /// One due job in each round, among all.
    async fn heads(&self, jobs: usize, rounds: usize) -> Done<Case> {
        let folder = tempfile::tempdir()?;
        let (mut desk, sender) = self.desk(folder.path()).await?;
        let begun = Instant::now();
        let worked = desk.on_head(self.mine().await?).await?;
        println!(
            "cold: {} resolvers, {} pieces of state in {} rounds, {:.2} s from nothing",
            worked.resolvers,
            worked.cost.fetched,
            worked.cost.rounds,
            begun.elapsed().as_secs_f64()
        );
        let (mut ours, mut baseline, mut resolving) = (Vec::new(), Vec::new(), 0);
        for round in 0..rounds {
            let number = round.wrapping_mul(7_919) % jobs;
            let on = [U256::from(number).to_be_bytes::<32>(), U256::ONE.to_be_bytes::<32>()].concat();
            let set = self
                .submit(self.owner, Some(self.switches), U256::ZERO, &on.into())
                .await?;
            let head = self.mine().await?;
            self.receipt(set).await?;
            let begun = Instant::now();
            let worked = desk.on_head(head).await?;
            let [(_, _, name)] = worked.sent.as_slice() else {
                return Err(format!("round {round}: {worked:?}; one transaction was expected").into());
            };
            let handle = sender
                .find(&IdempotencyKey::new(name.as_str())?)
                .await?
                .ok_or("not found")?;
            let status = handle
                .until(Duration::from_secs(20), |state| {
                    !matches!(state.name(), "queued" | "signed")
                })
                .await?;
            ours.push(begun.elapsed());
            resolving += worked.resolvers;
            if status.state.name() == "failed" {
                return Err(format!("round {round}: {status:?}").into());
            }
            if round % 10 == 0 && baseline.len() < 10 {
                let begun = Instant::now();
                self.by_eth_call(jobs, head).await?;
                baseline.push(begun.elapsed());
            }
            // Mined, and seen.
            let mined = self.mine().await?;
            desk.on_head(mined).await?;
            handle.included(Duration::from_secs(20)).await?;
            desk.on_head(self.mine().await?).await?;
        }
        sender.shutdown().await?;
        println!("{resolving} resolver calls in {rounds} measured heads");
        case(
            format!("head to sent transaction, {jobs} resolver jobs"),
            &ours,
            format!("{jobs} eth_call on the same anvil"),
            &baseline,
        )
    }

    /// Every resolver by a call of its own, 16 under way at a time.
    async fn by_eth_call(&self, jobs: usize, head: B256) -> Done<()> {
        let answers: Vec<Done<Bytes>> = stream::iter(0..jobs)
            .map(|number| {
                let call = json!([
                    { "from": self.agent, "to": self.switches, "input": slot(number) },
                    { "blockHash": head }
                ]);
                self.ask::<Bytes>("eth_call", call)
            })
            .buffer_unordered(16)
            .collect()
            .await;
        let mut due = 0;
        for answer in answers {
            due += usize::from(answer?.get(31) == Some(&1));
        }
        if due == 1 {
            Ok(())
        } else {
            Err(format!("{due} jobs are due by eth_call").into())
        }
    }

    /// A confirmed incident until its pause is in a block: the validator's own call beside a keeper's execution. Blocks are made as
    /// soon as there is a transaction, so what is timed is work, not waiting; the keeper's way needs a block more.
    async fn pauses(&self) -> Done<Vec<Case>> {
        let reporter = self.anvil.instance().addresses().get(2).copied().ok_or("no account")?;
        let key = self.anvil.instance().keys().get(2).ok_or("no development key")?;
        let folder = tempfile::tempdir()?;
        let config = sender::Config {
            endpoints: vec![self.anvil.http().into()],
            confirmations: 1,
            poll: Duration::from_millis(50),
            ..sender::Config::default()
        };
        let keys = Keys::single(PrivateKeySigner::from_slice(&key.to_bytes())?);
        let validator = Sender::open(&config, &keys, &folder.path().join("validator.db")).await?;
        let protocol = self.create(Contract::TestPausable.bytecode().clone()).await?;
        let guard = PauseGuard::constructorCall {
            owner_: self.owner,
            protocol_: protocol,
            call_: TestPausable::setPausedCall { paused_: true }.abi_encode().into(),
            reporters: vec![reporter],
            threshold_: U256::ONE,
        };
        let guard = self.create(Contract::PauseGuard.creation(&guard)).await?;
        let right = TestPausable::setGuardianCall { guardian_: guard };
        self.call(self.owner, protocol, U256::ZERO, &right).await?;
        let job = Agent::registerJobCall {
            terms: terms(guard, 1 | 32),
            resolver: guard,
            data: PauseGuard::checkCall {}.abi_encode().into(),
        };
        self.call(self.owner, self.agent, U256::from(10).pow(U256::from(18)), &job)
            .await?;
        let (mut desk, sender) = self.desk(folder.path()).await?;
        desk.on_head(self.mine().await?).await?;
        let (mut direct, mut by_keeper) = (Vec::new(), Vec::new());
        let fired = |call: Bytes, name: String| {
            let validator = &validator;
            async move {
                let key = IdempotencyKey::new(name)?;
                let mut request = Request::call(key, Lane::Pause, guard, call);
                request.gas = Some(500_000);
                validator.new_head();
                let handle = validator.submit(request).await?;
                match handle.included(Duration::from_secs(20)).await? {
                    Outcome::Mined(inclusion) if inclusion.success => Done::Ok(inclusion.block_hash),
                    other => Err(format!("{other:?}").into()),
                }
            }
        };
        for round in 0..30_u64 {
            // Two incidents: one that is over starts no other pause.
            let incident = |way: &str| keccak256(format!("{way}/{round}"));
            let begun = Instant::now();
            let call = contracts::guard::confirm_and_fire(incident("direct"));
            let head = fired(call, format!("direct/{round}")).await?;
            direct.push(begun.elapsed());
            desk.on_head(head).await?;
            let begun = Instant::now();
            let head = fired(
                contracts::guard::confirm(incident("keeper")),
                format!("confirm/{round}"),
            )
            .await?;
            let worked = desk.on_head(head).await?;
            let [(_, _, name)] = worked.sent.as_slice() else {
                return Err(format!("pause {round}: {worked:?}").into());
            };
            let handle = sender
                .find(&IdempotencyKey::new(name.as_str())?)
                .await?
                .ok_or("not found")?;
            let Outcome::Mined(inclusion) = handle.included(Duration::from_secs(20)).await? else {
                return Err(format!("pause {round} was not mined").into());
            };
            if !inclusion.success {
                return Err(format!("pause {round}: {inclusion:?}").into());
            }
            by_keeper.push(begun.elapsed());
            desk.on_head(inclusion.block_hash).await?;
            desk.on_head(self.mine().await?).await?;
        }
        sender.shutdown().await?;
        validator.shutdown().await?;
        Ok(vec![case(
            "incident to mined pause, by a keeper's defence job".to_owned(),
            &by_keeper,
            "the validator's own call".to_owned(),
            &direct,
        )?])
    }
}

fn terms(target: Address, flags: u8) -> Agent::JobTerms {
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

fn slot(number: usize) -> Bytes {
    U256::from(number).to_be_bytes::<32>().into()
}
