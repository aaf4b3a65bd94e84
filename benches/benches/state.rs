//! `cargo bench -p benches --bench state`: cold and warm reading of a living chain's state, beside the node's own `debug_traceCall` of
//! the same transaction and beside one read at a time; straight at the node, and behind a proxy that adds 20 ms to each request.
//!
//! All of a round are timed in turn, the order changing every time. `target/bench/state.json`: ours in `p50`, `p99`, `p999`, the
//! baseline's median and the ratio. Skipped, saying so, where anvil is not installed.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::primitives::{Address, Bytes, Signature, TxKind, U256};
use alloy::sol_types::SolCall as _;
use benches::measure::{self, Done, Times};
use contracts::{Contract, Pair, Router, Token};
use engine::{Status, Transaction};
use serde::Serialize;
use serde_json::{Value, json};
use state::{Call, Node, NodeConfig, Prefetch, Reader, ReaderConfig};
use testkit::{Mining, Proxy};

fn main() -> ExitCode {
    measure::ended("state", run())
}

fn unset(what: &str) -> String {
    format!("{what}: a transaction of the setting failed, or the node left something out")
}

/// One comparison: ours in percentiles, beside the baseline's median. Nanoseconds.
#[derive(Debug, Serialize)]
struct Case {
    name: String,
    baseline: &'static str,
    baseline_ns: u64,
    ratio: f64,
    p50_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    round_trips: u32,
    samples: u64,
}

/// The ways that are timed.
const WAYS: [&str; 5] = ["trace", "access list", "one by one", "warm", "node's debug_traceCall"];
const ROUNDS: usize = 100;
/// A warm read is short: more samples of it in each round.
const WARM: usize = 20;

struct Setting {
    sender: Address,
    transactions: Vec<(&'static str, Transaction, Value)>,
}

fn run() -> Done<()> {
    if measure::is_dry_run() {
        return Ok(());
    }
    let Some(anvil) = testkit::anvil(Mining::Manual, &[]) else {
        return Ok(());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let cases = runtime.block_on(async {
        let sender = anvil
            .instance()
            .addresses()
            .first()
            .copied()
            .ok_or_else(|| unset("accounts"))?;
        let direct = connect(&anvil.http()).await?;
        let setting = Setting::new(&direct, sender).await?;
        let proxy = Proxy::before(&anvil.http(), Duration::from_millis(20)).await;
        let delayed = connect(proxy.url()).await?;
        let mut cases = Vec::new();
        for (place, node) in [("0 ms", &direct), ("20 ms", &delayed)] {
            for (name, tx, call) in &setting.transactions {
                cases.extend(contest(place, node, name, tx, call).await?);
            }
        }
        Done::Ok(cases)
    })?;
    println!(
        "{:<36}{:>12}{:>12}{:>12}{:>7}  ratio to its baseline",
        "", "p50 us", "p99 us", "p999 us", "trips"
    );
    for case in &cases {
        let us = |ns: u64| ns as f64 / 1000.0;
        println!(
            "{:<36}{:>12.1}{:>12.1}{:>12.1}{:>7}  {:.3} of {} ({:.1} us)",
            case.name,
            us(case.p50_ns),
            us(case.p99_ns),
            us(case.p999_ns),
            case.round_trips,
            case.ratio,
            case.baseline,
            us(case.baseline_ns)
        );
    }
    println!("{}", measure::write("state", &cases)?.display());
    Ok(())
}

async fn connect(endpoint: &str) -> Done<Node> {
    let config = NodeConfig {
        endpoints: vec![endpoint.parse()?],
        hedge_after: Duration::from_secs(60),
        request_timeout: Duration::from_secs(30),
        recheck: Duration::from_secs(3600),
        ..NodeConfig::default()
    };
    Ok(Node::connect(config).await?)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Times all ways, in turn, round after round.
async fn contest(place: &str, node: &Node, name: &'static str, tx: &Transaction, call: &Value) -> Done<Vec<Case>> {
    let mut times = Vec::new();
    for _ in WAYS {
        times.push(Times::new()?);
    }
    let mut trips = [0_u32; WAYS.len()];
    let warm = reader(node, Prefetch::Trace).await?;
    judged(&warm, name, tx).await?;
    for round in 0..ROUNDS {
        for turn in 0..WAYS.len() {
            let way = (turn + round) % WAYS.len();
            let (Some(times), Some(trips)) = (times.get_mut(way), trips.get_mut(way)) else {
                continue;
            };
            let prefetch = match way {
                0 => Prefetch::Trace,
                1 => Prefetch::AccessList,
                2 => Prefetch::OneByOne,
                3 => {
                    for _ in 0..WARM {
                        let begun = Instant::now();
                        *trips = judged(&warm, name, tx).await?;
                        times.record(begun.elapsed());
                    }
                    continue;
                }
                _ => {
                    let begun = Instant::now();
                    let trace: Value = node.call(Call::new("debug_traceCall", call.clone()), soon()).await?;
                    times.record(begun.elapsed());
                    if trace.as_object().is_none_or(serde_json::Map::is_empty) {
                        return Err(unset("debug_traceCall").into());
                    }
                    *trips = 1;
                    continue;
                }
            };
            // It knows nothing but its head.
            let cold = reader(node, prefetch).await?;
            let begun = Instant::now();
            *trips = judged(&cold, name, tx).await?;
            times.record(begun.elapsed());
        }
    }
    let of = |way: usize, part| times.get(way).map_or(0, |times| times.ns(part));
    let compare = |way: usize, label: &str, base: usize| Case {
        name: format!("{place}: {name}, {label}"),
        baseline: WAYS.get(base).copied().unwrap_or_default(),
        baseline_ns: of(base, 0.5),
        ratio: measure::ratio(of(way, 0.5), of(base, 0.5)),
        p50_ns: of(way, 0.5),
        p99_ns: of(way, 0.99),
        p999_ns: of(way, 0.999),
        round_trips: trips.get(way).copied().unwrap_or_default(),
        samples: times.get(way).map_or(0, Times::count),
    };
    Ok(vec![
        compare(0, "cold / one by one", 2),
        compare(0, "cold / traceCall", 4),
        compare(1, "cold, access list / one by one", 2),
        compare(3, "warm / traceCall", 4),
    ])
}

async fn reader(node: &Node, prefetch: Prefetch) -> Done<Reader> {
    let config = ReaderConfig {
        prefetch,
        max_inflight: 4,
        ..ReaderConfig::default()
    };
    Ok(Reader::new(node.clone(), config).await?)
}

/// Reads and executes; gives the round trips that it took.
async fn judged(reader: &Reader, name: &'static str, tx: &Transaction) -> Done<u32> {
    let recording = reader.prestate(reader.head().hash(), tx, soon()).await?;
    match recording.outcome.execution {
        Some(execution) if execution.status == Status::Success => Ok(recording.round_trips),
        Some(execution) => Err(format!("{name} was judged {}; its time would mean nothing", execution.status).into()),
        None => Err(unset(name).into()),
    }
}

impl Setting {
    /// Two tokens, a market between them with liquidity, a router that may take the sender's tokens.
    async fn new(node: &Node, sender: Address) -> Done<Self> {
        let create = async |input: Bytes| {
            let receipt = send(node, json!({"from": sender, "input": input})).await?;
            let address = receipt.get("contractAddress").cloned().unwrap_or_default();
            Done::Ok(serde_json::from_value::<Address>(address).map_err(|_| unset("contractAddress"))?)
        };
        let call = async |to: Address, input: Vec<u8>| {
            send(node, json!({"from": sender, "to": to, "input": Bytes::from(input)}))
                .await
                .map(drop)
        };
        let supply = U256::from(10).pow(U256::from(30));
        let token = |name: &str| {
            let (name_, symbol_) = (name.to_owned(), name.to_owned());
            let arguments = Token::constructorCall {
                name_,
                symbol_,
                supply,
                holder: sender,
            };
            Contract::Token.creation(&arguments)
        };
        let (a, b) = (create(token("A")).await?, create(token("B")).await?);
        let arguments = Pair::constructorCall {
            token0_: a,
            token1_: b,
            feeBps_: 30,
        };
        let pair = create(Contract::Pair.creation(&arguments)).await?;
        let router = create(Contract::Router.bytecode().clone()).await?;
        for token in [a, b] {
            for spender in [pair, router] {
                call(
                    token,
                    Token::approveCall {
                        spender,
                        value: U256::MAX,
                    }
                    .abi_encode(),
                )
                .await?;
            }
        }
        let amount = U256::from(10).pow(U256::from(24));
        call(
            pair,
            Pair::addLiquidityCall {
                amount0: amount,
                amount1: amount,
            }
            .abi_encode(),
        )
        .await?;
        let nonce: U256 = node
            .call(Call::new("eth_getTransactionCount", json!([sender, "latest"])), soon())
            .await?;
        let swap = Router::swapCall {
            path: vec![pair],
            tokenIn: a,
            amountIn: U256::from(1_000_000),
            minOut: U256::ZERO,
            deadline: U256::MAX,
        };
        let transfer = Token::transferCall {
            to: pair,
            value: U256::from(5),
        };
        let mut setting = Self {
            sender,
            transactions: Vec::new(),
        };
        setting.add("ERC-20 transfer", nonce.to(), a, transfer.abi_encode())?;
        setting.add("1-hop swap", nonce.to(), router, swap.abi_encode())?;
        Ok(setting)
    }

    fn add(&mut self, name: &'static str, nonce: u64, to: Address, input: Vec<u8>) -> Done<()> {
        let input = Bytes::from(input);
        let call = json!([{"from": self.sender, "to": to, "input": input}, "latest", {"tracer": "prestateTracer"}]);
        let tx = TxEip1559 {
            chain_id: 31_337,
            nonce,
            gas_limit: 500_000,
            max_fee_per_gas: 50_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            to: TxKind::Call(to),
            input,
            ..TxEip1559::default()
        };
        // Whoever gave us the transaction has vouched for its sender.
        let signature = Signature::new(U256::from(1), U256::from(1), false);
        let raw = TxEnvelope::from(tx.into_signed(signature)).encoded_2718();
        self.transactions
            .push((name, Transaction::with_sender(&raw, self.sender)?, call));
        Ok(())
    }
}

/// Sends a transaction, makes a block of it and gives its receipt.
async fn send(node: &Node, request: Value) -> Done<Value> {
    let hash: Value = node
        .call(Call::new("eth_sendTransaction", json!([request])), soon())
        .await?;
    let _: Value = node.call(Call::new("anvil_mine", json!(["0x1"])), soon()).await?;
    let receipt: Value = node
        .call(Call::new("eth_getTransactionReceipt", json!([hash])), soon())
        .await?;
    if receipt.get("status").and_then(Value::as_str) == Some("0x1") {
        Ok(receipt)
    } else {
        Err(unset("a transaction").into())
    }
}
