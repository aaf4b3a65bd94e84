//! What a running keeper tells of itself, on `GET /health` ([`node::condition`]). What always holds: nothing in it is a secret: no key, no
//! password, no address of a node.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use node::condition::{Condition, old_head};

/// The keeper's page.
pub type Health = node::condition::Health<Shown>;

/// How the keeper stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Shown {
    /// A newest head that is older, by the wall clock, keeps it from its work.
    #[serde(skip)]
    pub max_head_age: Duration,
    /// EIP-155.
    pub chain_id: u64,
    /// The contract.
    pub agent: Address,
    /// This keeper's number; 0: none.
    pub keeper: u64,
    /// Who executes.
    pub worker: Address,
    /// Whether it is in the active set.
    pub active: bool,
    /// Base units.
    pub stake: U256,
    /// Wei of the worker, as far as it was read.
    pub worker_wei: Option<U256>,
    /// Number of the newest head.
    pub head: u64,
    /// Its time, Unix seconds.
    pub head_timestamp: u64,
    /// Jobs that are known.
    pub jobs: usize,
    /// Jobs that are assigned to this keeper.
    pub assigned: usize,
    /// Jobs that are set aside.
    pub aside: usize,
    /// Transactions under way.
    pub under_way: usize,
    /// Resolvers asked at the newest head.
    pub resolvers: usize,
    /// Milliseconds from the newest head to the end of all work on it.
    pub head_ms: u64,
    /// Executions and other steps that were mined and went through, since the start.
    pub done: u64,
}

impl Condition for Shown {
    fn trouble(&self, now: Duration) -> Option<String> {
        old_head(self.head_timestamp, now, self.max_head_age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_head_keeps_it_from_its_work() {
        let keeper = Shown {
            max_head_age: Duration::from_secs(60),
            head_timestamp: 1_000,
            ..Shown::default()
        };
        assert_eq!(keeper.trouble(Duration::from_secs(1_060)), None);
        assert!(keeper.trouble(Duration::from_secs(1_061)).unwrap().contains("61 s old"));
    }
}
