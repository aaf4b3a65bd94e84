//! Builds the story's town on a living chain, by real transactions over RPC.

use std::collections::HashMap;
use std::time::Duration;

use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes};
use tokio::time::Instant;

use super::error::LiveError;
use super::rpc::{NodeClient, Sent};
use crate::scenario::setup::{self, People, Stage, Town, Who};

/// How long a block of the setup may take.
const MINED_WITHIN: Duration = Duration::from_secs(60);
/// How often the chain is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Gives everybody money and builds the town. Accounts that have sent transactions before go on with their nonces.
///
/// # Errors
/// A node that is not the story's, or on which the town cannot be built.
pub(crate) async fn build(node: &NodeClient, people: &mut People) -> Result<Town, LiveError> {
    node.check_chain().await?;
    node.fund(&people.funds()).await?;
    let accounts: Vec<Address> = people.wallets_mut().map(|wallet| wallet.address()).collect();
    let nonces = node.nonces(&accounts).await?;
    people
        .wallets_mut()
        .zip(nonces)
        .for_each(|(wallet, nonce)| wallet.set_nonce(nonce));

    let (town, stages) = setup::plan(people)?;
    for (number, stage) in together(stages).into_iter().enumerate() {
        mine(node, people, number + 1, stage).await?;
    }
    Ok(town)
}

/// Stages that need not wait for each other: those of one signer, whose nonces keep their order, and those of the users, who only
/// need what the owner built.
fn together(stages: Vec<Stage>) -> Vec<Stage> {
    let (mut owners, mut users) = (Stage::new(), Stage::new());
    for step in stages.into_iter().flatten() {
        match step.who {
            Who::Owner => owners.push(step),
            Who::User(_) => users.push(step),
        }
    }
    vec![owners, users]
}

async fn mine(node: &NodeClient, people: &mut People, number: usize, stage: Stage) -> Result<(), LiveError> {
    let mut seen = node.head().await?;
    let entries = setup::sign(stage, people, seen.next_base_fee)?;
    let raw: Vec<Bytes> = entries.iter().map(|entry| entry.tx.encoded_2718().into()).collect();
    for answer in node.send_all(&raw).await? {
        if let Sent::Refused(reason) = answer {
            return Err(LiveError::Refused {
                node: node.name().to_owned(),
                what: "setup",
                reason,
            });
        }
    }
    let mut open: HashMap<B256, ()> = entries.iter().map(|entry| (*entry.tx.tx_hash(), ())).collect();
    let until = Instant::now() + MINED_WITHIN;
    while let Some(hash) = open.keys().next().copied() {
        let failed = |hash, how| LiveError::Setup {
            node: node.name().to_owned(),
            hash,
            stage: number,
            how,
        };
        if Instant::now() > until {
            return Err(failed(hash, "is in no block after a minute"));
        }
        if !node.mine().await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let head = node.head().await?;
        for block in seen.number + 1..=head.number {
            for receipt in node.receipts(block).await? {
                if open.remove(&receipt.hash).is_some() && !receipt.succeeded {
                    return Err(failed(receipt.hash, "failed"));
                }
            }
        }
        seen = head;
    }
    Ok(())
}
