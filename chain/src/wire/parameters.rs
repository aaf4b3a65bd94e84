//! The subnet's hyperparameters, and the beacon that sealed weights wait for.

use prost::bytes::Bytes;
use protos::{DecodeError, v1};

use super::field::short;
use crate::ledger::{Beacon, Hyperparameters};

impl From<&Hyperparameters> for v1::Hyperparameters {
    fn from(params: &Hyperparameters) -> Self {
        Self {
            netuid: params.netuid.into(),
            tempo: params.tempo,
            weights_set_rate_limit: params.weights_set_rate_limit,
            weights_version_key: params.weights_version_key,
            min_allowed_weights: params.min_allowed_weights.into(),
            max_weights_limit: params.max_weights_limit.into(),
            max_allowed_uids: params.max_allowed_uids.into(),
            max_allowed_validators: params.max_allowed_validators.into(),
            stake_threshold: params.stake_threshold,
            activity_cutoff: params.activity_cutoff,
            serving_rate_limit: params.serving_rate_limit,
            immunity_period: params.immunity_period,
            min_non_immune_uids: params.min_non_immune_uids.into(),
            rho: params.rho.into(),
            kappa: params.kappa.into(),
            bonds_moving_average: params.bonds_moving_average,
            bonds_penalty: params.bonds_penalty.into(),
            yuma3_on: params.yuma3_on,
            liquid_alpha: params.liquid_alpha,
            alpha_low: params.alpha_low.into(),
            alpha_high: params.alpha_high.into(),
            alpha_sigmoid_steepness: params.alpha_sigmoid_steepness.into(),
            commit_reveal_weights_enabled: params.commit_reveal_weights_enabled,
            commit_reveal_version: params.commit_reveal_version.into(),
            reveal_period_epochs: params.reveal_period_epochs,
            burn: params.burn,
            min_burn: params.min_burn,
            max_burn: params.max_burn,
            burn_increase_mult: params.burn_increase_mult,
            burn_half_life: params.burn_half_life,
            subnet_owner_cut: params.subnet_owner_cut.into(),
            emission_per_block: params.emission_per_block,
            faucet_allowance: params.faucet_allowance,
            loopback_axons: params.loopback_axons,
        }
    }
}

impl TryFrom<v1::Hyperparameters> for Hyperparameters {
    type Error = DecodeError;

    fn try_from(params: v1::Hyperparameters) -> Result<Self, DecodeError> {
        Ok(Self {
            netuid: short("hyperparameters.netuid", params.netuid)?,
            tempo: params.tempo,
            weights_set_rate_limit: params.weights_set_rate_limit,
            weights_version_key: params.weights_version_key,
            min_allowed_weights: short("hyperparameters.min_allowed_weights", params.min_allowed_weights)?,
            max_weights_limit: short("hyperparameters.max_weights_limit", params.max_weights_limit)?,
            max_allowed_uids: short("hyperparameters.max_allowed_uids", params.max_allowed_uids)?,
            max_allowed_validators: short("hyperparameters.max_allowed_validators", params.max_allowed_validators)?,
            stake_threshold: params.stake_threshold,
            activity_cutoff: params.activity_cutoff,
            serving_rate_limit: params.serving_rate_limit,
            immunity_period: params.immunity_period,
            min_non_immune_uids: short("hyperparameters.min_non_immune_uids", params.min_non_immune_uids)?,
            rho: short("hyperparameters.rho", params.rho)?,
            kappa: short("hyperparameters.kappa", params.kappa)?,
            bonds_moving_average: params.bonds_moving_average,
            bonds_penalty: short("hyperparameters.bonds_penalty", params.bonds_penalty)?,
            yuma3_on: params.yuma3_on,
            liquid_alpha: params.liquid_alpha,
            alpha_low: short("hyperparameters.alpha_low", params.alpha_low)?,
            alpha_high: short("hyperparameters.alpha_high", params.alpha_high)?,
            alpha_sigmoid_steepness: i16::try_from(params.alpha_sigmoid_steepness).map_err(|_| {
                DecodeError::invalid(
                    "hyperparameters.alpha_sigmoid_steepness",
                    format_args!("{} is no 16-bit number", params.alpha_sigmoid_steepness),
                )
            })?,
            commit_reveal_weights_enabled: params.commit_reveal_weights_enabled,
            commit_reveal_version: short("hyperparameters.commit_reveal_version", params.commit_reveal_version)?,
            reveal_period_epochs: params.reveal_period_epochs,
            burn: params.burn,
            min_burn: params.min_burn,
            max_burn: params.max_burn,
            burn_increase_mult: params.burn_increase_mult,
            burn_half_life: params.burn_half_life,
            subnet_owner_cut: short("hyperparameters.subnet_owner_cut", params.subnet_owner_cut)?,
            emission_per_block: params.emission_per_block,
            faucet_allowance: params.faucet_allowance,
            loopback_axons: params.loopback_axons,
        })
    }
}

impl From<&Beacon> for v1::Beacon {
    fn from(beacon: &Beacon) -> Self {
        Self {
            public_key: Bytes::copy_from_slice(&beacon.public_key),
            genesis_ms: beacon.genesis_ms,
            period_ms: beacon.period_ms,
            block_time_ms: beacon.block_time_ms,
            now_ms: beacon.now_ms,
        }
    }
}

impl TryFrom<v1::Beacon> for Beacon {
    type Error = DecodeError;

    fn try_from(beacon: v1::Beacon) -> Result<Self, DecodeError> {
        if beacon.period_ms == 0 {
            return Err(DecodeError::invalid("beacon.period_ms", "is 0"));
        }
        let public_key: [u8; 96] = protos::fixed("beacon.public_key", &beacon.public_key)?;
        Ok(Self {
            public_key: public_key.to_vec(),
            genesis_ms: beacon.genesis_ms,
            period_ms: beacon.period_ms,
            block_time_ms: beacon.block_time_ms,
            now_ms: beacon.now_ms,
        })
    }
}
