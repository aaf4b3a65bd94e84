//! PA-11 to PA-13: what an execution that fails costs, whom, and who is next.

use alloy::primitives::U256;
use contracts::Agent;
use keeper::rule::{Credits, Refusal};

use super::slashing::two_keepers;
use super::world::{GWEI, OWNER_CREDITS, RATES, RETRY, WHOLE, World, customer, number, refused, whole, worker};

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
    refused::<Agent::BaseFeeGtCap>(world.execute_with(key, slasher, super::world::ACCEPT_MAX_BASE_FEE));
    let receipt = world
        .execute_with(key, keeper, super::world::ACCEPT_MAX_BASE_FEE)
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
