//! Contracts, expressions, dry runs, values, pages.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::until;

use crate::seen::{self, layout};
use crate::served::{VAULT, World};

pub(super) fn vault() -> Value {
    json!({ "address": seen::VAULT.to_string(), "name": "vault", "layout": layout(),
        "abi": ["function totalSupply() view returns (uint256)"] })
}

fn solvency() -> Value {
    json!({ "name": "solvency", "expression": "vault.totalAssets >= 100", "severity": "critical", "description": "All is there." })
}

/// The original form.
pub(super) fn floor(target: &str) -> Value {
    json!({ "contract": VAULT, "type": ">=", "target": target, "storage": "0x2" })
}

#[tokio::test]
async fn an_expression_is_checked_put_in_force_changed_and_taken_away() {
    let world = World::new().await;
    let (_, checked) = world
        .ask_with("", Method::POST, "/v1/invariants/check", Some(solvency()))
        .await;
    assert_eq!(checked["valid"], false, "nobody has said what `vault` is: {checked}");
    let error = &checked["errors"][0];
    assert_eq!(
        (&error["pointer"], &error["place"]["column"]),
        (&json!("/expression"), &json!(1))
    );
    assert!(error["place"]["shown"].as_str().unwrap().contains('^'), "{error}");

    world.make("/v1/contracts", vault()).await;
    let (_, checked) = world.post("/v1/invariants/check", solvency()).await;
    assert_eq!(
        (&checked["valid"], &checked["streamed"]),
        (&json!(true), &json!(true)),
        "{checked}"
    );
    assert_eq!(checked["judged"]["storage"], "0x0");
    assert_eq!(checked["reads"], json!(["vault.totalAssets"]));
    let more = json!({ "name": "x", "expression": "vault.totalSupply() <= vault.totalAssets" });
    let (_, checked) = world.post("/v1/invariants/check", more.clone()).await;
    assert_eq!((&checked["valid"], &checked["streamed"]), (&json!(true), &json!(true)));
    assert_eq!(checked["judged"], Value::Null, "it is no slot against a constant");
    assert_eq!(
        world.store.invariant_set().await.unwrap().0,
        0,
        "nothing is in force yet"
    );

    let action = world
        .make(
            "/defense-actions",
            json!({ "type": "PAUSE_AGENT", "network": "ethereum" }),
        )
        .await;
    let mut body = solvency();
    body["defense_action_ids"] = json!([action]);
    let made = world
        .send(&world.key, Method::POST, "/v1/invariants", Some(body.clone()), &[])
        .await;
    assert_eq!((made.status, made.header("location")), (201, "/v1/invariants/1"));
    assert_eq!(made.body["expression"], "vault.totalAssets >= 100");
    assert_eq!(
        (&made.body["type"], &made.body["target"]),
        (&json!(">="), &json!("100"))
    );
    assert_eq!(made.body["defense_action_ids"], json!([action]));
    let (version, set) = world.store.invariant_set().await.unwrap();
    assert_eq!((version, set.watched()[0].name()), (1, "solvency"));
    assert_eq!(
        world.get("/invariants/1").await.1["target"],
        "100",
        "the original's clients see it too"
    );

    let read = async |headers: &[(&str, &str)]| world.send("", Method::GET, "/v1/invariants/1", None, headers).await;
    let first = read(&[]).await;
    let tag = first.header("etag").to_owned();
    assert_eq!((first.status, &first.body), (200, &made.body));
    assert_eq!(read(&[("if-none-match", &tag)]).await.status, 304);
    assert_eq!(read(&[("if-none-match", "\"other\"")]).await.status, 200);
    let head = world.send("", Method::HEAD, "/v1/invariants/1", None, &[]).await;
    assert_eq!((head.status, head.header("etag")), (200, tag.as_str()));

    body["expression"] = json!("vault.totalAssets >= 200");
    let put = async |headers: &[(&str, &str)]| {
        let body = Some(body.clone());
        world
            .send(&world.key, Method::PUT, "/v1/invariants/1", body, headers)
            .await
    };
    assert_eq!(put(&[]).await.status, 428);
    assert_eq!(put(&[("if-match", "\"other\"")]).await.status, 412);
    let changed = put(&[("if-match", &tag)]).await;
    assert_eq!((changed.status, &changed.body["target"]), (200, &json!("200")));
    assert_eq!(put(&[("if-match", &tag)]).await.status, 412, "what was read is old now");
    assert_eq!(world.store.invariant_set().await.unwrap().0, 2);

    // The original's clients change it too; what it was written as says something else then.
    let change = json!({ "contract": VAULT, "type": "<", "target": "9", "storage": "0x5" });
    assert_eq!(world.ask(Method::PUT, "/invariants/1", Some(change)).await.0, 200);
    let text = read(&[]).await.body["expression"].as_str().unwrap().to_owned();
    assert!(text.starts_with("slot(") && text.ends_with("< 9"), "{text}");

    let away = async |tag: &str| {
        world
            .send(
                &world.key,
                Method::DELETE,
                "/v1/invariants/1",
                None,
                &[("if-match", tag)],
            )
            .await
    };
    assert_eq!(away(&tag).await.status, 412);
    let now = read(&[]).await.header("etag").to_owned();
    assert_eq!(away(&now).await.status, 204);
    assert_eq!(away(&now).await.status, 404);
    assert_eq!(world.store.invariant_set().await.unwrap().1.len(), 0);
}

#[tokio::test]
async fn an_expression_is_in_force_as_its_text_and_not_to_be_found_in_the_original_table() {
    let world = World::new().await;
    world.make("/v1/contracts", vault()).await;
    let two = json!({ "name": "backed", "expression": "vault.totalSupply() <= vault.totalAssets", "severity": "high" });
    let id = world.make("/v1/invariants", two).await;
    let (_, view) = world.get(&format!("/v1/invariants/{id}")).await;
    assert_eq!(view["expression"], "vault.totalSupply() <= vault.totalAssets");
    assert_eq!(
        (&view["storage"], &view["type"], &view["offset"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let program = view["program"].as_str().unwrap();
    assert!(
        program.starts_with("call(0x") && program.contains("<= slot(0x"),
        "{program}"
    );
    assert_eq!(
        view["contract"].as_str().unwrap().to_lowercase(),
        format!("{:#x}", seen::VAULT)
    );

    let (version, set) = world.store.invariant_set().await.unwrap();
    let sources: Vec<String> = set.watched()[0].sources().into_iter().map(|(label, _)| label).collect();
    assert_eq!(
        (version, sources),
        (
            1,
            vec!["vault.totalSupply()".to_owned(), "vault.totalAssets".to_owned()]
        )
    );
    let streamed = world.store.invariants().await.unwrap();
    assert_eq!(
        streamed[0].invariant,
        set.watched()[0],
        "what is stored is what is streamed"
    );

    // The original's clients know slots only.
    assert_eq!(world.get("/invariants").await.1, json!([]));
    let original = format!("/invariants/{id}");
    assert_eq!(world.get(&original).await.0, 404);
    let slot = json!({ "contract": VAULT, "type": "<", "target": "9", "storage": "0x5" });
    assert_eq!(world.ask(Method::PUT, &original, Some(slot.clone())).await.0, 404);
    assert_eq!(world.ask(Method::DELETE, &original, None).await.0, 404);

    // Either form may take the place of the other.
    let path = format!("/v1/invariants/{id}");
    let tag = world
        .send("", Method::GET, &path, None, &[])
        .await
        .header("etag")
        .to_owned();
    let match_it = [("if-match", tag.as_str())];
    let put = world
        .send(&world.key, Method::PUT, &path, Some(solvency()), &match_it)
        .await;
    assert_eq!((put.status, &put.body["storage"]), (200, &json!("0x0")));
    assert_eq!(world.get(&original).await.0, 200);
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
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{problem}"
        );
    }
    let path = format!("/v1/contracts/{id}");
    let seen = world.send("", Method::GET, &path, None, &[]).await;
    assert_eq!((&seen.body["layout"], &seen.body["name"]), (&layout(), &json!("vault")));
    let mut body = vault();
    body["name"] = json!("safe");
    let tag = [("if-match", seen.header("etag"))];
    let changed = world
        .send(&world.key, Method::PUT, &path, Some(body.clone()), &tag)
        .await;
    assert_eq!((changed.status, &changed.body["name"]), (200, &json!("safe")));
    body["address"] = json!(VAULT);
    let any = [("if-match", "*")];
    assert_eq!(
        world
            .send(&world.key, Method::PUT, &path, Some(body), &any)
            .await
            .status,
        409
    );
    assert_eq!(world.ask(Method::DELETE, &path, None).await.0, 204);
    world.make("/v1/contracts", vault()).await;
}

#[tokio::test]
async fn a_list_is_walked_page_by_page() {
    let world = World::new().await;
    for n in 0..7 {
        world.make("/v1/invariants", floor(&n.to_string())).await;
    }
    let (mut path, mut ids, mut pages) = ("/v1/invariants?limit=3".to_owned(), Vec::new(), 0);
    loop {
        let page = world.send("", Method::GET, &path, None, &[]).await;
        pages += 1;
        ids.extend(
            page.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["id"].as_u64().unwrap()),
        );
        let link = page.header("link").to_owned();
        let next = link
            .split(", ")
            .find_map(|link| link.strip_suffix(">; rel=\"next\"")?.strip_prefix('<'));
        let Some(next) = next else { break };
        next.clone_into(&mut path);
    }
    assert_eq!((ids, pages), ((1..=7).collect::<Vec<u64>>(), 3));
    for path in [
        "/v1/invariants?limit=0",
        "/v1/invariants?limit=501",
        "/v1/incidents?after=x",
    ] {
        let (status, problem) = world.get(path).await;
        assert_eq!((status, &problem["status"]), (422, &json!(422)), "{path}: {problem}");
    }
}

#[tokio::test]
async fn before_it_is_in_force_it_is_tried_on_what_was_seen() {
    let world = World::new().await;
    seen::log(&world.store, &[(1_000, 900), (1_000, 50), (60, 40), (60, 500)]).await;
    world.make("/v1/contracts", vault()).await;
    let (status, run) = world
        .ask_with("", Method::POST, "/v1/invariants/dry-run", Some(solvency()))
        .await;
    assert_eq!(status, 200, "{run}");
    let count = |field: &str| run[field].as_u64().unwrap();
    assert_eq!(
        (
            count("transactions"),
            count("violated"),
            count("kept"),
            count("stayed_broken"),
            count("restored")
        ),
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
    let mut more =
        json!({ "name": "x", "expression": "vault.totalAssets * 2 >= pre(vault.totalAssets)", "transactions": 2 });
    let (status, run) = world.post("/v1/invariants/dry-run", more.clone()).await;
    assert_eq!(
        (status, &run["transactions"], &run["violated"]),
        (200, &json!(2), &json!(0)),
        "{run}"
    );
    more["transactions"] = json!(500);
    assert_eq!(
        world.post("/v1/invariants/dry-run", more.clone()).await.1["violated"],
        1
    );
    let elsewhere = json!({ "contract": VAULT, "type": "<", "target": "1", "storage": "0x5" });
    assert_eq!(world.post("/v1/invariants/dry-run", elsewhere).await.1["untouched"], 4);
    // What the transactions did not read is not known, and is not taken for zero.
    let unread = json!({ "name": "x", "expression": format!("vault.totalAssets >= slot({VAULT}, 0x1)") });
    let (_, run) = world.post("/v1/invariants/dry-run", unread).await;
    assert_eq!(run["undecided"], 4, "{run}");
    assert!(
        run["reasons"][0]["reason"].as_str().unwrap().contains("missing"),
        "{run}"
    );
    more["transactions"] = json!(0);
    assert_eq!(world.post("/v1/invariants/dry-run", more).await.0, 422);
    assert_eq!(world.store.invariant_set().await.unwrap().0, 0, "nothing was changed");
    assert!(
        world
            .store
            .audited(None, 10)
            .await
            .unwrap()
            .iter()
            .all(|row| !row.path.contains("dry-run"))
    );
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
    // What was looked up is kept for half a second.
    let look = async || world.get("/v1/values/1").await;
    let (_, one) = until("the value is known", look, |(_, one)| !one["value"].is_null()).await;
    assert_eq!(
        (&one["value"], &one["margin"], &one["holds"], &one["block"]),
        (&json!("60"), &json!("-40"), &json!(false), &json!(99))
    );
    let (_, all) = world.get("/v1/values").await;
    assert_eq!((&all["items"][0], &all["items"][1]["value"]), (&one, &Value::Null));
    assert_eq!(world.get("/v1/values/9").await.0, 404);
}
