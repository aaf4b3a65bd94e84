//! The gRPC service: from a challenge, whose signature the gate has checked, to a signed answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chain::Followed;
use chain::auth::admission::Requirement;
use chain::auth::layer::{self, Gate, Gated};
use chain::auth::{self, SharedKeys};
use chain::wallet::Keypair;
use engine::pool::{Job, Pool, Refused, Wishes};
use engine::{WatchSet, Watched};
use node::exit::Failure;
use node::server::MESSAGE_LIMIT;
use prost::Message;
use protos::v1::{
    self,
    miner_server::{Miner, MinerServer},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tower::Layer;
use wire::{ANSWER_PATH, Answer, AnswerOutcome, Challenge, Finding, FindingVerdict, Verdicts, Wire};

use crate::check::difference;
use crate::codes::CodeCache;
use crate::conduct::{Board, Conduct};
use crate::config::{Check, Config, StateSource};
use crate::own_node::OwnNode;

/// What needs no signature: nothing.
const OPEN: &[&str] = &[];

/// No validator waits longer, whatever its challenge says.
const LONGEST_DEADLINE: Duration = Duration::from_secs(60);

/// The part of a challenge's deadline in which its state may be read from the own node.
const READING: f64 = 0.8;

/// How long a comparison off the answer's path may take.
const CHECK_WITHIN: Duration = Duration::from_secs(10);

/// Comparisons with the own node that may be under way at once.
const CHECKS_AT_ONCE: usize = 4;

/// Serves challenges.
#[derive(Debug)]
pub struct ChallengeService {
    keys: Arc<SharedKeys>,
    metagraph: Followed,
    asked_by: Requirement,
    codes: CodeCache,
    pool: Pool,
    state: StateSource,
    conduct: Conduct,
    own: Option<OwnNode>,
    checks: Checks,
    shutdown: CancellationToken,
}

/// Which prestates are compared with the own node, and how many at once.
#[derive(Debug)]
struct Checks {
    mode: Check,
    one_in: u64,
    /// Prestates that came.
    came: AtomicU64,
    /// Comparisons that may be under way at once; a further one is left out and counted.
    turns: Arc<Semaphore>,
}

impl Checks {
    /// A turn for this prestate, when it is one that is compared.
    fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if self.mode == Check::Off || !self.came.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.one_in) {
            return None;
        }
        let turn = Arc::clone(&self.turns).try_acquire_owned().ok();
        if turn.is_none() {
            counted("skipped");
        }
        turn
    }
}

/// Counts a comparison by its result.
fn counted(result: &'static str) {
    metrics::counter!("miner_prestate_checks_total", "result" => result).increment(1);
}

/// Compares a prestate with what the own node has; gives the difference in words.
async fn compare(
    own: &OwnNode,
    challenge: &Challenge,
    shipped: &engine::Prestate,
    deadline: Instant,
) -> Option<String> {
    match own.read(challenge, deadline).await {
        Ok(mine) => {
            let found = difference(shipped, &mine);
            counted(if found.is_some() { "different" } else { "same" });
            let found = found?.to_string();
            let (tx, head) = (challenge.transaction.hash(), challenge.head_hash);
            tracing::warn!(%tx, %head, difference = %found, "the prestate of a challenge is not the chain's");
            Some(found)
        }
        Err(error) => {
            counted("unavailable");
            tracing::debug!(%error, "a prestate could not be compared");
            None
        }
    }
}

/// The answer where there is no verdict: the same reason for every invariant.
fn undecided(challenge: &Challenge, reason: &str) -> Verdicts {
    let finding = |invariant: &Watched| Finding {
        invariant_id: invariant.id(),
        verdict: FindingVerdict::Undecided {
            reason: reason.to_owned(),
        },
    };
    let mut findings: Vec<Finding> = challenge.invariants.iter().map(finding).collect();
    findings.sort_by_key(|finding| finding.invariant_id);
    Verdicts {
        findings,
        execution: None,
        engine_version: engine::ENGINE_VERSION.to_owned(),
        state_digest: None,
    }
}

/// What there is to execute on.
enum Ground {
    State(engine::Prestate),
    /// Bytecode that the miner lacks.
    MissingCodes(Vec<engine::B256>),
    /// None, for this reason.
    Nothing(String),
}

impl ChallengeService {
    /// Starts the engines.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(
        config: &Config,
        hotkey: Arc<Keypair>,
        metagraph: Followed,
        own: Option<OwnNode>,
        shutdown: CancellationToken,
    ) -> Result<Self, Failure> {
        Ok(Self {
            conduct: Conduct::new(config.behaviour, hotkey.account()),
            keys: Arc::new(SharedKeys::new(hotkey)),
            metagraph,
            asked_by: Requirement {
                stake: config.validator_stake.rao(),
                ..Requirement::VALIDATOR
            },
            codes: CodeCache::new(config.code_cache_bytes),
            pool: Pool::start(config.threads, config.queue)?,
            state: config.state,
            own,
            checks: Checks {
                mode: config.check_prestate,
                one_in: config.check_one_in.max(1),
                came: AtomicU64::new(0),
                turns: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            },
            shutdown,
        })
    }

    /// What this miner answers can be overheard on `board`, and it overhears there what others answer.
    #[must_use]
    pub fn overheard_on(mut self, board: Arc<Board>) -> Self {
        self.conduct = self.conduct.overheard_on(board);
        self
    }

    /// The tonic server of it, behind the check of who calls: it answers validators of the subnet.
    pub fn into_server(self) -> Gated<MinerServer<Self>> {
        let me = self.keys.keypair().account();
        let checks = auth::Checks::new(Some(me)).sharing(Arc::clone(&self.keys));
        let admission = self.asked_by.admission(self.metagraph.clone());
        let gate = Gate::new(checks, OPEN, MESSAGE_LIMIT).admitting(admission);
        gate.layer(
            MinerServer::new(self)
                .max_decoding_message_size(MESSAGE_LIMIT)
                .max_encoding_message_size(MESSAGE_LIMIT),
        )
    }

    async fn answer(&self, challenge: Challenge) -> Result<Answer, Status> {
        let received = Instant::now();
        let deadline = challenge.deadline.min(LONGEST_DEADLINE);
        let id = challenge.id;
        let outcome = match self.conduct.without_execution(&challenge, deadline).await? {
            Some(verdicts) => AnswerOutcome::Verdicts(verdicts),
            None => match self.ground(&challenge, received, deadline).await? {
                Ground::MissingCodes(missing) => AnswerOutcome::MissingCodes(missing),
                Ground::Nothing(reason) => AnswerOutcome::Verdicts(self.conduct.tell(undecided(&challenge, &reason))),
                Ground::State(state) => {
                    let verdicts = self.execute(challenge, state, received + deadline).await?;
                    AnswerOutcome::Verdicts(self.conduct.tell(verdicts))
                }
            },
        };
        if let AnswerOutcome::Verdicts(verdicts) = &outcome {
            self.conduct.post(id, verdicts);
        }
        // A sleep of no length would still wait for the timer's next tick, a millisecond.
        if let Some(delay) = self.conduct.delay(deadline) {
            tokio::time::sleep(delay).await;
        }
        Ok(Answer {
            challenge_id: id,
            outcome,
        })
    }

    /// The state to execute on: the one that came, compared with the own node's as configured, or the own node's.
    async fn ground(&self, challenge: &Challenge, received: Instant, patience: Duration) -> Result<Ground, Status> {
        // The rest is for the execution and the way back.
        let read_by = received + patience.mul_f64(READING);
        let shipped = match self.state {
            StateSource::Challenge => challenge.prestate.clone(),
            StateSource::Node => None,
        };
        let Some(shipped) = shipped else {
            let own = self.own.as_ref().ok_or_else(|| {
                Status::failed_precondition("the challenge carries no prestate, and this miner has no node to read")
            })?;
            metrics::counter!("miner_own_reads_total").increment(1);
            return Ok(match own.read(challenge, read_by).await {
                Ok(state) => Ground::State(state),
                Err(error) => Ground::Nothing(format!("this miner's node: {error}")),
            });
        };
        let state = match shipped.complete(|hash| self.codes.get(hash)) {
            Ok(state) => state,
            Err(missing) => return Ok(Ground::MissingCodes(missing)),
        };
        let Some((own, turn)) = self.own.as_ref().and_then(|own| Some((own, self.checks.turn()?))) else {
            return Ok(Ground::State(state));
        };
        if self.checks.mode == Check::Undecided {
            let found = compare(own, challenge, &state, read_by).await;
            return Ok(match found {
                Some(difference) => Ground::Nothing(format!("the prestate is not the chain's: {difference}")),
                None => Ground::State(state),
            });
        }
        let (own, challenge, compared, shutdown) =
            (own.clone(), challenge.clone(), state.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            let _turn = turn;
            tokio::select! {
                _ = compare(&own, &challenge, &compared, Instant::now() + CHECK_WITHIN) => {}
                () = shutdown.cancelled() => {}
            }
        });
        Ok(Ground::State(state))
    }

    async fn execute(
        &self,
        challenge: Challenge,
        state: engine::Prestate,
        deadline: Instant,
    ) -> Result<Verdicts, Status> {
        let (reply, result) = oneshot::channel();
        let (tell, mut told) = oneshot::channel();
        let set = WatchSet::new(challenge.invariants)
            .map_err(|error| Status::invalid_argument(format!("field `challenge.invariants`: {error}")))?;
        let job = Job {
            chain_id: challenge.chain_id,
            env: challenge.env,
            transaction: challenge.transaction,
            predecessors: challenge.predecessors,
            state,
            set: Arc::new(set),
            wishes: Wishes::default(),
            is_late: Box::new(move || Instant::now() >= deadline),
            reply: Box::new(move |outcome| {
                // A validator that no longer waits does not need the answer.
                let _gone = reply.send(outcome);
            }),
        };
        metrics::gauge!("miner_queue").set(self.pool.waiting() as f64);
        // The digest of what was read is told before the reply, so it is there when the reply is.
        let tell = move |digest| {
            let _gone = tell.send(digest);
        };
        self.pool.submit_recording(job, tell).map_err(|refused| match refused {
            Refused::Full { .. } => Status::resource_exhausted(format!("{refused}; try another miner")),
            Refused::Ended => Status::unavailable(refused.to_string()),
        })?;
        match tokio::time::timeout_at(deadline.into(), result).await {
            Ok(Ok(Ok(outcome))) => Ok(Verdicts::from(&outcome).on_state(told.try_recv().ok())),
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
        metrics::counter!("miner_challenges_total").increment(1);
        let received = Instant::now();
        let validator = layer::caller(&request)?.hotkey;
        let request = request.into_inner();
        let invalid = |error: protos::DecodeError| Status::invalid_argument(error.to_string());
        for code in &request.codes {
            let (hash, bytecode) = wire::code_from_wire(code).map_err(invalid)?;
            self.codes.insert(hash, bytecode);
        }
        let message = protos::required("challenge", request.challenge.as_ref()).map_err(invalid)?;
        let challenge = Challenge::from_wire(message).map_err(invalid)?;
        let mut span = node::trace::stage(challenge.transaction.hash(), "execute").began_before(received.elapsed());
        let answer = self
            .answer(challenge)
            .await
            .inspect_err(|status| span.failed(status.message().to_owned()))?;
        metrics::histogram!("miner_answer_seconds").record(received.elapsed().as_secs_f64());
        let payload = answer.to_wire().encode_to_vec();
        let receiver = self.conduct.receiver(validator);
        let signed = self.keys.seal(&receiver, ANSWER_PATH, payload, auth::now_ns());
        Ok(Response::new(self.conduct.send(signed)))
    }
}
