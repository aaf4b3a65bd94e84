//! A validator's judge among many miners on loopback, and bare calls of the same size among as many bare servers.
//!
//! Ours is all that the pipeline does for an item: draw, challenge, sign, send, check the signed answers, decide, record. The bare side
//! draws as many servers and sends and gets as many bytes, metadata included, over channels of the same settings; neither end does
//! anything with them. What a miner does for an answer (checking, executing, signing) is no work of the validator's: [`Side::Servers`]
//! only tag theirs, which is what a validator looks at while nobody disagrees.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chain::auth::sign::Signer;
use chain::auth::{self, BodyDigest, Scheme, SharedKeys};
use chain::wallet::SharedKey;
use chain::{AccountId, Axon, AxonInfo, Keypair, Metagraph, Neuron};
use engine::B256;
use miner::service::ChallengeService;
use prost::Message;
use protos::v1;
use protos::v1::miner_server::{Miner, MinerServer};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Extensions, Request, Response, Status};
use tower::{Layer as _, Service as _};
use validator::arbiter::Arbiter;
use validator::canary::CanaryParameters;
use validator::codes::Codes;
use validator::draw;
use validator::gather::{self, BATCH};
use validator::intake::Item;
use validator::judge::Judge;
use validator::miners::Miners;
use validator::proof::Proofs;
use validator::store::{Judged, Store};
use wire::{ANSWER_PATH, Answer, AnswerOutcome, Challenge, InvariantSet, Verdicts, Wire};

use crate::bare;
use crate::contest::{Contender, Contest};
use crate::loopback::{self, DEADLINE, LoopbackError, serve};
use crate::measure::{MeasureError, Times};

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Miners as they are: they check, execute, sign and tag.
    Miners,
    /// Servers that know the answer and only tag it.
    Servers,
}

/// What came of a measured while.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Answered challenges.
    pub challenges: u64,
    /// Items.
    pub items: u64,
    /// How long it took.
    pub took: Duration,
    /// Of each challenge, from sending to the checked answer.
    pub latency: Times,
}

impl Measured {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never in practice: the bounds are constant.
    pub fn new() -> Result<Self, MeasureError> {
        Ok(Self {
            challenges: 0,
            items: 0,
            took: Duration::ZERO,
            latency: Times::new()?,
        })
    }

    /// Another while.
    pub fn add(&mut self, other: &Self) {
        self.challenges += other.challenges;
        self.items += other.items;
        self.took += other.took;
        self.latency.add(&other.latency);
    }

    /// Challenges a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.challenges as f64 / self.took.as_secs_f64()
    }
}

/// A judge and its miners; and the bare servers.
#[derive(Debug)]
pub struct Judging {
    judge: Arc<Judge>,
    store: Store,
    asked: Asked,
    bare: Vec<Channel>,
    request: (MetadataMap, prost::bytes::Bytes),
    draws: Mutex<ChaCha8Rng>,
    cursor: std::sync::atomic::AtomicU64,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

/// What is asked, again and again.
#[derive(Debug)]
struct Asked {
    challenge: Challenge,
    set: Arc<InvariantSet>,
}

impl Asked {
    fn item(&self, cursor: u64) -> Item {
        let challenge = &self.challenge;
        Item {
            cursor,
            seen: Instant::now(),
            chain_id: challenge.chain_id,
            head_hash: challenge.head_hash,
            env: challenge.env.clone(),
            set: Arc::clone(&self.set),
            transaction: challenge.transaction.clone(),
            predecessors: challenge.predecessors.clone(),
            prestate: challenge.prestate.clone(),
        }
    }
}

/// A server that knows the answer.
struct Knows {
    verdicts: Verdicts,
    hotkey: Keypair,
    asker: AccountId,
    asker_address: String,
    shared: SharedKey,
}

impl Knows {
    fn new(verdicts: Verdicts, hotkey: Keypair, asker: AccountId) -> Result<Self, LoopbackError> {
        Ok(Self {
            verdicts,
            shared: hotkey.shared_with(&asker).ok_or(LoopbackError::NoValidator)?,
            hotkey,
            asker,
            asker_address: asker.to_ss58(),
        })
    }

    /// The answer with a tag, and zeros where a miner's signature would be.
    fn seal(&self, payload: Vec<u8>) -> v1::Signed {
        let (nonce_ns, mut payload) = (auth::now_ns(), payload);
        let length = payload.len();
        payload.extend([0; 64]);
        let (me, asker) = (self.hotkey.address(), Some(self.asker_address.as_str()));
        let digest = BodyDigest::of(&payload);
        let lines = auth::message(Scheme::Tag, auth::METHOD, ANSWER_PATH, &digest, nonce_ns, me, asker);
        let mut payload = prost::bytes::Bytes::from(payload);
        let signature = payload.split_off(length);
        v1::Signed {
            payload,
            hotkey: self.hotkey.account().as_bytes().to_vec().into(),
            receiver: self.asker.as_bytes().to_vec().into(),
            nonce_ns,
            signature,
            tag: self.shared.tag(lines.as_bytes()).to_vec().into(),
        }
    }
}

#[tonic::async_trait]
impl Miner for Knows {
    async fn challenge(&self, request: Request<v1::ChallengeRequest>) -> Result<Response<v1::Signed>, Status> {
        let missing = || Status::invalid_argument("field `challenge` is missing");
        let challenge = request.into_inner().challenge.ok_or_else(missing)?;
        let answer = Answer {
            challenge_id: B256::try_from(&challenge.id[..]).map_err(|_| missing())?,
            outcome: AnswerOutcome::Verdicts(self.verdicts.clone()),
        };
        Ok(Response::new(self.seal(answer.to_wire().encode_to_vec())))
    }
}

fn key(number: u16) -> Keypair {
    let mut seed = [0; 32];
    if let Some(first) = seed.first_chunk_mut::<2>() {
        *first = number.to_be_bytes();
    }
    Keypair::from_seed(seed)
}

impl Judging {
    /// Serves `count` miners and as many bare servers, all asked about `contender`.
    ///
    /// # Errors
    /// When they cannot be started, or the engine gives no prestate.
    pub async fn start(
        contest: &Contest,
        contender: &Contender,
        count: u16,
        side: Side,
    ) -> Result<Self, LoopbackError> {
        let shutdown = CancellationToken::new();
        let loopback::Asked {
            challenge,
            codes,
            verdicts,
        } = loopback::asked(contest, contender)?;

        let validator = Arc::new(key(u16::MAX));
        let permitted = Neuron {
            validator_permit: true,
            ..Neuron::new(0, validator.account())
        };
        let mut metagraph = Metagraph::new(1, 360, vec![permitted]);
        let permits = watch::channel(Arc::new(metagraph.clone())).1;
        let mut bare = Vec::new();
        for uid in 1..=count {
            let hotkey = Arc::new(key(uid));
            let account = hotkey.account();
            let knows = Knows::new(verdicts.clone(), key(uid), validator.account())?;
            let routes = match side {
                Side::Servers => Routes::new(MinerServer::new(knows)),
                Side::Miners => {
                    let config = loopback::miner_config();
                    let service = ChallengeService::start(&config, hotkey, permits.clone(), None, shutdown.clone());
                    Routes::new(service.map_err(LoopbackError::Miner)?.into_server())
                }
            };
            let (address, _server) = serve(routes, &[], &shutdown).await?;
            let info = AxonInfo {
                version: 1,
                ip: address.ip(),
                port: address.port(),
                protocol: 4,
            };
            metagraph.neurons.push(Neuron {
                axon: Some(Axon { block: 0, info }),
                ..Neuron::new(uid, account)
            });
            bare.push(bare_channel(uid, &verdicts, &shutdown).await?);
        }

        let folder = tempfile::tempdir().map_err(LoopbackError::Folder)?;
        let store = Store::open(&folder.path().join("validator.db")).await?;
        let kept = Arc::new(Codes::new(store.clone(), 64 << 20));
        kept.insert(codes.into_iter().collect()).await?;
        // As it stands on the wire, with its tag beside it.
        let call = v1::ChallengeRequest {
            challenge: Some(challenge.to_wire()),
            codes: Vec::new(),
        };
        let body = prost::bytes::Bytes::from(call.encode_to_vec());
        let keys = Arc::new(SharedKeys::new(Arc::clone(&validator)));
        let metadata = tagged(Signer::tagging(&keys, &key(1).account()), &body).await?;
        let request = (metadata, body);
        let judge = Judge {
            miners: Arc::new(Miners::new(validator, Arc::clone(&kept))),
            arbiter: Arbiter::start(1).map_err(LoopbackError::Folder)?,
            codes: kept,
            metagraph: watch::channel(Arc::new(metagraph)).1,
            draws: Mutex::new(ChaCha8Rng::seed_from_u64(1)),
            defender: None,
            store: store.clone(),
            reports: Arc::new(Notify::new()),
            deadline: DEADLINE,
            audit_rate: 0.0,
            // What is measured is the network's part: everybody has proven itself.
            proofs: Proofs::new(HashMap::new(), 0),
            canaries: CanaryParameters::default(),
            deck: Mutex::default(),
        };
        let set = Arc::new(InvariantSet {
            version: 1,
            invariants: contender.invariants.iter().cloned().map(Into::into).collect(),
        });
        Ok(Self {
            judge: Arc::new(judge),
            store,
            asked: Asked { challenge, set },
            bare,
            request,
            draws: Mutex::new(ChaCha8Rng::seed_from_u64(1)),
            cursor: std::sync::atomic::AtomicU64::new(0),
            shutdown,
            _folder: folder,
        })
    }

    /// Judges for about `budget`, at most `at_once` items at a time, and records them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ours(&self, budget: Duration, at_once: usize) -> Result<Measured, LoopbackError> {
        let turns = Arc::new(Semaphore::new(at_once));
        let (results, mut judged) = mpsc::channel::<Judged>(BATCH * 2);
        let store = self.store.clone();
        let recorder = tokio::spawn(async move {
            let mut measured = Measured::new()?;
            loop {
                let batch = gather::next(&mut judged).await;
                if batch.is_empty() {
                    return Ok::<_, LoopbackError>(measured);
                }
                let low_water = batch.iter().map(|item| item.cursor).max().unwrap_or(0);
                store.record(&batch, low_water).await?;
                for item in batch {
                    measured.items += 1;
                    for micros in item.samples.iter().filter_map(|sample| sample.latency) {
                        measured.challenges += 1;
                        measured.latency.record(Duration::from_micros(micros));
                    }
                }
            }
        });
        let start = Instant::now();
        while start.elapsed() < budget {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                break;
            };
            let cursor = 1 + self.cursor.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let (judge, item, results) = (Arc::clone(&self.judge), self.asked.item(cursor), results.clone());
            tokio::spawn(async move {
                if let Ok(judged) = judge.judge(item).await {
                    let _ended = results.send(judged).await;
                }
                drop(turn);
            });
        }
        drop(results);
        let mut measured = recorder.await.map_err(|_| LoopbackError::NoValidator)??;
        measured.took = start.elapsed();
        Ok(measured)
    }

    /// The same number of the same bytes, bare.
    ///
    /// # Errors
    /// Never in practice: a histogram's bounds are constant.
    pub async fn bare(&self, budget: Duration, at_once: usize) -> Result<Measured, LoopbackError> {
        let turns = Arc::new(Semaphore::new(at_once));
        let measured = Arc::new(Mutex::new(Measured::new()?));
        let start = Instant::now();
        while start.elapsed() < budget {
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else {
                break;
            };
            let drawn: Vec<Channel> = {
                let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
                draw::draw(&self.bare, &mut *draws).into_iter().cloned().collect()
            };
            let (request, measured) = (self.request.clone(), Arc::clone(&measured));
            tokio::spawn(async move {
                let mut calls = JoinSet::new();
                for channel in drawn {
                    let (metadata, body) = request.clone();
                    let request = Request::from_parts(metadata, Extensions::new(), body);
                    calls.spawn(async move {
                        let sent = Instant::now();
                        bare::call(channel, request).await.map(|_| sent.elapsed())
                    });
                }
                while let Some(Ok(Ok(took))) = calls.join_next().await {
                    let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
                    measured.challenges += 1;
                    measured.latency.record(took);
                }
                measured.lock().unwrap_or_else(PoisonError::into_inner).items += 1;
                drop(turn);
            });
        }
        let _all = turns.acquire_many(u32::try_from(at_once).unwrap_or(1)).await;
        let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner).clone();
        measured.took = start.elapsed();
        Ok(measured)
    }

    /// Ends all servers.
    pub fn stop(&self) {
        self.shutdown.cancel();
    }
}

/// What stands beside a request with this body.
async fn tagged(signer: Signer, body: &[u8]) -> Result<MetadataMap, LoopbackError> {
    let mut request = http::Request::new(tonic::body::Body::empty());
    request.extensions_mut().insert(BodyDigest::of(body));
    let channel =
        tower::service_fn(async |request: http::Request<_>| Ok::<_, tower::BoxError>(http::Response::new(request)));
    let sent = signer.layer(channel).call(request).await;
    let sent = sent.map_err(|_| LoopbackError::NoValidator)?.into_body();
    Ok(MetadataMap::from_headers(sent.into_parts().0.headers))
}

async fn bare_channel(uid: u16, verdicts: &Verdicts, shutdown: &CancellationToken) -> Result<Channel, LoopbackError> {
    let hotkey = key(uid);
    let answer = Answer {
        challenge_id: B256::repeat_byte(1),
        outcome: AnswerOutcome::Verdicts(verdicts.clone()),
    };
    let payload = answer.to_wire().encode_to_vec();
    let receiver = hotkey.account();
    let answer = SharedKeys::new(Arc::new(hotkey)).seal(&receiver, ANSWER_PATH, payload, auth::now_ns());
    let server = bare::Server {
        ready: answer.encode_to_vec().into(),
    };
    let (address, _server) = serve(Routes::new(server), &[], shutdown).await?;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.tcp_nodelay(true).connect().await?)
}
