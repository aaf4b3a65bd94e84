//! The faucet over HTTP, and bots that ask it.

use chain::AccountId;
use community::faucet::client::{FaucetClient, FaucetError};
use community::faucet::rule::FaucetRules;
use community::faucet::service::{self, FaucetAnswer};
use community::{Community, Faucet, Founding, Home, Means};
use reqwest::StatusCode;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::common::{founded, founding, home, means, refused};

const RULES: FaucetRules = FaucetRules {
    amount: 1_000_000_000,
    allowance: 1_000_000_000,
};

struct Open {
    url: String,
    _shutdown: DropGuard,
}

async fn open(home: &Home) -> Open {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let store = community::community::store(&home.folder).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap());
    let shutdown = CancellationToken::new();
    tokio::spawn(service::serve(listener, store, RULES, shutdown.clone()));
    Open {
        url,
        _shutdown: shutdown.drop_guard(),
    }
}

fn account(number: u8) -> AccountId {
    AccountId::new([number; 32])
}

/// BOT-14.
#[tokio::test]
async fn each_account_has_an_answer_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let community = founded(folder.path()).await;
    let faucet = open(&home(folder.path())).await;
    let http = reqwest::Client::new();

    for request in [http.get(&faucet.url), http.post(&faucet.url)] {
        let nobody = request.send().await.unwrap();
        assert_eq!(nobody.status(), StatusCode::OK);
        assert!(
            nobody
                .text()
                .await
                .unwrap()
                .starts_with("no accounts provided to drip to")
        );
    }

    let (first, second) = (account(1).to_string(), account(2).to_string());
    let url = format!("{}?accounts={first}&accounts=nonsense&accounts={second}", faucet.url);
    let reading = http.get(&url).send().await.unwrap();
    assert_eq!(
        reading.status(),
        StatusCode::METHOD_NOT_ALLOWED,
        "reading changes nothing"
    );

    let answer: FaucetAnswer = http.post(&url).send().await.unwrap().json().await.unwrap();
    assert!(!answer.success);
    let told: Vec<(bool, u64)> = answer.results.iter().map(|drip| (drip.success, drip.balance)).collect();
    assert_eq!(told, [(true, 1_000_000_000), (false, 0), (true, 1_000_000_000)]);
    assert!(
        answer.results[1]
            .reason
            .as_ref()
            .unwrap()
            .contains("`nonsense` is not an ss58 address")
    );

    let again: FaucetAnswer = http.post(&url).send().await.unwrap().json().await.unwrap();
    assert_eq!(again.results, answer.results, "who has enough gets no more");
    community.close().await;
}

#[tokio::test]
async fn more_accounts_than_a_request_may_name_come_in_several() {
    let folder = tempfile::tempdir().unwrap();
    let community = founded(folder.path()).await;
    let faucet = open(&home(folder.path())).await;
    let client = FaucetClient::new(&faucet.url).unwrap();
    let many: Vec<AccountId> = (0..=u16::try_from(service::BATCH).unwrap())
        .map(|number| {
            let mut key = [7; 32];
            key[..2].copy_from_slice(&number.to_be_bytes());
            AccountId::new(key)
        })
        .collect();
    let drips = client.drip(&many).await.unwrap();
    assert_eq!(drips.len(), service::BATCH + 1);
    assert!(drips.iter().all(|drip| drip.success));

    let all: String = many.iter().map(|account| format!("accounts={account}&")).collect();
    let at_once = reqwest::Client::new()
        .post(format!("{}?{all}", faucet.url))
        .send()
        .await
        .unwrap();
    assert_eq!(at_once.status(), StatusCode::PAYLOAD_TOO_LARGE);
    community.close().await;
}

/// The faucet is opened first, the community founded by it.
#[tokio::test]
async fn founders_are_funded_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let home = home(folder.path());
    let faucet = open(&home).await;
    let client = FaucetClient::new(&faucet.url).unwrap();
    let early = client.drip(&[account(1)]).await.unwrap_err();
    assert!(matches!(early, FaucetError::Refused { status: 503, .. }), "{early}");

    let means = Means {
        faucet: Faucet::Http(client),
        ..means()
    };
    let mut community = Community::found(&home, founding(1), means).await.unwrap();
    assert_eq!(community.duties().await.unwrap().registered, 10);
    community.close().await;
}

#[tokio::test]
async fn the_faucet_of_another_community_is_not_believed() {
    let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let theirs = founded(other.path()).await;
    let faucet = open(&home(other.path())).await;
    let means = Means {
        faucet: Faucet::Http(FaucetClient::new(&faucet.url).unwrap()),
        ..means()
    };
    let error = refused(Community::found(&home(mine.path()), founding(2), means).await).to_string();
    assert!(
        error.contains("10 of 10") && error.contains("nothing arrived"),
        "{error}"
    );
    theirs.close().await;
}

#[tokio::test]
async fn an_exhausted_faucet_says_so_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let budget = Founding {
        budget: 10_500_000_000,
        ..founding(1)
    };
    let community = Community::found(&home(folder.path()), budget, means()).await.unwrap();
    let faucet = open(&home(folder.path())).await;
    let drips = FaucetClient::new(&faucet.url)
        .unwrap()
        .drip(&[account(1)])
        .await
        .unwrap();
    assert_eq!(
        drips[0].reason.as_deref(),
        Some("the faucet is exhausted: 0.5 TAO are left")
    );
    community.close().await;
}
