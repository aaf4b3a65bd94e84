//! Protocols that pay for their protection by the second: the vault does, the markets do not.
//!
//! So that a run shows both sides of the gate: the vault's invariants are streamed, and those of the markets are held back.

use std::ffi::OsString;
use std::path::Path;

use alloy::primitives::{Address, FixedBytes, U256};
use contracts::{Contract, ServicePayment, ServicePaymentFactory};

use crate::localnet::live::rpc::NodeClient;
use crate::localnet::live::site::{GAS, Site};
use crate::localnet::live::{Endpoint, LiveError};
use crate::scenario::setup::ether;

/// For how long the vault pays in advance, in seconds.
const PAID_FOR: u64 = 24 * 3_600;
/// What a second of protection costs for each payee, in base units of the token.
const PER_PAYEE: u64 = 1_000;
/// Between two looks of a monitor, and of the platform.
const EVERY: &str = "1s";

/// The protocol that pays.
pub(crate) const VAULT: &str = "vault";
/// The protocol that does not.
pub(crate) const MARKETS: &str = "markets";

/// A protocol's payment contract.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// Of which protocol.
    pub(crate) name: &'static str,
    /// The contract.
    pub(crate) payment: Address,
}

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct Billing {
    /// In the order of their monitors, which count from 1.
    pub(crate) services: [Service; 2],
}

/// What a payment contract says at the newest block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    /// Whether the service is paid.
    pub(crate) paid: bool,
    /// Seconds of protection that were paid for and are over.
    pub(crate) billed_s: u64,
    /// Base units that were paid.
    pub(crate) total: U256,
}

impl Billing {
    /// Builds a payment contract for each protocol, through the factory, and pays for the vault; the validators share.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(crate) async fn build(site: &mut Site<'_>, payees: &[Address]) -> Result<Self, LiveError> {
        let start = site.node().head().await?.timestamp;
        let rate = U256::from(PER_PAYEE * payees.len() as u64);
        let price = rate * U256::from(PAID_FOR);
        let token = site.token("Coin", "COIN", ether(1_000_000).max(price))?;
        let creation = Contract::ServicePaymentFactory.bytecode().clone();
        let factory = site.create(creation, U256::ZERO, GAS)?;
        for name in [VAULT, MARKETS] {
            let create = ServicePaymentFactory::createCall {
                protocol: protocol(name),
                token,
                payees: payees.to_vec(),
                rate,
                start: U256::from(start),
            };
            site.call(factory, &create)?;
        }
        site.finish().await?;
        let payment = async |name| {
            let asked = ServicePaymentFactory::serviceOfCall {
                creator: site.address(),
                protocol: protocol(name),
            };
            let payment = site.node().call(factory, &asked).await?;
            Ok::<_, LiveError>(Service { name, payment })
        };
        let services = [payment(VAULT).await?, payment(MARKETS).await?];
        let [vault, _markets] = services;
        site.approve(token, vault.payment, price)?;
        site.call(vault.payment, &ServicePayment::payCall { amount: price })?;
        site.finish().await?;
        Ok(Self { services })
    }

    /// The platform's table `[billing]`.
    pub(crate) fn gate(endpoint: &Endpoint) -> String {
        format!(
            "[billing]\nrpc = [\"{}\"]\nevery = \"{EVERY}\"\nmax_head_age = \"1day\"\n",
            endpoint.rpc
        )
    }

    /// The command line of a service's monitor. No command of the user's own is run, whatever the environment says.
    pub(crate) fn monitor(service: &Service, endpoint: &Endpoint, memory: &Path) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["monitor".into(), "--watch".into()];
        let contract = service.payment.to_string();
        for (flag, value) in [
            ("--rpc", endpoint.rpc.as_str()),
            ("--contract", &contract),
            ("--every", EVERY),
            ("--max-head-age", "1day"),
            ("--warn-runway", "1h"),
            ("--grace", "0s"),
            ("--unpaid-command", ""),
            ("--paid-command", ""),
        ] {
            args.extend([flag.into(), value.into()]);
        }
        args.extend(["--memory".into(), memory.into()]);
        args
    }

    /// What each contract says now.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn accounts(&self, node: &NodeClient) -> Result<[Account; 2], LiveError> {
        let [vault, markets] = self.services;
        tokio::try_join!(account(node, vault.payment), account(node, markets.payment)).map(|(one, two)| [one, two])
    }
}

fn protocol(name: &str) -> FixedBytes<32> {
    FixedBytes::right_padding_from(name.as_bytes())
}

async fn account(node: &NodeClient, payment: Address) -> Result<Account, LiveError> {
    let (paid, owed, total, rate) = tokio::try_join!(
        node.call(payment, &ServicePayment::isPaidCall {}),
        node.call(payment, &ServicePayment::owedCall {}),
        node.call(payment, &ServicePayment::totalPaidCall {}),
        node.call(payment, &ServicePayment::rateCall {}),
    )?;
    Ok(Account {
        paid,
        billed_s: billed(owed, total, rate),
        total,
    })
}

/// Seconds that are over and paid for: `owed` base units until now, `total` paid, at `rate` for each second.
fn billed(owed: U256, total: U256, rate: U256) -> u64 {
    owed.min(total)
        .checked_div(rate)
        .map_or(0, |seconds| seconds.saturating_to())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_seconds_that_are_over_and_paid_for_are_billed() {
        let of = |owed: u64, total: u64, rate: u64| billed(U256::from(owed), U256::from(total), U256::from(rate));
        assert_eq!(of(90, 1_000, 3), 30);
        assert_eq!(of(1_000, 90, 3), 30, "the payment ended");
        assert_eq!(of(1_000, 0, 3), 0, "nobody paid");
        assert_eq!(of(1, 1, 0), 0);
    }
}
