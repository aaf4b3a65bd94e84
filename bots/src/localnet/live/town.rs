//! Builds the story's town on a living chain, by real transactions over RPC.

use alloy::consensus::TxEnvelope;
use alloy::primitives::Address;

use super::error::LiveError;
use super::rpc::NodeClient;
use super::site::{Pace, mined};
use crate::scenario::setup::{self, Ownership, People, Stage, Town, Who};

/// Gives everybody money and builds the town. Accounts that have sent transactions before go on with their nonces.
///
/// # Errors
/// A node that is not the story's, or on which the town cannot be built.
pub(crate) async fn build(node: &NodeClient, people: &mut People, ownership: Ownership) -> Result<Town, LiveError> {
    node.check_chain().await?;
    node.fund(&people.funds()).await?;
    let accounts: Vec<Address> = people.wallets_mut().map(|wallet| wallet.address()).collect();
    let nonces = node.nonces(&accounts).await?;
    people
        .wallets_mut()
        .zip(nonces)
        .for_each(|(wallet, nonce)| wallet.set_nonce(nonce));

    let (town, stages) = setup::plan(people, ownership)?;
    for (number, stage) in together(stages).into_iter().enumerate() {
        let base_fee = node.head().await?.next_base_fee;
        let entries = setup::sign(stage, people, base_fee)?;
        let transactions: Vec<TxEnvelope> = entries.into_iter().map(|entry| entry.tx).collect();
        mined(node, &transactions, number + 1, Pace::Hurried).await?;
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
