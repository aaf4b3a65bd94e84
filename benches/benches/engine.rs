//! `cargo bench -p benches --bench engine`: raw revm beside the engine, in one run, on the same warm state.
//!
//! Criterion shows both functions of each group in wall time; `target/bench/engine.json` holds the interleaved comparison in CPU
//! time of the thread, which other processes on the machine do not count in. Cases:
//! - each transaction: raw revm (with its finalized state) and the engine judging one relevant invariant;
//! - `..., 100,000 invariants`: the engine with one invariant (baseline) and with a hundred thousand, one of them relevant;
//! - `view`: one static call on the warm journal, as the difference that 64 of them make.
#![allow(missing_docs)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use benches::contest::{Contender, Contest, ContestError};
use benches::measure::{self, Case, MeasureError};
use cpu_time::ThreadTime;
use criterion::Criterion;
use engine::{Engine, EngineError, Outcome, WatchError, WatchSet};
use revm::ExecuteEvm as _;
use revm::context_interface::ContextSetters as _;

/// Views in the batch that one view is measured by.
const VIEWS: u8 = 64;
/// Invariants in a crowd.
const CROWD: u64 = 100_000;
/// How long each comparison is run.
const BUDGET: Duration = Duration::from_secs(3);

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
    #[error(transparent)]
    Watch(#[from] WatchError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("{0}: no sample was taken")]
    Nothing(&'static str),
}

fn run() -> Result<(), BenchError> {
    let contest = Contest::new()?;
    let mut criterion = Criterion::default().configure_from_args();
    groups(&mut criterion, &contest)?;
    criterion.final_summary();
    if measure::is_dry_run() {
        return Ok(());
    }
    let mut cases = Vec::new();
    for contender in &contest.contenders {
        let set = contest.crowd(contender, 0)?;
        let mut raw = contest.raw();
        // Set once and replayed: the baseline pays for no copy of the transaction.
        raw.ctx.set_tx(contender.fields.clone());
        let mut ours = judging(&contest, contender, &set);
        let [baseline_ns, ours_ns] = interleaved([&mut || drop(black_box(raw.replay())), &mut ours])?;
        cases.push(case(contender.name, baseline_ns, ours_ns));
    }
    for contender in &contest.contenders {
        let (one, crowd) = (contest.crowd(contender, 0)?, contest.crowd(contender, CROWD - 1)?);
        let (mut alone, mut crowded) = (judging(&contest, contender, &one), judging(&contest, contender, &crowd));
        let [baseline_ns, ours_ns] = interleaved([&mut alone, &mut crowded])?;
        cases.push(case(
            &format!("{}, 100,000 invariants", contender.name),
            baseline_ns,
            ours_ns,
        ));
    }
    cases.push(view(&contest)?);
    print!("{}", measure::table(&cases));
    println!("{}", measure::write("engine", &cases)?.display());
    Ok(())
}

/// The engine's side of a comparison: buffers used again, verdicts only.
fn judging<'a>(contest: &'a Contest, contender: &'a Contender, set: &'a WatchSet) -> impl FnMut() + 'a {
    let (mut engine, mut outcome) = (contest.engine(), Outcome::default());
    move || {
        let (tx, options) = (&contender.transaction, contest.options());
        let judged = engine.judge_watched_into(&contest.env, tx, &contest.state, set, &options, &mut outcome);
        drop(black_box(judged));
        black_box(&outcome);
    }
}

/// A view after the ERC-20 transfer.
fn view(contest: &Contest) -> Result<Case, BenchError> {
    let name = "view";
    let contender = contest.contenders.get(1).ok_or(BenchError::Nothing(name))?;
    let (none, many) = (WatchSet::new(Vec::new())?, contest.views(VIEWS)?);
    let (mut alone, mut viewing) = (judging(contest, contender, &none), judging(contest, contender, &many));
    let (mut raw, mut raw_viewing) = (contest.raw(), contest.raw());
    raw.ctx.set_tx(contender.fields.clone());
    let mut raw_view = || {
        // The journal stays as warm as the transaction leaves it.
        drop(black_box(raw_viewing.transact_one(contender.fields.clone())));
        for _ in 0..VIEWS {
            black_box(contest.raw_view(&mut raw_viewing));
        }
        black_box(raw_viewing.finalize());
    };
    let mut raw_alone = || {
        drop(black_box(raw.transact_one(contender.fields.clone())));
        black_box(raw.finalize());
    };
    let [raw_alone, raw_view, alone, viewing] = interleaved([&mut raw_alone, &mut raw_view, &mut alone, &mut viewing])?;
    let each = |with: &Samples, without: &Samples| {
        let less = |ns: f64, other: f64| (ns - other) / f64::from(VIEWS);
        Samples {
            median: less(with.median, without.median),
            p50: less(with.p50, without.median),
            p99: less(with.p99, without.median),
        }
    };
    Ok(case(name, each(&raw_view, &raw_alone), each(&viewing, &alone)))
}

/// Nanoseconds of CPU time for one operation.
#[derive(Clone, Copy)]
struct Samples {
    /// Of the means of batches.
    median: f64,
    /// Of single operations, with the two looks at the clock in them.
    p50: f64,
    p99: f64,
}

fn case(name: &str, baseline: Samples, ours: Samples) -> Case {
    let rounded = |value: f64, parts: f64| (value * parts).round() / parts;
    Case {
        name: name.to_owned(),
        baseline_ns: rounded(baseline.median, 10.0),
        ours_ns: rounded(ours.median, 10.0),
        ratio: rounded(ours.median / baseline.median, 1000.0),
        p50_ns: ours.p50 as u64,
        p99_ns: ours.p99 as u64,
    }
}

/// Runs the operations in turn, in batches, beginning with another one each round.
fn interleaved<const N: usize>(mut operations: [&mut dyn FnMut(); N]) -> Result<[Samples; N], BenchError> {
    let mut batch = 1_u32;
    for operation in &mut operations {
        while batch < 4096 && timed(batch, *operation) * f64::from(batch) < 100_000.0 {
            batch *= 2;
        }
    }
    let mut means: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    let mut singles: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    let start = std::time::Instant::now();
    let mut round = 0;
    while round < 30 || start.elapsed() < BUDGET {
        for turn in 0..N {
            let at = (round + turn) % N;
            let (Some(operation), Some(means), Some(singles)) =
                (operations.get_mut(at), means.get_mut(at), singles.get_mut(at))
            else {
                continue;
            };
            means.push(timed(batch, *operation));
            singles.extend((0..8).map(|_| timed(1, *operation)));
        }
        round += 1;
    }
    let mut samples = [Samples {
        median: 0.0,
        p50: 0.0,
        p99: 0.0,
    }; N];
    for ((samples, means), singles) in samples.iter_mut().zip(&mut means).zip(&mut singles) {
        *samples = Samples {
            median: quantile(means, 0.5)?,
            p50: quantile(singles, 0.5)?,
            p99: quantile(singles, 0.99)?,
        };
    }
    Ok(samples)
}

fn timed(batch: u32, operation: &mut dyn FnMut()) -> f64 {
    let start = ThreadTime::now();
    for _ in 0..batch {
        operation();
    }
    start.elapsed().as_nanos() as f64 / f64::from(batch)
}

/// Sorts.
fn quantile(samples: &mut [f64], part: f64) -> Result<f64, BenchError> {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1) as f64;
    samples
        .get((last * part).round() as usize)
        .copied()
        .ok_or(BenchError::Nothing("interleaved"))
}

fn groups(criterion: &mut Criterion, contest: &Contest) -> Result<(), BenchError> {
    let mut raw = contest.raw();
    for contender in &contest.contenders {
        let set = contest.crowd(contender, 0)?;
        let mut ours = judging(contest, contender, &set);
        let mut group = criterion.benchmark_group(contender.name);
        group.bench_function("raw revm", |bencher| {
            bencher.iter(|| raw.transact(contender.fields.clone()))
        });
        group.bench_function("engine", |bencher| bencher.iter(&mut ours));
        group.bench_function("engine, the network's form", |bencher| {
            let mut engine: Engine = contest.engine();
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
    Ok(())
}
