//! What localnet asks of its own network: registrations and times of the ledger, counts of the platform, scores of the validators.
//!
//! Every question has a deadline and is asked again for a while, because the one who is asked may have just been killed and started
//! again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use alloy::primitives::B256;
use chain::keyfile;
use chain::remote::{ChainInfo, RemoteLedger};
use chain::wallet::Keypair;
use chain::{Ledger, LedgerError};
use protos::v1;
use protos::v1::platform_client::PlatformClient;
use protos::v1::validator_client::ValidatorClient;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::error::LocalnetError;
use super::fleet::Folder;
use super::plan::{Member, NetworkPlan};
use super::report::Standing;

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long a question is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after a question without an answer it is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Executions and incidents that are asked for at once.
const PAGE: u32 = 1000;
/// A page of incidents is smaller.
const INCIDENTS_PAGE: u32 = 100;

/// Asks until there is an answer, for a while.
async fn asked<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    who: impl std::fmt::Display,
    mut question: impl FnMut() -> F,
) -> Result<T, LocalnetError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let reason = match tokio::time::timeout(DEADLINE, question()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer in {} s", DEADLINE.as_secs()),
        };
        if Instant::now() > until {
            return Err(LocalnetError::Silent {
                who: who.to_string(),
                reason,
            });
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn channel(address: SocketAddr) -> Result<Channel, LocalnetError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| LocalnetError::Nonsense {
        who: address.to_string(),
        reason: error.to_string(),
    })?;
    Ok(endpoint.connect_timeout(DEADLINE).tcp_nodelay(true).connect_lazy())
}

/// Waits until a member says of itself that it serves.
pub(crate) async fn serving(who: Member, address: SocketAddr) -> Result<(), LocalnetError> {
    if matches!(who, Member::Keeper(_) | Member::Auditor(_) | Member::Monitor(_)) {
        return answering(who, address).await;
    }
    asked(who, || async move {
        // A connection of its own: what an old one is worth after its other end stood still is not the question.
        let mut health = HealthClient::new(channel(address).map_err(|error| error.to_string())?);
        let answer = health
            .check(HealthCheckRequest::default())
            .await
            .map_err(|status| status.to_string())?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("its health is {}", other.as_str_name())),
        }
    })
    .await
}

/// Waits until a member's `GET /health` is answered; what it says is the member's own business: a monitor's 503 means that nobody
/// pays.
async fn answering(who: Member, address: SocketAddr) -> Result<(), LocalnetError> {
    let url = format!("http://{address}/health");
    asked(who, || async { reqwest::get(&url).await.map(drop) }).await
}

/// The ledger.
#[derive(Debug)]
pub(crate) struct LedgerView(RemoteLedger);

impl LedgerView {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, LocalnetError> {
        RemoteLedger::new(&format!("http://{address}"), DEADLINE)
            .map(Self)
            .map_err(|error| LocalnetError::Nonsense {
                who: Member::Ledger.to_string(),
                reason: error.to_string(),
            })
    }

    /// Makes every neuron's hotkey file, registers them in the order of their uids, and stakes the validators.
    pub(crate) async fn register(&self, plan: &NetworkPlan, folder: &Folder) -> Result<(), LocalnetError> {
        for (member, seed) in plan.neurons() {
            let (Member::Validator(uid) | Member::Miner(uid)) = member else {
                continue;
            };
            let pair = Keypair::from_seed(*seed);
            let path = folder.hotkey(member);
            keyfile::write(&path, &pair).map_err(|error| LocalnetError::File {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            let failed = |error: LedgerError| LocalnetError::Silent {
                who: Member::Ledger.to_string(),
                reason: format!("{member} cannot be registered: {error}"),
            };
            let registered = self.0.register(&pair).await.map_err(failed)?;
            if u32::from(registered.uid) != uid {
                return Err(LocalnetError::Nonsense {
                    who: Member::Ledger.to_string(),
                    reason: format!("{member} was given the uid {}", registered.uid),
                });
            }
            if let Some(validator) = plan.validators.iter().find(|validator| validator.uid == uid) {
                self.0.add_stake(&pair, validator.stake).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Where the ledger stands in time.
    pub(crate) async fn chain(&self) -> Result<ChainInfo, LocalnetError> {
        asked(Member::Ledger, || self.0.chain()).await
    }

    /// How many of the neurons have served an axon.
    pub(crate) async fn axons(&self) -> Result<usize, LocalnetError> {
        let metagraph = asked(Member::Ledger, || self.0.metagraph()).await?;
        Ok(metagraph.neurons.iter().filter(|neuron| neuron.axon.is_some()).count())
    }

    /// Stake and incentive of everybody, by uid.
    pub(crate) async fn standings(&self) -> Result<BTreeMap<u32, Standing>, LocalnetError> {
        let metagraph = asked(Member::Ledger, || self.0.metagraph()).await?;
        let standing = |neuron: &chain::Neuron| Standing {
            stake: neuron.stake,
            incentive: neuron.incentive_share,
        };
        Ok(metagraph
            .neurons
            .iter()
            .map(|neuron| (u32::from(neuron.uid), standing(neuron)))
            .collect())
    }
}

/// The platform.
#[derive(Debug, Clone)]
pub(crate) struct PlatformView(PlatformClient<Channel>);

impl PlatformView {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, LocalnetError> {
        Ok(Self(
            PlatformClient::new(channel(address)?).max_decoding_message_size(node::server::MESSAGE_LIMIT),
        ))
    }

    /// Where the feed and the reports stand.
    pub(crate) async fn status(&self) -> Result<v1::StatusResponse, LocalnetError> {
        let question = || {
            let mut client = self.0.clone();
            async move {
                client
                    .status(v1::StatusRequest {})
                    .await
                    .map(tonic::Response::into_inner)
            }
        };
        asked(Member::Platform, question).await
    }

    /// The incidents after this one, oldest first.
    pub(crate) async fn incidents(&self, mut after: u64) -> Result<Vec<v1::Incident>, LocalnetError> {
        let mut all = Vec::new();
        loop {
            let question = || {
                let mut client = self.0.clone();
                let request = v1::IncidentsRequest {
                    after,
                    limit: INCIDENTS_PAGE,
                };
                async move { client.incidents(request).await.map(tonic::Response::into_inner) }
            };
            let page = asked(Member::Platform, question).await?.incidents;
            match page.iter().map(|incident| incident.id).max() {
                Some(last) if last > after => after = last,
                _ => return Ok(all),
            }
            all.extend(page);
        }
    }

    /// What was reported for each transaction (gas is `None` where nobody executed it), and how many transactions are disputed.
    pub(crate) async fn executions(&self) -> Result<(Vec<(B256, Option<u64>)>, u64), LocalnetError> {
        let mut reported = Vec::new();
        let (mut after, mut disputed) = (0, 0);
        loop {
            let question = || {
                let mut client = self.0.clone();
                let request = v1::ExecutionsRequest { after, limit: PAGE };
                async move { client.executions(request).await.map(tonic::Response::into_inner) }
            };
            let page = asked(Member::Platform, question).await?.executions;
            match page.iter().map(|execution| execution.cursor).max() {
                Some(last) if last > after => after = last,
                _ => return Ok((reported, disputed)),
            }
            for found in page {
                let hash = protos::fixed::<32>("execution.tx_hash", &found.tx_hash).map_err(|error| {
                    LocalnetError::Nonsense {
                        who: Member::Platform.to_string(),
                        reason: error.to_string(),
                    }
                })?;
                disputed += u64::from(found.disputed);
                reported.push((hash.into(), found.execution.map(|execution| execution.gas_used)));
            }
        }
    }
}

/// What a validator says of itself and of the miners.
pub(crate) async fn validator_status(
    uid: u32,
    address: SocketAddr,
) -> Result<v1::ValidatorStatusResponse, LocalnetError> {
    let client = ValidatorClient::new(channel(address)?).max_decoding_message_size(node::server::MESSAGE_LIMIT);
    let question = || {
        let mut client = client.clone();
        async move {
            client
                .status(v1::ValidatorStatusRequest {})
                .await
                .map(tonic::Response::into_inner)
        }
    };
    asked(Member::Validator(uid), question).await
}
