//! `bots init`: who is there after it, and what it refuses.

use std::time::Duration;

use community::phase::Phase;
use community::{Community, CommunityError, Founding, Home};
use node::exit::Code;

use crate::common::{founded, founding, home, means, refused};
use crate::remote::Remote;

/// BOT-01.
#[tokio::test]
async fn ten_funded_bootstrappers_exist_and_the_community_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let community = founded(folder.path()).await;
    let book = community.held.book.clone();
    assert_eq!(
        (book.population(), book.phase, book.now.number),
        (10, Phase::Registering, 1)
    );
    assert!(
        book.accounts
            .iter()
            .all(|account| account.bootstrapper && account.validator)
    );
    let fee = book.spec.rules.fee.rao();
    assert!(
        book.accounts
            .iter()
            .all(|account| book.purse(&account.address).balance >= fee)
    );
    let network = community.held.network.clone();
    community.close().await;

    let again = Community::open(&home(folder.path()), means()).await.unwrap();
    assert_eq!((&again.held.book, &again.held.network), (&book, &network));
    again.close().await;
}

/// BOT-02.
#[tokio::test]
async fn it_waits_for_registering() {
    let (folder, remote) = (tempfile::tempdir().unwrap(), Remote::start().await);
    remote.until(0, Phase::Assigning).await;
    let home = Home {
        folder: folder.path().to_owned(),
        ledger: Some(remote.url()),
    };
    let impatient = refused(Community::found(&home, founding(1), means()).await);
    assert!(
        matches!(
            impatient,
            CommunityError::NotRegistering {
                is: Phase::Assigning,
                ..
            }
        ),
        "{impatient}"
    );
    assert_eq!(impatient.code(), Code::Indeterminate);

    let patient = Founding {
        patience: Duration::from_secs(60),
        ..founding(1)
    };
    let (community, ()) = tokio::join!(
        Community::found(&home, patient, means()),
        remote.until(1, Phase::Registering)
    );
    assert_eq!(
        community.unwrap().held.book.now.epoch,
        1,
        "founded in the next epoch, not in this one"
    );
}

#[tokio::test]
async fn a_folder_has_one_community() {
    let folder = tempfile::tempdir().unwrap();
    founded(folder.path()).await.close().await;
    let error = refused(Community::found(&home(folder.path()), founding(2), means()).await);
    assert!(matches!(error, CommunityError::AlreadyFounded(_)), "{error}");
    assert_eq!(error.code(), Code::Configuration);

    let empty = tempfile::tempdir().unwrap();
    let error = refused(Community::open(&home(empty.path()), means()).await);
    assert!(matches!(error, CommunityError::NotFounded(_)), "{error}");
}

#[tokio::test]
async fn a_state_from_another_network_is_refused() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&one, &other] {
        founded(folder.path()).await.close().await;
    }
    std::fs::copy(one.path().join("ledger.db"), other.path().join("ledger.db")).unwrap();
    let error = refused(Community::open(&home(other.path()), means()).await);
    assert!(matches!(error, CommunityError::OtherNetwork { .. }), "{error}");
    assert_eq!(error.code(), Code::Configuration);

    std::fs::remove_file(other.path().join("ledger.db")).unwrap();
    let error = refused(Community::open(&home(other.path()), means()).await);
    assert!(matches!(error, CommunityError::NoLedger(_)), "{error}");
}

#[tokio::test]
async fn a_ledger_that_does_not_answer_is_indeterminate() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = Home {
        folder: folder.path().to_owned(),
        ledger: Some("http://127.0.0.1:1".to_owned()),
    };
    let error = refused(Community::found(&nowhere, founding(1), means()).await);
    assert_eq!(error.code(), Code::Indeterminate, "{error}");
}

#[tokio::test]
async fn an_exhausted_faucet_is_said_and_asked_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let poor = Founding {
        budget: 4_000_000_000,
        ..founding(1)
    };
    let error = refused(Community::found(&home(folder.path()), poor, means()).await);
    assert_eq!(
        error.to_string(),
        "6 of 10 bootstrappers were not funded: the faucet is exhausted: 0 TAO are left"
    );
    assert_eq!(error.code(), Code::Negative);
}

#[tokio::test]
async fn founders_have_uids_and_stake_after_their_first_registration() {
    let folder = tempfile::tempdir().unwrap();
    let mut community = founded(folder.path()).await;
    let done = community.duties().await.unwrap();
    assert_eq!((done.registered, done.neurons), (10, 10));
    let metagraph = community.subnet.ledger().metagraph().await.unwrap();
    assert_eq!(metagraph.neurons.len(), 11, "the owner, and ten");
    assert!(
        metagraph
            .neurons
            .iter()
            .skip(1)
            .all(|neuron| neuron.validator_permit && neuron.stake > 0)
    );
    community.close().await;
}
