//! The validator: intake, challenge, consensus, score, weights.
//!
//! One transaction goes one way: from the platform's stream through a bounded queue to a challenge that several miners get, to one
//! truth, and with all that follows from it into the database, from where reports and weights leave. Nothing is kept only in memory
//! that a restart would miss.

pub mod actions;
pub mod arbiter;
pub mod audits;
pub mod canary;
pub mod codes;
pub mod config;
pub mod consensus;
pub mod defend;
pub mod draw;
mod encoded;
pub mod gather;
pub mod incident;
pub mod incidents;
mod inspect;
pub mod intake;
pub mod judge;
pub mod miners;
pub mod pause;
mod pipeline;
pub mod platforms;
pub mod progress;
pub mod proof;
pub mod quiet;
pub mod reporter;
mod rerun;
pub mod score;
pub mod service;
pub mod show;
pub mod store;
mod timeline;
pub mod weights;
pub mod withdrawn;

use std::sync::{Arc, Mutex};

use node::exit::{Failure, OrConfiguration};
use protos::v1::validator_server::ValidatorServer;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use subtensor::neuron::Neuron;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::arbiter::Arbiter;
use crate::audits::Audits;
use crate::codes::Codes;
use crate::config::Config;
use crate::defend::Defender;
use crate::intake::Reader;
use crate::judge::Judge;
use crate::miners::Miners;
use crate::proof::Proofs;
use crate::service::StatusService;
use crate::store::Store;
use crate::weights::Weigher;
use crate::withdrawn::Withdrawn;

/// Items of the stream that wait to be judged; when it is full, the stream waits.
const QUEUE: usize = 256;

/// Runs a validator until `shutdown`.
///
/// # Errors
/// A hotkey that is not registered, a port in use, a ledger that cannot be reached, a database that fails.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
    let Neuron {
        hotkey,
        uid,
        ledger,
        metagraph,
    } = config
        .identity()
        .join(config.metagraph_period, shutdown.clone())
        .await?;
    let account = hotkey.account();
    let store = Store::open(&config.database).await.or_configuration()?;
    let listener = node::server::bind(config.node.listen).await?;
    let address = listener.local_addr()?;
    let standing = store.standing().await?;
    tracing::info!(uid, %account, %address, cursor = standing.low_water, judged = standing.judged, "validating");

    let codes = Arc::new(Codes::new(store.clone(), config.code_cache_bytes));
    let miners = Arc::new(Miners::new(Arc::clone(&hotkey), Arc::clone(&codes)));
    let reports = Arc::new(Notify::new());
    let defender = Defender::open(&config, store.clone(), Arc::clone(&reports)).await?;
    let (defender, defending) = match defender {
        Some((defender, background)) => (Some(Arc::new(defender)), Some(background)),
        None => (None, None),
    };
    let judge = Arc::new(Judge {
        defender: defender.clone(),
        miners: Arc::clone(&miners),
        arbiter: Arbiter::start(config.threads)?,
        codes: Arc::clone(&codes),
        metagraph: metagraph.clone(),
        draws: Mutex::new(match config.seed {
            Some(seed) => ChaCha8Rng::seed_from_u64(seed),
            None => ChaCha8Rng::from_os_rng(),
        }),
        store: store.clone(),
        reports: Arc::clone(&reports),
        deadline: config.deadline,
        audit_rate: config.audit_rate,
        proofs: Proofs::new(store.proven().await?, config.proof),
        canaries: config.canary,
        deck: Mutex::default(),
    });
    let (queue, items) = mpsc::channel(QUEUE);
    let withdrawn = Arc::new(Withdrawn::default());
    let platforms = config.platforms()?;

    let mut tasks: JoinSet<Result<(), Failure>> = JoinSet::new();
    let (head, heads) = watch::channel(None);
    let status = StatusService {
        store: store.clone(),
        metagraph: metagraph.clone(),
        hotkey: account,
        head: heads,
    };
    tasks.spawn(node::server::serve(
        listener,
        tonic::service::Routes::new(ValidatorServer::new(status)),
        &["portcullis.v1.Validator"],
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    ));
    let reader = Reader {
        platforms: platforms.clone(),
        hotkey: Arc::clone(&hotkey),
        codes,
        queue,
        withdrawn: Arc::clone(&withdrawn),
        head,
    };
    let intake = reader.read(standing.low_water, shutdown.clone());
    tasks.spawn(async move { Ok(intake.await?) });
    let pipeline = pipeline::run(
        judge,
        store.clone(),
        items,
        config.concurrency,
        withdrawn,
        Arc::clone(&reports),
        shutdown.clone(),
    );
    tasks.spawn(async move { Ok(pipeline.await?) });
    let reporter = reporter::run(platforms, Arc::clone(&hotkey), store.clone(), reports, shutdown.clone());
    tasks.spawn(async move { Ok(reporter.await?) });
    let audits = match config.audits {
        Some(options) => {
            let audits = Arc::new(Audits::new(options).map_err(eyre::Report::msg).or_configuration()?);
            let following = Arc::clone(&audits).follow(shutdown.clone());
            tasks.spawn(async move {
                following.await;
                Ok(())
            });
            Some(audits)
        }
        None => None,
    };
    let weigher = Weigher {
        audits,
        store,
        metagraph,
        ledger,
        hotkey,
        parameters: config.score,
        version_key: config.version_key,
        miners,
    };
    if let (Some(defender), Some(background)) = (defender, defending) {
        let defending = defender.run(background, shutdown.clone());
        tasks.spawn(async move { Ok(defending.await?) });
    }
    let weighing = weigher.run(shutdown.clone());
    tasks.spawn(async move { Ok(weighing.await?) });

    if let Some(path) = &config.node.ready_file {
        node::server::announce(path, address)?;
    }
    // One task that ends, ends them all; the first failure is the one that is told.
    let mut first = Ok(());
    while let Some(ended) = tasks.join_next().await {
        shutdown.cancel();
        let ended = ended.unwrap_or_else(|error| Err(Failure::from(error)));
        if first.is_ok() {
            first = ended;
        }
    }
    first
}
