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

mod samples;
mod scaling;

use std::hint::black_box;
use std::process::ExitCode;

use benches::contest::{Contender, Contest, RawEvm};
use benches::measure::{self, Case, Done, MeasureError};
use criterion::Criterion;
use engine::{Context, Engine, Outcome, WatchSet};
use revm::ExecuteEvm as _;
use revm::context_interface::ContextSetters as _;

use crate::samples::{Samples, interleaved};
use crate::scaling::{Scaling, TWO_THREADS, scaling};

/// Views in the batch that one view is measured by.
const VIEWS: u8 = 64;
/// Invariants in a crowd.
const CROWD: u64 = 100_000;

fn main() -> ExitCode {
    measure::ended("engine", run())
}

fn run() -> Done<()> {
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
        let [baseline, ours] = interleaved([&mut || drop(black_box(raw.replay())), &mut ours])?;
        cases.push(ours.beside(&baseline, contender.name));
    }
    for contender in &contest.contenders {
        let (one, crowd) = (contest.crowd(contender, 0)?, contest.crowd(contender, CROWD - 1)?);
        let (mut alone, mut crowded) = (judging(&contest, contender, &one), judging(&contest, contender, &crowd));
        let [alone, crowded] = interleaved([&mut alone, &mut crowded])?;
        cases.push(crowded.beside(&alone, &format!("{}, 100,000 invariants", contender.name)));
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

/// The engine's side of a comparison: buffers used again, verdicts only.
fn judging<'a>(contest: &'a Contest, contender: &'a Contender, set: &'a WatchSet) -> impl FnMut() + 'a {
    let (mut engine, mut outcome) = (contest.engine(), Outcome::default());
    move || {
        let (tx, options) = (&contender.transaction, contest.options());
        let judged = engine.judge_watched_into(
            tx,
            Context::new(&contest.env, &contest.state, set, &options),
            &mut outcome,
        );
        drop(black_box(judged));
        black_box(&outcome);
    }
}

/// A view after the ERC-20 transfer.
fn view(contest: &Contest) -> Done<Case> {
    let name = "view";
    let contender = contest
        .contenders
        .get(1)
        .ok_or_else(|| MeasureError::NoSample(name.to_owned()))?;
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
    Ok(each(&viewing, &alone).beside(&each(&raw_view, &raw_alone), name))
}

fn groups(criterion: &mut Criterion, contest: &Contest) -> Done<()> {
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
