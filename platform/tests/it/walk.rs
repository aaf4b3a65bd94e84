//! The REST contract walked by a client that knows only the document (`/openapi.json`): every row of the original's table is called with
//! what the document says, and every endpoint with what it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use platform::rest::key::{Role, make};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::served::World;

/// The rows of the original's contract.
const TABLE: [&str; 27] = [
    "get /",
    "get /invariants",
    "post /invariants",
    "get /invariants/{}",
    "put /invariants/{}",
    "delete /invariants/{}",
    "get /contracts",
    "post /contracts",
    "get /contracts/{}",
    "put /contracts/{}",
    "delete /contracts/{}",
    "get /defense-actions",
    "post /defense-actions",
    "get /defense-actions/{}",
    "put /defense-actions/{}",
    "delete /defense-actions/{}",
    "get /dashboards",
    "post /dashboards",
    "get /dashboards/{}",
    "put /dashboards/{}",
    "delete /dashboards/{}",
    "post /dashboards/{}/contracts/{}",
    "delete /dashboards/{}/contracts/{}",
    "post /contracts/{}/invariants/{}",
    "delete /contracts/{}/invariants/{}",
    "post /invariants/{}/defense-actions/{}",
    "delete /invariants/{}/defense-actions/{}",
];

/// What `DELETE` says.
const DELETED: [(&str, &str); 4] = [
    ("/invariants", "Invariant deleted"),
    ("/contracts", "Contract deleted"),
    ("/defense-actions", "Defense Action deleted"),
    ("/dashboards", "Dashboard deleted"),
];

/// An operation of the document.
#[derive(Debug, Clone)]
struct Operation {
    method: Method,
    path: String,
    document: Value,
}

impl Operation {
    /// With the parameters' names left out.
    fn row(&self) -> String {
        let steps = self
            .path
            .split('/')
            .map(|step| if step.starts_with('{') { "{}" } else { step });
        let path = Vec::from_iter(steps).join("/");
        format!("{} {path}", self.method.as_str().to_lowercase())
    }

    /// With these numbers in their places.
    fn at(&self, numbers: &[&str]) -> String {
        let mut numbers = numbers.iter();
        let steps = self.path.split('/').map(|step| {
            if step.starts_with('{') {
                *numbers.next().unwrap()
            } else {
                step
            }
        });
        Vec::from_iter(steps).join("/")
    }

    fn parameters(&self) -> usize {
        self.path.matches('{').count()
    }

    fn body(&self) -> Option<&Value> {
        self.document.pointer("/requestBody/content/application~1json/schema")
    }
}

/// A client of the document.
struct Client {
    document: Value,
    runner: TestRunner,
}

impl Client {
    async fn new(world: &World) -> Self {
        Self {
            document: world.get("/openapi.json").await.1,
            runner: TestRunner::deterministic(),
        }
    }

    fn operations(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (path, methods) in self.document["paths"].as_object().unwrap() {
            for (method, document) in methods.as_object().unwrap() {
                operations.push(Operation {
                    method: method.to_uppercase().parse().unwrap(),
                    path: path.clone(),
                    document: document.clone(),
                });
            }
        }
        operations
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => self.document.pointer(name.strip_prefix('#').unwrap()).unwrap(),
            None => schema,
        }
    }

    /// The properties of a schema, of those it is made of too, and which of them must be there.
    fn properties(&self, schema: &Value) -> (Map<String, Value>, BTreeSet<String>) {
        let schema = self.resolved(schema);
        let mut properties = schema["properties"].as_object().cloned().unwrap_or_default();
        let names = schema["required"].as_array().into_iter().flatten();
        let mut required: BTreeSet<String> = names.map(|name| name.as_str().unwrap().to_owned()).collect();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let (more, needed) = self.properties(part);
            properties.extend(more);
            required.extend(needed);
        }
        (properties, required)
    }

    /// A value that the schema allows.
    fn value(&mut self, schema: &Value) -> Value {
        let schema = self.resolved(schema).clone();
        if let Some(pattern) = schema["pattern"].as_str() {
            let strategy =
                proptest::string::string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap();
            return strategy.new_tree(&mut self.runner).unwrap().current().into();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").unwrap(),
            kind => kind,
        };
        match kind.as_str() {
            Some("string") => json!("a text"),
            Some("integer" | "number") => json!(1),
            Some("boolean") => json!(true),
            Some("array") => json!([]),
            Some("object") => json!({}),
            other => panic!("a schema of type {other:?}: {schema}"),
        }
    }

    /// A body with what must be there.
    fn body(&mut self, schema: &Value) -> Value {
        let (properties, required) = self.properties(schema);
        let fields = required.into_iter().map(|name| {
            let value = self.value(&properties[&name]);
            (name, value)
        });
        Value::Object(fields.collect())
    }

    /// Calls an operation with bodies that the document allows, until one is taken: what a field allows may still not fit another field,
    /// and then the answer says which.
    async fn taken(&mut self, world: &World, operation: &Operation, path: &str) -> Value {
        for _ in 0..200 {
            let body = operation.body().cloned().map(|schema| self.body(&schema));
            let (status, answer) = world.ask(operation.method.clone(), path, body.clone()).await;
            if status == 422 {
                assert!(answer["detail"][0]["loc"].is_array(), "{answer}");
                continue;
            }
            assert_eq!(status, 200, "{} {path} {body:?}: {answer}", operation.method);
            self.fits(operation, &answer);
            return answer;
        }
        panic!("{} takes nothing that the document allows", operation.row());
    }

    /// The answer has every field that the document says it has.
    fn fits(&self, operation: &Operation, answer: &Value) {
        let schema = operation
            .document
            .pointer("/responses/200/content/application~1json/schema")
            .unwrap();
        let list = schema["items"].is_object();
        let schema = if list { &schema["items"] } else { schema };
        let answers = if list {
            answer.as_array().unwrap().clone()
        } else {
            vec![answer.clone()]
        };
        let (properties, required) = self.properties(schema);
        for answer in answers {
            let fields: BTreeSet<String> = answer.as_object().unwrap().keys().cloned().collect();
            assert!(required.is_subset(&fields), "{}: {answer}", operation.row());
            assert!(
                fields.iter().all(|field| properties.contains_key(field)),
                "{}: {answer}",
                operation.row()
            );
        }
    }
}

#[tokio::test]
async fn every_row_of_the_originals_table_does_what_the_document_says() {
    let world = World::new().await;
    let mut client = Client::new(&world).await;
    let operations: BTreeMap<String, Operation> = client
        .operations()
        .into_iter()
        .filter(|operation| !operation.path.starts_with("/v1"))
        .map(|operation| (operation.row(), operation))
        .collect();
    assert_eq!(
        operations.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(TABLE),
        "the document has the rows of the table and no others"
    );
    let mut walked = BTreeSet::new();
    let mut call = async |row: &str, numbers: &[&str]| {
        let operation = &operations[row];
        walked.insert(row.to_owned());
        client.taken(&world, operation, &operation.at(numbers)).await
    };
    assert!(call("get /", &[]).await["message"].is_string());
    let mut ids = BTreeMap::new();
    for (resource, _) in DELETED {
        let made = call(&format!("post {resource}"), &[]).await;
        let id = made["id"].to_string();
        let read = call(&format!("get {resource}/{{}}"), &[&id]).await;
        assert_eq!(read["id"], made["id"]);
        let listed = call(&format!("get {resource}"), &[]).await;
        assert!(listed.as_array().unwrap().iter().any(|one| one["id"] == made["id"]));
        let changed = call(&format!("put {resource}/{{}}"), &[&id]).await;
        assert_eq!(changed["id"], made["id"]);
        ids.insert(resource, id);
    }
    for (owner, member, list) in [
        ("/dashboards", "/contracts", "contract_ids"),
        ("/contracts", "/invariants", "invariant_ids"),
        ("/invariants", "/defense-actions", "defense_action_ids"),
    ] {
        let numbers = [ids[owner].as_str(), ids[member].as_str()];
        for (method, count) in [("post", 1), ("delete", 0)] {
            for _ in 0..2 {
                call(&format!("{method} {owner}/{{}}{member}/{{}}"), &numbers).await;
                let now = call(&format!("get {owner}/{{}}"), &[&ids[owner]]).await;
                assert_eq!(now[list].as_array().unwrap().len(), count, "{method} {owner}: {now}");
            }
        }
    }
    for (resource, message) in DELETED {
        let id = &ids[resource];
        let said = call(&format!("delete {resource}/{{}}"), &[id]).await;
        assert_eq!(said["message"], message);
        assert_eq!(world.get(&format!("{resource}/{id}")).await.0, 404);
    }
    assert_eq!(walked, operations.keys().cloned().collect(), "every row was walked");
}

/// All that people can change.
async fn everything(world: &World) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/invariants",
        "/contracts",
        "/defense-actions",
        "/dashboards",
        "/v1/invariants",
        "/v1/contracts",
        "/v1/services",
        "/v1/keys",
    ] {
        all.push(world.ask_with(&world.admin, Method::GET, path, None).await.1);
    }
    all
}

#[tokio::test]
async fn nothing_that_does_not_fit_changes_anything_at_any_endpoint() {
    let world = World::with(None).await;
    let client = Client::new(&world).await;
    let operations = client.operations();
    assert!(operations.len() > TABLE.len() + 20);
    let revoked = make(&world.store, "revoked", Role::Admin).await.unwrap().to_string();
    let id = world.store.keys(None).await.unwrap().last().unwrap().id;
    world.store.revoke_key(id).await.unwrap();
    let reader = make(&world.store, "reader", Role::Read).await.unwrap().to_string();
    let mut wrong = world.admin.clone();
    wrong.replace_range(wrong.len() - 4.., "0000");
    let before = everything(&world).await;
    let (mut refused, mut bodies) = (0, 0);
    for operation in &operations {
        let row = operation.row();
        let ask = async |key: &str, numbers: &[&str], body: Option<Value>| {
            let path = operation.at(numbers);
            let answer = world
                .send(key, operation.method.clone(), &path, body, &[("if-match", "*")])
                .await;
            assert!(answer.status < 500, "{row}: {}", answer.body);
            (answer.status, answer.body)
        };
        let ones = vec!["1"; operation.parameters()];
        for key in ["", "pk_00000000_00", "x", &wrong, &revoked] {
            assert_eq!(ask(key, &ones, None).await.0, 401, "{row} with the key {key:?}");
            refused += 1;
        }
        let safe = operation.method == Method::GET || row.contains("/check") || row.contains("/dry-run");
        if !safe {
            assert_eq!(ask(&reader, &ones, None).await.0, 403, "{row}");
        }
        if operation.parameters() > 0 {
            for number in ["x", "-1", "1.5", "99999999999999999999", "%27%3B--", "%3Cscript%3E"] {
                let numbers = vec![number; operation.parameters()];
                assert_eq!(ask(&world.admin, &numbers, None).await.0, 422, "{row} at {number}");
            }
            let nowhere = vec!["4711"; operation.parameters()];
            if operation.body().is_none() {
                assert_eq!(ask(&world.admin, &nowhere, None).await.0, 404, "{row}");
            }
        }
        let Some(schema) = operation.body() else { continue };
        for text in ["", "{", "[]", "null", "\"x\"", "7", "{\"a\":1}{", "\u{0}"] {
            let request = world
                .client
                .request(operation.method.clone(), world.url(&operation.at(&ones)));
            let request = request.header("X-API-Key", &world.admin).header("if-match", "*");
            let status = request.body(text).send().await.unwrap().status().as_u16();
            let nowhere = operation.parameters() > 0 && status == 404;
            assert!(matches!(status, 400 | 422) || nowhere, "{row} with {text:?}: {status}");
            bodies += 1;
        }
        if operation.parameters() > 0 || row.contains("/check") {
            continue;
        }
        // Each field with values of every kind but its own.
        let (properties, _) = client.properties(schema);
        for (name, property) in &properties {
            let property = client.resolved(property);
            let kinds = property["type"].to_string();
            for (kind, value) in [
                ("string", json!("\u{0}")),
                ("integer", json!(-3)),
                ("boolean", json!(true)),
                ("object", json!({ "a": [] })),
                ("array", json!([[["x"]]])),
            ] {
                // A text with NUL fits no field; every other value fits those of its kind, and of those without one.
                if kind != "string" && (kinds.contains(kind) || property["type"].is_null()) {
                    continue;
                }
                let body = json!({ name.as_str(): value });
                let (status, answer) = ask(&world.admin, &ones, Some(body.clone())).await;
                assert_eq!(status, 422, "{row} with {body}: {answer}");
                bodies += 1;
            }
        }
    }
    assert_eq!(everything(&world).await, before, "nothing was changed");
    println!(
        "{} endpoints, {refused} requests with bad keys, {bodies} with bad bodies",
        operations.len()
    );
}

/// The status of what comes back on a connection on which this was sent; what is sent stays open.
async fn status_of(world: &World, sent: &[u8]) -> u16 {
    let mut socket = tokio::net::TcpStream::connect(world.address).await.unwrap();
    socket.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while !answer.windows(2).any(|end| end == b"\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(60), socket.read(&mut part))
            .await
            .unwrap()
            .unwrap();
        assert!(read > 0, "closed without an answer");
        answer.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&answer)
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn a_body_that_is_too_large_or_too_slow_is_refused_at_every_endpoint() {
    let world = World::limited(Some(Role::Read), Duration::from_secs(4)).await;
    let client = Client::new(&world).await;
    let before = everything(&world).await;
    let with_body = client
        .operations()
        .into_iter()
        .filter(|operation| operation.body().is_some());
    let mut slow = tokio::task::JoinSet::new();
    let world = std::sync::Arc::new(world);
    let mut count = 0;
    for operation in with_body {
        count += 1;
        let world = std::sync::Arc::clone(&world);
        slow.spawn(async move {
            let path = operation.at(&vec!["1"; operation.parameters()]);
            let head = |length: &str| {
                format!(
                    "{} {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nif-match: *\r\ncontent-type: application/json\r\n{length}\r\n\r\n",
                    operation.method, world.admin
                )
            };
            let row = operation.row();
            let large = head("content-length: 2097152");
            assert_eq!(status_of(&world, large.as_bytes()).await, 413, "{row}");
            let mut endless = head("transfer-encoding: chunked").into_bytes();
            endless.extend_from_slice(format!("{:x}\r\n", 2 << 20).as_bytes());
            endless.extend(vec![b' '; 2 << 20]);
            endless.extend_from_slice(b"\r\n0\r\n\r\n");
            assert_eq!(status_of(&world, &endless).await, 413, "{row}");
            let slow = head("content-length: 100") + "{\"name\":";
            assert_eq!(status_of(&world, slow.as_bytes()).await, 408, "{row}");
        });
    }
    while let Some(ended) = slow.join_next().await {
        ended.unwrap();
    }
    assert!(count >= 16, "{count} endpoints take a body");
    assert_eq!(everything(&world).await, before, "nothing was changed");
}
