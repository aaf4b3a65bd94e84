//! `billing pay`: an approval or a permit, then the payment.

use alloy::primitives::{Address, B256, U256};
use alloy::signers::SignerSync as _;
use alloy::sol;
use alloy::sol_types::{SolCall as _, SolStruct as _};
use contracts::{PermitToken, ServicePayment as Service};
use eyre::eyre;
use node::exit::{Code, Failure};
use sender::Inclusion;

use crate::account::Account;

sol! {
    /// What the owner signs, by EIP-2612.
    #[derive(Debug)]
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

/// A permit is good for so many seconds of block time.
const PERMIT_SECONDS: u64 = 3600;

/// How much.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Amount {
    /// Base units of the token; rounded up to what divides among the payees
    #[arg(long, value_name = "BASE_UNITS")]
    pub amount: Option<U256>,
    /// As much as keeps the service paid through this time, as in 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub until: Option<humantime::Timestamp>,
    /// As much as adds this time to the runway, arrears included
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<humantime::Duration>,
}

/// A payment that is in a block.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Paid {
    /// The service.
    pub contract: Address,
    /// Base units.
    pub amount: U256,
    /// Its transaction.
    pub transaction: B256,
    /// Its block.
    pub block: u64,
    /// The last second (Unix) at which the service is paid now.
    pub paid_until: u64,
}

/// Pays `amount` to `service`: by an EIP-2612 permit where `permit` is wished, otherwise by an approval of exactly what lacks.
///
/// # Errors
/// Exit code 1: the chain refuses; 2: an argument; 3: not known.
pub async fn pay(account: &Account, service: Address, amount: &Amount, permit: bool) -> Result<Paid, Failure> {
    let begun = format!("pay {service} ");
    if let Some((effect, inclusion)) = account.resumed(&begun).await? {
        let units = effect.strip_prefix(&begun).and_then(|rest| rest.split(' ').next());
        let amount = units.and_then(|units| units.parse().ok()).unwrap_or_default();
        return paid(account, service, amount, &inclusion).await;
    }
    let before = account.ask(service, Service::totalPaidCall {}).await?;
    let payees = U256::from(account.ask(service, Service::payeesCall {}).await?.len());
    let amount = rounded(units(account, service, amount).await?, payees)?;
    let token = account.ask(service, Service::tokenCall {}).await?;
    let held = PermitToken::balanceOfCall {
        account: account.address(),
    };
    let held = account.ask(token, held).await?;
    if held < amount {
        return Err(Failure::new(
            Code::Negative,
            eyre!(
                "{} has {held} base units of {token}, {amount} are to be paid",
                account.address()
            ),
        ));
    }
    let effect = |what: &str| format!("{what} {service} {amount} after {before}");
    let input = if permit {
        signed_permit(account, service, token, amount).await?.abi_encode()
    } else {
        allow(account, service, token, amount, &effect).await?;
        Service::payCall { amount }.abi_encode()
    };
    let inclusion = account.mined(effect("pay"), Some(service), input.into()).await?;
    paid(account, service, amount, &inclusion).await
}

async fn paid(account: &Account, service: Address, amount: U256, inclusion: &Inclusion) -> Result<Paid, Failure> {
    let paid_until = account.ask(service, Service::paidUntilCall {}).await?;
    Ok(Paid {
        contract: service,
        amount,
        transaction: inclusion.transaction,
        block: inclusion.block,
        paid_until: paid_until.saturating_to(),
    })
}

async fn units(account: &Account, service: Address, amount: &Amount) -> Result<U256, Failure> {
    let until = match (amount.amount, amount.until, amount.duration) {
        (Some(units), _, _) => return Ok(units),
        (None, Some(until), _) => {
            let since = std::time::SystemTime::from(until).duration_since(std::time::UNIX_EPOCH)?;
            U256::from(since.as_secs())
        }
        (None, None, Some(duration)) => {
            let now = U256::from(account.time().await?);
            let paid = account.ask(service, Service::paidUntilCall {}).await?;
            now.max(paid).saturating_add(U256::from(duration.as_secs()))
        }
        (None, None, None) => return Err(Failure::configuration(eyre!("give --amount, --until or --for"))),
    };
    account.ask(service, Service::priceUntilCall { timestamp: until }).await
}

/// The least multiple of `payees` that is not below `units`.
fn rounded(units: U256, payees: U256) -> Result<U256, Failure> {
    units
        .checked_next_multiple_of(payees)
        .ok_or_else(|| Failure::configuration(eyre!("{units} base units are more than any token has")))
}

/// Allows the service what it is to take, where it is not allowed that much yet.
async fn allow(
    account: &Account,
    service: Address,
    token: Address,
    amount: U256,
    effect: &impl Fn(&str) -> String,
) -> Result<(), Failure> {
    let allowance = PermitToken::allowanceCall {
        owner: account.address(),
        spender: service,
    };
    let allowed = account.ask(token, allowance).await?;
    if allowed >= amount {
        return Ok(());
    }
    let approve = |value| {
        PermitToken::approveCall {
            spender: service,
            value,
        }
        .abi_encode()
        .into()
    };
    if !allowed.is_zero() {
        // Some tokens refuse to change an allowance that is not zero.
        let step = effect(&format!("approve 0 of {allowed} for"));
        account.mined(step, Some(token), approve(U256::ZERO)).await?;
    }
    let step = effect("approve for");
    account.mined(step, Some(token), approve(amount)).await?;
    Ok(())
}

async fn signed_permit(
    account: &Account,
    service: Address,
    token: Address,
    amount: U256,
) -> Result<Service::payWithPermitCall, Failure> {
    let owner = account.address();
    let unsupported = |reason: Failure| match reason.code() {
        Code::Indeterminate => reason,
        _ => Failure::configuration(eyre!(
            "{token} has no permits (EIP-2612): pay without --permit ({reason})"
        )),
    };
    let nonce = account
        .ask(token, PermitToken::noncesCall { owner })
        .await
        .map_err(unsupported)?;
    let domain = account
        .ask(token, PermitToken::DOMAIN_SEPARATORCall {})
        .await
        .map_err(unsupported)?;
    let permit = Permit {
        owner,
        spender: service,
        value: amount,
        nonce,
        deadline: U256::from(account.time().await?.saturating_add(PERMIT_SECONDS)),
    };
    // The token's own separator: it is right even where its name or version cannot be asked for.
    let digest = alloy::primitives::keccak256(
        [&[0x19, 0x01], domain.as_slice(), permit.eip712_hash_struct().as_slice()].concat(),
    );
    let signature = account.signer().sign_hash_sync(&digest)?;
    Ok(Service::payWithPermitCall {
        amount,
        deadline: permit.deadline,
        v: 27 + u8::from(signature.v()),
        r: signature.r().into(),
        s: signature.s().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_rounded_up_to_what_divides() {
        let rounded = |units: u64, payees: u64| rounded(U256::from(units), U256::from(payees)).unwrap();
        assert_eq!(rounded(5, 2), U256::from(6));
        assert_eq!(rounded(6, 2), U256::from(6));
        assert_eq!(rounded(0, 3), U256::ZERO);
        assert!(super::rounded(U256::MAX, U256::from(2)).is_err());
    }

    #[test]
    fn the_permit_is_that_of_the_standard() {
        // EIP-2612: keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
        let hash = alloy::primitives::b256!("6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9");
        let permit = Permit {
            owner: Address::ZERO,
            spender: Address::ZERO,
            value: U256::ZERO,
            nonce: U256::ZERO,
            deadline: U256::ZERO,
        };
        assert_eq!(permit.eip712_type_hash(), hash);
    }
}
