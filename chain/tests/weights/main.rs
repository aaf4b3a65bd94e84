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

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chain::local::Opening;
use chain::local::params::Overrides;
use chain::local::served::Served;
use chain::local::state::State;
use chain::{Keypair, Ledger, RemoteLedger};

const TAO: u64 = 1_000_000_000;
const DEADLINE: Duration = Duration::from_secs(30);

fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

/// An embedded ledger, served; blocks are made by the test. Key 0 is the owner, and whoever registers first gets uid 1.
struct World {
    served: Served,
    remote: RemoteLedger,
    database: PathBuf,
    overrides: Overrides,
}

impl World {
    async fn open(home: &Path, overrides: Overrides) -> Self {
        let database = home.join("ledger.db");
        let opening = Opening {
            overrides: overrides.clone(),
            owner: Some(pair(0).account()),
            endowments: vec![],
        };
        let served = Served::open(&database, &opening).await.unwrap();
        Self {
            remote: RemoteLedger::new(&served.url(), DEADLINE).unwrap(),
            served,
            database,
            overrides,
        }
    }

    /// A clean end and a new start from the file.
    async fn restart(self) -> Self {
        self.served.stop().await.unwrap();
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
            self.served.local.advance().await.unwrap();
        }
    }

    fn state(&self) -> Arc<State> {
        self.served.local.state()
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
