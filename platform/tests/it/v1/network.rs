//! Incidents, miners, validators, events.

use reqwest::Method;
use serde_json::{Value, json};

use super::PROBLEM;
use crate::seen;
use crate::served::{VAULT, World};
use crate::world::hotkey;

#[tokio::test]
async fn an_incident_has_its_witness_and_what_was_done() {
    let world = World::new().await;
    let id = world
        .make(
            "/v1/invariants",
            json!({ "contract": seen::VAULT.to_string(), "type": ">=", "target": "100", "storage": "0x0" }),
        )
        .await;
    let logged = seen::log(&world.store, &[(1_000, 3), (1_000, 4), (1_000, 5)]).await;
    for seen in &logged {
        seen::incident(&world.store, id, "floor", *seen, "paused").await;
    }
    let (_, first) = world.get("/v1/incidents?limit=2").await;
    let ids = |page: &Value| {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!((ids(&first), &first["next"]), (vec![3, 2], &json!(2)), "newest first");
    let (_, second) = world.get("/v1/incidents?limit=2&after=2").await;
    assert_eq!((ids(&second), &second["next"]), (vec![1], &Value::Null));
    let (status, one) = world.get("/v1/incidents/1").await;
    assert_eq!(status, 200);
    assert_eq!(
        (&one["witness"]["before"], &one["witness"]["after"], &one["state"]),
        (&json!("1000"), &json!("3"), &json!("contained"))
    );
    assert_eq!(one["transaction"], logged[0].1.to_string());
    let timeline = &one["timelines"][0];
    assert_eq!(
        (&timeline["moments"][1]["moment"], &timeline["moments"][1]["detail"]),
        (&json!("fired"), &json!("paused"))
    );
    assert_eq!(
        (&timeline["suspects"][0]["after"], &timeline["network"]["agreed"]),
        (&json!("3"), &json!(4))
    );
    let [attacker, vault, token] = ["a1", "b1", "c0"].map(|byte| format!("0x{}", byte.repeat(20)));
    assert_eq!(
        timeline["suspects"][0]["deltas"],
        json!([
            { "token": token, "holder": vault, "change": "-1000000000000000000000" },
            { "token": token, "holder": attacker, "change": "997" },
            { "token": null, "holder": attacker, "change": "-21000" },
        ])
    );
    assert_eq!(timeline["suspects"][0]["more_deltas"], 5);
    assert_eq!(world.get("/v1/incidents/4").await.0, 404);
    assert_eq!(world.get("/v1/incidents/0").await.0, 404);
}

#[tokio::test]
async fn miners_and_validators_are_shown_over_time() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/miners").await, (200, json!({ "items": [] })));
    seen::subnet(&world.store).await;
    let (_, miners) = world.get("/v1/miners").await;
    let miner = &miners["items"][0];
    assert_eq!(
        (&miner["uid"], &miner["axon"], &miner["p99_us"]),
        (&json!(4), &json!("127.0.0.1:9004"), &json!(2500))
    );
    assert_eq!(
        (&miner["asked"], &miner["answered"], &miner["correct"]),
        (&json!(100), &json!(99), &json!(98))
    );
    assert_eq!(miner["score"], 0.75);
    let incentives: Vec<f64> = miner["incentives"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["value"].as_f64().unwrap())
        .collect();
    assert_eq!(incentives.len(), 3);
    assert!(incentives.is_sorted() && incentives[2] > 0.6, "{incentives:?}");
    assert_eq!(miners["items"].as_array().unwrap().len(), 2);
    assert_eq!(miner["hotkey"], chain::AccountId::new(hotkey(4)).to_string());
    let (_, validators) = world.get("/v1/validators?limit=1").await;
    assert_eq!(
        (&validators["items"][0]["uid"], &validators["next"]),
        (&json!(1), &json!(1))
    );
    let (_, rest) = world.get("/v1/validators?limit=1&after=1").await;
    assert_eq!((&rest["items"][0]["uid"], &rest["next"]), (&json!(2), &Value::Null));

    let logged = seen::log(&world.store, &[(1_000, 3)]).await;
    let id = world
        .make(
            "/v1/invariants",
            json!({ "contract": seen::VAULT.to_string(), "type": ">=", "target": "100", "storage": "0x0" }),
        )
        .await;
    seen::incident(&world.store, id, "floor", logged[0], "").await;
    let (_, validators) = world.get("/v1/validators").await;
    assert_eq!(
        (&validators["items"][0]["reports"], &validators["items"][1]["reports"]),
        (&json!(1), &json!(0))
    );
    assert!(validators["items"][0]["p99_ms"].is_u64());
}

#[tokio::test]
async fn events_tell_what_changed_and_end_with_the_platform() {
    let world = World::new().await;
    let mut response = world.client.get(world.url("/v1/events")).send().await.unwrap();
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()["content-type"].to_str().unwrap()
        ),
        (200, "text/event-stream")
    );
    let mut heard = String::new();
    let told = |heard: &str| {
        let lines = heard
            .lines()
            .filter_map(|line| line.strip_prefix("data: ").or_else(|| line.strip_prefix("data:")));
        lines
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .collect::<Vec<_>>()
    };
    while told(heard.rsplit_once('\n').map_or("", |(whole, _)| whole)).is_empty() {
        heard.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(told(&heard)[0]["overview"]["invariant_set_version"], 0);
    world
        .make(
            "/v1/invariants",
            json!({ "contract": VAULT, "type": ">=", "target": "1", "storage": "0x2" }),
        )
        .await;
    while !heard.contains("\"changed\":[\"invariants\"]") {
        heard.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    let mut others = Vec::new();
    for _ in 1..64 {
        let other = world.client.get(world.url("/v1/events")).send().await.unwrap();
        assert_eq!(other.status().as_u16(), 200);
        others.push(other);
    }
    let refused = world.send("", Method::GET, "/v1/events", None, &[]).await;
    assert_eq!((refused.status, refused.header("content-type")), (503, PROBLEM));
    drop(others);
    world.shutdown.cancel();
    while response.chunk().await.unwrap().is_some() {}
    world.ended().await;
}

#[tokio::test]
async fn audits_are_shown_as_they_were_settled_and_what_nobody_knows_is_absent() {
    let world = World::new().await;
    assert_eq!(world.get("/v1/audits").await, (200, json!({ "items": [] })));
    seen::audits(&world);
    let (_, all) = world.get("/v1/audits").await;
    let (known, unknown) = (&all["items"][0], &all["items"][1]);
    assert_eq!(
        (&known["id"], &known["kind"], &known["active"]),
        (&json!(1), &json!("miner"), &json!(true))
    );
    assert_eq!(known["hotkey"], chain::AccountId::new(hotkey(4)).to_string());
    assert_eq!(
        (
            &known["settled"]["uptime"],
            &known["settled"]["latency_us"],
            &known["settled"]["bounty"]
        ),
        (
            &json!(0.75),
            &json!(900),
            &json!("340282366920938463463374607431768211456")
        )
    );
    assert_eq!(
        (&unknown["settled"], &unknown["hotkey"], &unknown["active"]),
        (&json!(null), &json!(null), &json!(false))
    );
    let (_, first) = world.get("/v1/audits?limit=1").await;
    assert_eq!(
        (first["items"].as_array().unwrap().len(), &first["next"]),
        (1, &json!(1))
    );
    let (_, rest) = world.get("/v1/audits?limit=1&after=1").await;
    assert_eq!((&rest["items"][0]["id"], &rest["next"]), (&json!(7), &json!(null)));
}
