//! `cargo bench -p benches --bench feed`: the platform's live feed under a flood of pending transactions, in percentiles, beside a bare
//! subscription that does nothing but read.
//!
//! `FEED_SECONDS` (20) and `FEED_RATE` (1000 a second) say how long and how many: `FEED_SECONDS=600` is the soak. The node is a process of
//! its own ([`benches::crowd`]: no development node manages such a rate); this process is the platform without its front: feed, state
//! reader, log on disk, and a reader of the log in the place of a validator. Its resident size is sampled every second.
//!
//! At the end the log is read from its beginning: every transaction that the node showed must be in it, and nothing else. It is a failure
//! when one is lost, or, over five minutes or more, when the resident size has not levelled off. `target/bench/feed.json`.
#![allow(missing_docs)]

use std::collections::{HashSet, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use alloy::consensus::Transaction as _;
use alloy::primitives::B256;
use benches::measure::{self, MeasureError};
use futures::{SinkExt as _, StreamExt as _};
use hdrhistogram::Histogram;
use platform::feed::FeedError;
use platform::feed::live::{LiveFeed, LiveOptions};
use platform::feed::pump::{Distribution, pump};
use platform::log::{Event, Log as _, LogError};
use platform::store::Store;
use platform::validators::Validators;
use serde::{Deserialize, Serialize};
use testkit::crowd::chain::{CHAIN_ID, Chain, ChainError, Sums};
use testkit::crowd::serve::{Crowd, now_us};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;

/// The argument that makes this program the node.
const AS_NODE: &str = "--as-node";
/// People on the chain.
const PEOPLE: usize = 20_000;
/// Accounts and slots that the state reader keeps: few enough that a minute of strangers fills it.
const MAX_SLOTS: usize = 50_000;
/// The one validator that everything is assigned to.
const VALIDATOR: [u8; 32] = [1; 32];
/// Transactions that the log's reader remembers, to tell those that are logged again.
const REMEMBERED: usize = 1 << 15;
/// How long everything may take to come to rest when no more is shown.
const REST: Duration = Duration::from_secs(120);
/// The resident size has levelled off when the last quarter's median is at most this much of the second quarter's.
const LEVEL: f64 = 1.10;
/// Runs of at least this long are judged by it.
const JUDGED_FROM: Duration = Duration::from_secs(300);

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Database(#[from] node::database::DatabaseError),
    #[error("the bare subscription: {0}")]
    Socket(#[from] Box<tungstenite::Error>),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("address: {0}")]
    Url(#[from] url::ParseError),
    #[error("histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("a task: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("{0}={1} is no positive number")]
    Variable(&'static str, String),
    #[error("the node's process said nothing")]
    Silent,
    #[error("the log has not caught up within {REST:?}: node {node:?}, feed {feed}")]
    Behind { node: Sums, feed: String },
    #[error("{lost} of {shown} transactions are not in the log, or others are")]
    Lost { lost: i64, shown: u64 },
    #[error("resident size still grows: {0:.2} of what it was before")]
    Grows(f64),
}

fn main() -> ExitCode {
    let done = if std::env::args().any(|argument| argument == AS_NODE) {
        be_the_node()
    } else if measure::is_dry_run() {
        Ok(())
    } else {
        run()
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench feed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The node's side of the conversation between the two processes: lines of JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    ws: String,
    sums: Sums,
    subscribers: u64,
    cut_off: u64,
    rss_kib: u64,
}

/// Serves until its input ends. Each line of it sets the rate (or nothing, when it is empty), and is answered.
fn be_the_node() -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let chain = Chain::new(PEOPLE)?;
    let crowd = runtime.block_on(Crowd::start(chain, Duration::from_secs(1)))?;
    let mut out = std::io::stdout();
    for line in std::io::stdin().lines() {
        if let Ok(rate) = line?.trim().parse() {
            crowd.set_rate(rate);
        }
        let told = Told {
            ws: crowd.ws(),
            sums: crowd.sums(),
            subscribers: crowd.subscribers(),
            cut_off: crowd.cut_off(),
            rss_kib: resident_kib()?,
        };
        writeln!(out, "{}", serde_json::to_string(&told)?)?;
        out.flush()?;
    }
    Ok(())
}

/// The node's process; ended when dropped.
struct NodeProcess {
    child: Child,
    lines: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl NodeProcess {
    fn start() -> Result<Self, BenchError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(AS_NODE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = child.stdin.take().zip(child.stdout.take().map(BufReader::new));
        Ok(Self { child, lines })
    }

    /// Says this line and gives the answer.
    fn ask(&mut self, line: &str) -> Result<Told, BenchError> {
        let (input, output) = self.lines.as_mut().ok_or(BenchError::Silent)?;
        writeln!(input, "{line}")?;
        input.flush()?;
        let mut answer = String::new();
        if output.read_line(&mut answer)? == 0 {
            return Err(BenchError::Silent);
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // It ends with its input.
        self.lines = None;
        let _ended = self.child.wait();
    }
}

fn resident_kib() -> Result<u64, BenchError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    Ok(number.unwrap_or_default())
}

fn variable(name: &'static str, default: u64) -> Result<u64, BenchError> {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or(BenchError::Variable(name, text)),
        Err(_) => Ok(default),
    }
}

/// One reader's delays from a transaction's showing, in microseconds.
type Delays = Arc<Mutex<Histogram<u64>>>;

fn delays() -> Result<Delays, BenchError> {
    Ok(Arc::new(Mutex::new(Histogram::new_with_bounds(1, 600_000_000, 3)?)))
}

fn record(delays: &Delays, shown_at: u64) {
    let mut delays = delays.lock().unwrap_or_else(PoisonError::into_inner);
    delays.saturating_record(now_us().saturating_sub(shown_at));
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

fn run() -> Result<(), BenchError> {
    let seconds = variable("FEED_SECONDS", 20)?;
    let rate = variable("FEED_RATE", 1_000)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let case = runtime.block_on(flood(seconds, rate))?;
    println!("{}", serde_json::to_string_pretty(&case)?);
    println!("{}", measure::write("feed", &[&case])?.display());
    if case.lost != 0 || !case.same_set {
        return Err(BenchError::Lost {
            lost: case.lost,
            shown: case.shown,
        });
    }
    if Duration::from_secs(seconds) >= JUDGED_FROM && case.rss_ratio > LEVEL {
        return Err(BenchError::Grows(case.rss_ratio));
    }
    Ok(())
}

async fn flood(seconds: u64, rate: u64) -> Result<Case, BenchError> {
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
        Box::new(feed) as Box<dyn platform::feed::Feed>,
        store.clone(),
        validators,
        distribution,
        shutdown.clone(),
    ));
    let (logged, bare) = (delays()?, delays()?);
    let reader = tokio::spawn(read_log(store.clone(), Arc::clone(&logged), shutdown.clone()));
    let subscriber = tokio::spawn(subscribe(ws, Arc::clone(&bare), shutdown.clone()));
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
    let at_rest = |told: &Told, feed: &protos::v1::FeedStatus| {
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
    let of = |delays: &Delays, quantile| {
        let delays = delays.lock().unwrap_or_else(PoisonError::into_inner);
        delays.value_at_quantile(quantile)
    };
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
        p50_us: of(&logged, 0.5),
        p99_us: of(&logged, 0.99),
        p999_us: of(&logged, 0.999),
        baseline: "a bare subscription that only reads",
        baseline_p50_us: of(&bare, 0.5),
        baseline_p99_us: of(&bare, 0.99),
        ratio: ratio(of(&logged, 0.5), of(&bare, 0.5)),
        rss_mib_by_minute: minutes.collect(),
        rss_mib_second_quarter: quarter(1) / 1024,
        rss_mib_last_quarter: quarter(3) / 1024,
        rss_ratio: ratio(quarter(3), quarter(1)),
        node_rss_mib: told.rss_kib / 1024,
        database_mib: size_of(folder.path())? >> 20,
    })
}

/// Bytes of the files in a folder: database and write-ahead log.
fn size_of(folder: &std::path::Path) -> Result<u64, BenchError> {
    let mut size = 0;
    for entry in std::fs::read_dir(folder)? {
        size += entry?.metadata()?.len();
    }
    Ok(size)
}

fn ratio(ours: u64, baseline: u64) -> f64 {
    (ours as f64 / baseline.max(1) as f64 * 1_000.0).round() / 1_000.0
}

/// Waits until node and feed say so.
async fn until(
    node: &mut NodeProcess,
    says: impl Fn(&Told, &protos::v1::FeedStatus) -> bool,
    status: &platform::feed::live::status::LiveStatus,
) -> Result<Told, BenchError> {
    let begun = Instant::now();
    loop {
        let (told, feed) = (node.ask("")?, status.snapshot());
        if says(&told, &feed) {
            return Ok(told);
        }
        if begun.elapsed() > REST {
            return Err(BenchError::Behind {
                node: told.sums,
                feed: format!("{feed:?}"),
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Reads the log as it grows, as a validator's stream does.
async fn read_log(store: Arc<Store>, delays: Delays, shutdown: CancellationToken) -> Result<(), LogError> {
    let mut grown = store.grown();
    let mut after = 0;
    let (mut known, mut order) = (HashSet::with_capacity(REMEMBERED), VecDeque::with_capacity(REMEMBERED));
    loop {
        grown.borrow_and_update();
        let page = store.page(&VALIDATOR, after).await?;
        if page.through == after {
            tokio::select! {
                _ = grown.changed() => continue,
                () = shutdown.cancelled() => return Ok(()),
            }
        }
        after = page.through;
        for item in page.items {
            let Some(Event::Pending(pending)) = item.event else {
                continue;
            };
            let Some((hash, transaction)) = decoded(&pending) else {
                continue;
            };
            if known.insert(hash) {
                record(&delays, transaction.value().saturating_to());
                order.push_back(hash);
                if order.len() >= REMEMBERED
                    && let Some(oldest) = order.pop_front()
                {
                    known.remove(&oldest);
                }
            }
        }
    }
}

fn decoded(pending: &protos::v1::PendingTransaction) -> Option<(B256, alloy::consensus::TxEnvelope)> {
    use alloy::eips::eip2718::Decodable2718 as _;
    let transaction = pending.transaction.as_ref()?;
    let envelope = alloy::consensus::TxEnvelope::decode_2718(&mut transaction.raw.as_ref()).ok()?;
    Some((*envelope.tx_hash(), envelope))
}

/// The baseline: subscribes, reads, and looks at the date. Gives how many it saw.
async fn subscribe(ws: String, delays: Delays, shutdown: CancellationToken) -> Result<u64, BenchError> {
    #[derive(Deserialize)]
    struct Note {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        result: Shown,
    }
    #[derive(Deserialize)]
    struct Shown {
        value: alloy::primitives::U256,
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(ws).await.map_err(Box::new)?;
    let ask = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newPendingTransactions",true]}"#;
    let asked = socket.send(tungstenite::Message::text(ask)).await;
    asked.map_err(Box::new)?;
    let mut seen = 0;
    loop {
        let frame = tokio::select! {
            frame = socket.next() => frame,
            () = shutdown.cancelled() => return Ok(seen),
        };
        match frame {
            Some(Ok(tungstenite::Message::Text(text))) => {
                if let Ok(note) = serde_json::from_str::<Note>(&text) {
                    seen += 1;
                    record(&delays, note.params.result.value.saturating_to());
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Box::new(error).into()),
            None => return Ok(seen),
        }
    }
}

/// What the log holds, read from its beginning.
#[derive(Debug, Default)]
struct Audit {
    items: u64,
    distinct: u64,
    all: B256,
    replaced: u64,
    included: u64,
    newest_head: u64,
    with_state: u64,
    without_state: u64,
}

async fn audit(store: &Store) -> Result<Audit, LogError> {
    let mut audit = Audit::default();
    let mut known = HashSet::new();
    let mut after = 0;
    loop {
        let page = store.page(&VALIDATOR, after).await?;
        if page.through == after {
            audit.distinct = known.len() as u64;
            return Ok(audit);
        }
        after = page.through;
        for item in page.items {
            audit.items += 1;
            match item.event {
                Some(Event::Pending(pending)) => {
                    let state = pending.prestate.is_some();
                    audit.with_state += u64::from(state);
                    audit.without_state += u64::from(!state);
                    if let Some((hash, _)) = decoded(&pending)
                        && known.insert(hash)
                    {
                        audit.all ^= hash;
                    }
                }
                Some(Event::Replaced(_)) => audit.replaced += 1,
                Some(Event::Head(head)) => {
                    audit.included += head.included.len() as u64;
                    audit.newest_head = head.number;
                }
                _ => {}
            }
        }
    }
}
