//! Who is paid what, and who counts.

use super::*;

#[test]
fn an_epoch_pays_by_incentive_and_stake() {
    let mut world = World::peopled(params());
    world.blocks(5);
    // Stakes 4:2:1. More than half of the stake gives 4 at least 3/4 and 5 at least 1/4, and what is above that is cut. So 4
    // has (4 + 2)/7 * 3/4 = 18/28, 5 has (4 + 1)/7 * 1/4 = 5/28: shares 18/23 and 5/23. Miner 6 gets nothing.
    world.set(1, &[(4, 300), (5, 100)]).unwrap();
    world.set(2, &[(4, 1)]).unwrap();
    world.set(3, &[(5, 7)]).unwrap();
    world.blocks(3);
    assert_eq!(world.0.clock.epoch_index, 0);
    world.block();
    let state = &world.0;
    assert_eq!(
        (state.clock.block, state.clock.epoch_index, state.clock.last_epoch_block),
        (10, 1, 10)
    );
    let close = |actual: f64, expected: f64| (actual - expected).abs() < 2e-5;
    let shares: Vec<f64> = state.neurons.iter().map(|n| n.incentive_share).collect();
    assert!(
        close(shares[4], 18.0 / 23.0) && close(shares[5], 5.0 / 23.0),
        "{shares:?}"
    );
    assert_eq!(shares[6], 0.0);
    assert_eq!(state.neurons[4].incentive, (shares[4] * 65535.0) as u16);
    // Dividends: of 4's worth two thirds to 1 and a third to 2, of 5's four fifths to 1 and a fifth to 3.
    let dividends: Vec<f64> = state.neurons.iter().map(|n| f64::from(n.dividends) / 65535.0).collect();
    for (uid, expected) in [(1, 16.0 / 23.0), (2, 6.0 / 23.0), (3, 1.0 / 23.0)] {
        assert!(close(dividends[uid], expected), "{dividends:?}");
    }
    // Ten blocks at 1 TAO: five to miners, five to validators.
    let earned: Vec<u64> = state.neurons.iter().map(|n| n.earned).collect();
    assert!(
        close(earned[1] as f64 / 5e9, 16.0 / 23.0) && close(earned[4] as f64 / 5e9, 18.0 / 23.0),
        "{earned:?}"
    );
    assert_eq!(state.neurons[1].stake, 4000 * TAO + earned[1]);
    assert_eq!(earned.iter().sum::<u64>() + state.clock.recycled, 10 * TAO);
    assert!(
        state.clock.recycled < 20,
        "only what truncation leaves over: {}",
        state.clock.recycled
    );
}

#[test]
fn the_owner_has_its_cut_and_no_incentive() {
    let mut world = World::peopled(Hyperparameters {
        subnet_owner_cut: 11_796,
        ..params()
    });
    world.blocks(5);
    world.set(1, &[(0, 1), (4, 1)]).unwrap();
    world.set(2, &[(0, 1), (4, 1)]).unwrap();
    world.blocks(4);
    let state = &world.0;
    let earned: Vec<u64> = state.neurons.iter().map(|n| n.earned).collect();
    assert_eq!(
        state.neurons[0].incentive, 32767,
        "Yuma gives it half of the miners' reward"
    );
    assert_eq!(earned[0], 10 * 179_995_422, "but it gets 18 % of everything instead");
    assert!(earned[4].abs_diff(2_050_011_440) < 20, "{}", earned[4]);
    assert!(
        state.clock.recycled.abs_diff(2_050_011_440) < 40,
        "{}",
        state.clock.recycled
    );
    assert_eq!(earned.iter().sum::<u64>() + state.clock.recycled, 10 * TAO);
}

#[test]
fn a_validator_that_falls_silent_is_no_longer_active_and_no_longer_counts() {
    let mut world = World::peopled(Hyperparameters {
        activity_cutoff: 12,
        ..params()
    });
    world.blocks(5);
    world.set(1, &[(4, 1)]).unwrap();
    world.set(2, &[(5, 1)]).unwrap();
    world.blocks(8);
    world.set(2, &[(5, 1)]).unwrap();
    world.blocks(6);
    let metagraph = world.0.metagraph();
    assert_eq!(metagraph.block, 20);
    assert_eq!(
        metagraph.neurons.iter().map(|n| n.active).collect::<Vec<_>>()[1..4],
        [false, true, false]
    );
    assert_eq!(metagraph.neurons[5].incentive, 65535, "only validator 2 still speaks");
}

#[test]
fn emission_ends_when_all_tao_are_issued() {
    let mut world = World::peopled(Hyperparameters {
        emission_per_block: SUPPLY / 3 + 1,
        ..params()
    });
    world.blocks(40);
    let earned: u64 = world.0.neurons.iter().map(|n| n.earned).sum();
    let clock = world.0.clock;
    assert_eq!(
        (earned + clock.pending_emission() + clock.recycled, clock.issued),
        (SUPPLY, SUPPLY)
    );
}
