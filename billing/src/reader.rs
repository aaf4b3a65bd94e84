//! What a node says of a service, at one block.
//!
//! Several endpoints are asked in their order; the first whose head is fresh counts. What always holds: an answer is of one
//! block, named by its hash; a node that is unreachable, late or behind is never taken for "unpaid".

use std::time::Duration;

use alloy::eips::BlockId;
use alloy::network::TransactionBuilder as _;
use alloy::primitives::{Address, B256, U256};
use alloy::providers::{DynProvider, Provider as _, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall;
use contracts::ServicePayment as Service;
use serde::Serialize;
use url::Url;

use crate::rule::Terms;

/// Where and how to ask.
#[derive(Debug, Clone)]
pub struct Source {
    /// Endpoints (`http`, `https`), in the order in which they are asked.
    pub endpoints: Vec<Url>,
    /// The service.
    pub contract: Address,
    /// How long one endpoint may take.
    pub timeout: Duration,
    /// How old its head may be.
    pub max_head_age: Duration,
}

/// A service at one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The chain.
    pub chain_id: u64,
    /// The block.
    pub block: u64,
    /// Its hash.
    pub block_hash: B256,
    /// Its time, Unix seconds.
    pub at: u64,
    /// Base units per second, for all payees together.
    pub rate: U256,
    /// From when on the service costs, Unix seconds.
    pub start: u64,
    /// The token of all payments.
    pub token: Address,
    /// Who shares them.
    pub payees: Vec<Address>,
    /// Base units paid so far.
    pub total_paid: U256,
    /// What the contract itself says.
    pub is_paid: bool,
}

impl Standing {
    /// What was agreed.
    pub fn terms(&self) -> Terms {
        Terms {
            rate: self.rate,
            start: self.start,
            payees: u16::try_from(self.payees.len()).unwrap_or(u16::MAX),
        }
    }
}

/// Why nothing is known of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// There is no such service there: the configuration is wrong.
    #[error("{0}")]
    NoService(String),
    /// No endpoint could say.
    #[error("no endpoint could say: {0}")]
    Indeterminate(String),
}

/// One endpoint's failure.
enum Failed {
    NoService(String),
    Unreachable(String),
}

impl Source {
    /// Asks the endpoints; `now` (Unix seconds) is what their heads' age is measured against.
    ///
    /// # Errors
    ///
    /// [`Unknown`]; an address without such a contract counts only when no endpoint could say more.
    pub async fn read(&self, now: u64) -> Result<Standing, Unknown> {
        let mut reasons = Vec::new();
        let mut no_service = None;
        for endpoint in &self.endpoints {
            let name = host(endpoint);
            match tokio::time::timeout(self.timeout, self.ask(endpoint)).await {
                Ok(Ok(standing)) => match self.staleness(&standing, now) {
                    None => return Ok(standing),
                    Some(age) => reasons.push(format!(
                        "{name}: its head (block {}) is {age} s old, {} s are allowed",
                        standing.block,
                        self.max_head_age.as_secs()
                    )),
                },
                Ok(Err(Failed::NoService(reason))) => no_service = Some(format!("{name}: {reason}")),
                Ok(Err(Failed::Unreachable(reason))) => reasons.push(format!("{name}: {reason}")),
                Err(_) => reasons.push(format!("{name}: no answer within {} ms", self.timeout.as_millis())),
            }
        }
        Err(match no_service {
            Some(reason) if reasons.is_empty() => Unknown::NoService(reason),
            Some(reason) => Unknown::Indeterminate(format!("{}; {reason}", reasons.join("; "))),
            None => Unknown::Indeterminate(reasons.join("; ")),
        })
    }

    /// The head's age in seconds, when it is too great.
    fn staleness(&self, standing: &Standing, now: u64) -> Option<u64> {
        let age = now.saturating_sub(standing.at);
        (age > self.max_head_age.as_secs()).then_some(age)
    }

    async fn ask(&self, endpoint: &Url) -> Result<Standing, Failed> {
        let node = connect(endpoint, self.timeout).map_err(|error| Failed::Unreachable(error.to_string()))?;
        let head = node.get_block(BlockId::latest());
        let (chain_id, head) = futures::try_join!(node.get_chain_id(), head.into_future()).map_err(unreachable)?;
        let head = head.ok_or_else(|| Failed::Unreachable("it has no block".to_owned()))?;
        let at = BlockId::hash(head.header.hash);
        let code = node
            .get_code_at(self.contract)
            .block_id(at)
            .await
            .map_err(unreachable)?;
        if code.is_empty() {
            return Err(Failed::NoService(format!(
                "{} has no code on chain {chain_id}",
                self.contract
            )));
        }
        let (rate, start, token, payees, total_paid, is_paid) = futures::try_join!(
            self.call(&node, at, Service::rateCall {}),
            self.call(&node, at, Service::startTimestampCall {}),
            self.call(&node, at, Service::tokenCall {}),
            self.call(&node, at, Service::payeesCall {}),
            self.call(&node, at, Service::totalPaidCall {}),
            self.call(&node, at, Service::isPaidCall {}),
        )?;
        Ok(Standing {
            chain_id,
            block: head.header.number,
            block_hash: head.header.hash,
            at: head.header.timestamp,
            rate,
            start: start.saturating_to(),
            token,
            payees,
            total_paid,
            is_paid,
        })
    }

    async fn call<C: SolCall>(&self, node: &DynProvider, at: BlockId, call: C) -> Result<C::Return, Failed> {
        let request = TransactionRequest::default()
            .with_to(self.contract)
            .with_input(call.abi_encode());
        let no_service = || {
            Failed::NoService(format!(
                "{} does not answer {}: it is no ServicePayment",
                self.contract,
                C::SIGNATURE
            ))
        };
        let answer = match node.call(request).block(at).await {
            Ok(answer) => answer,
            // The node answered: the call itself reverted.
            Err(error) if error.as_error_resp().is_some_and(|response| response.code == 3) => return Err(no_service()),
            Err(error) => return Err(unreachable(error)),
        };
        C::abi_decode_returns_validate(&answer).map_err(|_| no_service())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreachable(error: alloy::transports::TransportError) -> Failed {
    Failed::Unreachable(error.to_string())
}

/// An endpoint without its path and credentials, which may hold a key.
pub fn host(endpoint: &Url) -> String {
    match (endpoint.host_str(), endpoint.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        _ => "endpoint".to_owned(),
    }
}

/// A client of one endpoint.
///
/// # Errors
///
/// When there are no certificates to trust.
pub fn connect(endpoint: &Url, timeout: Duration) -> Result<DynProvider, reqwest::Error> {
    // Whoever was first may have chosen a provider of cryptography already.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().timeout(timeout).build()?;
    Ok(ProviderBuilder::new()
        .disable_recommended_fillers()
        .connect_reqwest(client, endpoint.clone())
        .erased())
}
