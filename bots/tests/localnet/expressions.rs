//! Invariants in the language, judged by the whole network: those that real attacks broke, and some that are put in force over `/v1`
//! while the network runs.

use std::collections::BTreeSet;
use std::process::Command;

use bots::localnet::report::Report;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::common::{Place, binaries, in_scenarios, real};

#[test]
fn every_invariant_that_ten_real_attacks_broke_is_confirmed_as_broken() {
    let Some(attacks) = real("exploits") else { return };
    let place = Place::new();
    let invariants = in_scenarios("exploits.invariants.toml");
    let report = place.report(&[
        "--feed",
        attacks.to_str().unwrap(),
        "--invariants",
        invariants.to_str().unwrap(),
        "--settle-epochs",
        "0",
    ]);
    assert!(report.complete);
    assert_eq!(
        (report.transactions, report.gas_mismatches, report.disputed),
        (10, 0, 0)
    );
    let broken: BTreeSet<&str> = report.incidents.iter().map(|one| one.invariant.as_str()).collect();
    assert_eq!((broken.len(), report.incidents.len()), (29, 29), "{broken:?}");
    assert_eq!(report.undecided, 0);
    for incident in &report.incidents {
        let changed = incident.readings.iter().any(|reading| reading.pre != reading.post);
        assert!(changed && !incident.readings[0].what.is_empty(), "{incident:?}");
    }
    place.assert_clean();
}

/// A client of the platform of a network that runs in this place.
struct Client {
    url: String,
    key: String,
    http: reqwest::Client,
    runtime: Runtime,
}

impl Client {
    fn new(place: &Place) -> Self {
        let [run] = place.left_behind().try_into().unwrap();
        let page = std::fs::read_to_string(run.join("platform.page")).unwrap();
        let made = Command::new(binaries().join("platform"))
            .args(["keys", "create", "test", "--role", "write", "--database"])
            .arg(run.join("platform.db"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self {
            url: format!("http://{}", page.trim()),
            key: String::from_utf8(made.stdout).unwrap().trim().to_owned(),
            http: reqwest::Client::new(),
            runtime: Runtime::new().unwrap(),
        }
    }

    fn make(&self, path: &str, body: &Value) -> Value {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .header("X-API-Key", &self.key);
        self.runtime.block_on(async {
            let response = request.json(body).send().await.unwrap();
            let (status, said) = (response.status(), response.text().await.unwrap());
            assert_eq!(status, 201, "{said}");
            serde_json::from_str(&said).unwrap()
        })
    }
}

#[test]
fn a_view_and_two_values_put_in_force_over_v1_are_found_broken_by_the_attack() {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let place = Place::new();
    // The attack is in the eighth block; the feed runs ahead by 64 transactions, of about 360 that come before.
    let [feed, _] = place.scenario_blocks(0..9);
    let nothing = place.file("none.json");
    std::fs::write(&nothing, "[]").unwrap();
    let path = place.file("report.json");
    let running = place.start(&[
        "--feed",
        &feed,
        "--invariants",
        nothing.to_str().unwrap(),
        "--pace",
        "40/s",
        "--settle-epochs",
        "0",
        "--report",
        path.to_str().unwrap(),
    ]);
    let client = Client::new(&place);
    let variable =
        |label: &str, offset: u8| json!({ "label": label, "slot": "1", "offset": offset, "type": "t_uint128" });
    let layout = json!({
        "storage": [variable("totalAssets", 0), variable("totalShares", 16)],
        "types": { "t_uint128": { "encoding": "inplace", "label": "uint128", "numberOfBytes": "16" } },
    });
    let vault = stated_vault();
    let abi = ["function totalAssets() view returns (uint128)"];
    client.make(
        "/v1/contracts",
        &json!({ "address": vault, "name": "vault", "layout": layout, "abi": abi }),
    );
    for (name, expression) in [
        ("the view", "vault.totalAssets() >= 10 ether"),
        ("two values", "vault.totalAssets + vault.totalShares >= 20 ether"),
    ] {
        let made = client.make("/v1/invariants", &json!({ "name": name, "expression": expression }));
        assert_eq!(
            (&made["storage"], &made["expression"]),
            (&Value::Null, &json!(expression))
        );
    }
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let report: Report = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let broken: BTreeSet<&str> = report.incidents.iter().map(|one| one.invariant.as_str()).collect();
    assert_eq!(
        broken,
        BTreeSet::from(["the view", "two values"]),
        "{:?}",
        report.incidents
    );
    for incident in &report.incidents {
        assert_eq!(incident.confirmations, 2, "both validators of the attack say so");
        assert!(
            incident.readings[0].what.starts_with("vault.totalAssets"),
            "{incident:?}"
        );
    }
    place.assert_clean();
}

/// The vault of the scenario.
fn stated_vault() -> String {
    let stated = std::fs::read(in_scenarios("vault-reentrancy.invariants.json")).unwrap();
    let stated: Value = serde_json::from_slice(&stated).unwrap();
    stated[0]["contract"].as_str().unwrap().to_owned()
}
