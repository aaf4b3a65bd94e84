//! `billing withdraw`: a payee takes its share.

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall as _;
use contracts::ServicePayment as Service;
use node::exit::Failure;

use crate::account::Account;

/// A share that was taken.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Withdrawn {
    /// The service.
    pub contract: Address,
    /// Who took it.
    pub payee: Address,
    /// Base units that were there when the command began; what came in meanwhile is taken as well.
    pub amount: U256,
    /// Its transaction.
    pub transaction: B256,
    /// Its block.
    pub block: u64,
}

/// Withdraws all that the account has at `service`.
///
/// # Errors
/// Exit code 1: it has nothing there, or the token refuses; 3: not known.
pub async fn withdraw(account: &Account, service: Address) -> Result<Withdrawn, Failure> {
    let payee = account.address();
    let begun = format!("withdraw from {service} of ");
    let (amount, inclusion) = match account.resumed(&begun).await? {
        Some((effect, inclusion)) => {
            let units = effect.strip_prefix(&begun).and_then(|rest| rest.split(' ').next());
            (
                units.and_then(|units| units.parse().ok()).unwrap_or_default(),
                inclusion,
            )
        }
        None => {
            let amount = account.ask(service, Service::balanceOfCall { account: payee }).await?;
            let paid = account.ask(service, Service::totalPaidCall {}).await?;
            let input = Service::withdrawCall {}.abi_encode().into();
            // All of the balance goes; there can be another one only after a further payment.
            let effect = format!("{begun}{amount} at {paid}");
            (amount, account.mined(effect, Some(service), input).await?)
        }
    };
    Ok(Withdrawn {
        contract: service,
        payee,
        amount,
        transaction: inclusion.transaction,
        block: inclusion.block,
    })
}
