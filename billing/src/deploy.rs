//! `billing deploy`: a service's contract, directly or through the factory.

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolCall as _;
use contracts::{Contract, ServicePayment as Service, ServicePaymentFactory as Factory};
use eyre::eyre;
use node::exit::Failure;

use crate::account::Account;

/// What is deployed.
#[derive(Debug, Clone, clap::Args)]
pub struct Terms {
    /// The ERC-20 token of all payments
    #[arg(long, value_name = "ADDRESS")]
    pub token: Address,
    /// Who shares the payments in equal parts, separated by commas; `billing payees` proposes them
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', required = true)]
    pub payees: Vec<Address>,
    /// Base units of the token per second, for all payees together
    #[arg(long, value_name = "BASE_UNITS")]
    pub rate: U256,
    /// From when on the service costs, as in 2027-01-01T00:00:00Z [default: the newest block's time]
    #[arg(long, value_name = "TIME")]
    pub start: Option<humantime::Timestamp>,
    /// Create it through this factory, which knows it by --protocol then; without it, directly
    #[arg(long, value_name = "ADDRESS", requires = "protocol")]
    pub factory: Option<Address>,
    /// The protected protocol's name
    #[arg(long, value_name = "NAME", requires = "factory")]
    pub protocol: Option<String>,
}

/// A service that is deployed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Deployed {
    /// Its contract.
    pub contract: Address,
    /// The transaction that created it.
    pub transaction: B256,
    /// Its block.
    pub block: u64,
    /// From when on it costs, Unix seconds.
    pub start: u64,
}

/// Deploys a service. Run again with the same terms it tells of the one that is there; another `--start` makes another.
///
/// # Errors
/// Exit code 1: the chain refuses the terms; 3: not known.
pub async fn deploy(account: &Account, terms: &Terms) -> Result<Deployed, Failure> {
    let start = match terms.start {
        Some(start) => std::time::SystemTime::from(start)
            .duration_since(std::time::UNIX_EPOCH)?
            .as_secs(),
        None => account.time().await?,
    };
    let (to, input) = match (terms.factory, &terms.protocol) {
        (Some(factory), Some(protocol)) => {
            let create = Factory::createCall {
                protocol: keccak256(protocol),
                token: terms.token,
                payees: terms.payees.clone(),
                rate: terms.rate,
                start: U256::from(start),
            };
            (Some(factory), create.abi_encode().into())
        }
        _ => {
            let constructor = Service::constructorCall {
                token_: terms.token,
                payees_: terms.payees.clone(),
                rate_: terms.rate,
                start_: U256::from(start),
            };
            (None, Contract::ServicePayment.creation(&constructor))
        }
    };
    // Not of the input, which has another start each time where none is given.
    let effect = format!("deploy a service by {}", keccak256(format!("{terms:?}")));
    let inclusion = account.mined(effect, to, input).await?;
    let contract = match (terms.factory, &terms.protocol) {
        (Some(factory), Some(protocol)) => {
            let made = Factory::serviceOfCall {
                creator: account.address(),
                protocol: keccak256(protocol),
            };
            account.ask(factory, made).await?
        }
        _ => inclusion
            .created
            .ok_or_else(|| eyre!("{} created no contract", inclusion.transaction))?,
    };
    let start = account
        .ask(contract, Service::startTimestampCall {})
        .await?
        .saturating_to();
    Ok(Deployed {
        contract,
        transaction: inclusion.transaction,
        block: inclusion.block,
        start,
    })
}
