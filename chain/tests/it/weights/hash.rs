//! Commits by hash: a promise in one epoch, its opening in the next, and in no other.

use chain::commit::hash;
use chain::local::params::Overrides;
use chain::{Ledger, LedgerError, Refusal, WeightsReveal};

use super::overrides;
use crate::world::{World, pair};

fn by_hash(period: u64) -> Overrides {
    Overrides {
        commit_reveal_weights_enabled: Some(true),
        commit_reveal_version: Some(2),
        reveal_period_epochs: Some(period),
        ..overrides()
    }
}

fn opening(uids: &[u16], values: &[u16]) -> WeightsReveal {
    WeightsReveal {
        uids: uids.to_vec(),
        values: values.to_vec(),
        salt: hash::salt(),
        version_key: 0,
    }
}

async fn world(home: &std::path::Path, period: u64) -> World {
    let world = World::open(home, by_hash(period)).await;
    world.until(1).await;
    world.register(&[1, 2, 3]).await;
    world.stake(1, 2_000).await;
    world.until(7).await;
    world
}

#[tokio::test]
async fn a_commit_is_opened_in_its_epoch_even_by_a_ledger_that_was_started_anew() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path(), 1).await;
    let promised = opening(&[2, 3], &[3, 1]);
    let commit = hash::commit(&pair(1).account(), 1, &promised);
    assert_eq!(world.remote.commit_weights(&pair(1), commit).await.unwrap(), 7);
    let me = world.remote.metagraph().await.unwrap().neurons[1].clone();
    assert_eq!((me.last_update, me.weights_known), (7, false));

    let world = world.restart().await;
    world.until(19).await;
    let early = world.remote.reveal_weights(&pair(1), promised.clone()).await;
    assert_eq!(early, Err(LedgerError::Refused(Refusal::RevealTooEarly)));
    world.until(23).await;
    let world = world.restart().await;
    assert_eq!(
        world.remote.reveal_weights(&pair(1), promised.clone()).await.unwrap(),
        23
    );
    assert_eq!(world.remote.weights(1).await.unwrap(), [(2, 65_535), (3, 21_845)]);
    let me = world.remote.metagraph().await.unwrap().neurons[1].clone();
    assert_eq!(
        (me.last_update, me.weights_known),
        (7, true),
        "the commit was the update"
    );

    let again = world.remote.reveal_weights(&pair(1), promised).await;
    assert_eq!(again, Err(LedgerError::Refused(Refusal::NoWeightsCommitFound)));
    // The epoch pays by them.
    world.until(40).await;
    let metagraph = world.remote.metagraph().await.unwrap();
    assert_eq!(
        metagraph.neurons.iter().map(|n| n.incentive).collect::<Vec<_>>(),
        [0, 0, 49_151, 16_383]
    );
    let entry = &world.remote.history(1, 1).await.unwrap()[0];
    assert_eq!(
        (entry.epoch, entry.commit_block),
        (2, None),
        "revealed: nothing is open any more"
    );
}

#[tokio::test]
async fn opening_a_commit_drops_the_older_ones_and_keeps_the_younger() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path(), 1).await;
    let promises = [opening(&[2], &[1]), opening(&[3], &[1]), opening(&[2, 3], &[1, 1])];
    for (place, promise) in promises.iter().enumerate() {
        world.until(7 + 4 * place as u64).await;
        let commit = hash::commit(&pair(1).account(), 1, promise);
        world.remote.commit_weights(&pair(1), commit).await.unwrap();
    }
    world.until(20).await;
    let [oldest, middle, youngest] = promises;
    world.remote.reveal_weights(&pair(1), middle).await.unwrap();
    assert_eq!(world.remote.weights(1).await.unwrap(), [(3, 65_535)]);
    let dropped = world.remote.reveal_weights(&pair(1), oldest).await;
    assert_eq!(
        dropped,
        Err(LedgerError::Refused(Refusal::InvalidRevealCommitHashNotMatch))
    );
    world.remote.reveal_weights(&pair(1), youngest).await.unwrap();
    assert_eq!(world.remote.weights(1).await.unwrap(), [(2, 65_535), (3, 65_535)]);
}

#[tokio::test]
async fn a_reveal_that_the_rules_refuse_leaves_the_commit_open() {
    let home = tempfile::tempdir().unwrap();
    let world = world(home.path(), 2).await;
    let unknown = opening(&[2, 9], &[1, 1]);
    let commit = hash::commit(&pair(1).account(), 1, &unknown);
    world.remote.commit_weights(&pair(1), commit).await.unwrap();
    world.until(40).await;
    let before = world.state();
    assert_eq!(before.commits.len(), 1);
    let refused = world.remote.reveal_weights(&pair(1), unknown).await;
    assert_eq!(refused, Err(LedgerError::Refused(Refusal::UidVecContainInvalidOne)));
    assert_eq!(*world.state(), *before);
}

#[tokio::test]
async fn who_committed_before_a_miner_came_does_not_weigh_it() {
    // What was promised for a uid is not inherited by whoever takes the uid over between commit and reveal.
    let home = tempfile::tempdir().unwrap();
    let full = Overrides {
        max_allowed_uids: Some(4),
        immunity_period: Some(1),
        min_non_immune_uids: Some(0),
        ..by_hash(1)
    };
    let world = World::open(home.path(), full).await;
    world.until(1).await;
    world.register(&[1, 2, 3]).await;
    world.stake(1, 2_000).await;
    world.until(7).await;
    let promised = opening(&[2, 3], &[1, 1]);
    let commit = hash::commit(&pair(1).account(), 1, &promised);
    world.remote.commit_weights(&pair(1), commit).await.unwrap();
    world.until(22).await;
    let pruned = world.remote.register(&pair(4)).await.unwrap().uid;
    assert_eq!(pruned, 2, "the least (emission, block, uid)");
    world.remote.reveal_weights(&pair(1), promised).await.unwrap();
    world.until(40).await;
    let metagraph = world.remote.metagraph().await.unwrap();
    assert_eq!(metagraph.by_uid(2).unwrap().hotkey, pair(4).account());
    assert_eq!(
        metagraph.neurons.iter().map(|n| n.incentive).collect::<Vec<_>>(),
        [0, 0, 0, 65_535]
    );
}
