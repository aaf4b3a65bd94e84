//! `cargo bench -p benches --bench engine`: raw revm beside the engine, in one run, on the same warm state.
//!
//! Criterion shows both functions of each group in wall time; `target/bench/engine.json` holds the interleaved comparison in CPU
//! time of the thread, which other processes on the machine do not count in. Cases:
//! - each transaction: raw revm (with its finalized state) and the engine judging one relevant invariant;
//! - `..., 100,000 invariants`: the engine with one invariant (baseline) and with a hundred thousand, one of them relevant;
//! - `view`: one static call on the warm journal, as the difference that 64 of them make;
//! - `two threads`: time per transaction with an engine on one thread (baseline) and on two, the same work and state. `threads`
//!   says beside it how much of two processors the machine gave.
#![allow(missing_docs)]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use benches::contest::{Contender, Contest, ContestError, RawEvm};
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
    let threads = scaling(&contest)?;
    cases.push(threads.case());
    print!("{}", measure::table(&cases));
    print!("{threads}");
    let row = |case: Case| Row {
        threads: (case.name == TWO_THREADS).then_some(threads),
        case,
    };
    let rows: Vec<Row> = cases.into_iter().map(row).collect();
    println!("{}", measure::write("engine", &rows)?.display());
    Ok(())
}

/// A case, and what only one of them has.
#[derive(serde::Serialize)]
struct Row {
    #[serde(flatten)]
    case: Case,
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<Scaling>,
}

/// The name of the comparison of thread counts.
const TWO_THREADS: &str = "two threads";

/// What a number of threads did together.
#[derive(Clone, Copy)]
struct Pace {
    /// Transactions a second, by the clock on the wall.
    wall: f64,
    /// Transactions a second of processor time, added up over the threads: what they would have done had each had a processor
    /// of its own all the time.
    processor: f64,
    /// Processor time by time on the wall.
    processors: f64,
}

/// One thread beside two, medians over the rounds.
#[derive(Clone, Copy, serde::Serialize)]
struct Scaling {
    /// Transactions a second with one thread, on the wall.
    one_wall: f64,
    /// With two.
    two_wall: f64,
    /// How many times as many, on the wall: what counts where two processors were free.
    gain_wall: f64,
    /// How many times as many per processor time: what the engine's threads take from each other, other load left out.
    gain_processor: f64,
    /// Processors that one thread had.
    one_processors: f64,
    /// Processors that two threads had: at 2 the machine had two free ones, below it had not.
    two_processors: f64,
    /// Nanoseconds per transaction with two threads: half of the rounds took at most this, by processor time.
    #[serde(skip)]
    p50_ns: u64,
    #[serde(skip)]
    p99_ns: u64,
    #[serde(skip)]
    one_ns: f64,
    #[serde(skip)]
    two_ns: f64,
}

impl Scaling {
    fn case(&self) -> Case {
        Case {
            name: TWO_THREADS.to_owned(),
            baseline_ns: (self.one_ns * 10.0).round() / 10.0,
            ours_ns: (self.two_ns * 10.0).round() / 10.0,
            ratio: (self.two_ns / self.one_ns * 1000.0).round() / 1000.0,
            p50_ns: self.p50_ns,
            p99_ns: self.p99_ns,
        }
    }
}

impl std::fmt::Display for Scaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "two threads: {:.2} times one by processor time; on the wall {:.0} tx/s instead of {:.0}, {:.2} times, where they had \
             {:.2} processors instead of {:.2}",
            self.gain_processor, self.two_wall, self.one_wall, self.gain_wall, self.two_processors, self.one_processors
        )
    }
}

/// All four transactions in turn, each judged with its invariant, by engines that share the state and the sets.
fn scaling(contest: &Contest) -> Result<Scaling, BenchError> {
    let mut jobs = Vec::new();
    for contender in &contest.contenders {
        jobs.push((contender, contest.crowd(contender, 0)?));
    }
    let rounds = 15;
    let mut paces: [Vec<Pace>; 2] = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2_usize {
            let which = (round + turn) % 2;
            if let Some(paces) = paces.get_mut(which) {
                paces.push(race(contest, &jobs, which + 1));
            }
        }
    }
    let [one, two] = &paces;
    let at = |paces: &[Pace], part: f64, what: fn(&Pace) -> f64| {
        quantile(&mut paces.iter().map(what).collect::<Vec<_>>(), part)
    };
    let (one_wall, two_wall) = (at(one, 0.5, |pace| pace.wall)?, at(two, 0.5, |pace| pace.wall)?);
    let (one_processor, two_processor) = (
        at(one, 0.5, |pace| pace.processor)?,
        at(two, 0.5, |pace| pace.processor)?,
    );
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    Ok(Scaling {
        one_wall: one_wall.round(),
        two_wall: two_wall.round(),
        gain_wall: rounded(two_wall / one_wall),
        gain_processor: rounded(two_processor / one_processor),
        one_processors: rounded(at(one, 0.5, |pace| pace.processors)?),
        two_processors: rounded(at(two, 0.5, |pace| pace.processors)?),
        p50_ns: at(two, 0.5, |pace| 1e9 / pace.processor)? as u64,
        p99_ns: at(two, 0.99, |pace| 1e9 / pace.processor)? as u64,
        one_ns: 1e9 / one_processor,
        two_ns: 1e9 / two_processor,
    })
}

/// Runs so many threads for a while, all beginning together.
fn race(contest: &Contest, jobs: &[(&Contender, WatchSet)], threads: usize) -> Pace {
    let start = std::sync::Barrier::new(threads);
    let thread = || {
        let (mut engine, mut outcome, options) = (contest.engine(), Outcome::default(), contest.options());
        // Its own transactions, as in life: nothing is shared but state and sets.
        let own: Vec<_> = jobs
            .iter()
            .map(|(contender, set)| (contender.transaction.clone(), set))
            .collect();
        let mut all = || {
            for (tx, set) in &own {
                let judged = engine.judge_watched_into(&contest.env, tx, &contest.state, set, &options, &mut outcome);
                drop(black_box(judged));
                black_box(&outcome);
            }
        };
        (0..200).for_each(|_| all());
        start.wait();
        let (wall, processor) = (std::time::Instant::now(), ThreadTime::now());
        let mut count = 0_u32;
        while wall.elapsed() < Duration::from_millis(150) {
            (0..8).for_each(|_| all());
            count += 8;
        }
        let done = f64::from(count) * own.len() as f64;
        (done, processor.elapsed().as_secs_f64(), wall.elapsed().as_secs_f64())
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let sum = |what: fn(&(f64, f64, f64)) -> f64| ended.iter().map(what).sum::<f64>();
    Pace {
        wall: sum(|(done, _, wall)| done / wall),
        processor: sum(|(done, processor, _)| done / processor),
        processors: sum(|(_, processor, wall)| processor / wall),
    }
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
    let mut raw_view = || raw_with_views(contest, contender, &mut raw_viewing);
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
    let Some(contender) = contest.contenders.get(1) else {
        return Ok(());
    };
    let many = contest.views(VIEWS)?;
    let mut raw_viewing = contest.raw();
    let mut group = criterion.benchmark_group(format!("ERC-20 transfer and {VIEWS} views"));
    group.bench_function("raw revm", |bencher| {
        bencher.iter(|| raw_with_views(contest, contender, &mut raw_viewing));
    });
    let mut ours = judging(contest, contender, &many);
    group.bench_function("engine", |bencher| bencher.iter(&mut ours));
    group.finish();
    Ok(())
}

/// The transaction and the views in raw revm; the journal stays as warm as the transaction leaves it.
fn raw_with_views(contest: &Contest, contender: &Contender, raw: &mut RawEvm<'_>) {
    drop(black_box(raw.transact_one(contender.fields.clone())));
    for _ in 0..VIEWS {
        black_box(contest.raw_view(raw));
    }
    black_box(raw.finalize());
}
