//! A block: the price of a registration falls, sealed weights are opened, emission is issued, and at the end of a tempo the epoch
//! runs and pays (spec 425, `coinbase/block_step.rs`, in its order).
//!
//! Epochs follow the stateful schedule: one runs at the first block that is a tempo or more after the last one's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::params::SUPPLY;
use super::state::{Clock, Delta, OWNER_UID, Opened, Record, Row, SealedCommit, State};
use super::weighing;
use crate::account::AccountId;
use crate::history::EpochEntry;
use crate::yuma::{self, Bits, burn, emission};

/// The beacon's signatures by round, as far as the block needs them.
pub type Pulses = BTreeMap<u64, Vec<u8>>;

/// Whether an epoch runs in the block after the newest.
fn epoch_is_due(state: &State) -> bool {
    let block = state.clock.block.saturating_add(1);
    block.saturating_sub(state.clock.last_epoch_block) >= state.params.tempo
}

/// The epoch to which the block after the newest belongs, before it runs one itself.
fn epoch_ahead(state: &State) -> u64 {
    state.clock.epoch_index.saturating_add(u64::from(epoch_is_due(state)))
}

/// The sealed commits that the next block opens, as far as their rounds are signed; and those that it drops as expired.
fn due(state: &State) -> (Option<(u64, &[SealedCommit])>, Vec<u64>) {
    let now = epoch_ahead(state);
    let Some(epoch) = now.checked_sub(state.params.reveal_period_epochs) else {
        return (None, Vec::new());
    };
    let expired = state.sealed.range(..epoch).map(|(epoch, _)| *epoch).collect();
    (
        state.sealed.get(&epoch).map(|commits| (epoch, commits.as_slice())),
        expired,
    )
}

/// The rounds whose signatures the next block needs. Round r is signed in block r.
pub(super) fn rounds_due(state: &State) -> Vec<u64> {
    let signed = state.clock.block.saturating_add(1);
    let commits = due(state).0.map_or(&[][..], |(_, commits)| commits);
    let mut rounds: Vec<u64> = commits.iter().map(|commit| commit.reveal_round).collect();
    rounds.retain(|round| *round <= signed);
    rounds.sort_unstable();
    rounds.dedup();
    rounds
}

/// What the next block changes.
///
/// Emission ends when all the TAO there will ever be are issued.
pub fn advance(state: &State, pulses: &Pulses) -> Delta {
    let params = &state.params;
    let mut clock = state.clock;
    clock.block = clock.block.saturating_add(1);
    if clock.block > 1 {
        clock.burn = burn::decay(clock.burn, params.burn_half_life, params.min_burn, params.max_burn);
    }

    let mut delta = open_sealed(state, clock, pulses);

    let issued = params.emission_per_block.min(SUPPLY.saturating_sub(clock.issued));
    let split = emission::split_block(issued, params.subnet_owner_cut);
    clock.issued = clock.issued.saturating_add(issued);
    clock.recycled = clock
        .recycled
        .saturating_add(issued.saturating_sub(split.owner + split.server + split.validator));
    clock.pending.owner = clock.pending.owner.saturating_add(split.owner);
    clock.pending.server = clock.pending.server.saturating_add(split.server);
    clock.pending.validator = clock.pending.validator.saturating_add(split.validator);

    if epoch_is_due(state) {
        let mut after = state.clone();
        after.merge(delta.clone());
        after.clock = clock;
        run_epoch(&after, &mut clock, &mut delta);
    }
    delta.clock = Some(clock);
    delta
}

/// Opens the sealed commits whose epoch has come. One whose round is not signed yet waits for the next block of that epoch; any
/// other that cannot be opened, or whose weights are refused, is dropped.
fn open_sealed(state: &State, clock: Clock, pulses: &Pulses) -> Delta {
    let (opening, expired) = due(state);
    let mut delta = Delta {
        sealed: expired.into_iter().map(|epoch| (epoch, Vec::new())).collect(),
        ..Delta::default()
    };
    let Some((epoch, commits)) = opening else {
        return delta;
    };
    let mut world = state.clone();
    world.clock = Clock {
        block: clock.block,
        ..state.clock
    };
    let mut waiting = Vec::new();
    for commit in commits {
        let Some(signature) = pulses.get(&commit.reveal_round) else {
            waiting.push(commit.clone());
            continue;
        };
        let set = weighing::open(commit, signature)
            .and_then(|call| weighing::set(&world, &commit.hotkey, &call).map_err(|refusal| refusal.to_string()));
        delta.openings.push(Opened {
            hotkey: commit.hotkey,
            failure: set.as_ref().err().cloned(),
        });
        if let Ok(set) = set {
            delta.weights.extend(set.weights.clone());
            world.merge(set);
        }
    }
    if waiting.len() != commits.len() {
        delta.sealed.push((epoch, waiting));
    }
    delta
}

/// What Yuma is to compute from a state whose clock shows the epoch's block.
pub(super) fn epoch_input(state: &State) -> yuma::Input<'_> {
    let (params, neurons) = (&state.params, &state.neurons);
    let oldest = oldest_commits(state);
    yuma::Input {
        block: state.clock.block,
        tempo: params.tempo,
        activity_cutoff: params.activity_cutoff,
        last_mechanism_step_block: state.clock.last_epoch_block,
        last_update: neurons.iter().map(|neuron| neuron.last_update).collect(),
        block_at_registration: neurons.iter().map(|neuron| neuron.registered_at).collect(),
        total_stake: neurons.iter().map(|neuron| neuron.stake).collect(),
        stake_threshold: params.stake_threshold,
        validator_permit: neurons.iter().map(|neuron| neuron.validator_permit).collect(),
        max_allowed_validators: params.max_allowed_validators,
        weights: neurons
            .iter()
            .map(|neuron| stored(&state.weights, neuron.uid))
            .collect(),
        bonds: neurons.iter().map(|neuron| stored(&state.bonds, neuron.uid)).collect(),
        kappa: params.kappa,
        bonds_moving_average: params.bonds_moving_average,
        bonds_penalty: params.bonds_penalty,
        yuma3: params.yuma3_on,
        liquid_alpha: params.liquid_alpha,
        alpha_low_bits: yuma::alpha_bits(params.alpha_low),
        alpha_high_bits: yuma::alpha_bits(params.alpha_high),
        alpha_sigmoid_steepness: params.alpha_sigmoid_steepness,
        commit_reveal: params.commit_reveal_weights_enabled,
        commit_blocks: neurons
            .iter()
            .map(|neuron| oldest.get(&neuron.hotkey).copied().unwrap_or(u64::MAX))
            .collect(),
        owner_uid: Some(OWNER_UID),
        emission: state.clock.pending.server.saturating_add(state.clock.pending.validator),
    }
}

const NO_ROW: &[(u16, u16)] = &[];

fn stored(rows: &BTreeMap<u16, Row>, uid: u16) -> &[(u16, u16)] {
    rows.get(&uid).map_or(NO_ROW, |row| row.as_slice())
}

/// The block of each hotkey's oldest open commit, as the epoch of the clock's block sees it.
fn oldest_commits(state: &State) -> BTreeMap<AccountId, u64> {
    let now = state.clock.epoch_index.saturating_add(1);
    let period = state.params.reveal_period_epochs;
    let is_open = |epoch: u64| !weighing::is_expired(epoch, now, period);
    let mut oldest = BTreeMap::new();
    let hashed = state.commits.iter().filter_map(|(hotkey, commits)| {
        let first = commits.iter().find(|commit| is_open(commit.epoch))?;
        Some((*hotkey, first.block))
    });
    let sealed = state
        .sealed
        .iter()
        .filter(|(epoch, _)| is_open(**epoch))
        .flat_map(|(_, commits)| commits.iter().map(|commit| (commit.hotkey, commit.block)));
    for (hotkey, block) in hashed.chain(sealed) {
        let place = oldest.entry(hotkey).or_insert(block);
        *place = block.min(*place);
    }
    oldest
}

/// Runs the epoch of the block that `state` stands at, and pays what was pending.
fn run_epoch(state: &State, clock: &mut Clock, delta: &mut Delta) {
    let input = epoch_input(state);
    let output = yuma::run(&input);
    let payment = emission::pay(&output, clock.pending, Some(OWNER_UID));
    clock.recycled = clock.recycled.saturating_add(payment.recycled);
    clock.pending = emission::BlockSplit::default();
    clock.last_epoch_block = clock.block;
    clock.epoch_index = clock.epoch_index.saturating_add(1);
    for (place, neuron) in state.neurons.iter().enumerate() {
        let short = |values: &[u16]| values.get(place).copied().unwrap_or(0);
        let long = |values: &[u64]| values.get(place).copied().unwrap_or(0);
        let bonds = output.bonds.get(place).cloned().unwrap_or_default();
        let (paid, emission) = (long(&payment.paid), long(&output.emission));
        let after = Record {
            stake: neuron.stake.saturating_add(paid),
            validator_permit: output.validator_permit.get(place).copied().unwrap_or(false),
            incentive: short(&output.incentive),
            incentive_share: output.bits.incentive.get(place).map_or(0.0, |bits| Bits::share(*bits)),
            dividends: short(&output.dividends),
            consensus: short(&output.consensus),
            validator_trust: short(&output.validator_trust),
            emission,
            earned: neuron.earned.saturating_add(paid),
            ..neuron.clone()
        };
        delta.history.push(EpochEntry {
            epoch: clock.epoch_index,
            block: clock.block,
            uid: neuron.uid,
            hotkey: neuron.hotkey,
            stake: neuron.stake,
            registered_at: neuron.registered_at,
            last_update: neuron.last_update,
            validator_permit: neuron.validator_permit,
            new_validator_permit: after.validator_permit,
            weights: stored(&state.weights, neuron.uid).to_vec(),
            bonds: bonds.clone(),
            consensus: after.consensus,
            incentive: after.incentive,
            dividends: after.dividends,
            validator_trust: after.validator_trust,
            emission,
            paid,
            shared: input.emission,
            last_mechanism_step_block: input.last_mechanism_step_block,
            commit_block: input
                .commit_blocks
                .get(place)
                .copied()
                .filter(|block| *block != u64::MAX),
        });
        if stored(&state.bonds, neuron.uid) != bonds {
            delta.bonds.push((neuron.uid, Arc::new(bonds)));
        }
        delta.neurons.push(after);
    }
}
