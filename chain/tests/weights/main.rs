//! Weights over gRPC: each refusal by Subtensor's name, commits by hash and their reveals, sealed commits; with restarts between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod hash;
mod refusals;
mod timelock;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chain::local::params::Overrides;
use chain::local::service::LedgerService;
use chain::local::state::State;
use chain::local::{LocalLedger, Opening};
use chain::{Keypair, Ledger, RemoteLedger, auth, wire};
use tokio_util::sync::CancellationToken;

const TAO: u64 = 1_000_000_000;
const DEADLINE: Duration = Duration::from_secs(10);

fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

/// An embedded ledger, served; blocks are made by the test. Key 0 is the owner, and whoever registers first gets uid 1.
struct World {
    local: LocalLedger,
    remote: RemoteLedger,
    address: SocketAddr,
    database: PathBuf,
    overrides: Overrides,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    async fn open(home: &Path, overrides: Overrides) -> Self {
        let database = home.join("ledger.db");
        let opening = Opening {
            overrides: overrides.clone(),
            owner: Some(pair(0).account()),
            endowments: vec![],
        };
        let local = LocalLedger::open(&database, &opening).await.unwrap();
        let listener = node::server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let service = LedgerService::new(local.clone(), Duration::from_secs(12), auth::now_ns).into_server();
        let (routes, token) = (tonic::service::Routes::new(service), shutdown.clone());
        let task = tokio::spawn(async move {
            let served =
                node::server::serve(listener, routes, &[wire::SERVICE], protos::FILE_DESCRIPTOR_SET, token).await;
            served.unwrap();
        });
        Self {
            local,
            remote: RemoteLedger::new(&address.to_string(), DEADLINE).unwrap(),
            address,
            database,
            overrides,
            shutdown,
            task,
        }
    }

    /// A clean end and a new start from the file.
    async fn restart(self) -> Self {
        self.shutdown.cancel();
        self.task.await.unwrap();
        self.local.close().await;
        Self::open(self.database.parent().unwrap(), self.overrides).await
    }

    async fn register(&self, pairs: &[u8]) {
        for n in pairs {
            self.remote.register(&pair(*n)).await.unwrap();
        }
    }

    async fn stake(&self, n: u8, tao: u64) {
        self.remote.add_stake(&pair(n), tao * TAO).await.unwrap();
    }

    async fn until(&self, block: u64) {
        while self.state().clock.block < block {
            self.local.advance().await.unwrap();
        }
    }

    fn state(&self) -> Arc<State> {
        self.local.state()
    }
}

/// Epochs every twenty blocks, weights every four, a faucet.
fn overrides() -> Overrides {
    Overrides {
        faucet: true,
        tempo: Some(20),
        weights_set_rate_limit: Some(4),
        ..Overrides::default()
    }
}
