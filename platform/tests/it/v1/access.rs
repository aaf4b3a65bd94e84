//! Keys, the audit log, services, refusals.

use std::collections::BTreeSet;

use platform::rest::key::{Role, make};
use reqwest::Method;
use serde_json::{Value, json};

use super::PROBLEM;
use crate::served::{VAULT, World};

#[tokio::test]
async fn keys_are_for_admins_and_are_shown_once() {
    let world = World::new().await;
    let admin =
        async |method: Method, path: &str, body: Option<Value>| world.ask_with(&world.admin, method, path, body).await;
    for path in ["/v1/keys", "/v1/audit"] {
        assert_eq!(world.ask_with("", Method::GET, path, None).await.0, 401);
        assert_eq!(world.get(path).await.0, 403, "write is not enough");
    }
    let made = world
        .send(
            &world.admin,
            Method::POST,
            "/v1/keys",
            Some(json!({ "name": "ci", "role": "write" })),
            &[],
        )
        .await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"));
    let key = made.body["key"].as_str().unwrap();
    assert_eq!(
        world
            .ask_with(key, Method::POST, "/dashboards", Some(json!({ "name": "x" })))
            .await
            .0,
        200
    );
    let (_, list) = admin(Method::GET, "/v1/keys", None).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    let told = list.to_string();
    assert!(!told.contains(key) && !told.contains("argon2"), "{told}");
    let path = format!("/v1/keys/{}", made.body["id"]);
    assert_eq!(admin(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(admin(Method::DELETE, &path, None).await.0, 404);
    assert_eq!(
        world
            .ask_with(key, Method::POST, "/dashboards", Some(json!({ "name": "x" })))
            .await
            .0,
        401
    );
    let own = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["role"] == "admin")
        .unwrap();
    let path = format!("/v1/keys/{}", own["id"]);
    assert_eq!(
        admin(Method::DELETE, &path, None).await.0,
        409,
        "nobody could make another"
    );
    make(&world.store, "second", Role::Admin).await.unwrap();
    assert_eq!(admin(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(admin(Method::GET, "/v1/keys", None).await.0, 401);
    for body in [
        json!({ "name": "x", "role": "god" }),
        json!({ "name": "", "role": "read" }),
        json!({ "name": "x" }),
    ] {
        let second = make(&world.store, "third", Role::Admin).await.unwrap();
        assert_eq!(
            world.ask_with(&second, Method::POST, "/v1/keys", Some(body)).await.0,
            422
        );
    }
}

#[tokio::test]
async fn the_audit_log_tells_who_asked_for_what() {
    let world = World::new().await;
    world.make("/dashboards", json!({ "name": "x" })).await;
    world.ask_with("", Method::DELETE, "/v1/invariants/7", None).await;
    let (_, first) = world
        .ask_with(&world.admin, Method::GET, "/v1/audit?limit=1", None)
        .await;
    let newest = &first["items"][0];
    assert_eq!(
        (&newest["actor"], &newest["method"], &newest["path"], &newest["status"]),
        (
            &json!("anonymous"),
            &json!("DELETE"),
            &json!("/v1/invariants/7"),
            &json!(401)
        )
    );
    let after = format!("/v1/audit?limit=1&after={}", first["next"]);
    let (_, second) = world.ask_with(&world.admin, Method::GET, &after, None).await;
    assert!(
        second["items"][0]["actor"]
            .as_str()
            .unwrap()
            .starts_with("front end (pk_"),
        "{second}"
    );
    assert_eq!(second["next"], Value::Null);
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
            (
                world.key.as_str(),
                Method::POST,
                "/v1/invariants",
                Some(json!({ "name": "x".repeat(2 << 20) })),
            ),
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
    world
        .ask(Method::DELETE, &format!("/v1/invariants/{protected}"), None)
        .await;
    assert_eq!(world.ask(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(world.get("/v1/services").await.1["items"], json!([]));
}
