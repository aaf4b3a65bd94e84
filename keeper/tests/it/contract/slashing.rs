//! PA-05 to PA-09: whose turn it is, and what a slash takes.

use alloy::primitives::{B256, U256};
use contracts::Agent;
use keeper::rule::{Keeper, Refusal, Slashing};

use super::world::{
    LIMITS, PERIODS, SLASHING, START, WHOLE, World, config, number, owner, refused, u96, whole, worker,
};

/// Two keepers, and a job that one of them is assigned to.
pub(crate) fn two_keepers(world: &mut World, terms: &Agent::JobTerms) -> (B256, u32, u32) {
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
