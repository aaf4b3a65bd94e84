//! `engine backtest`: every transaction of a recording, in order, against a set of invariants.
//!
//! A case is the unit of work: a thread reads them one after the other, as many threads as asked for judge them, and what they
//! found is put together in the order of the blocks, so that the report is the same however many threads there were.

mod page;
mod picture;
mod report;
mod table;
mod tally;
mod worker;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use engine::case::{Case, CaseFile};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    report::Report,
    tally::{CaseTally, Tally},
    worker::{Latency, Worker},
};
use super::{
    cli::BacktestArgs,
    exit::{Answer, Failure, say},
    invariants::{Invariants, is_of_the_case},
};

pub(crate) fn run(args: &BacktestArgs) -> Result<Answer, Failure> {
    if is_of_the_case(&args.invariants) {
        let why = "backtest takes one set for all cases; `case` is for `engine check`: give a file to --invariants";
        return Err(Failure::Input(why.to_owned()));
    }
    let invariants = Invariants::read(&args.invariants)?;
    // Said now and not after an hour of work.
    for path in [&args.json, &args.html].into_iter().flatten() {
        writable(path)?;
    }
    let files = CaseFile::open(&args.blocks)?;
    let threads = args.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let started = Instant::now();
    let (tally, latency) = all(files, &invariants, threads)?;
    let report = Report::new(
        &args.blocks,
        &invariants,
        &tally,
        &latency,
        (threads, started.elapsed()),
    );
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| Failure::Machine(error.to_string()))?;
        write(path, &(json + "\n"))?;
    }
    if let Some(path) = &args.html {
        write(path, &page::render(&report, &latency)?)?;
    }
    say(&table::render(&report))?;
    Ok(report.answer())
}

/// By number of the block, then by place in the recording.
type Cases = BTreeMap<(u64, u64), CaseTally>;

/// Judges all cases; what was found, in the order of the blocks.
fn all(files: CaseFile, invariants: &Invariants, threads: usize) -> Result<(Tally, Latency), Failure> {
    let progress = Progress::new(files.files().count());
    let stop = AtomicBool::new(false);
    // Reading waits while as many cases lie ready as there are threads.
    let (give, take) = mpsc::sync_channel::<(u64, Case)>(threads);
    let take = Mutex::new(take);
    std::thread::scope(|scope| {
        let work = || -> Result<(Cases, Latency), Failure> {
            let mut worker = Worker::new(invariants, &progress, &stop)?;
            let mut found = Cases::new();
            loop {
                let next = take.lock().map_err(|_| lost())?.recv();
                let Ok((place, case)) = next else { break };
                let number = case.block.number;
                match worker.case(case) {
                    Ok(tally) => found.insert((number, place), tally),
                    Err(failure) => {
                        stop.store(true, Ordering::Relaxed);
                        return Err(failure);
                    }
                };
                progress.case_done();
            }
            Ok((found, worker.into_latency()))
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let read = feed(files, invariants, &give, &progress, &stop);
        if read.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        drop(give);
        let mut found = Cases::new();
        let mut latency = Latency::new()?;
        let mut failed = None;
        for worker in workers {
            match worker.join().map_err(|_| lost()).flatten() {
                Ok((cases, of_worker)) => {
                    found.extend(cases);
                    latency.add(&of_worker)?;
                }
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        progress.finish();
        // What the workers met first is why reading ended.
        if let Some(failure) = failed {
            return Err(failure);
        }
        read?;
        let mut tally = Tally::default();
        for case in found.into_values() {
            tally.add(case);
        }
        Ok((tally, latency))
    })
}

fn feed(
    files: CaseFile,
    invariants: &Invariants,
    give: &mpsc::SyncSender<(u64, Case)>,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    for (place, case) in (0_u64..).zip(files) {
        let case = case?;
        invariants.check_chain(&case.id, case.chain_id)?;
        progress.read(case.transactions.len() as u64);
        if stop.load(Ordering::Relaxed) || give.send((place, case)).is_err() {
            break;
        }
    }
    Ok(())
}

fn lost() -> Failure {
    Failure::Machine("a judging thread broke down; nothing was reported".to_owned())
}

fn writable(path: &Path) -> Result<(), Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(Failure::Input(format!(
            "{}: cannot be written: check that its folder exists",
            path.display()
        )));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::Input(format!(
            "{}: cannot be written: {error}; check path and permissions",
            path.display()
        ))
    })
}

/// What a person sees while it runs; nothing when standard error is no terminal.
struct Progress {
    bar: ProgressBar,
    files: u64,
    cases_read: AtomicU64,
    transactions_read: AtomicU64,
    cases: AtomicU64,
}

impl Progress {
    fn new(files: usize) -> Self {
        let bar = ProgressBar::new(1);
        if let Ok(style) =
            ProgressStyle::with_template("{bar:30} {pos}/{len} transactions, {per_sec}, {msg} [{elapsed}]")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        Self {
            bar,
            files: files as u64,
            cases_read: AtomicU64::new(0),
            transactions_read: AtomicU64::new(0),
            cases: AtomicU64::new(0),
        }
    }

    /// The length is a guess until all is read: files not yet read are taken to be like those before them.
    fn read(&self, transactions: u64) {
        let cases = self.cases_read.fetch_add(1, Ordering::Relaxed) + 1;
        let read = self.transactions_read.fetch_add(transactions, Ordering::Relaxed) + transactions;
        let ahead = self.files.saturating_sub(cases).saturating_mul(read) / cases;
        self.bar.set_length(read.saturating_add(ahead));
    }

    fn judged(&self, transactions: u64) {
        self.bar.inc(transactions);
    }

    fn case_done(&self) {
        let cases = self.cases.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.set_message(format!("{cases} cases"));
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
