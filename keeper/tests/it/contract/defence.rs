//! The defence lane: any active keeper after a short window, nobody slashed, never without a keeper, and the pause itself.

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall;
use contracts::{Agent, Contract, PauseGuard, TestPausable};
use keeper::rule::Refusal;

use super::world::{DEFENCE, GWEI, RETRY, World, customer, number, owner, refused, tenths, who, whole, worker};

/// Three keepers and a defence job, whose window is two blocks.
fn defended(world: &mut World) -> (B256, u32, u32) {
    for _ in 0..3 {
        world.keeper(whole(5_000));
    }
    let terms = world.by_resolver(DEFENCE);
    let key = world.register_job(&terms, whole(1)).unwrap();
    let assigned = world.assigned(key);
    (key, assigned, assigned % 3 + 1)
}

#[test]
fn the_lane_opens_two_blocks_after_the_resolvers_block() {
    let mut world = World::new();
    let (key, assigned, other) = defended(&mut world);
    let since = world.chain.number();
    world.set_answer(2, since);
    for elapsed in 0..2 {
        let error = refused::<Agent::DefenceLaneClosed>(world.execute(key, other));
        assert_eq!(error.opensAt, U256::from(since + 2), "{elapsed}");
        assert_eq!(
            world.may_execute(key, other, since),
            Err(Refusal::DefenceLaneClosed {
                opens_at: Some(since + 2)
            })
        );
        assert_eq!(world.may_execute(key, assigned, since), Ok(true));
        world.chain.pass(12);
    }
    assert_eq!(world.may_execute(key, other, since), Ok(true));
    let stakes: Vec<u128> = (1..=3).map(|id| world.stake_of(id)).collect();
    let receipt = world.execute(key, other).unwrap();
    assert!(receipt.event::<Agent::SlashKeeper>().is_none());
    assert_eq!(
        (1..=3).map(|id| world.stake_of(id)).collect::<Vec<_>>(),
        stakes,
        "nobody is slashed"
    );
    assert_ne!(world.assigned(key), 0);
    refused::<Agent::NotSlashable>(world.initiate(key, other, true));
}

#[test]
fn the_assigned_keeper_may_at_once() {
    let mut world = World::new();
    let (key, assigned, _) = defended(&mut world);
    let since = world.chain.number();
    world.set_answer(2, since);
    world.execute(key, assigned).unwrap();
    assert_eq!(world.executions(), 1);
}

#[test]
fn a_resolver_that_does_not_say_since_when_is_opened_by_a_keeper() {
    let mut world = World::new();
    let (key, assigned, other) = defended(&mut world);
    let open = Agent::openDefenceCall { jobKey: key };
    refused::<Agent::JobCheckResolverReturnedFalse>(world.act(worker(other), &open));
    world.set_answer(1, 0);
    let error = refused::<Agent::DefenceLaneClosed>(world.execute(key, other));
    assert_eq!(error.opensAt, U256::ZERO);
    assert_eq!(
        world.may_execute(key, other, 0),
        Err(Refusal::DefenceLaneClosed { opens_at: None })
    );
    refused::<Agent::InactiveKeeper>(world.act(who(5), &open));
    let receipt = world.act(worker(other), &open).unwrap();
    let opens_at = world.chain.number() + 2;
    assert_eq!(
        receipt.event::<Agent::OpenDefence>().unwrap().opensAt,
        U256::from(opens_at)
    );
    refused::<Agent::DefenceAlreadyOpen>(world.act(worker(assigned), &open));
    world.blocks(1);
    refused::<Agent::DefenceLaneClosed>(world.execute(key, other));
    world.blocks(1);
    assert_eq!(world.may_execute(key, other, 0), Ok(true));
    world.execute(key, other).unwrap();
    assert_eq!(
        world.job(key).defenceOpenAt.to::<u64>(),
        0,
        "the next time it is opened anew"
    );
    world.act(customer(), &open).unwrap();
    refused::<Agent::DefenceAlreadyOpen>(world.act(customer(), &open));

    let plain = world.by_resolver(0);
    let plain = world.register_job(&plain, whole(1)).unwrap();
    refused::<Agent::NotADefenceJob>(world.act(worker(other), &Agent::openDefenceCall { jobKey: plain }));
}

#[test]
fn a_block_in_the_future_opens_nothing() {
    let mut world = World::new();
    let (key, _, other) = defended(&mut world);
    world.set_answer(2, 1_000_000);
    let error = refused::<Agent::DefenceLaneClosed>(world.execute(key, other));
    assert_eq!(error.opensAt, U256::ZERO);
}

#[test]
fn inactive_keepers_and_strangers_stay_out() {
    let mut world = World::new();
    let (key, assigned, other) = defended(&mut world);
    world.set_answer(2, 1);
    world.disable(other).unwrap();
    refused::<Agent::InactiveKeeper>(world.execute(key, other));
    assert_eq!(world.may_execute(key, other, 1), Err(Refusal::InactiveKeeper));
    let stranger = Agent::executeCall {
        jobKey: key,
        keeperId: U256::from(assigned),
        options: U256::ZERO,
        jobCalldata: contracts::TestJob::workCall {}.abi_encode().into(),
    };
    refused::<Agent::KeeperWorkerNotAuthorized>(world.act(who(5), &stranger));
}

/// W-PA-5, where it is fatal: after a failure the job has a keeper, the lane stays open, and the wait does not grow.
#[test]
fn a_failed_defence_is_never_left_without_a_keeper() {
    let mut world = World::new();
    let (key, _, _) = defended(&mut world);
    world.set_answer(2, 1);
    world.set_body(1);
    for failures in 0..5_u32 {
        let keeper = 1 + failures % 3;
        let now = world.chain.now();
        let receipt = world.execute(key, keeper).unwrap();
        let event = receipt.event::<Agent::ExecutionReverted>().unwrap();
        let wait = RETRY.delay(failures, true);
        assert_eq!((wait, event.retryAt), (12, U256::from(now + 12)));
        let next = world.assigned(key);
        assert!(next != 0 && next != keeper);
        world.chain.pass(11);
        refused::<Agent::TooEarlyToRetry>(world.execute(key, next));
        world.chain.pass(1);
    }
    world.set_body(0);
    world.execute(key, 1).unwrap();
    assert_eq!(world.executions(), 1);
}

/// Without a lane that is known to be open, a failure undoes the transaction: the job keeps its keeper.
#[test]
fn a_failure_before_the_lane_is_known_changes_nothing() {
    let mut world = World::new();
    let (key, assigned, _) = defended(&mut world);
    world.set_answer(1, 0);
    world.set_body(1);
    let before = world.job(key);
    assert_eq!(world.may_execute(key, assigned, 0), Ok(false));
    refused::<Agent::SlashingNotInitiatedExecutionReverted>(world.execute(key, assigned));
    assert_eq!(world.job(key), before);
}

/// Neither a base fee above its cap nor credits that run short stop a pause; it never pays more than the credits.
#[test]
fn a_defence_is_not_stopped_by_fees() {
    let mut world = World::new();
    let (key, assigned, other) = defended(&mut world);
    let withdraw = Agent::withdrawJobCreditsCall {
        jobKey: key,
        to: customer(),
        amount: tenths(10) - U256::from(1),
    };
    world.act(customer(), &withdraw).unwrap();
    assert_eq!(
        (world.assigned(key), world.credits(key)),
        (0, 1),
        "too few credits for a keeper of its own"
    );
    world.set_answer(1, 0);
    world.chain.set_base_fee(50_000 * GWEI);
    assert_eq!(
        world.may_execute(key, other, 0),
        Ok(false),
        "nobody is assigned: the lane is open"
    );
    let receipt = world.execute(key, other).unwrap();
    let event = receipt.event::<Agent::Execute>().unwrap();
    assert_eq!((number(event.compensation), world.credits(key)), (1, 0));
    assert_eq!(event.gasPrice, U256::from(50_000 * GWEI));
    assert_ne!(assigned, 0);
    world.execute(key, assigned).unwrap();
}

#[test]
fn a_window_of_nothing_is_open_to_all_at_once() {
    let mut world = World::new();
    for _ in 0..3 {
        world.keeper(whole(5_000));
    }
    let mut terms = world.by_resolver(DEFENCE);
    terms.defenceWindow = 0;
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.set_answer(1, 0);
    for id in 1..=3 {
        assert_eq!(world.may_execute(key, id, 0), Ok(false));
        world.execute(key, id).unwrap();
    }
}

/// A contract whose power to pause is the guard's, and its pause job.
fn guarded(world: &mut World) -> (Address, Address, B256) {
    let target = world
        .chain
        .create(owner(), Contract::TestPausable.bytecode().clone())
        .unwrap();
    let arguments = PauseGuard::constructorCall {
        owner_: owner(),
        protocol_: target,
        call_: TestPausable::setPausedCall { paused_: true }.abi_encode().into(),
        reporters: vec![who(11), who(12), who(13)],
        threshold_: U256::from(2),
    };
    let guard = world
        .chain
        .create(owner(), Contract::PauseGuard.creation(&arguments))
        .unwrap();
    let terms = Agent::JobTerms {
        target: guard,
        selector: PauseGuard::fireCall::SELECTOR.into(),
        ..world.by_resolver(DEFENCE)
    };
    let call = Agent::registerJobCall {
        terms,
        resolver: guard,
        data: PauseGuard::checkCall {}.abi_encode().into(),
    };
    let receipt = world.pay(customer(), whole(1), &call).unwrap();
    (target, guard, receipt.event::<Agent::RegisterJob>().unwrap().jobKey)
}

fn pause(key: B256, keeper: u32) -> Agent::executeCall {
    Agent::executeCall {
        jobKey: key,
        keeperId: U256::from(keeper),
        options: U256::ZERO,
        jobCalldata: PauseGuard::fireCall {}.abi_encode().into(),
    }
}

#[test]
fn two_of_three_reporters_make_the_pause_executable() {
    let mut world = World::new();
    for _ in 0..3 {
        world.keeper(whole(5_000));
    }
    let (target, guard, key) = guarded(&mut world);
    let confirm = PauseGuard::confirmCall {
        incident_: B256::from(U256::from(42)),
    };
    let other = world.assigned(key) % 3 + 1;
    let paused = |world: &mut World| world.chain.view(target, &TestPausable::pausedCall {}).unwrap();

    assert!(
        world
            .chain
            .call(who(5), guard, &confirm)
            .unwrap_err()
            .is::<PauseGuard::NotReporter>()
    );
    world.chain.call(who(11), guard, &confirm).unwrap();
    assert!(
        world
            .chain
            .call(who(11), guard, &confirm)
            .unwrap_err()
            .is::<PauseGuard::AlreadyConfirmed>()
    );
    refused::<Agent::JobCheckResolverReturnedFalse>(world.act(worker(other), &pause(key, other)));
    let early = world.chain.call(customer(), guard, &PauseGuard::fireCall {});
    assert!(early.unwrap_err().is::<PauseGuard::NotDue>());

    world.chain.call(who(12), guard, &confirm).unwrap();
    let confirmed = world.chain.number();
    refused::<Agent::DefenceLaneClosed>(world.act(worker(other), &pause(key, other)));
    world.blocks(2);
    // The target does not obey the guard yet, so the pause fails: recorded, and tried again 12 s later.
    world.act(worker(other), &pause(key, other)).unwrap();
    assert_eq!((world.job(key).failures, paused(&mut world)), (1, false));
    assert_eq!(world.chain.number(), confirmed + 2);
    let hand_over = TestPausable::setGuardianCall { guardian_: guard };
    world.chain.call(owner(), target, &hand_over).unwrap();
    world.chain.pass(12);
    let next = world.assigned(key);
    world.act(worker(next), &pause(key, next)).unwrap();
    assert!(paused(&mut world));

    // The incident is over; a late confirmation of it starts nothing.
    assert!(
        world
            .chain
            .call(who(13), guard, &confirm)
            .unwrap_err()
            .is::<PauseGuard::AlreadyConfirmed>()
    );
    refused::<Agent::JobCheckResolverReturnedFalse>(world.act(worker(next), &pause(key, next)));
}

#[test]
fn the_last_reporter_may_pause_in_the_same_transaction() {
    let mut world = World::new();
    let (target, guard, _) = guarded(&mut world);
    let hand_over = TestPausable::setGuardianCall { guardian_: guard };
    world.chain.call(owner(), target, &hand_over).unwrap();
    let confirm = PauseGuard::confirmAndFireCall {
        incident_: B256::from(U256::from(42)),
    };
    world.chain.call(who(11), guard, &confirm).unwrap();
    assert!(!world.chain.view(target, &TestPausable::pausedCall {}).unwrap());
    let receipt = world.chain.call(who(12), guard, &confirm).unwrap();
    assert_eq!(receipt.event::<PauseGuard::Fired>().unwrap().by, who(12));
    assert!(world.chain.view(target, &TestPausable::pausedCall {}).unwrap());
}

#[test]
fn a_false_alarm_is_dismissed_and_an_old_one_lapses() {
    let mut world = World::new();
    world.keeper(whole(5_000));
    let (_, guard, key) = guarded(&mut world);
    let confirm = |incident: u64| PauseGuard::confirmCall {
        incident_: B256::from(U256::from(incident)),
    };
    world.chain.call(who(11), guard, &confirm(1)).unwrap();
    world.chain.call(who(12), guard, &confirm(1)).unwrap();
    let dismiss = PauseGuard::dismissCall {};
    assert!(
        world
            .chain
            .call(customer(), guard, &dismiss)
            .unwrap_err()
            .is::<PauseGuard::NotOwner>()
    );
    world.chain.call(owner(), guard, &dismiss).unwrap();
    refused::<Agent::JobCheckResolverReturnedFalse>(world.act(worker(1), &pause(key, 1)));

    // What one reporter said 301 blocks ago does not count any more.
    world.chain.call(who(11), guard, &confirm(2)).unwrap();
    world.blocks(301);
    world.chain.call(who(12), guard, &confirm(3)).unwrap();
    refused::<Agent::JobCheckResolverReturnedFalse>(world.act(worker(1), &pause(key, 1)));
    world.chain.call(who(11), guard, &confirm(3)).unwrap();
    assert_ne!(
        world.chain.view(guard, &PauseGuard::dueSinceCall {}).unwrap(),
        U256::ZERO
    );

    let threshold = PauseGuard::setThresholdCall { threshold_: U256::ZERO };
    assert!(
        world
            .chain
            .call(owner(), guard, &threshold)
            .unwrap_err()
            .is::<PauseGuard::NoThreshold>()
    );
    let remove = PauseGuard::setReporterCall {
        account: who(13),
        allowed: false,
    };
    world.chain.call(owner(), guard, &remove).unwrap();
    assert!(
        world
            .chain
            .call(who(13), guard, &confirm(4))
            .unwrap_err()
            .is::<PauseGuard::NotReporter>()
    );
}
