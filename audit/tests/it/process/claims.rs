//! Claims that do not go as they should: told to people, made again, and never made twice.

use std::sync::{Arc, Mutex};

use contracts::AuditManager;
use serde_json::{Value, json};

use super::world::World;

/// Bytecode that reverts, and bytecode that does nothing and succeeds.
const REVERTS: &str = "0x60006000fd";
const DOES_NOTHING: &str = "0x00";

/// A Slack webhook that keeps what it is sent.
async fn slack() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let said = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&said);
    let take = move |body: String| {
        kept.lock().unwrap().push(body);
        std::future::ready("ok")
    };
    let app = axum::Router::new().route("/", axum::routing::post(take));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, said)
}

/// Replaces the code of a contract, and gives what was there.
async fn replace_code(world: &World, contract: alloy::primitives::Address, code: &Value) -> Value {
    let before = world.rpc("eth_getCode", json!([contract, "latest"])).await;
    world.rpc("anvil_setCode", json!([contract, code])).await;
    before
}

/// SK-15: the token refuses to move, so the claim fails: that is told as critical, a channel that is dead changes nothing, and the claim is
/// made again and again until it goes through, once.
#[tokio::test]
async fn a_claim_that_fails_is_told_as_critical_and_made_again() {
    let Some(world) = World::start(2).await else { return };
    let (url, said) = slack().await;
    let port = testkit::Port::free();
    let dead = port.address();
    world.configure(
        1,
        &format!(
            "[[alerts.actions]]\nid = \"dead\"\nkind = \"slack\"\nurl = \"http://{dead}/\"\n\
             [[alerts.actions]]\nid = \"ops\"\nkind = \"slack\"\nurl = \"{url}\"\n"
        ),
    );
    world.configure(2, "");
    let (one, two) = (world.run(1, &[]).await, world.run(2, &["--no-claim"]).await);
    let (epoch, start, next) = world.epoch(1).await;
    world.measured(&[&one, &two], start).await;
    world.pass(&[&one, &two], next - 60).await;
    world
        .mine_until("a verdict on node 1", &[&one, &two], async || {
            world.reported(2, 1, epoch).await == 1
        })
        .await;

    let token = replace_code(&world, world.token, &json!(REVERTS)).await;
    world.mine_at(next).await;
    world
        .mine_until("a second failure", &[&one], async || {
            one.log().matches("the claim failed; it is made again").count() >= 2
        })
        .await;
    world
        .until("the alert", &[&one], async || {
            said.lock()
                .unwrap()
                .iter()
                .any(|body| body.contains("failed (attempt 1)"))
        })
        .await;
    let alert = said
        .lock()
        .unwrap()
        .iter()
        .find(|body| body.contains("failed"))
        .cloned()
        .unwrap();
    assert!(alert.to_lowercase().contains("critical"), "{alert}");
    assert!(world.events::<AuditManager::BountyPaid>().await.is_empty());

    replace_code(&world, world.token, &token).await;
    world
        .mine_until("the claim", &[&one], async || one.log().contains("bounty received"))
        .await;
    let paid = world.events::<AuditManager::BountyPaid>().await;
    assert_eq!(paid.iter().filter(|paid| paid.epoch == epoch).count(), 1, "{paid:?}");
    assert!(paid.iter().all(|paid| paid.settlement.bounty > 0), "{paid:?}");
}

/// SK-19: the claim's receipt says success and has no event that can be read: that is a success with a warning, and not claimed again.
#[tokio::test]
async fn a_claim_without_its_event_is_a_success_with_a_warning() {
    let Some(world) = World::start(2).await else { return };
    world.configure(1, "");
    let one = world.run(1, &["--no-measure"]).await;
    let (_, _, next) = world.epoch(1).await;
    one.until("it works", |health| {
        health["node"].as_u64() == Some(1) && health["head"].as_u64() > Some(0)
    })
    .await;
    world.mine_at(next).await;
    world
        .until("the claim is sent", &[&one], async || world.pending().await == 1)
        .await;
    let manager = replace_code(&world, world.manager, &json!(DOES_NOTHING)).await;
    world.mine(1).await;
    replace_code(&world, world.manager, &manager).await;
    world
        .mine_until("the warning", &[&one], async || {
            one.log()
                .contains("the bounty is claimed; how much it was cannot be read")
        })
        .await;
    for _ in 0..5 {
        world.mine(1).await;
        let head = world.now().await;
        one.until("looked", |health| health["head_timestamp"].as_u64() >= Some(head))
            .await;
    }
    assert_eq!(world.pending().await, 0, "not claimed again");
    assert_eq!(one.log().matches("claiming").count(), 1, "{}", one.log());
    assert!(world.events::<AuditManager::BountyPaid>().await.is_empty());
}
