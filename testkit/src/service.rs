//! A protocol's service on a chain of a test's own: paid by the second, with a customer who holds the token and approved it.

use alloy::network::TransactionBuilder as _;
use alloy::primitives::{Address, Bytes, U256};
use alloy::providers::{DynProvider, Provider as _};
use alloy::rpc::types::TransactionRequest;
use alloy::sol_types::SolCall as _;
use contracts::{Contract, ServicePayment, Token};

use crate::{Mining, TestAnvil, anvil};

/// A service that began when it was deployed; nothing is paid yet.
#[derive(Debug)]
pub struct PaidService {
    /// The chain.
    pub anvil: TestAnvil,
    /// A client of it.
    pub node: DynProvider,
    /// Who pays: the first of anvil's accounts.
    pub customer: Address,
    /// The contract.
    pub address: Address,
    rate: u64,
}

impl PaidService {
    /// Deploys one at `rate` base units a second, which the next `payees` of anvil's accounts share; `None`, after saying so, where
    /// anvil is not installed.
    ///
    /// # Panics
    /// When anvil does not do as it is told.
    pub async fn deploy(rate: u64, payees: usize) -> Option<Self> {
        let anvil = anvil(Mining::Automatic, &[])?;
        let node = anvil.provider();
        let mut accounts = anvil.instance().addresses().iter().copied();
        let customer = accounts.next().unwrap_or_default();
        let token = Token::constructorCall {
            name_: "T".into(),
            symbol_: "T".into(),
            supply: U256::MAX,
            holder: customer,
        };
        let token = deployed(&node, customer, Contract::Token.creation(&token)).await;
        let Ok(Some(head)) = node.get_block(alloy::eips::BlockId::latest()).await else {
            panic!("anvil has no head")
        };
        let terms = ServicePayment::constructorCall {
            token_: token,
            payees_: accounts.take(payees).collect(),
            rate_: U256::from(rate),
            start_: U256::from(head.header.timestamp),
        };
        let address = deployed(&node, customer, Contract::ServicePayment.creation(&terms)).await;
        let approve = Token::approveCall {
            spender: address,
            value: U256::MAX,
        };
        send(&node, customer, Some(token), approve.abi_encode().into()).await;
        Some(Self {
            anvil,
            node,
            customer,
            address,
            rate,
        })
    }

    /// Pays for so many seconds.
    ///
    /// # Panics
    /// When the contract refuses.
    pub async fn pay(&self, seconds: u64) {
        let amount = U256::from(self.rate * seconds);
        let call = ServicePayment::payCall { amount }.abi_encode();
        send(&self.node, self.customer, Some(self.address), call.into()).await;
    }

    /// The chain's time goes on by so many seconds, and a block is made.
    ///
    /// # Panics
    /// When anvil does not do as it is told.
    pub async fn pass(&self, seconds: u64) {
        let later = self
            .node
            .raw_request::<_, serde_json::Value>("evm_increaseTime".into(), (seconds,));
        let Ok(_) = later.await else {
            panic!("anvil's time does not go on")
        };
        let block = self.node.raw_request::<_, serde_json::Value>("evm_mine".into(), ());
        let Ok(_) = block.await else {
            panic!("anvil makes no block")
        };
    }
}

async fn deployed(node: &DynProvider, from: Address, creation: Bytes) -> Address {
    let Some(address) = send(node, from, None, creation).await else {
        panic!("a creation without address")
    };
    address
}

/// Sends as an account that anvil holds, and waits for the block; the address of what it created.
async fn send(node: &DynProvider, from: Address, to: Option<Address>, input: Bytes) -> Option<Address> {
    let mut request = TransactionRequest::default().with_from(from).with_input(input);
    request.to = Some(to.into());
    let pending = node
        .send_transaction(request)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let receipt = pending.get_receipt().await.unwrap_or_else(|error| panic!("{error}"));
    assert!(receipt.status(), "reverted");
    receipt.contract_address
}
