//! Weights: set plainly, or committed first and revealed in a later epoch (spec 425, `subnets/weights.rs`).
//!
//! An operation belongs to the epoch that has begun with the last one that ran. A commit by hash is opened by its hotkey in the
//! epoch `reveal_period_epochs` later and in no other; a sealed one by the ledger at that epoch's beginning.

use std::sync::Arc;

use substrate_fixed::types::I32F32;

use super::state::{Delta, HashCommit, OWNER_UID, Record, SealedCommit, State};
use crate::account::AccountId;
use crate::commit::{hash, timelock};
use crate::error::Refusal;
use crate::ledger::{TimelockedCommit, WeightsCall, WeightsCommit, WeightsReveal};
use crate::weights::max_upscale;

/// Commits that a hotkey may have open.
const OPEN_COMMITS: usize = 10;

/// `set_weights`.
pub(super) fn set_plainly(state: &State, sender: &AccountId, call: &WeightsCall) -> Result<Delta, Refusal> {
    if state.params.commit_reveal_weights_enabled {
        return Err(Refusal::CommitRevealEnabled);
    }
    set(state, sender, call)
}

/// Sets a row, after every check that plain and revealed weights share (`internal_set_weights`).
pub(super) fn set(state: &State, sender: &AccountId, call: &WeightsCall) -> Result<Delta, Refusal> {
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
    if params.weights_version_key != 0 && *version_key < params.weights_version_key {
        return Err(Refusal::IncorrectWeightVersionKey);
    }
    if !params.commit_reveal_weights_enabled
        && let Some(retry_at_block) = too_fast_until(state, neuron)
    {
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
    let upscaled = max_upscale(values);
    if !is_self_weight && exceeds(&upscaled, params.max_weights_limit) {
        return Err(Refusal::MaxWeightExceeded);
    }
    let row: Vec<(u16, u16)> = uids.iter().copied().zip(upscaled).collect();
    // Commits have moved the last update already; a reveal does not move it again.
    let neurons = match params.commit_reveal_weights_enabled {
        true => Vec::new(),
        false => vec![updated(neuron, block)],
    };
    Ok(Delta {
        neurons,
        weights: vec![(neuron.uid, Arc::new(row))],
        ..Delta::default()
    })
}

/// Whether a weight is a larger share of the row than `limit` of 65535, as the chain computes it; 65535 is no limit.
fn exceeds(row: &[u16], limit: u16) -> bool {
    if limit == u16::MAX {
        return false;
    }
    let fixed = |value: u16| I32F32::from_num(value);
    let share = |value: I32F32, of: I32F32| value.checked_div(of).unwrap_or_default();
    let total = row
        .iter()
        .fold(I32F32::from_bits(0), |sum, value| sum.saturating_add(fixed(*value)));
    let limit = share(fixed(limit), fixed(u16::MAX));
    row.iter().any(|value| share(fixed(*value), total) > limit)
}

/// The first block at which the neuron may set or commit again, where that is not now.
fn too_fast_until(state: &State, neuron: &Record) -> Option<u64> {
    let retry_at_block = neuron.last_update.saturating_add(state.params.weights_set_rate_limit);
    (neuron.last_update != 0 && state.clock.block < retry_at_block).then_some(retry_at_block)
}

fn updated(neuron: &Record, block: u64) -> Record {
    Record {
        last_update: block,
        ..neuron.clone()
    }
}

/// The sender's neuron, if it may commit now.
fn committing<'a>(state: &'a State, sender: &AccountId) -> Result<&'a Record, Refusal> {
    let neuron = state.by_hotkey(sender).ok_or(Refusal::HotKeyNotRegisteredInSubNet)?;
    match too_fast_until(state, neuron) {
        Some(retry_at_block) => Err(Refusal::CommittingWeightsTooFast { retry_at_block }),
        None => Ok(neuron),
    }
}

/// Whether the epoch in which a commit of `epoch` could be revealed is over, `now` being the current one.
pub(super) const fn is_expired(epoch: u64, now: u64, reveal_period: u64) -> bool {
    now > epoch.saturating_add(reveal_period)
}

/// `commit_weights`.
pub(super) fn commit(state: &State, sender: &AccountId, commit: WeightsCommit) -> Result<Delta, Refusal> {
    if !state.params.commit_reveal_weights_enabled {
        return Err(Refusal::CommitRevealDisabled);
    }
    let neuron = committing(state, sender)?;
    let (epoch, block) = (state.clock.epoch_index, state.clock.block);
    let period = state.params.reveal_period_epochs;
    let mut open = state.commits.get(sender).cloned().unwrap_or_default();
    let fresh = open.iter().position(|commit| !is_expired(commit.epoch, epoch, period));
    open.drain(..fresh.unwrap_or(open.len()));
    if open.len() >= OPEN_COMMITS {
        return Err(Refusal::TooManyUnrevealedCommits);
    }
    open.push(HashCommit {
        hash: commit.hash,
        epoch,
        block,
    });
    Ok(Delta {
        neurons: vec![updated(neuron, block)],
        commits: vec![(*sender, open)],
        ..Delta::default()
    })
}

/// `reveal_weights`. What is revealed opens its commit and drops every older one.
pub(super) fn reveal(state: &State, sender: &AccountId, reveal: &WeightsReveal) -> Result<Delta, Refusal> {
    if !state.params.commit_reveal_weights_enabled {
        return Err(Refusal::CommitRevealDisabled);
    }
    let mut open = state
        .commits
        .get(sender)
        .cloned()
        .ok_or(Refusal::NoWeightsCommitFound)?;
    let (epoch, period) = (state.clock.epoch_index, state.params.reveal_period_epochs);
    let fresh = open.iter().position(|commit| !is_expired(commit.epoch, epoch, period));
    let expired: Vec<HashCommit> = open.drain(..fresh.unwrap_or(open.len())).collect();
    let promised = hash::commit(sender, state.params.netuid, reveal).hash;
    let Some(place) = open.iter().position(|commit| commit.hash == promised) else {
        return Err(if expired.iter().any(|commit| commit.hash == promised) {
            Refusal::ExpiredWeightCommit
        } else if open.is_empty() {
            Refusal::NoWeightsCommitFound
        } else {
            Refusal::InvalidRevealCommitHashNotMatch
        });
    };
    if open
        .get(place)
        .is_none_or(|commit| epoch != commit.epoch.saturating_add(period))
    {
        return Err(Refusal::RevealTooEarly);
    }
    open.drain(..=place);
    let call = WeightsCall {
        uids: reveal.uids.clone(),
        values: reveal.values.clone(),
        version_key: reveal.version_key,
    };
    let set = set(state, sender, &call)?;
    Ok(Delta {
        commits: vec![(*sender, open)],
        ..set
    })
}

/// `commit_timelocked_weights`.
pub(super) fn commit_timelocked(
    state: &State,
    sender: &AccountId,
    commit: &TimelockedCommit,
) -> Result<Delta, Refusal> {
    if !state.params.commit_reveal_weights_enabled {
        return Err(Refusal::CommitRevealDisabled);
    }
    if commit.version != state.params.commit_reveal_version {
        return Err(Refusal::IncorrectCommitRevealVersion);
    }
    let neuron = committing(state, sender)?;
    let (epoch, block) = (state.clock.epoch_index, state.clock.block);
    if commit.reveal_round < block {
        // Round r is signed in block r. The real chain refuses it before it enters a block.
        return Err(Refusal::InvalidRevealRound);
    }
    let mut sealed = state.sealed.get(&epoch).cloned().unwrap_or_default();
    if sealed.iter().filter(|other| other.hotkey == *sender).count() >= OPEN_COMMITS {
        return Err(Refusal::TooManyUnrevealedCommits);
    }
    sealed.push(SealedCommit {
        hotkey: *sender,
        block,
        reveal_round: commit.reveal_round,
        ciphertext: Arc::new(commit.ciphertext.clone()),
    });
    Ok(Delta {
        neurons: vec![updated(neuron, block)],
        sealed: vec![(epoch, sealed)],
        ..Delta::default()
    })
}

/// The row in a sealed commit, opened with its round's signature.
///
/// # Errors
/// What is wrong with it; such a commit is dropped.
pub(super) fn open(commit: &SealedCommit, signature: &[u8]) -> Result<WeightsCall, String> {
    let plain = timelock::unseal(&commit.ciphertext, signature).map_err(|error| error.to_string())?;
    let payload = timelock::Payload::decode(&plain).map_err(|error| error.to_string())?;
    if payload.hotkey.is_some_and(|hotkey| hotkey != commit.hotkey) {
        return Err("it was sealed by another hotkey".to_owned());
    }
    Ok(WeightsCall {
        uids: payload.uids,
        values: payload.values,
        version_key: payload.version_key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Subtensor's `test_check_vec_max_limited`, with the limits that its floats come to.
    #[test]
    fn a_weight_may_not_be_more_of_the_row_than_its_limit() {
        assert!(!exceeds(&[], 0));
        assert!(exceeds(&[1], 65534) && !exceeds(&[1], 65535));
        assert!(!exceeds(&[1, 1], 32768) && exceeds(&[1, 1], 32766));
        assert!(!exceeds(&[0, 0], 0), "a row of zeros has no shares");
        assert!(exceeds(&[4, 1, 1], 43689) && !exceeds(&[4, 1, 1], 43691));
    }
}
