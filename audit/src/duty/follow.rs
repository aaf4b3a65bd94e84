//! The contract's events, as far as they concern this node: what was counted and paid, also before this database was there.
//!
//! What always holds: only blocks that are deep enough are read, each once, in order.

use super::{DutyError, Office};
use crate::events::{Said, said};
use crate::manager::Head;

/// Ranges that are read at one head at most: a long way is gone in steps, so that what is due is not held up by it.
const RANGES: usize = 20;

/// Reads events.
#[derive(Debug)]
pub struct Follower {
    office: Office,
    confirmations: u64,
    range: u64,
}

impl Follower {
    /// Reads what has so many `confirmations`, in steps of `range` blocks.
    #[must_use]
    pub fn new(office: Office, confirmations: u64, range: u64) -> Self {
        Self {
            office,
            confirmations: confirmations.max(1),
            range: range.max(1),
        }
    }

    /// Reads what is deep enough below `head`.
    ///
    /// # Errors
    /// When the node does not answer, or the database cannot be written: then it goes on from the same place.
    pub async fn advance(&mut self, head: Head) -> Result<(), DutyError> {
        let deep = (head.number + 1).saturating_sub(self.confirmations);
        for _ in 0..RANGES {
            let Some(read_to) = self.office.store.read_to().await? else {
                return Ok(());
            };
            if read_to >= deep {
                return Ok(());
            }
            let to = read_to.saturating_add(self.range).min(deep);
            self.read(read_to + 1, to).await?;
        }
        Ok(())
    }

    async fn read(&self, from: u64, to: u64) -> Result<(), DutyError> {
        let (mut counted, mut bounties) = (Vec::new(), Vec::new());
        for log in self.office.manager.logs(from, to).await? {
            match said(&log, self.office.me) {
                Some(Said::Counted(one)) => counted.push(one),
                Some(Said::Paid(mut bounty)) => {
                    if bounty.at == 0 {
                        bounty.at = self.office.manager.time_of(bounty.block).await?.unwrap_or_default();
                    }
                    bounties.push(bounty);
                }
                Some(Said::Skipped { .. }) | None => {}
            }
        }
        self.office.store.advance(&counted, &bounties, to).await?;
        if !counted.is_empty() || !bounties.is_empty() {
            tracing::info!(
                from,
                to,
                verdicts = counted.len(),
                bounties = bounties.len(),
                "events of this node"
            );
        }
        Ok(())
    }
}
