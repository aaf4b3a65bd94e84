//! Commands, and what they end with.

use super::world::{INTERVAL, WINDOW, World};

#[tokio::test]
async fn a_claim_by_hand_says_when_it_is_due_and_is_made_once() {
    let Some(world) = World::start(2).await else { return };
    world.configure(1, "");
    let (_, _, next) = world.epoch(1).await;
    let (code, _, err) = world.audit(1, &["claim"]).await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(&format!("the reward date is {next}")), "{err}");

    world.mine_at(next).await;
    world.rpc("evm_setIntervalMining", serde_json::json!([1])).await;
    let (code, out, err) = world.audit(1, &["claim"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.starts_with("epoch 1: "), "{out}");
    let (code, _, _) = world.audit(1, &["claim"]).await;
    assert_eq!(code, 1);
}

#[tokio::test]
async fn a_report_by_hand_needs_samples_and_a_window() {
    let Some(world) = World::start(2).await else { return };
    world.configure(1, "");
    let (_, start, next) = world.epoch(2).await;
    let (code, _, err) = world.audit(1, &["report"]).await;
    assert_eq!((code, err.contains("nothing is due")), (1, true), "{err}");

    let one = world.run(1, &["--no-report", "--no-claim"]).await;
    world.measured(&[&one], start).await;
    let (code, _, err) = world.audit(1, &["report"]).await;
    assert_eq!((code, err.contains("another `audit` uses it")), (2, true), "{err}");
    world.pass(&[&one], next - WINDOW - INTERVAL).await;
    one.kill().await;
    world.mine_at(next - WINDOW).await;
    world.rpc("evm_setIntervalMining", serde_json::json!([1])).await;
    let (code, out, err) = world.audit(1, &["report"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("peer 2 epoch 1: counted"), "{out}");
    assert_eq!(world.reported(1, 2, 1).await, 1);
}

#[tokio::test]
async fn what_cannot_be_used_is_named_with_its_exit_code() {
    let Some(world) = World::start(1).await else { return };
    world.configure(1, "");
    assert_eq!(world.audit(1, &["run", "--check"]).await.0, 0);
    let (code, _, err) = world.audit(1, &["history"]).await;
    assert_eq!((code, err.contains("there is no database")), (2, true), "{err}");
    let (code, _, err) = world
        .audit(
            1,
            &["status", "--contract", "0x00000000000000000000000000000000000000aa"],
        )
        .await;
    assert_eq!((code, err.contains("is no AuditManager")), (2, true), "{err}");
    let (code, _, err) = world.audit(1, &["status", "--rpc", "http://127.0.0.1:1"]).await;
    assert_eq!(code, 3, "{err}");
    world.configure(1, "[measuring]\nevery = \"1s\"\n");
    let (code, _, err) = world.audit(1, &["run", "--check"]).await;
    assert_eq!((code, err.contains("measuring")), (2, true), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}
