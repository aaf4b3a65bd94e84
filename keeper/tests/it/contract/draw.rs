//! PA-01 to PA-03, and draws by stake.

use alloy::primitives::{B256, U256};
use contracts::Agent;
use keeper::rule::{ActiveSet, Member, Wanted};
use proptest::prelude::*;

use super::world::{ACTIVE, World, config, customer, number, owner, refused, tenths, u96, whole};

fn drawn(world: &mut World, key: B256, random: U256) -> (u32, u32) {
    let wanted = world.wanted(key, None);
    let by_rule = world.active_set().draw(random, key.into(), wanted).unwrap_or(0);
    let call = Agent::drawCall {
        jobKey: key,
        random,
        exclude: U256::ZERO,
    };
    (by_rule, world.ask(&call).to())
}

#[test]
fn pa_01_the_draw_follows_the_random_number() {
    let mut world = World::new();
    for _ in 0..5 {
        world.keeper(whole(3_000));
    }
    // A real job whose key is a multiple of five.
    let terms = world.by_interval(10);
    let key = loop {
        let key = world.register_job(&terms, U256::ZERO).unwrap();
        if U256::from_be_bytes(key.0) % U256::from(5) == U256::ZERO {
            break key;
        }
    };
    let expected = [1, 2, 3, 4, 5, 1];
    for (random, id) in (10_u64..).zip(expected) {
        assert_eq!(drawn(&mut world, key, U256::from(random)), (id, id));
    }
    assert_eq!(drawn(&mut world, key, U256::ZERO), (1, 1));
    assert_eq!(drawn(&mut world, key, U256::MAX), (5, 5), "the sum wraps around");

    // The same through the block's own random number.
    let deposit = Agent::depositJobCreditsCall { jobKey: key };
    world.pay(customer(), whole(1), &deposit).unwrap();
    for (random, id) in (10_u64..).zip(expected) {
        world.release(key, customer()).unwrap();
        world.chain.set_randao(B256::from(U256::from(random)));
        let call = Agent::assignKeeperCall { jobKeys: vec![key] };
        world.act(customer(), &call).unwrap();
        assert_eq!(world.assigned(key), id);
    }
}

#[test]
fn pa_02_leaving_moves_the_last_to_the_free_place() {
    let mut world = World::new();
    for _ in 0..5 {
        world.keeper(whole(3_000));
    }
    let mut set = world.active_set();
    for id in [1, 5] {
        world.disable(id).unwrap();
        assert!(set.leave(id));
    }
    let ids = |set: &ActiveSet| set.members().iter().map(|member| member.id).collect::<Vec<_>>();
    assert_eq!(ids(&set), [4, 2, 3]);
    let on_chain = world.active_set();
    assert_eq!(ids(&on_chain), [4, 2, 3]);

    // The vector's key is a multiple of five, and one more than a multiple of three.
    let key = B256::from(U256::from(10));
    for (random, id) in [(10, 3), (11, 4), (12, 2), (13, 3)] {
        assert_eq!(drawn(&mut world, key, U256::from(random)), (id, id));
    }
}

#[test]
fn pa_03_without_enough_stake_the_highest_above_the_minimum_is_drawn() {
    let mut world = World::new();
    for stake in [5_000, 10_000, 15_000, 20_000, 25_000] {
        world.keeper(whole(stake));
    }
    let mut terms = world.by_interval(10);
    let mut assigned_with = |world: &mut World, job_min: u64| {
        terms.minStake = u96(whole(job_min));
        let key = world.register_job(&terms, U256::ZERO).unwrap();
        // A random number that cancels the key: the first in the set begins.
        let random = U256::ZERO.wrapping_sub(key.into());
        world.chain.set_randao(random.into());
        let deposit = Agent::depositJobCreditsCall { jobKey: key };
        world.pay(customer(), whole(1), &deposit).unwrap();
        let (by_rule, by_view) = drawn(world, key, random);
        assert_eq!(by_rule, by_view);
        assert_eq!(world.assigned(key), by_view);
        (key, by_view)
    };
    assert_eq!(assigned_with(&mut world, 12_000).1, 3);
    let (key, fallback) = assigned_with(&mut world, 30_000);
    assert_eq!(fallback, 5, "nobody has 30,000: the highest");

    // W-PA-4: who was drawn like that may execute too.
    world.chain.pass(10);
    world.execute(key, 5).unwrap();

    let mut config = world.ask(&Agent::configCall {});
    config.minKeeperStake = u96(whole(21_000));
    world
        .act(
            owner(),
            &Agent::setConfigCall {
                config_: config.clone(),
            },
        )
        .unwrap();
    assert_eq!(assigned_with(&mut world, 0).1, 5, "only one has the minimum");
    config.minKeeperStake = u96(whole(25_000));
    world.act(owner(), &Agent::setConfigCall { config_: config }).unwrap();
    assert_eq!(
        assigned_with(&mut world, 30_000).1,
        0,
        "exactly the minimum is not above it"
    );
}

#[test]
fn nobody_is_drawn_where_nobody_is_active() {
    let mut world = World::new();
    let terms = world.by_interval(10);
    let key = world.register_job(&terms, whole(1)).unwrap();
    assert_eq!(world.assigned(key), 0);
    assert_eq!(world.slasher(key), 0, "and there is no division by zero");
    refused::<Agent::CantAssignKeeper>(world.act(customer(), &Agent::assignKeeperCall { jobKeys: vec![key] }));
    let id = world.register(whole(3_000)).unwrap();
    refused::<Agent::JobHasNoKeeperAssigned>(world.execute(key, id));
    assert_eq!(terms.flags, ACTIVE);
}

/// W-PA-8: a keeper with ten times the stake is drawn ten times as often.
#[test]
fn draws_follow_the_stake() {
    let mut world = World::with(config(), whole(3_000));
    for stake in [3_000, 30_000, 3_000, 6_000] {
        world.keeper(whole(stake));
    }
    let mut counts = [0_u32; 4];
    for random in 0..14_u64 {
        let (by_rule, by_view) = drawn(&mut world, B256::ZERO, U256::from(random));
        assert_eq!(by_rule, by_view);
        counts[by_view as usize - 1] += 1;
    }
    assert_eq!(counts, [1, 10, 1, 2]);
}

#[test]
fn a_job_needs_the_least_credits() {
    let mut world = World::new();
    world.keeper(whole(3_000));
    let mut config = config();
    config.jobMinCredits = u96(tenths(5));
    world.act(owner(), &Agent::setConfigCall { config_: config }).unwrap();
    let terms = world.by_interval(10);
    let poor = world.register_job(&terms, tenths(4)).unwrap();
    let rich = world.register_job(&terms, tenths(5)).unwrap();
    for (key, keeper) in [(poor, 0), (rich, 1)] {
        let credits = keeper::rule::Credits(world.credits(key));
        assert_eq!(credits.enough_for_keeper(number(tenths(5))), keeper != 0);
        let job = world.job(key);
        assert_eq!(
            (job.keeper.to::<u32>(), job.lastExecutionAt.to::<u64>()),
            (keeper, 0),
            "PA-04"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any keepers, some of whom leave, any random numbers: the contract's tree of tickets and the rule's walk agree.
    #[test]
    fn the_contract_draws_as_the_rule_does(
        stakes in prop::collection::vec(3_000_u64..40_000, 1..12),
        leaving in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        randoms in prop::collection::vec(any::<[u8; 32]>(), 1..6),
        exclude in any::<prop::sample::Index>(),
    ) {
        let mut world = World::with(config(), whole(1_000));
        for stake in &stakes {
            world.keeper(whole(*stake));
        }
        let mut gone = std::collections::BTreeSet::new();
        for index in &leaving {
            let id = u32::try_from(index.index(stakes.len())).unwrap() + 1;
            if gone.insert(id) {
                world.disable(id).unwrap();
            }
        }
        let set = world.active_set();
        let exclude = u32::try_from(exclude.index(stakes.len())).unwrap() + 1;
        for random in randoms {
            let random = U256::from_be_bytes(random);
            for excluded in [None, Some(exclude)] {
                let wanted = Wanted { job_min: 0, min: number(whole(3_000)), exclude: excluded };
                let by_rule = set.draw(random, U256::from(7), wanted).unwrap_or(0);
                let call = Agent::drawCall {
                    jobKey: B256::from(U256::from(7)),
                    random,
                    exclude: U256::from(excluded.unwrap_or(0)),
                };
                prop_assert_eq!(world.ask(&call).to::<u32>(), by_rule);
            }
        }
    }

    /// Splitting a stake over several keepers gains no tickets.
    #[test]
    fn splitting_a_stake_gains_nothing(parts in prop::collection::vec(1_000_u128..100_000, 1..8)) {
        let set = ActiveSet::with(1_000, [Member { id: 1, stake: 5_000 }]);
        let split: u128 = parts.iter().map(|part| set.tickets(*part)).sum();
        prop_assert!(split <= set.tickets(parts.iter().sum()));
    }
}
