//! A platform with very many invariants: what starting, listing, streaming and changing them take.

use std::sync::Arc;
use std::time::Instant;

use benches::load::{Load, LoadError, next, stream};
use benches::measure::Done;
use platform::log::Event;
use platform::registry::{self, Draft, RegistryError};
use platform::store::Store;
use protos::v1;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::flow::{flow, front};

/// Very many invariants beside few. Milliseconds; of the few: `baseline_*`.
#[derive(Debug, Serialize)]
pub(crate) struct Registry {
    pub(crate) name: &'static str,
    pub(crate) invariants: u64,
    pub(crate) baseline_invariants: u64,
    pub(crate) times: Times,
    pub(crate) baseline: Times,
}

#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Times {
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

/// So many invariants, each on a slot of its own.
fn drafts(many: u64) -> Result<Vec<Draft>, RegistryError> {
    let draft = |n: u64| {
        serde_json::json!({
            "contract": "0x1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d", "type": ">=", "target": n.to_string(),
            "storage": n.to_string(), "name": format!("invariant {n}"),
        })
    };
    registry::parse(&serde_json::Value::from_iter((0..many).map(draft)).to_string())
}

fn ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The times of a platform with so many invariants.
pub(crate) async fn registry(many: u64, load: Load) -> Done<Times> {
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

async fn until_version(stream: &mut tonic::Streaming<v1::StreamItem>, version: u64) -> Result<(), LoadError> {
    loop {
        if let Some(Event::InvariantSet(set)) = next(stream).await?.event
            && set.version >= version
        {
            return Ok(());
        }
    }
}
