//! The embedded ledger's rules: what an operation by a hotkey changes, or why it is refused.
//!
//! Pure functions over a [`State`]. The checks and their order are Subtensor's (spec 425): `set_weights` after
//! `subnets/weights.rs::internal_set_weights`, `serve_axon` after `subnets/serving.rs`. A refused operation gives no
//! [`Delta`], so nothing of it is ever stored.
//!
//! Differences from the real chain, on purpose: there are no transaction fees, a hotkey is its own coldkey, and permits
//! follow the stake at once until the first epoch has run (a new network would otherwise idle for a tempo).

use std::net::IpAddr;
use std::sync::Arc;

use super::epoch::{self, Participant};
use super::params::SUPPLY;
use super::state::{Clock, Delta, OWNER_UID, Purse, Record, State};
use crate::account::AccountId;
use crate::error::Refusal;
use crate::ledger::{Axon, AxonInfo, WeightsCall};
use crate::weights::max_upscale;

/// What a hotkey asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A uid for the sender.
    Register,
    /// So many RAO to the sender's stake.
    AddStake(u64),
    /// Where the sender serves.
    ServeAxon(AxonInfo),
    /// What the sender thinks of others.
    SetWeights(WeightsCall),
}

impl Operation {
    /// Its name in logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::AddStake(_) => "add_stake",
            Self::ServeAxon(_) => "serve_axon",
            Self::SetWeights(_) => "set_weights",
        }
    }
}

/// What `operation` by `sender` changes.
///
/// # Errors
/// The first check that fails, in Subtensor's order.
pub fn apply(state: &State, sender: &AccountId, operation: &Operation) -> Result<Delta, Refusal> {
    match operation {
        Operation::Register => register(state, sender),
        Operation::AddStake(amount) => add_stake(state, sender, *amount),
        Operation::ServeAxon(axon) => serve_axon(state, sender, *axon),
        Operation::SetWeights(weights) => set_weights(state, sender, weights),
    }
}

fn register(state: &State, sender: &AccountId) -> Result<Delta, Refusal> {
    if state.by_hotkey(sender).is_some() {
        return Err(Refusal::HotKeyAlreadyRegisteredInSubNet);
    }
    let purse = spend(state, sender, state.params.registration_burn)?;
    let uid = state.count();
    if uid >= state.params.max_allowed_uids {
        return Err(Refusal::NoNeuronIdAvailable);
    }
    let purses = if purse == state.purse(sender) {
        vec![]
    } else {
        vec![(*sender, purse)]
    };
    Ok(Delta {
        neurons: vec![Record::new(uid, *sender, state.clock.block)],
        purses,
        ..Delta::default()
    })
}

fn add_stake(state: &State, sender: &AccountId, amount: u64) -> Result<Delta, Refusal> {
    let neuron = state.by_hotkey(sender).ok_or(Refusal::HotKeyAccountNotExists)?;
    if amount == 0 {
        return Err(Refusal::AmountTooLow);
    }
    let purse = spend(state, sender, amount)?;
    let stake = neuron
        .stake
        .checked_add(amount)
        .ok_or(Refusal::NotEnoughBalanceToStake)?;
    let staked = Record {
        stake,
        ..neuron.clone()
    };
    let neurons = if state.clock.epoch_index == 0 {
        with_first_permits(state, staked)
    } else {
        vec![staked]
    };
    Ok(Delta {
        neurons,
        purses: vec![(*sender, purse)],
        ..Delta::default()
    })
}

/// Takes `amount` from the purse, and what is missing from the faucet as far as the allowance goes.
fn spend(state: &State, key: &AccountId, amount: u64) -> Result<Purse, Refusal> {
    let purse = state.purse(key);
    let from_balance = purse.balance.min(amount);
    let from_faucet = amount - from_balance;
    if from_faucet > state.params.faucet_allowance.saturating_sub(purse.drawn) {
        return Err(Refusal::NotEnoughBalanceToStake);
    }
    Ok(Purse {
        balance: purse.balance - from_balance,
        drawn: purse.drawn + from_faucet,
    })
}

/// `changed`, with every neuron whose permit moves by it.
fn with_first_permits(state: &State, changed: Record) -> Vec<Record> {
    let mut after = state.clone();
    after.merge(Delta {
        neurons: vec![changed],
        ..Delta::default()
    });
    let permits = epoch::permits(&participants(&after), &after.params);
    let mut all = after.neurons;
    for (neuron, permit) in all.iter_mut().zip(permits) {
        neuron.validator_permit = permit;
    }
    all.retain(|neuron| state.neurons.get(usize::from(neuron.uid)) != Some(neuron));
    all
}

fn serve_axon(state: &State, sender: &AccountId, info: AxonInfo) -> Result<Delta, Refusal> {
    let neuron = state.by_hotkey(sender).ok_or(Refusal::HotKeyNotRegisteredInNetwork)?;
    if !is_valid_axon_ip(info.ip, state.params.loopback_axons) {
        return Err(Refusal::InvalidIpAddress);
    }
    let block = state.clock.block;
    if let Some(before) = neuron.axon {
        let retry_at_block = before.block.saturating_add(state.params.serving_rate_limit);
        if block < retry_at_block {
            return Err(Refusal::ServingRateLimitExceeded { retry_at_block });
        }
    }
    if info.port == 0 {
        return Err(Refusal::InvalidPort);
    }
    let axon = Some(Axon { block, info });
    Ok(Delta {
        neurons: vec![Record { axon, ..neuron.clone() }],
        ..Delta::default()
    })
}

/// The chain refuses 127.0.0.1 and ::1 and the highest address of each family, and allows 0.
fn is_valid_axon_ip(ip: IpAddr, loopback_axons: bool) -> bool {
    match ip {
        IpAddr::V4(ip) => u32::from(ip) != u32::MAX && (loopback_axons || ip != std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) => u128::from(ip) != u128::MAX && (loopback_axons || ip != std::net::Ipv6Addr::LOCALHOST),
    }
}

fn set_weights(state: &State, sender: &AccountId, call: &WeightsCall) -> Result<Delta, Refusal> {
    // Subtensor's checks 1 and 3 (the root network, the subnet exists) cannot fail: this ledger has one subnet, never 0.
    let (params, block, count) = (&state.params, state.clock.block, state.count());
    let WeightsCall {
        uids,
        values,
        version_key,
    } = call;
    if uids.len() != values.len() {
        return Err(Refusal::WeightVecNotEqualSize);
    }
    if uids.len() > usize::from(count) {
        return Err(Refusal::UidsLengthExceedUidsInSubNet);
    }
    let neuron = state.by_hotkey(sender).ok_or(Refusal::HotKeyNotRegisteredInSubNet)?;
    let is_owner = neuron.uid == OWNER_UID;
    if neuron.stake < params.stake_threshold && !is_owner {
        return Err(Refusal::NotEnoughStakeToSetWeights);
    }
    if params.weights_version != 0 && *version_key < params.weights_version {
        return Err(Refusal::IncorrectWeightVersionKey);
    }
    let retry_at_block = neuron.last_update.saturating_add(params.weights_rate_limit);
    if neuron.last_update != 0 && block < retry_at_block {
        return Err(Refusal::SettingWeightsTooFast { retry_at_block });
    }
    let is_self_weight = uids.as_slice() == [neuron.uid];
    if !(is_self_weight || is_owner || neuron.validator_permit) {
        return Err(Refusal::NeuronNoValidatorPermit);
    }
    let mut sorted = uids.clone();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(Refusal::DuplicateUids);
    }
    if sorted.last().is_some_and(|highest| *highest >= count) {
        return Err(Refusal::UidVecContainInvalidOne);
    }
    if uids.len() < usize::from(params.min_allowed_weights.min(count)) && !is_self_weight {
        return Err(Refusal::WeightVecLengthIsLow);
    }
    let row = uids.iter().copied().zip(max_upscale(values)).collect();
    Ok(Delta {
        neurons: vec![Record {
            last_update: block,
            ..neuron.clone()
        }],
        weights: Some((neuron.uid, Arc::new(row))),
        ..Delta::default()
    })
}

/// What the next block changes: one more block of emission, and at the end of a tempo an epoch.
///
/// Emission ends when all the TAO there will ever be are issued.
pub fn advance(state: &State) -> Delta {
    let params = &state.params;
    let earned = state
        .neurons
        .iter()
        .map(|neuron| neuron.earned)
        .fold(0, u64::saturating_add);
    let issued = earned.saturating_add(state.clock.pending_emission);
    let emission = params.emission_per_block.min(SUPPLY.saturating_sub(issued));
    let mut clock = Clock {
        block: state.clock.block.saturating_add(1),
        pending_emission: state.clock.pending_emission.saturating_add(emission),
        ..state.clock
    };
    if clock.block.saturating_sub(clock.last_epoch_block) < params.tempo {
        return Delta {
            clock: Some(clock),
            ..Delta::default()
        };
    }
    let mut after = state.clone();
    after.clock = clock;
    let participants = participants(&after);
    let outcome = epoch::run(&participants, params, clock.pending_emission);
    clock.pending_emission -= outcome.paid;
    clock.last_epoch_block = clock.block;
    clock.epoch_index = clock.epoch_index.saturating_add(1);
    let neurons = after
        .neurons
        .into_iter()
        .zip(outcome.rewards)
        .map(|(neuron, reward)| Record {
            stake: neuron.stake.saturating_add(reward.emission),
            validator_permit: reward.validator_permit,
            incentive: reward.incentive,
            incentive_share: reward.incentive_share,
            dividends: reward.dividends,
            emission: reward.emission,
            earned: neuron.earned.saturating_add(reward.emission),
            ..neuron
        })
        .collect();
    Delta {
        clock: Some(clock),
        neurons,
        ..Delta::default()
    }
}

fn participants(state: &State) -> Vec<Participant> {
    state
        .neurons
        .iter()
        .map(|neuron| Participant {
            stake: neuron.stake,
            active: state.is_active(neuron),
            permit: neuron.validator_permit,
            row: state.weights.get(&neuron.uid).map(Arc::clone).unwrap_or_default(),
        })
        .collect()
}
