//! `cargo bench -p benches --bench keeper`: 10,000 resolver jobs on one head of an anvil: from the head to the sent transaction, beside
//! asking each resolver by `eth_call` on the same anvil; and a confirmed incident's pause, by a validator's own call and by a keeper.
//!
//! `target/bench/keeper.json`. `KEEPER_JOBS` and `KEEPER_ROUNDS` change the size. Skipped, saying so, where anvil is not installed.
#![allow(missing_docs)]

mod heads;
mod pauses;
mod setting;

use std::process::ExitCode;
use std::time::Duration;

use benches::measure::{self, Done};
use serde::Serialize;
use testkit::Devnet;

use self::setting::Setting;

fn main() -> ExitCode {
    if measure::is_dry_run() {
        return ExitCode::SUCCESS;
    }
    measure::ended("keeper", run())
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

impl Case {
    fn new(name: String, ours: &[Duration], baseline_name: String, baseline: &[Duration]) -> Done<Self> {
        let (ours, baseline) = (times(ours)?, times(baseline)?);
        Ok(Self {
            name,
            samples: ours.count(),
            p50_ns: ours.ns(0.5),
            p99_ns: ours.ns(0.99),
            most_ns: ours.ns(1.0),
            baseline: baseline_name,
            baseline_ns: baseline.ns(0.5),
            ratio: measure::ratio(ours.ns(0.5), baseline.ns(0.5)),
        })
    }
}

fn times(all: &[Duration]) -> Done<measure::Times> {
    let mut times = measure::Times::new()?;
    for time in all {
        times.record(*time);
    }
    Ok(times)
}

fn run() -> Done<()> {
    let Some(devnet) = Devnet::start(&[]) else {
        return Ok(());
    };
    let jobs = usize::try_from(measure::setting("KEEPER_JOBS", 10_000)?)?;
    let rounds = usize::try_from(measure::setting("KEEPER_ROUNDS", 200)?)?;
    let cases = tokio::runtime::Runtime::new()?.block_on(async {
        let setting = Setting::new(devnet).await?;
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
