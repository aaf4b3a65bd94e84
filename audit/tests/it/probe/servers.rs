//! Nodes as a probe sees them.

use std::net::SocketAddr;
use std::sync::Arc;

use alloy::primitives::B256;
use chain::AccountId;
use chain::auth::{self, Checks, layer};
use chain::wallet::Keypair;
use engine::{Context, Engine, Recorder};
use prost::Message as _;
use protos::v1::miner_server::{Miner, MinerServer};
use protos::v1::validator_server::{Validator, ValidatorServer};
use protos::v1::{self, DisputesRequest, DisputesResponse, ValidatorStatusRequest, ValidatorStatusResponse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::Layer as _;
use wire::{Answer, AnswerOutcome, Challenge, FindingVerdict, Verdicts, Wire as _};

async fn serve(routes: Routes, service: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = node::server::serve(
        listener,
        routes,
        Box::leak(Box::new([service])),
        protos::FILE_DESCRIPTOR_SET,
        CancellationToken::new(),
    );
    tokio::spawn(async move { serving.await.unwrap() });
    address
}

/// Takes connections and never says a word.
pub(crate) async fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
    });
    address
}

struct At(u64, B256);

#[tonic::async_trait]
impl Validator for At {
    async fn status(&self, _: Request<ValidatorStatusRequest>) -> Result<Response<ValidatorStatusResponse>, Status> {
        Ok(Response::new(ValidatorStatusResponse {
            head_number: self.0,
            head_hash: self.1.to_vec().into(),
            ..ValidatorStatusResponse::default()
        }))
    }

    async fn disputes(&self, _: Request<DisputesRequest>) -> Result<Response<DisputesResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}

/// A validator at this head.
pub(crate) async fn validator(number: u64, hash: B256) -> SocketAddr {
    serve(
        Routes::new(ValidatorServer::new(At(number, hash))),
        "portcullis.v1.Validator",
    )
    .await
}

/// How a miner answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// By executing.
    Honest,
    /// "Holds", always, with everything else as it should be.
    Lazy,
    /// Not to us.
    Refusing,
    /// Not in the form of an answer.
    Garbled,
    /// The answer to another challenge.
    ForAnother,
}

struct Answering {
    hotkey: Arc<Keypair>,
    conduct: Conduct,
}

fn execute(request: &v1::ChallengeRequest) -> (B256, Verdicts) {
    let challenge = Challenge::from_wire(request.challenge.as_ref().unwrap()).unwrap();
    let codes: Vec<_> = request
        .codes
        .iter()
        .map(|code| wire::code_from_wire(code).unwrap())
        .collect();
    let find = |hash| codes.iter().find(|(of, _)| *of == hash).map(|(_, code)| code.clone());
    let state = challenge.prestate.clone().unwrap().complete(find).unwrap();
    let recorder = Recorder::new(&state);
    let set = engine::WatchSet::new(challenge.invariants).unwrap();
    let options = engine::Options {
        digest: true,
        ..engine::Options::default()
    };
    let mut outcome = Engine::new(challenge.chain_id)
        .judge_watched(
            &challenge.transaction,
            Context::new(&challenge.env, &recorder, &set, &options),
        )
        .unwrap();
    outcome.complete(&set);
    let digest = recorder.into_prestate().digest();
    (challenge.id, Verdicts::from(&outcome).on_state(Some(digest)))
}

#[tonic::async_trait]
impl Miner for Answering {
    async fn challenge(&self, request: Request<v1::ChallengeRequest>) -> Result<Response<v1::Signed>, Status> {
        let caller = layer::caller(&request)?;
        if self.conduct == Conduct::Refusing {
            return Err(Status::permission_denied("no validator of the metagraph"));
        }
        let (id, mut verdicts) = execute(request.get_ref());
        if self.conduct == Conduct::Lazy {
            for finding in &mut verdicts.findings {
                finding.verdict = FindingVerdict::Holds { already_broken: false };
            }
        }
        let answer = Answer {
            challenge_id: if self.conduct == Conduct::ForAnother {
                B256::ZERO
            } else {
                id
            },
            outcome: AnswerOutcome::Verdicts(verdicts),
        };
        let mut payload = answer.to_wire().encode_to_vec();
        if self.conduct == Conduct::Garbled {
            payload.reverse();
        }
        let path = "/portcullis.v1.Miner/Challenge#answer";
        let signed = auth::seal(&self.hotkey, Some(&caller.hotkey), path, payload, auth::now_ns());
        Ok(Response::new(signed))
    }
}

/// A miner that answers `asked` so, behind the network's own check of signatures.
pub(crate) async fn miner(conduct: Conduct, asked: AccountId) -> (AccountId, SocketAddr) {
    let hotkey = Arc::new(Keypair::generate());
    let account = hotkey.account();
    let only = move |caller: &auth::Caller| {
        if caller.hotkey == asked {
            Ok(())
        } else {
            Err(Status::permission_denied("somebody else"))
        }
    };
    let gate = layer::Gate::new(Checks::new(Some(account)), &[], 1 << 20).admitting(Arc::new(only));
    let service = gate.layer(MinerServer::new(Answering { hotkey, conduct }));
    (account, serve(Routes::new(service), "portcullis.v1.Miner").await)
}
