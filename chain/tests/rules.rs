//! The embedded ledger's rules, with numbers: what each operation changes, which refusal comes first, and what holds
//! whatever happens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    missing_docs
)]

use std::net::IpAddr;

use chain::local::params::SUPPLY;
use chain::local::rules::{Operation, Pulses, advance, apply, neuron_to_prune};
use chain::local::state::State;
use chain::{AccountId, AxonInfo, Hyperparameters, Refusal, WeightsCall};
use proptest::prelude::*;

const TAO: u64 = 1_000_000_000;

fn key(n: u8) -> AccountId {
    AccountId::new([n; 32])
}

fn params() -> Hyperparameters {
    Hyperparameters {
        tempo: 10,
        weights_set_rate_limit: 5,
        serving_rate_limit: 3,
        max_allowed_uids: 16,
        max_allowed_validators: 3,
        burn: 0,
        min_burn: 0,
        faucet_allowance: 10_000 * TAO,
        loopback_axons: true,
        ..Hyperparameters::default()
    }
}

/// A subnet whose owner is key 0, and which a test tells what happens.
struct World(State);

impl World {
    fn new(params: Hyperparameters) -> Self {
        Self(State::genesis(key(255), params, key(0), []))
    }
    /// The owner, validators 1 to 3 with 4000, 2000, 1000 TAO, miners 4 to 6; at block 1.
    fn peopled(params: Hyperparameters) -> Self {
        let mut world = Self::new(params);
        world.block();
        for n in 1..=6 {
            world.act(n, Operation::Register).unwrap();
        }
        for (n, tao) in [(1, 4000), (2, 2000), (3, 1000)] {
            world.act(n, Operation::AddStake(tao * TAO)).unwrap();
        }
        world
    }
    fn act(&mut self, n: u8, operation: Operation) -> Result<(), Refusal> {
        let delta = apply(&self.0, &key(n), &operation)?;
        self.0.merge(delta);
        Ok(())
    }
    fn set(&mut self, n: u8, row: &[(u16, u16)]) -> Result<(), Refusal> {
        self.act(n, weights(row, 0))
    }
    fn serve(&mut self, n: u8, ip: &str, port: u16) -> Result<(), Refusal> {
        self.act(n, Operation::ServeAxon(axon(ip.parse().unwrap(), port)))
    }
    fn block(&mut self) {
        let delta = advance(&self.0, &Pulses::new());
        self.0.merge(delta);
    }
    fn blocks(&mut self, count: u64) {
        (0..count).for_each(|_| self.block());
    }
}

fn weights(row: &[(u16, u16)], version_key: u64) -> Operation {
    let (uids, values) = row.iter().copied().unzip();
    Operation::SetWeights(WeightsCall {
        uids,
        values,
        version_key,
    })
}

fn axon(ip: IpAddr, port: u16) -> AxonInfo {
    AxonInfo {
        version: 1,
        ip,
        port,
        protocol: 4,
    }
}

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

#[test]
fn axons_are_checked_in_the_chains_order() {
    let mut world = World::peopled(Hyperparameters {
        loopback_axons: false,
        ..params()
    });
    assert_eq!(
        world.serve(99, "127.0.0.1", 0),
        Err(Refusal::HotKeyNotRegisteredInNetwork)
    );
    world.serve(4, "203.0.113.7", 8091).unwrap();
    // Address, then rate, then port.
    for ip in [
        "127.0.0.1",
        "::1",
        "255.255.255.255",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ] {
        assert_eq!(world.serve(4, ip, 0), Err(Refusal::InvalidIpAddress), "{ip}");
    }
    assert_eq!(
        world.serve(4, "0.0.0.0", 0),
        Err(Refusal::ServingRateLimitExceeded { retry_at_block: 4 })
    );
    world.blocks(2);
    assert_eq!(
        world.serve(4, "0.0.0.0", 1),
        Err(Refusal::ServingRateLimitExceeded { retry_at_block: 4 })
    );
    world.block();
    assert_eq!(world.serve(4, "0.0.0.0", 0), Err(Refusal::InvalidPort));
    world.serve(4, "2001:db8::7", 1).unwrap();
    let served = world.0.by_hotkey(&key(4)).unwrap().axon.unwrap();
    assert_eq!(
        (served.block, served.info),
        (4, axon("2001:db8::7".parse().unwrap(), 1))
    );
}

#[test]
fn a_development_ledger_takes_loopback_axons() {
    let mut world = World::peopled(params());
    world.serve(4, "127.0.0.1", 8091).unwrap();
    world.serve(5, "::1", 8091).unwrap();
}

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

#[derive(Debug, Clone)]
enum Step {
    Act(u8, Operation),
    Blocks(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = 0u8..8;
    let amount = prop_oneof![3 => 0..3000 * TAO, 1 => any::<u64>()];
    let place = (any::<IpAddr>(), prop_oneof![Just(0u16), Just(8091), any::<u16>()]);
    let good_row = proptest::collection::btree_map(0u16..7, any::<u16>(), 1..6)
        .prop_map(|row| row.into_iter().collect::<Vec<_>>());
    let any_row = proptest::collection::vec((0u16..12, any::<u16>()), 0..6);
    prop_oneof![
        1 => who.clone().prop_map(|n| Step::Act(n, Operation::Register)),
        2 => (who.clone(), amount).prop_map(|(n, amount)| Step::Act(n, Operation::AddStake(amount))),
        1 => (who.clone(), place).prop_map(|(n, (ip, port))| Step::Act(n, Operation::ServeAxon(axon(ip, port)))),
        8 => (0u8..4, good_row).prop_map(|(n, row)| Step::Act(n, weights(&row, 3))),
        2 => (who, any_row, 0u64..5).prop_map(|(n, row, version)| Step::Act(n, weights(&row, version))),
        8 => (1u64..4).prop_map(Step::Blocks),
    ]
}

fn check(state: &State) {
    let mut hotkeys: Vec<_> = state.neurons.iter().map(|n| n.hotkey).collect();
    hotkeys.sort_unstable();
    hotkeys.dedup();
    assert_eq!(hotkeys.len(), state.neurons.len(), "a hotkey has one uid");
    assert!(
        state
            .neurons
            .iter()
            .enumerate()
            .all(|(place, n)| usize::from(n.uid) == place)
    );
    assert!(state.neurons.iter().all(|n| state.uids[&n.hotkey] == n.uid));
    assert!(state.neurons.len() <= usize::from(state.params.max_allowed_uids));
    let sum: f64 = state.neurons.iter().map(|n| n.incentive_share).sum();
    assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-7, "incentives sum to 1: {sum}");
    let permitted = state.neurons.iter().skip(1).filter(|n| n.validator_permit).count();
    assert!(permitted <= usize::from(state.params.max_allowed_validators));
    let earned: u64 = state.neurons.iter().map(|n| n.earned).sum();
    let issued = state.clock.block * state.params.emission_per_block;
    assert_eq!(
        earned + state.clock.pending_emission() + state.clock.recycled,
        issued,
        "nothing is lost and nothing made of nothing"
    );
    let drawn: u64 = state.purses.values().map(|p| p.drawn).sum();
    let stake: u64 = state.neurons.iter().map(|n| n.stake).sum();
    assert_eq!(stake, drawn + earned, "stake comes from the faucet and from emission");
    assert!(state.purses.values().all(|p| p.drawn <= state.params.faucet_allowance));
    for row in state.weights.values() {
        assert!(row.iter().all(|(_, value)| *value == 0) || row.iter().any(|(_, value)| *value == u16::MAX));
    }
    check_rows(state);
}

/// Rows belong to neurons that exist, and so do the uids in them.
fn check_rows(state: &State) {
    for (uid, row) in state.weights.iter().chain(&state.bonds) {
        assert!(*uid < state.count() && !row.is_empty());
        assert!(row.iter().all(|(target, _)| *target < state.count()));
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold(steps in proptest::collection::vec(any_step(), 1..80)) {
        let mut world = World::peopled(Hyperparameters { weights_version_key: 3, ..params() });
        let mut last_set = std::collections::HashMap::<u8, u64>::new();
        for step in steps {
            match step {
                Step::Blocks(count) => world.blocks(count),
                Step::Act(n, operation) => {
                    let before = world.0.clone();
                    let result = world.act(n, operation.clone());
                    if result.is_err() {
                        prop_assert_eq!(&world.0, &before, "a refused operation changes nothing");
                    } else if matches!(operation, Operation::SetWeights(_)) {
                        let block = world.0.clock.block;
                        if let Some(last) = last_set.insert(n, block).filter(|last| *last != 0) {
                            prop_assert!(block - last >= world.0.params.weights_set_rate_limit, "rate limit broken");
                        }
                    }
                }
            }
            check(&world.0);
        }
    }
}
