//! A miner on a loopback port, challenged as validators do.

use std::sync::Arc;
use std::time::Duration;

use chain::auth;
use chain::auth::sign::{Signer, Signing};
use chain::replay::{ReplayGuard, ReplayLimits};
use chain::{AccountId, Keypair, Metagraph, Neuron, Tao};
use engine::{B256, Bytes};
use miner::behaviour::Behaviour;
use miner::config::{Check, Config, StateSource};
use miner::own_node::OwnNode;
use miner::service::ChallengeService;
use prost::Message;
use protos::v1::{self, miner_client::MinerClient};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tower::Layer;
use wire::{ANSWER_PATH, Answer, AnswerOutcome, Challenge, FindingVerdict, Wire};

pub(crate) struct World {
    pub(crate) channel: Channel,
    pub(crate) miner: AccountId,
    pub(crate) validator: Keypair,
    shutdown: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// What a miner is configured to.
pub(crate) fn config(behaviour: Behaviour, threads: usize, queue: usize) -> Config {
    Config {
        hotkey: Some("unused".into()),
        wallet: Default::default(),
        netuid: None,
        ledger: "unused".into(),
        state: StateSource::Challenge,
        nodes: vec![],
        check_prestate: Check::Off,
        check_one_in: 1,
        axon: None,
        validator_stake: Tao::default(),
        threads,
        queue,
        code_cache_bytes: 1 << 20,
        metagraph_period: Duration::from_secs(60),
        behaviour,
        node: Default::default(),
    }
}

/// A miner that serves, and a validator that may ask it.
pub(crate) async fn world(config: Config, own: Option<OwnNode>) -> World {
    let hotkey = Arc::new(Keypair::from_seed([1; 32]));
    let validator = Keypair::from_seed([2; 32]);
    let permitted = Neuron {
        validator_permit: true,
        ..Neuron::new(0, validator.account())
    };
    let metagraph = Metagraph::new(1, 10, vec![permitted, Neuron::new(1, hotkey.account())]);
    let (_, followed) = watch::channel(Arc::new(metagraph));
    let shutdown = CancellationToken::new();
    let service = ChallengeService::start(&config, hotkey.clone(), followed, own, shutdown.clone()).unwrap();
    let listener = node::server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = tonic::service::Routes::new(service.into_server());
    let server = node::server::serve(
        listener,
        routes,
        &["portcullis.v1.Miner"],
        protos::FILE_DESCRIPTOR_SET,
        shutdown.clone(),
    );
    tokio::spawn(async move { server.await.unwrap() });
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    World {
        channel: endpoint.connect().await.unwrap(),
        miner: hotkey.account(),
        validator,
        shutdown,
    }
}

impl World {
    /// A client that signs for this miner.
    pub(crate) fn signing(&self, sender: &Keypair) -> MinerClient<Signing<Channel>> {
        let signer = Signer::new(Arc::new(sender.clone()), Some(&self.miner));
        MinerClient::new(signer.layer(self.channel.clone()))
    }

    pub(crate) async fn ask(
        &self,
        challenge: &Challenge,
        codes: &[(B256, Bytes)],
    ) -> Result<AnswerOutcome, tonic::Status> {
        let answer = self
            .signing(&self.validator)
            .challenge(request(challenge, codes))
            .await?;
        let answer = answer.into_inner();
        let guard = ReplayGuard::new(ReplayLimits::default());
        let sender = auth::open(&answer, &self.validator.account(), ANSWER_PATH, auth::now_ns(), &guard).unwrap();
        assert_eq!(
            sender.hotkey, self.miner,
            "the answer is signed by the miner, for the validator"
        );
        let answer = Answer::from_wire(&v1::Answer::decode(answer.payload).unwrap()).unwrap();
        assert_eq!(answer.challenge_id, challenge.id);
        Ok(answer.outcome)
    }
}

/// A challenge with bytecode.
pub(crate) fn request(challenge: &Challenge, codes: &[(B256, Bytes)]) -> v1::ChallengeRequest {
    v1::ChallengeRequest {
        challenge: Some(challenge.to_wire()),
        codes: codes
            .iter()
            .map(|(hash, code)| wire::code_to_wire(*hash, code))
            .collect(),
    }
}

pub(crate) fn verdict(outcome: &AnswerOutcome) -> &FindingVerdict {
    match outcome {
        AnswerOutcome::Verdicts(verdicts) => &verdicts.findings[0].verdict,
        AnswerOutcome::MissingCodes(hashes) => panic!("lacks {hashes:?}"),
    }
}
