//! `/v1` as its clients see it.

use std::collections::BTreeSet;

use platform::rest::key::{Role, make};
use reqwest::Method;
use serde_json::{Value, json};

use crate::seen;
use crate::served::{VAULT, World};
use crate::world::hotkey;

const PROBLEM: &str = "application/problem+json";

fn layout() -> Value {
    json!({
        "storage": [{ "label": "totalAssets", "slot": "0", "offset": 0, "type": "t_uint256" }],
        "types": { "t_uint256": { "encoding": "inplace", "label": "uint256", "numberOfBytes": "32" } },
    })
}

fn vault() -> Value {
    json!({ "address": seen::VAULT.to_string(), "name": "vault", "layout": layout(),
        "abi": ["function totalSupply() view returns (uint256)"] })
}

fn solvency() -> Value {
    json!({ "name": "solvency", "expression": "vault.totalAssets >= 100", "severity": "critical", "description": "All is there." })
}

#[tokio::test]
async fn an_expression_is_checked_put_in_force_changed_and_taken_away() {
    let world = World::new().await;
    let (_, checked) = world.ask_with("", Method::POST, "/v1/invariants/check", Some(solvency())).await;
    assert_eq!(checked["valid"], false, "nobody has said what `vault` is: {checked}");
    let error = &checked["errors"][0];
    assert_eq!((&error["pointer"], &error["place"]["column"]), (&json!("/expression"), &json!(1)));
    assert!(error["place"]["shown"].as_str().unwrap().contains('^'), "{error}");

    world.make("/v1/contracts", vault()).await;
    let (_, checked) = world.post("/v1/invariants/check", solvency()).await;
    assert_eq!((&checked["valid"], &checked["streamed"]), (&json!(true), &json!(true)), "{checked}");
    assert_eq!(checked["judged"]["storage"], "0x0");
    assert_eq!(checked["reads"], json!(["vault.totalAssets"]));
    let more = json!({ "name": "x", "expression": "vault.totalSupply() <= vault.totalAssets" });
    let (_, checked) = world.post("/v1/invariants/check", more.clone()).await;
    assert_eq!((&checked["valid"], &checked["streamed"]), (&json!(true), &json!(false)));
    let (status, problem) = world.post("/v1/invariants", more).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/expression")), "{problem}");
    assert_eq!(world.store.invariant_set().await.unwrap().0, 0, "nothing is in force yet");

    let action = world
        .make("/defense-actions", json!({ "type": "PAUSE_AGENT", "network": "ethereum" }))
        .await;
    let mut body = solvency();
    body["defense_action_ids"] = json!([action]);
    let made = world.send(&world.key, Method::POST, "/v1/invariants", Some(body.clone()), &[]).await;
    assert_eq!((made.status, made.header("location")), (201, "/v1/invariants/1"));
    assert_eq!(made.body["expression"], "vault.totalAssets >= 100");
    assert_eq!((&made.body["type"], &made.body["target"]), (&json!(">="), &json!("100")));
    assert_eq!(made.body["defense_action_ids"], json!([action]));
    let (version, set) = world.store.invariant_set().await.unwrap();
    assert_eq!((version, set[0].name.as_str()), (1, "solvency"));
    assert_eq!(world.get("/invariants/1").await.1["target"], "100", "the original's clients see it too");

    let read = async |headers: &[(&str, &str)]| world.send("", Method::GET, "/v1/invariants/1", None, headers).await;
    let first = read(&[]).await;
    let tag = first.header("etag").to_owned();
    assert_eq!((first.status, &first.body), (200, &made.body));
    assert_eq!(read(&[("if-none-match", &tag)]).await.status, 304);
    assert_eq!(read(&[("if-none-match", "\"other\"")]).await.status, 200);

    body["expression"] = json!("vault.totalAssets >= 200");
    let put = async |headers: &[(&str, &str)]| {
        let body = Some(body.clone());
        world.send(&world.key, Method::PUT, "/v1/invariants/1", body, headers).await
    };
    assert_eq!(put(&[]).await.status, 428);
    assert_eq!(put(&[("if-match", "\"other\"")]).await.status, 412);
    let changed = put(&[("if-match", &tag)]).await;
    assert_eq!((changed.status, &changed.body["target"]), (200, &json!("200")));
    assert_eq!(put(&[("if-match", &tag)]).await.status, 412, "what was read is old now");
    assert_eq!(world.store.invariant_set().await.unwrap().0, 2);

    let away = async |tag: &str| world.send(&world.key, Method::DELETE, "/v1/invariants/1", None, &[("if-match", tag)]).await;
    assert_eq!(away(&tag).await.status, 412);
    let now = read(&[]).await.header("etag").to_owned();
    assert_eq!(away(&now).await.status, 204);
    assert_eq!(away(&now).await.status, 404);
    assert_eq!(world.store.invariant_set().await.unwrap().1.len(), 0);
}

#[tokio::test]
async fn a_contracts_name_is_its_own_and_its_layout_is_checked() {
    let world = World::new().await;
    let id = world.make("/v1/contracts", vault()).await;
    let (status, problem) = world.post("/v1/contracts", vault()).await;
    assert_eq!(status, 409, "{problem}");
    let list = world.get("/v1/contracts").await.1;
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "the second was not kept");
    assert_eq!(world.get("/contracts").await.1.as_array().unwrap().len(), 1);
    for (field, value, pointer) in [
        ("address", json!("0x12"), "/address"),
        ("network", json!("mars"), "/network"),
        ("name", json!("1st"), "/name"),
        ("name", json!("and"), "/name"),
        ("name", Value::Null, "/name"),
        ("layout", json!({ "storage": 5 }), "/layout"),
        ("layout", json!("Vault.json"), "/layout"),
        ("abi", json!(["function ("]), "/abi"),
        ("colour", json!("red"), "/colour"),
    ] {
        let mut body = vault();
        body[field] = value;
        let (status, problem) = world.post("/v1/contracts", body).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    let path = format!("/v1/contracts/{id}");
    let seen = world.send("", Method::GET, &path, None, &[]).await;
    assert_eq!((&seen.body["layout"], &seen.body["name"]), (&layout(), &json!("vault")));
    let mut body = vault();
    body["name"] = json!("safe");
    let tag = [("if-match", seen.header("etag"))];
    let changed = world.send(&world.key, Method::PUT, &path, Some(body.clone()), &tag).await;
    assert_eq!((changed.status, &changed.body["name"]), (200, &json!("safe")));
    body["address"] = json!(VAULT);
    let any = [("if-match", "*")];
    assert_eq!(world.send(&world.key, Method::PUT, &path, Some(body), &any).await.status, 409);
    assert_eq!(world.ask(Method::DELETE, &path, None).await.0, 204);
    world.make("/v1/contracts", vault()).await;
}

#[tokio::test]
async fn a_list_is_walked_page_by_page() {
    let world = World::new().await;
    for n in 0..7 {
        let body = json!({ "contract": VAULT, "type": ">=", "target": n.to_string(), "storage": "0x2" });
        world.make("/v1/invariants", body).await;
    }
    let (mut path, mut ids, mut pages) = ("/v1/invariants?limit=3".to_owned(), Vec::new(), 0);
    loop {
        let page = world.send("", Method::GET, &path, None, &[]).await;
        pages += 1;
        ids.extend(page.body["items"].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()));
        let link = page.header("link").to_owned();
        let next = link.split(", ").find_map(|link| link.strip_suffix(">; rel=\"next\"")?.strip_prefix('<'));
        let Some(next) = next else { break };
        next.clone_into(&mut path);
    }
    assert_eq!((ids, pages), ((1..=7).collect::<Vec<u64>>(), 3));
    for path in ["/v1/invariants?limit=0", "/v1/invariants?limit=501", "/v1/incidents?after=x"] {
        let (status, problem) = world.get(path).await;
        assert_eq!((status, &problem["status"]), (422, &json!(422)), "{path}: {problem}");
    }
}

#[tokio::test]
async fn before_it_is_in_force_it_is_tried_on_what_was_seen() {
    let world = World::new().await;
    seen::log(&world.store, &[(1_000, 900), (1_000, 50), (60, 40), (60, 500)]).await;
    world.make("/v1/contracts", vault()).await;
    let (status, run) = world.ask_with("", Method::POST, "/v1/invariants/dry-run", Some(solvency())).await;
    assert_eq!(status, 200, "{run}");
    let count = |field: &str| run[field].as_u64().unwrap();
    assert_eq!(
        (count("transactions"), count("violated"), count("kept"), count("stayed_broken"), count("restored")),
        (4, 1, 1, 1, 1),
        "{run}"
    );
    assert_eq!((count("undecided"), count("untouched")), (0, 0));
    assert_eq!((count("first_block"), count("last_block")), (99, 99));
    let violation = &run["violations"][0];
    assert_eq!(
        (&violation["margin_before"], &violation["margin_after"]),
        (&json!("900"), &json!("-50")),
        "{violation}"
    );
    assert_eq!(violation["readings"][0]["after"], "50");

    // What the network cannot judge can be tried all the same.
    let mut more = json!({ "name": "x", "expression": "vault.totalAssets * 2 >= pre(vault.totalAssets)", "transactions": 2 });
    let (status, run) = world.post("/v1/invariants/dry-run", more.clone()).await;
    assert_eq!((status, &run["transactions"], &run["violated"]), (200, &json!(2), &json!(0)), "{run}");
    more["transactions"] = json!(500);
    assert_eq!(world.post("/v1/invariants/dry-run", more.clone()).await.1["violated"], 1);
    let elsewhere = json!({ "contract": VAULT, "type": "<", "target": "1", "storage": "0x5" });
    assert_eq!(world.post("/v1/invariants/dry-run", elsewhere).await.1["untouched"], 4);
    // What the transactions did not read is not known, and is not taken for zero.
    let unread = json!({ "name": "x", "expression": format!("vault.totalAssets >= slot({VAULT}, 0x1)") });
    let (_, run) = world.post("/v1/invariants/dry-run", unread).await;
    assert_eq!(run["undecided"], 4, "{run}");
    assert!(run["reasons"][0]["reason"].as_str().unwrap().contains("missing"), "{run}");
    more["transactions"] = json!(0);
    assert_eq!(world.post("/v1/invariants/dry-run", more).await.0, 422);
    assert_eq!(world.store.invariant_set().await.unwrap().0, 0, "nothing was changed");
    assert!(world.store.audited(None, 10).await.unwrap().iter().all(|row| !row.path.contains("dry-run")));
}

#[tokio::test]
async fn a_value_is_known_from_what_was_read_and_has_a_margin() {
    let world = World::new().await;
    let slot = |storage: &str| json!({ "contract": seen::VAULT.to_string(), "type": ">=", "target": "100", "storage": storage });
    world.make("/v1/invariants", slot("0x0")).await;
    world.make("/v1/invariants", slot("0x1")).await;
    assert_eq!(world.get("/v1/values").await.1["items"][0]["value"], Value::Null);
    // The same log, read anew once the set has changed.
    seen::log(&world.store, &[(1_000, 900), (60, 40)]).await;
    world.make("/v1/invariants", slot("0x2")).await;
    let (_, one) = wait_for(&world, "/v1/values/1", |value| !value["value"].is_null()).await;
    assert_eq!(
        (&one["value"], &one["margin"], &one["holds"], &one["block"]),
        (&json!("60"), &json!("-40"), &json!(false), &json!(99))
    );
    let (_, all) = world.get("/v1/values").await;
    assert_eq!((&all["items"][0], &all["items"][1]["value"]), (&one, &Value::Null));
    assert_eq!(world.get("/v1/values/9").await.0, 404);
}

/// What was looked up is kept for half a second: asked again until it fits.
async fn wait_for(world: &World, path: &str, fits: impl Fn(&Value) -> bool) -> (u16, Value) {
    let asked = async {
        loop {
            let (status, answer) = world.get(path).await;
            if fits(&answer) {
                return (status, answer);
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), asked).await.unwrap()
}

#[tokio::test]
async fn an_incident_has_its_witness_and_what_was_done() {
    let world = World::new().await;
    let id = world
        .make("/v1/invariants", json!({ "contract": seen::VAULT.to_string(), "type": ">=", "target": "100", "storage": "0x0" }))
        .await;
    let logged = seen::log(&world.store, &[(1_000, 3), (1_000, 4), (1_000, 5)]).await;
    for seen in &logged {
        seen::incident(&world.store, id, "floor", *seen, "paused").await;
    }
    let (_, first) = world.get("/v1/incidents?limit=2").await;
    let ids = |page: &Value| page["items"].as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect::<Vec<_>>();
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
    assert_eq!((&timeline["moments"][1]["moment"], &timeline["moments"][1]["detail"]), (&json!("fired"), &json!("paused")));
    assert_eq!((&timeline["suspects"][0]["after"], &timeline["network"]["agreed"]), (&json!("3"), &json!(4)));
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
    assert_eq!((&miner["uid"], &miner["axon"], &miner["p99_us"]), (&json!(4), &json!("127.0.0.1:9004"), &json!(2500)));
    assert_eq!((&miner["asked"], &miner["answered"], &miner["correct"]), (&json!(100), &json!(99), &json!(98)));
    assert_eq!(miner["score"], 0.75);
    let incentives: Vec<f64> = miner["incentives"].as_array().unwrap().iter().map(|point| point["value"].as_f64().unwrap()).collect();
    assert_eq!(incentives.len(), 3);
    assert!(incentives.is_sorted() && incentives[2] > 0.6, "{incentives:?}");
    assert_eq!(miners["items"].as_array().unwrap().len(), 2);
    assert_eq!(miner["hotkey"], chain::AccountId::new(hotkey(4)).to_string());
    let (_, validators) = world.get("/v1/validators?limit=1").await;
    assert_eq!((&validators["items"][0]["uid"], &validators["next"]), (&json!(1), &json!(1)));
    let (_, rest) = world.get("/v1/validators?limit=1&after=1").await;
    assert_eq!((&rest["items"][0]["uid"], &rest["next"]), (&json!(2), &Value::Null));

    let logged = seen::log(&world.store, &[(1_000, 3)]).await;
    let id = world
        .make("/v1/invariants", json!({ "contract": seen::VAULT.to_string(), "type": ">=", "target": "100", "storage": "0x0" }))
        .await;
    seen::incident(&world.store, id, "floor", logged[0], "").await;
    let (_, validators) = world.get("/v1/validators").await;
    assert_eq!((&validators["items"][0]["reports"], &validators["items"][1]["reports"]), (&json!(1), &json!(0)));
    assert!(validators["items"][0]["p99_ms"].is_u64());
}

#[tokio::test]
async fn a_service_is_made_and_forgotten_once_it_protects_nothing() {
    let world = World::new().await;
    let body = json!({ "name": "vault", "payment_contract": VAULT });
    let id = world.make("/v1/services", body.clone()).await;
    assert_eq!(world.post("/v1/services", body).await.0, 409);
    let mut invariant = json!({ "contract": VAULT, "type": ">=", "target": "1", "storage": "0x2", "service": "vault" });
    let protected = world.make("/v1/invariants", invariant.clone()).await;
    assert_eq!(world.get("/v1/invariants").await.1["items"][0]["service"], "vault");
    invariant["service"] = json!("nobody");
    let (status, problem) = world.post("/v1/invariants", invariant).await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("/service")));
    let path = format!("/v1/services/{id}");
    assert_eq!(world.ask(Method::DELETE, &path, None).await.0, 409);
    world.ask(Method::DELETE, &format!("/v1/invariants/{protected}"), None).await;
    assert_eq!(world.ask(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(world.get("/v1/services").await.1["items"], json!([]));
}

#[tokio::test]
async fn keys_are_for_admins_and_are_shown_once() {
    let world = World::new().await;
    let admin = async |method: Method, path: &str, body: Option<Value>| world.ask_with(&world.admin, method, path, body).await;
    for path in ["/v1/keys", "/v1/audit"] {
        assert_eq!(world.ask_with("", Method::GET, path, None).await.0, 401);
        assert_eq!(world.get(path).await.0, 403, "write is not enough");
    }
    let made = world
        .send(&world.admin, Method::POST, "/v1/keys", Some(json!({ "name": "ci", "role": "write" })), &[])
        .await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"));
    let key = made.body["key"].as_str().unwrap();
    assert_eq!(world.ask_with(key, Method::POST, "/dashboards", Some(json!({ "name": "x" }))).await.0, 200);
    let (_, list) = admin(Method::GET, "/v1/keys", None).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let told = list.to_string();
    assert!(!told.contains(key) && !told.contains("argon2"), "{told}");
    let path = format!("/v1/keys/{}", made.body["id"]);
    assert_eq!(admin(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(admin(Method::DELETE, &path, None).await.0, 404);
    assert_eq!(world.ask_with(key, Method::POST, "/dashboards", Some(json!({ "name": "x" }))).await.0, 401);
    let own = list["items"].as_array().unwrap().iter().find(|one| one["role"] == "admin").unwrap();
    let path = format!("/v1/keys/{}", own["id"]);
    assert_eq!(admin(Method::DELETE, &path, None).await.0, 409, "nobody could make another");
    make(&world.store, "second", Role::Admin).await.unwrap();
    assert_eq!(admin(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(admin(Method::GET, "/v1/keys", None).await.0, 401);
    for body in [json!({ "name": "x", "role": "god" }), json!({ "name": "", "role": "read" }), json!({ "name": "x" })] {
        let second = make(&world.store, "third", Role::Admin).await.unwrap();
        assert_eq!(world.ask_with(&second, Method::POST, "/v1/keys", Some(body)).await.0, 422);
    }
}

#[tokio::test]
async fn the_audit_log_tells_who_asked_for_what() {
    let world = World::new().await;
    world.make("/dashboards", json!({ "name": "x" })).await;
    world.ask_with("", Method::DELETE, "/v1/invariants/7", None).await;
    let (_, first) = world.ask_with(&world.admin, Method::GET, "/v1/audit?limit=1", None).await;
    let newest = &first["items"][0];
    assert_eq!(
        (&newest["actor"], &newest["method"], &newest["path"], &newest["status"]),
        (&json!("anonymous"), &json!("DELETE"), &json!("/v1/invariants/7"), &json!(401))
    );
    let after = format!("/v1/audit?limit=1&after={}", first["next"]);
    let (_, second) = world.ask_with(&world.admin, Method::GET, &after, None).await;
    assert!(second["items"][0]["actor"].as_str().unwrap().starts_with("front end (pk_"), "{second}");
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn events_tell_what_changed_and_end_with_the_platform() {
    let world = World::new().await;
    let mut response = world.client.get(world.url("/v1/events")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, "text/event-stream"));
    let mut heard = String::new();
    let told = |heard: &str| {
        let lines = heard.lines().filter_map(|line| line.strip_prefix("data: ").or_else(|| line.strip_prefix("data:")));
        lines.map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    while told(heard.rsplit_once('\n').map_or("", |(whole, _)| whole)).is_empty() {
        heard.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(told(&heard)[0]["overview"]["invariant_set_version"], 0);
    world
        .make("/v1/invariants", json!({ "contract": VAULT, "type": ">=", "target": "1", "storage": "0x2" }))
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
async fn every_refusal_is_a_problem() {
    let world = World::new().await;
    let kinds: BTreeSet<(u16, String)> = {
        let mut kinds = BTreeSet::new();
        for (key, method, path, body) in [
            ("", Method::DELETE, "/v1/invariants/1", None),
            (world.key.as_str(), Method::GET, "/v1/audit", None),
            (world.key.as_str(), Method::GET, "/v1/nowhere", None),
            (world.key.as_str(), Method::GET, "/v1/invariants/1", None),
            (world.key.as_str(), Method::PATCH, "/v1/invariants", None),
            (world.key.as_str(), Method::POST, "/v1/invariants", None),
            (world.key.as_str(), Method::POST, "/v1/invariants", Some(json!([]))),
            (world.key.as_str(), Method::POST, "/v1/invariants", Some(json!({ "name": "x".repeat(2 << 20) }))),
        ] {
            let answer = world.send(key, method, path, body, &[]).await;
            assert_eq!(answer.body["status"], answer.status, "{path}: {}", answer.body);
            assert!(answer.body["detail"].as_str().unwrap().len() > 10);
            assert_eq!(answer.header("access-control-allow-origin"), "*");
            kinds.insert((answer.status, answer.header("content-type").to_owned()));
        }
        kinds
    };
    let expected = [400, 401, 403, 404, 405, 413, 422].map(|status| (status, PROBLEM.to_owned()));
    assert_eq!(kinds, BTreeSet::from(expected));
}
