//! Which parameters the embedded ledger runs with: those stored, changed by those that its operator gave.
//!
//! The operator of an embedded ledger stands where the subnet's owner and sudo stand on the real chain.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::ledger::{Hyperparameters, RAO_PER_TAO};

/// All the TAO that will ever be: no amount may be more, which keeps every sum within 63 bits.
pub const SUPPLY: u64 = 21_000_000 * RAO_PER_TAO;
/// What each hotkey may draw where there is a faucet.
const FAUCET_ALLOWANCE: u64 = 1_000_000 * RAO_PER_TAO;

/// An amount that a user writes in TAO and the ledger counts in RAO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tao(u64);

impl Tao {
    /// The amount in RAO.
    pub const fn rao(self) -> u64 {
        self.0
    }

    /// The amount of so many RAO.
    pub const fn from_rao(rao: u64) -> Self {
        Self(rao)
    }
}

/// Text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount of TAO: expected 0 to 21000000 with at most nine decimals")]
pub struct TaoError(String);

impl FromStr for Tao {
    type Err = TaoError;

    fn from_str(text: &str) -> Result<Self, TaoError> {
        let fail = || TaoError(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(fail());
        }
        let whole: u64 = whole.parse().map_err(|_| fail())?;
        let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| fail())?;
        let rao = whole
            .checked_mul(RAO_PER_TAO)
            .and_then(|rao| rao.checked_add(fraction))
            .ok_or_else(fail)?;
        if rao > SUPPLY { Err(fail()) } else { Ok(Self(rao)) }
    }
}

impl fmt::Display for Tao {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / RAO_PER_TAO, self.0 % RAO_PER_TAO);
        let text = format!("{whole}.{fraction:09}");
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Serialize for Tao {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tao {
    /// From a string, or from a number as TOML and the environment have them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl Visitor<'_> for Amount {
            type Value = Tao;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of TAO")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Tao, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Tao, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Tao, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tao, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Amount).map_err(D::Error::custom)
    }
}

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
    #[arg(long, value_name = "BLOCKS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_rate_limit: Option<u64>,
    /// Least version key of validators; 0 takes all [default: 0]
    #[arg(long, value_name = "KEY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_version: Option<u64>,
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
    /// What a registration costs [default: 0.1, with --faucet 0]
    #[arg(long, value_name = "TAO")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_burn: Option<Tao>,
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
        weights_rate_limit: given.weights_rate_limit.unwrap_or(before.weights_rate_limit),
        weights_version: given.weights_version.unwrap_or(before.weights_version),
        min_allowed_weights: given.min_allowed_weights.unwrap_or(before.min_allowed_weights),
        max_allowed_uids: given.max_allowed_uids.unwrap_or(before.max_allowed_uids),
        max_allowed_validators: given.max_allowed_validators.unwrap_or(before.max_allowed_validators),
        stake_threshold: rao(given.stake_threshold, before.stake_threshold),
        activity_cutoff: given.activity_cutoff.unwrap_or(before.activity_cutoff),
        serving_rate_limit: given.serving_rate_limit.unwrap_or(before.serving_rate_limit),
        registration_burn: rao(given.registration_burn, if free { 0 } else { before.registration_burn }),
        emission_per_block: rao(given.emission_per_block, before.emission_per_block),
        faucet_allowance: match given.faucet {
            true if before.faucet_allowance == 0 => rao(given.faucet_allowance, FAUCET_ALLOWANCE),
            true => rao(given.faucet_allowance, before.faucet_allowance),
            false => 0,
        },
        loopback_axons: given.faucet,
    };
    if params.netuid == 0 {
        return fail(
            "netuid",
            "0 is the root network, which has no miners; give 1 or more".to_owned(),
        );
    }
    if params.tempo == 0 {
        return fail("tempo", "an epoch must last at least one block".to_owned());
    }
    if params.max_allowed_uids == 0 {
        return fail("max_allowed_uids", "the owner alone needs one".to_owned());
    }
    for (parameter, blocks) in [
        ("tempo", params.tempo),
        ("weights_rate_limit", params.weights_rate_limit),
        ("activity_cutoff", params.activity_cutoff),
        ("serving_rate_limit", params.serving_rate_limit),
    ] {
        if blocks > u64::from(u32::MAX) {
            return fail(parameter, format!("{blocks} blocks are more than {}", u32::MAX));
        }
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, rao) in [
            ("0", 0),
            ("1", RAO_PER_TAO),
            ("0.1", 100_000_000),
            ("0.000000001", 1),
            ("21000000", SUPPLY),
        ] {
            assert_eq!(text.parse::<Tao>().map(Tao::rao), Ok(rao));
            assert_eq!(Tao::from_rao(rao).to_string(), text);
        }
        for text in [
            "",
            "-1",
            "1.",
            ".5",
            "0.0000000001",
            "21000000.1",
            "1e3",
            "99999999999999999999",
            "1.2.3",
            "+1",
        ] {
            assert!(text.parse::<Tao>().is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_come_as_text_or_numbers() {
        for (json, rao) in [("\"2.5\"", 2_500_000_000), ("2.5", 2_500_000_000), ("3", 3_000_000_000)] {
            assert_eq!(serde_json::from_str::<Tao>(json).unwrap().rao(), rao);
        }
        assert!(
            serde_json::from_str::<Tao>("-3")
                .unwrap_err()
                .to_string()
                .contains("`-3`")
        );
    }

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
            (params.registration_burn, params.faucet_allowance, params.loopback_axons),
            (0, FAUCET_ALLOWANCE, true)
        );
        let after = resolve(Some(&params), &Overrides::default()).unwrap();
        assert_eq!((after.faucet_allowance, after.loopback_axons), (0, false));
    }

    #[test]
    fn what_is_stored_stays_unless_it_is_given() {
        let stored = Hyperparameters {
            tempo: 20,
            weights_rate_limit: 5,
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
        assert_eq!(
            refused(
                None,
                Overrides {
                    netuid: Some(0),
                    ..none()
                }
            ),
            "netuid"
        );
        assert_eq!(
            refused(
                Some(&Hyperparameters::default()),
                Overrides {
                    netuid: Some(2),
                    ..none()
                }
            ),
            "netuid"
        );
        assert_eq!(
            refused(
                None,
                Overrides {
                    tempo: Some(0),
                    ..none()
                }
            ),
            "tempo"
        );
        assert_eq!(
            refused(
                None,
                Overrides {
                    tempo: Some(u64::MAX),
                    ..none()
                }
            ),
            "tempo"
        );
        assert_eq!(
            refused(
                None,
                Overrides {
                    max_allowed_uids: Some(0),
                    ..none()
                }
            ),
            "max_allowed_uids"
        );
        let allowance = Some(Tao::from_rao(1));
        assert_eq!(
            refused(
                None,
                Overrides {
                    faucet_allowance: allowance,
                    ..none()
                }
            ),
            "faucet_allowance"
        );
    }

    proptest! {
        #[test]
        fn every_amount_survives_its_text(rao in 0..=SUPPLY) {
            prop_assert_eq!(Tao::from_rao(rao).to_string().parse(), Ok(Tao::from_rao(rao)));
        }
        #[test]
        fn any_text_is_an_answer_and_no_panic(text: String) {
            let _answer = text.parse::<Tao>();
        }
    }
}
