//! An embedded ledger behind a socket of this process: what a network in one process, or a test, speaks to.
//!
//! Nobody makes its blocks but whoever holds it ([`LocalLedger::advance`]).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use node::exit::Failure;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::service::LedgerService;
use super::{LocalLedger, Opening};
use crate::auth;

/// Time between two blocks, as the ledger tells it to whoever asks.
const BLOCK_TIME: Duration = Duration::from_secs(12);

/// A ledger that is served. Its server ends with [`Served::stop`], or with the runtime.
#[derive(Debug)]
pub struct Served {
    /// The ledger itself.
    pub local: LocalLedger,
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<(), Failure>>,
}

impl Served {
    /// Opens the ledger stored in `database`, or makes a new one there, and serves it on a free port of the loopback interface.
    ///
    /// # Errors
    /// The ledger cannot be opened, or there is no port.
    pub async fn open(database: &Path, opening: &Opening) -> Result<Self, Failure> {
        Self::open_at(database, opening, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// As [`Self::open`], on this address.
    ///
    /// # Errors
    /// The ledger cannot be opened, or the address is taken.
    pub async fn open_at(database: &Path, opening: &Opening, address: SocketAddr) -> Result<Self, Failure> {
        let listener = node::server::bind(address).await?;
        let address = listener.local_addr()?;
        let local = LocalLedger::open(database, opening).await?;
        let shutdown = CancellationToken::new();
        let service = LedgerService::new(local.clone(), BLOCK_TIME, auth::now_ns);
        let serving = tokio::spawn(service.serve(listener, shutdown.clone()));
        Ok(Self {
            local,
            address,
            shutdown,
            serving,
        })
    }

    /// Where it is served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as clients take it, `http://HOST:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server, once calls under way are answered, and closes the ledger: it can be opened again.
    ///
    /// # Errors
    /// When the server failed.
    pub async fn stop(self) -> Result<(), Failure> {
        self.shutdown.cancel();
        let ended = self.serving.await;
        self.local.close().await;
        ended?
    }
}
