//! Whether somebody does its work: the health service, and the head that it claims to be at.

use std::net::SocketAddr;
use std::time::Duration;

use alloy::primitives::B256;
use protos::v1::platform_client::PlatformClient;
use protos::v1::validator_client::ValidatorClient;
use protos::v1::{StatusRequest, ValidatorStatusRequest};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Kind;
use super::verdict::{Claimed, Step};

/// Longest answer to a question of status that is read, bytes: somebody else wrote it.
const ANSWER: usize = 4 << 20;
/// Of a peer's own words, so many characters are kept.
const QUOTE: usize = 160;

/// A peer's words, short and without control characters.
pub(super) fn quoted(text: &str) -> String {
    text.chars()
        .map(|symbol| if symbol.is_control() { ' ' } else { symbol })
        .take(QUOTE)
        .collect()
}

/// What a peer answered about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answered {
    /// Whether it serves.
    pub(super) health: Step,
    /// Where it says that it is; the reason why it says nothing.
    pub(super) head: Result<Claimed, String>,
}

impl Answered {
    fn not_serving(reason: impl Into<String>) -> Self {
        Self {
            health: Step::Failed(reason.into()),
            head: Err("not asked".to_owned()),
        }
    }
}

/// Asks by the protocol that nodes of this kind speak. `chain_id` is that of our own heads: a head of another chain is not compared.
pub(super) async fn ask(kind: Kind, address: SocketAddr, limit: Duration, chain_id: Option<u64>) -> Answered {
    let asked = async {
        match kind {
            Kind::Keeper => http(address, limit, chain_id).await,
            Kind::Platform | Kind::Validator | Kind::Miner => grpc(kind, address, limit).await,
        }
    };
    match tokio::time::timeout(limit, asked).await {
        Ok(answered) => answered,
        Err(_) => Answered::not_serving(format!("no answer within {}", humantime::format_duration(limit))),
    }
}

async fn grpc(kind: Kind, address: SocketAddr, limit: Duration) -> Answered {
    let endpoint = match Endpoint::from_shared(format!("http://{address}")) {
        Ok(endpoint) => endpoint.connect_timeout(limit).timeout(limit).tcp_nodelay(true),
        Err(error) => return Answered::not_serving(quoted(&error.to_string())),
    };
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => return Answered::not_serving(quoted(&node::exit::causes(&error))),
    };
    let request = HealthCheckRequest {
        service: kind.service().to_owned(),
    };
    let health = match HealthClient::new(channel.clone()).check(request).await {
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Step::Passed,
        Ok(answer) => return Answered::not_serving(answer.get_ref().status().as_str_name()),
        Err(status) if status.code() == tonic::Code::NotFound => {
            return Answered::not_serving(format!("it does not serve {}", kind.service()));
        }
        Err(status) => return Answered::not_serving(quoted(status.message())),
    };
    Answered {
        health,
        head: head(kind, channel).await,
    }
}

async fn head(kind: Kind, channel: Channel) -> Result<Claimed, String> {
    let (number, hash) = match kind {
        Kind::Platform => {
            let mut client = PlatformClient::new(channel).max_decoding_message_size(ANSWER);
            let status = client.status(StatusRequest {}).await;
            let status = status.map_err(|status| quoted(status.message()))?.into_inner();
            let feed = status.feed.ok_or("it plays a recording")?;
            (feed.head_number, feed.head_hash)
        }
        Kind::Validator => {
            let mut client = ValidatorClient::new(channel).max_decoding_message_size(ANSWER);
            let status = client.status(ValidatorStatusRequest {}).await;
            let status = status.map_err(|status| quoted(status.message()))?.into_inner();
            (status.head_number, status.head_hash)
        }
        Kind::Miner | Kind::Keeper => return Err("it claims no head".to_owned()),
    };
    if number == 0 {
        return Err("it has no head yet".to_owned());
    }
    Ok(Claimed {
        number,
        hash: B256::try_from(hash.as_ref()).ok(),
    })
}

/// What a keeper shows of itself, as far as it matters here.
#[derive(Debug, serde::Deserialize)]
struct KeeperHealth {
    reason: Option<String>,
    chain_id: u64,
    head: u64,
}

async fn http(address: SocketAddr, limit: Duration, chain_id: Option<u64>) -> Answered {
    // Whoever was first may have chosen a provider of cryptography already; any will do.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(limit)
        .build();
    let client = match client {
        Ok(client) => client,
        Err(error) => return Answered::not_serving(quoted(&error.to_string())),
    };
    let mut response = match client.get(format!("http://{address}/health")).send().await {
        Ok(response) => response,
        Err(error) => return Answered::not_serving(quoted(&node::exit::causes(&error.without_url()))),
    };
    let status = response.status();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) <= ANSWER => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Answered::not_serving("its answer is too long"),
            Ok(None) => break,
            Err(error) => return Answered::not_serving(quoted(&error.without_url().to_string())),
        }
    }
    let shown: KeeperHealth = match serde_json::from_slice(&body) {
        Ok(shown) => shown,
        Err(_) => return Answered::not_serving(format!("HTTP {status}, and no health of a keeper's")),
    };
    if let Some(reason) = shown.reason {
        return Answered::not_serving(quoted(&reason));
    }
    if !status.is_success() {
        return Answered::not_serving(format!("HTTP {status}"));
    }
    let head = match chain_id {
        Some(chain_id) if chain_id == shown.chain_id => Ok(Claimed {
            number: shown.head,
            hash: None,
        }),
        _ => Err("it is on another chain than our own heads".to_owned()),
    };
    Answered {
        health: Step::Passed,
        head,
    }
}
