//! Pauses through keepers: a confirmed incident is executed by whoever is there.

use alloy::primitives::{B256, Bytes, U256};
use alloy::sol_types::SolCall as _;
use contracts::guard as pause;
use contracts::{Agent, Contract, PauseGuard, TestJob, TestPausable};

use super::world::{ACTIVE, DEFENCE, RESOLVER, World, terms, whole};

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_incident_pauses_the_protocol_although_the_jobs_keeper_is_dead() {
    let Some(world) = World::start().await else { return };
    world.join_all(3).await;
    // Two validators have to agree: accounts 1 and 2.
    let protocol = world.create(Contract::TestPausable.bytecode().clone()).await;
    let guard = PauseGuard::constructorCall {
        owner_: world.account(0),
        protocol_: protocol,
        call_: TestPausable::setPausedCall { paused_: true }.abi_encode().into(),
        reporters: vec![world.account(1), world.account(2)],
        threshold_: U256::from(2),
    };
    let guard = world.create(Contract::PauseGuard.creation(&guard)).await;
    let right = TestPausable::setGuardianCall { guardian_: guard };
    world.call(0, protocol, U256::ZERO, &right).await;
    let input = pause::register_job(guard, 2, 300_000);
    let hash = world.submit(0, Some(world.agent), whole(1), input).await;
    let key = world
        .receipt(hash)
        .await
        .decoded_log::<Agent::RegisterJob>()
        .unwrap()
        .jobKey;
    let dead = world.job(key).await.keeper.to::<u64>();
    world.by_hand().await;
    let alive = world.run_all_but(dead).await;
    let alive: Vec<_> = alive.iter().collect();
    let paused = async || world.view(protocol, &TestPausable::pausedCall {}).await;

    // One validator alone stops nothing.
    let incident = pause::incident(31_337, 7, B256::repeat_byte(0xaa));
    world.submit(1, Some(guard), U256::ZERO, pause::confirm(incident)).await;
    for _ in 0..4 {
        let block = world.mine().await;
        world.worked(&alive, block).await;
    }
    assert!(!paused().await && world.events::<Agent::Execute>().await.is_empty());

    // The second one does, and no keeper asks who the job was assigned to.
    world.submit(2, Some(guard), U256::ZERO, pause::confirm(incident)).await;
    let begun = std::time::Instant::now();
    let waited = world.until(&alive, 20, paused).await;
    println!(
        "paused {waited} blocks after the confirmation was sent, {:?} by the clock",
        begun.elapsed()
    );
    assert!(
        waited <= 5,
        "the confirmation, a window of two, the execution: {waited}"
    );
    let executions = world.events::<Agent::Execute>().await;
    let done: Vec<_> = executions.iter().filter(|(_, execution)| execution.ok).collect();
    assert_eq!(done.len(), 1);
    assert_ne!(done[0].1.keeperId, U256::from(dead));
    assert!(
        world.events::<Agent::SlashKeeper>().await.is_empty(),
        "nobody is slashed for it"
    );
    assert_ne!(world.job(key).await.keeper.to::<u64>(), 0, "the job has a keeper again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_nobody_dates_is_opened_by_a_keeper_and_a_revert_leaves_it_in_good_hands() {
    let Some(world) = World::start().await else { return };
    world.join_all(3).await;
    let target = world.create(Contract::TestJob.bytecode().clone()).await;
    let check = Bytes::from(TestJob::checkCall {}.abi_encode());
    let key = world
        .register(terms(target, RESOLVER, 0, ACTIVE | DEFENCE), target, check)
        .await;
    let dead = world.job(key).await.keeper.to::<u64>();
    world.by_hand().await;
    let alive = world.run_all_but(dead).await;
    let alive: Vec<_> = alive.iter().collect();
    let count = async || world.view(target, &TestJob::countCall {}).await;

    // The pause is due, but not since when; then its body reverts.
    let yes = TestJob::setAnswerCall {
        answer_: 1,
        since_: U256::ZERO,
    };
    world.submit(0, Some(target), U256::ZERO, yes.abi_encode().into()).await;
    let waited = world.until(&alive, 20, async || count().await > U256::ZERO).await;
    println!("opened and executed within {waited} blocks");
    let opened = world.events::<Agent::OpenDefence>().await;
    assert_eq!(opened.len(), 1, "one keeper pays for opening it");
    assert!(world.events::<Agent::SlashKeeper>().await.is_empty());
    assert_ne!(world.job(key).await.keeper.to::<u64>(), 0);

    // Whoever has the job now is asked first; its revert is recorded once the lane is open, and the job stays in somebody's hands.
    let fail = TestJob::setBodyCall { body_: 1 };
    world
        .submit(0, Some(target), U256::ZERO, fail.abi_encode().into())
        .await;
    for _ in 0..12 {
        let block = world.mine().await;
        world.worked(&alive, block).await;
        assert_ne!(world.job(key).await.keeper.to::<u64>(), 0, "never without a keeper");
    }
    let before = count().await;
    let mend = TestJob::setBodyCall { body_: 0 };
    world
        .submit(0, Some(target), U256::ZERO, mend.abi_encode().into())
        .await;
    world.until(&alive, 30, async || count().await > before).await;
}
