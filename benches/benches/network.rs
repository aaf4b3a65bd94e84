//! `cargo bench -p benches --bench network`: a challenge's round trip on loopback, through a real validator's client and a
//! real miner, beside an empty tonic call to the same server.
//!
//! Criterion shows both functions of each group; `target/bench/network.json` holds the interleaved comparison.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::Duration;

use benches::contest::Contest;
use benches::loopback::{Caller, Loopback, empty_call};
use benches::measure::{self, Done};
use criterion::Criterion;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    measure::ended("network", run())
}

fn run() -> Done<()> {
    let contest = Contest::new()?;
    let runtime = Runtime::new()?;
    let mut loopback = runtime.block_on(Loopback::start())?;
    let measured = compare_all(&contest, &runtime, &mut loopback);
    let stopped = runtime.block_on(loopback.stop());
    measured?;
    Ok(stopped?)
}

fn compare_all(contest: &Contest, runtime: &Runtime, loopback: &mut Loopback) -> Done<()> {
    let mut criterion = Criterion::default().configure_from_args();
    for contender in &contest.contenders {
        let caller = runtime.block_on(loopback.caller(contest, contender))?;
        let mut health = runtime.block_on(loopback.health())?;
        let mut group = criterion.benchmark_group(format!("challenge: {}", contender.name));
        // A miner remembers the nonces of a validator for a minute: fewer samples stay within that.
        group
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(3))
            .sample_size(50);
        group.bench_function("empty call", |bencher| {
            bencher.iter(|| runtime.block_on(empty_call(&mut health)))
        });
        let mut failed = 0;
        group.bench_function("challenge", |bencher| {
            bencher.iter(|| ask(runtime, &caller, &mut failed))
        });
        group.finish();
        measure::all_succeeded(contender.name, failed)?;
    }
    criterion.final_summary();
    if measure::is_dry_run() {
        return Ok(());
    }
    let mut cases = Vec::new();
    for contender in &contest.contenders {
        let caller = runtime.block_on(loopback.caller(contest, contender))?;
        let mut health = runtime.block_on(loopback.health())?;
        let (mut failed, mut empty_failed) = (0, 0);
        cases.push(measure::compare(
            &format!("challenge: {}", contender.name),
            Duration::from_secs(5),
            || empty_failed += usize::from(!runtime.block_on(empty_call(&mut health))),
            || ask(runtime, &caller, &mut failed),
        )?);
        measure::all_succeeded(contender.name, failed + empty_failed)?;
    }
    print!("{}", measure::table(&cases));
    println!("{}", measure::write("network", &cases)?.display());
    Ok(())
}

fn ask(runtime: &Runtime, caller: &Caller, failed: &mut usize) {
    if let Err(missed) = runtime.block_on(caller.round_trip()) {
        if *failed == 0 {
            eprintln!("{missed}");
        }
        *failed += 1;
    }
}
