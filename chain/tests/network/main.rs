//! The ledger over a real socket: what a client asks is done once, what it may not ask is refused by name, and what was
//! acknowledged is there after a restart and after a crash.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod calls;
mod finding;
mod opening;
mod restarts;
mod signed;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chain::local::Opening;
use chain::local::params::Overrides;
use chain::local::served::Served;
use chain::{AxonInfo, Keypair, Ledger, RemoteLedger, WeightsCall};
use protos::v1::ledger_client::LedgerClient;

const TAO: u64 = 1_000_000_000;
const DEADLINE: Duration = Duration::from_secs(30);

fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

fn opening() -> Opening {
    let overrides = Overrides {
        faucet: true,
        tempo: Some(10),
        weights_set_rate_limit: Some(4),
        ..Overrides::default()
    };
    Opening {
        overrides,
        owner: Some(pair(0).account()),
        endowments: vec![],
    }
}

/// An embedded ledger, served; blocks are made by the test.
struct World(Served);

impl World {
    async fn open(database: &Path) -> Self {
        Self(Served::open(database, &opening()).await.unwrap())
    }

    fn remote(&self) -> Arc<dyn Ledger> {
        Arc::new(RemoteLedger::new(&self.0.url(), DEADLINE).unwrap())
    }

    async fn raw(&self) -> LedgerClient<tonic::transport::Channel> {
        LedgerClient::connect(self.0.url()).await.unwrap()
    }

    async fn blocks(&self, count: u64) {
        for _ in 0..count {
            self.0.local.advance().await.unwrap();
        }
    }

    async fn stop(self) {
        self.0.stop().await.unwrap();
    }
}

fn axon(port: u16) -> AxonInfo {
    AxonInfo {
        version: 1,
        ip: "127.0.0.1".parse().unwrap(),
        port,
        protocol: 4,
    }
}

fn weights(row: &[(u16, u16)]) -> WeightsCall {
    let (uids, values) = row.iter().copied().unzip();
    WeightsCall {
        uids,
        values,
        version_key: 0,
    }
}
