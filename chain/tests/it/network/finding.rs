//! A client and an address behind which there is another ledger, a silent one, or none.

use std::path::Path;
use std::time::Duration;

use chain::auth::AuthKind;
use chain::local::served::Served;
use chain::{Ledger, LedgerError, RemoteLedger};

use testkit::Port;

use super::opening;
use crate::world::{DEADLINE, pair};

async fn served(database: &Path, port: &Port) -> Served {
    Served::open_at(database, &opening(), port.address()).await.unwrap()
}

#[tokio::test]
async fn a_client_finds_its_way_when_another_ledger_takes_the_place() {
    // Two ledgers behind one address in turn: the client learns the new id after one refused call.
    let home = tempfile::tempdir().unwrap();
    let port = Port::free();
    let first = served(&home.path().join("first.db"), &port).await;
    let remote = RemoteLedger::new(&first.url(), DEADLINE).unwrap();
    remote.register(&pair(1)).await.unwrap();
    first.stop().await.unwrap();

    let unreachable = remote.block().await.unwrap_err();
    assert!(matches!(&unreachable, LedgerError::Unavailable { endpoint, .. } if endpoint.contains("127.0.0.1")));

    let second = served(&home.path().join("second.db"), &port).await;
    let error = remote.register(&pair(1)).await.unwrap_err();
    assert!(
        matches!(
            error,
            LedgerError::Unauthenticated {
                kind: AuthKind::WrongReceiver,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(remote.register(&pair(1)).await.unwrap().uid, 1);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_silent_ledger_costs_no_more_than_the_deadline() {
    // Accepts connections and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    let ledger = RemoteLedger::new(&format!("http://{address}"), Duration::from_millis(50)).unwrap();
    let error = ledger.metagraph().await.unwrap_err();
    assert!(
        matches!(
            error,
            LedgerError::Deadline { after_ms: 50, .. } | LedgerError::Unavailable { .. }
        ),
        "{error}"
    );
    holding.abort();
}

#[test]
fn an_address_that_is_none_is_refused_at_once() {
    for url in [
        "https://127.0.0.1:1",
        "http://",
        "127.0.0.1",
        "not an address",
        "ftp://x:1",
    ] {
        let error = RemoteLedger::new(url, DEADLINE).unwrap_err().to_string();
        assert!(error.contains(url) && error.contains("http://HOST:PORT"), "{error}");
    }
}
