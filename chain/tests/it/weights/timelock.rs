//! Sealed commits: the ledger opens them by itself once its beacon has signed the round, or drops them.

use chain::commit::timelock::{Payload, seal};
use chain::local::params::Overrides;
use chain::{Keypair, Ledger, TimelockedCommit};

use super::overrides;
use crate::world::{World, pair};

fn sealing() -> Overrides {
    Overrides {
        commit_reveal_weights_enabled: Some(true),
        commit_reveal_version: Some(4),
        ..overrides()
    }
}

/// 1 and 2 have permits; at block 7.
async fn world(home: &std::path::Path) -> World {
    let world = World::open(home, sealing()).await;
    world.until(1).await;
    world.register(&[1, 2, 3, 4]).await;
    world.stake(1, 2_000).await;
    world.stake(2, 1_500).await;
    world.until(7).await;
    world
}

fn payload(hotkey: &Keypair, uids: &[u16]) -> Payload {
    Payload {
        hotkey: Some(hotkey.account()),
        uids: uids.to_vec(),
        values: vec![9; uids.len()],
        version_key: 0,
    }
}

/// Seals as a validator does: to the round that the schedule names.
async fn sealed(world: &World, payload: &Payload) -> TimelockedCommit {
    let beacon = world.remote.beacon().await.unwrap();
    let head = world.remote.block().await.unwrap();
    let schedule = world.remote.schedule().await.unwrap();
    let reveal_round = schedule.reveal_round(head, 1, beacon.now_ms, &beacon).unwrap();
    TimelockedCommit {
        ciphertext: seal(&beacon.public_key, reveal_round, &payload.encode()).unwrap(),
        reveal_round,
        version: 4,
    }
}

#[tokio::test]
async fn sealed_weights_are_opened_three_blocks_into_their_epoch_by_a_ledger_that_was_started_anew() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let commit = sealed(&world, &payload(&pair(1), &[3, 4])).await;
    assert_eq!(commit.reveal_round, 23);
    assert_eq!(world.remote.commit_timelocked(&pair(1), commit).await.unwrap(), 7);
    let world = world.restart().await;
    world.until(22).await;
    assert_eq!(world.remote.weights(1).await.unwrap(), []);
    assert_eq!(world.state().sealed.len(), 1);
    let world = world.restart().await;
    world.until(23).await;
    assert_eq!(world.remote.weights(1).await.unwrap(), [(3, 65_535), (4, 65_535)]);
    assert!(world.state().sealed.is_empty());
    let me = world.remote.metagraph().await.unwrap().neurons[1].clone();
    assert_eq!((me.last_update, me.weights_known), (7, true));
    world.until(40).await;
    let incentives: Vec<u16> = world.state().neurons.iter().map(|n| n.incentive).collect();
    assert_eq!(incentives, [0, 0, 0, 32_767, 32_767]);
}

#[tokio::test]
async fn what_cannot_be_opened_is_dropped_and_harms_nobody() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let key = world.remote.beacon().await.unwrap().public_key;
    let seal_to = |round: u64, plain: &[u8]| seal(&key, round, plain).unwrap();
    let own = payload(&pair(1), &[3]).encode();
    let stranger = chain::commit::timelock::LocalBeacon::from_seed(&[5; 32]);
    let of = |ciphertext: Vec<u8>, reveal_round: u64| TimelockedCommit {
        ciphertext,
        reveal_round,
        version: 4,
    };
    // What is sealed, by the round that the commit names.
    type Sealing<'a> = &'a dyn Fn(u64) -> Vec<u8>;
    let bad: [(&str, Sealing<'_>); 8] = [
        ("no container at all", &|_| vec![7; 300]),
        ("empty", &|_| vec![]),
        ("altered", &|round| {
            let mut altered = seal_to(round, &own);
            *altered.last_mut().unwrap() ^= 1;
            altered
        }),
        ("sealed to another round", &|round| seal_to(round + 1, &own)),
        ("sealed to another beacon", &|round| {
            seal(stranger.public_key(), round, &own).unwrap()
        }),
        ("not weights", &|round| seal_to(round, b"nonsense")),
        ("another's, copied", &|round| {
            seal_to(round, &payload(&pair(2), &[4]).encode())
        }),
        ("for a uid that nobody has", &|round| {
            seal_to(round, &payload(&pair(1), &[77]).encode())
        }),
    ];
    // Each alone in its epoch.
    let mut begins = 0;
    for (what, sealing) in bad {
        world.until(begins + 7).await;
        let round = begins + 23;
        world
            .remote
            .commit_timelocked(&pair(1), of(sealing(round), round))
            .await
            .unwrap();
        assert_eq!(world.state().sealed.len(), 1, "{what}");
        world.until(begins + 24).await;
        assert_eq!(world.remote.weights(1).await.unwrap(), [], "{what}");
        assert!(
            world.state().sealed.is_empty(),
            "{what}: it stays no longer than its round"
        );
        begins += 20;
    }
    // Whoever seals well beside such a one is opened.
    world.until(begins + 7).await;
    let good = sealed(&world, &payload(&pair(2), &[4])).await;
    world.remote.commit_timelocked(&pair(2), good).await.unwrap();
    world
        .remote
        .commit_timelocked(&pair(1), of(vec![7; 300], begins + 23))
        .await
        .unwrap();
    world.until(begins + 24).await;
    assert_eq!(world.remote.weights(2).await.unwrap(), [(4, 65_535)]);
    assert_eq!(world.remote.weights(1).await.unwrap(), []);
}

#[tokio::test]
async fn a_round_that_is_not_signed_in_time_expires_with_the_epoch() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path()).await;
    let key = world.remote.beacon().await.unwrap().public_key;
    let late = TimelockedCommit {
        ciphertext: seal(&key, 41, &payload(&pair(1), &[3]).encode()).unwrap(),
        reveal_round: 41,
        version: 4,
    };
    world.remote.commit_timelocked(&pair(1), late).await.unwrap();
    world.until(39).await;
    assert_eq!(world.state().sealed.len(), 1, "it waits for its round");
    world.until(42).await;
    assert!(world.state().sealed.is_empty());
    assert_eq!(world.remote.weights(1).await.unwrap(), []);
}
