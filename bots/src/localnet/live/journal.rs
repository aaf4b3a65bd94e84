//! What was sent to a living chain and what became of it: pure book-keeping, which the report counts up at the end.
//!
//! What always holds: a transaction is replaced by at most one other and included at most once; the four fates of what the node took
//! (waiting, replaced, included, and lost to another of its nonce) add up to what it took.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use alloy::consensus::{Transaction as _, TxEnvelope};
use alloy::primitives::{Address, B256};

pub(crate) use super::rpc::Receipt;
use crate::scenario::Ending;
use crate::scenario::story::RAID;
use crate::scenario::world::Entry;

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in the node's pool.
    Waiting,
    /// Another of the same sender and nonce took its place.
    Replaced,
    /// It is in a block.
    Included { block: u64, succeeded: bool, gas_used: u64 },
}

/// One transaction that the node took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) hash: B256,
    pub(crate) from: Address,
    pub(crate) nonce: u64,
    /// EIP-2718 type.
    pub(crate) kind: u8,
    pub(crate) what: &'static str,
    pub(crate) planned: Ending,
    /// The head's number when it was sent.
    pub(crate) sent_on: u64,
    pub(crate) fate: Fate,
}

/// Everything that was sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    records: Vec<Record>,
    by_hash: HashMap<B256, usize>,
    /// The last one of each sender and nonce.
    by_nonce: BTreeMap<(Address, u64), usize>,
    refused: u64,
    late_replacements: u64,
    /// Blocks since the traffic began.
    blocks: u64,
    /// The head that the traffic began on, and the newest one.
    first: Option<u64>,
    last: u64,
}

/// What the journal comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Taken by the node, by EIP-2718 type.
    pub(crate) by_type: BTreeMap<u8, u64>,
    pub(crate) taken: u64,
    pub(crate) refused: u64,
    pub(crate) replaced: u64,
    pub(crate) included: u64,
    pub(crate) waiting: u64,
    /// Replacements that came after the block.
    pub(crate) late_replacements: u64,
    /// Of those included: ended as the story planned.
    pub(crate) as_planned: u64,
    pub(crate) blocks: u64,
    /// The newest block that was seen.
    pub(crate) last_block: u64,
}

impl Journal {
    /// The node took a transaction while this was its head. One of the same sender and nonce that waits is replaced by it.
    pub(crate) fn taken(&mut self, entry: &Entry, head: u64) {
        let (nonce, hash) = (entry.tx.nonce(), *entry.tx.tx_hash());
        let place = self.records.len();
        if let Some(before) = self.by_nonce.insert((entry.from, nonce), place)
            && let Some(record) = self
                .records
                .get_mut(before)
                .filter(|record| record.fate == Fate::Waiting)
        {
            record.fate = Fate::Replaced;
        }
        self.by_hash.insert(hash, place);
        self.records.push(Record {
            hash,
            from: entry.from,
            nonce,
            kind: kind(&entry.tx),
            what: entry.what,
            planned: entry.ending,
            sent_on: head,
            fate: Fate::Waiting,
        });
    }

    /// The node did not want a transaction.
    pub(crate) const fn refused(&mut self) {
        self.refused += 1;
    }

    /// A replacement came too late.
    pub(crate) const fn late_replacement(&mut self) {
        self.late_replacements += 1;
    }

    /// A block came, with these transactions in it.
    pub(crate) fn mined(&mut self, block: u64, receipts: &[Receipt]) {
        self.first.get_or_insert(block);
        self.last = self.last.max(block);
        self.blocks += 1;
        for receipt in receipts {
            let Some(record) = self
                .by_hash
                .get(&receipt.hash)
                .and_then(|place| self.records.get_mut(*place))
            else {
                continue;
            };
            record.fate = Fate::Included {
                block,
                succeeded: receipt.succeeded,
                gas_used: receipt.gas_used,
            };
            let key = (record.from, record.nonce);
            // Both were in the pool for a moment, and the author chose the older one.
            let hash = record.hash;
            if let Some(last) = self.by_nonce.get(&key).and_then(|place| self.records.get_mut(*place))
                && last.hash != hash
            {
                last.fate = Fate::Replaced;
            }
        }
    }

    /// Whether the node took it.
    pub(crate) fn knows(&self, hash: B256) -> bool {
        self.by_hash.contains_key(&hash)
    }

    /// Senders that have a transaction waiting.
    pub(crate) fn busy(&self) -> BTreeSet<Address> {
        let waiting = self.records.iter().filter(|record| record.fate == Fate::Waiting);
        waiting.map(|record| record.from).collect()
    }

    /// Everything that the node took, in the order of sending.
    pub(crate) fn records(&self) -> &[Record] {
        &self.records
    }

    /// The transaction that breaks an invariant, once it was sent.
    pub(crate) fn raid(&self) -> Option<&Record> {
        self.records.iter().find(|record| record.what == RAID)
    }

    /// The sums so far.
    pub(crate) fn sums(&self) -> Sums {
        let mut sums = Sums {
            taken: self.records.len() as u64,
            refused: self.refused,
            late_replacements: self.late_replacements,
            blocks: self.blocks,
            last_block: self.last,
            ..Sums::default()
        };
        for record in &self.records {
            *sums.by_type.entry(record.kind).or_default() += 1;
            match record.fate {
                Fate::Waiting => sums.waiting += 1,
                Fate::Replaced => sums.replaced += 1,
                Fate::Included { succeeded, .. } => {
                    sums.included += 1;
                    sums.as_planned += u64::from(succeeded == (record.planned == Ending::Success));
                }
            }
        }
        sums
    }
}

/// EIP-2718 type.
fn kind(tx: &TxEnvelope) -> u8 {
    tx.tx_type() as u8
}

#[cfg(test)]
pub(crate) mod tests {
    use alloy::primitives::U256;
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::wallet::{Draft, Fees, Form, Wallet};

    pub(crate) fn entry(user: usize, nonce: u64, max: u128) -> Entry {
        let wallet = Wallet::derive(5, "user", user).unwrap();
        let draft = Draft::transfer(wallet.address(), U256::ZERO);
        let tx = wallet
            .sign_at(nonce, draft, Form::DynamicFee, Fees { max, tip: 1 })
            .unwrap();
        Entry {
            tx,
            from: wallet.address(),
            ending: Ending::Success,
            what: "transfer",
        }
    }

    fn receipt(entry: &Entry) -> Receipt {
        Receipt {
            hash: *entry.tx.tx_hash(),
            succeeded: true,
            gas_used: 21_000,
        }
    }

    #[test]
    fn a_replacement_takes_the_place_of_what_waits_and_its_sender_stays_busy_until_the_block() {
        let mut journal = Journal::default();
        let (first, second) = (entry(0, 0, 10), entry(0, 0, 20));
        journal.taken(&first, 7);
        journal.taken(&second, 7);
        assert_eq!(journal.busy(), BTreeSet::from([first.from]));
        journal.mined(8, &[receipt(&second)]);
        assert!(journal.busy().is_empty());
        let sums = journal.sums();
        assert_eq!((sums.taken, sums.replaced, sums.included, sums.waiting), (2, 1, 1, 0));
        assert_eq!((sums.as_planned, sums.blocks), (1, 1));
    }

    #[test]
    fn an_author_may_include_the_older_one_all_the_same() {
        let mut journal = Journal::default();
        let (first, second) = (entry(0, 0, 10), entry(0, 0, 20));
        journal.taken(&first, 7);
        journal.taken(&second, 7);
        journal.mined(8, &[receipt(&first)]);
        let fates: Vec<Fate> = journal.records().iter().map(|record| record.fate).collect();
        assert_eq!(
            fates,
            [
                Fate::Included {
                    block: 8,
                    succeeded: true,
                    gas_used: 21_000
                },
                Fate::Replaced
            ]
        );
    }

    proptest! {
        #[test]
        fn the_fates_add_up(steps in proptest::collection::vec((0_usize..4, 0_u64..3, 1_u128..4, any::<bool>()), 0..60)) {
            let mut journal = Journal::default();
            let mut sent = BTreeSet::new();
            for (block, (user, nonce, max, mined)) in steps.into_iter().enumerate() {
                let entry = entry(user, nonce, max);
                let known = journal.by_hash.contains_key(entry.tx.tx_hash());
                let used = journal.records.iter().any(|record| {
                    (record.from, record.nonce) == (entry.from, nonce) && matches!(record.fate, Fate::Included { .. })
                });
                // A node takes neither what it knows nor a nonce that is used.
                if !known && !used {
                    journal.taken(&entry, block as u64);
                    sent.insert(*entry.tx.tx_hash());
                }
                if mined && known && !used {
                    journal.mined(block as u64, &[receipt(&entry)]);
                }
            }
            let sums = journal.sums();
            prop_assert_eq!(sums.taken, sent.len() as u64);
            prop_assert_eq!(sums.waiting + sums.replaced + sums.included, sums.taken);
            prop_assert_eq!(sums.by_type.values().sum::<u64>(), sums.taken);
            let waiting: BTreeSet<_> = journal.records.iter().filter(|r| r.fate == Fate::Waiting).map(|r| (r.from, r.nonce)).collect();
            prop_assert_eq!(waiting.len() as u64, sums.waiting, "one waits for each sender and nonce");
        }
    }
}
