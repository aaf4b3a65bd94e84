//! `platform run`: the parts put together, and ended together.

use std::sync::Arc;
use std::time::Duration;

use chain::Ledger;
use chain::remote::RemoteLedger;
use engine::Invariant;
use node::exit::{Failure, OrConfiguration};
use node::server::MESSAGE_LIMIT;
use protos::v1::platform_server::PlatformServer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::feed::pump::{Distribution, pump};
use crate::feed::{self, Feed, FeedError};
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
pub fn check(config: &Config) -> Result<(feed::replay::ReplayFeed, RemoteLedger), Failure> {
    config
        .check()
        .map_err(|line| Failure::configuration(eyre::eyre!(line)))?;
    let ledger = RemoteLedger::new(&config.ledger, LEDGER_DEADLINE).or_configuration()?;
    let feed = feed::open(&config.feed, config.pace).or_configuration()?;
    Ok((feed, ledger))
}

/// Serves until a signal, or until a part cannot go on.
///
/// # Errors
/// The failure of that part; what it logged before stays.
pub async fn run(config: Config) -> Result<(), Failure> {
    node::telemetry::start(&config.node)?;
    let (feed, ledger) = check(&config)?;
    let listener = node::server::bind(config.node.listen).await?;
    let address = listener.local_addr()?;
    let store = Arc::new(Store::open(&config.database).await.or_configuration()?);
    store.publish_first_set().await?;
    let validators = Validators::new(store.validators().await?);
    let shutdown = node::shutdown::on_signals(config.node.exit_with_parent)?;
    let (version, invariants) = store.invariant_set().await?;
    let (watching, watched) = watch::channel(invariants);
    let feed = feed.watching(watched);

    let service = PlatformService::new(
        store.clone(),
        validators.clone(),
        Some(feed.name().to_owned()),
        shutdown.clone(),
    );
    let server = PlatformServer::new(service)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let routes = tonic::service::Routes::new(server);
    if let Some(path) = &config.node.ready_file {
        node::server::announce(path, address)?;
    }
    tracing::info!(%address, feed = config.feed, pace = %config.pace, "the platform serves");

    let mut parts: JoinSet<Result<(), Failure>> = JoinSet::new();
    parts.spawn(node::server::serve(
        listener,
        routes,
        &["portcullis.v1.Platform"],
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    ));
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
        let ledger: Box<dyn Ledger> = Box::new(ledger);
        async move {
            Ok(validators
                .follow(ledger.as_ref(), &store, config.metagraph_interval, shutdown)
                .await?)
        }
    });
    parts.spawn({
        let distribution = Distribution {
            replicas: config.replicas,
            min_validators: config.min_validators,
        };
        let (log, shutdown): (Arc<dyn Log>, _) = (store.clone(), shutdown.clone());
        async move {
            pump(Box::new(feed), log, validators, distribution, shutdown)
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
    watching: watch::Sender<Arc<Vec<Invariant>>>,
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
