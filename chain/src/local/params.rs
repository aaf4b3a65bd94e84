//! Which parameters the embedded ledger runs with: those stored, changed by those that its operator gave.
//!
//! The operator of an embedded ledger stands where the subnet's owner and sudo stand on the real chain.

use serde::{Deserialize, Serialize};

use crate::ledger::{Hyperparameters, RAO_PER_TAO};
pub use crate::tao::{SUPPLY, Tao};

/// No epoch is longer (Subtensor's `MAX_TEMPO`).
const MAX_TEMPO: u64 = 50_400;
/// No commit waits longer for its reveal (Subtensor's `MAX_COMMIT_REVEAL_PEROIDS`).
const MAX_REVEAL_PERIOD: u64 = 100;
/// What each hotkey may draw where there is a faucet.
const FAUCET_ALLOWANCE: u64 = 1_000_000 * RAO_PER_TAO;

/// The parameters that an operator gave; what is absent stays as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// The subnet's number, 1 or more [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netuid: Option<u16>,
    /// Blocks between two epochs [default: 360]
    #[arg(long, value_name = "BLOCKS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tempo: Option<u64>,
    /// Blocks between two weight settings of one hotkey [default: 100]
    #[arg(long, value_name = "BLOCKS", alias = "weights-rate-limit")]
    #[serde(skip_serializing_if = "Option::is_none", alias = "weights_rate_limit")]
    pub weights_set_rate_limit: Option<u64>,
    /// Least version key of validators; 0 takes all [default: 0]
    #[arg(long, value_name = "KEY", alias = "weights-version")]
    #[serde(skip_serializing_if = "Option::is_none", alias = "weights_version")]
    pub weights_version_key: Option<u64>,
    /// Weights that a row must have at least [default: 1]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_allowed_weights: Option<u16>,
    /// Uids that the subnet has at most [default: 256]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_allowed_uids: Option<u16>,
    /// Validator permits that are given at most [default: 128]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_allowed_validators: Option<u16>,
    /// Stake needed to set weights and to hold a permit [default: 1000]
    #[arg(long, value_name = "TAO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stake_threshold: Option<Tao>,
    /// Blocks after its last update for which a neuron counts as active [default: 5000]
    #[arg(long, value_name = "BLOCKS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity_cutoff: Option<u64>,
    /// Blocks between two axons of one hotkey [default: 50]
    #[arg(long, value_name = "BLOCKS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving_rate_limit: Option<u64>,
    /// What the next registration costs [default: 0.1, with --faucet 0]
    #[arg(long, value_name = "TAO", alias = "registration-burn")]
    #[serde(skip_serializing_if = "Option::is_none", alias = "registration_burn")]
    pub burn: Option<Tao>,
    /// The cost of a registration falls no lower [default: 0.0005, with --faucet 0]
    #[arg(long, value_name = "TAO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_burn: Option<Tao>,
    /// The cost of a registration rises no higher [default: 100]
    #[arg(long, value_name = "TAO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_burn: Option<Tao>,
    /// By how much a registration multiplies the cost [default: 1260]
    #[arg(long, value_name = "THOUSANDTHS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burn_increase_mult: Option<u64>,
    /// Blocks in which the cost halves; 0 keeps it [default: 360]
    #[arg(long, value_name = "BLOCKS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burn_half_life: Option<u64>,
    /// Largest share of a row that one weight may have [default: 65535]
    #[arg(long, value_name = "OF_65535")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_weights_limit: Option<u16>,
    /// Blocks after its registration for which a neuron is not pruned [default: 4096]
    #[arg(long, value_name = "BLOCKS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub immunity_period: Option<u64>,
    /// Neurons past their immunity that a full subnet keeps [default: 10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_non_immune_uids: Option<u16>,
    /// Share of stake that makes a consensus [default: 32767]
    #[arg(long, value_name = "OF_65535")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kappa: Option<u16>,
    /// Part of the old bonds that stays at an epoch [default: 900000]
    #[arg(long, value_name = "MILLIONTHS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bonds_moving_average: Option<u64>,
    /// How far bonds follow the clipped weights [default: 65535]
    #[arg(long, value_name = "OF_65535")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bonds_penalty: Option<u16>,
    /// Yuma 3 bonds [default: false]
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yuma3_on: Option<bool>,
    /// Liquid rates of Yuma 3 bonds [default: false]
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liquid_alpha: Option<bool>,
    /// Least liquid rate [default: 45875]
    #[arg(long, value_name = "OF_65535")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_low: Option<u16>,
    /// Greatest liquid rate [default: 58982]
    #[arg(long, value_name = "OF_65535")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_high: Option<u16>,
    /// Steepness between the two [default: 1000]
    #[arg(long, value_name = "HUNDREDTHS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha_sigmoid_steepness: Option<i16>,
    /// Weights are committed first and revealed later [default: false]
    #[arg(long, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_reveal_weights_enabled: Option<bool>,
    /// Form of commits: 4 is time-locked, 2 is by hash [default: 4]
    #[arg(long, value_name = "VERSION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_reveal_version: Option<u16>,
    /// Epochs between a commit and its reveal, 1 to 100 [default: 1]
    #[arg(long, value_name = "EPOCHS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reveal_period_epochs: Option<u64>,
    /// The owner's share of the emission [default: 0]
    #[arg(long, value_name = "OF_65535")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet_owner_cut: Option<u16>,
    /// Issued in each block [default: 1]
    #[arg(long, value_name = "TAO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emission_per_block: Option<Tao>,
    /// Development ledger: registration is free, stake comes from a faucet, axons may be on loopback
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub faucet: bool,
    /// What each hotkey may draw from the faucet in all [default: 1000000]
    #[arg(long, value_name = "TAO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faucet_allowance: Option<Tao>,
}

/// A parameter that no ledger can run with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}`: {reason}")]
pub struct ParamsError {
    /// Its name.
    pub parameter: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// The parameters to run with: `stored` (the defaults in a new ledger), changed by `given`.
///
/// A faucet lasts for as long as the operator asks for it at each start; a restart without `faucet` ends it.
///
/// # Errors
/// [`ParamsError`] names the parameter.
pub fn resolve(stored: Option<&Hyperparameters>, given: &Overrides) -> Result<Hyperparameters, ParamsError> {
    let fail = |parameter, reason: String| Err(ParamsError { parameter, reason });
    let before = stored.cloned().unwrap_or_default();
    if let (Some(stored), Some(netuid)) = (stored, given.netuid)
        && stored.netuid != netuid
    {
        return fail(
            "netuid",
            format!("the database is that of subnet {}, not {netuid}", stored.netuid),
        );
    }
    if given.faucet_allowance.is_some() && !given.faucet {
        return fail("faucet_allowance", "needs `faucet`".to_owned());
    }
    let rao = |given: Option<Tao>, before: u64| given.map_or(before, Tao::rao);
    let free = given.faucet && stored.is_none();
    let params = Hyperparameters {
        netuid: given.netuid.unwrap_or(before.netuid),
        tempo: given.tempo.unwrap_or(before.tempo),
        weights_set_rate_limit: given.weights_set_rate_limit.unwrap_or(before.weights_set_rate_limit),
        weights_version_key: given.weights_version_key.unwrap_or(before.weights_version_key),
        min_allowed_weights: given.min_allowed_weights.unwrap_or(before.min_allowed_weights),
        max_weights_limit: given.max_weights_limit.unwrap_or(before.max_weights_limit),
        max_allowed_uids: given.max_allowed_uids.unwrap_or(before.max_allowed_uids),
        max_allowed_validators: given.max_allowed_validators.unwrap_or(before.max_allowed_validators),
        activity_cutoff: given.activity_cutoff.unwrap_or(before.activity_cutoff),
        serving_rate_limit: given.serving_rate_limit.unwrap_or(before.serving_rate_limit),
        immunity_period: given.immunity_period.unwrap_or(before.immunity_period),
        min_non_immune_uids: given.min_non_immune_uids.unwrap_or(before.min_non_immune_uids),
        kappa: given.kappa.unwrap_or(before.kappa),
        bonds_moving_average: given.bonds_moving_average.unwrap_or(before.bonds_moving_average),
        bonds_penalty: given.bonds_penalty.unwrap_or(before.bonds_penalty),
        yuma3_on: given.yuma3_on.unwrap_or(before.yuma3_on),
        liquid_alpha: given.liquid_alpha.unwrap_or(before.liquid_alpha),
        alpha_low: given.alpha_low.unwrap_or(before.alpha_low),
        alpha_high: given.alpha_high.unwrap_or(before.alpha_high),
        alpha_sigmoid_steepness: given.alpha_sigmoid_steepness.unwrap_or(before.alpha_sigmoid_steepness),
        commit_reveal_weights_enabled: given
            .commit_reveal_weights_enabled
            .unwrap_or(before.commit_reveal_weights_enabled),
        commit_reveal_version: given.commit_reveal_version.unwrap_or(before.commit_reveal_version),
        reveal_period_epochs: given.reveal_period_epochs.unwrap_or(before.reveal_period_epochs),
        burn_increase_mult: given.burn_increase_mult.unwrap_or(before.burn_increase_mult),
        burn_half_life: given.burn_half_life.unwrap_or(before.burn_half_life),
        subnet_owner_cut: given.subnet_owner_cut.unwrap_or(before.subnet_owner_cut),
        rho: before.rho,
        stake_threshold: rao(given.stake_threshold, before.stake_threshold),
        burn: rao(given.burn, if free { 0 } else { before.burn }),
        min_burn: rao(given.min_burn, if free { 0 } else { before.min_burn }),
        max_burn: rao(given.max_burn, before.max_burn),
        emission_per_block: rao(given.emission_per_block, before.emission_per_block),
        faucet_allowance: match given.faucet {
            true if before.faucet_allowance == 0 => rao(given.faucet_allowance, FAUCET_ALLOWANCE),
            true => rao(given.faucet_allowance, before.faucet_allowance),
            false => 0,
        },
        loopback_axons: given.faucet,
    };
    check(&params)?;
    Ok(params)
}

/// The bounds that Subtensor sets too, and those without which no ledger can run.
fn check(params: &Hyperparameters) -> Result<(), ParamsError> {
    let fail = |parameter, reason: String| Err(ParamsError { parameter, reason });
    if params.netuid == 0 {
        return fail(
            "netuid",
            "0 is the root network, which has no miners; give 1 or more".to_owned(),
        );
    }
    if !(1..=MAX_TEMPO).contains(&params.tempo) {
        return fail(
            "tempo",
            format!("{} is not between 1 and {MAX_TEMPO} blocks", params.tempo),
        );
    }
    if !(1..=MAX_REVEAL_PERIOD).contains(&params.reveal_period_epochs) {
        let reason = format!(
            "{} is not between 1 and {MAX_REVEAL_PERIOD} epochs",
            params.reveal_period_epochs
        );
        return fail("reveal_period_epochs", reason);
    }
    if params.bonds_moving_average > 1_000_000 {
        let reason = format!("{} is more than a million millionths", params.bonds_moving_average);
        return fail("bonds_moving_average", reason);
    }
    if params.min_burn > params.max_burn {
        return fail("min_burn", "it is above `max_burn`".to_owned());
    }
    if params.alpha_low > params.alpha_high {
        return fail("alpha_low", "it is above `alpha_high`".to_owned());
    }
    if params.burn_increase_mult < 1_000 {
        return fail(
            "burn_increase_mult",
            "a registration cannot make the next one cheaper: give 1000 or more".to_owned(),
        );
    }
    if params.max_allowed_uids == 0 {
        return fail("max_allowed_uids", "the owner alone needs one".to_owned());
    }
    for (parameter, blocks) in [
        ("weights_set_rate_limit", params.weights_set_rate_limit),
        ("immunity_period", params.immunity_period),
        ("burn_half_life", params.burn_half_life),
        ("activity_cutoff", params.activity_cutoff),
        ("serving_rate_limit", params.serving_rate_limit),
    ] {
        if blocks > u64::from(u32::MAX) {
            return fail(parameter, format!("{blocks} blocks are more than {}", u32::MAX));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_ledger_has_defaults_and_no_faucet() {
        let params = resolve(None, &Overrides::default()).unwrap();
        assert_eq!(params, Hyperparameters::default());
        assert_eq!((params.faucet_allowance, params.loopback_axons), (0, false));
    }

    #[test]
    fn a_faucet_makes_registration_free_and_ends_with_the_flag() {
        let with = Overrides {
            faucet: true,
            ..Overrides::default()
        };
        let params = resolve(None, &with).unwrap();
        assert_eq!(
            (params.burn, params.faucet_allowance, params.loopback_axons),
            (0, FAUCET_ALLOWANCE, true)
        );
        let after = resolve(Some(&params), &Overrides::default()).unwrap();
        assert_eq!((after.faucet_allowance, after.loopback_axons), (0, false));
    }

    #[test]
    fn what_is_stored_stays_unless_it_is_given() {
        let stored = Hyperparameters {
            tempo: 20,
            weights_set_rate_limit: 5,
            ..Hyperparameters::default()
        };
        let given = Overrides {
            tempo: Some(30),
            ..Overrides::default()
        };
        assert_eq!(
            resolve(Some(&stored), &given).unwrap(),
            Hyperparameters { tempo: 30, ..stored }
        );
    }

    #[test]
    fn impossible_parameters_are_named() {
        let refused = |stored: Option<&Hyperparameters>, given| resolve(stored, &given).unwrap_err().parameter;
        let none = Overrides::default;
        for (parameter, given) in [
            (
                "netuid",
                Overrides {
                    netuid: Some(0),
                    ..none()
                },
            ),
            (
                "tempo",
                Overrides {
                    tempo: Some(0),
                    ..none()
                },
            ),
            (
                "tempo",
                Overrides {
                    tempo: Some(u64::MAX),
                    ..none()
                },
            ),
            (
                "max_allowed_uids",
                Overrides {
                    max_allowed_uids: Some(0),
                    ..none()
                },
            ),
            (
                "faucet_allowance",
                Overrides {
                    faucet_allowance: Some(Tao::from_rao(1)),
                    ..none()
                },
            ),
        ] {
            assert_eq!(refused(None, given), parameter);
        }
        let moved = Overrides {
            netuid: Some(2),
            ..none()
        };
        assert_eq!(refused(Some(&Hyperparameters::default()), moved), "netuid");
    }
}
