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
use chain::local::rules::{Operation, advance, apply};
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
        weights_rate_limit: 5,
        serving_rate_limit: 3,
        max_allowed_uids: 16,
        max_allowed_validators: 3,
        registration_burn: 0,
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
        let delta = advance(&self.0);
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

#[test]
fn a_full_subnet_takes_nobody() {
    let mut world = World::new(Hyperparameters {
        max_allowed_uids: 2,
        ..params()
    });
    world.act(1, Operation::Register).unwrap();
    assert_eq!(world.act(2, Operation::Register), Err(Refusal::NoNeuronIdAvailable));
}

#[test]
fn without_a_faucet_registration_and_stake_are_paid_from_the_balance() {
    let params = Hyperparameters {
        registration_burn: TAO,
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
        weights_version: 7,
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
    // Stakes 4:2:1. To 4: 4/7*3/4 + 2/7 = 5/7; to 5: 4/7*1/4 + 1/7 = 2/7. Miner 6 gets nothing.
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
    let shares: Vec<f64> = state.neurons.iter().map(|n| n.incentive_share).collect();
    assert!(
        (shares[4] - 5.0 / 7.0).abs() < 1e-5 && (shares[5] - 2.0 / 7.0).abs() < 1e-5,
        "{shares:?}"
    );
    assert_eq!(shares[6], 0.0);
    assert_eq!(state.neurons[4].incentive, (shares[4] * 65535.0) as u16);
    // Ten blocks at 1 TAO: five to miners, five to validators at 4:2:1.
    let emissions: Vec<u64> = state.neurons.iter().map(|n| n.emission).collect();
    assert_eq!(emissions[1..4], [5 * TAO * 4 / 7, 5 * TAO * 2 / 7, 5 * TAO / 7]);
    assert_eq!(emissions[4], (shares[4] * 5e9) as u64);
    assert_eq!(state.neurons[1].stake, 4000 * TAO + emissions[1]);
    assert_eq!(emissions.iter().sum::<u64>() + state.clock.pending_emission, 10 * TAO);
    assert!(
        state.clock.pending_emission < 10,
        "only the remainders of divisions wait"
    );
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
    assert_eq!(earned + world.0.clock.pending_emission, SUPPLY);
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
    assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9, "incentives sum to 1: {sum}");
    let permitted = state.neurons.iter().skip(1).filter(|n| n.validator_permit).count();
    assert!(permitted <= usize::from(state.params.max_allowed_validators));
    let earned: u64 = state.neurons.iter().map(|n| n.earned).sum();
    let issued = state.clock.block * state.params.emission_per_block;
    assert_eq!(
        earned + state.clock.pending_emission,
        issued,
        "nothing is lost and nothing made of nothing"
    );
    let drawn: u64 = state.purses.values().map(|p| p.drawn).sum();
    let stake: u64 = state.neurons.iter().map(|n| n.stake).sum();
    assert_eq!(stake, drawn + earned, "stake comes from the faucet and from emission");
    assert!(state.purses.values().all(|p| p.drawn <= state.params.faucet_allowance));
    for row in state.weights.values() {
        assert!(row.iter().all(|(uid, _)| *uid < state.count()));
        assert!(row.iter().all(|(_, value)| *value == 0) || row.iter().any(|(_, value)| *value == u16::MAX));
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold(steps in proptest::collection::vec(any_step(), 1..80)) {
        let mut world = World::peopled(Hyperparameters { weights_version: 3, ..params() });
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
                            prop_assert!(block - last >= world.0.params.weights_rate_limit, "rate limit broken");
                        }
                    }
                }
            }
            check(&world.0);
        }
    }
}
