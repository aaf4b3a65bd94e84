//! One process, all on loopback: an embedded ledger, a platform that plays traffic, one validator, and miners that behave as they are told.
//!
//! The validator, the miners' services and the ledger are those that the binaries run, and all that they say to each other goes over
//! gRPC. Blocks of the ledger are made by whoever runs the network, so that an epoch ends when a wave of traffic is judged, however fast
//! the machine is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::local::params::Overrides;
use chain::local::service::LedgerService;
use chain::local::{LocalLedger, Opening};
use chain::{AccountId, Keypair, Ledger, RemoteLedger, auth};
use miner::behaviour::Behaviour;
use miner::conduct::Board;
use miner::service::ChallengeService;
use node::exit::Failure;
use protos::v1::platform_server::PlatformServer;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::platform::Scripted;

/// Blocks between two epochs.
const TEMPO: u64 = 10;
/// RAO that the validator stakes.
const STAKE: u64 = 5_000_000_000_000;
/// No call of the ledger takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often what is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a miner may take. Generous, since many engines share the machine; who is late on purpose is later than this.
pub const DEADLINE: Duration = Duration::from_secs(2);

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A folder or a key file.
    #[error("temporary folder: {0}")]
    Folder(#[from] std::io::Error),
    /// A key file could not be written.
    #[error(transparent)]
    Key(#[from] chain::keyfile::KeyfileError),
    /// The ledger did not open.
    #[error(transparent)]
    Open(#[from] chain::local::OpenError),
    /// The ledger's address is none.
    #[error(transparent)]
    Address(#[from] chain::remote::AddressError),
    /// The ledger refused.
    #[error(transparent)]
    Ledger(#[from] chain::LedgerError),
    /// A configuration is none.
    #[error("configuration of the network: {0}")]
    Config(#[from] serde_json::Error),
    /// A node did not start, or ended.
    #[error("a node of the network: {0}")]
    Node(Failure),
    /// The validator's database.
    #[error(transparent)]
    Store(#[from] validator::store::StoreError),
    /// Something did not happen in time.
    #[error("{0} did not happen within {1:?}")]
    Late(&'static str, Duration),
    /// The traffic could not be made.
    #[error(transparent)]
    Traffic(#[from] super::traffic::TrafficError),
    /// The report could not be written.
    #[error("cannot write {}: {reason}", path.display())]
    Report {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        reason: std::io::Error,
    },
}

/// A running network. It ends with [`Network::stop`].
#[derive(Debug)]
pub struct Network {
    /// The miners, in the order of their behaviours.
    pub miners: Vec<AccountId>,
    local: LocalLedger,
    ledger: Arc<dyn Ledger>,
    store: validator::store::Store,
    shutdown: CancellationToken,
    tasks: JoinSet<Result<(), Failure>>,
}

fn key(number: u8) -> Keypair {
    Keypair::from_seed([number; 32])
}

impl Network {
    /// Starts a miner for each of `behaviours`, and one validator that reads `platform`. What honest miners answer is overheard by
    /// copycats, as answers travel in the clear.
    ///
    /// # Errors
    /// What does not start.
    pub async fn start(
        folder: &Path,
        behaviours: &[Behaviour],
        platform: Scripted,
        seed: u64,
    ) -> Result<Self, NetworkError> {
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let overrides = Overrides {
            faucet: true,
            tempo: Some(TEMPO),
            weights_set_rate_limit: Some(1),
            ..Overrides::default()
        };
        let owner = key(0);
        let opening = Opening {
            overrides,
            owner: Some(owner.account()),
            endowments: Vec::new(),
        };
        let local = LocalLedger::open(&folder.join("ledger.db"), &opening).await?;
        let service = LedgerService::new(local.clone(), Duration::from_secs(12), auth::now_ns).into_server();
        let ledger_at = serve(Routes::new(service), &mut tasks, &shutdown).await?;
        let ledger: Arc<dyn Ledger> = Arc::new(RemoteLedger::new(&format!("http://{ledger_at}"), PATIENCE)?);
        local.advance().await?;
        ledger.add_stake(&owner, STAKE).await?;

        let board = Arc::new(Board::default());
        let mut keys = Vec::new();
        for number in 1..=u8::try_from(behaviours.len()).unwrap_or(u8::MAX) {
            let hotkey = Arc::new(key(number));
            ledger.register(&hotkey).await?;
            keys.push(hotkey);
        }
        local.advance().await?;
        let metagraph = chain::follow(Arc::clone(&ledger), Duration::from_millis(500), shutdown.clone()).await?;
        for (hotkey, behaviour) in keys.iter().zip(behaviours) {
            let config = serde_json::from_value(serde_json::json!({
                "hotkey": "not-read", "ledger": "http://127.0.0.1:1", "state": "challenge", "threads": 1,
                "queue": 1024, "behaviour": behaviour,
            }))?;
            let (hotkey, metagraph) = (Arc::clone(hotkey), metagraph.clone());
            let mut service = ChallengeService::start(&config, Arc::clone(&hotkey), metagraph, None, shutdown.clone())
                .map_err(NetworkError::Node)?;
            if matches!(behaviour, Behaviour::Honest | Behaviour::Copycat) {
                service = service.overheard_on(Arc::clone(&board));
            }
            let at = serve(Routes::new(service.into_server()), &mut tasks, &shutdown).await?;
            chain::announce_axon(ledger.as_ref(), &hotkey, at).await?;
        }
        local.advance().await?;

        let platform = PlatformServer::new(platform);
        let platform_at = serve(Routes::new(platform), &mut tasks, &shutdown).await?;
        let hotkey = folder.join("validator.hotkey");
        chain::keyfile::write(&hotkey, &owner)?;
        let (database, ready) = (folder.join("validator.db"), folder.join("validator.ready"));
        let config = serde_json::from_value(serde_json::json!({
            "hotkey": hotkey, "platform": format!("http://{platform_at}"), "ledger": format!("http://{ledger_at}"),
            "database": database, "node": { "ready_file": ready }, "seed": seed, "deadline": format!("{}ms", DEADLINE.as_millis()), "metagraph_period": "50ms",
            // In time is in time, however busy the machine: so that weights do not depend on it.
            "score": { "target_latency": "5s", "latency_floor": format!("{}ms", DEADLINE.as_millis()) },
        }))?;
        tasks.spawn(validator::run(config, shutdown.clone()));
        wait(&mut tasks, "the start of the validator", PATIENCE, async || {
            Ok(ready.exists())
        })
        .await?;
        // Opened a second time, to look in: SQLite lets many read.
        let store = validator::store::Store::open(&database).await?;
        Ok(Self {
            miners: keys.iter().map(|key| key.account()).collect(),
            local,
            ledger,
            store,
            shutdown,
            tasks,
        })
    }

    /// The validator's database, to look in.
    pub fn store(&self) -> &validator::store::Store {
        &self.store
    }

    /// Waits until `happens`, looking again and again; ends with an error when a node ended meanwhile.
    ///
    /// # Errors
    /// [`NetworkError::Late`] with `what` when it takes longer than `patience`.
    pub async fn wait(
        &mut self,
        what: &'static str,
        patience: Duration,
        happens: impl AsyncFn(&validator::store::Store) -> Result<bool, NetworkError>,
    ) -> Result<(), NetworkError> {
        let store = &self.store;
        wait(&mut self.tasks, what, patience, async || happens(store).await).await
    }

    /// Ends the ledger's epoch, and waits until the validator has closed its window and scored it.
    ///
    /// # Errors
    /// The ledger or the validator does not answer in time.
    pub async fn end_epoch(&mut self) -> Result<(), NetworkError> {
        let before = self.store.standing().await?.epoch.unwrap_or(0);
        while self.ledger.metagraph().await?.epoch_index <= before {
            self.local.advance().await?;
        }
        self.wait("the scoring of a window", PATIENCE, async |store| {
            let rolled = store.standing().await?.epoch.is_some_and(|epoch| epoch > before);
            Ok(rolled && store.unscored_window().await?.is_none())
        })
        .await
    }

    /// Makes blocks until the ledger has taken weights that were scored last; gives the validator's row, by uid.
    ///
    /// # Errors
    /// It takes none in time.
    pub async fn weights(&mut self) -> Result<Vec<(u16, u16)>, NetworkError> {
        let enough = self.store.standing().await?.weights_set + 1;
        let local = self.local.clone();
        self.wait("the setting of weights", PATIENCE, async |store| {
            local.advance().await?;
            Ok(store.standing().await?.weights_set >= enough)
        })
        .await?;
        Ok(self.ledger.weights(0).await?)
    }

    /// Ends everything and waits for it.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.local.close().await;
    }
}

/// Waits until `happens`, looking again and again; ends with an error when it takes longer than `patience`, or a task failed meanwhile.
async fn wait(
    tasks: &mut JoinSet<Result<(), Failure>>,
    what: &'static str,
    patience: Duration,
    happens: impl AsyncFn() -> Result<bool, NetworkError>,
) -> Result<(), NetworkError> {
    let until = Instant::now() + patience;
    while !happens().await? {
        if let Some(Ok(Err(failure))) = tasks.try_join_next() {
            return Err(NetworkError::Node(failure));
        }
        if Instant::now() >= until {
            return Err(NetworkError::Late(what, patience));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn serve(
    routes: Routes,
    tasks: &mut JoinSet<Result<(), Failure>>,
    shutdown: &CancellationToken,
) -> Result<SocketAddr, NetworkError> {
    let listener = node::server::bind(([127, 0, 0, 1], 0).into())
        .await
        .map_err(NetworkError::Node)?;
    let address = listener.local_addr()?;
    tasks.spawn(node::server::serve(
        listener,
        routes,
        &[],
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    ));
    Ok(address)
}
