//! `cargo bench -p benches --bench engine`: raw revm beside the engine, in one run, on the same warm state.
//!
//! Criterion shows both functions of each group; `target/bench/engine.json` holds the interleaved comparison.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::Duration;

use benches::contest::{Contest, ContestError};
use benches::measure::{self, MeasureError};
use criterion::Criterion;
use revm::ExecuteEvm as _;
use revm::context_interface::ContextSetters as _;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench engine: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Contest(#[from] ContestError),
    #[error(transparent)]
    Measure(#[from] MeasureError),
}

fn run() -> Result<(), BenchError> {
    let contest = Contest::new()?;
    let mut criterion = Criterion::default().configure_from_args();
    groups(&mut criterion, &contest);
    criterion.final_summary();
    if measure::is_dry_run() {
        return Ok(());
    }
    let (mut raw, mut engine) = (contest.raw(), contest.engine());
    let mut cases = Vec::new();
    for contender in &contest.contenders {
        // Set once and replayed: the baseline pays for no copy of the transaction.
        raw.ctx.set_tx(contender.fields.clone());
        cases.push(measure::compare(
            contender.name,
            Duration::from_secs(3),
            || raw.replay(),
            || {
                engine.judge(
                    &contest.env,
                    &contender.transaction,
                    &contest.state,
                    &contender.invariants,
                )
            },
        )?);
    }
    print!("{}", measure::table(&cases));
    println!("{}", measure::write("engine", &cases)?.display());
    Ok(())
}

fn groups(criterion: &mut Criterion, contest: &Contest) {
    let (mut raw, mut engine) = (contest.raw(), contest.engine());
    for contender in &contest.contenders {
        let mut group = criterion.benchmark_group(contender.name);
        group.bench_function("raw revm", |bencher| {
            bencher.iter(|| raw.transact(contender.fields.clone()))
        });
        group.bench_function("engine", |bencher| {
            bencher.iter(|| {
                engine.judge(
                    &contest.env,
                    &contender.transaction,
                    &contest.state,
                    &contender.invariants,
                )
            });
        });
        group.finish();
    }
}
