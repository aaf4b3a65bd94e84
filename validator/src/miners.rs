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
use crate::quiet::Quiet;

/// Of an answer, what does not depend on the question, bytes.
const ANSWER_BASE: usize = 16 << 10;
/// Of an answer, what one invariant or one lacking bytecode may take, bytes.
const ANSWER_EACH: usize = 768;
/// The longest text in an answer, bytes.
const LONGEST_TEXT: usize = 512;
/// What one connection to a miner may hold of what is not read yet, bytes.
const WINDOW: u32 = 256 << 10;
/// Headers and trailers of an answer, bytes.
const HEADERS: u32 = 16 << 10;

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
    /// The invariants that are asked about: an answer speaks of no more.
    pub invariants: usize,
}

impl Sealed {
    /// The challenge, encoded, with the bytecode that it needs.
    pub fn new(challenge: &wire::Challenge, codes: HashMap<B256, engine::Bytes>) -> Self {
        Self {
            id: challenge.id,
            payload: encode(challenge),
            codes,
            deadline: challenge.deadline,
            invariants: challenge.invariants.len(),
        }
    }

    /// The longest answer that is read, bytes. A longer one is a miss.
    pub fn answer_limit(&self) -> usize {
        ANSWER_BASE + ANSWER_EACH * (self.invariants + self.codes.len())
    }

    /// Whether an answer keeps to what was asked: what a miner may make the validator keep is bounded by it.
    fn takes(&self, verdicts: &Verdicts) -> Result<(), Missed> {
        let malformed = |reason: String| Err(Missed::Malformed(reason));
        if verdicts.findings.len() > self.invariants {
            return malformed(format!(
                "{} findings on {} invariants",
                verdicts.findings.len(),
                self.invariants
            ));
        }
        let texts = verdicts.findings.iter().filter_map(|finding| match &finding.verdict {
            wire::FindingVerdict::Undecided { reason } => Some(reason.len()),
            _ => None,
        });
        match texts.chain([verdicts.engine_version.len()]).max() {
            Some(longest) if longest > LONGEST_TEXT => {
                malformed(format!("a text of {longest} bytes, {LONGEST_TEXT} are allowed"))
            }
            _ => Ok(()),
        }
    }
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
    #[error("{} ({:?})", short(.0.message()), .0.code())]
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

/// The beginning of a text that came from outside.
fn short(text: &str) -> &str {
    let end = (0..=LONGEST_TEXT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

/// Clients of all miners.
#[derive(Debug)]
pub struct Miners {
    hotkey: Arc<Keypair>,
    codes: Arc<Codes>,
    guard: ReplayGuard,
    channels: Mutex<HashMap<AccountId, (SocketAddr, Channel)>>,
    /// What is told of a miner that gives no answers, once a minute.
    told: Mutex<Quiet<AccountId>>,
}

impl Miners {
    /// Speaks to miners as `hotkey`.
    pub fn new(hotkey: Arc<Keypair>, codes: Arc<Codes>) -> Self {
        Self {
            hotkey,
            codes,
            guard: ReplayGuard::new(ReplayLimits::default()),
            channels: Mutex::default(),
            told: Mutex::default(),
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
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_max_header_list_size(HEADERS)
            .connect_lazy();
        channels.insert(miner.hotkey, (miner.address, channel.clone()));
        Ok(channel)
    }

    /// Forgets miners that are not on the metagraph any more.
    pub fn retain(&self, serving: &[Serving]) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|hotkey, _| serving.iter().any(|miner| miner.hotkey == *hotkey));
        self.told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|hotkey| serving.iter().any(|miner| miner.hotkey == *hotkey));
    }

    /// Sends a challenge to one miner and waits for its answer, at most until the deadline.
    pub async fn challenge(&self, miner: &Serving, sealed: &Sealed) -> Reply {
        let sent = Instant::now();
        let verdicts = match tokio::time::timeout(sealed.deadline, self.ask(miner, sealed)).await {
            // Both may be ready when a busy machine looks again: then it came after the deadline all the same.
            Ok(Ok(_)) if sent.elapsed() > sealed.deadline => Err(Missed::Late(sealed.deadline)),
            Ok(verdicts) => verdicts,
            Err(_) => Err(Missed::Late(sealed.deadline)),
        };
        if let Err(missed) = &verdicts {
            metrics::counter!("validator_missed_answers").increment(1);
            let told = self
                .told
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .say(miner.hotkey, Instant::now());
            match told {
                Some(unsaid) => tracing::warn!(uid = miner.uid, %missed, unsaid, "no answer that counts"),
                None => tracing::debug!(uid = miner.uid, %missed, "no answer"),
            }
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
            AnswerOutcome::Verdicts(verdicts) => sealed.takes(&verdicts).map(|()| verdicts),
            AnswerOutcome::MissingCodes(hashes) => match self.exchange(miner, sealed, &hashes).await? {
                AnswerOutcome::Verdicts(verdicts) => sealed.takes(&verdicts).map(|()| verdicts),
                AnswerOutcome::MissingCodes(_) => {
                    Err(Missed::Malformed("lacks bytecode that was just sent to it".to_owned()))
                }
            },
        }
    }

    async fn exchange(&self, miner: &Serving, sealed: &Sealed, codes: &[B256]) -> Result<AnswerOutcome, Missed> {
        // Each once, however often it is asked for.
        let codes: std::collections::BTreeSet<&B256> = codes.iter().collect();
        let codes = codes
            .into_iter()
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
            .max_decoding_message_size(sealed.answer_limit())
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
