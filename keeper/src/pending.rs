//! Pending transactions of a node's pool, as they come in: those that call a guard of a defence job.
//!
//! Only endpoints `ws(s)://` tell them (`eth_subscribe` of `newPendingTransactions` with bodies); without one a keeper acts from the
//! confirmation's block on. What always holds: what nobody waits for is dropped at the connection; a reader that is too slow loses
//! the newest ones, which it still sees in their block; it ends on shutdown.

use std::collections::HashSet;
use std::sync::Arc;

use alloy::consensus::Transaction as TransactionTrait;
use alloy::network::TransactionResponse;
use alloy::primitives::Address;
use alloy::providers::Provider as _;
use alloy::rpc::types::Transaction;
use futures::StreamExt as _;
use sender::Fees;
use state::Node;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::pool::Pending;
use crate::push;

/// Transactions that wait to be looked at.
const WAITING: usize = 256;

/// Whose callers are wanted.
pub type Guards = Arc<HashSet<Address>>;

/// Watches the pools of the endpoints that push. Nothing comes while there are no guards; the channel ends on shutdown.
#[must_use]
pub fn watch(
    node: &Node,
    guards: &watch::Receiver<Guards>,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> mpsc::Receiver<Pending> {
    let (sender, receiver) = mpsc::channel(WAITING);
    for url in push::endpoints(node) {
        tasks.spawn(pushed(url, guards.clone(), sender.clone(), shutdown.clone()));
    }
    receiver
}

async fn pushed(url: Url, guards: watch::Receiver<Guards>, sender: mpsc::Sender<Pending>, shutdown: CancellationToken) {
    let without = "no pending transactions are pushed; pauses are executed a block later until it is back";
    push::keep_open(url, without, shutdown, |url| {
        let (mut guards, sender) = (guards.clone(), sender.clone());
        async move {
            // A pool's traffic is not asked for while nobody needs it.
            guards.wait_for(|guards| !guards.is_empty()).await.ok()?;
            Some(subscription(&url, &guards, &sender).await)
        }
    })
    .await;
}

/// Runs until the connection is lost; why.
async fn subscription(url: &Url, guards: &watch::Receiver<Guards>, sender: &mpsc::Sender<Pending>) -> String {
    let provider = match push::connect(url).await {
        Ok(provider) => provider,
        Err(error) => return error,
    };
    let mut transactions = match provider.subscribe_full_pending_transactions().await {
        Ok(subscription) => subscription.into_stream(),
        Err(error) => return error.to_string(),
    };
    while let Some(transaction) = transactions.next().await {
        let wanted = transaction.to().is_some_and(|to| guards.borrow().contains(&to));
        if let Some(pending) = read(&transaction).filter(|_| wanted)
            && sender.try_send(pending).is_err()
        {
            metrics::counter!("keeper_pending_dropped_total").increment(1);
        }
    }
    "the subscription ended".to_owned()
}

/// `None` for the creation of a contract.
fn read(transaction: &Transaction) -> Option<Pending> {
    let max_fee = TransactionTrait::max_fee_per_gas(transaction);
    Some(Pending {
        hash: transaction.tx_hash(),
        from: transaction.from(),
        nonce: transaction.nonce(),
        to: transaction.to()?,
        value: transaction.value(),
        data: transaction.input().clone(),
        gas: transaction.gas_limit(),
        fees: Fees {
            max_fee,
            priority_fee: transaction.max_priority_fee_per_gas().unwrap_or(max_fee),
        },
    })
}
