//! What the contract's events say of one node: pure.

use alloy::primitives::{B256, U256};
use alloy::rpc::types::Log;
use alloy::sol_types::SolEvent as _;
use contracts::AuditManager;

use crate::store::{Bounty, Counted};

/// What became of a verdict; the contract's `Outcome`, by its number.
#[must_use]
pub const fn outcome(number: u8) -> &'static str {
    match number {
        0 => "stored",
        1 => "late",
        2 => "too little known",
        3 => "too early",
        4 => "not an auditor of it",
        5 => "sent already",
        6 => "another epoch",
        7 => "malformed",
        _ => "unknown",
    }
}

/// The number of the outcome that counts.
pub const STORED: u8 = 0;
/// The number of the outcome after which it may be sent again.
pub const TOO_EARLY: u8 = 3;

/// An event that concerns a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A verdict of its was consumed.
    Counted(Counted),
    /// A verdict of its was passed over, for the outcome of this number.
    Skipped {
        /// The peer.
        subject: u32,
        /// The outcome's number.
        outcome: u8,
    },
    /// It was paid.
    Paid(Bounty),
}

/// What one event says of `node`; `None`: nothing. An event that was taken back by a reorganisation says nothing either.
#[must_use]
pub fn said(log: &Log, node: u32) -> Option<Said> {
    if log.removed {
        return None;
    }
    let tx_hash = log.transaction_hash.unwrap_or_default();
    let block = log.block_number.unwrap_or_default();
    match log.topic0().copied().unwrap_or_default() {
        AuditManager::VerdictReported::SIGNATURE_HASH => {
            let event = AuditManager::VerdictReported::decode_log(&log.inner).ok()?;
            (event.auditor == node).then(|| {
                let taken = event.outcome == STORED;
                Said::Counted(Counted {
                    subject: event.subject,
                    epoch: event.epoch.into(),
                    refused: (!taken).then(|| outcome(event.outcome).to_owned()),
                    tx_hash,
                    block,
                    downtime: event.downtime,
                    latency_us: event.latency,
                })
            })
        }
        AuditManager::VerdictSkipped::SIGNATURE_HASH => {
            let event = AuditManager::VerdictSkipped::decode_log(&log.inner).ok()?;
            (event.auditor == node).then_some(Said::Skipped {
                subject: event.subject,
                outcome: event.outcome,
            })
        }
        AuditManager::BountyPaid::SIGNATURE_HASH => {
            let event = AuditManager::BountyPaid::decode_log(&log.inner).ok()?;
            (event.id == node).then(|| Said::Paid(bounty(&event, log, tx_hash, block)))
        }
        _ => None,
    }
}

fn bounty(event: &AuditManager::BountyPaid, log: &Log, tx_hash: B256, block: u64) -> Bounty {
    let settled = &event.settlement;
    Bounty {
        tx_hash: tx_hash.to_string(),
        log_index: log.log_index.unwrap_or_default(),
        block,
        // Not every node tells it with the event; then it is read from the block.
        at: log.block_timestamp.unwrap_or_default(),
        epoch: event.epoch.into(),
        amount: U256::from(settled.bounty),
        downtime: u64::from(settled.downtime) + u64::from(settled.late),
        latency_us: settled.latency.into(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use alloy::primitives::{Address, LogData, aliases::U40};

    use super::*;

    /// An event in the block 7.
    pub(crate) fn log(data: LogData) -> Log {
        Log {
            inner: alloy::primitives::Log {
                address: Address::ZERO,
                data,
            },
            block_number: Some(7),
            transaction_hash: Some(B256::repeat_byte(3)),
            log_index: Some(2),
            block_timestamp: Some(99),
            ..Log::default()
        }
    }

    #[test]
    fn a_verdict_of_ours_counts_or_does_not_and_anothers_is_passed_over() {
        let event = |auditor, outcome| AuditManager::VerdictReported {
            subject: 4,
            auditor,
            epoch: 2,
            outcome,
            downtime: 10,
            latency: 900,
        };
        let ours = |outcome| match said(&log(event(1, outcome).encode_log_data()), 1) {
            Some(Said::Counted(counted)) => counted,
            other => panic!("{other:?}"),
        };
        assert_eq!((ours(0).subject, ours(0).epoch, ours(0).refused), (4, 2, None));
        assert_eq!(ours(1).refused.as_deref(), Some("late"));
        assert_eq!(said(&log(event(9, 0).encode_log_data()), 1), None);
        let removed = Log {
            removed: true,
            ..log(event(1, 0).encode_log_data())
        };
        assert_eq!(said(&removed, 1), None);
    }

    #[test]
    fn a_bounty_carries_what_was_settled() {
        let event = AuditManager::BountyPaid {
            id: 1,
            epoch: 5,
            owner: Address::ZERO,
            settlement: AuditManager::Settlement {
                downtime: 3,
                latency: 800,
                late: 2,
                verdicts: 2,
                groupSize: 2,
                quorum: true,
                staked: true,
                owed: 2,
                kept: 2,
                maximum: 100,
                bounty: 90,
            },
            nextReward: U40::from(1_000),
        };
        let Some(Said::Paid(bounty)) = said(&log(event.encode_log_data()), 1) else {
            panic!("a bounty");
        };
        assert_eq!(
            (bounty.epoch, bounty.amount, bounty.downtime, bounty.at),
            (5, U256::from(90), 5, 99)
        );
        assert_eq!(said(&log(event.encode_log_data()), 2), None);
    }
}
