//! Nobody's change is written over: what was read is what is changed, or nothing is.

use futures::future::join_all;
use platform::store::{CatalogError, DescribeError, Kind, Relation};
use reqwest::Method;
use serde_json::{Value, json};

use super::registry::{floor, vault};
use crate::served::World;

fn is_unknown(change: &Result<(), DescribeError>, what: Kind) -> bool {
    matches!(change, Err(DescribeError::Catalog(CatalogError::Unknown(kind, _))) if *kind == what)
}

#[tokio::test]
async fn of_many_who_change_what_they_have_read_one_does_and_the_others_are_told() {
    let world = World::new().await;
    let id = world.make("/v1/contracts", vault()).await;
    let path = format!("/v1/contracts/{id}");
    for round in 0..5 {
        let seen = world.send("", Method::GET, &path, None, &[]).await;
        let tag = [("if-match", seen.header("etag"))];
        let (path, world) = (path.as_str(), &world);
        let change = async |n: u32| {
            let mut body = vault();
            body["name"] = json!(format!("vault_{round}_{n}"));
            world.send(&world.key, Method::PUT, path, Some(body), &tag).await
        };
        let answers = join_all((0..16).map(change)).await;
        let taken: Vec<&Value> = answers
            .iter()
            .filter(|one| one.status == 200)
            .map(|one| &one.body["name"])
            .collect();
        let late = answers.iter().filter(|one| one.status == 412).count();
        assert_eq!(
            (taken.len(), late),
            (1, 15),
            "{taken:?} were told that their change is made"
        );
        assert_eq!(world.get(path).await.1["name"], *taken[0]);
    }
}

#[tokio::test]
async fn what_was_changed_since_it_was_read_is_neither_written_over_nor_forgotten() {
    let world = World::new().await;
    let id = world.make("/v1/contracts", vault()).await;
    let seen = world.store.described_contract(id).await.unwrap().unwrap();
    let mut renamed = seen.description.clone().unwrap();
    renamed.name = "safe".to_owned();
    world.store.describe_contract(&seen, Some(&renamed)).await.unwrap();
    let late = world.store.describe_contract(&seen, None).await;
    assert!(
        matches!(late, Err(DescribeError::Stale(Kind::Contract, of)) if of == id),
        "{late:?}"
    );
    let late = world.store.forget_contract(&seen).await;
    assert!(matches!(late, Err(DescribeError::Stale(..))), "{late:?}");
    let now = world.store.described_contract(id).await.unwrap().unwrap();
    assert_eq!(now.description, Some(renamed));
    // What belongs to it is part of what was read.
    let invariant = world.make("/v1/invariants", floor("1")).await;
    let link = format!("/contracts/{id}/invariants/{invariant}");
    assert_eq!(world.ask(Method::POST, &link, None).await.0, 200);
    let late = world.store.forget_contract(&now).await;
    assert!(matches!(late, Err(DescribeError::Stale(..))), "{late:?}");
    let now = world.store.described_contract(id).await.unwrap().unwrap();
    world.store.forget_contract(&now).await.unwrap();
    let gone = world.store.forget_contract(&now).await;
    assert!(is_unknown(&gone, Kind::Contract), "{gone:?}");
}

#[tokio::test]
async fn an_invariant_that_was_changed_since_it_was_read_is_neither_replaced_nor_taken_away() {
    let world = World::new().await;
    let id = world.make("/v1/invariants", floor("1")).await;
    let pause = world
        .make(
            "/defense-actions",
            json!({ "type": "PAUSE_AGENT", "network": "ethereum" }),
        )
        .await;
    let read = async || world.store.described_one(id).await.unwrap().unwrap();
    let tag = async || {
        let answer = world
            .send("", Method::GET, &format!("/v1/invariants/{id}"), None, &[])
            .await;
        answer.header("etag").to_owned()
    };
    let drafts = platform::registry::parse(&floor("2").to_string()).unwrap();
    let seen = read().await;
    let version = async || world.store.invariant_set_version().await.unwrap();

    // Its actions alone are another: whoever has not seen them does not decide over them.
    world.store.replace_described(&seen, &drafts[0], &[]).await.unwrap();
    let (bare, tag_of_bare) = (read().await, tag().await);
    world
        .store
        .replace_described(&bare, &drafts[0], &[pause])
        .await
        .unwrap();
    let armed = read().await;
    assert_eq!((&armed.row, &armed.actions), (&bare.row, &vec![pause]));
    assert_ne!(tag().await, tag_of_bare);
    let before = version().await;
    for seen in [&seen, &bare] {
        let late = world.store.replace_described(seen, &drafts[0], &[]).await;
        assert!(
            matches!(late, Err(DescribeError::Stale(Kind::Invariant, of)) if of == id),
            "{late:?}"
        );
        let late = world.store.remove_described(seen).await;
        assert!(
            matches!(late, Err(DescribeError::Stale(Kind::Invariant, of)) if of == id),
            "{late:?}"
        );
    }
    let unknown = world.store.replace_described(&armed, &drafts[0], &[pause + 1]).await;
    assert!(is_unknown(&unknown, Kind::Action), "{unknown:?}");
    assert_eq!(
        (version().await, read().await),
        (before, armed.clone()),
        "nothing was changed"
    );

    world.store.remove_described(&armed).await.unwrap();
    let gone = world.store.remove_described(&armed).await;
    assert!(is_unknown(&gone, Kind::Invariant), "{gone:?}");
    assert_eq!(
        (version().await, world.store.described_one(id).await.unwrap()),
        (before + 1, None)
    );
    let links = world.store.members(Relation::InvariantAction, id).await.unwrap();
    assert!(links.is_empty(), "{links:?} outlived it");
}

#[tokio::test]
async fn of_many_who_change_an_invariants_actions_or_take_it_away_one_does() {
    let world = World::new().await;
    let pause = json!({ "type": "PAUSE_AGENT", "network": "ethereum" });
    let mut actions = Vec::new();
    for _ in 0..8 {
        actions.push(world.make("/defense-actions", pause.clone()).await);
    }
    for _ in 0..3 {
        let id = world.make("/v1/invariants", floor("1")).await;
        let path = format!("/v1/invariants/{id}");
        let seen = world.send("", Method::GET, &path, None, &[]).await;
        let tag = [("if-match", seen.header("etag"))];
        let (path, world) = (path.as_str(), &world);
        // They say the same but for what happens when it is broken.
        let change = async |action: u64| {
            let mut body = floor("1");
            body["defense_action_ids"] = json!([action]);
            world.send(&world.key, Method::PUT, path, Some(body), &tag).await
        };
        let away = async || world.send(&world.key, Method::DELETE, path, None, &tag).await;
        let changes = join_all(actions.iter().map(|action| change(*action)));
        let (changes, aways) = tokio::join!(changes, join_all((0..8).map(|_| away())));
        let changed: Vec<&Value> = changes
            .iter()
            .filter(|one| one.status == 200)
            .map(|one| &one.body)
            .collect();
        let gone = aways.iter().filter(|one| one.status == 204).count();
        assert_eq!(changed.len() + gone, 1, "{changed:?}, taken away by {gone}");
        let told = |status: u16| matches!(status, 200 | 204 | 404 | 412);
        assert!(changes.iter().chain(&aways).all(|one| told(one.status)));
        match changed.as_slice() {
            [body] => assert_eq!(world.get(path).await.1, **body),
            _ => assert_eq!(world.get(path).await.0, 404),
        }
    }
}
