//! The miners that serve, and the challenge on its way to them and back.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chain::auth::sign::{Signer, Signing};
use chain::auth::{self, BodyDigest, Checks, SharedKeys};
use chain::wallet::Keypair;
use chain::{AccountId, Metagraph};
use engine::B256;
use http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Bytes, BytesMut};
use protos::v1;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tower::Layer;
use wire::{ANSWER_PATH, Answer, AnswerOutcome, Verdicts, Wire};

use crate::codes::Codes;
use crate::encoded::Encoded;
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

/// The method that takes a challenge.
const CHALLENGE_PATH: &str = "/portcullis.v1.Miner/Challenge";

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

/// One challenge, encoded and digested once for all who get it.
#[derive(Debug)]
pub struct Sealed {
    /// `Challenge::id`.
    pub id: B256,
    /// Of the transaction that it asks about.
    pub transaction: B256,
    /// The encoded `ChallengeRequest`, without bytecode.
    pub request: Bytes,
    /// Of `request`.
    pub digest: BodyDigest,
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
        let request = v1::ChallengeRequest {
            challenge: Some(challenge.to_wire()),
            codes: Vec::new(),
        };
        let request = Bytes::from(request.encode_to_vec());
        Self {
            id: challenge.id,
            transaction: challenge.transaction.hash(),
            digest: BodyDigest::of(&request),
            request,
            codes,
            deadline: challenge.deadline,
            invariants: challenge.invariants.len(),
        }
    }

    /// The request with these of its bytecodes, and its digest.
    fn with_codes(&self, codes: &[B256]) -> (Bytes, BodyDigest) {
        // Each once, however often it is asked for.
        let codes: BTreeSet<&B256> = codes.iter().collect();
        let codes: Vec<v1::Code> = codes
            .into_iter()
            .filter_map(|hash| self.codes.get(hash).map(|code| wire::code_to_wire(*hash, code)))
            .collect();
        if codes.is_empty() {
            return (self.request.clone(), self.digest);
        }
        // Messages of protobuf that stand one after the other are one: the challenge need not be encoded again.
        let added = v1::ChallengeRequest { challenge: None, codes };
        let mut request = BytesMut::with_capacity(self.request.len() + added.encoded_len());
        request.extend_from_slice(&self.request);
        request.extend_from_slice(&added.encode_to_vec());
        let request = request.freeze();
        let digest = BodyDigest::of(&request);
        (request, digest)
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
    /// The answer as it was signed, to be shown to others ([`Self::vouch`]).
    pub signed: Option<v1::Signed>,
}

impl Reply {
    /// Holds the miner to its answer. The tag on it convinced this validator; before it is kept to be shown to others, its signature is
    /// looked at too, and without a good one there is no answer.
    pub fn vouch(&mut self) {
        if let Some(signed) = &self.signed
            && let Err(error) = auth::authentic(signed, ANSWER_PATH)
        {
            metrics::counter!("validator_missed_answers_total").increment(1);
            self.verdicts = Err(error.into());
            self.signed = None;
        }
    }
}

/// An answer that counts.
#[derive(Debug)]
struct Answered {
    verdicts: Verdicts,
    signed: v1::Signed,
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
    text.get(..text.floor_char_boundary(LONGEST_TEXT)).unwrap_or_default()
}

/// Clients of all miners.
#[derive(Debug)]
pub struct Miners {
    keys: Arc<SharedKeys>,
    codes: Arc<Codes>,
    checks: Checks,
    channels: Mutex<HashMap<AccountId, (SocketAddr, Signing<Channel>)>>,
    /// What is told of a miner that gives no answers, once a minute.
    told: Mutex<Quiet<AccountId>>,
}

impl Miners {
    /// Speaks to miners as `hotkey`.
    pub fn new(hotkey: Arc<Keypair>, codes: Arc<Codes>) -> Self {
        let me = hotkey.account();
        let keys = Arc::new(SharedKeys::new(hotkey));
        Self {
            checks: Checks::new(Some(me)).sharing(Arc::clone(&keys)),
            keys,
            codes,
            channels: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// A channel to a miner, on which every call is tagged for it: kept, and made anew when it serves at another address.
    fn channel(&self, miner: &Serving) -> Result<Signing<Channel>, Missed> {
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
        let channel = Signer::tagging(&self.keys, &miner.hotkey).layer(channel);
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
        let mut span = node::trace::stage(sealed.transaction, "challenge");
        span.set("uid", i64::from(miner.uid));
        let answered = match tokio::time::timeout(sealed.deadline, self.ask(miner, sealed)).await {
            // Both may be ready when a busy machine looks again: then it came after the deadline all the same.
            Ok(Ok(_)) if sent.elapsed() > sealed.deadline => Err(Missed::Late(sealed.deadline)),
            Ok(answered) => answered,
            Err(_) => Err(Missed::Late(sealed.deadline)),
        };
        let latency = sent.elapsed();
        if let Err(missed) = &answered {
            span.failed(missed.to_string());
            metrics::counter!("validator_missed_answers_total").increment(1);
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
        let (verdicts, signed) = match answered {
            Ok(Answered { verdicts, signed }) => (Ok(verdicts), Some(signed)),
            Err(missed) => (Err(missed), None),
        };
        Reply {
            hotkey: miner.hotkey,
            latency,
            verdicts,
            signed,
        }
    }

    async fn ask(&self, miner: &Serving, sealed: &Sealed) -> Result<Answered, Missed> {
        let lacking = self
            .codes
            .to_send(*miner.hotkey.as_bytes(), sealed.codes.keys().copied());
        let (mut outcome, mut signed) = self.exchange(miner, sealed, &lacking).await?;
        if let AnswerOutcome::MissingCodes(hashes) = outcome {
            (outcome, signed) = self.exchange(miner, sealed, &hashes).await?;
        }
        match outcome {
            AnswerOutcome::Verdicts(verdicts) => {
                sealed.takes(&verdicts)?;
                Ok(Answered { verdicts, signed })
            }
            AnswerOutcome::MissingCodes(_) => {
                Err(Missed::Malformed("lacks bytecode that was just sent to it".to_owned()))
            }
        }
    }

    async fn exchange(
        &self,
        miner: &Serving,
        sealed: &Sealed,
        codes: &[B256],
    ) -> Result<(AnswerOutcome, v1::Signed), Missed> {
        let (body, digest) = sealed.with_codes(codes);
        let mut request = tonic::Request::new(body);
        request.extensions_mut().insert(digest);
        let mut client = Grpc::new(self.channel(miner)?)
            .max_decoding_message_size(sealed.answer_limit())
            .max_encoding_message_size(node::server::MESSAGE_LIMIT);
        let unavailable = |error: tower::BoxError| Box::new(tonic::Status::unavailable(error.to_string()));
        client.ready().await.map_err(unavailable)?;
        let answer = client.unary(request, PathAndQuery::from_static(CHALLENGE_PATH), Encoded::default());
        let signed: v1::Signed = answer.await.map_err(Box::new)?.into_inner();
        let caller = self.checks.open(&signed, ANSWER_PATH).await?;
        if caller.hotkey != miner.hotkey {
            return Err(Missed::Impostor(caller.hotkey));
        }
        let malformed = |error: &dyn std::fmt::Display| Missed::Malformed(error.to_string());
        let message = v1::Answer::decode(signed.payload.clone()).map_err(|error| malformed(&error))?;
        let answer = Answer::from_wire(&message).map_err(|error| malformed(&error))?;
        if answer.challenge_id != sealed.id {
            return Err(Missed::Malformed(format!(
                "answers challenge {}, not {}",
                answer.challenge_id, sealed.id
            )));
        }
        Ok((answer.outcome, signed))
    }
}
