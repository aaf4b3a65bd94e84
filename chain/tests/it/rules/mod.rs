//! The embedded ledger's rules, with numbers: what each operation changes, which refusal comes first, and what holds
//! whatever happens.

mod always;
mod axons;
mod epochs;
mod registration;
mod weights;

use chain::local::params::SUPPLY;
use chain::local::rules::{Operation, Pulses, advance, apply, neuron_to_prune};
use chain::local::state::State;
use chain::{AccountId, Hyperparameters, Refusal, WeightsCall};
use proptest::prelude::*;

use crate::world::{TAO, axon, weights};

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
    /// By value: it stands in each line of these tests.
    #[allow(clippy::needless_pass_by_value)]
    fn act(&mut self, n: u8, operation: Operation) -> Result<(), Refusal> {
        let delta = apply(&self.0, &key(n), &operation)?;
        self.0.merge(delta);
        Ok(())
    }
    fn set(&mut self, n: u8, row: &[(u16, u16)]) -> Result<(), Refusal> {
        self.act(n, Operation::SetWeights(weights(row, 0)))
    }
    fn serve(&mut self, n: u8, ip: &str, port: u16) -> Result<(), Refusal> {
        self.act(n, Operation::ServeAxon(axon(ip, port)))
    }
    fn block(&mut self) {
        let delta = advance(&self.0, &Pulses::new());
        self.0.merge(delta);
    }
    fn blocks(&mut self, count: u64) {
        (0..count).for_each(|_| self.block());
    }
}
