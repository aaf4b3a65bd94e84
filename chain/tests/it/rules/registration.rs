//! Who gets a uid, what it costs, who makes room.

use super::always::check_rows;
use super::*;

#[test]
fn the_owner_is_uid_0_and_newcomers_get_the_next() {
    let mut world = World::new(params());
    assert_eq!(world.0.by_hotkey(&key(0)).unwrap().uid, 0);
    for (n, uid) in [(7, 1), (3, 2), (9, 3)] {
        world.act(n, Operation::Register).unwrap();
        assert_eq!(world.0.by_hotkey(&key(n)).unwrap().uid, uid);
    }
    assert_eq!(
        world.act(3, Operation::Register),
        Err(Refusal::HotKeyAlreadyRegisteredInSubNet)
    );
    assert_eq!(
        world.act(0, Operation::Register),
        Err(Refusal::HotKeyAlreadyRegisteredInSubNet)
    );
}

/// A full subnet of the owner and three others, past immunity where the test says so, with the emissions it says.
fn full(min_non_immune_uids: u16, emissions: [u64; 3]) -> World {
    let mut world = World::new(Hyperparameters {
        max_allowed_uids: 4,
        immunity_period: 5,
        min_non_immune_uids,
        ..params()
    });
    for n in 1..=3 {
        world.act(n, Operation::Register).unwrap();
        world.block();
    }
    for (neuron, emission) in world.0.neurons.iter_mut().skip(1).zip(emissions) {
        neuron.emission = emission;
    }
    world
}

#[test]
fn a_full_subnet_gives_the_uid_of_whom_earns_least() {
    // Nobody is past immunity: the least (emission, block, uid) among the immune.
    assert_eq!(neuron_to_prune(&full(0, [7, 7, 9]).0), Some(1));
    assert_eq!(neuron_to_prune(&full(0, [9, 7, 8]).0), Some(2));
    // At block 6 the first two are past it, the third is not.
    let mut later = full(0, [9, 8, 1]);
    later.blocks(3);
    assert_eq!(neuron_to_prune(&later.0), Some(2));
    // As many as must stay: one of the immune goes.
    let mut kept = full(2, [9, 8, 1]);
    kept.blocks(3);
    assert_eq!(neuron_to_prune(&kept.0), Some(3));
    // Where that leaves nobody, nobody is taken.
    let mut none = full(3, [9, 8, 1]);
    none.blocks(9);
    assert_eq!(neuron_to_prune(&none.0), None);
    assert_eq!(none.act(7, Operation::Register), Err(Refusal::NoNeuronIdAvailable));
}

#[test]
fn the_owner_alone_is_never_replaced() {
    let mut world = World::new(Hyperparameters {
        max_allowed_uids: 1,
        ..params()
    });
    assert_eq!(world.act(1, Operation::Register), Err(Refusal::NoNeuronIdAvailable));
}

#[test]
fn who_takes_a_uid_over_begins_anew_and_weights_on_the_old_one_become_zero() {
    let mut world = World::peopled(Hyperparameters {
        max_allowed_uids: 7,
        immunity_period: 1,
        min_non_immune_uids: 0,
        weights_set_rate_limit: 0,
        ..params()
    });
    world.blocks(5);
    world.serve(5, "203.0.113.7", 8091).unwrap();
    world.set(1, &[(4, 1), (5, 2), (6, 3)]).unwrap();
    world.act(5, Operation::AddStake(5)).unwrap();
    world.blocks(4);
    // Whoever has the least emission goes: 2 and 3, who have said nothing, have none; 2 is the lower uid.
    assert_eq!(neuron_to_prune(&world.0), Some(2));
    world.0.neurons[2].emission = u64::MAX;
    world.0.neurons[3].emission = u64::MAX;
    assert_eq!(neuron_to_prune(&world.0), Some(4), "weighed least");
    world.0.neurons[4].emission = u64::MAX;
    let stake = world.0.neurons[5].stake;
    world.act(9, Operation::Register).unwrap();
    let state = &world.0;
    let newcomer = state.by_hotkey(&key(9)).unwrap();
    assert_eq!(
        (newcomer.uid, newcomer.registered_at, newcomer.last_update),
        (5, 10, 10)
    );
    assert_eq!((newcomer.stake, newcomer.axon, newcomer.emission), (0, None, 0));
    assert!(state.by_hotkey(&key(5)).is_none());
    assert_eq!(
        state.weights[&1]
            .iter()
            .map(|(uid, value)| (*uid, *value > 0))
            .collect::<Vec<_>>(),
        [(4, true), (5, false), (6, true)]
    );
    assert_eq!(state.purse(&key(5)).balance, stake, "stake outlives the registration");
    check_rows(state);
}

#[test]
fn the_cost_of_a_registration_rises_with_each_and_falls_with_time() {
    let params = Hyperparameters {
        burn: TAO,
        min_burn: TAO / 2,
        max_burn: 2 * TAO,
        burn_half_life: 10,
        ..params()
    };
    let mut world = World::new(params);
    world.act(1, Operation::Register).unwrap();
    assert_eq!(world.0.purse(&key(1)).drawn, TAO);
    let raised = world.0.hyperparameters().burn;
    assert_eq!(raised, 1_260_000_000);
    world.act(2, Operation::Register).unwrap();
    assert_eq!(world.0.purse(&key(2)).drawn, raised);
    for n in 3..8 {
        world.act(n, Operation::Register).unwrap();
    }
    assert_eq!(world.0.hyperparameters().burn, 2 * TAO, "it rises no higher");
    world.blocks(11);
    let halved = world.0.hyperparameters().burn;
    assert!(halved.abs_diff(TAO) < 1_000, "{halved}");
    world.blocks(30);
    assert_eq!(world.0.hyperparameters().burn, TAO / 2, "it falls no lower");
}

#[test]
fn without_a_faucet_registration_and_stake_are_paid_from_the_balance() {
    let params = Hyperparameters {
        burn: TAO,
        burn_increase_mult: 1_000,
        faucet_allowance: 0,
        ..params()
    };
    let mut world = World(State::genesis(key(255), params, key(0), [(key(1), 3 * TAO)]));
    assert_eq!(world.act(2, Operation::Register), Err(Refusal::NotEnoughBalanceToStake));
    world.act(1, Operation::Register).unwrap();
    assert_eq!(world.0.purse(&key(1)).balance, 2 * TAO);
    assert_eq!(
        world.act(1, Operation::AddStake(2 * TAO + 1)),
        Err(Refusal::NotEnoughBalanceToStake)
    );
    world.act(1, Operation::AddStake(2 * TAO)).unwrap();
    assert_eq!(world.0.by_hotkey(&key(1)).unwrap().stake, 2 * TAO);
    assert_eq!(
        world.act(1, Operation::AddStake(1)),
        Err(Refusal::NotEnoughBalanceToStake)
    );
}

#[test]
fn the_faucet_gives_what_the_balance_lacks_up_to_the_allowance() {
    let params = Hyperparameters {
        faucet_allowance: 10,
        ..params()
    };
    let mut world = World(State::genesis(key(255), params, key(0), [(key(1), 5)]));
    assert_eq!(
        world.act(1, Operation::AddStake(1)),
        Err(Refusal::HotKeyAccountNotExists)
    );
    world.act(1, Operation::Register).unwrap();
    assert_eq!(world.act(1, Operation::AddStake(0)), Err(Refusal::AmountTooLow));
    world.act(1, Operation::AddStake(8)).unwrap();
    assert_eq!((world.0.purse(&key(1)).balance, world.0.purse(&key(1)).drawn), (0, 3));
    assert_eq!(
        world.act(1, Operation::AddStake(8)),
        Err(Refusal::NotEnoughBalanceToStake)
    );
    world.act(1, Operation::AddStake(7)).unwrap();
    assert_eq!(
        world.act(1, Operation::AddStake(1)),
        Err(Refusal::NotEnoughBalanceToStake)
    );
    assert_eq!(
        world.act(1, Operation::AddStake(u64::MAX)),
        Err(Refusal::NotEnoughBalanceToStake)
    );
    assert_eq!(world.0.by_hotkey(&key(1)).unwrap().stake, 15);
}
