//! A community on a ledger over gRPC, whose epochs are its ceremonies.

use std::time::Duration;

use chain::local::params::Overrides;
use chain::local::service::LedgerService;
use chain::local::{LocalLedger, Opening};
use chain::{Keypair, auth};
use community::phase::Phase;
use community::{Community, Founding, Home};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

use crate::common::{founding, means};

const TEMPO: u64 = 9;

/// A ledger over gRPC, whose blocks a test makes.
pub(crate) struct Served {
    ledger: LocalLedger,
    pub(crate) url: String,
    _folder: tempfile::TempDir,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Served {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opening = Opening {
            overrides: Overrides {
                faucet: true,
                tempo: Some(TEMPO),
                weights_set_rate_limit: Some(0),
                ..Overrides::default()
            },
            owner: Some(Keypair::from_seed([9; 32]).account()),
            endowments: Vec::new(),
        };
        let ledger = LocalLedger::open(&folder.path().join("ledger.db"), &opening)
            .await
            .unwrap();
        let service = LedgerService::new(ledger.clone(), Duration::from_secs(1), auth::now_ns).into_server();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpIncoming::from(listener));
        Self {
            ledger,
            url,
            _folder: folder,
            server: tokio::spawn(async move { server.await.unwrap() }),
        }
    }

    /// Makes blocks until the ledger stands in this phase of this epoch.
    pub(crate) async fn until(&self, epoch: u64, phase: Phase) {
        loop {
            let clock = self.ledger.state().clock;
            let since = clock.block - clock.last_epoch_block;
            if (clock.epoch_index, Phase::of_tempo(since, TEMPO)) == (epoch, phase) {
                return;
            }
            self.ledger.advance().await.unwrap();
        }
    }
}

#[tokio::test]
async fn ceremonies_follow_the_epochs_of_a_remote_ledger() {
    let (folder, served) = (tempfile::tempdir().unwrap(), Served::start().await);
    let home = Home {
        folder: folder.path().to_owned(),
        ledger: Some(served.url.clone()),
    };
    let mut founding = Founding { ..founding(5) };
    founding.spec.validators = 3;
    let mut community = Community::found(&home, founding, means()).await.unwrap();
    for epoch in 0..2 {
        for phase in [Phase::Registering, Phase::Assigning, Phase::Attesting] {
            served.until(epoch, phase).await;
            let done = community.duties().await.unwrap();
            assert_eq!((done.ceremony, done.phase), (epoch + 1, phase));
            match phase {
                Phase::Registering if epoch == 0 => assert_eq!(done.neurons, 10),
                Phase::Registering => assert_eq!((done.paid, done.endorsees), (10, 10)),
                Phase::Attesting => assert_eq!(done.weights, 3, "each validator"),
                Phase::Assigning => {}
            }
        }
    }
    let row = &community.store.rows(2).await.unwrap()[0];
    let honest = &row.roles[&community::role::Role::Honest];
    assert_eq!(honest.miners, 7);
    assert!(
        honest.incentive.unwrap().least > 9_000,
        "seven miners share 65535: {honest:?}"
    );
    assert!(matches!(
        community.advance().await,
        Err(community::CommunityError::NotDriven)
    ));

    // Bots that slept through whole epochs go on in the phase in which the ledger stands.
    served.until(9, Phase::Assigning).await;
    let done = community.duties().await.unwrap();
    assert_eq!(done.phase, Phase::Assigning);
    assert_eq!(community.held.book.now.epoch, 9);
    community.close().await;
}
