//! PA-05 to PA-09 and PA-11 to PA-13: whose turn it is, what a slash takes, and what happens after a failure.

use alloy::primitives::{B256, U256};
use contracts::Agent;
use keeper::rule::{Credits, Keeper, Refusal, Slashing};

use crate::world::{
    GWEI, LIMITS, OWNER_CREDITS, PERIODS, RATES, RETRY, SLASHING, START, WHOLE, World, admin, config, customer, number,
    owner, refused, u96, whole, worker,
};

/// Two keepers, and a job that one of them is assigned to.
fn two_keepers(world: &mut World, terms: &Agent::JobTerms) -> (B256, u32, u32) {
    for _ in 0..2 {
        world.keeper(whole(5_000));
    }
    let key = world.register_job(terms, whole(1)).unwrap();
    let assigned = world.assigned(key);
    (key, assigned, 3 - assigned)
}

#[test]
fn pa_05_an_interval_job_belongs_to_its_keeper_then_to_the_slasher() {
    let mut world = World::new();
    for _ in 0..3 {
        world.keeper(whole(5_000));
    }
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    let first = world.assigned(key);

    // W-PA-10: the first run too is a whole interval away, for the assigned keeper and for its slashers.
    refused::<Agent::IntervalNotReached>(world.execute(key, first));
    assert_eq!(
        world.may_execute(key, first, 0),
        Err(Refusal::IntervalNotReached { due: START + 10 })
    );
    world.chain.warp(START + 10);
    world.execute(key, first).unwrap();
    let t = START + 10;
    let assigned = world.assigned(key);
    let others: Vec<u32> = (1..=3).filter(|id| *id != assigned).collect();

    world.chain.warp(t + 24);
    for other in &others {
        let error = refused::<Agent::OnlyNextKeeper>(world.execute(key, *other));
        assert_eq!(
            (error.assignedId, error.period1),
            (U256::from(assigned), U256::from(15))
        );
        assert_eq!(
            world.may_execute(key, *other, 0),
            Err(Refusal::OnlyNextKeeper {
                assigned,
                until: t + 25
            })
        );
    }
    world.chain.warp(t + 25);
    let slasher = world.slasher(key);
    assert_eq!(world.slasher_by_rule(key), Some(slasher));
    assert_ne!(slasher, assigned, "W-PA-7: never the assigned keeper itself");
    let third = others.iter().copied().find(|id| *id != slasher).unwrap();
    let error = refused::<Agent::OnlyCurrentSlasher>(world.execute(key, third));
    assert_eq!(error.slasherId, U256::from(slasher));
    assert_eq!(
        world.may_execute(key, third, 0),
        Err(Refusal::OnlyCurrentSlasher { slasher: Some(slasher) })
    );
    assert_eq!(world.may_execute(key, slasher, 0), Ok(true));
    world.execute(key, slasher).unwrap();
    assert_eq!(world.executions(), 2);
}

#[test]
fn pa_06_a_slash_moves_the_fixed_part_and_a_share() {
    let mut world = World::new();
    let mut terms = world.by_interval(10);
    terms.maxStake = u96(whole(10));
    let (key, victim, slasher) = two_keepers(&mut world, &terms);
    let mut raised = config();
    raised.minKeeperStake = u96(whole(5_000));
    world.act(owner(), &Agent::setConfigCall { config_: raised }).unwrap();

    world.chain.pass(25);
    world.until_slasher(key, slasher);
    let receipt = world.execute(key, slasher).unwrap();
    let event = receipt.event::<Agent::SlashKeeper>().unwrap();
    assert_eq!(
        (event.assignedId, event.slasherId),
        (U256::from(victim), U256::from(slasher))
    );

    let by_rule = SLASHING.of(5_000 * WHOLE, 10 * WHOLE);
    assert_eq!((by_rule.taken, by_rule.missing), (503 * WHOLE / 10, 0), "50 + 10 * 3 %");
    assert_eq!(number(event.amount), by_rule.taken);
    assert_eq!(world.stake_of(victim), 49_497 * WHOLE / 10);
    assert_eq!(world.stake_of(slasher), 50_503 * WHOLE / 10);
    assert_eq!(world.info(victim).position, 0, "below the minimum of 5,000");
    let mut keeper = Keeper::register(5_000 * WHOLE, LIMITS, START).unwrap();
    keeper.finalize_activation(LIMITS, START).unwrap();
    let limits = keeper::rule::Limits {
        min_stake: 5_000 * WHOLE,
        ..LIMITS
    };
    assert!(keeper.slash(by_rule.taken, limits));
    assert_eq!((keeper.stake, keeper.active), (49_497 * WHOLE / 10, false));
    assert_eq!(world.assigned(key), slasher, "and is not drawn again");
}

#[test]
fn pa_07_a_slash_takes_no_more_than_there_is() {
    let mut world = World::new();
    let mut terms = world.by_interval(10);
    terms.maxStake = u96(whole(10));
    let (key, victim, slasher) = two_keepers(&mut world, &terms);
    let leave_forty = Agent::ownerSlashCall {
        keeperId: U256::from(victim),
        to: owner(),
        current: whole(4_960),
        pending: U256::ZERO,
        disable: false,
    };
    world.act(owner(), &leave_forty).unwrap();
    world.chain.pass(25);
    refused::<Agent::InsufficientKeeperStake>(world.execute(key, victim));
    world.until_slasher(key, slasher);
    let receipt = world.execute(key, slasher).unwrap();
    let event = receipt.event::<Agent::SlashKeeper>().unwrap();
    let by_rule = SLASHING.of(40 * WHOLE, 10 * WHOLE);
    assert_eq!((by_rule.taken, by_rule.missing), (40 * WHOLE, 103 * WHOLE / 10));
    assert_eq!(
        (number(event.amount), number(event.missing)),
        (by_rule.taken, by_rule.missing)
    );
    assert_eq!((world.stake_of(victim), world.stake_of(slasher)), (0, 5_040 * WHOLE));
}

#[test]
fn pa_08_pa_09_a_resolver_job_is_slashed_in_two_steps() {
    let mut world = World::new();
    for _ in 0..3 {
        world.keeper(whole(5_000));
    }
    let terms = world.by_resolver(0);
    let key = world.register_job(&terms, whole(1)).unwrap();
    world.set_answer(1, 0);
    let assigned = world.assigned(key);
    let slasher = world.slasher(key);
    let third = (1..=3).find(|id| *id != assigned && *id != slasher).unwrap();

    refused::<Agent::SlashingNotInitiated>(world.execute(key, slasher));
    assert_eq!(world.may_execute(key, slasher, 0), Err(Refusal::SlashingNotInitiated));
    refused::<Agent::AssignedKeeperCantSlash>(world.initiate(key, assigned, true));
    refused::<Agent::OnlyCurrentSlasher>(world.initiate(key, third, true));
    world.set_answer(0, 0);
    refused::<Agent::JobCheckResolverReturnedFalse>(world.initiate(key, slasher, true));
    refused::<Agent::JobCheckResolverReturnedFalse>(world.initiate(key, slasher, false));
    world.set_answer(1, 0);
    world.set_body(1);
    refused::<Agent::JobCheckCanNotBeExecuted>(world.initiate(key, slasher, false));
    world.set_body(0);
    let before = world.executions();
    let t = world.chain.now();
    let receipt = world.initiate(key, slasher, false).unwrap();
    assert_eq!(world.executions(), before, "the trial leaves nothing behind");
    let event = receipt.event::<Agent::InitiateKeeperSlashing>().unwrap();
    assert_eq!(event.possibleAfter, U256::from(t + 15));
    assert_eq!(world.job(key).slashingPossibleAfter.to::<u64>(), t + 15);

    world.chain.warp(t + 14);
    refused::<Agent::TooEarlyForSlashing>(world.execute(key, slasher));
    assert_eq!(
        world.may_execute(key, slasher, 0),
        Err(Refusal::TooEarlyForSlashing { possible_after: t + 15 })
    );
    world.chain.warp(t + 15);
    let error = refused::<Agent::OnlyReservedSlasher>(world.execute(key, third));
    assert_eq!(error.slasherId, U256::from(slasher));
    assert_eq!(
        world.may_execute(key, third, 0),
        Err(Refusal::OnlyReservedSlasher { slasher: Some(slasher) })
    );

    // PA-09
    world.chain.warp(t + 44);
    world.until_slasher(key, third);
    refused::<Agent::TooEarlyToReinitiateSlashing>(world.initiate(key, third, false));
    let (caller, now) = (world.caller(third), world.chain.now());
    let by_rule = world
        .turn(key, 0)
        .may_initiate_slashing(caller, Some(third), PERIODS, now);
    assert_eq!(by_rule, Err(Refusal::TooEarlyToReinitiateSlashing { at: t + 45 }));
    world.chain.warp(t + 45);
    world.until_slasher(key, third);
    let by_rule = world
        .turn(key, 0)
        .may_initiate_slashing(caller, Some(third), PERIODS, t + 45);
    assert_eq!(by_rule, Ok(t + 60));
    world.initiate(key, third, false).unwrap();
    assert_eq!(world.job(key).slashingPossibleAfter.to::<u64>(), t + 60);

    // The assigned keeper may at any time, which ends the slashing.
    let stakes: Vec<u128> = (1..=3).map(|id| world.stake_of(id)).collect();
    let receipt = world.execute(key, assigned).unwrap();
    assert!(receipt.event::<Agent::SlashKeeper>().is_none());
    let job = world.job(key);
    assert_eq!(
        (job.slashingPossibleAfter.to::<u64>(), job.reservedSlasher.to::<u32>()),
        (0, 0)
    );
    assert_eq!((1..=3).map(|id| world.stake_of(id)).collect::<Vec<_>>(), stakes);
}

#[test]
fn the_reserved_slasher_gains_its_part() {
    let mut world = World::new();
    let (key, victim, slasher) = {
        let terms = world.by_resolver(0);
        two_keepers(&mut world, &terms)
    };
    world.set_answer(1, 0);
    world.until_slasher(key, slasher);
    world.initiate(key, slasher, false).unwrap();
    world.chain.pass(15);
    // Nobody is slashed for what is not due any more, or with another call than the resolver's.
    world.set_answer(0, 0);
    refused::<Agent::JobCheckResolverReturnedFalse>(world.execute(key, slasher));
    world.set_answer(1, 0);
    let other_call = Agent::executeCall {
        jobKey: key,
        keeperId: U256::from(slasher),
        options: U256::ZERO,
        jobCalldata: vec![1, 2, 3, 4].into(),
    };
    refused::<Agent::JobCheckCalldataError>(world.act(worker(slasher), &other_call));
    assert_eq!(world.may_execute(key, slasher, 0), Ok(true));
    world.execute(key, slasher).unwrap();
    let taken = SLASHING.of(5_000 * WHOLE, 0).taken;
    assert_eq!(taken, 200 * WHOLE);
    assert_eq!(
        (world.stake_of(victim), world.stake_of(slasher)),
        (5_000 * WHOLE - taken, 5_000 * WHOLE + taken)
    );
}

#[test]
fn pa_11_after_a_failure_gas_is_paid_and_another_keeper_is_drawn_for_later() {
    let mut world = World::new();
    let terms = world.by_interval(10);
    let (key, keeper, other) = two_keepers(&mut world, &terms);
    world.chain.set_base_fee(20 * GWEI);
    world.set_body(1);
    let mut failing = keeper;
    for failures in 0..4_u32 {
        let due: u64 = world.ask(&Agent::dueAtCall { jobKey: key }).to();
        assert_eq!(world.turn(key, 0).due_at(), due);
        world.chain.warp(due);
        let (before, now) = (world.credits(key), world.chain.now());
        let receipt = world.execute(key, failing).unwrap();
        let event = receipt.event::<Agent::Execute>().unwrap();
        let paid = RATES.compensation(false, number(event.gasPrice), number(event.gasUsed), 5_000 * WHOLE, 0);
        assert!(!event.ok);
        assert_eq!((before - world.credits(key), number(event.compensation)), (paid, paid));
        let job = world.job(key);
        assert_eq!(job.lastExecutionAt.to::<u64>(), now);
        let wait = RETRY.delay(failures, false);
        assert_eq!(wait, 12 << failures, "12, 24, 48, 96 s");
        assert_eq!(job.retryAt.to::<u64>(), now + wait);
        let next = job.keeper.to::<u32>();
        assert_eq!(next, 3 - failing, "W-PA-5: the other one, never nobody");
        failing = next;

        world.chain.warp(now + wait.max(10) - 1);
        if wait > 10 {
            refused::<Agent::TooEarlyToRetry>(world.execute(key, failing));
            assert_eq!(
                world.may_execute(key, failing, 0),
                Err(Refusal::TooEarlyToRetry { retry_at: now + wait })
            );
        }
    }
    assert!([keeper, other].contains(&failing));
    assert_eq!(
        (RETRY.delay(12, false), RETRY.delay(200, false), RETRY.delay(9, true)),
        (3_600, 3_600, 12)
    );
    assert_eq!(
        world.ask(&Agent::retryDelayCall {
            failures: U256::from(200)
        }),
        U256::from(3_600)
    );

    // A change by the owner ends the wait; a success the count.
    world.set_body(0);
    world
        .act(customer(), &Agent::updateJobCall { jobKey: key, terms })
        .unwrap();
    assert_eq!((world.job(key).failures, world.job(key).retryAt.to::<u64>()), (0, 0));
    world.chain.pass(10);
    world.execute(key, failing).unwrap();
}

#[test]
fn pa_12_a_failing_resolver_job_changes_nothing_before_slashing_is_initiated() {
    let mut world = World::new();
    let terms = world.by_resolver(0);
    let (key, keeper, _) = two_keepers(&mut world, &terms);
    world.chain.set_base_fee(GWEI);
    world.set_body(1);
    let before = (world.job(key), world.info(keeper));
    assert_eq!(
        world.may_execute(key, keeper, 0),
        Ok(false),
        "a failure undoes the transaction"
    );
    refused::<Agent::SlashingNotInitiatedExecutionReverted>(world.execute(key, keeper));
    assert_eq!((world.job(key), world.info(keeper)), before);
}

#[test]
fn after_slashing_began_a_failure_frees_the_assigned_keeper() {
    let mut world = World::new();
    let terms = world.by_resolver(0);
    let (key, keeper, slasher) = two_keepers(&mut world, &terms);
    world.set_answer(1, 0);
    world.until_slasher(key, slasher);
    world.initiate(key, slasher, false).unwrap();
    world.set_body(1);
    assert_eq!(world.may_execute(key, keeper, 0), Ok(true), "a failure is recorded");
    world.execute(key, keeper).unwrap();
    let job = world.job(key);
    assert_eq!(
        (job.keeper.to::<u32>(), job.slashingPossibleAfter.to::<u64>()),
        (slasher, 0)
    );
}

/// W-PA-1: with owner credits too, a failure costs at most the credits.
#[test]
fn pa_13_a_failure_costs_no_more_than_the_credits() {
    for by_owner in [false, true] {
        let mut world = World::new();
        let mut terms = world.by_interval(10);
        let (rich, _, _) = two_keepers(&mut world, &terms);
        let key = if by_owner {
            terms.flags |= OWNER_CREDITS;
            let key = world.register_job(&terms, U256::ZERO).unwrap();
            let deposit = Agent::depositOwnerCreditsCall {
                jobOwner: customer(),
                jobKeys: vec![key],
            };
            world.pay(customer(), whole(1), &deposit).unwrap();
            key
        } else {
            world.register_job(&terms, whole(1)).unwrap()
        };
        let keeper = world.assigned(key);
        assert_ne!(keeper, 0);
        world.set_body(1);
        world.chain.set_base_fee(1_000_000 * GWEI);
        let accept_any = Agent::JobTerms {
            maxBaseFeeGwei: u16::MAX,
            ..terms.clone()
        };
        world
            .act(
                customer(),
                &Agent::updateJobCall {
                    jobKey: key,
                    terms: accept_any,
                },
            )
            .unwrap();
        world.chain.set_base_fee(65_535 * GWEI);
        world.chain.pass(10);
        let pool = world.chain.balance(world.agent);
        let receipt = world.execute(key, keeper).unwrap();
        let event = receipt.event::<Agent::Execute>().unwrap();
        let wanted = RATES.compensation(false, number(event.gasPrice), number(event.gasUsed), 0, 0);
        assert!(wanted > WHOLE, "{wanted}");
        let mut credits = Credits(WHOLE);
        assert_eq!(credits.debit(wanted, false, false), Ok(WHOLE));
        assert_eq!(number(event.compensation), WHOLE);
        assert_eq!(
            pool - world.chain.balance(world.agent),
            whole(1),
            "and nobody else pays"
        );
        assert_eq!(world.chain.balance(worker(keeper)), whole(1));
        let left = if by_owner {
            number(world.ask(&Agent::ownerCreditsCall { jobOwner: customer() }))
        } else {
            world.credits(key)
        };
        assert_eq!((left, credits), (0, Credits(0)));
        assert_eq!(world.credits(rich), WHOLE);
        assert_eq!(world.assigned(key), 0, "without credits nobody is assigned");
    }
}

#[test]
fn a_success_that_the_credits_do_not_bear_does_not_happen() {
    for by_owner in [false, true] {
        let mut world = World::new();
        world.keeper(whole(5_000));
        let mut terms = world.by_interval(10);
        terms.maxBaseFeeGwei = u16::MAX;
        let credits = whole(1);
        let key = if by_owner {
            terms.flags |= OWNER_CREDITS;
            let deposit = Agent::depositOwnerCreditsCall {
                jobOwner: customer(),
                jobKeys: vec![],
            };
            world.pay(customer(), credits, &deposit).unwrap();
            world.register_job(&terms, U256::ZERO).unwrap()
        } else {
            world.register_job(&terms, credits).unwrap()
        };
        world.chain.set_base_fee(65_535 * GWEI);
        world.chain.pass(10);
        if by_owner {
            refused::<Agent::InsufficientJobOwnerCredits>(world.execute(key, 1));
        } else {
            refused::<Agent::InsufficientJobCredits>(world.execute(key, 1));
        }
        assert!(Credits(WHOLE).debit(2 * WHOLE, true, false).is_err());
        assert_eq!(world.executions(), 0);
    }
}

/// W-PA-9: above the job's base fee nobody has to work, nobody is slashed, and who works all the same is paid by the job's.
#[test]
fn a_base_fee_above_the_cap_binds_nobody() {
    let mut world = World::new();
    let mut terms = world.by_interval(10);
    terms.maxBaseFeeGwei = 30;
    let (key, keeper, slasher) = two_keepers(&mut world, &terms);
    world.chain.set_base_fee(31 * GWEI);
    world.chain.pass(25);
    world.until_slasher(key, slasher);
    refused::<Agent::BaseFeeGtCap>(world.execute(key, keeper));
    refused::<Agent::BaseFeeGtCap>(world.execute(key, slasher));
    refused::<Agent::BaseFeeGtCap>(world.execute_with(key, slasher, crate::world::ACCEPT_MAX_BASE_FEE));
    let receipt = world
        .execute_with(key, keeper, crate::world::ACCEPT_MAX_BASE_FEE)
        .unwrap();
    let price = number(receipt.event::<Agent::Execute>().unwrap().gasPrice);
    let gwei = u128::from(GWEI);
    assert_eq!(
        keeper::rule::pay::gas_price(31 * gwei, 30 * gwei, false, true),
        Some(price)
    );
    assert_eq!(keeper::rule::pay::gas_price(31 * gwei, 30 * gwei, false, false), None);
    assert_eq!(
        keeper::rule::pay::gas_price(31 * gwei, 30 * gwei, true, false),
        Some(31 * gwei)
    );
}

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

/// W-PA-7: with one active keeper, who is assigned, there is no slasher, and nothing breaks.
#[test]
fn one_keeper_alone_has_no_slasher() {
    let mut world = World::new();
    let id = world.keeper(whole(5_000));
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    assert_eq!((world.slasher(key), world.slasher_by_rule(key)), (0, None));
    world.chain.pass(25);
    let outsider = world.register(whole(5_000)).unwrap();
    let error = refused::<Agent::OnlyCurrentSlasher>(world.execute(key, outsider));
    assert_eq!(error.slasherId, U256::ZERO);
    world.execute(key, id).unwrap();
}

/// Nobody knows the slasher before the epoch begins; everybody has turns; the rule says the same in every block.
#[test]
fn slashers_change_with_the_epochs() {
    let mut world = World::new();
    for _ in 0..4 {
        world.keeper(whole(5_000));
    }
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    let assigned = world.assigned(key);
    let mut seen = std::collections::BTreeSet::new();
    let mut last = (0, 0);
    for _ in 0..300 {
        let (epoch, slasher) = (world.chain.number() / 10, world.slasher(key));
        assert_eq!(world.slasher_by_rule(key), Some(slasher));
        if epoch == last.0 {
            assert_eq!(slasher, last.1, "one for the whole epoch");
        }
        last = (epoch, slasher);
        seen.insert(slasher);
        world.chain.pass(0);
    }
    let others: std::collections::BTreeSet<u32> = (1..=4).filter(|id| *id != assigned).collect();
    assert_eq!(seen, others);
}

#[test]
fn slashes_are_capped_by_stake_and_by_what_counts() {
    let fixed_only = Slashing { bps: 0, ..SLASHING };
    assert_eq!(fixed_only.of(10_000 * WHOLE, 0).taken, 50 * WHOLE);
    assert_eq!(SLASHING.of(100_000 * WHOLE, 0).taken, 1_550 * WHOLE, "50,000 count");
    let world = &mut World::new();
    for (stake, cap) in [(100_000_u64, 0_u64), (5_000, 10), (40, 10), (0, 0)] {
        let answer = world.ask(&Agent::slashOfCall {
            staked: whole(stake),
            maxStake: whole(cap),
        });
        let by_rule = SLASHING.of(u128::from(stake) * WHOLE, u128::from(cap) * WHOLE);
        assert_eq!(
            (number(answer.taken), number(answer.missing)),
            (by_rule.taken, by_rule.missing)
        );
    }
}
