//! The REST contract, walked by a client that knows only its table: path, fields, defaults, status codes.

mod access;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::served::{VAULT, World};

fn invariant() -> Value {
    json!({ "contract": VAULT, "type": ">=", "variable": "totalAssets", "target": "100", "storage": "0x2" })
}

#[tokio::test]
async fn an_invariant_is_made_read_changed_and_deleted() {
    let world = World::new().await;
    let (status, made) = world.post("/invariants", invariant()).await;
    assert_eq!(status, 200);
    assert_eq!(made["network"], "ethereum", "the default");
    assert_eq!(
        (&made["defense_action_ids"], &made["is_active"]),
        (&json!([]), &json!(true))
    );
    assert!(made["created_at"].as_str().unwrap().contains('T'));
    assert_eq!(
        (&made["type"], &made["target"], &made["variable"]),
        (&json!(">="), &json!("100"), &json!("totalAssets"))
    );
    let path = format!("/invariants/{}", made["id"]);
    assert_eq!(world.get(&path).await, (200, made.clone()));
    assert_eq!(world.get("/invariants").await, (200, json!([made])));

    let mut changed = invariant();
    changed["target"] = json!("200");
    changed["network"] = json!("chain-31337");
    let (status, after) = world.ask(Method::PUT, &path, Some(changed)).await;
    assert_eq!(
        (status, &after["target"], &after["id"]),
        (200, &json!("200"), &made["id"])
    );
    let (version, set) = world.store.invariant_set().await.unwrap();
    assert_eq!(
        (version, set.len()),
        (2, 1),
        "each change is a version of the stream's set"
    );

    let deleted = world.ask(Method::DELETE, &path, None).await;
    assert_eq!(deleted, (200, json!({ "message": "Invariant deleted" })));
    assert_eq!(
        world.get(&path).await,
        (404, json!({ "detail": "Invariant not found" }))
    );
    assert_eq!(world.ask(Method::DELETE, &path, None).await.0, 404);
    assert_eq!(world.store.invariant_set().await.unwrap().1.len(), 0);
}

#[tokio::test]
async fn programs_are_welcomed_and_browsers_are_sent_to_the_page() {
    let world = World::new().await;
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let ask = async |accept: &str| {
        let request = client.get(world.url("/")).header("accept", accept);
        request.send().await.unwrap()
    };
    for accept in ["*/*", "application/json, text/plain, */*"] {
        let answer = ask(accept).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.json::<Value>().await.unwrap()["message"].is_string());
    }
    let answer = ask("text/html,application/xhtml+xml,*/*;q=0.8").await;
    assert_eq!(
        (answer.status(), &answer.headers()["location"]),
        (StatusCode::SEE_OTHER, &"/app".parse().unwrap())
    );
}

#[tokio::test]
async fn an_older_client_leaves_the_variable_out() {
    let world = World::new().await;
    let mut body = invariant();
    body.as_object_mut().unwrap().remove("variable");
    let (status, made) = world.post("/invariants", body).await;
    assert_eq!((status, &made["variable"]), (200, &Value::Null));
}

#[tokio::test]
async fn contracts_actions_and_dashboards_have_the_same_five_requests() {
    let world = World::new().await;
    for (path, name, body) in [
        (
            "/contracts",
            "Contract",
            json!({ "address": VAULT, "network": "ethereum" }),
        ),
        (
            "/defense-actions",
            "Defense Action",
            json!({ "type": "PAUSE_AGENT", "network": "ethereum", "function_sig": "pause()" }),
        ),
        ("/dashboards", "Dashboard", json!({ "name": "mine" })),
    ] {
        let (status, made) = world.post(path, body.clone()).await;
        assert_eq!(status, 200, "{path}: {made}");
        let one = format!("{path}/{}", made["id"]);
        assert_eq!(world.get(&one).await.0, 200);
        assert_eq!(world.get(path).await.1.as_array().unwrap().len(), 1);
        assert_eq!(
            world.ask(Method::PUT, &one, Some(body.clone())).await,
            (200, made),
            "{path}"
        );
        let message = format!("{name} deleted");
        assert_eq!(
            world.ask(Method::DELETE, &one, None).await,
            (200, json!({ "message": message }))
        );
        let detail = json!({ "detail": format!("{name} not found") });
        assert_eq!(world.get(&one).await, (404, detail.clone()));
        assert_eq!(world.ask(Method::PUT, &one, Some(body)).await, (404, detail.clone()));
        assert_eq!(world.ask(Method::DELETE, &one, None).await, (404, detail));
        assert_eq!(world.get(path).await, (200, json!([])));
    }
}

#[tokio::test]
async fn a_dashboard_is_the_whole_tree_without_repeats() {
    let world = World::new().await;
    let action = json!({ "type": "TELEGRAM_ALERT", "network": "ethereum", "tg_chat_id": "-100" });
    let (a, b) = (
        world.make("/defense-actions", action.clone()).await,
        world.make("/defense-actions", action).await,
    );
    let mut alarmed = invariant();
    alarmed["defense_action_ids"] = json!([a]);
    let (i, j) = (
        world.make("/invariants", alarmed).await,
        world.make("/invariants", invariant()).await,
    );
    let contract =
        json!({ "address": VAULT, "network": "ethereum", "variables": { "owner": "0" }, "invariant_ids": [i] });
    let c = world.make("/contracts", contract).await;
    let dashboard =
        json!({ "name": "all", "contract_ids": [c], "invariant_ids": [i, j], "defense_action_ids": [a, b] });
    let d = world.make("/dashboards", dashboard).await;
    let (status, tree) = world.get(&format!("/dashboards/{d}")).await;
    assert_eq!(status, 200);
    let ids = |list: &str| -> Vec<u64> {
        tree[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(
        (ids("contracts"), ids("invariants"), ids("defense_actions")),
        (vec![c], vec![i, j], vec![a, b])
    );
    assert_eq!(
        (&tree["name"], &tree["contracts"][0]["variables"]),
        (&json!("all"), &json!({ "owner": "0" }))
    );

    let replaced = json!({ "name": "less", "contract_ids": [c] });
    let (_, after) = world
        .ask(Method::PUT, &format!("/dashboards/{d}"), Some(replaced))
        .await;
    assert_eq!(
        (&after["invariant_ids"], &after["contract_ids"]),
        (&json!([]), &json!([c])),
        "a relation list is replaced"
    );
    let (_, tree) = world.get(&format!("/dashboards/{d}")).await;
    assert_eq!(tree["invariants"][0]["id"], i, "its contract's");
    assert_eq!(tree["defense_actions"][0]["id"], a, "its contract's invariant's");

    world.ask(Method::DELETE, &format!("/invariants/{i}"), None).await;
    assert_eq!(
        world.get(&format!("/contracts/{c}")).await.1["invariant_ids"],
        json!([]),
        "a deleted one is nobody's"
    );
}

#[tokio::test]
async fn links_are_made_and_unmade_as_often_as_one_likes() {
    let world = World::new().await;
    let a = world
        .make(
            "/defense-actions",
            json!({ "type": "PAUSE_AGENT", "network": "ethereum" }),
        )
        .await;
    let i = world.make("/invariants", invariant()).await;
    let c = world
        .make("/contracts", json!({ "address": VAULT, "network": "ethereum" }))
        .await;
    let d = world.make("/dashboards", json!({ "name": "x" })).await;
    for (path, list, id) in [
        (
            format!("/dashboards/{d}/contracts/{c}"),
            format!("/dashboards/{d}"),
            ("contract_ids", c),
        ),
        (
            format!("/contracts/{c}/invariants/{i}"),
            format!("/contracts/{c}"),
            ("invariant_ids", i),
        ),
        (
            format!("/invariants/{i}/defense-actions/{a}"),
            format!("/invariants/{i}"),
            ("defense_action_ids", a),
        ),
    ] {
        for (method, members) in [(Method::POST, json!([id.1])), (Method::DELETE, json!([]))] {
            for _ in 0..2 {
                assert_eq!(world.ask(method.clone(), &path, None).await.0, 200, "{method} {path}");
                assert_eq!(world.get(&list).await.1[id.0], members);
            }
        }
        let (parent, _) = path.rsplit_once('/').unwrap();
        assert_eq!(world.ask(Method::POST, &format!("{parent}/999"), None).await.0, 404);
    }
    assert_eq!(
        world
            .ask(Method::POST, &format!("/contracts/77/invariants/{i}"), None)
            .await,
        (404, json!({ "detail": "Contract not found" }))
    );
}

#[tokio::test]
async fn what_does_not_fit_is_a_422_that_names_the_field_and_changes_nothing() {
    let world = World::new().await;
    let with = |field: &str, value: Value| {
        let mut body = invariant();
        body[field] = value;
        body
    };
    for (path, body, field) in [
        ("/invariants", with("contract", json!("0x12")), "contract"),
        ("/invariants", with("type", json!("~")), "type"),
        ("/invariants", with("target", json!("ten")), "target"),
        ("/invariants", with("target", json!(10)), "target"),
        ("/invariants", with("storage", json!("slot")), "storage"),
        ("/invariants", with("slot_type", json!("uint7")), "slot_type"),
        ("/invariants", with("network", json!("mars")), "network"),
        (
            "/invariants",
            with("defense_action_ids", json!(["x"])),
            "defense_action_ids",
        ),
        ("/invariants", json!({}), "contract"),
        (
            "/contracts",
            json!({ "address": "x", "network": "ethereum" }),
            "address",
        ),
        (
            "/contracts",
            json!({ "address": VAULT, "network": "ethereum", "variables": [] }),
            "variables",
        ),
        (
            "/defense-actions",
            json!({ "type": "FAX", "network": "ethereum" }),
            "type",
        ),
        (
            "/defense-actions",
            json!({ "type": "PAUSE_AGENT", "network": "ethereum", "calldata": "0xzz" }),
            "calldata",
        ),
        ("/dashboards", json!({ "name": 7 }), "name"),
        ("/dashboards", json!({ "name": "a\u{0}b" }), "name"),
    ] {
        let (status, answer) = world.post(path, body.clone()).await;
        assert_eq!(status, 422, "{path} {body}: {answer}");
        let first = &answer["detail"][0];
        assert_eq!(
            (&first["loc"][0], &first["loc"][1]),
            (&json!("body"), &json!(field)),
            "{answer}"
        );
        assert!(first["msg"].is_string() && first["type"].is_string());
        assert_eq!(world.get(path).await.1, json!([]), "nothing was made");
    }
    assert_eq!(
        world
            .post("/dashboards", json!({ "name": "x", "contract_ids": [5] }))
            .await,
        (404, json!({ "detail": "Contract not found" }))
    );
    assert_eq!(world.get("/dashboards").await.1, json!([]));
    for id in ["x", "-1", "1.5", "99999999999999999999999"] {
        let (status, answer) = world.get(&format!("/invariants/{id}")).await;
        assert_eq!(
            (status, &answer["detail"][0]["loc"]),
            (422, &json!(["path", "id"])),
            "{id}"
        );
    }
    let mut sent = Vec::new();
    for body in ["", "{", "[]", "null", "\"x\""] {
        let request = world
            .client
            .post(format!("http://{}/contracts", world.address))
            .header("X-API-Key", &world.key);
        sent.push(
            request
                .header("content-type", "application/json")
                .body(body)
                .send()
                .await
                .unwrap()
                .status(),
        );
    }
    assert_eq!(sent, [StatusCode::UNPROCESSABLE_ENTITY; 5]);
    let huge = "x".repeat(2 << 20);
    let request = world
        .client
        .post(format!("http://{}/dashboards", world.address))
        .header("X-API-Key", &world.key);
    assert_eq!(
        request.json(&json!({ "name": huge })).send().await.unwrap().status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn sql_and_html_are_text_like_any_other() {
    let world = World::new().await;
    for name in [
        "'; DROP TABLE dashboards; --",
        "<script>alert(1)</script>",
        "\u{202e}\u{1f6e1}",
        "a\"b\\c\n",
    ] {
        let id = world.make("/dashboards", json!({ "name": name })).await;
        assert_eq!(world.get(&format!("/dashboards/{id}")).await.1["name"], name);
    }
    assert_eq!(world.get("/dashboards").await.1.as_array().unwrap().len(), 4);
}
