//! When a keeper may give up a job.

use alloy::primitives::U256;
use contracts::Agent;
use keeper::rule::Refusal;

use super::slashing::two_keepers;
use super::world::{PERIODS, START, World, admin, config, owner, refused, u96, whole, worker};

/// W-PA-2: an interval job is given up only when it is overdue and the slasher let its time pass.
#[test]
fn a_keeper_gives_up_an_interval_job_only_after_the_slashers_time() {
    let mut world = World::new();
    let terms = world.by_interval(1_000);
    let (key, keeper, other) = two_keepers(&mut world, &terms);
    let both = 1_000 + 15 + 30;
    for (elapsed, allowed) in [(45, false), (both - 1, false), (both, true)] {
        world.chain.warp(START + elapsed);
        let by_rule = world.turn(key, 0).may_release(true, true, PERIODS, START + elapsed);
        assert_eq!(by_rule.is_ok(), allowed);
        let result = world.release(key, worker(keeper));
        if allowed {
            result.unwrap();
        } else {
            let error = refused::<Agent::TooEarlyToRelease>(result);
            assert_eq!(error.availableAt, U256::from(START + both));
            assert_eq!(by_rule, Err(Refusal::TooEarlyToRelease { at: START + both }));
        }
    }
    assert_eq!(world.assigned(key), other, "another is drawn at once");
    refused::<Agent::OnlyNextKeeper>(world.execute(key, keeper));
    assert_eq!(
        world.turn(key, 0).grace_from(),
        START + both,
        "with a grace period of its own"
    );
    world.execute(key, other).unwrap();
}

#[test]
fn a_keeper_gives_up_a_resolver_job_only_after_the_slashers_time_or_without_credits() {
    let mut world = World::new();
    let terms = world.by_resolver(0);
    let (key, keeper, slasher) = two_keepers(&mut world, &terms);
    refused::<Agent::CantRelease>(world.release(key, worker(keeper)));
    refused::<Agent::OnlyKeeperAdminOrWorker>(world.release(key, worker(slasher)));
    world.set_answer(1, 0);
    world.until_slasher(key, slasher);
    world.initiate(key, slasher, false).unwrap();
    let t = world.chain.now();
    world.chain.warp(t + 44);
    refused::<Agent::TooEarlyToRelease>(world.release(key, worker(keeper)));
    let by_rule = world.turn(key, 0).may_release(true, true, PERIODS, t + 44);
    assert_eq!(by_rule, Err(Refusal::TooEarlyToRelease { at: t + 45 }));
    world.chain.warp(t + 45);
    world.release(key, admin(keeper)).unwrap();
    assert_eq!(world.assigned(key), slasher);

    // Credits too short for a keeper.
    let mut dear = config();
    dear.jobMinCredits = u96(whole(2));
    world.act(owner(), &Agent::setConfigCall { config_: dear }).unwrap();
    world.release(key, worker(slasher)).unwrap();
    assert_eq!(world.assigned(key), 0);
    refused::<Agent::JobHasNoKeeperAssigned>(world.release(key, worker(slasher)));
}

/// A keeper that left hands over what is not due, so that its stake is not held for ever by a resolver that never says yes.
#[test]
fn a_disabled_keeper_hands_its_jobs_over() {
    let mut world = World::new();
    let terms = world.by_resolver(0);
    let (key, keeper, other) = two_keepers(&mut world, &terms);
    world.disable(keeper).unwrap();
    assert_eq!(world.assigned(key), keeper, "leaving alone does not");
    assert_eq!(world.turn(key, 0).may_release(true, false, PERIODS, START), Ok(()));
    world.release(key, worker(keeper)).unwrap();
    assert_eq!(
        (world.assigned(key), world.info(keeper).assignedJobs.to::<u32>()),
        (other, 0)
    );

    let terms = world.by_interval(100);
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.disable(other).unwrap();
    world.chain.pass(100);
    refused::<Agent::TooEarlyToRelease>(world.release(key, worker(other)));
    let (now, turn) = (world.chain.now(), world.turn(key, 0));
    assert!(
        turn.may_release(true, false, PERIODS, now).is_err(),
        "what is due it executes"
    );
    world.execute(key, other).unwrap();
    assert_eq!(world.assigned(key), 0, "nobody is active any more");
}
