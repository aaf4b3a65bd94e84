//! Three keepers, one of them dead.

use alloy::primitives::{Bytes, U256};
use contracts::{Agent, Contract, TestJob};

use super::world::{ACTIVE, RESOLVER, World, terms, whole};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_keepers_job_is_executed_by_the_slasher_who_gains_its_stakes_part() {
    let Some(world) = World::start().await else { return };
    world.join_all(3).await;
    let (target, key) = world.every_twenty_seconds().await;
    world.by_hand().await;
    let mut keepers = [
        Some(world.run(1).await),
        Some(world.run(2).await),
        Some(world.run(3).await),
    ];
    let count = async || world.view(target, &TestJob::countCall {}).await;

    // Everybody is there: the assigned keeper executes, again and again, and nobody is slashed.
    {
        let all: Vec<_> = keepers.iter().flatten().collect();
        world.until(&all, 30, async || count().await >= U256::from(2)).await;
    }
    assert!(world.events::<Agent::SlashKeeper>().await.is_empty());

    // The keeper that has the job now dies.
    let dead = world.job(key).await.keeper.to::<u64>();
    keepers[dead as usize - 1].take().unwrap().kill().await;
    let executed = count().await;
    let waited = {
        let alive: Vec<_> = keepers.iter().flatten().collect();
        world.until(&alive, 60, async || count().await > executed).await
    };
    let slashes = world.events::<Agent::SlashKeeper>().await;
    assert_eq!(slashes.len(), 1);
    let (_, slash) = &slashes[0];
    assert_eq!(slash.assignedId, U256::from(dead));
    // 10 tokens, and 3 % of 1,000.
    assert_eq!(slash.amount, whole(40));
    assert_eq!(world.stake(dead).await, whole(960));
    assert_eq!(world.stake(slash.slasherId.to()).await, whole(1_040));
    println!(
        "keeper {dead} died; keeper {} executed {waited} blocks later and gained 40 tokens",
        slash.slasherId
    );

    // It comes back: it works on, and does nothing twice.
    keepers[dead as usize - 1] = Some(world.run(dead as usize).await);
    let executed = count().await;
    let all: Vec<_> = keepers.iter().flatten().collect();
    world
        .until(&all, 60, async || count().await >= executed + U256::from(4))
        .await;
    let executions = world.events::<Agent::Execute>().await;
    let mut blocks: Vec<u64> = executions.iter().map(|(block, _)| *block).collect();
    blocks.dedup();
    assert_eq!(
        blocks.len(),
        executions.len(),
        "one execution for each time that it was due"
    );
    assert!(executions.iter().all(|(_, execution)| execution.ok));
    assert_eq!(
        world.events::<Agent::SlashKeeper>().await.len(),
        1,
        "a restart costs nobody a stake"
    );
    for (before, after) in blocks.iter().zip(blocks.iter().skip(1)) {
        assert!(
            (after - before) * super::world::BLOCK_TIME >= 20,
            "an interval lies between executions"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_keeper_of_a_resolver_job_is_announced_and_then_slashed() {
    let Some(world) = World::start().await else { return };
    world.join_all(3).await;
    let target = world.create(Contract::TestJob.bytecode().clone()).await;
    let check = TestJob::checkCall {};
    let check = Bytes::from(alloy::sol_types::SolCall::abi_encode(&check));
    let key = world.register(terms(target, RESOLVER, 0, ACTIVE), target, check).await;
    let dead = world.job(key).await.keeper.to::<u64>();
    world.by_hand().await;
    let alive = world.run_all_but(dead).await;
    let alive: Vec<_> = alive.iter().collect();
    let count = async || world.view(target, &TestJob::countCall {}).await;
    let answer = async |answer: u8| {
        let call = TestJob::setAnswerCall {
            answer_: answer,
            since_: U256::ZERO,
        };
        let input = alloy::sol_types::SolCall::abi_encode(&call);
        world.submit(0, Some(target), U256::ZERO, input.into()).await
    };

    // Yes for two heads is not enough.
    answer(1).await;
    for _ in 0..2 {
        let block = world.mine().await;
        world.worked(&alive, block).await;
    }
    answer(0).await;
    for _ in 0..6 {
        let block = world.mine().await;
        world.worked(&alive, block).await;
    }
    assert!(world.events::<Agent::InitiateKeeperSlashing>().await.is_empty());

    // Yes for good: announced after the grace, executed after another one, slashed.
    answer(1).await;
    let waited = world.until(&alive, 60, async || count().await > U256::ZERO).await;
    let announced = world.events::<Agent::InitiateKeeperSlashing>().await;
    let slashes = world.events::<Agent::SlashKeeper>().await;
    assert_eq!((announced.len(), slashes.len()), (1, 1));
    let (slash_block, slash) = &slashes[0];
    assert_eq!((slash.assignedId, slash.amount), (U256::from(dead), whole(40)));
    assert_eq!(slash.slasherId, announced[0].1.slasherId, "who announced it");
    assert_eq!(world.stake(slash.slasherId.to()).await, whole(1_040));
    assert!(
        (slash_block - announced[0].0) * super::world::BLOCK_TIME >= 15,
        "the announced keeper had its grace"
    );
    println!("announced and slashed within {waited} blocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_is_killed_with_a_transaction_on_its_way_takes_it_up_again_and_sends_no_second_one() {
    let Some(world) = World::start().await else { return };
    world.join(1, 1_000, "").await;
    let (target, _) = world.every_twenty_seconds().await;
    world.by_hand().await;
    let keeper = world.run(1).await;
    // Due, sent, not mined.
    world.until(&[&keeper], 20, async || world.pending().await == 1).await;
    keeper.kill().await;
    let keeper = world.run(1).await;
    let count = async || world.view(target, &TestJob::countCall {}).await;
    world
        .until(&[&keeper], 20, async || count().await >= U256::from(3))
        .await;
    let executions = world.events::<Agent::Execute>().await;
    assert_eq!(U256::from(executions.len()), count().await);
    let worker = world.account(4);
    let nonce = alloy::providers::Provider::get_transaction_count(&world.provider, worker)
        .await
        .unwrap();
    assert_eq!(
        nonce,
        executions.len() as u64,
        "each of its transactions was an execution"
    );
}
