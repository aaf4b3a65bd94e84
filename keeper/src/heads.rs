//! The newest head of a node: by polling, and sooner where an endpoint pushes.
//!
//! What always holds: what is told is a hash that a node gave; a slow reader sees the newest one and not those in between; it ends on
//! shutdown.

use std::time::Duration;

use alloy::primitives::B256;
use alloy::providers::Provider as _;
use futures::StreamExt as _;
use state::Node;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::push;

/// A head as it was first told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Its hash.
    pub hash: B256,
    /// Its number.
    pub number: u64,
    /// Its time, Unix seconds.
    pub timestamp: u64,
    /// When it was told.
    pub at: std::time::Instant,
}

/// Watches the heads of `node`; endpoints `ws(s)://` push theirs. The channel's value is `None` before the first one.
#[must_use]
pub fn watch(
    node: &Node,
    poll: Duration,
    tasks: &TaskTracker,
    shutdown: &CancellationToken,
) -> watch::Receiver<Option<Told>> {
    let (sender, receiver) = watch::channel(None);
    let polled = poll_heads(node.clone(), poll, sender.clone(), shutdown.clone());
    tasks.spawn(polled);
    for url in push::endpoints(node) {
        tasks.spawn(pushed(url, node.chain_id(), sender.clone(), shutdown.clone()));
    }
    receiver
}

fn tell(sender: &watch::Sender<Option<Told>>, told: Told) {
    sender.send_if_modified(|newest| {
        // Two endpoints may be a block apart: the one behind does not undo what the other one has.
        let new = newest.is_none_or(|newest| told.number >= newest.number && told.hash != newest.hash);
        if new {
            *newest = Some(told);
        }
        new
    });
}

async fn poll_heads(node: Node, poll: Duration, sender: watch::Sender<Option<Told>>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(poll);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        match node.newest().await {
            Ok(block) => {
                let told = Told {
                    hash: block.header.hash,
                    number: block.header.number,
                    timestamp: block.header.timestamp,
                    at: std::time::Instant::now(),
                };
                // What is polled is where the chain is: after a reorg to a shorter one, too.
                sender.send_if_modified(|newest| {
                    let new = newest.is_none_or(|newest| newest.hash != told.hash);
                    if new {
                        *newest = Some(told);
                    }
                    new
                });
            }
            Err(error) => {
                metrics::counter!("keeper_head_errors_total").increment(1);
                tracing::warn!(%error, "the newest head cannot be read");
            }
        }
    }
}

async fn pushed(url: Url, chain_id: u64, sender: watch::Sender<Option<Told>>, shutdown: CancellationToken) {
    let without = "no heads are pushed; they are polled until it is back";
    push::keep_open(url, without, shutdown, |url| {
        let sender = sender.clone();
        async move { Some(subscription(&url, chain_id, &sender).await) }
    })
    .await;
}

/// Runs until the connection is lost; why.
async fn subscription(url: &Url, chain_id: u64, sender: &watch::Sender<Option<Told>>) -> String {
    let provider = match push::connect(url).await {
        Ok(provider) => provider,
        Err(error) => return error,
    };
    match provider.get_chain_id().await {
        Ok(found) if found == chain_id => {}
        Ok(found) => return format!("it is on chain {found}, not {chain_id}"),
        Err(error) => return error.to_string(),
    }
    let subscription = match provider.subscribe_blocks().await {
        Ok(subscription) => subscription,
        Err(error) => return error.to_string(),
    };
    let mut heads = subscription.into_stream();
    while let Some(header) = heads.next().await {
        tell(
            sender,
            Told {
                hash: header.hash,
                number: header.number,
                timestamp: header.timestamp,
                at: std::time::Instant::now(),
            },
        );
    }
    "the subscription ended".to_owned()
}
