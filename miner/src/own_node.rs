//! The miner's own node: the state of a challenge's head, read when none came with the challenge, or to check what came.
//!
//! What always holds: every read ends at its deadline, and what cannot be read has a reason. Heads are followed as challenges name
//! them; a challenge on a head that is long past does not move the head back.

use std::sync::Arc;
use std::time::Instant;

use engine::{B256, Prestate, WatchSet};
use state::{NodeConfig, NodeError, Reader, ReaderConfig, Unavailable};
use tokio::sync::Mutex;
use wire::Challenge;

/// Why the own node gave no state for a challenge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnNodeError {
    /// The challenge is of another chain.
    #[error("the challenge is of chain {challenge}, this miner's node of chain {node}")]
    OtherChain {
        /// The challenge's.
        challenge: u64,
        /// The node's.
        node: u64,
    },
    /// The head is deeper in the past than what is kept.
    #[error("the challenge's head {head} at height {number} is too far behind this miner's, at height {newest}")]
    TooOld {
        /// The challenge's head.
        head: B256,
        /// Its height.
        number: u64,
        /// The height of the newest head.
        newest: u64,
    },
    /// The invariants are no set.
    #[error("the challenge's invariants are no set: {0}")]
    Invariants(String),
    /// The state layer's reason.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A reader of the miner's own nodes.
#[derive(Debug, Clone)]
pub struct OwnNode {
    reader: Reader,
    kept: u64,
    /// Held by who moves the head.
    following: Arc<Mutex<()>>,
}

impl OwnNode {
    /// Connects to the nodes and reads their newest head.
    ///
    /// # Errors
    /// When none of them answers as a node of one chain.
    pub async fn connect(nodes: NodeConfig, reader: ReaderConfig) -> Result<Self, Unavailable> {
        let kept = reader.kept_heads as u64;
        let node = state::Node::connect(nodes)
            .await
            .map_err(|error: NodeError| Unavailable::Node(error))?;
        Ok(Self {
            reader: Reader::new(node, reader).await?,
            kept,
            following: Arc::default(),
        })
    }

    /// The chain that the nodes are on.
    pub fn chain_id(&self) -> u64 {
        self.reader.chain_id()
    }

    /// What executing the challenge's transaction behind its predecessors and judging its invariants reads at the challenge's head.
    ///
    /// # Errors
    /// [`OwnNodeError`], by the deadline.
    pub async fn read(&self, challenge: &Challenge, deadline: Instant) -> Result<Prestate, OwnNodeError> {
        if challenge.chain_id != self.chain_id() {
            return Err(OwnNodeError::OtherChain {
                challenge: challenge.chain_id,
                node: self.chain_id(),
            });
        }
        let followed = tokio::time::timeout_at(deadline.into(), self.follow(challenge));
        followed.await.map_err(|_elapsed| Unavailable::Deadline)??;
        let set =
            WatchSet::new(challenge.invariants.clone()).map_err(|error| OwnNodeError::Invariants(error.to_string()))?;
        let judged = self
            .reader
            .judge_behind(
                challenge.head_hash,
                &challenge.predecessors,
                &challenge.transaction,
                &Arc::new(set),
                deadline,
            )
            .await?;
        Ok(judged.prestate)
    }

    /// Makes the challenge's head known.
    async fn follow(&self, challenge: &Challenge) -> Result<(), OwnNodeError> {
        let head = challenge.head_hash;
        if self.reader.at(head).is_some() {
            return Ok(());
        }
        let _following = self.following.lock().await;
        // Another challenge may have led here meanwhile.
        if self.reader.at(head).is_some() {
            return Ok(());
        }
        let (number, newest) = (challenge.env.number.saturating_sub(1), self.reader.head().head().number);
        if number.saturating_add(self.kept) <= newest {
            return Err(OwnNodeError::TooOld { head, number, newest });
        }
        self.reader.advance(head).await?;
        Ok(())
    }
}
