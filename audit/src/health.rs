//! What a running auditor tells of itself, on `GET /health` ([`node::condition`]). What always holds: nothing in it is a secret.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use node::condition::{Condition, old_head};

/// The auditor's page.
pub type Health = node::condition::Health<Shown>;

/// How the auditor stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Shown {
    /// A newest head that is older, by the wall clock, keeps it from its work.
    #[serde(skip)]
    pub max_head_age: Duration,
    /// EIP-155.
    pub chain_id: u64,
    /// The AuditManager.
    pub contract: Address,
    /// This node's id; 0: not registered yet.
    pub node: u32,
    /// Who reports and claims.
    pub operator: Address,
    /// Wei of the operator, as far as it was read.
    pub operator_wei: Option<U256>,
    /// Number of the newest head.
    pub head: u64,
    /// Its time, Unix seconds.
    pub head_timestamp: u64,
    /// Number of the running epoch.
    pub epoch: u32,
    /// The reward date, Unix seconds.
    pub next_reward: u64,
    /// How many measure this node, and how many should.
    pub group: (usize, usize),
    /// How many it measures.
    pub duties: usize,
    /// When peers were measured last (Unix milliseconds of the wall clock); 0: not yet.
    pub measured_ms: u64,
    /// The chain's time of the newest tick, Unix seconds.
    pub measured_at: u64,
    /// Samples of the newest tick: up, down, unknown.
    pub tick: (usize, usize, usize),
    /// Samples that wait for the database.
    pub unwritten: usize,
    /// Since when this auditor is offline itself (Unix milliseconds); `None`: it is not.
    pub offline_since_ms: Option<u64>,
}

impl Condition for Shown {
    fn trouble(&self, now: Duration) -> Option<String> {
        old_head(self.head_timestamp, now, self.max_head_age).or_else(|| {
            if self.offline_since_ms.is_some() {
                Some("this auditor reaches no reference: it is offline itself".to_owned())
            } else if self.unwritten > 0 {
                Some(format!("{} samples wait for the database", self.unwritten))
            } else {
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_head_no_network_and_no_database_keep_it_from_its_work_in_this_order() {
        let now = Duration::from_secs(1_060);
        let mut auditor = Shown {
            max_head_age: Duration::from_secs(60),
            head_timestamp: 1_000,
            ..Shown::default()
        };
        assert_eq!(auditor.trouble(now), None);
        auditor.unwritten = 3;
        assert!(auditor.trouble(now).unwrap().contains("3 samples"));
        auditor.offline_since_ms = Some(1);
        assert!(auditor.trouble(now).unwrap().contains("offline itself"));
        auditor.head_timestamp -= 1;
        assert!(auditor.trouble(now).unwrap().contains("61 s old"));
    }
}
