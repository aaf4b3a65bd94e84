//! Which weights are taken, and the refusal that comes first.

use super::*;

#[test]
fn weights_are_refused_in_the_chains_order() {
    // Each call has every later fault too, and is refused for the first.
    let mut world = World::peopled(Hyperparameters {
        weights_version_key: 7,
        min_allowed_weights: 3,
        ..params()
    });
    let call = |uids: &[u16], values: &[u16], version_key| {
        Operation::SetWeights(WeightsCall {
            uids: uids.to_vec(),
            values: values.to_vec(),
            version_key,
        })
    };
    let nine = [99u16; 9];
    assert_eq!(world.act(99, call(&nine, &[1], 0)), Err(Refusal::WeightVecNotEqualSize));
    assert_eq!(
        world.act(99, call(&nine, &[1; 9], 0)),
        Err(Refusal::UidsLengthExceedUidsInSubNet)
    );
    assert_eq!(
        world.act(99, call(&[99, 99], &[1, 1], 0)),
        Err(Refusal::HotKeyNotRegisteredInSubNet)
    );
    assert_eq!(
        world.act(4, call(&[99, 99], &[1, 1], 0)),
        Err(Refusal::NotEnoughStakeToSetWeights)
    );
    assert_eq!(
        world.act(1, call(&[99, 99], &[1, 1], 6)),
        Err(Refusal::IncorrectWeightVersionKey)
    );
    let too_fast = Refusal::SettingWeightsTooFast { retry_at_block: 6 };
    assert_eq!(world.act(1, call(&[99, 99], &[1, 1], 7)), Err(too_fast));
    world.blocks(9);
    // The first epoch has run: permits are given at epochs only. A fourth hotkey with stake enough has none.
    world.act(4, Operation::AddStake(1500 * TAO)).unwrap();
    assert_eq!(
        world.act(4, call(&[99, 99], &[1, 1], 7)),
        Err(Refusal::NeuronNoValidatorPermit)
    );
    assert_eq!(world.act(1, call(&[99, 99], &[1, 1], 7)), Err(Refusal::DuplicateUids));
    assert_eq!(
        world.act(1, call(&[7, 5], &[1, 1], 7)),
        Err(Refusal::UidVecContainInvalidOne)
    );
    assert_eq!(
        world.act(1, call(&[6, 5], &[1, 1], 7)),
        Err(Refusal::WeightVecLengthIsLow)
    );
    world.act(1, call(&[6, 5, 4], &[1, 0, 2], 8)).unwrap();
    assert_eq!(
        world.0.weights[&1].as_slice(),
        [(6, 32768), (5, 0), (4, 65535)],
        "upscaled, order and zeros kept"
    );
    assert_eq!(world.0.by_hotkey(&key(1)).unwrap().last_update, 10);
}

#[test]
fn a_weight_on_oneself_needs_neither_permit_nor_company() {
    let mut world = World::peopled(Hyperparameters {
        min_allowed_weights: 3,
        ..params()
    });
    world.blocks(9);
    world.act(4, Operation::AddStake(1500 * TAO)).unwrap();
    assert_eq!(world.set(4, &[(5, 1)]), Err(Refusal::NeuronNoValidatorPermit));
    world.set(4, &[(4, 1)]).unwrap();
    // The owner needs neither stake nor permit.
    world.set(0, &[(4, 1), (5, 1), (6, 1)]).unwrap();
    assert_eq!(world.0.by_hotkey(&key(0)).unwrap().stake, 0);
}

#[test]
fn the_rate_limit_names_the_block_at_which_it_ends() {
    let mut world = World::peopled(params());
    world.blocks(5);
    world.set(1, &[(4, 1)]).unwrap();
    for _ in 6..11 {
        assert_eq!(
            world.set(1, &[(4, 1)]),
            Err(Refusal::SettingWeightsTooFast { retry_at_block: 11 })
        );
        world.block();
    }
    world.set(1, &[(4, 1)]).unwrap();
}

#[test]
fn before_the_first_epoch_permits_follow_the_stake_and_after_it_they_wait() {
    let mut world = World::peopled(params());
    let permits = |world: &World| world.0.neurons.iter().map(|n| n.validator_permit).collect::<Vec<_>>();
    assert_eq!(permits(&world), [true, true, true, true, false, false, false]);
    world.act(4, Operation::AddStake(3000 * TAO)).unwrap();
    assert_eq!(
        permits(&world),
        [true, true, true, false, true, false, false],
        "only three may have one"
    );
    world.blocks(9);
    world.act(5, Operation::AddStake(9000 * TAO)).unwrap();
    assert_eq!(permits(&world), [true, true, true, false, true, false, false]);
    world.blocks(10);
    assert_eq!(permits(&world), [true, true, false, false, true, true, false]);
}
