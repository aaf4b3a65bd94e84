//! The embedded ledger's rules: what an operation by a hotkey changes, or why it is refused.
//!
//! Pure functions over a [`State`]. The checks and their order are Subtensor's (spec 425): registration after
//! `subnets/registration.rs`, `serve_axon` after `subnets/serving.rs`, weights in [`super::weighing`], blocks and epochs in
//! [`super::block`]. A refused operation gives no [`Delta`], so nothing of it is ever stored.
//!
//! Differences from the real chain, on purpose: there are no transaction fees, a hotkey is its own coldkey, there is one subnet
//! and no root network, and permits follow the stake at once until the first epoch has run (a new network would otherwise idle
//! for a tempo).

use std::net::IpAddr;
use std::sync::Arc;

use super::block;
use super::state::{Delta, OWNER_UID, Purse, Record, Row, State};
use super::weighing;
use crate::account::AccountId;
use crate::error::Refusal;
use crate::ledger::{Axon, AxonInfo, TimelockedCommit, WeightsCall, WeightsCommit, WeightsReveal};
use crate::yuma::burn;

pub use super::block::{Pulses, advance};

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
    /// A promise of what the sender thinks.
    CommitWeights(WeightsCommit),
    /// The opening of such a promise.
    RevealWeights(WeightsReveal),
    /// What the sender thinks, sealed.
    CommitTimelocked(TimelockedCommit),
}

impl Operation {
    /// Its name in logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::AddStake(_) => "add_stake",
            Self::ServeAxon(_) => "serve_axon",
            Self::SetWeights(_) => "set_weights",
            Self::CommitWeights(_) => "commit_weights",
            Self::RevealWeights(_) => "reveal_weights",
            Self::CommitTimelocked(_) => "commit_timelocked",
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
        Operation::SetWeights(weights) => weighing::set_plainly(state, sender, weights),
        Operation::CommitWeights(commit) => weighing::commit(state, sender, *commit),
        Operation::RevealWeights(reveal) => weighing::reveal(state, sender, reveal),
        Operation::CommitTimelocked(commit) => weighing::commit_timelocked(state, sender, commit),
    }
}

fn register(state: &State, sender: &AccountId) -> Result<Delta, Refusal> {
    if state.by_hotkey(sender).is_some() {
        return Err(Refusal::HotKeyAlreadyRegisteredInSubNet);
    }
    let (params, clock) = (&state.params, state.clock);
    let purse = spend(state, sender, clock.burn)?;
    let uid = match state.count() {
        next if next < params.max_allowed_uids => next,
        _full => neuron_to_prune(state).ok_or(Refusal::NoNeuronIdAvailable)?,
    };
    let mut purses = Vec::new();
    if purse != state.purse(sender) {
        purses.push((*sender, purse));
    }
    let mut delta = Delta {
        clock: Some(super::state::Clock {
            burn: burn::raise(clock.burn, params.burn_increase_mult, params.min_burn, params.max_burn),
            ..clock
        }),
        neurons: vec![Record::new(uid, *sender, clock.block)],
        purses,
        ..Delta::default()
    };
    if let Some(pruned) = state.neurons.get(usize::from(uid)) {
        clear_uid(state, pruned, &mut delta);
    }
    Ok(delta)
}

/// What goes with a neuron that loses its uid: its rows are gone, weights on it become 0, its stake goes back to its purse.
fn clear_uid(state: &State, pruned: &Record, delta: &mut Delta) {
    let uid = pruned.uid;
    delta.weights = state
        .weights
        .iter()
        .filter(|(from, row)| **from != uid && row.iter().any(|(target, value)| *target == uid && *value != 0))
        .map(|(from, row)| {
            let entries = row.iter().map(|(target, value)| match *target == uid {
                true => (*target, 0),
                false => (*target, *value),
            });
            (*from, Arc::new(entries.collect()))
        })
        .collect();
    for (rows, changed) in [(&state.weights, &mut delta.weights), (&state.bonds, &mut delta.bonds)] {
        if rows.contains_key(&uid) {
            changed.push((uid, Row::default()));
        }
    }
    if state.commits.contains_key(&pruned.hotkey) {
        delta.commits.push((pruned.hotkey, Vec::new()));
    }
    // On the real chain stake outlives the registration; here it is the purse that does.
    if pruned.stake > 0 {
        let purse = state.purse(&pruned.hotkey);
        let balance = purse.balance.saturating_add(pruned.stake);
        delta.purses.push((pruned.hotkey, Purse { balance, ..purse }));
    }
}

/// Whose uid goes to the next one who registers in a full subnet: the least (emission, block of registration, uid) of those past
/// their immunity, if there are more of them than must stay, and else of the immune. Never the owner's.
pub fn neuron_to_prune(state: &State) -> Option<u16> {
    let is_immune =
        |neuron: &&Record| state.clock.block.saturating_sub(neuron.registered_at) < state.params.immunity_period;
    let (immune, free): (Vec<&Record>, Vec<&Record>) = state
        .neurons
        .iter()
        .filter(|neuron| neuron.uid != OWNER_UID)
        .partition(is_immune);
    let candidates = match free.len() > usize::from(state.params.min_non_immune_uids) {
        true => free,
        false => immune,
    };
    candidates
        .iter()
        .min_by_key(|neuron| (neuron.emission, neuron.registered_at, neuron.uid))
        .map(|neuron| neuron.uid)
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
    let permits = crate::yuma::run(&block::epoch_input(&after)).validator_permit;
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
