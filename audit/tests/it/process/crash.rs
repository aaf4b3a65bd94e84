//! An end without a word, and a chain that takes back what it said.

use serde_json::json;
use testkit::process::Running;

use super::world::{INTERVAL, WINDOW, World};

/// Measured through, and a report sent that waits in the pool; the auditor, and the epoch that it is about.
async fn sent(world: &World) -> (Running, u32) {
    world.configure(1, "");
    let one = world.run(1, &[]).await;
    let (epoch, start, next) = world.epoch(2).await;
    world.measured(&[&one], start).await;
    world.pass(&[&one], next - WINDOW - INTERVAL).await;
    world.mine_at(next - WINDOW + 1).await;
    world
        .until("the report is sent", &[&one], async || world.pending().await == 1)
        .await;
    (one, epoch)
}

/// Blocks are made until the report counts: it was consumed once.
async fn counts_once(world: &World, auditor: &Running, epoch: u32) {
    world
        .mine_until("counted", &[auditor], async || counted(world).await == 1)
        .await;
    assert_eq!(world.reported(1, 2, epoch).await, 1);
}

async fn counted(world: &World) -> usize {
    let (_, out, _) = world
        .audit(1, &["history", "--format", "csv", "--rows", "reports"])
        .await;
    out.matches(",counted,").count()
}

#[tokio::test]
async fn sigkill_between_report_and_receipt_reports_once() {
    let Some(world) = World::start(2).await else { return };
    let (one, epoch) = sent(&world).await;
    one.kill().await;
    assert_eq!(counted(&world).await, 0, "sent is not counted");

    // Mined while nobody looks: the receipt is found afterwards.
    world.mine(3).await;
    let again = world.run(1, &[]).await;
    counts_once(&world, &again, epoch).await;
    assert_eq!(world.pending().await, 0);
    again.kill().await;
}

#[tokio::test]
async fn sigkill_before_the_report_is_mined_sends_no_second_one() {
    let Some(world) = World::start(2).await else { return };
    let (one, epoch) = sent(&world).await;
    one.kill().await;
    // The pool has forgotten it, as after a restart of the node.
    world.rpc("anvil_dropAllTransactions", json!([])).await;
    let again = world.run(1, &[]).await;
    counts_once(&world, &again, epoch).await;
    let nonce = world
        .rpc("eth_getTransactionCount", json!([world.account(1), "latest"]))
        .await;
    assert_eq!(nonce, json!("0x1"), "one transaction in all");
    again.kill().await;
}

#[tokio::test]
async fn a_report_that_a_reorganisation_takes_back_is_mined_again_and_counts_once() {
    let Some(world) = World::start(2).await else { return };
    let (one, epoch) = sent(&world).await;
    let before = world.rpc("evm_snapshot", json!([])).await;
    world.mine(1).await;
    assert_eq!(world.reported(1, 2, epoch).await, 1);
    one.until_logged("reporting").await;
    assert_eq!(counted(&world).await, 0, "one confirmation is not final");
    world.rpc("evm_revert", json!([before])).await;
    assert_eq!(world.reported(1, 2, epoch).await, 0);
    // The block that comes instead has nothing in it.
    world.rpc("anvil_dropAllTransactions", json!([])).await;
    world.mine(1).await;
    counts_once(&world, &one, epoch).await;
    one.kill().await;
}
