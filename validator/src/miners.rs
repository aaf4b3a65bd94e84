//! The miners that serve, and the challenge on its way to them and back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chain::auth;
use chain::replay::{ReplayGuard, ReplayLimits};
use chain::wallet::Keypair;
use chain::{AccountId, Metagraph};
use engine::B256;
use prost::Message;
use prost::bytes::Bytes;
use protos::v1::{self, miner_client::MinerClient};
use tonic::transport::{Channel, Endpoint};
use wire::{Answer, AnswerOutcome, Verdicts, Wire};

use crate::codes::Codes;

/// The path that a challenge is signed for, and the one that its answer is.
pub const CHALLENGE_PATH: &str = "/portcullis.v1.Miner/Challenge";
const ANSWER_PATH: &str = "/portcullis.v1.Miner/Challenge#answer";

/// A miner that serves.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Its uid.
    pub uid: u16,
    /// Its hotkey.
    pub hotkey: AccountId,
    /// Where it is reached.
    pub address: SocketAddr,
}

/// Those who serve an axon and are no validators.
pub fn serving(metagraph: &Metagraph) -> Vec<Serving> {
    metagraph
        .neurons
        .iter()
        .filter(|neuron| !neuron.validator_permit)
        .filter_map(|neuron| {
            let axon = neuron.axon?;
            let address = SocketAddr::new(axon.info.ip, axon.info.port);
            Some(Serving {
                uid: neuron.uid,
                hotkey: neuron.hotkey,
                address,
            })
        })
        .collect()
}

/// One challenge, encoded once for all who get it.
#[derive(Debug)]
pub struct Sealed {
    /// `Challenge::id`.
    pub id: B256,
    /// The encoded `Challenge`.
    pub payload: Bytes,
    /// The bytecodes that it needs.
    pub codes: HashMap<B256, engine::Bytes>,
    /// How long the miners have.
    pub deadline: Duration,
}

/// What came of asking one miner.
#[derive(Debug)]
pub struct Reply {
    /// Who was asked.
    pub hotkey: AccountId,
    /// From sending to the checked answer.
    pub latency: Duration,
    /// The answer, or why there is none.
    pub verdicts: Result<Verdicts, Missed>,
}

/// Why a miner gave no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum Missed {
    /// It refused, or could not be reached.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Status(#[from] Box<tonic::Status>),
    /// Later than the deadline.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// Not signed by it, for us, just now.
    #[error("answer: {0}")]
    Signature(#[from] auth::AuthError),
    /// Signed by another than the one who was asked.
    #[error("answer: signed by {0}, who was not asked")]
    Impostor(AccountId),
    /// Not in the form of an answer to this challenge.
    #[error("answer: {0}")]
    Malformed(String),
}

/// Clients of all miners.
#[derive(Debug)]
pub struct Miners {
    hotkey: Arc<Keypair>,
    codes: Arc<Codes>,
    guard: ReplayGuard,
    channels: Mutex<HashMap<AccountId, (SocketAddr, Channel)>>,
}

impl Miners {
    /// Speaks to miners as `hotkey`.
    pub fn new(hotkey: Arc<Keypair>, codes: Arc<Codes>) -> Self {
        Self {
            hotkey,
            codes,
            guard: ReplayGuard::new(ReplayLimits::default()),
            channels: Mutex::default(),
        }
    }

    /// A channel to a miner: kept, and made anew when it serves at another address.
    fn channel(&self, miner: &Serving) -> Result<Channel, Missed> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((address, channel)) = channels.get(&miner.hotkey)
            && *address == miner.address
        {
            return Ok(channel.clone());
        }
        let channel = Endpoint::from_shared(format!("http://{}", miner.address))
            .map_err(|error| Missed::Malformed(format!("axon {}: {error}", miner.address)))?
            .connect_timeout(Duration::from_secs(3))
            .tcp_nodelay(true)
            .connect_lazy();
        channels.insert(miner.hotkey, (miner.address, channel.clone()));
        Ok(channel)
    }

    /// Forgets miners that are not on the metagraph any more.
    pub fn retain(&self, serving: &[Serving]) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|hotkey, _| serving.iter().any(|miner| miner.hotkey == *hotkey));
    }

    /// Sends a challenge to one miner and waits for its answer, at most until the deadline.
    pub async fn challenge(&self, miner: &Serving, sealed: &Sealed) -> Reply {
        let sent = Instant::now();
        let verdicts = match tokio::time::timeout(sealed.deadline, self.ask(miner, sealed)).await {
            Ok(verdicts) => verdicts,
            Err(_) => Err(Missed::Late(sealed.deadline)),
        };
        if let Err(missed) = &verdicts {
            metrics::counter!("validator_missed_answers").increment(1);
            tracing::debug!(uid = miner.uid, %missed, "no answer");
            self.codes.forget(miner.hotkey.as_bytes());
        }
        Reply {
            hotkey: miner.hotkey,
            latency: sent.elapsed(),
            verdicts,
        }
    }

    async fn ask(&self, miner: &Serving, sealed: &Sealed) -> Result<Verdicts, Missed> {
        let lacking = self
            .codes
            .to_send(*miner.hotkey.as_bytes(), sealed.codes.keys().copied());
        match self.exchange(miner, sealed, &lacking).await? {
            AnswerOutcome::Verdicts(verdicts) => Ok(verdicts),
            AnswerOutcome::MissingCodes(hashes) => match self.exchange(miner, sealed, &hashes).await? {
                AnswerOutcome::Verdicts(verdicts) => Ok(verdicts),
                AnswerOutcome::MissingCodes(_) => {
                    Err(Missed::Malformed("lacks bytecode that was just sent to it".to_owned()))
                }
            },
        }
    }

    async fn exchange(&self, miner: &Serving, sealed: &Sealed, codes: &[B256]) -> Result<AnswerOutcome, Missed> {
        let codes = codes
            .iter()
            .filter_map(|hash| sealed.codes.get(hash).map(|code| wire::code_to_wire(*hash, code)))
            .collect();
        let challenge = auth::seal(
            &self.hotkey,
            Some(&miner.hotkey),
            CHALLENGE_PATH,
            sealed.payload.clone(),
            auth::now_ns(),
        );
        let mut client = MinerClient::new(self.channel(miner)?)
            .max_decoding_message_size(node::server::MESSAGE_LIMIT)
            .max_encoding_message_size(node::server::MESSAGE_LIMIT);
        let request = v1::ChallengeRequest {
            challenge: Some(challenge),
            codes,
        };
        let signed = client.challenge(request).await.map_err(Box::new)?.into_inner();
        let sender = auth::open(
            &signed,
            &self.hotkey.account(),
            ANSWER_PATH,
            auth::now_ns(),
            &self.guard,
        )?;
        if sender.hotkey != miner.hotkey {
            return Err(Missed::Impostor(sender.hotkey));
        }
        let malformed = |error: &dyn std::fmt::Display| Missed::Malformed(error.to_string());
        let message = v1::Answer::decode(signed.payload).map_err(|error| malformed(&error))?;
        let answer = Answer::from_wire(&message).map_err(|error| malformed(&error))?;
        if answer.challenge_id != sealed.id {
            return Err(Missed::Malformed(format!(
                "answers challenge {}, not {}",
                answer.challenge_id, sealed.id
            )));
        }
        Ok(answer.outcome)
    }
}

/// The encoded form of a challenge.
pub fn encode(challenge: &wire::Challenge) -> Bytes {
    Bytes::from(challenge.to_wire().encode_to_vec())
}
