//! Who may do what over the original's contract, what is written down of it, and what is told to nobody.

use platform::rest::actions::MASK;
use platform::rest::key::{Role, make};
use reqwest::Method;
use serde_json::{Value, json};

use crate::served::World;

#[tokio::test]
async fn a_secret_goes_in_and_never_comes_out() {
    let world = World::new().await;
    let token = "12345:very-secret";
    let mut action =
        json!({ "type": "TELEGRAM_ALERT", "network": "ethereum", "tg_api_key": token, "tg_chat_id": "-100" });
    let id = world.make("/defense-actions", action.clone()).await;
    let path = format!("/defense-actions/{id}");
    let (_, read) = world.get(&path).await;
    assert_eq!(read["tg_api_key"], MASK);
    let stored = |rows: Vec<(u64, platform::store::Action)>| rows[0].1.tg_api_key.clone();
    let sealed = stored(world.store.actions(None).await.unwrap()).unwrap();
    assert!(!sealed.windows(6).any(|part| part == b"secret"), "encrypted at rest");

    // A front end sends back what it has read.
    action["tg_api_key"] = json!(MASK);
    action["tg_chat_id"] = json!("-200");
    let (status, after) = world.ask(Method::PUT, &path, Some(action.clone())).await;
    assert_eq!((status, &after["tg_chat_id"]), (200, &json!("-200")));
    assert_eq!(
        stored(world.store.actions(None).await.unwrap()).unwrap(),
        sealed,
        "the secret stays"
    );
    action["tg_api_key"] = Value::Null;
    world.ask(Method::PUT, &path, Some(action)).await;
    assert_eq!(stored(world.store.actions(None).await.unwrap()), None);
}

#[tokio::test]
async fn a_change_needs_a_key_that_may_and_is_written_down() {
    let world = World::new().await;
    let reader = make(&world.store, "reader", Role::Read).await.unwrap().to_string();
    let body = || Some(json!({ "name": "x" }));
    let post = async |key: &str| world.ask_with(key, Method::POST, "/dashboards", body()).await.0;
    let mut wrong = world.key.clone();
    wrong.pop();
    assert_eq!(post("").await, 401);
    assert_eq!(post("pk_00000000_00").await, 401);
    assert_eq!(
        post(&wrong).await,
        401,
        "a key with its prefix right and its secret wrong"
    );
    assert_eq!(post(&"k".repeat(5_000)).await, 401);
    assert_eq!(post(&reader).await, 403);
    assert_eq!(post(&world.key).await, 200);
    let keys = world.store.keys(None).await.unwrap();
    assert!(
        keys.iter()
            .all(|key| !world.key.contains(&key.hash) && key.hash.starts_with("$argon2id$"))
    );
    world.store.revoke_key(keys[0].id).await.unwrap();
    assert_eq!(post(&world.key).await, 401, "a revoked key is refused at once");
    assert_eq!(
        world.ask_with("", Method::GET, "/dashboards", None).await.0,
        200,
        "reading is free here"
    );

    let audited = world.store.audited(None, 100).await.unwrap();
    let told: Vec<(&str, u16)> = audited
        .iter()
        .rev()
        .map(|row| (row.actor.split(' ').next().unwrap(), row.status))
        .collect();
    assert_eq!(
        told,
        [
            ("anonymous", 401),
            ("anonymous", 401),
            ("anonymous", 401),
            ("anonymous", 401),
            ("reader", 403),
            ("front", 200),
            ("anonymous", 401)
        ]
    );
    assert!(
        audited
            .iter()
            .all(|row| row.method == "POST" && row.path == "/dashboards")
    );

    let closed = World::with(None).await;
    assert_eq!(closed.ask_with("", Method::GET, "/dashboards", None).await.0, 401);
    assert_eq!(closed.get("/dashboards").await.0, 200);
    let bearer = closed
        .client
        .get(format!("http://{}/contracts", closed.address))
        .bearer_auth(&closed.key);
    assert_eq!(bearer.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn any_web_page_may_ask_and_the_document_tells_what() {
    let world = World::new().await;
    let asked = world
        .client
        .request(Method::OPTIONS, format!("http://{}/invariants", world.address));
    let asked = asked
        .header("origin", "https://front.example")
        .header("access-control-request-method", "POST");
    let answer = asked
        .header("access-control-request-headers", "x-api-key,content-type")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            answer.status().as_u16(),
            &answer.headers()["access-control-allow-origin"]
        ),
        (200, &"*".parse().unwrap())
    );
    assert_eq!(world.get("/").await.0, 200);
    let (status, document) = world.get("/openapi.json").await;
    assert_eq!(status, 200);
    let mut paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    paths.retain(|path| !path.starts_with("/v1/"));
    paths.sort();
    assert_eq!(
        paths,
        [
            "/",
            "/contracts",
            "/contracts/{id}",
            "/contracts/{id}/invariants/{inv_id}",
            "/dashboards",
            "/dashboards/{id}",
            "/dashboards/{id}/contracts/{contract_id}",
            "/defense-actions",
            "/defense-actions/{id}",
            "/invariants",
            "/invariants/{id}",
            "/invariants/{id}/defense-actions/{action_id}",
        ]
    );
    let page = world
        .client
        .get(format!("http://{}/docs/", world.address))
        .send()
        .await
        .unwrap();
    assert!(page.status() == 200 && page.text().await.unwrap().contains("swagger"));
}
