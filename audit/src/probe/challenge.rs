//! A signed challenge on its way to a miner and back.
//!
//! What always holds: a miner is asked only where the subnet's ledger says that it must answer us: at its axon, by a hotkey with a validator's
//! permit. So who refuses is to blame, and who registered another's hotkey is found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chain::auth::{self, sign::Signer};
use chain::replay::{ReplayGuard, ReplayLimits};
use chain::wallet::Keypair;
use chain::{AccountId, Followed, Metagraph};
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

/// Asks miners.
#[derive(Debug)]
pub struct Challenger {
    hotkey: Arc<Keypair>,
    metagraph: Followed,
    guard: ReplayGuard,
}

/// Whether `miner` at `address` must answer a challenge of `me`; what is to be said instead of asking it, where it need not. Pure.
///
/// # Errors
/// The step's end.
pub fn must_answer(metagraph: &Metagraph, me: &AccountId, miner: &AccountId, address: SocketAddr) -> Result<(), Step> {
    if !metagraph.by_hotkey(me).is_some_and(|neuron| neuron.validator_permit) {
        return Err(Step::Skipped("our hotkey has no validator's permit".to_owned()));
    }
    let Some(neuron) = metagraph.by_hotkey(miner) else {
        return Err(Step::Failed("its hotkey is not on the subnet".to_owned()));
    };
    match neuron
        .axon
        .as_ref()
        .map(|axon| SocketAddr::new(axon.info.ip, axon.info.port))
    {
        Some(axon) if axon == address => Ok(()),
        Some(axon) => Err(Step::Failed(format!("its hotkey serves at {axon}, not at {address}"))),
        None => Err(Step::Failed("its hotkey serves no axon".to_owned())),
    }
}

impl Challenger {
    /// Signs as `hotkey` of the subnet that is followed.
    #[must_use]
    pub fn new(hotkey: Keypair, metagraph: Followed) -> Self {
        Self {
            hotkey: Arc::new(hotkey),
            metagraph,
            guard: ReplayGuard::new(ReplayLimits::default()),
        }
    }

    /// Who signs.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.hotkey.account()
    }

    /// Asks one miner one canary, where it must answer.
    pub async fn ask(&self, address: SocketAddr, miner: &AccountId, canary: &Canary, limit: Duration) -> Step {
        let metagraph = Arc::clone(&self.metagraph.borrow());
        if let Err(step) = must_answer(&metagraph, &self.account(), miner, address) {
            return step;
        }
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
            codes: vec![wire::code_to_wire(
                alloy::primitives::keccak256(&canary.code),
                &canary.code,
            )],
        };
        let answer = match client.challenge(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return Err(quoted(status.message())),
        };
        let sender = auth::open(
            &answer,
            &self.hotkey.account(),
            ANSWER_PATH,
            auth::now_ns(),
            &self.guard,
        )
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

#[cfg(test)]
mod tests {
    use chain::{Axon, AxonInfo, Neuron};

    use super::*;

    #[test]
    fn a_miner_must_answer_a_permit_at_its_axon_and_nobody_else() {
        let (me, miner, other) = (
            AccountId::new([1; 32]),
            AccountId::new([2; 32]),
            AccountId::new([3; 32]),
        );
        let at = SocketAddr::from(([10, 0, 0, 2], 9_000));
        let axon = |address: SocketAddr| {
            let mut neuron = Neuron::new(1, miner);
            let info = AxonInfo {
                version: 0,
                ip: address.ip(),
                port: address.port(),
                protocol: 4,
            };
            neuron.axon = Some(Axon { block: 0, info });
            neuron
        };
        let ours = |permit| Neuron {
            validator_permit: permit,
            ..Neuron::new(0, me)
        };
        let subnet = |permit, neuron| Metagraph::new(1, 100, vec![ours(permit), neuron]);
        let says = |metagraph: &Metagraph, who: &AccountId| must_answer(metagraph, &me, who, at);
        assert_eq!(says(&subnet(true, axon(at)), &miner), Ok(()));
        assert!(matches!(says(&subnet(false, axon(at)), &miner), Err(Step::Skipped(_))));
        let elsewhere = SocketAddr::from(([10, 0, 0, 3], 9_000));
        assert!(matches!(
            says(&subnet(true, axon(elsewhere)), &miner),
            Err(Step::Failed(_))
        ));
        assert!(matches!(
            says(&subnet(true, Neuron::new(1, miner)), &miner),
            Err(Step::Failed(_))
        ));
        assert!(matches!(says(&subnet(true, axon(at)), &other), Err(Step::Failed(_))));
    }
}
