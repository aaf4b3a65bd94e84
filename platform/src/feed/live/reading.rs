//! The state layer over the feed's nodes: connected when it is first needed, and again when it could not be.
//!
//! Its nodes are those of the feed, asked over their own connections: a slow read holds up no subscription.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use engine::{B256, EnvReads, Transaction, WatchSet};
use futures::future::BoxFuture;
use state::{Node, NodeConfig, Reader, ReaderConfig, Recording};
use tokio::sync::Mutex;
use url::Url;

use super::LiveOptions;
use super::record::{Recorded, StateSource, Unreadable};

/// How long it is left alone after it could not be connected.
const PAUSE: Duration = Duration::from_secs(1);

/// State read from nodes.
#[derive(Debug, Clone)]
pub(super) struct NodeState {
    node: NodeConfig,
    reader: ReaderConfig,
    /// The chain that the feed follows, once that is known: the state is read from no other.
    chain_id: Arc<OnceLock<u64>>,
    connection: Arc<Mutex<Connection>>,
}

#[derive(Debug, Default)]
struct Connection {
    reader: Option<Reader>,
    failed: Option<(Instant, Unreadable)>,
}

impl NodeState {
    pub(super) fn new(urls: &[Url], options: &LiveOptions, chain_id: Arc<OnceLock<u64>>) -> Self {
        let node = NodeConfig {
            endpoints: urls.to_vec(),
            request_timeout: options.request_timeout,
            max_response_bytes: options.max_message_bytes,
            ..NodeConfig::default()
        };
        let reader = ReaderConfig {
            block_time: options.block_time,
            max_inflight: options.recordings,
            max_slots: options.max_slots,
            code_dir: options.code_dir.clone(),
            ..ReaderConfig::default()
        };
        Self {
            node,
            reader,
            chain_id,
            connection: Arc::default(),
        }
    }

    async fn reader(&self) -> Result<Reader, Unreadable> {
        let mut connection = self.connection.lock().await;
        if let Some(reader) = &connection.reader {
            return Ok(reader.clone());
        }
        if let Some((at, reason)) = &connection.failed
            && at.elapsed() < PAUSE
        {
            return Err(reason.clone());
        }
        let connected = async {
            let config = NodeConfig {
                chain_id: self.chain_id.get().copied(),
                ..self.node.clone()
            };
            let node = Node::connect(config).await.map_err(unreadable)?;
            Reader::new(node, self.reader.clone()).await.map_err(unreadable)
        };
        match connected.await {
            Ok(reader) => {
                connection.reader = Some(reader.clone());
                connection.failed = None;
                Ok(reader)
            }
            Err(reason) => {
                connection.failed = Some((Instant::now(), reason.clone()));
                Err(reason)
            }
        }
    }
}

/// What a transaction reads behind those of its predecessors (contiguous, up to its own nonce) that go before it at this head; `None`
/// where none does: their nonces are used, or one is missing before the first of them.
async fn behind(
    reader: &Reader,
    head: B256,
    predecessors: &[Arc<Transaction>],
    transaction: &Transaction,
    set: &Arc<WatchSet>,
    deadline: Instant,
) -> Result<Option<Recorded>, Unreadable> {
    let mut left: Vec<Transaction> = predecessors.iter().map(|tx| Transaction::clone(tx)).collect();
    while let Some(first) = left.first() {
        let judged = reader.judge_behind(head, &left, transaction, set, deadline).await;
        let recording = judged.map_err(unreadable)?;
        let sender = recording.prestate.accounts.get(&transaction.sender());
        // Where nothing asked for the sender's account, nothing was executed.
        let next = sender.map_or(0, |sender| sender.account.unwrap_or_default().nonce);
        if next < first.nonce() {
            return Ok(None);
        }
        if next == first.nonce() {
            return Ok(Some(Recorded::behind(recording.prestate, left.len())));
        }
        // Read once more without what was used already: it is no part of what goes before.
        left.retain(|predecessor| predecessor.nonce() >= next);
    }
    Ok(None)
}

fn unreadable(error: impl std::fmt::Display) -> Unreadable {
    Unreadable(error.to_string())
}

impl StateSource for NodeState {
    fn advance(&self, head: B256) -> BoxFuture<'_, Result<state::Diff, Unreadable>> {
        Box::pin(async move {
            let changes = self.reader().await?.advance(head).await.map_err(unreadable)?;
            let mut all = state::Diff::default();
            for change in changes {
                all.then(state::Diff::clone(&change.diff));
            }
            Ok(all)
        })
    }

    fn record(
        &self,
        head: B256,
        predecessors: Vec<Arc<Transaction>>,
        transaction: Arc<Transaction>,
        set: Arc<WatchSet>,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Recorded, Unreadable>> {
        let this = self.clone();
        Box::pin(async move {
            let reader = this.reader().await?;
            if let Some(recorded) = behind(&reader, head, &predecessors, &transaction, &set, deadline).await? {
                return Ok(recorded);
            }
            let mut recording = reader
                .judge(head, &transaction, &set, deadline)
                .await
                .map_err(unreadable)?;
            let prestate = recording.prestate.clone();
            let reads_environment = recording.env_reads != EnvReads::NONE;
            // Bytecode is the larger part, and carrying over does not look at it.
            recording.prestate.codes.clear();
            Ok(Recorded::new(prestate, reads_environment, move |diff, next| {
                let recording: &Recording = &recording;
                state::carries_over(recording, diff, next)
            }))
        })
    }
}
