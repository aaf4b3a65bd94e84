//! A real miner served on loopback, and a real validator's client that challenges it.
//!
//! Both sides are the ones that the binaries run: signed challenge, replay guard, decoding, engine pool, signed answer,
//! checked answer. The baseline is the emptiest call that the same server takes, its health check, over a channel of the
//! same settings: what is left between the two is ours.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{B256, Bytes};
use chain::{AccountId, Keypair, Metagraph, Neuron, Tao};
use engine::Recorder;
use miner::behaviour::Behaviour;
use miner::config::{Check, Config, StateSource};
use miner::service::ChallengeService;
use node::cli::NodeConfig;
use node::exit::Failure;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use validator::codes::Codes;
use validator::miners::{Miners, Missed, Sealed, Serving};
use validator::store::{Store, StoreError};
use wire::{Challenge, ShippedPrestate, Verdicts};

use crate::contest::{Contender, Contest};
use crate::measure::MeasureError;

/// How long a challenge may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// Validators on the metagraph. A miner remembers so many nonces of one validator and no more, so that no measurement may
/// go on for ever under one key.
pub const VALIDATORS: u8 = 16;

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum LoopbackError {
    /// The miner did not start, or ended.
    #[error("miner: {0:?}")]
    Miner(Failure),
    /// The validator's database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder for it could not be made.
    #[error("temporary folder: {0}")]
    Folder(std::io::Error),
    /// The server has no address.
    #[error("address of a server: {0}")]
    Address(std::io::Error),
    /// The channel could not be made.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The engine gave no prestate.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    /// What was measured could not be kept.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// More callers were asked for than there are validators.
    #[error("there are only {VALIDATORS} validators")]
    NoValidator,
}

/// A served miner. Its server ends with [`Loopback::stop`].
#[derive(Debug)]
pub struct Loopback {
    address: SocketAddr,
    hotkey: AccountId,
    folder: tempfile::TempDir,
    callers: u8,
    shutdown: CancellationToken,
    server: JoinHandle<Result<(), Failure>>,
}

/// One validator with one challenge, asked again and again.
#[derive(Debug)]
pub struct Caller {
    miners: Miners,
    serving: Serving,
    sealed: Sealed,
}

impl Loopback {
    /// Serves a miner on a free port of this runtime.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start() -> Result<Self, LoopbackError> {
        let folder = tempfile::tempdir().map_err(LoopbackError::Folder)?;
        let hotkey = Arc::new(Keypair::from_seed([u8::MAX; 32]));
        let config = miner_config();
        // The sender may go: the last metagraph stays.
        let (_, metagraph) = watch::channel(Arc::new(metagraph(hotkey.account())));
        let shutdown = CancellationToken::new();
        let service = ChallengeService::start(&config, Arc::clone(&hotkey), metagraph, None, shutdown.clone())
            .map_err(LoopbackError::Miner)?;
        let routes = Routes::new(service.into_server());
        let (address, server) = serve(routes, &["portcullis.v1.Miner"], &shutdown).await?;
        Ok(Self {
            address,
            hotkey: hotkey.account(),
            folder,
            callers: 0,
            shutdown,
            server,
        })
    }

    /// Another validator, which challenges the miner with this transaction and the prestate that it needs.
    ///
    /// # Errors
    /// When all validators are taken or the prestate cannot be made.
    pub async fn caller(&mut self, contest: &Contest, contender: &Contender) -> Result<Caller, LoopbackError> {
        let index = self.callers;
        if index >= VALIDATORS {
            return Err(LoopbackError::NoValidator);
        }
        self.callers += 1;
        let store = Store::open(&self.folder.path().join(format!("validator-{index}.sqlite"))).await?;
        let miners = Miners::new(Arc::new(validator_key(index)), Arc::new(Codes::new(store, 64 << 20)));
        let serving = Serving {
            uid: u16::from(VALIDATORS),
            hotkey: self.hotkey,
            address: self.address,
        };
        Ok(Caller {
            miners,
            serving,
            sealed: sealed(contest, contender)?,
        })
    }

    /// The client of the baseline.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn health(&self) -> Result<HealthClient<Channel>, LoopbackError> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address))?;
        Ok(HealthClient::new(endpoint.tcp_nodelay(true).connect().await?))
    }

    /// Ends the server and waits for it.
    ///
    /// # Errors
    /// When the server failed.
    pub async fn stop(self) -> Result<(), LoopbackError> {
        self.shutdown.cancel();
        match self.server.await {
            Ok(ended) => ended.map_err(LoopbackError::Miner),
            // It panicked or was aborted: there is nothing left to end.
            Err(_) => Ok(()),
        }
    }
}

impl Caller {
    /// From sealing the challenge to the checked answer.
    ///
    /// # Errors
    /// When there is no answer that counts.
    pub async fn round_trip(&self) -> Result<Verdicts, Missed> {
        self.miners.challenge(&self.serving, &self.sealed).await.verdicts
    }
}

/// Serves `routes` on a free port of this runtime until `shutdown`, with the health of `services`.
///
/// # Errors
/// When there is no port.
pub async fn serve(
    routes: Routes,
    services: &'static [&'static str],
    shutdown: &CancellationToken,
) -> Result<(SocketAddr, JoinHandle<Result<(), Failure>>), LoopbackError> {
    let listener = node::server::bind(([127, 0, 0, 1], 0).into())
        .await
        .map_err(LoopbackError::Miner)?;
    let address = listener.local_addr().map_err(LoopbackError::Address)?;
    let serving = node::server::serve(
        listener,
        routes,
        services,
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    );
    Ok((address, tokio::spawn(serving)))
}

/// The baseline's call: says whether it succeeded.
pub async fn empty_call(client: &mut HealthClient<Channel>) -> bool {
    client.check(HealthCheckRequest::default()).await.is_ok()
}

/// A miner that executes on what comes, with an engine for each core.
#[must_use]
pub fn miner_config() -> Config {
    Config {
        hotkey: Some("not-read".into()),
        wallet: Default::default(),
        ledger: "http://127.0.0.1:1".to_owned(),
        netuid: None,
        state: StateSource::Challenge,
        nodes: Vec::new(),
        check_prestate: Check::Off,
        check_one_in: 1,
        axon: None,
        validator_stake: Tao::default(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        queue: 256,
        code_cache_bytes: 64 << 20,
        metagraph_period: Duration::from_secs(5),
        behaviour: Behaviour::Honest,
        node: NodeConfig::default(),
    }
}

fn validator_key(index: u8) -> Keypair {
    Keypair::from_seed([index; 32])
}

/// A challenge, and what belongs to it.
#[derive(Debug)]
pub struct Asked {
    /// With the exact prestate.
    pub challenge: Challenge,
    /// The bytecode of the prestate.
    pub codes: HashMap<B256, Bytes>,
    /// The true answer.
    pub verdicts: Verdicts,
}

/// The challenge that a validator would send.
///
/// # Errors
/// When the prestate cannot be made.
pub fn asked(contest: &Contest, contender: &Contender) -> Result<Asked, LoopbackError> {
    let recorder = Recorder::new(&contest.state);
    let outcome = contest
        .engine()
        .judge(&contest.env, &contender.transaction, &recorder, &contender.invariants)?;
    let prestate = recorder.into_prestate();
    let verdicts = Verdicts::from(&outcome).on_state(Some(prestate.digest()));
    let codes = prestate.codes.clone().into_iter().collect();
    let challenge = Challenge {
        id: contender.transaction.hash(),
        chain_id: contest.engine().chain_id(),
        head_hash: contest.head,
        env: contest.env.clone(),
        invariant_set_version: 1,
        invariants: contender.invariants.iter().cloned().map(Into::into).collect(),
        transaction: contender.transaction.clone(),
        predecessors: Vec::new(),
        prestate: Some(ShippedPrestate::from(prestate)),
        deadline: DEADLINE,
    };
    Ok(Asked {
        challenge,
        codes,
        verdicts,
    })
}

/// As [`asked`], ready to be sent.
///
/// # Errors
/// When the prestate cannot be made.
pub fn sealed(contest: &Contest, contender: &Contender) -> Result<Sealed, LoopbackError> {
    let asked = asked(contest, contender)?;
    Ok(Sealed::new(&asked.challenge, asked.codes))
}

/// Validators with permits, and the miner after them.
fn metagraph(miner: AccountId) -> Metagraph {
    let validators = (0..VALIDATORS).map(|index| Neuron {
        validator_permit: true,
        ..Neuron::new(u16::from(index), validator_key(index).account())
    });
    let neurons = validators.chain([Neuron::new(u16::from(VALIDATORS), miner)]).collect();
    Metagraph::new(1, 360, neurons)
}

#[cfg(test)]
mod tests {
    use wire::FindingVerdict;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_contender_is_judged_over_the_wire_as_it_is_at_home() {
        let contest = Contest::new().unwrap();
        let mut loopback = Loopback::start().await.unwrap();
        assert!(empty_call(&mut loopback.health().await.unwrap()).await);
        for contender in &contest.contenders {
            let caller = loopback.caller(&contest, contender).await.unwrap();
            let home = contest
                .engine()
                .judge(
                    &contest.env,
                    &contender.transaction,
                    &contest.state,
                    &contender.invariants,
                )
                .unwrap();
            for _ in 0..2 {
                let verdicts = caller.round_trip().await.unwrap();
                assert!(
                    verdicts.agrees_with(&Verdicts::from(&home)),
                    "{}: {verdicts:?}",
                    contender.name
                );
                assert_eq!(
                    verdicts.findings[0].verdict,
                    FindingVerdict::Holds { already_broken: false }
                );
            }
        }
        loopback.stop().await.unwrap();
    }
}
