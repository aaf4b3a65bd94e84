//! What the platform serves, as it is served: encrypted, limited, backed up.

use std::path::{Path, PathBuf};
use std::process::Output;

use platform::registry;
use reqwest::StatusCode;
use testkit::process::Running;
use testkit::until;

use crate::world::{NOWHERE, open, platform, read_all, recording, run_alone};

fn output(args: &[&str]) -> Output {
    platform(args).output().unwrap()
}

/// A platform process with a registry over HTTP.
struct World {
    grpc: String,
    http: String,
    _running: Running,
}

impl World {
    async fn start(folder: &Path, scheme: &str, args: &[&str]) -> Self {
        let http_ready = folder.join("http-ready");
        let mut command = run_alone(&["--http", "127.0.0.1:0", "--log", "error", "--feed"]);
        command
            .arg(format!("replay:{}", recording(folder).display()))
            .arg("--database")
            .arg(folder.join("platform.db"))
            .arg("--http-ready-file")
            .arg(&http_ready)
            .args(args);
        let running = Running::start(command.into(), folder).await;
        let http = async || std::fs::read_to_string(&http_ready);
        let http = until("HTTP is served", http, Result::is_ok).await.unwrap();
        Self {
            grpc: format!("{scheme}://{}", running.address),
            http: format!("{scheme}://{http}"),
            _running: running,
        }
    }
}

/// A certificate for this machine, and its key.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    (certificate, key)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn grpc_and_http_are_encrypted_by_one_certificate_and_nobody_else_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate_file, key) = certificate(folder.path(), "ours");
    let (strangers, strangers_key) = certificate(folder.path(), "strangers");
    let tls = ["--tls-certificate", text(&certificate_file), "--tls-key", text(&key)];
    let world = World::start(folder.path(), "https", &tls).await;

    let status = |ca: &Path, address: &str| output(&["status", "--json", "--platform", address, "--ca", text(ca)]);
    let known = status(&certificate_file, &world.grpc);
    assert!(known.status.success(), "{known:?}");
    assert!(String::from_utf8_lossy(&known.stdout).contains("last_cursor"));
    assert_eq!(status(&strangers, &world.grpc).status.code(), Some(3));
    let plain = world.grpc.replace("https", "http");
    assert_eq!(output(&["status", "--platform", &plain]).status.code(), Some(3));

    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let client = |pem: &Path| {
        let root = reqwest::Certificate::from_pem(&std::fs::read(pem).unwrap()).unwrap();
        reqwest::Client::builder().tls_certs_only([root]).build().unwrap()
    };
    let welcome = client(&certificate_file).get(&world.http).send().await.unwrap();
    assert_eq!(welcome.status(), StatusCode::OK);
    assert!(client(&strangers).get(&world.http).send().await.is_err());
    let unencrypted = client(&certificate_file)
        .get(world.http.replace("https", "http"))
        .send()
        .await;
    assert!(unencrypted.is_err(), "nothing is told in the clear");

    // A key of another certificate is noticed before anything is served.
    let feed = format!("replay:{}", recording(folder.path()).display());
    let check = ["run", "--check", "--ledger", NOWHERE, "--feed", &feed];
    let mixed = [
        "--tls-certificate",
        text(&certificate_file),
        "--tls-key",
        text(&strangers_key),
    ];
    let refused = output(&[check.as_slice(), mixed.as_slice()].concat());
    let line = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{line}");
    assert!(line.contains("tls.key") && line.contains("strangers.key"), "{line}");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[http.limits]\nper_address = 1\nburst_seconds = 5\n").unwrap();
    let world = World::start(folder.path(), "http", &["--config", text(&config)]).await;
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let mut refused = None;
    for _ in 0..20 {
        let answer = client.get(&world.http).send().await.unwrap();
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), StatusCode::OK);
    }
    let refused = refused.expect("twenty requests at once are more than five");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    let body: serde_json::Value = refused.json().await.unwrap();
    assert!(body["detail"].as_str().unwrap().contains("too many requests"), "{body}");
}

#[tokio::test]
async fn a_backup_is_whole_while_the_platform_writes_and_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let draft = r#"{"contract":"0x1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d","type":">=","target":"1","storage":"0x0"}"#;
    let drafts = registry::parse(draft).unwrap();
    store.publish_first_set().await.unwrap();
    let (database, copies) = (folder.path().join("platform.db"), folder.path().join("copies"));
    std::fs::create_dir(&copies).unwrap();
    let copy = |name: &str| copies.join(name).join("platform.db");
    let back_up = |to: &Path| {
        let mut command = platform(&["backup", "--database", text(&database), text(to)]);
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    // Ten copies, each of one moment between changes that never stop.
    let writing = async {
        let mut versions = 0;
        loop {
            store.add_invariants(&drafts).await.unwrap();
            versions += 1;
            tokio::task::yield_now().await;
            if versions > 10_000 {
                return;
            }
        }
    };
    let copying = async {
        for n in 0..10 {
            let to = copy(&n.to_string());
            std::fs::create_dir(to.parent().unwrap()).unwrap();
            let done = back_up(&to).await.unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    };
    tokio::select! {
        () = writing => panic!("the copies took longer than ten thousand changes"),
        () = copying => {}
    }
    let mut before = 0;
    for n in 0..10 {
        let copied = platform::store::Store::open(&copy(&n.to_string())).await.unwrap();
        let (version, set) = copied.invariant_set().await.unwrap();
        let logged = read_all(&copied, &[9; 32]).await;
        // One version for each change, one item for each version, and the first set.
        assert_eq!((set.len() as u64, logged.len() as u64), (version, version + 1));
        assert!(version >= before, "a later copy is of a later moment");
        before = version;
    }
    assert!(before > 0);
    let again = back_up(&copy("0")).await.unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("is there already"),
        "{again:?}"
    );
}

#[test]
fn the_configuration_in_the_guide_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "platform");
    let guide = include_str!("../../../docs/platform.md");
    let configuration = guide.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::write(folder.path().join("platform.toml"), configuration).unwrap();
    // What it names and is not here.
    let feed = format!("replay:{}", recording(folder.path()).display());
    let here = ["--feed", &feed, "--database", "platform.db"];
    let check = |configuration: &str| {
        let mut command = platform(&["run", "--check", "--config", configuration]);
        let secret = ("SECRETS_KEY", "11".repeat(32));
        command.args(here).current_dir(folder.path()).env(secret.0, secret.1);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check("platform.toml").0, Some(0), "{:?}", check("platform.toml"));
    let wrong = configuration.replace("replicas", "replicaz");
    std::fs::write(folder.path().join("wrong.toml"), wrong).unwrap();
    let (code, said) = check("wrong.toml");
    assert!(code == Some(2) && said.contains("replicaz"), "{said}");
}
