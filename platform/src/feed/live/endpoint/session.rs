//! A connection that is listened to: what the node tells, what it is asked for, and what is passed on of it.

use std::collections::{HashMap, VecDeque};

use engine::B256;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::body::{self, FullBlock};
use super::super::heads::Placement;
use super::super::rpc::{self, Call, Client, Note, RpcError};
use super::super::status::Count;
use super::{Ended, Endpoint, Heard, View};

/// Calls of one batch.
const BATCH: usize = 100;
/// Hashes whose bodies the node does not have yet, and how often they are asked for.
const ABSENT: usize = 4096;
const TRIES: u8 = 3;

/// What the node tells unasked.
#[derive(Debug, Default)]
struct Subscribed {
    heads: Option<String>,
    pending: Option<String>,
    with_bodies: bool,
}

impl Subscribed {
    async fn to(client: &Client) -> Result<Self, RpcError> {
        let with_bodies = subscribe(client, json!(["newPendingTransactions", true])).await?;
        Ok(Self {
            with_bodies: with_bodies.is_some(),
            pending: match with_bodies {
                Some(name) => Some(name),
                None => subscribe(client, json!(["newPendingTransactions"])).await?,
            },
            heads: subscribe(client, json!(["newHeads"])).await?,
        })
    }
}

/// The subscription's name; `None` when the node has no such subscription.
async fn subscribe(client: &Client, params: Value) -> Result<Option<String>, RpcError> {
    match client.call::<Value>("eth_subscribe", params).await {
        Ok(name) => Ok(Some(rpc::subscription_name(&name))),
        Err(error) if error.is_refusal() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a method gives that gives a number.
pub(super) async fn quantity(client: &Client, method: &'static str) -> Result<u64, RpcError> {
    let text: String = client.call(method, json!([])).await?;
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    u64::from_str_radix(digits, 16).map_err(|error| RpcError::Malformed {
        method: method.to_owned(),
        reason: error.to_string(),
    })
}

/// How a pool is polled.
#[derive(Debug)]
enum Pool {
    /// By a filter of this name.
    Filter(Value),
    /// As a whole.
    Content,
}

impl Pool {
    async fn filter(client: &Client) -> Result<Self, RpcError> {
        match client.call("eth_newPendingTransactionFilter", json!([])).await {
            Ok(name) => Ok(Self::Filter(name)),
            Err(error) if error.is_refusal() => Ok(Self::Content),
            Err(error) => Err(error),
        }
    }
}

/// A connection that is listened to.
pub(super) struct Session<'a> {
    endpoint: &'a mut Endpoint,
    client: Client,
    chain_id: u64,
    subscribed: Subscribed,
    pool: Pool,
    /// Announced, but not there when asked for; and how often they were.
    absent: VecDeque<(B256, u8)>,
    /// The last head that was shown.
    latest: B256,
    /// The highest block that the node told unasked, and the one that it had when it was looked at last.
    told: u64,
    looked: Option<u64>,
}

impl<'a> Session<'a> {
    /// Subscribes, where that is possible, and finds out how to poll where not.
    pub(super) async fn begin(
        endpoint: &'a mut Endpoint,
        client: Client,
        chain_id: u64,
        subscribes: bool,
    ) -> Result<Self, RpcError> {
        let subscribed = if subscribes {
            Subscribed::to(&client).await?
        } else {
            Subscribed::default()
        };
        let pool = if subscribed.pending.is_none() {
            Pool::filter(&client).await?
        } else {
            Pool::Content
        };
        Ok(Self {
            endpoint,
            client,
            chain_id,
            subscribed,
            pool,
            absent: VecDeque::new(),
            latest: B256::ZERO,
            told: 0,
            looked: None,
        })
    }

    const fn mode(&self) -> &'static str {
        match (&self.subscribed.pending, &self.pool) {
            (Some(_), _) if self.subscribed.with_bodies => "bodies",
            (Some(_), _) => "hashes",
            (None, Pool::Filter(_)) => "filter",
            (None, Pool::Content) => "content",
        }
    }

    async fn tell(&self, heard: Heard) -> Result<(), Ended> {
        let told = self.endpoint.heard.send((self.endpoint.index, heard)).await;
        told.map_err(|_| Ended::Unwanted)
    }

    /// Listens until the connection or the feed ends.
    pub(super) async fn listen(
        mut self,
        notes: Option<mpsc::Receiver<Note>>,
    ) -> Result<std::convert::Infallible, Ended> {
        self.endpoint.status.up(self.endpoint.index, self.mode());
        self.tell(Heard::Up(self.client.clone())).await?;
        let unpolled = self.subscribed.pending.is_some() && self.subscribed.heads.is_some();
        let every = if unpolled {
            self.endpoint.listening.heartbeat
        } else {
            self.endpoint.listening.poll
        };
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut notes = notes;
        let mut followed = false;
        let mut taken_up = false;
        loop {
            let now_followed = self.endpoint.view.borrow_and_update().followed == Some(self.endpoint.index);
            if now_followed && !followed {
                // Its head is needed at once.
                self.looked = None;
                ticks.reset_immediately();
            }
            followed = now_followed;
            tokio::select! {
                note = next(&mut notes) => match note {
                    Some(note) => self.take(note, &mut notes).await?,
                    // Why it ended, the connection says to the next request.
                    None => {
                        quantity(&self.client, "eth_chainId").await?;
                        return Err(RpcError::Transport("the connection has ended".to_owned()).into());
                    }
                },
                _ = ticks.tick() => {
                    let quiet = notes.as_ref().is_none_or(mpsc::Receiver::is_empty);
                    self.look(followed, quiet).await?;
                    if !taken_up {
                        taken_up = true;
                        self.take_up().await?;
                    }
                }
                changed = self.endpoint.view.changed() => changed.map_err(|_| Ended::Unwanted)?,
                () = self.endpoint.heard.closed() => return Err(Ended::Unwanted),
            }
        }
    }

    /// Asks for what the node does not tell unasked, and whether it is still there. `quiet`: no note waits to be taken.
    async fn look(&mut self, followed: bool, quiet: bool) -> Result<(), Ended> {
        let latest: Announced = self
            .client
            .call("eth_getBlockByNumber", json!(["latest", false]))
            .await?;
        // What waited before the block comes before it: it is in the pool that is asked for now, or among the notes before the one of
        // the block. So a block of which a note will come is left to it, however far behind the notes are taken; only when none waits
        // and still none has come since the look before does the node tell no heads.
        if self.subscribed.pending.is_none() {
            self.poll_pool().await?;
        }
        let absent: Vec<(B256, u8)> = self.absent.drain(..).collect();
        self.bodies_of(absent).await?;
        let before = self.looked.replace(latest.number);
        if self.subscribed.heads.is_none() || before.is_none_or(|before| quiet && self.told < before) {
            self.head(latest, followed).await?;
        }
        Ok(())
    }

    /// What is in the node's pool already.
    async fn take_up(&mut self) -> Result<(), Ended> {
        let bodies = match self.content().await {
            Ok(bodies) => bodies,
            Err(error) if error.is_refusal() => {
                let reason = format!("what was pending before cannot be read: {error}");
                self.endpoint.status.note(self.endpoint.index, &reason);
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        self.pass_on(&bodies).await
    }

    async fn poll_pool(&mut self) -> Result<(), Ended> {
        let Pool::Filter(name) = &self.pool else {
            let bodies = self.content().await?;
            return self.pass_on(&bodies).await;
        };
        let changes: Result<Vec<Box<RawValue>>, _> = self.client.call("eth_getFilterChanges", json!([name])).await;
        match changes {
            Ok(changes) => self.pending(changes).await,
            // The node has forgotten the filter: what came meanwhile is in its pool.
            Err(error) if error.is_refusal() => {
                self.pool = Pool::filter(&self.client).await?;
                self.take_up().await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The bodies of the whole pool, or of the block that the node would make of it.
    async fn content(&self) -> Result<Vec<Box<RawValue>>, RpcError> {
        type Content = HashMap<String, HashMap<String, HashMap<String, Box<RawValue>>>>;
        #[derive(serde::Deserialize)]
        struct PendingBlock {
            transactions: Vec<Box<RawValue>>,
        }
        match self.client.call::<Content>("txpool_content", json!([])).await {
            Ok(content) => {
                let senders = content.into_values().flat_map(HashMap::into_values);
                Ok(senders.flat_map(HashMap::into_values).collect())
            }
            Err(error) if error.is_refusal() => {
                let params = json!(["pending", true]);
                let block: PendingBlock = self.client.call("eth_getBlockByNumber", params).await?;
                Ok(block.transactions)
            }
            Err(error) => Err(error),
        }
    }

    /// One note, and all that have come with it.
    async fn take(&mut self, first: Note, notes: &mut Option<mpsc::Receiver<Note>>) -> Result<(), Ended> {
        let mut pending = Vec::new();
        let mut head = None;
        let mut next = Some(first);
        while let Some((subscription, value)) = next {
            if Some(&subscription) == self.subscribed.pending.as_ref() {
                pending.push(value);
            } else if Some(&subscription) == self.subscribed.heads.as_ref() {
                head = Some(rpc::parse::<Announced>("newHeads", &value)?);
            }
            next = match notes {
                Some(notes) if pending.len() < BATCH => notes.try_recv().ok(),
                _ => None,
            };
        }
        self.pending(pending).await?;
        let followed = self.endpoint.view.borrow().followed == Some(self.endpoint.index);
        match head {
            Some(head) => {
                self.told = head.number;
                self.head(head, followed).await
            }
            None => Ok(()),
        }
    }

    /// Bodies, or hashes of which the bodies are fetched.
    async fn pending(&mut self, values: Vec<Box<RawValue>>) -> Result<(), Ended> {
        let (hashes, bodies): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| value.get().starts_with('"'));
        if !hashes.is_empty() && self.subscribed.with_bodies {
            self.subscribed.with_bodies = false;
            self.endpoint.status.mode(self.endpoint.index, self.mode());
        }
        let hashes: Vec<(B256, u8)> = hashes
            .iter()
            .filter_map(|hash| serde_json::from_str(hash.get()).ok())
            .map(|hash| (hash, 0))
            .collect();
        self.pass_on(&bodies).await?;
        self.bodies_of(hashes).await
    }

    /// Fetches bodies in batches and passes them on.
    async fn bodies_of(&mut self, hashes: Vec<(B256, u8)>) -> Result<(), Ended> {
        let wanted: Vec<(B256, u8)> = hashes
            .into_iter()
            .filter(|(hash, _)| !self.endpoint.seen.contains(hash))
            .collect();
        for wanted in wanted.chunks(BATCH) {
            let calls = wanted.iter().map(|(hash, _)| Call {
                method: "eth_getTransactionByHash",
                params: json!([hash]),
            });
            let results = self.client.batch(calls.collect()).await?;
            let mut bodies = Vec::with_capacity(results.len());
            for ((hash, tries), result) in wanted.iter().zip(results) {
                let body = result?;
                if body.get() != "null" {
                    bodies.push(body);
                } else if *tries < TRIES && self.absent.len() < ABSENT {
                    self.absent.push_back((*hash, tries + 1));
                }
            }
            self.pass_on(&bodies).await?;
        }
        Ok(())
    }

    async fn pass_on(&self, bodies: &[Box<RawValue>]) -> Result<(), Ended> {
        let endpoint = &*self.endpoint;
        for body in bodies {
            if body::named_hash(body).is_some_and(|hash| endpoint.seen.contains(&hash)) {
                continue;
            }
            let transaction = match body::transaction(body, self.chain_id) {
                Ok(transaction) => transaction,
                Err(error) => {
                    endpoint.status.count(Count::Refused, 1);
                    tracing::debug!(node = endpoint.index, %error, "a body is no transaction");
                    continue;
                }
            };
            if endpoint.seen.insert(transaction.hash()) {
                endpoint.status.first(endpoint.index);
                let passed = endpoint.bodies.send((endpoint.index, transaction)).await;
                passed.map_err(|_| Ended::Unwanted)?;
            }
        }
        Ok(())
    }

    async fn head(&mut self, announced: Announced, followed: bool) -> Result<(), Ended> {
        let Announced { hash, number } = announced;
        if hash != self.latest {
            self.latest = hash;
            self.tell(Heard::Height(number)).await?;
        }
        if !followed {
            return Ok(());
        }
        let View { heads, stands, .. } = self.endpoint.view.borrow().clone();
        if stands && heads.contains(&hash) {
            return Ok(());
        }
        let mut blocks: Vec<FullBlock> = Vec::new();
        let mut wanted = hash;
        loop {
            let params = json!([wanted, true]);
            let body: Box<RawValue> = self.client.call("eth_getBlockByHash", params).await?;
            // The node has left it already; what it went to is announced as well.
            if body.get() == "null" {
                return Ok(());
            }
            let block = body::block(&body).map_err(|error| RpcError::Malformed {
                method: "eth_getBlockByHash".to_owned(),
                reason: error.to_string(),
            })?;
            if block.link.hash != wanted {
                return Err(RpcError::Malformed {
                    method: "eth_getBlockByHash".to_owned(),
                    reason: format!("gives block {} for {wanted}", block.link.hash),
                }
                .into());
            }
            blocks.push(block);
            let links: Vec<_> = blocks.iter().map(|block| block.link).collect();
            match heads.place(&links) {
                Placement::Fetch(parent) => wanted = parent,
                Placement::Known | Placement::Adopt(_) => return self.tell(Heard::Chain(blocks)).await,
            }
        }
    }
}

/// A head, as far as it is needed to fetch it.
#[derive(Debug, serde::Deserialize)]
struct Announced {
    hash: B256,
    #[serde(with = "alloy::serde::quantity")]
    number: u64,
}

/// The next note; never, where there are none.
async fn next(notes: &mut Option<mpsc::Receiver<Note>>) -> Option<Note> {
    match notes {
        Some(notes) => notes.recv().await,
        None => std::future::pending().await,
    }
}
