//! The validator and its defence over a crash: what was confirmed is alerted of exactly once, and reported once.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chain::Metagraph;
use protos::v1::{IncidentTimeline, ReportRequest};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use validator::config::Config;
use validator::defend::Defender;
use validator::intake::Item;
use validator::judge::Judge;
use validator::store::Store;

use crate::world::{self, KEEPER_OF_VALUE, item};

const PATIENCE: Duration = Duration::from_secs(60);

/// A validator that judges by its own engine alone, with its defence at work.
pub(crate) struct Validator {
    pub(crate) judge: Arc<Judge>,
    store: Store,
    running: tokio::task::JoinHandle<()>,
    shutdown: CancellationToken,
}

impl Validator {
    pub(crate) async fn start(folder: &Path, hook: &str) -> Self {
        let config = config(folder, hook);
        let store = Store::open(&config.database).await.unwrap();
        let reports = Arc::new(Notify::new());
        let (defender, background) = Defender::open(&config, store.clone(), Arc::clone(&reports))
            .await
            .unwrap()
            .unwrap();
        let defender = Arc::new(defender);
        let shutdown = CancellationToken::new();
        let running = Arc::clone(&defender).run(background, shutdown.clone());
        let running = tokio::spawn(async move { running.await.unwrap() });
        let mut judge = world::judge(&store, KEEPER_OF_VALUE, Metagraph::new(1, 10, Vec::new())).await;
        judge.defender = Some(defender);
        judge.reports = reports;
        Self {
            judge: Arc::new(judge),
            store,
            running,
            shutdown,
        }
    }

    /// What the platform will be told, once a timeline is as it is waited for.
    pub(crate) async fn told(&self, awaited: impl Fn(&IncidentTimeline) -> bool) -> ReportRequest {
        let told = async {
            loop {
                let outbox = self.store.outbox(100).await.unwrap().request;
                if outbox.timelines.iter().any(&awaited) {
                    return outbox;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told)
            .await
            .expect("the platform is told")
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

fn config(folder: &Path, hook: &str) -> Config {
    let hook = json!({
        "id": "hook", "kind": "webhook", "url": hook, "secret": "sixteen letters and more",
        "retry": { "base": "100ms", "max": "300ms", "attempt": "5s", "total": "10m" },
    });
    serde_json::from_value(json!({
        "platform": "http://127.0.0.1:1", "ledger": "http://127.0.0.1:1", "database": folder.join("validator.db"),
        "defence": { "source": "validator-7", "actions": [hook] },
        "severity": { "default": "medium", "invariants": { "9": "critical" } },
    }))
    .unwrap()
}

/// A transaction that makes the contract store 6, where at most 5 are allowed.
fn attack() -> Item {
    item(1, KEEPER_OF_VALUE, 6)
}

/// Takes alerts, and keeps them.
#[derive(Clone, Default)]
struct Hook(Arc<watch::Sender<Vec<Value>>>);

impl Hook {
    async fn serve(&self, listener: std::net::TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let alerts = self.clone();
        let take = move |body: axum::Json<Value>| async move {
            alerts.0.send_modify(|taken| taken.push(body.0));
        };
        let router = axum::Router::new().route("/hook", axum::routing::post(take));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }

    async fn until(&self, count: usize) -> Vec<Value> {
        let mut taken = self.0.subscribe();
        let enough = taken.wait_for(|taken| taken.len() >= count);
        let taken = tokio::time::timeout(PATIENCE, enough)
            .await
            .expect("the alert came")
            .unwrap();
        taken.clone()
    }
}

/// The process that is killed: it judges the attack, says so, and lives on.
#[test]
#[ignore = "started by the story below, as a process of its own"]
fn the_process_that_is_killed() {
    let folder = PathBuf::from(std::env::var("VALIDATOR_TEST_FOLDER").unwrap());
    let hook = std::env::var("VALIDATOR_TEST_HOOK").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let validator = Validator::start(&folder, &hook).await;
        // Judged, and not yet recorded as judged: after the crash the platform's stream brings it again.
        validator.judge.judge(attack()).await.unwrap();
        eprintln!("confirmed");
        std::future::pending::<()>().await;
    });
}

fn start(folder: &Path, hook: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "defence::the_process_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("VALIDATOR_TEST_FOLDER", folder)
        .env("VALIDATOR_TEST_HOOK", hook)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_confirmation_and_alert_it_alerts_exactly_once_after_all() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody listens there yet: no alert of the first process can arrive.
    let place = testkit::Port::free();
    let url = format!("http://{}/hook", place.address());
    let mut first = start(folder.path(), &url);
    let mut said = BufReader::new(first.stderr.take().unwrap()).lines();
    while !said.next().expect("it confirms").unwrap().contains("confirmed") {}
    first.kill().unwrap();
    assert!(!first.wait().unwrap().success());

    let hook = Hook::default();
    hook.serve(std::net::TcpListener::bind(place.address()).unwrap()).await;
    let validator = Validator::start(folder.path(), &url).await;
    let alerts = hook.until(1).await;
    assert_eq!(alerts[0]["severity"], "CRITICAL");
    assert_eq!(alerts[0]["suspects"][0]["post"], "6");

    // The item comes again, since it was not recorded; it is known, and so are its incident and its alert.
    let judged = validator.judge.judge(attack()).await.unwrap();
    assert!(judged.arbitrated);
    validator.store.record(&[judged], 1).await.unwrap();
    let sent = |told: &IncidentTimeline| told.timeline.iter().any(|moment| moment.moment == "sent");
    let outbox = validator.told(sent).await;
    assert_eq!(outbox.incidents.len(), 1, "one report for the platform");
    assert_eq!((outbox.incidents[0].invariant_id, outbox.transactions.len()), (9, 1));
    let last = outbox.timelines.last().unwrap();
    let moments: Vec<&str> = last.timeline.iter().map(|moment| moment.moment.as_str()).collect();
    for moment in ["seen", "judged", "confirmed", "fired", "sent"] {
        assert!(moments.contains(&moment), "{moment} is not in {moments:?}");
    }
    assert_eq!(last.suspects.len(), 1);
    validator.stop().await;

    // And a third start finds nothing left to do.
    let validator = Validator::start(folder.path(), &url).await;
    validator.judge.judge(attack()).await.unwrap();
    validator.stop().await;
    assert_eq!(hook.0.borrow().len(), 1, "exactly one alert");
}
