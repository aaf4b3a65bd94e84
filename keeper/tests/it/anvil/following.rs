//! The follower's book is what the chain says: over reorgs, gaps and restarts.

use alloy::primitives::{Address, B256, Bytes, U256};
use contracts::{Agent, Contract};
use keeper::agent::AgentClient;
use keeper::follow::{Follower, Scope};
use keeper::job::OWNER_CREDITS;
use keeper::store::Store;
use serde_json::json;
use state::{Node, NodeConfig, Reader, ReaderConfig};

use super::world::{ACTIVE, SELECTOR, World, terms};

async fn follower(world: &World) -> Follower {
    let config = NodeConfig {
        endpoints: vec![world.anvil.http().parse().unwrap()],
        ..NodeConfig::default()
    };
    let node = Node::connect(config).await.unwrap();
    let reader = Reader::new(node.clone(), ReaderConfig::default()).await.unwrap();
    let agent = AgentClient::open(node, world.agent, reader.head().hash())
        .await
        .unwrap();
    let store = Store::open(&world.folder.path().join("follow.db"), 31_337, world.agent)
        .await
        .unwrap();
    let scope = Scope {
        keeper: 1,
        deployed_at: 0,
        log_range: 7,
        max_jobs: 1_000,
    };
    Follower::new(reader, agent, store, scope).await.unwrap()
}

async fn head(follower: &Follower) -> B256 {
    follower.agent().node().newest().await.unwrap().header.hash
}

/// Every job that it knows is as the chain has it, and it knows all of `keys` and no other.
async fn agrees(follower: &Follower, keys: &[B256]) {
    let mut known: Vec<B256> = follower.book().jobs().map(|job| job.key).collect();
    let mut expected = keys.to_vec();
    known.sort_unstable();
    expected.sort_unstable();
    assert_eq!(known, expected);
    let truth = follower.agent().jobs(keys, head(follower).await).await.unwrap();
    for (key, job) in truth {
        assert_eq!(follower.book().get(&key).map(|job| (**job).clone()), job);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_an_undone_block_is_gone_and_one_that_changed_there_is_as_before() {
    let Some(world) = World::start().await else { return };
    world.join(1, 1_000, "").await;
    let target = world.create(Contract::TestJob.bytecode().clone()).await;
    let register = async || {
        world
            .register(terms(target, SELECTOR, 20, ACTIVE), Address::ZERO, Bytes::new())
            .await
    };
    let first = register().await;
    let mut follower = follower(&world).await;
    follower.advance(head(&follower).await).await.unwrap();
    agrees(&follower, &[first]).await;
    let before = follower.book().get(&first).unwrap().credits;

    let snapshot = world.rpc("evm_snapshot", json!([])).await;
    let second = register().await;
    let deposit = Agent::depositJobCreditsCall { jobKey: first };
    world.call(0, world.agent, U256::from(77), &deposit).await;
    let news = follower.advance(head(&follower).await).await.unwrap();
    assert_eq!(news.undone, 0);
    agrees(&follower, &[first, second]).await;
    assert_eq!(follower.book().get(&first).unwrap().credits, before + U256::from(77));

    // The chain takes another way.
    world.rpc("evm_revert", json!([snapshot])).await;
    world.rpc("evm_increaseTime", json!([3])).await;
    world.rpc("anvil_mine", json!(["0x3"])).await;
    let third_target = world.create(Contract::TestJob.bytecode().clone()).await;
    let third = world
        .register(terms(third_target, SELECTOR, 9, ACTIVE), Address::ZERO, Bytes::new())
        .await;
    let news = follower.advance(head(&follower).await).await.unwrap();
    assert_eq!(news.undone, 2);
    assert_eq!(news.gone, [second]);
    agrees(&follower, &[first, third]).await;
    assert_eq!(follower.book().get(&first).unwrap().credits, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_nobody_looked_is_found() {
    let Some(world) = World::start().await else { return };
    world.join(1, 1_000, "").await;
    let target = world.create(Contract::TestJob.bytecode().clone()).await;
    let shared = terms(target, SELECTOR, 20, ACTIVE | OWNER_CREDITS);
    let register = async |terms: Agent::JobTerms| world.register(terms, Address::ZERO, Bytes::new()).await;
    let one = register(shared.clone()).await;
    let two = register(shared).await;
    {
        let mut follower = follower(&world).await;
        follower.advance(head(&follower).await).await.unwrap();
        agrees(&follower, &[one, two]).await;
        assert!(
            !follower.book().get(&one).unwrap().eligible,
            "no credits of the owner's yet"
        );
        // One deposit makes both eligible.
        let deposit = Agent::depositOwnerCreditsCall {
            jobOwner: world.account(0),
            jobKeys: vec![],
        };
        world
            .call(0, world.agent, U256::from(10).pow(U256::from(18)), &deposit)
            .await;
        let news = follower.advance(head(&follower).await).await.unwrap();
        assert_eq!(news.changed.len(), 2);
        agrees(&follower, &[one, two]).await;
        assert!(follower.book().get(&two).unwrap().eligible);
        // More blocks at once than heads are kept.
        world.rpc("anvil_mine", json!(["0x50"])).await;
        let three = register(terms(target, SELECTOR, 30, ACTIVE)).await;
        world.rpc("anvil_mine", json!(["0x50"])).await;
        follower.advance(head(&follower).await).await.unwrap();
        agrees(&follower, &[one, two, three]).await;
    }
    // Down while a job changes and another one comes: the memory on disk is the beginning, the chain the truth.
    let update = Agent::updateJobCall {
        jobKey: one,
        terms: terms(target, SELECTOR, 99, ACTIVE),
    };
    world.call(0, world.agent, U256::ZERO, &update).await;
    let four = register(terms(target, SELECTOR, 40, ACTIVE)).await;
    let mut follower = follower(&world).await;
    let news = follower.advance(head(&follower).await).await.unwrap();
    assert_eq!(follower.book().len(), 4);
    assert_eq!(follower.book().get(&one).unwrap().interval, 99);
    assert!(news.touched.contains(&one) && news.touched.contains(&four) && !news.touched.contains(&two));
}
