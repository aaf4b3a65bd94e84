//! Keys, calls, and a ledger behind a socket of this process, whose blocks are made by the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use chain::ledger::RAO_PER_TAO as TAO;
use chain::local::Opening;
use chain::local::params::Overrides;
use chain::local::served::Served;
use chain::local::state::State;
use chain::{AxonInfo, Keypair, Ledger, RemoteLedger, WeightsCall};

/// How long a call may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

pub(crate) fn axon(ip: &str, port: u16) -> AxonInfo {
    AxonInfo {
        version: 1,
        ip: ip.parse().unwrap(),
        port,
        protocol: 4,
    }
}

pub(crate) fn weights(row: &[(u16, u16)], version_key: u64) -> WeightsCall {
    let (uids, values) = row.iter().copied().unzip();
    WeightsCall {
        uids,
        values,
        version_key,
    }
}

/// A file or folder of the shared data.
pub(crate) fn data(path: &str) -> PathBuf {
    let folder = std::env::var("PORTCULLIS_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").to_owned());
    Path::new(&folder).join(path)
}

/// The binary `ledger`, which the environment tells nothing.
pub(crate) fn ledger() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PORTCULLIS_LEDGER_")) {
        command.env_remove(name);
    }
    command
}

/// Epochs every `tempo` blocks, weights every four, a faucet.
pub(crate) fn overrides(tempo: u64) -> Overrides {
    Overrides {
        faucet: true,
        tempo: Some(tempo),
        weights_set_rate_limit: Some(4),
        ..Overrides::default()
    }
}

/// Key 0 is the owner, and whoever registers first gets uid 1.
pub(crate) fn opening(overrides: Overrides) -> Opening {
    Opening {
        overrides,
        owner: Some(pair(0).account()),
        endowments: vec![],
    }
}

/// An embedded ledger, served, and who speaks to it.
pub(crate) struct World {
    pub(crate) served: Served,
    pub(crate) remote: RemoteLedger,
    database: PathBuf,
    opening: Opening,
}

impl World {
    pub(crate) async fn open(home: &Path, overrides: Overrides) -> Self {
        Self::start(home.join("ledger.db"), opening(overrides)).await
    }

    async fn start(database: PathBuf, opening: Opening) -> Self {
        let served = Served::open(&database, &opening).await.unwrap();
        Self {
            remote: RemoteLedger::new(&served.url(), DEADLINE).unwrap(),
            served,
            database,
            opening,
        }
    }

    /// A clean end and a new start from the file.
    pub(crate) async fn restart(self) -> Self {
        self.served.stop().await.unwrap();
        Self::start(self.database, self.opening).await
    }

    pub(crate) async fn register(&self, pairs: &[u8]) {
        for n in pairs {
            self.remote.register(&pair(*n)).await.unwrap();
        }
    }

    pub(crate) async fn stake(&self, n: u8, tao: u64) {
        self.remote.add_stake(&pair(n), tao * TAO).await.unwrap();
    }

    pub(crate) async fn until(&self, block: u64) {
        while self.state().clock.block < block {
            self.served.local.advance().await.unwrap();
        }
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.served.local.state()
    }
}
