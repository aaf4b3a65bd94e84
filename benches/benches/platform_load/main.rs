//! `cargo bench -p benches --bench platform_load`: a steady rate of pending transactions through a platform to validators on sockets,
//! beside a bare stream of the same items; and a registry of very many invariants beside one of few.
//!
//! `LOAD_SECONDS` (20), `LOAD_RATE` (2000 a second), `LOAD_VALIDATORS` (10): `LOAD_SECONDS=300` is the long run. The platform is the
//! whole of it but its feed's source: pump, assignment to two validators each, log, signed streams over sockets; once on a SQLite file,
//! once on PostgreSQL with NATS JetStream where they are installed (`LOAD_SERVERS=0`: not). A delay counts from when a transaction was
//! due, so a platform that is held up shows it. It is a failure when a transaction does not come to exactly two validators.
//!
//! `LOAD_INVARIANTS` (100000) beside a hundredth of them: start-up, list, page, a validator's stream from its opening to the set, a
//! change until the validator has the new set, and the delays of a flow under so many. `target/bench/platform_load.json`.
#![allow(missing_docs)]

mod flow;
mod many;

use std::process::ExitCode;

use benches::load::{Load, Outcome};
use benches::measure::{self, Done};
use serde::Serialize;

use crate::flow::{on_servers, on_sqlite, through_nothing};
use crate::many::{Registry, registry};

const REPLICAS: usize = 2;
/// A hundredth of the invariants is the baseline.
const FEWER: u64 = 100;
/// How long a platform's flow runs under many invariants, seconds.
const REGISTRY_SECONDS: u64 = 5;

fn main() -> ExitCode {
    measure::ended("platform_load", run())
}

/// One of both, as it stands in the file.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Case {
    Flow(Flow),
    Registry(Registry),
}

/// A steady rate through the platform.
#[derive(Debug, Serialize)]
struct Flow {
    name: &'static str,
    seconds: u64,
    rate: u64,
    validators: u8,
    replicas: usize,
    #[serde(flatten)]
    outcome: Outcome,
    database_mib: Option<u64>,
    baseline: &'static str,
    baseline_p50_us: u64,
    baseline_p99_us: u64,
    /// p99 by p99.
    ratio: f64,
}

fn run() -> Done<()> {
    if measure::is_dry_run() {
        return Ok(());
    }
    let seconds = measure::setting("LOAD_SECONDS", 20)?.max(1);
    let rate = measure::setting("LOAD_RATE", 2_000)?.max(1);
    let load = Load {
        transactions: seconds * rate,
        rate,
        validators: u8::try_from(measure::setting("LOAD_VALIDATORS", 10)?.clamp(2, 100)).unwrap_or(10),
        replicas: REPLICAS,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let mut cases = Vec::new();
    let bare = runtime.block_on(through_nothing(load))?;
    let mut flow = |name, (outcome, bytes): (Outcome, Option<u64>)| {
        let ratio = measure::ratio(outcome.p99_us, bare.p99_us);
        cases.push(Case::Flow(Flow {
            name,
            seconds,
            rate,
            validators: load.validators,
            replicas: REPLICAS,
            database_mib: bytes.map(|bytes| bytes >> 20),
            baseline: "the same items over bare streams, without a log",
            baseline_p50_us: bare.p50_us,
            baseline_p99_us: bare.p99_us,
            ratio,
            outcome,
        }));
    };
    flow("sqlite", runtime.block_on(on_sqlite(load))?);
    if measure::setting("LOAD_SERVERS", 1)? != 0
        && let (Some(postgres), Some(nats)) = (testkit::postgres(), testkit::nats())
    {
        flow(
            "postgresql with nats",
            runtime.block_on(on_servers(load, &postgres.url(), &nats.url()))?,
        );
    }
    let many = measure::setting("LOAD_INVARIANTS", 100_000)?.max(FEWER);
    let short = Load {
        transactions: REGISTRY_SECONDS * rate,
        ..load
    };
    let baseline = runtime.block_on(registry(many / FEWER, short))?;
    let times = runtime.block_on(registry(many, short))?;
    cases.push(Case::Registry(Registry {
        name: "registry",
        invariants: many,
        baseline_invariants: many / FEWER,
        times,
        baseline,
    }));
    println!("{}", measure::write("platform_load", &cases)?.display());
    for case in &cases {
        if let Case::Flow(Flow { name, outcome, .. }) = case
            && outcome.wrong > 0
        {
            let (wrong, all) = (outcome.wrong, load.transactions);
            let lost = format!("{name}: {wrong} of {all} transactions did not come to exactly {REPLICAS} validators");
            return Err(lost.into());
        }
    }
    Ok(())
}
