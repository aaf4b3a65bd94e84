//! The gRPC service: from a signed challenge to a signed answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chain::Followed;
use chain::auth;
use chain::replay::{ReplayGuard, ReplayLimits};
use chain::wallet::Keypair;
use engine::pool::{Job, Pool, Refused};
use node::exit::Failure;
use prost::Message;
use protos::v1::{self, miner_server::Miner};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};
use wire::{Answer, AnswerOutcome, Challenge, Verdicts, Wire};

use crate::behaviour::Behaviour;
use crate::codes::CodeCache;
use crate::config::{Config, StateSource};

/// The path that a challenge is signed for.
pub const CHALLENGE_PATH: &str = "/portcullis.v1.Miner/Challenge";

/// Where an answer to it is signed for: not the same, so that an answer can never pass for a challenge.
pub const ANSWER_PATH: &str = "/portcullis.v1.Miner/Challenge#answer";

/// No validator waits longer, whatever its challenge says.
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);

/// Serves challenges.
#[derive(Debug)]
pub struct ChallengeService {
    hotkey: Arc<Keypair>,
    metagraph: Followed,
    guard: ReplayGuard,
    codes: CodeCache,
    pool: Pool,
    state: StateSource,
    behaviour: Behaviour,
}

impl ChallengeService {
    /// Starts the engines.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(config: &Config, hotkey: Arc<Keypair>, metagraph: Followed) -> Result<Self, Failure> {
        Ok(Self {
            hotkey,
            metagraph,
            guard: ReplayGuard::new(ReplayLimits::default()),
            codes: CodeCache::new(config.code_cache_bytes),
            pool: Pool::start(config.threads, config.queue)?,
            state: config.state,
            behaviour: config.behaviour,
        })
    }

    /// Who sent it, when that is a validator of the subnet.
    fn authenticate(&self, signed: &v1::Signed) -> Result<chain::AccountId, Status> {
        let sender = auth::open(
            signed,
            &self.hotkey.account(),
            CHALLENGE_PATH,
            auth::now_ns(),
            &self.guard,
        )?;
        let permitted = self
            .metagraph
            .borrow()
            .by_hotkey(&sender.hotkey)
            .is_some_and(|neuron| neuron.validator_permit);
        if !permitted {
            return Err(Status::permission_denied(format!(
                "{} has no validator permit on this subnet",
                sender.hotkey
            )));
        }
        Ok(sender.hotkey)
    }

    async fn answer(&self, challenge: Challenge) -> Result<Answer, Status> {
        let received = Instant::now();
        let deadline = challenge.deadline.min(LONGEST_DEADLINE);
        let id = challenge.id;
        let outcome = match self.behaviour.without_execution(&challenge) {
            Some(verdicts) => AnswerOutcome::Verdicts(verdicts),
            None => match self.complete(&challenge)? {
                Err(missing) => AnswerOutcome::MissingCodes(missing),
                Ok(state) => {
                    let verdicts = self.execute(challenge, state, received + deadline).await?;
                    AnswerOutcome::Verdicts(self.behaviour.tell(verdicts))
                }
            },
        };
        // A sleep of no length would still wait for the timer's next tick, a millisecond.
        if let Some(delay) = self.behaviour.delay() {
            tokio::time::sleep(delay).await;
        }
        Ok(Answer {
            challenge_id: id,
            outcome,
        })
    }

    /// The state to execute on, or the bytecodes that it lacks.
    fn complete(&self, challenge: &Challenge) -> Result<Result<engine::Prestate, Vec<engine::B256>>, Status> {
        match self.state {
            StateSource::Challenge => {
                let shipped = challenge.prestate.clone().ok_or_else(|| {
                    Status::failed_precondition("the challenge carries no prestate, and this miner has no node to read")
                })?;
                Ok(shipped.complete(|hash| self.codes.get(hash)))
            }
        }
    }

    async fn execute(
        &self,
        challenge: Challenge,
        state: engine::Prestate,
        deadline: Instant,
    ) -> Result<Verdicts, Status> {
        let (reply, result) = oneshot::channel();
        let job = Job {
            chain_id: challenge.chain_id,
            env: challenge.env,
            transaction: challenge.transaction,
            state,
            invariants: challenge.invariants,
            is_late: Box::new(move || Instant::now() >= deadline),
            reply: Box::new(move |outcome| {
                // A validator that no longer waits does not need the answer.
                let _gone = reply.send(outcome);
            }),
        };
        metrics::gauge!("miner_queue").set(self.pool.waiting() as f64);
        self.pool.submit(job).map_err(|refused| match refused {
            Refused::Full { .. } => Status::resource_exhausted(format!("{refused}; try another miner")),
            Refused::Ended => Status::unavailable(refused.to_string()),
        })?;
        match tokio::time::timeout_at(deadline.into(), result).await {
            Ok(Ok(Ok(outcome))) => Ok(Verdicts::from(&outcome)),
            Ok(Ok(Err(error))) => Err(Status::internal(error.to_string())),
            Ok(Err(_)) | Err(_) => Err(Status::deadline_exceeded(
                "the challenge was not executed before its deadline",
            )),
        }
    }
}

#[tonic::async_trait]
impl Miner for ChallengeService {
    async fn challenge(&self, request: Request<v1::ChallengeRequest>) -> Result<Response<v1::Signed>, Status> {
        metrics::counter!("miner_challenges").increment(1);
        let request = request.into_inner();
        let signed = request
            .challenge
            .ok_or_else(|| Status::invalid_argument("field `challenge` is missing"))?;
        let validator = self.authenticate(&signed)?;
        let invalid = |error: protos::DecodeError| Status::invalid_argument(error.to_string());
        for code in &request.codes {
            let (hash, bytecode) = wire::code_from_wire(code).map_err(invalid)?;
            self.codes.insert(hash, bytecode);
        }
        let message = v1::Challenge::decode(signed.payload)
            .map_err(|error| Status::invalid_argument(format!("payload is no Challenge: {error}")))?;
        let challenge = Challenge::from_wire(&message).map_err(invalid)?;
        let answer = self.answer(challenge).await?;
        let payload = answer.to_wire().encode_to_vec();
        Ok(Response::new(auth::seal(
            &self.hotkey,
            Some(&validator),
            ANSWER_PATH,
            payload,
            auth::now_ns(),
        )))
    }
}
