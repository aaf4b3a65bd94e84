//! A chain behind several endpoints that are not to be trusted.
//!
//! What always holds: an answer counts only from an endpoint whose chain id was found right; every request has a deadline and every
//! answer a size; a slow endpoint is not waited for while another one is there ([`NodeConfig::hedge_after`]), and one at fault is set
//! aside with its reason; when none can be reached all are asked again a few times ([`NodeConfig::retries`]). A batch is one round trip.

mod block;
mod call;
mod contract;
mod error;
mod health;
mod link;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use alloy::{primitives::U64, rpc::types::Block};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::{StreamExt as _, stream::FuturesUnordered};
use serde::de::DeserializeOwned;
use serde_json::json;

pub(crate) use self::block::block_call;
pub use self::{
    block::BlockRef,
    call::{Answer, Call, RpcFailure, read},
    contract::{returned, view},
    error::NodeError,
    health::EndpointHealth,
};
use self::{
    health::{Health, Patience, order},
    link::{Fault, Link},
};
use crate::config::{NodeConfig, label};

#[derive(Debug)]
struct Endpoint {
    label: String,
    link: Link,
    health: Mutex<Health>,
}

#[derive(Debug)]
struct Inner {
    config: NodeConfig,
    endpoints: Vec<Endpoint>,
    chain_id: u64,
    round_trips: AtomicU64,
}

/// Why all that were asked gave no answer.
struct Unanswered {
    error: NodeError,
    /// One of them may answer soon.
    is_passing: bool,
}

impl From<NodeError> for Unanswered {
    fn from(error: NodeError) -> Self {
        let is_passing = false;
        Self { error, is_passing }
    }
}

/// A chain, asked over JSON-RPC. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Node {
    inner: Arc<Inner>,
}

impl Endpoint {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Connects to the endpoints and checks their chain ids. Those at fault are set aside and tried again later.
    ///
    /// # Errors
    /// When none is given, one cannot be an endpoint, or none answers with the right chain id.
    pub async fn connect(config: NodeConfig) -> Result<Self, NodeError> {
        if config.endpoints.is_empty() {
            return Err(NodeError::NoEndpoints);
        }
        let mut endpoints = Vec::with_capacity(config.endpoints.len());
        for url in &config.endpoints {
            let link = Link::new(url, config.request_timeout).map_err(|why| NodeError::Endpoint {
                endpoint: label(url),
                why,
            })?;
            endpoints.push(Endpoint {
                label: label(url),
                link,
                health: Mutex::default(),
            });
        }
        let patience = patience(&config);
        let asked = endpoints.iter().map(|endpoint| chain_id_of(endpoint, &config));
        let answered = futures::future::join_all(asked).await;
        let expected = config
            .chain_id
            .or_else(|| answered.iter().find_map(|answer| answer.as_ref().ok().copied()));
        let now = Instant::now();
        let mut reasons = Vec::new();
        for (endpoint, answer) in endpoints.iter().zip(answered) {
            let fault = match (answer, expected) {
                (Ok(found), Some(expected)) if found != expected => wrong_chain(found, expected),
                (Ok(_), _) => {
                    endpoint.health().verified(now);
                    continue;
                }
                (Err(why), _) => why,
            };
            tracing::warn!(endpoint = endpoint.label, reason = fault, "node endpoint set aside");
            endpoint.health().fault(fault.clone(), now, &patience);
            reasons.push((endpoint.label.clone(), fault));
        }
        match expected {
            Some(chain_id) if reasons.len() < endpoints.len() => Ok(Self {
                inner: Arc::new(Inner {
                    config,
                    endpoints,
                    chain_id,
                    round_trips: AtomicU64::new(0),
                }),
            }),
            _ => Err(NodeError::Unavailable(reasons)),
        }
    }

    /// EIP-155 chain id, the same at all endpoints that are used.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.inner.chain_id
    }

    /// How patiently it asks.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    /// Each endpoint, in the order given.
    #[must_use]
    pub fn health(&self) -> Vec<EndpointHealth> {
        let now = Instant::now();
        let of = |endpoint: &Endpoint| {
            let health = endpoint.health();
            EndpointHealth {
                endpoint: endpoint.label.clone(),
                usable: !health.is_aside(now),
                reason: health.reason.clone(),
                latency: health.latency(),
                requests: health.requests,
                failures: health.failures,
            }
        };
        self.inner.endpoints.iter().map(of).collect()
    }

    /// False when every endpoint has said that it does not have this method.
    #[must_use]
    pub fn supports(&self, method: &str) -> bool {
        self.inner
            .endpoints
            .iter()
            .any(|endpoint| !endpoint.health().lacks(method))
    }

    /// Batches sent so far, each of them a round trip; hedged ones count for each endpoint asked.
    #[must_use]
    pub fn round_trips(&self) -> u64 {
        self.inner.round_trips.load(Ordering::Relaxed)
    }

    /// When a request that is begun now must be answered, where nobody else sets a limit.
    #[must_use]
    pub fn patience(&self) -> Instant {
        Instant::now() + self.inner.config.request_timeout.saturating_mul(2)
    }

    /// One call, one round trip.
    ///
    /// # Errors
    /// When no endpoint answers in time, or with an error, or something else than this type.
    pub async fn call<T: DeserializeOwned>(&self, call: Call, deadline: Instant) -> Result<T, NodeError> {
        let method = call.method.clone();
        let answers = self.batch(vec![call], deadline).await?;
        match answers.first() {
            Some(answer) => read(&method, answer),
            None => Err(NodeError::malformed(method, "no answer")),
        }
    }

    /// A block with the hashes of its transactions, or (`full`) the transactions; `None` when the node does not know it.
    ///
    /// # Errors
    /// See [`Node::call`].
    pub async fn block(&self, block: BlockRef, full: bool, deadline: Instant) -> Result<Option<Block>, NodeError> {
        self.call(block_call(block, full), deadline).await
    }

    /// The newest block, with the hashes of its transactions.
    ///
    /// # Errors
    /// See [`Node::call`].
    pub async fn newest(&self) -> Result<Block, NodeError> {
        let block = self.block(BlockRef::Latest, false, self.patience()).await?;
        block.ok_or_else(|| NodeError::malformed("eth_getBlockByNumber", "it has no newest block"))
    }

    /// Several calls in one round trip; gives an answer to each, in their order. Where an endpoint answers some of them with errors,
    /// the next one is asked as well, and the better answer taken.
    ///
    /// # Errors
    /// When no endpoint answers in time.
    pub async fn batch(&self, calls: Vec<Call>, deadline: Instant) -> Result<Vec<Answer>, NodeError> {
        let inner = &*self.inner;
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let mut methods: Vec<&str> = calls.iter().map(|call| &*call.method).collect();
        methods.sort_unstable();
        methods.dedup();
        let mut pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(inner.config.retry_pause)
            .with_max_times(inner.config.retries)
            .build();
        loop {
            let asked = self.ask_in_turn(&calls, &methods, deadline).await;
            let Err(Unanswered {
                error,
                is_passing: true,
            }) = asked
            else {
                return asked.map_err(|unanswered| unanswered.error);
            };
            match pauses.next() {
                Some(pause) if Instant::now() + pause < deadline => {
                    tracing::debug!(%error, ?pause, "no node answers; all are asked again");
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// Asks the endpoints, the best one first, until one answers.
    async fn ask_in_turn(
        &self,
        calls: &[Call],
        methods: &[&str],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Unanswered> {
        let inner = &*self.inner;
        let health: Vec<Health> = inner
            .endpoints
            .iter()
            .map(|endpoint| endpoint.health().clone())
            .collect();
        let turn = order(&health, methods, Instant::now(), &patience(&inner.config));
        let mut turn = turn
            .into_iter()
            .filter_map(|index| inner.endpoints.get(index))
            .peekable();
        let Some(first) = turn.next() else {
            return Err(NodeError::Unsupported(methods.join(", ")).into());
        };
        let mut asked = FuturesUnordered::new();
        let mut waiting = vec![(first.label.as_str(), first, Instant::now())];
        asked.push(self.attempt(first, calls, deadline));
        let mut reasons = Vec::new();
        let mut is_passing = false;
        let mut second_best: Option<Vec<Answer>> = None;
        loop {
            let hedge = tokio::time::sleep(inner.config.hedge_after);
            let ended = tokio::select! {
                biased;
                Some(ended) = asked.next() => Some(ended),
                () = tokio::time::sleep_until(deadline.into()) => {
                    return second_best.ok_or(NodeError::Deadline.into());
                }
                () = hedge, if turn.peek().is_some() => None,
            };
            match ended {
                Some((label, Ok(answers))) => {
                    waiting.retain(|(other, _, _)| *other != label);
                    if answers.iter().all(Result::is_ok) {
                        let now = Instant::now();
                        for (_, slow, since) in waiting {
                            slow.health().was_slow(now.saturating_duration_since(since), now);
                        }
                        return Ok(answers);
                    }
                    let good = |answers: &Vec<Answer>| answers.iter().filter(|answer| answer.is_ok()).count();
                    if second_best.as_ref().is_none_or(|best| good(best) < good(&answers)) {
                        second_best = Some(answers);
                    }
                }
                Some((label, Err(fault))) => {
                    waiting.retain(|(other, _, _)| *other != label);
                    is_passing |= fault.is_passing;
                    reasons.push((label.to_owned(), fault.why));
                }
                None => metrics::counter!("state_hedged_total").increment(1),
            }
            if let Some(next) = turn.next() {
                waiting.push((next.label.as_str(), next, Instant::now()));
                asked.push(self.attempt(next, calls, deadline));
            } else if asked.is_empty() {
                let error = NodeError::Unavailable(reasons);
                return second_best.ok_or(Unanswered { error, is_passing });
            }
        }
    }

    /// Asks one endpoint, and notes how it did.
    async fn attempt<'a>(
        &self,
        endpoint: &'a Endpoint,
        calls: &[Call],
        deadline: Instant,
    ) -> (&'a str, Result<Vec<Answer>, Fault>) {
        let inner = &*self.inner;
        let patience = patience(&inner.config);
        let begun = Instant::now();
        let check = endpoint.health().needs_check(begun, &patience);
        let chain_id = Call::new("eth_chainId", json!([]));
        let mut batch: Vec<&Call> = calls.iter().collect();
        if check {
            batch.push(&chain_id);
        }
        endpoint.health().requests += 1;
        inner.round_trips.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("state_round_trips_total", "endpoint" => endpoint.label.clone()).increment(1);
        let limit = deadline
            .saturating_duration_since(begun)
            .min(inner.config.request_timeout);
        let sent = tokio::time::timeout(limit, endpoint.link.send(&batch, inner.config.max_response_bytes)).await;
        let now = Instant::now();
        let answered = match sent {
            Ok(answers) => answers,
            Err(_) if limit < inner.config.request_timeout => {
                // The caller was in a hurry: that says little about the endpoint.
                endpoint.health().was_slow(limit, now);
                return (&endpoint.label, Err(format!("no answer within {limit:?}").into()));
            }
            Err(_) => {
                endpoint.link.drop_connection();
                Err(Fault::from(format!("no answer within {limit:?}")))
            }
        };
        let checked = answered.and_then(|mut answers| {
            if check {
                let found = answers.pop().ok_or_else(|| "no chain id".to_owned())?;
                verify(&found, inner.chain_id)?;
                endpoint.health().verified(now);
            }
            Ok(answers)
        });
        let mut health = endpoint.health();
        match &checked {
            Ok(answers) => {
                for failure in answers.iter().filter_map(|answer| answer.as_ref().err()) {
                    if failure.is_unsupported() && is_optional(&failure.method) {
                        health.learn_lacking(&failure.method);
                    }
                }
                let unsupported = |answer: &Answer| answer.as_ref().is_err_and(RpcFailure::is_unsupported);
                if answers.iter().all(|answer| answer.is_err() && !unsupported(answer)) {
                    let why = answers
                        .iter()
                        .find_map(|answer| answer.as_ref().err())
                        .map(ToString::to_string);
                    health.only_errors(&why.unwrap_or_default(), now, &patience);
                } else {
                    health.good(now.saturating_duration_since(begun), now);
                }
            }
            Err(Fault { why, .. }) => {
                tracing::warn!(endpoint = endpoint.label, reason = why, "node endpoint set aside");
                metrics::counter!("state_endpoint_faults_total", "endpoint" => endpoint.label.clone()).increment(1);
                health.fault(why.clone(), now, &patience);
            }
        }
        (&endpoint.label, checked)
    }
}

/// True for methods that a node may well not have. Without the others it is none, and what it says of them is some other trouble.
fn is_optional(method: &str) -> bool {
    method.starts_with("debug_") || matches!(method, "eth_createAccessList" | "eth_getBlockReceipts")
}

fn patience(config: &NodeConfig) -> Patience {
    Patience {
        retry_after: config.retry_after,
        retry_at_most: config.retry_at_most,
        recheck: config.recheck,
    }
}

async fn chain_id_of(endpoint: &Endpoint, config: &NodeConfig) -> Result<u64, String> {
    let call = Call::new("eth_chainId", json!([]));
    endpoint.health().requests += 1;
    let calls = [&call];
    let sent = endpoint.link.send(&calls, config.max_response_bytes);
    let answers = match tokio::time::timeout(config.request_timeout, sent).await {
        Ok(answers) => answers.map_err(|fault| fault.why)?,
        Err(_) => return Err(format!("no answer within {:?}", config.request_timeout)),
    };
    let answer = answers.first().ok_or_else(|| "no chain id".to_owned())?;
    chain_id(answer)
}

fn chain_id(answer: &Answer) -> Result<u64, String> {
    let id: U64 = read("eth_chainId", answer).map_err(|error| error.to_string())?;
    Ok(id.to())
}

fn verify(answer: &Answer, expected: u64) -> Result<(), String> {
    let found = chain_id(answer)?;
    if found == expected {
        Ok(())
    } else {
        Err(wrong_chain(found, expected))
    }
}

fn wrong_chain(found: u64, expected: u64) -> String {
    format!("it is on chain {found}, not {expected}")
}
