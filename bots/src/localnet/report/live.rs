//! What only a living chain has: what was sent to it, what became of that, and whether the network was faster than the chain.
//!
//! Pure: it compares the sender's journal with what the network reported.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::B256;
use protos::v1;
use serde::{Deserialize, Serialize};

use super::incidents::Incident;
use super::services::Pause;
use crate::localnet::live::journal::{Fate, Journal};

/// The part of the report about a living chain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// From block to block, in seconds.
    pub block_time_s: f64,
    /// Blocks from the first transaction of the story to the end.
    pub blocks: u64,
    /// Transactions that the node took.
    pub sent: u64,
    /// The same by EIP-2718 type.
    pub sent_by_type: BTreeMap<u8, u64>,
    /// Transactions that the node did not want.
    pub refused: u64,
    /// Of those taken, the ones that gave way to another of the same sender and nonce.
    pub replaced: u64,
    /// Replacements that came after the block.
    pub late_replacements: u64,
    /// Of those taken, the ones in a block.
    pub included: u64,
    /// Of those taken, the ones still waiting at the end.
    pub waiting: u64,
    /// Of those included, the ones that ended as the story planned.
    pub as_planned: u64,
    /// Of those taken, the ones that the network judged.
    pub judged: u64,
    /// Of those replaced, the ones that were judged nevertheless, before or after.
    pub replaced_judged: u64,
    /// Included or waiting, and not judged.
    pub lost: u64,
    /// The first 20 of the lost.
    pub lost_list: Vec<B256>,
    /// Of those included and executed by the network, the ones that used the same gas in their block as in the network's judgement.
    pub same_gas: u64,
    /// And those that did not: others before them in the block changed what they read.
    pub other_gas: u64,
    /// The platform's own counts of its feed.
    pub feed: FeedCounts,
    /// The attack; `null` when it was not sent.
    pub attack: Option<Attack>,
    /// The first pause of the vault; `null` where there was none.
    #[serde(default)]
    pub pause: Option<Pause>,
}

/// What the platform says of its feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedCounts {
    /// `Replaced` items.
    pub replaced: u64,
    /// `Dropped` items.
    pub dropped: u64,
    /// Transactions that it saw included.
    pub included: u64,
    /// Heads that left the chain.
    pub orphaned: u64,
    /// Verdicts that stayed good over a new head.
    pub carried_over: u64,
    /// Transactions that were judged anew on a new head.
    pub rejudged: u64,
    /// Items without the state that they read.
    pub without_prestate: u64,
    /// Times in which no node was heard.
    pub gaps: u64,
    /// Heads of which the transactions were seen only in their blocks.
    pub missed_heads: u64,
}

/// The story's attack, from its sender's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attack {
    /// Hash of the transaction.
    pub tx: B256,
    /// Number of the head when it was sent.
    pub sent_on: u64,
    /// Number of its block; `null` when it was in none.
    pub included_in: Option<u64>,
    /// It did not revert in its block.
    pub succeeded: bool,
    /// The network confirmed it.
    pub confirmed: bool,
    /// Milliseconds from the first report to the block; `null` when it was not confirmed, or not included.
    pub ms_before_inclusion: Option<i64>,
    /// Incidents of other transactions.
    pub false_alarms: u64,
}

/// How many of the lost are listed.
const LISTED: usize = 20;

impl Live {
    /// Compares what was sent with what was reported: `executions` is what the network reported for each transaction (gas is `None`
    /// where nobody executed it).
    pub(crate) fn new(
        journal: &Journal,
        block_time_s: f64,
        executions: &[(B256, Option<u64>)],
        incidents: &[Incident],
        feed: Option<&v1::FeedStatus>,
    ) -> Self {
        let executions: HashMap<B256, Option<u64>> = executions.iter().copied().collect();
        let sums = journal.sums();
        let mut live = Self {
            block_time_s,
            blocks: sums.blocks,
            sent: sums.taken,
            sent_by_type: sums.by_type,
            refused: sums.refused,
            replaced: sums.replaced,
            late_replacements: sums.late_replacements,
            included: sums.included,
            waiting: sums.waiting,
            as_planned: sums.as_planned,
            feed: feed.map(FeedCounts::from).unwrap_or_default(),
            ..Self::default()
        };
        for record in journal.records() {
            let reported = executions.get(&record.hash);
            live.judged += u64::from(reported.is_some());
            match (record.fate, reported) {
                (Fate::Replaced, Some(_)) => live.replaced_judged += 1,
                (Fate::Replaced, None) => {}
                (_, None) => {
                    live.lost += 1;
                    if live.lost_list.len() < LISTED {
                        live.lost_list.push(record.hash);
                    }
                }
                (Fate::Included { gas_used, .. }, Some(Some(gas))) if gas_used == *gas => live.same_gas += 1,
                (Fate::Included { .. }, Some(Some(_))) => live.other_gas += 1,
                _ => {}
            }
        }
        live.attack = journal.raid().map(|raid| {
            let (of_raid, others): (Vec<&Incident>, Vec<_>) = incidents.iter().partition(|one| one.tx == raid.hash);
            let confirmed = of_raid.first();
            let (included_in, succeeded) = match raid.fate {
                Fate::Included { block, succeeded, .. } => (Some(block), succeeded),
                Fate::Waiting | Fate::Replaced => (None, false),
            };
            Attack {
                tx: raid.hash,
                sent_on: raid.sent_on,
                included_in,
                succeeded,
                confirmed: confirmed.is_some(),
                ms_before_inclusion: confirmed.and_then(|incident| incident.ms_before_inclusion),
                false_alarms: others.len() as u64,
            }
        });
        live
    }

    /// Why the run is no success; `None` when it is one. A platform that was `deaf` for a while misses what was sent meanwhile; what is
    /// no attack it must not call one even so.
    pub fn failure(&self, deaf: bool) -> Option<String> {
        let missed = if deaf { None } else { self.missed() };
        missed.or_else(|| {
            let false_alarms = self.attack.as_ref().map_or(0, |attack| attack.false_alarms);
            (false_alarms > 0).then(|| format!("{false_alarms} incidents are no attacks"))
        })
    }

    fn missed(&self) -> Option<String> {
        if self.lost > 0 {
            return Some(format!(
                "{} of {} sent transactions were never judged",
                self.lost, self.sent
            ));
        }
        let Some(attack) = &self.attack else {
            return Some("the attack was not sent".to_owned());
        };
        if !attack.confirmed {
            return Some(format!("the attack {} was not found", attack.tx));
        }
        match attack.ms_before_inclusion {
            Some(ms) if ms <= 0 => Some(format!(
                "the attack was confirmed {} ms after its block",
                ms.unsigned_abs()
            )),
            _ => None,
        }
    }
}

impl From<&v1::FeedStatus> for FeedCounts {
    fn from(feed: &v1::FeedStatus) -> Self {
        Self {
            replaced: feed.replaced,
            dropped: feed.dropped,
            included: feed.included,
            orphaned: feed.orphaned,
            carried_over: feed.carried_over,
            rejudged: feed.rejudged,
            without_prestate: feed.without_prestate,
            gaps: feed.gaps,
            missed_heads: feed.missed_heads,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::incidents::incident;
    use super::super::tests::attack;
    use super::*;
    use crate::localnet::live::journal::{self, Receipt};
    use crate::scenario::story::RAID;
    use crate::scenario::world::Entry;

    fn entry(user: usize, max: u128, what: &'static str) -> Entry {
        Entry {
            what,
            ..journal::tests::entry(user, 0, max)
        }
    }

    fn hash(entry: &Entry) -> B256 {
        *entry.tx.tx_hash()
    }

    /// A transfer, one that is replaced, the one that replaces it, and the raid; all but the replaced one are in block 8.
    fn story() -> (Journal, [Entry; 4]) {
        let entries = [
            entry(0, 10, "transfer"),
            entry(1, 10, "transfer"),
            entry(1, 20, "transfer"),
            entry(2, 10, RAID),
        ];
        let mut journal = Journal::default();
        entries.iter().for_each(|entry| journal.taken(entry, 7));
        let [first, _, third, raid] = &entries;
        let receipt = |entry: &Entry| Receipt {
            hash: hash(entry),
            succeeded: true,
            gas_used: 21_000,
        };
        journal.mined(8, &[receipt(first), receipt(third), receipt(raid)]);
        (journal, entries)
    }

    fn found(tx: B256, ms: u64) -> Incident {
        let raw = v1::Incident {
            tx_hash: tx.to_vec().into(),
            reported_at_ms: 10_000,
            included_at_ms: 10_000 + ms,
            ..attack()
        };
        incident(&raw).unwrap()
    }

    #[test]
    fn all_judged_and_the_attack_before_its_block_is_a_success() {
        let (journal, [first, second, third, raid]) = story();
        let executions = [
            (hash(&first), Some(21_000)),
            (hash(&second), Some(21_000)),
            (hash(&third), Some(21_001)),
            (hash(&raid), Some(21_000)),
        ];
        let live = Live::new(&journal, 2.0, &executions, &[found(hash(&raid), 700)], None);
        assert_eq!(live.failure(false), None);
        assert_eq!(
            (live.sent, live.judged, live.replaced, live.replaced_judged, live.lost),
            (4, 4, 1, 1, 0)
        );
        assert_eq!((live.same_gas, live.other_gas), (2, 1));
        let seen = live.attack.unwrap();
        assert_eq!(
            (seen.sent_on, seen.included_in, seen.ms_before_inclusion),
            (7, Some(8), Some(700))
        );
    }

    #[test]
    fn what_nobody_judged_is_lost_unless_it_was_replaced() {
        let (journal, [first, second, third, raid]) = story();
        let mut executions = vec![
            (hash(&first), Some(21_000)),
            (hash(&third), None),
            (hash(&raid), Some(1)),
        ];
        let incidents = [found(hash(&raid), 700)];
        let live = Live::new(&journal, 2.0, &executions, &incidents, None);
        assert_eq!((live.lost, live.failure(false)), (0, None), "{second:?} was replaced");
        executions.remove(1);
        let live = Live::new(&journal, 2.0, &executions, &incidents, None);
        assert_eq!(live.lost_list, [hash(&third)]);
        assert!(live.failure(false).unwrap().contains("1 of 4 sent"), "{live:?}");
        assert_eq!(live.failure(true), None, "the platform was down");
    }

    #[test]
    fn an_attack_that_is_missed_late_or_imagined_fails_the_run() {
        let (journal, entries) = story();
        let executions: Vec<_> = entries.iter().map(|entry| (hash(entry), Some(21_000))).collect();
        let live = |incidents: &[Incident]| Live::new(&journal, 2.0, &executions, incidents, None);
        let failure = |incidents: &[Incident]| live(incidents).failure(false);
        let raid = hash(&entries[3]);
        assert!(failure(&[]).unwrap().contains("was not found"));
        assert!(failure(&[found(raid, 0)]).unwrap().contains("0 ms after its block"));
        let both = [found(raid, 5), found(hash(&entries[0]), 5)];
        assert!(failure(&both).unwrap().contains("1 incidents are no attacks"));
        assert_eq!(live(&both).failure(true), failure(&both));
        assert_eq!(failure(&[found(raid, 5)]), None);
    }
}
