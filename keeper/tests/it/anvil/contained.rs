//! Jobs that mean harm, beside one that does not.

use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::{SolCall as _, SolError as _};
use contracts::{Agent, Contract, TestJob};

use super::world::{ACTIVE, RESOLVER, SELECTOR, World, terms, whole};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_loop_burn_lie_and_reenter_hold_up_no_other_and_come_back_when_they_change() {
    let Some(world) = World::start().await else { return };
    world.join(1, 1_000, "").await;
    let create = async || world.create(Contract::TestJob.bytecode().clone()).await;
    let check = || Bytes::from(TestJob::checkCall {}.abi_encode());

    let good = create().await;
    world
        .register(terms(good, SELECTOR, 10, ACTIVE), Address::ZERO, Bytes::new())
        .await;
    // Resolvers: garbage, a loop, 100 kB, a revert, an offset beyond the end.
    let mut liars = Vec::new();
    for answer in [3, 4, 5, 6, 7] {
        let liar = create().await;
        let call = TestJob::setAnswerCall {
            answer_: answer,
            since_: U256::ZERO,
        };
        world.call(0, liar, U256::ZERO, &call).await;
        liars.push((
            liar,
            world.register(terms(liar, RESOLVER, 0, ACTIVE), liar, check()).await,
        ));
    }
    // Bodies: a revert behind a resolver that says yes, all gas, and one that calls the Agent.
    let failing = create().await;
    let yes = TestJob::setAnswerCall {
        answer_: 1,
        since_: U256::ZERO,
    };
    world.call(0, failing, U256::ZERO, &yes).await;
    world
        .call(0, failing, U256::ZERO, &TestJob::setBodyCall { body_: 1 })
        .await;
    let failing_key = world
        .register(terms(failing, RESOLVER, 0, ACTIVE), failing, check())
        .await;
    let burner = create().await;
    world
        .call(0, burner, U256::ZERO, &TestJob::setBodyCall { body_: 2 })
        .await;
    let burner_key = world
        .register(terms(burner, SELECTOR, 10, ACTIVE), Address::ZERO, Bytes::new())
        .await;
    let reentrant = create().await;
    let reentrant_key = world
        .register(terms(reentrant, SELECTOR, 10, ACTIVE), Address::ZERO, Bytes::new())
        .await;
    let inner = Agent::withdrawJobCreditsCall {
        jobKey: reentrant_key,
        to: reentrant,
        amount: U256::from(1),
    };
    let reenter = TestJob::setReentryCall {
        target: world.agent,
        data: inner.abi_encode().into(),
        value: U256::ZERO,
    };
    world.call(0, reentrant, U256::ZERO, &reenter).await;
    world.by_hand().await;

    let keeper = world.run(1).await;
    let count = async |of: Address| world.view(of, &TestJob::countCall {}).await;
    world
        .until(&[&keeper], 80, async || {
            let health = keeper.health().await;
            count(good).await >= U256::from(6) && health["aside"].as_u64().unwrap_or_default() >= 6
        })
        .await;
    let health = keeper.health().await;
    assert_eq!(health["aside"], 6, "five resolvers and one body: {health}");
    assert!(health["reason"].is_null(), "{health}");
    for (liar, _) in &liars {
        assert_eq!(count(*liar).await, U256::ZERO);
    }
    // The burner was executed, failed, paid for its gas and no more than it had, and waits longer each time.
    let executions = world.events::<Agent::Execute>().await;
    let burnt: Vec<_> = executions
        .iter()
        .filter(|(_, execution)| execution.jobKey == burner_key)
        .collect();
    assert!(!burnt.is_empty() && burnt.iter().all(|(_, execution)| !execution.ok));
    let job = world.job(burner_key).await;
    let paid = burnt
        .iter()
        .fold(U256::ZERO, |sum, (_, execution)| sum + execution.compensation);
    assert_eq!(U256::from(job.credits), whole(1) - paid);
    assert_eq!(job.keeper.to::<u64>(), 1, "drawn anew");
    // The re-entrant one got nothing but a refusal.
    let refusal = world.view(reentrant, &TestJob::reenterErrorCall {}).await;
    assert_eq!(refusal.0, Agent::ExecutionReentrancyLocked::SELECTOR);

    // A change brings a job back: a deposit to the one whose body is mended, a resolver that answers.
    let mend = TestJob::setBodyCall { body_: 0 };
    world
        .submit(0, Some(failing), U256::ZERO, mend.abi_encode().into())
        .await;
    for _ in 0..3 {
        let block = world.mine().await;
        world.worked(&[&keeper], block).await;
    }
    assert_eq!(
        count(failing).await,
        U256::ZERO,
        "it is still aside: nothing about the job itself changed"
    );
    let deposit = Agent::depositJobCreditsCall { jobKey: failing_key };
    world
        .submit(0, Some(world.agent), U256::ONE, deposit.abi_encode().into())
        .await;
    let (liar, liar_key) = liars[0];
    let honest = TestJob::setAnswerCall {
        answer_: 1,
        since_: U256::ZERO,
    };
    world
        .submit(0, Some(liar), U256::ZERO, honest.abi_encode().into())
        .await;
    let change = Agent::setResolverCall {
        jobKey: liar_key,
        resolver: liar,
        data: check(),
    };
    world
        .submit(0, Some(world.agent), U256::ZERO, change.abi_encode().into())
        .await;
    world
        .until(&[&keeper], 30, async || {
            count(failing).await > U256::ZERO && count(liar).await > U256::ZERO
        })
        .await;
    assert_eq!(keeper.health().await["aside"], 4);

    // Killed and started again, it remembers who was set aside.
    keeper.kill().await;
    let keeper = world.run(1).await;
    let block = world.mine().await;
    world.worked(&[&keeper], block).await;
    assert_eq!(keeper.health().await["aside"], 4);
}
