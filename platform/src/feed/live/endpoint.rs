//! One node that is listened to: connected, checked, subscribed or polled, and taken up again when it breaks off.
//!
//! What always holds: a node of another chain is never listened to; every wait has a deadline; a node that does not answer is
//! found out by the look for its latest block, even while it keeps the connection open; and what it shows is proven before it is
//! passed on.

mod seen;
mod session;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use engine::Transaction;
use tokio::sync::{mpsc, watch};
use url::Url;

pub(super) use self::seen::Seen;
use self::session::{Session, quantity};
use super::body::FullBlock;
use super::heads::Heads;
use super::rpc::{Client, RpcError, RpcLimits};
use super::status::LiveStatus;

/// What is followed, for all nodes to see.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Whose heads.
    pub(super) followed: Option<usize>,
    /// The chain.
    pub(super) heads: Arc<Heads>,
    /// Transactions are judged on its newest head. Not yet after a restart: then even a known head is news.
    pub(super) stands: bool,
}

/// What a node shows besides transactions.
#[derive(Debug)]
pub(super) enum Heard {
    /// It is listened to.
    Up(Client),
    /// It is not any more.
    Down,
    /// It has this block.
    Height(u64),
    /// A head of the followed node, and those of its ancestors that are new; newest first.
    Chain(Vec<FullBlock>),
}

/// How a node is listened to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    pub(super) limits: RpcLimits,
    /// How often a node without subscriptions is asked.
    pub(super) poll: Duration,
    /// How often a node with subscriptions is asked for its latest block.
    pub(super) heartbeat: Duration,
}

/// One node.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) index: usize,
    pub(super) url: Url,
    pub(super) listening: Listening,
    /// The chain that is followed; that of the first node when nothing else says.
    pub(super) chain: Arc<OnceLock<u64>>,
    pub(super) view: watch::Receiver<View>,
    pub(super) seen: Arc<Seen>,
    pub(super) status: LiveStatus,
    pub(super) heard: mpsc::Sender<(usize, Heard)>,
    pub(super) bodies: mpsc::Sender<(usize, Transaction)>,
}

/// Why listening ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// Nobody wants to know any more.
    #[error("the feed has ended")]
    Unwanted,
    /// It is not the chain that is followed.
    #[error("it is of chain {actual}, the feed follows chain {expected}")]
    Chain { expected: u64, actual: u64 },
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

impl Endpoint {
    /// Listens until nobody wants to know any more.
    pub(super) async fn run(mut self) {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(10))
            .without_max_times();
        let mut pause = pauses.build();
        loop {
            let mut was_up = false;
            let Err(ended) = Box::pin(self.session(&mut was_up)).await;
            if matches!(ended, Ended::Unwanted) {
                return;
            }
            self.status.down(self.index, &ended.to_string());
            if was_up {
                pause = pauses.build();
                if self.heard.send((self.index, Heard::Down)).await.is_err() {
                    return;
                }
            }
            let wait = pause.next().unwrap_or(Duration::from_secs(10));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.heard.closed() => return,
            }
        }
    }

    async fn session(&mut self, was_up: &mut bool) -> Result<std::convert::Infallible, Ended> {
        let (client, notes) = Client::connect(&self.url, self.listening.limits).await?;
        let actual: u64 = quantity(&client, "eth_chainId").await?;
        let expected = *self.chain.get_or_init(|| actual);
        if actual != expected {
            return Err(Ended::Chain { expected, actual });
        }
        let session = Session::begin(self, client, expected, notes.is_some()).await?;
        *was_up = true;
        session.listen(notes).await
    }
}
