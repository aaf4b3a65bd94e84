//! Flags, and what they come to.

use std::path::Path;

use alloy::primitives::Address;
use eyre::eyre;
use node::cli::{ConfigArgs, NodeArgs};
use node::exit::{Failure, OrConfiguration as _};
use sender::client::ClientArgs;

use crate::config::Config;

/// Where the Agent is and who this keeper is; the same for every command.
#[derive(Debug, Clone, Default, clap::Args, serde::Serialize)]
pub struct PlaceArgs {
    /// The Agent contract
    #[arg(long, value_name = "ADDRESS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<Address>,
    #[command(flatten)]
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub client: ClientArgs,
    /// The keeper's number (default: the one whose worker this is)
    #[arg(long, value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keeper: Option<u64>,
}

/// `keeper run`'s flags.
#[derive(Debug, Clone, Default, clap::Args, serde::Serialize)]
pub struct RunFlags {
    #[command(flatten)]
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub place: PlaceArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub node: NodeArgs,
}

/// What every other command takes.
pub type Common = ConfigArgs<PlaceArgs>;

/// Loads a configuration: file, environment, flags.
///
/// # Errors
/// Exit code 2, naming the value.
pub fn load(file: Option<&Path>, flags: &impl serde::Serialize) -> Result<Config, Failure> {
    Config::load(file, flags).or_configuration()
}

/// An amount of tokens or ether: decimal, or `all`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Amount {
    /// Everything that there is.
    All,
    /// So many, in whole units with a decimal point.
    Some(String),
}

impl std::str::FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let digits = text.chars().all(|c| c.is_ascii_digit() || c == '.');
        if digits && text.chars().any(|c| c.is_ascii_digit()) && text.matches('.').count() <= 1 {
            Ok(Self::Some(text.to_owned()))
        } else {
            Err("an amount is a decimal number of whole tokens, like 3000 or 0.5, or `all`".to_owned())
        }
    }
}

impl Amount {
    /// Base units, of a token with so many decimals.
    ///
    /// # Errors
    /// Exit code 2: more decimals than there are, or too much.
    pub fn units(&self, decimals: u8, all: alloy::primitives::U256) -> Result<alloy::primitives::U256, Failure> {
        match self {
            Self::All => Ok(all),
            Self::Some(text) => {
                let fraction = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
                if fraction > usize::from(decimals) {
                    return Err(Failure::configuration(eyre!("{text}: there are {decimals} decimals")));
                }
                let parsed = alloy::primitives::utils::parse_units(text, decimals);
                let parsed = parsed.map_err(|error| Failure::configuration(eyre!("{text}: {error}")))?;
                Ok(parsed.get_absolute())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;

    use super::*;

    #[test]
    fn an_amount_is_exact() {
        let units = |text: &str, decimals| text.parse::<Amount>().unwrap().units(decimals, U256::from(7)).unwrap();
        assert_eq!(units("3000", 18), U256::from(3000) * U256::from(10).pow(U256::from(18)));
        assert_eq!(units("0.5", 6), U256::from(500_000));
        assert_eq!(units("12", 0), U256::from(12));
        assert_eq!(units("all", 18), U256::from(7));
        assert!("1.0000001".parse::<Amount>().unwrap().units(6, U256::ZERO).is_err());
        for wrong in ["", ".", "-1", "1e18", "1.2.3", "0x10", "1 000"] {
            assert!(wrong.parse::<Amount>().is_err(), "{wrong}");
        }
    }
}
