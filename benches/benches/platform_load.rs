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

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::load::{Bare, Begun, Load, LoadError, Outcome, Steady, next, read, stream, validator};
use benches::measure::{self, MeasureError};
use node::database::{DatabaseError, Place};
use platform::broker::{Broker, BrokerError};
use platform::feed::pump::{Distribution, pump};
use platform::feed::{Feed, FeedError};
use platform::log::{Event, Log, LogError};
use platform::registry::{self, Draft, RegistryError};
use platform::service::PlatformService;
use platform::store::Store;
use platform::validators::Validators;
use protos::v1::platform_server::PlatformServer;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

const REPLICAS: usize = 2;
/// A hundredth of the invariants is the baseline.
const FEWER: u64 = 100;
/// How long a platform's flow runs under many invariants, seconds.
const REGISTRY_SECONDS: u64 = 5;

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Place(#[from] node::database::PlaceError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("a task: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("{0}={1} is no number")]
    Variable(&'static str, String),
    #[error("{name}: {wrong} of {transactions} transactions did not come to exactly {REPLICAS} validators")]
    Lost {
        name: String,
        wrong: u64,
        transactions: u64,
    },
}

fn main() -> ExitCode {
    if measure::is_dry_run() {
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench platform_load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn variable(name: &'static str, default: u64) -> Result<u64, BenchError> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| BenchError::Variable(name, text)),
        Err(_) => Ok(default),
    }
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
    name: String,
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

/// Very many invariants beside few. Milliseconds; of the few: `baseline_*`.
#[derive(Debug, Serialize)]
struct Registry {
    name: String,
    invariants: u64,
    baseline_invariants: u64,
    times: Times,
    baseline: Times,
}

#[derive(Debug, Default, Clone, Serialize)]
struct Times {
    /// All of them registered as one change.
    register_ms: u64,
    /// From opening the database to the set in force in memory, as at a start.
    start_ms: u64,
    /// All of them listed.
    list_ms: u64,
    /// A hundred of them, from the middle.
    page_ms: u64,
    /// A validator's stream from its opening to the set.
    stream_ms: u64,
    /// One invariant more: until it is registered, and until the validator has the new set.
    change_ms: u64,
    change_streamed_ms: u64,
    /// A flow under so many, from due to read, microseconds.
    flow_p50_us: u64,
    flow_p99_us: u64,
}

#[allow(clippy::cast_precision_loss, reason = "times of a bench")]
fn ratio(ours: u64, baseline: u64) -> f64 {
    (ours as f64 / baseline.max(1) as f64 * 1000.0).round() / 1000.0
}

fn run() -> Result<(), BenchError> {
    let seconds = variable("LOAD_SECONDS", 20)?.max(1);
    let rate = variable("LOAD_RATE", 2_000)?.max(1);
    let load = Load {
        transactions: seconds * rate,
        rate,
        validators: u8::try_from(variable("LOAD_VALIDATORS", 10)?.clamp(2, 100)).unwrap_or(10),
        replicas: REPLICAS,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let mut cases = Vec::new();
    let bare = runtime.block_on(through_nothing(load))?;
    let mut flow = |name: &str, (outcome, bytes): (Outcome, Option<u64>)| {
        let ratio = ratio(outcome.p99_us, bare.p99_us);
        cases.push(Case::Flow(Flow {
            name: name.to_owned(),
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
    if variable("LOAD_SERVERS", 1)? != 0
        && let (Some(postgres), Some(nats)) = (testkit::postgres(), testkit::nats())
    {
        flow(
            "postgresql with nats",
            runtime.block_on(on_servers(load, &postgres.url(), &nats.url()))?,
        );
    }
    let many = variable("LOAD_INVARIANTS", 100_000)?.max(FEWER);
    let short = Load {
        transactions: REGISTRY_SECONDS * rate,
        ..load
    };
    let baseline = runtime.block_on(registry(many / FEWER, short))?;
    let times = runtime.block_on(registry(many, short))?;
    cases.push(Case::Registry(Registry {
        name: "registry".to_owned(),
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
            return Err(BenchError::Lost {
                name: name.clone(),
                wrong: outcome.wrong,
                transactions: load.transactions,
            });
        }
    }
    Ok(())
}

async fn serve(routes: Routes, shutdown: &CancellationToken) -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(node::server::serve(
        listener,
        routes,
        &[],
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    ));
    Ok(address)
}

/// The validators, each on a task of its own.
fn readers(
    load: Load,
    platform: SocketAddr,
    after: u64,
    begun: &Begun,
) -> JoinSet<Result<benches::load::Seen, LoadError>> {
    let mut readers = JoinSet::new();
    for n in 1..=load.validators {
        readers.spawn(read(n, platform, after, load, begun.clone()));
    }
    readers
}

async fn outcome(
    load: Load,
    mut readers: JoinSet<Result<benches::load::Seen, LoadError>>,
) -> Result<Outcome, BenchError> {
    let mut seen = Vec::new();
    while let Some(one) = readers.join_next().await {
        seen.push(one??);
    }
    Ok(Outcome::of(load, &seen)?)
}

async fn through_nothing(load: Load) -> Result<Outcome, BenchError> {
    let (bare, shutdown, begun) = (Bare::default(), CancellationToken::new(), Begun::default());
    let address = serve(Routes::new(PlatformServer::new(bare.clone())), &shutdown).await?;
    let readers = readers(load, address, 0, &begun);
    while bare.open() < usize::from(load.validators) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bare.feed(load, begun).await;
    let outcome = outcome(load, readers).await;
    shutdown.cancel();
    outcome
}

async fn on_sqlite(load: Load) -> Result<(Outcome, Option<u64>), BenchError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("platform.db");
    let store = Arc::new(Store::open(&path).await?);
    store.publish_first_set().await?;
    let outcome = flow(load, store.clone(), store).await?;
    Ok((outcome, Some(std::fs::metadata(&path)?.len())))
}

async fn on_servers(load: Load, postgres: &str, nats: &str) -> Result<(Outcome, Option<u64>), BenchError> {
    let store = Arc::new(Store::open(postgres.parse::<Place>()?).await?);
    store.publish_first_set().await?;
    let broker = Broker::open(nats, store.clone()).await?;
    let shutdown = CancellationToken::new();
    let carrying = tokio::spawn({
        let (broker, shutdown) = (broker.clone(), shutdown.clone());
        async move { broker.run(shutdown).await }
    });
    let outcome = flow(load, store, broker).await;
    shutdown.cancel();
    carrying.await?;
    Ok((outcome?, None))
}

/// The platform's front over a log; gives its address and who is permitted.
async fn front(
    load: Load,
    store: Arc<Store>,
    log: Arc<dyn Log>,
    shutdown: &CancellationToken,
) -> Result<(SocketAddr, Arc<Validators>), BenchError> {
    let validators = Validators::new([]);
    let hotkeys: Vec<_> = (1..=load.validators)
        .map(|n| *validator(n).account().as_bytes())
        .collect();
    store.remember(&hotkeys).await?;
    validators.update(hotkeys.into_iter().collect());
    let service = PlatformService::new(store, validators.clone(), None, shutdown.clone()).with_log(log);
    let address = serve(Routes::new(service.into_server()), shutdown).await?;
    Ok((address, validators))
}

async fn flow(load: Load, store: Arc<Store>, log: Arc<dyn Log>) -> Result<Outcome, BenchError> {
    let (shutdown, begun) = (CancellationToken::new(), Begun::default());
    let after = store.last_cursor().await?;
    let (address, validators) = front(load, store, log.clone(), &shutdown).await?;
    let readers = readers(load, address, after, &begun);
    let feed: Box<dyn Feed> = Box::new(Steady { load, begun });
    let distribution = Distribution {
        replicas: load.replicas,
        min_validators: usize::from(load.validators),
    };
    let pumped = tokio::spawn(pump(feed, log, validators, distribution, shutdown.clone()));
    let outcome = outcome(load, readers).await;
    pumped.await??;
    shutdown.cancel();
    outcome
}

/// So many invariants, each on a slot of its own.
fn drafts(many: u64) -> Result<Vec<Draft>, RegistryError> {
    let mut text = String::from("[");
    for n in 0..many {
        let separator = if n == 0 { "" } else { "," };
        let _infallible = write!(
            text,
            r#"{separator}{{"contract":"0x1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d","type":">=","target":"{n}","storage":"{n}","name":"invariant {n}"}}"#
        );
    }
    text.push(']');
    registry::parse(&text)
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn registry(many: u64, load: Load) -> Result<Times, BenchError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("platform.db");
    let drafts = drafts(many)?;
    let mut times = Times::default();
    {
        let store = Store::open(&path).await?;
        let begun = Instant::now();
        store.add_invariants(&drafts).await?;
        times.register_ms = ms(begun);
    }
    let begun = Instant::now();
    let store = Arc::new(Store::open(&path).await?);
    store.publish_first_set().await?;
    let (version, _set) = store.invariant_set().await?;
    times.start_ms = ms(begun);

    let begun = Instant::now();
    let _all = store.invariants().await?;
    times.list_ms = ms(begun);
    let begun = Instant::now();
    let _page = store.described(many / 2, 100).await?;
    times.page_ms = ms(begun);

    let shutdown = CancellationToken::new();
    let (address, _validators) = front(load, store.clone(), store.clone(), &shutdown).await?;
    let begun = Instant::now();
    let mut watching = stream(1, address, 0).await?;
    until_version(&mut watching, version).await?;
    times.stream_ms = ms(begun);
    let begun = Instant::now();
    let one = drafts.get(..1).unwrap_or_default();
    store.add_invariants(one).await?;
    times.change_ms = ms(begun);
    until_version(&mut watching, version + 1).await?;
    times.change_streamed_ms = ms(begun);
    shutdown.cancel();

    let outcome = flow(load, store.clone(), store).await?;
    (times.flow_p50_us, times.flow_p99_us) = (outcome.p50_us, outcome.p99_us);
    Ok(times)
}

async fn until_version(stream: &mut tonic::Streaming<protos::v1::StreamItem>, version: u64) -> Result<(), LoadError> {
    loop {
        if let Some(Event::InvariantSet(set)) = next(stream).await?.event
            && set.version >= version
        {
            return Ok(());
        }
    }
}
