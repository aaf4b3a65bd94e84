//! `cargo bench -p benches --bench feed`: the platform's live feed under a flood of pending transactions, in percentiles, beside a bare
//! subscription that does nothing but read.
//!
//! `FEED_SECONDS` (20) and `FEED_RATE` (1000 a second) say how long and how many: `FEED_SECONDS=600` is the soak. The node is a process of
//! its own ([`testkit::crowd`]: no development node manages such a rate); this process is the platform without its front: feed, state
//! reader, log on disk, and a reader of the log in the place of a validator. Its resident size is sampled every second.
//!
//! At the end the log is read from its beginning: every transaction that the node showed must be in it, and nothing else. It is a failure
//! when one is lost, or, over five minutes or more, when the resident size has not levelled off. `target/bench/feed.json`.
#![allow(missing_docs)]

mod process;
mod read;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::measure::{self, Done, ratio};
use platform::feed::Feed;
use platform::feed::live::status::LiveStatus;
use platform::feed::live::{LiveFeed, LiveOptions};
use platform::feed::pump::{Distribution, pump};
use platform::store::Store;
use platform::validators::Validators;
use protos::v1::FeedStatus;
use serde::Serialize;
use testkit::crowd::chain::CHAIN_ID;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::process::{AS_NODE, NodeProcess, Told, be_the_node};
use crate::read::{Delays, audit, read_log, subscribe};

/// Accounts and slots that the state reader keeps: few enough that a minute of strangers fills it.
const MAX_SLOTS: usize = 50_000;
/// The one validator that everything is assigned to.
const VALIDATOR: [u8; 32] = [1; 32];
/// How long everything may take to come to rest when no more is shown.
const REST: Duration = Duration::from_secs(120);
/// The resident size has levelled off when the last quarter's median is at most this much of the second quarter's.
const LEVEL: f64 = 1.10;
/// Runs of at least this long are judged by it.
const JUDGED_FROM: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let done = if std::env::args().any(|argument| argument == AS_NODE) {
        be_the_node()
    } else if measure::is_dry_run() {
        Ok(())
    } else {
        run()
    };
    measure::ended("feed", done)
}

/// What came out, as it stands in the file.
#[derive(Debug, Default, Serialize)]
struct Case {
    name: String,
    seconds: u64,
    rate: u64,
    /// Shown by the node; distinct ones in the log; the difference, and whether the sets are the same.
    shown: u64,
    logged: u64,
    lost: i64,
    same_set: bool,
    /// By the node, and as the log tells it.
    replaced: [u64; 2],
    included: [u64; 2],
    heads: [u64; 2],
    items: u64,
    with_state: u64,
    without_state: u64,
    carried_over: u64,
    rejudged: u64,
    gaps: u64,
    missed_heads: u64,
    cut_off: u64,
    bare_seen: u64,
    /// From showing to reading: out of the log (with its state, durable), and by the bare subscription. Microseconds.
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    baseline: &'static str,
    baseline_p50_us: u64,
    baseline_p99_us: u64,
    ratio: f64,
    /// The platform's resident size, MiB: the greatest of each minute, the medians of the second and the last quarter, their ratio.
    rss_mib_by_minute: Vec<u64>,
    rss_mib_second_quarter: u64,
    rss_mib_last_quarter: u64,
    rss_ratio: f64,
    node_rss_mib: u64,
    database_mib: u64,
}

fn run() -> Done<()> {
    let seconds = measure::setting("FEED_SECONDS", 20)?.max(1);
    let rate = measure::setting("FEED_RATE", 1_000)?.max(1);
    let runtime = tokio::runtime::Runtime::new()?;
    let case = runtime.block_on(flood(seconds, rate))?;
    println!("{}", serde_json::to_string_pretty(&case)?);
    println!("{}", measure::write("feed", &[&case])?.display());
    if case.lost != 0 || !case.same_set {
        let Case { lost, shown, .. } = case;
        return Err(format!("{lost} of {shown} transactions are not in the log, or others are").into());
    }
    if Duration::from_secs(seconds) >= JUDGED_FROM && case.rss_ratio > LEVEL {
        return Err(format!("resident size still grows: {:.2} of what it was before", case.rss_ratio).into());
    }
    Ok(())
}

async fn flood(seconds: u64, rate: u64) -> Done<Case> {
    let mut node = NodeProcess::start()?;
    let ws = node.ask("")?.ws;
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("platform.db");
    let store = Arc::new(Store::open(&database).await?);
    store.remember(&[VALIDATOR]).await?;
    let validators = Validators::new([]);
    validators.update([VALIDATOR].into());
    let options = LiveOptions {
        chain_id: Some(CHAIN_ID),
        block_time: Duration::from_secs(1),
        max_slots: MAX_SLOTS,
        ..LiveOptions::default()
    };
    let (_watching, watched) = watch::channel(Arc::default());
    let feed = LiveFeed::new(vec![ws.parse()?], options, store.clone(), watched);
    let status = feed.status();
    let shutdown = CancellationToken::new();
    let distribution = Distribution {
        replicas: 1,
        min_validators: 0,
    };
    let pumped = tokio::spawn(pump(
        Box::new(feed) as Box<dyn Feed>,
        store.clone(),
        validators,
        distribution,
        shutdown.clone(),
    ));
    let (logged, bare) = (Delays::new()?, Delays::new()?);
    let reader = tokio::spawn(read_log(store.clone(), logged.clone(), shutdown.clone()));
    let subscriber = tokio::spawn(subscribe(ws, bare.clone(), shutdown.clone()));
    until(&mut node, |told, _| told.subscribers >= 2, &status).await?;

    node.ask(&rate.to_string())?;
    let begun = Instant::now();
    let mut sizes = Vec::new();
    while begun.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sizes.push(resident_kib()?);
        if sizes.len().is_multiple_of(30) {
            let (told, feed) = (node.ask("")?, status.snapshot());
            eprintln!(
                "{:>4} s: {} shown, {} wait, head {} of {}; {} carried over, {} judged anew, {} without state; {} MiB",
                sizes.len(),
                told.sums.shown,
                feed.pending,
                feed.head_number,
                told.sums.height,
                feed.carried_over,
                feed.rejudged,
                feed.without_prestate,
                sizes.last().copied().unwrap_or_default() / 1024,
            );
        }
    }
    node.ask("0")?;
    let at_rest = |told: &Told, feed: &FeedStatus| {
        told.sums.waiting == 0 && feed.pending == 0 && feed.included == told.sums.included
    };
    let told = until(&mut node, at_rest, &status).await?;
    let feed = status.snapshot();
    // The last items are on their way from the feed into the log.
    tokio::time::sleep(Duration::from_secs(1)).await;
    shutdown.cancel();
    pumped.await??;
    reader.await??;
    let bare_seen = subscriber.await??;

    let log = audit(&store).await?;
    let minutes = sizes
        .chunks(60)
        .map(|minute| minute.iter().max().copied().unwrap_or_default() / 1024);
    let quarter = |number: usize| {
        let mut part: Vec<u64> = sizes
            .chunks(sizes.len().div_ceil(4).max(1))
            .nth(number)
            .unwrap_or_default()
            .to_vec();
        part.sort_unstable();
        part.get(part.len() / 2).copied().unwrap_or_default()
    };
    let (logged, bare) = (logged.seen(), bare.seen());
    Ok(Case {
        name: format!("{rate} pending transactions a second for {seconds} s"),
        seconds,
        rate,
        shown: told.sums.shown,
        logged: log.distinct,
        lost: i64::try_from(told.sums.shown).unwrap_or(i64::MAX) - i64::try_from(log.distinct).unwrap_or(i64::MAX),
        same_set: log.all == told.sums.all,
        replaced: [told.sums.replaced, log.replaced],
        included: [told.sums.included, log.included],
        heads: [told.sums.height, log.newest_head],
        items: log.items,
        with_state: log.with_state,
        without_state: log.without_state,
        carried_over: feed.carried_over,
        rejudged: feed.rejudged,
        gaps: feed.gaps,
        missed_heads: feed.missed_heads,
        cut_off: told.cut_off,
        bare_seen,
        p50_us: logged.us(0.5),
        p99_us: logged.us(0.99),
        p999_us: logged.us(0.999),
        baseline: "a bare subscription that only reads",
        baseline_p50_us: bare.us(0.5),
        baseline_p99_us: bare.us(0.99),
        ratio: ratio(logged.us(0.5), bare.us(0.5)),
        rss_mib_by_minute: minutes.collect(),
        rss_mib_second_quarter: quarter(1) / 1024,
        rss_mib_last_quarter: quarter(3) / 1024,
        rss_ratio: ratio(quarter(3), quarter(1)),
        node_rss_mib: told.rss_kib / 1024,
        database_mib: size_of(folder.path())? >> 20,
    })
}

/// Bytes of the files in a folder: database and write-ahead log.
fn size_of(folder: &Path) -> Done<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(folder)? {
        size += entry?.metadata()?.len();
    }
    Ok(size)
}

/// Waits until node and feed say so.
async fn until(node: &mut NodeProcess, says: impl Fn(&Told, &FeedStatus) -> bool, status: &LiveStatus) -> Done<Told> {
    let begun = Instant::now();
    loop {
        let (told, feed) = (node.ask("")?, status.snapshot());
        if says(&told, &feed) {
            return Ok(told);
        }
        if begun.elapsed() > REST {
            let node = told.sums;
            return Err(format!("the log has not caught up within {REST:?}: node {node:?}, feed {feed:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The resident size of this process.
fn resident_kib() -> Done<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(number.unwrap_or_default())
}
