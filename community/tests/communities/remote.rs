//! A community on a ledger over gRPC, whose epochs are its ceremonies.

use chain::Keypair;
use chain::local::Opening;
use chain::local::params::Overrides;
use chain::local::served::Served;
use community::phase::Phase;
use community::{Community, Founding, Home};

use crate::common::{founding, means};

const TEMPO: u64 = 9;

/// A ledger over gRPC, whose blocks a test makes.
pub(crate) struct Remote {
    served: Served,
    _folder: tempfile::TempDir,
}

impl Remote {
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
        let served = Served::open(&folder.path().join("ledger.db"), &opening).await.unwrap();
        Self {
            served,
            _folder: folder,
        }
    }

    pub(crate) fn url(&self) -> String {
        self.served.url()
    }

    /// Makes blocks until the ledger stands in this phase of this epoch.
    pub(crate) async fn until(&self, epoch: u64, phase: Phase) {
        loop {
            let clock = self.served.local.state().clock;
            let since = clock.block - clock.last_epoch_block;
            if (clock.epoch_index, Phase::of_tempo(since, TEMPO)) == (epoch, phase) {
                return;
            }
            self.served.local.advance().await.unwrap();
        }
    }
}

#[tokio::test]
async fn ceremonies_follow_the_epochs_of_a_remote_ledger() {
    let (folder, remote) = (tempfile::tempdir().unwrap(), Remote::start().await);
    let home = Home {
        folder: folder.path().to_owned(),
        ledger: Some(remote.url()),
    };
    let mut founding = Founding { ..founding(5) };
    founding.spec.validators = 3;
    let mut community = Community::found(&home, founding, means()).await.unwrap();
    for epoch in 0..2 {
        for phase in [Phase::Registering, Phase::Assigning, Phase::Attesting] {
            remote.until(epoch, phase).await;
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
    remote.until(9, Phase::Assigning).await;
    let done = community.duties().await.unwrap();
    assert_eq!(done.phase, Phase::Assigning);
    assert_eq!(community.held.book.now.epoch, 9);
    community.close().await;
}
