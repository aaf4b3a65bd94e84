//! A steady rate through a platform to validators on sockets; and the same over bare streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use benches::load::{Bare, Begun, Load, LoadError, Outcome, PATIENCE, Seen, Steady, read, validator};
use benches::loopback::serve;
use benches::measure::Done;
use node::database::Place;
use platform::broker::Broker;
use platform::feed::Feed;
use platform::feed::pump::{Distribution, pump};
use platform::log::Log;
use platform::service::PlatformService;
use platform::store::Store;
use platform::validators::Validators;
use protos::v1::platform_server::PlatformServer;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// The validators, each on a task of its own.
fn readers(load: Load, platform: SocketAddr, after: u64, begun: &Begun) -> JoinSet<Result<Seen, LoadError>> {
    let mut readers = JoinSet::new();
    for n in 1..=load.validators {
        readers.spawn(read(n, platform, after, load, begun.clone()));
    }
    readers
}

async fn outcome(load: Load, mut readers: JoinSet<Result<Seen, LoadError>>) -> Done<Outcome> {
    let mut seen = Vec::new();
    while let Some(one) = readers.join_next().await {
        seen.push(one??);
    }
    Ok(Outcome::of(load, &seen)?)
}

/// The baseline: bare streams.
pub(crate) async fn through_nothing(load: Load) -> Done<Outcome> {
    let (bare, shutdown, begun) = (Bare::default(), CancellationToken::new(), Begun::default());
    let (address, _server) = serve(Routes::new(PlatformServer::new(bare.clone())), &[], &shutdown).await?;
    let readers = readers(load, address, 0, &begun);
    let opened = async {
        while bare.open() < usize::from(load.validators) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, opened)
        .await
        .map_err(|_| LoadError::Still)?;
    bare.feed(load, begun).await;
    let outcome = outcome(load, readers).await;
    shutdown.cancel();
    outcome
}

/// Through a platform on a SQLite file; and the bytes of it.
pub(crate) async fn on_sqlite(load: Load) -> Done<(Outcome, Option<u64>)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("platform.db");
    let store = Arc::new(Store::open(&path).await?);
    store.publish_first_set().await?;
    let outcome = flow(load, store.clone(), store).await?;
    Ok((outcome, Some(std::fs::metadata(&path)?.len())))
}

/// Through a platform on PostgreSQL and NATS.
pub(crate) async fn on_servers(load: Load, postgres: &str, nats: &str) -> Done<(Outcome, Option<u64>)> {
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
pub(crate) async fn front(
    load: Load,
    store: Arc<Store>,
    log: Arc<dyn Log>,
    shutdown: &CancellationToken,
) -> Done<(SocketAddr, Arc<Validators>)> {
    let validators = Validators::new([]);
    let hotkeys: Vec<_> = (1..=load.validators)
        .map(|n| *validator(n).account().as_bytes())
        .collect();
    store.remember(&hotkeys).await?;
    validators.update(hotkeys.into_iter().collect());
    let service = PlatformService::new(store, validators.clone(), None, shutdown.clone()).with_log(log);
    let (address, _server) = serve(Routes::new(service.into_server()), &[], shutdown).await?;
    Ok((address, validators))
}

/// Through a platform over this store and log.
pub(crate) async fn flow(load: Load, store: Arc<Store>, log: Arc<dyn Log>) -> Done<Outcome> {
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
