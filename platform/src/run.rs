//! `platform run`: the parts put together, and ended together.

use std::sync::Arc;
use std::time::Duration;

use chain::Ledger;
use engine::WatchSet;
use node::database::Place;
use node::exit::{Code, Failure, OrConfiguration};
use node::tls::TlsOptions;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::feed::live::LiveFeed;
use crate::feed::live::status::LiveStatus;
use crate::feed::pump::{Distribution, pump};
use crate::feed::replay::ReplayFeed;
use crate::feed::{self, Feed, FeedError, Source};
use crate::log::{Log, LogError};
use crate::service::PlatformService;
use crate::store::Store;
use crate::validators::Validators;

/// How long the ledger may take for a call.
const LEDGER_DEADLINE: Duration = Duration::from_secs(5);

/// Checks everything that can be checked without changing anything: the values, the feed's first case, the ledger's address.
///
/// # Errors
/// Exit code 2, with what is wrong.
pub fn check(config: &Config) -> Result<(Opened, Arc<dyn Ledger>), Failure> {
    config
        .check()
        .map_err(|line| Failure::configuration(eyre::eyre!(line)))?;
    config
        .tls
        .as_ref()
        .map(TlsOptions::load)
        .transpose()
        .or_configuration()?;
    let options = subtensor::Options {
        deadline: LEDGER_DEADLINE,
        ..subtensor::Options::default()
    };
    let ledger = subtensor::open(&config.ledger, config.netuid, options).or_configuration()?;
    let opened = match feed::source(&config.feed).or_configuration()? {
        Source::Replay(path) => Opened::Replay(ReplayFeed::open(path, config.pace).or_configuration()?),
        Source::Live(urls) => Opened::Live(urls),
    };
    Ok((opened, ledger))
}

/// A feed, as far as it can be opened without a database.
#[derive(Debug)]
pub enum Opened {
    /// A recording.
    Replay(ReplayFeed),
    /// Nodes.
    Live(Vec<url::Url>),
}

/// Opens a database: a file that cannot be used is the user's to mend, a server may only be away.
pub(crate) async fn open(place: &Place) -> Result<Store, Failure> {
    let code = match place {
        Place::File(_) => Code::Configuration,
        Place::Server(_) => Code::Indeterminate,
    };
    Store::open(place).await.map_err(|error| Failure::new(code, error))
}

/// Serves until a signal, or until a part cannot go on.
///
/// # Errors
/// The failure of that part; what it logged before stays.
pub async fn run(config: Config) -> Result<(), Failure> {
    node::telemetry::start(&config.node)?;
    let (opened, ledger) = check(&config)?;
    let tls = config
        .tls
        .as_ref()
        .map(TlsOptions::load)
        .transpose()
        .or_configuration()?;
    let listener = node::server::bind(config.node.listen).await?;
    let address = listener.local_addr()?;
    let store = Arc::new(open(&config.database).await?);
    store.publish_first_set().await?;
    let validators = Validators::new(store.validators().await?);
    let shutdown = node::shutdown::on_signals(config.node.exit_with_parent)?;
    let (version, invariants) = store.invariant_set().await?;
    let (watching, watched) = watch::channel(invariants);
    let broker = match &config.broker {
        Some(servers) => {
            let servers = servers.reveal().or_configuration()?;
            Some(Broker::open(&servers, store.clone()).await.or_configuration()?)
        }
        None => None,
    };
    let log: Arc<dyn Log> = match &broker {
        Some(broker) => broker.clone(),
        None => store.clone(),
    };
    let cluster = (store.database().is_server()).then(|| Cluster::new(store.clone(), validators.clone()));
    let (feed, live): (Box<dyn Feed>, Option<LiveStatus>) = match opened {
        Opened::Replay(feed) => (Box::new(feed.watching(watched)), None),
        Opened::Live(urls) => {
            let feed = LiveFeed::new(urls, config.live.clone(), log.clone(), watched);
            let status = feed.status();
            (Box::new(feed), Some(status))
        }
    };
    tracing::info!(%address, feed = feed.name(), "the platform serves");

    let service = PlatformService::new(
        store.clone(),
        validators.clone(),
        Some(feed.name().to_owned()),
        shutdown.clone(),
    )
    .with_log(log.clone())
    .with_live(live);
    let routes = tonic::service::Routes::new(service.into_server());
    if let Some(path) = &config.node.ready_file {
        node::server::announce(path, address)?;
    }

    let mut parts: JoinSet<Result<(), Failure>> = JoinSet::new();
    parts.spawn({
        let (tls, shutdown) = (tls.clone(), shutdown.clone());
        async move {
            let descriptors = protos::FILE_DESCRIPTOR_SET;
            node::server::serve_over(
                tls.as_ref(),
                listener,
                routes,
                &["portcullis.v1.Platform"],
                descriptors,
                shutdown,
            )
            .await
        }
    });
    if let Some(broker) = broker {
        let shutdown = shutdown.clone();
        parts.spawn(async move {
            broker.run(shutdown).await;
            Ok(())
        });
    }
    if let Some(cluster) = cluster.clone() {
        let shutdown = shutdown.clone();
        parts.spawn(async move { cluster.live(shutdown).await });
    }
    parts.spawn({
        let (store, shutdown) = (store.clone(), shutdown.clone());
        async move { Ok(store.watch_growth(shutdown).await?) }
    });
    parts.spawn({
        let (store, shutdown) = (store.clone(), shutdown.clone());
        async move { Ok(watch_invariants(&store, version, watching, shutdown).await?) }
    });
    parts.spawn({
        let (store, validators, shutdown) = (store.clone(), validators.clone(), shutdown.clone());
        async move {
            Ok(validators
                .follow(ledger.as_ref(), &store, config.metagraph_interval, shutdown)
                .await?)
        }
    });
    let (auditing, audited) = watch::channel(crate::audits::Standings::default());
    parts.spawn({
        let (options, store, shutdown) = (config.http.clone(), store.clone(), shutdown.clone());
        async move { options.serve(store, audited, tls.as_ref(), shutdown).await }
    });
    if let Some(options) = &config.audits {
        let source = options.source().or_configuration()?;
        let shutdown = shutdown.clone();
        parts.spawn(async move {
            crate::audits::keep(source, auditing, shutdown).await;
            Ok(())
        });
    }
    parts.spawn({
        let endpoints = config
            .billing
            .endpoints()
            .map_err(|line| Failure::configuration(eyre::eyre!(line)))?;
        let (store, options, shutdown) = (store.clone(), config.billing.clone(), shutdown.clone());
        async move { Ok(crate::gate::keep(store, options, endpoints, shutdown).await?) }
    });
    parts.spawn({
        let distribution = Distribution {
            replicas: config.replicas,
            min_validators: config.min_validators,
        };
        let shutdown = shutdown.clone();
        async move {
            // Several platforms on one database: one of them feeds it.
            if let Some(cluster) = cluster
                && !cluster.turn(&shutdown).await
            {
                return Ok(());
            }
            pump(feed, log, validators, distribution, shutdown)
                .await
                .map_err(classified)
        }
    });
    until_all_ended(parts, shutdown).await
}

/// A broken recording is the user's to mend; a broken database may work after a restart.
fn classified(error: FeedError) -> Failure {
    if error.is_input() {
        Failure::configuration(error)
    } else {
        Failure::from(error)
    }
}

/// Waits for every part; the first failure ends the others.
async fn until_all_ended(mut parts: JoinSet<Result<(), Failure>>, shutdown: CancellationToken) -> Result<(), Failure> {
    let mut first = Ok(());
    while let Some(part) = parts.join_next().await {
        let ended = part.unwrap_or_else(|error| Err(Failure::from(error)));
        if ended.is_err() {
            shutdown.cancel();
            if first.is_ok() {
                first = ended;
            }
        }
    }
    first
}

/// Keeps the feed's view of the invariants in force fresh.
async fn watch_invariants(
    store: &Store,
    mut version: u64,
    watching: watch::Sender<Arc<WatchSet>>,
    shutdown: CancellationToken,
) -> Result<(), LogError> {
    let mut grown = store.grown();
    loop {
        tokio::select! {
            changed = grown.changed() => if changed.is_err() { return Ok(()) },
            () = shutdown.cancelled() => return Ok(()),
        }
        if store.invariant_set_version().await? != version {
            let (now, invariants) = store.invariant_set().await?;
            tracing::info!(
                version = now,
                invariants = invariants.len(),
                "a new invariant set is in force"
            );
            version = now;
            watching.send_replace(invariants);
        }
    }
}
