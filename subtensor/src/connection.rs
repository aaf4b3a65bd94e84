//! The connection to a node of the chain: one at a time out of several, made at the first need and again after it was lost, to
//! the next node in the list. A node whose genesis is another chain's is never used, and one that keeps silent is as good as lost.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use subxt::backend::LegacyBackend;
use subxt::rpcs::RpcClient;
use subxt::{OnlineClient, SubstrateConfig};

use crate::fault::{self, Fault};
use crate::read::At;

/// A node that answers.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) client: OnlineClient<SubstrateConfig>,
    pub(crate) endpoint: Arc<str>,
    serial: u64,
}

impl Live {
    /// The newest finalized block there.
    pub(crate) async fn now(&self) -> Result<At, Fault> {
        Ok(At(self.client.at_current_block().await.map_err(fault::at_block)?))
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    endpoints: Vec<Arc<str>>,
    /// Given, or that of the first node.
    genesis: Mutex<Option<[u8; 32]>>,
    /// Decoded metadata is kept in it, by version of the specification.
    config: SubstrateConfig,
    /// Where the next connection is sought first.
    next: AtomicUsize,
    serial: AtomicU64,
    live: tokio::sync::Mutex<Option<Live>>,
    /// How long one node may take for one answer.
    patience: Duration,
}

impl Connection {
    pub(crate) fn new(endpoints: &[String], genesis: Option<[u8; 32]>, patience: Duration) -> Self {
        Self {
            endpoints: endpoints.iter().map(|endpoint| Arc::from(endpoint.as_str())).collect(),
            genesis: Mutex::new(genesis),
            config: SubstrateConfig::new(),
            next: AtomicUsize::new(0),
            serial: AtomicU64::new(0),
            live: tokio::sync::Mutex::new(None),
            patience,
        }
    }

    /// What a node answers; silence is the same as a lost connection.
    pub(crate) async fn answer<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::time::timeout(self.patience, work)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(Fault::Lost(format!(
                    "the node gave no answer in {} ms",
                    self.patience.as_millis()
                )))
            })
    }

    /// Whom errors name when no node answered.
    pub(crate) fn name(&self) -> String {
        self.endpoints.join(",")
    }

    /// The node in use, or the first that can be reached, each tried once.
    pub(crate) async fn live(&self) -> Result<Live, Fault> {
        let mut kept = self.live.lock().await;
        if let Some(live) = kept.as_ref() {
            return Ok(live.clone());
        }
        let start = self.next.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for endpoint in self.endpoints.iter().cycle().skip(start).take(self.endpoints.len()) {
            match self.answer(self.connect(endpoint)).await {
                Ok(live) => {
                    tracing::info!(%endpoint, "connected to the chain");
                    *kept = Some(live.clone());
                    return Ok(live);
                }
                Err(fault) => {
                    tracing::warn!(%endpoint, %fault, "a node of the chain cannot be used");
                    self.skip();
                    reasons.push(fault);
                }
            }
        }
        // Where all nodes are foreign, that is what to say; where any is only silent, waiting may help.
        Err(match reasons.iter().find(|fault| matches!(fault, Fault::Lost(_))) {
            Some(lost) => lost.clone(),
            None => reasons
                .into_iter()
                .next()
                .unwrap_or_else(|| Fault::Lost("no endpoint".to_owned())),
        })
    }

    fn skip(&self) {
        let count = self.endpoints.len().max(1);
        let _before = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| Some((next + 1) % count));
    }

    async fn connect(&self, endpoint: &Arc<str>) -> Result<Live, Fault> {
        let lost = |error: String| Fault::Lost(error);
        // For wss://; where the process has chosen already, its choice stands.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        // Whether ws:// is wanted, the endpoint says.
        let rpc = RpcClient::from_insecure_url(endpoint.as_ref())
            .await
            .map_err(|error| lost(error.to_string()))?;
        // Every Subtensor node has these methods, the archive methods only few, and they need no subscription that must be kept alive.
        let backend = LegacyBackend::<SubstrateConfig>::builder()
            .storage_page_size(256)
            .build(rpc);
        let client = OnlineClient::from_backend_with_config(self.config.clone(), Arc::new(backend))
            .await
            .map_err(|error| lost(error.to_string()))?;
        let actual = client.genesis_hash().0;
        {
            let mut known = self.genesis.lock().unwrap_or_else(PoisonError::into_inner);
            let expected = *known.get_or_insert(actual);
            if expected != actual {
                return Err(Fault::Foreign {
                    actual: format!("0x{}", hex::encode(actual)),
                    expected: format!("0x{}", hex::encode(expected)),
                });
            }
        }
        Ok(Live {
            client,
            endpoint: endpoint.clone(),
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Forgets the node in use, if there is one.
    pub(crate) async fn leave(&self) {
        let live = self.live.lock().await.clone();
        if let Some(live) = live {
            self.lost(&live).await;
        }
    }

    /// Forgets a node that was lost; the next connection is sought at the next one.
    pub(crate) async fn lost(&self, gone: &Live) {
        let mut kept = self.live.lock().await;
        if kept.as_ref().is_some_and(|live| live.serial == gone.serial) {
            *kept = None;
            self.skip();
            metrics::counter!("subtensor_connections_lost_total").increment(1);
        }
    }
}
