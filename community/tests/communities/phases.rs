//! What bots do in a phase, done twice, done without means, done by several, done over a crash.

use std::time::Duration;

use community::book::Purse;
use community::driver::{Decision, Patience};
use community::phase::Phase;
use community::refusal::Refusal;
use community::{Community, Founding};
use tokio_util::sync::CancellationToken;

use crate::common::{founded, founding, home, means, refused};

/// BOT-18, BOT-11.
#[tokio::test]
async fn duties_done_twice_change_nothing_the_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut community = founded(folder.path()).await;
    for step in 0..7 {
        let first = community.duties().await.unwrap();
        let (book, metagraph) = (
            community.held.book.clone(),
            community.subnet.ledger().metagraph().await.unwrap(),
        );
        let second = community.duties().await.unwrap();
        let after = &community.held.book;
        assert_eq!(
            (&after.accounts, &after.purses),
            (&book.accounts, &book.purses),
            "step {step}"
        );
        assert_eq!(
            (&after.now.registered, &after.now.said),
            (&book.now.registered, &book.now.said)
        );
        let neurons = community.subnet.ledger().metagraph().await.unwrap().neurons.len();
        assert_eq!(neurons, metagraph.neurons.len());
        assert_eq!((second.paid, second.endorsees, second.newbies), (0, 0, 0));
        assert_eq!((second.registered, second.neurons, second.attestations), (0, 0, 0));
        if first.phase != Phase::Assigning {
            assert!(second.benign >= 10, "{second:?}");
        }
        community.advance().await.unwrap();
    }
    community.close().await;
}

/// BOT-10.
#[tokio::test]
async fn an_account_without_means_is_funded_once_and_tries_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut community = founded(folder.path()).await;
    // One has spent everything, another one its allowance too.
    let (poor, broke) = (
        community.held.book.accounts[3].address,
        community.held.book.accounts[4].address,
    );
    let store = community.store.clone();
    store
        .update(&mut community.held, |book| {
            book.purses.insert(poor, Purse { balance: 0, drawn: 0 });
            let drawn = 10_000_000_000;
            book.purses.insert(broke, Purse { balance: 0, drawn });
        })
        .await
        .unwrap();
    let done = community.duties().await.unwrap();
    assert_eq!((done.registered, done.unpaid), (9, 1));
    let book = &community.held.book;
    assert!(book.now.registered.contains_key(&3) && !book.now.registered.contains_key(&4));
    assert_eq!(book.purse(&poor).drawn, 1_000_000_000, "funded once");
    assert_eq!(book.now.row.unpaid, 1);
    community.close().await;
}

#[tokio::test]
async fn operations_are_refused_outside_their_phase() {
    let folder = tempfile::tempdir().unwrap();
    let mut community = founded(folder.path()).await;
    community.duties().await.unwrap();
    community.advance().await.unwrap();
    let mut book = community.held.book.clone();
    let wrong = |needs| Refusal::WrongPhase {
        is: Phase::Assigning,
        needs,
    };
    assert_eq!(book.register(0), Err(wrong(Phase::Registering)));
    assert_eq!(book.claim(0), Err(wrong(Phase::Registering)));
    assert_eq!(book.attest(0, Default::default()), Err(wrong(Phase::Attesting)));
    assert_eq!(book, community.held.book);
    community.close().await;
}

/// An endorsement of a newbie that is registered already makes an endorsee of it, and no ticket is taken for a second one.
#[tokio::test]
async fn a_registered_newbie_is_upgraded_by_an_endorsement() {
    let folder = tempfile::tempdir().unwrap();
    let mut community = founded(folder.path()).await;
    for _step in 0..3 {
        community.duties().await.unwrap();
        community.advance().await.unwrap();
    }
    community.duties().await.unwrap();
    let mut book = community.held.book.clone();
    let newbie = u32::try_from(book.accounts.len() - 1).unwrap();
    let before = book.now.row.registered;
    assert_eq!(book.endorse(9, newbie), Ok(()));
    assert_eq!(book.now.row.registered.endorsees, before.endorsees + 1);
    assert_eq!(book.now.row.registered.newbies, before.newbies - 1);
    assert_eq!(book.endorse(9, newbie), Err(Refusal::AlreadyEndorsed));
    community.close().await;
}

#[tokio::test]
async fn the_driver_begins_the_next_phase_once_the_bots_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path());
    let mut community = founded(folder.path()).await;
    let (store, ceremony, phase) = (community.store.clone(), 1, Phase::Registering);
    store.beat("slow", ceremony, phase, false).await.unwrap();
    community.duties().await.unwrap();
    community.close().await;

    let shutdown = CancellationToken::new();
    let patience = Patience {
        lease_blocks: 1_000_000,
        ..Patience::default()
    };
    let block = Duration::from_millis(5);
    let drive = Community::drive(
        &home,
        patience,
        block,
        true,
        means(),
        |_, _, decision| assert_eq!(decision, Decision::Barrier),
        &shutdown,
    );
    let finish = async {
        let (store, held) = community::community::read(folder.path()).await.unwrap();
        for _beat in 0..20 {
            tokio::time::sleep(block).await;
            store.beat("slow", ceremony, phase, false).await.unwrap();
            assert_eq!(
                store.load().await.unwrap().unwrap().book.phase,
                held.book.phase,
                "one is not done"
            );
        }
        store.beat("slow", ceremony, phase, true).await.unwrap();
    };
    let (driven, ()) = tokio::join!(drive, finish);
    driven.unwrap();
    let (_, held) = community::community::read(folder.path()).await.unwrap();
    assert_eq!((held.book.now.number, held.book.phase), (1, Phase::Assigning));
}

#[tokio::test]
async fn two_bots_on_one_state_do_the_work_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut community = founded(folder.path()).await;
    // Another process, as far as the database is concerned: it has read the community before this one changed it.
    let (store, mut other) = community::community::read(folder.path()).await.unwrap();
    community.duties().await.unwrap();
    let refusals = store
        .update(&mut other, |book| {
            (0..10)
                .filter(|id| book.register(*id) == Err(Refusal::AlreadyRegistered))
                .count()
        })
        .await
        .unwrap();
    // Its first attempt registered everybody on what it had read; that was not stored, and the second found it done.
    assert_eq!(refusals, 10);
    assert_eq!(other.book, community.held.book);
    community.close().await;
}

#[tokio::test]
async fn a_driver_that_dies_between_ledger_and_book_is_followed_by_one_that_does_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let founding = Founding { ..founding(3) };
    let mut community = Community::found(&home(folder.path()), founding, means()).await.unwrap();
    for _phase in 0..2 {
        community.duties().await.unwrap();
        community.advance().await.unwrap();
    }
    community.duties().await.unwrap();
    // The ledger has run the epoch, and the book has not moved.
    assert_eq!(community.subnet.end_phase(Some(1)).await.unwrap(), 1);
    community.close().await;
    let mut community = Community::open(&home(folder.path()), means()).await.unwrap();
    assert_eq!(community.held.book.phase, Phase::Attesting);
    community.duties().await.unwrap();
    community.advance().await.unwrap();
    let moment = community.subnet.moment().await.unwrap();
    assert_eq!(
        (
            moment.epoch,
            community.held.book.now.number,
            community.held.book.now.epoch
        ),
        (1, 2, 1)
    );
    community.close().await;
}

#[tokio::test]
async fn a_ledger_that_another_bot_is_at_is_a_matter_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let community = founded(folder.path()).await;
    let error = refused(Community::open(&home(folder.path()), means()).await);
    assert_eq!(error.code(), node::exit::Code::Restart, "{error}");
    community.close().await;
    Community::open(&home(folder.path()), means())
        .await
        .unwrap()
        .close()
        .await;
}
