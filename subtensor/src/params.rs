//! The subnet's parameters out of the storages that this runtime has; what it has not stays at the default.

use chain::Hyperparameters;

use crate::fault::Fault;
use crate::read::At;

/// The chain's 64-bit fixed point with 64 fractional bits, in thousandths.
fn thousandths(bits: u128) -> u64 {
    // Rounded: 1.26 is not a binary fraction.
    let whole = (bits >> 64).saturating_mul(1_000);
    let fraction = ((bits & u128::from(u64::MAX)) * 1_000 + (1 << 63)) >> 64;
    u64::try_from(whole.saturating_add(fraction)).unwrap_or(u64::MAX)
}

pub(crate) async fn read(at: &At, netuid: u16) -> Result<Hyperparameters, Fault> {
    let key = (netuid,);
    let other = Hyperparameters::default();
    let (tempo, weights_set_rate_limit, weights_version_key, min_allowed_weights, max_weights_limit, max_allowed_uids) =
        tokio::try_join!(
            at.value::<_, u16>("Tempo", key),
            at.value("WeightsSetRateLimit", key),
            at.value("WeightsVersionKey", key),
            at.value("MinAllowedWeights", key),
            at.or("MaxWeightsLimit", key, other.max_weights_limit),
            at.value("MaxAllowedUids", key),
        )?;
    let (max_allowed_validators, serving_rate_limit, immunity_period, min_non_immune_uids, rho, kappa) = tokio::try_join!(
        at.value("MaxAllowedValidators", key),
        at.value("ServingRateLimit", key),
        at.value::<_, u16>("ImmunityPeriod", key),
        at.or("MinNonImmuneUids", key, other.min_non_immune_uids),
        at.or("Rho", key, other.rho),
        at.value("Kappa", key),
    )?;
    let (bonds_moving_average, bonds_penalty, yuma3_on, liquid_alpha, (alpha_low, alpha_high), alpha_sigmoid_steepness) =
        tokio::try_join!(
            at.value("BondsMovingAverage", key),
            at.or("BondsPenalty", key, other.bonds_penalty),
            at.or("Yuma3On", key, false),
            at.or("LiquidAlphaOn", key, false),
            at.or("AlphaValues", key, (other.alpha_low, other.alpha_high)),
            at.or("AlphaSigmoidSteepness", key, other.alpha_sigmoid_steepness),
        )?;
    let (commit_reveal_weights_enabled, reveal_period_epochs, burn, min_burn, max_burn, burn_half_life) = tokio::try_join!(
        at.or("CommitRevealWeightsEnabled", key, false),
        at.or("RevealPeriodEpochs", key, other.reveal_period_epochs),
        at.value("Burn", key),
        at.or("MinBurn", key, other.min_burn),
        at.or("MaxBurn", key, other.max_burn),
        at.or::<_, u16>("BurnHalfLife", key, 0),
    )?;
    let (subnet_owner_cut, emission_per_block, activity_cutoff, stake_threshold, commit_reveal_version, burn_increase) =
        tokio::try_join!(
            at.or("SubnetOwnerCut", (), other.subnet_owner_cut),
            at.or("BlockEmission", (), other.emission_per_block),
            activity_cutoff(at, netuid, tempo.into()),
            stake_threshold(at),
            commit_reveal_version(at),
            at.or::<_, u128>("BurnIncreaseMult", key, 1 << 64),
        )?;
    Ok(Hyperparameters {
        netuid,
        tempo: tempo.into(),
        weights_set_rate_limit,
        weights_version_key,
        min_allowed_weights,
        max_weights_limit,
        max_allowed_uids,
        max_allowed_validators,
        stake_threshold,
        activity_cutoff,
        serving_rate_limit,
        immunity_period: immunity_period.into(),
        min_non_immune_uids,
        rho,
        kappa,
        bonds_moving_average,
        bonds_penalty,
        yuma3_on,
        liquid_alpha,
        alpha_low,
        alpha_high,
        alpha_sigmoid_steepness,
        commit_reveal_weights_enabled,
        commit_reveal_version,
        reveal_period_epochs,
        burn,
        min_burn,
        max_burn,
        burn_increase_mult: thousandths(burn_increase),
        burn_half_life: burn_half_life.into(),
        subnet_owner_cut,
        emission_per_block,
        faucet_allowance: 0,
        loopback_axons: false,
    })
}

/// Newer runtimes tie it to the tempo, in thousandths of it.
async fn activity_cutoff(at: &At, netuid: u16, tempo: u64) -> Result<u64, Fault> {
    if at.has("ActivityCutoffFactorMilli") {
        let factor: u32 = at.value("ActivityCutoffFactorMilli", (netuid,)).await?;
        return Ok(u64::from(factor).saturating_mul(tempo) / 1_000);
    }
    Ok(at.value::<_, u16>("ActivityCutoff", (netuid,)).await?.into())
}

async fn stake_threshold(at: &At) -> Result<u64, Fault> {
    let older = at.or("WeightsMinStake", (), 0).await?;
    at.or("StakeThreshold", (), older).await
}

/// The form of commits is one for the whole chain; runtimes without the storage take hashes, or version 3 where they have its call.
async fn commit_reveal_version(at: &At) -> Result<u16, Fault> {
    let before = if at.has("CRV3WeightCommits") { 3 } else { 2 };
    at.or("CommitRevealWeightsVersion", (), before).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_point_becomes_thousandths() {
        assert_eq!(thousandths(1 << 64), 1_000);
        // The chain's default, 1.26, as it stands in the metadata.
        assert_eq!(
            thousandths(u128::from_le_bytes(
                *b"\x00\x90\xc2\xf5\x28\x5c\x8f\x42\x01\0\0\0\0\0\0\0"
            )),
            1_260
        );
        assert_eq!(thousandths(u128::MAX), u64::MAX);
    }
}
