//! A signed challenge on its way to a miner and back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chain::AccountId;
use chain::auth::{self, sign::Signer};
use chain::replay::{ReplayGuard, ReplayLimits};
use chain::wallet::Keypair;
use prost::Message as _;
use protos::v1::{self, miner_client::MinerClient};
use tonic::transport::Endpoint;
use tower::Layer as _;
use wire::{Answer, AnswerOutcome, Wire as _};

use super::ask::quoted;
use super::canary::{self, Canary};
use super::verdict::Step;

/// What the answer is signed for (protos, `Miner.Challenge`).
const ANSWER_PATH: &str = "/portcullis.v1.Miner/Challenge#answer";
/// Longest answer that is read, bytes.
const ANSWER: usize = 64 << 10;

/// Asks miners, as a hotkey that they answer: one with a validator's permit.
#[derive(Debug)]
pub struct Challenger {
    hotkey: Arc<Keypair>,
    guard: ReplayGuard,
}

impl Challenger {
    /// Signs as `hotkey`.
    #[must_use]
    pub fn new(hotkey: Keypair) -> Self {
        Self {
            hotkey: Arc::new(hotkey),
            guard: ReplayGuard::new(ReplayLimits::default()),
        }
    }

    /// Who signs.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.hotkey.account()
    }

    /// Asks one miner one canary. A miner that does not take challenges from this hotkey is not to blame for it.
    pub async fn ask(&self, address: SocketAddr, miner: &AccountId, canary: &Canary, limit: Duration) -> Step {
        match tokio::time::timeout(limit, self.exchange(address, miner, canary)).await {
            Ok(Ok(step)) => step,
            Ok(Err(reason)) => Step::Failed(reason),
            Err(_) => Step::Failed(format!("no answer within {}", humantime::format_duration(limit))),
        }
    }

    async fn exchange(&self, address: SocketAddr, miner: &AccountId, canary: &Canary) -> Result<Step, String> {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|error| quoted(&error.to_string()))?
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| quoted(&node::exit::causes(&error)))?;
        let signed = Signer::new(Arc::clone(&self.hotkey), Some(miner)).layer(channel);
        let mut client = MinerClient::new(signed).max_decoding_message_size(ANSWER);
        let request = v1::ChallengeRequest {
            challenge: Some(canary.challenge.to_wire()),
            codes: vec![wire::code_to_wire(alloy::primitives::keccak256(&canary.code), &canary.code)],
        };
        let answer = match client.challenge(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if matches!(status.code(), tonic::Code::PermissionDenied | tonic::Code::Unauthenticated) => {
                return Ok(Step::Skipped(format!("it takes no challenge from us: {}", quoted(status.message()))));
            }
            Err(status) => return Err(quoted(status.message())),
        };
        let sender = auth::open(&answer, &self.hotkey.account(), ANSWER_PATH, auth::now_ns(), &self.guard)
            .map_err(|error| quoted(&error.to_string()))?;
        if sender.hotkey != *miner {
            return Err("the answer is signed by another hotkey".to_owned());
        }
        let message = v1::Answer::decode(answer.payload).map_err(|error| quoted(&error.to_string()))?;
        let answer = Answer::from_wire(&message).map_err(|error| quoted(&error.to_string()))?;
        if answer.challenge_id != canary.challenge.id {
            return Err("the answer is to another challenge".to_owned());
        }
        match answer.outcome {
            AnswerOutcome::Verdicts(verdicts) => Ok(canary::judge(&canary.known, &verdicts)),
            AnswerOutcome::MissingCodes(_) => Err("it lacks bytecode that was just sent to it".to_owned()),
        }
    }
}
