//! Payees are proposed from the metagraph of a served ledger.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use chain::local::params::Overrides;
use chain::local::service::LedgerService;
use chain::local::{LocalLedger, Opening};
use chain::{Keypair, Ledger as _, RemoteLedger, auth, wire};
use tokio_util::sync::CancellationToken;

const TAO: u64 = 1_000_000_000;

fn pair(n: u8) -> Keypair {
    Keypair::from_seed([n; 32])
}

/// A subnet whose hotkeys 1, 2 and 3 have 1,000, 3,000 and 2,000 TAO at stake.
async fn subnet(database: &Path, shutdown: CancellationToken) -> SocketAddr {
    let overrides = Overrides {
        faucet: true,
        tempo: Some(10),
        ..Overrides::default()
    };
    let opening = Opening {
        overrides,
        owner: Some(pair(0).account()),
        endowments: vec![],
    };
    let local = LocalLedger::open(database, &opening).await.unwrap();
    let listener = node::server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = LedgerService::new(local.clone(), Duration::from_secs(12), auth::now_ns).into_server();
    let routes = tonic::service::Routes::new(service);
    tokio::spawn(async move {
        let served = node::server::serve(
            listener,
            routes,
            &[wire::SERVICE],
            protos::FILE_DESCRIPTOR_SET,
            shutdown,
        );
        served.await.unwrap();
    });
    let ledger = RemoteLedger::new(&address.to_string(), Duration::from_secs(10)).unwrap();
    local.advance().await.unwrap();
    for (hotkey, stake) in [(1, 1_000), (2, 3_000), (3, 2_000)] {
        ledger.register(&pair(hotkey)).await.unwrap();
        ledger.add_stake(&pair(hotkey), stake * TAO).await.unwrap();
    }
    for _ in 0..20 {
        local.advance().await.unwrap();
    }
    address
}

async fn payees(ledger: String, addresses: &Path, more: &[&str]) -> (i32, String, String) {
    let mut billing = Command::new(env!("CARGO_BIN_EXE_billing"));
    billing
        .args(["payees", "--ledger", &ledger, "--addresses"])
        .arg(addresses)
        .args(more);
    let run = tokio::task::spawn_blocking(move || billing.output().unwrap());
    let Output { status, stdout, stderr } = run.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn the_weightiest_validators_are_proposed_in_the_form_that_deploy_takes() {
    let home = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let ledger = format!(
        "http://{}",
        subnet(&home.path().join("ledger.db"), shutdown.clone()).await
    );
    let addresses = home.path().join("addresses.toml");
    let one = |n: u8| format!("\"{}\" = \"0x{:040x}\"\n", pair(n).account(), n);
    std::fs::write(&addresses, [one(1), one(2)].concat()).unwrap();

    let (code, out, err) = payees(ledger.clone(), &addresses, &[]).await;
    assert_eq!(code, 0, "{err}");
    assert_eq!(
        out.trim(),
        "0x0000000000000000000000000000000000000002,0x0000000000000000000000000000000000000001"
    );
    assert!(
        err.contains(&pair(3).account().to_string()),
        "whom nobody can pay is named: {err}"
    );
    let (_, out, _) = payees(ledger.clone(), &addresses, &["--top", "1", "--json"]).await;
    let one: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((one.as_array().unwrap().len(), &one[0]["uid"]), (1, &2.into()));

    std::fs::write(&addresses, "").unwrap();
    let (code, _, err) = payees(ledger.clone(), &addresses, &[]).await;
    assert!(code == 1 && err.contains("no validator"), "{err}");
    std::fs::write(&addresses, "\"5Foo\" = \"0x12\"").unwrap();
    let (code, _, err) = payees(ledger, &addresses, &[]).await;
    assert!(code == 2 && err.contains("addresses.toml"), "{err}");
    let (code, _, err) = payees("http://127.0.0.1:1".to_owned(), Path::new("/dev/null"), &[]).await;
    assert!(code == 3, "{err}");
    shutdown.cancel();
}
