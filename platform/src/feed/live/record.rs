//! The state that a transaction reads at a head: what the feed asks of the state layer.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use engine::{B256, BlockEnv, Prestate, Transaction, WatchSet};
use futures::future::BoxFuture;

/// Why state could not be read, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Whether what was recorded is still good after these changes, in a block under this environment.
pub(super) type StaysGood = Arc<dyn Fn(&state::Diff, &BlockEnv) -> bool + Send + Sync>;

/// What an execution at a head read.
#[derive(Clone)]
pub struct Recorded {
    /// Accounts, slots, code and block hashes.
    pub prestate: Prestate,
    /// How many of the predecessors that were given go before it: the last ones. Those whose nonces were used on this state do not, and
    /// none does where a nonce is missing before them.
    pub behind: usize,
    /// It read something of the block that it would be part of: at another head it may do something else.
    pub reads_environment: bool,
    stays_good: StaysGood,
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded")
            .field("prestate", &self.prestate)
            .field("behind", &self.behind)
            .field("reads_environment", &self.reads_environment)
            .finish_non_exhaustive()
    }
}

impl Recorded {
    /// This prestate, good for as long as `stays_good` says so.
    pub fn new(
        prestate: Prestate,
        reads_environment: bool,
        stays_good: impl Fn(&state::Diff, &BlockEnv) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            prestate,
            behind: 0,
            reads_environment,
            stays_good: Arc::new(stays_good),
        }
    }

    /// This prestate of a transaction and of so many predecessors of it. It is good at its own head only: each block changes what
    /// predecessors pay.
    #[must_use]
    pub fn behind(prestate: Prestate, predecessors: usize) -> Self {
        Self {
            behind: predecessors,
            ..Self::new(prestate, true, |_, _| false)
        }
    }

    /// What is kept once its prestate is given on: the rule alone.
    pub(super) fn rule(self) -> StaysGood {
        self.stays_good
    }
}

/// Reads the chain's state at its heads.
pub trait StateSource: Send + Sync + fmt::Debug {
    /// Follows the chain to this head; gives everything that changed since the one before, over a reorg too.
    fn advance(&self, head: B256) -> BoxFuture<'_, Result<state::Diff, Unreadable>>;

    /// Executes a transaction at a head, behind those of its `predecessors` that go before it there, and judges `watched`, to see what
    /// that reads. It gives up at the deadline.
    fn record(
        &self,
        head: B256,
        predecessors: Vec<Arc<Transaction>>,
        transaction: Arc<Transaction>,
        watched: Arc<WatchSet>,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Recorded, Unreadable>>;
}
