//! The attack that a pause is tried against, and what the pause must offer more than.
//!
//! Pure. A builder takes a sender's transactions in the order of their nonces, the dearest offer first among those whose turn it is. So an
//! attack behind others of its sender comes into question once they are in the block, and then by its own offer: a pause that offers more
//! than the attack itself is ahead of it, whatever those before it offer, and raise. Only a pause that helps no more behind them
//! ([`AheadOf::All`]) must offer more than each of them.

use alloy::primitives::B256;
use defence::violation::Suspect;
use engine::{Bytes, Transaction};
use sender::Fees;

use super::simulate::AheadOf;

/// Suspects that a pause is tried against, the newest ones.
const TRIED: usize = 8;
/// Transactions of an attack whose place in the blocks is compared with the pause's, the newest ones.
const RACED: usize = 256;

/// The transactions of an attack.
#[derive(Debug, Clone, Default)]
pub struct Attack {
    /// In the order of confirmation, each behind those of its sender that go before it.
    pub transactions: Vec<Transaction>,
    /// How many of them, from the first on, only lead up to it.
    pub leading: usize,
}

impl Attack {
    /// Of those that a pause is asked for, the newest ones whose bytes are known; and what all of them offer.
    pub(super) fn of(suspects: &[Suspect]) -> (Self, Rivals) {
        let (mut attack, mut own) = (Self::default(), Vec::new());
        let known = suspects.iter().skip(suspects.len().saturating_sub(TRIED));
        for suspect in known.filter(|suspect| !suspect.raw.is_empty()) {
            let sent = |raw: &Bytes| Transaction::with_sender(raw, suspect.sender).ok();
            let Some(breaking) = sent(&suspect.raw) else { continue };
            own.push(fees_of(&breaking));
            let before = suspect.predecessors.iter().filter_map(sent);
            for tx in before.chain([breaking]) {
                // What stands there already is not executed twice.
                if attack.transactions.iter().all(|known| known.hash() != tx.hash()) {
                    attack.transactions.push(tx);
                }
            }
            if own.len() == 1 {
                attack.leading = attack.transactions.len().saturating_sub(1);
            }
        }
        let rivals = Rivals {
            own: highest(own),
            all: highest(attack.transactions.iter().map(fees_of)),
            hashes: suspects.iter().map(|suspect| suspect.tx_hash).collect(),
        };
        (attack, rivals)
    }
}

/// What a pause must get ahead of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rivals {
    /// The most that those offer which break something.
    pub(super) own: Option<Fees>,
    /// The most that they and those offer which lead up to them.
    pub(super) all: Option<Fees>,
    /// Those that break something, the newest ones.
    pub(super) hashes: Vec<B256>,
}

impl Rivals {
    /// One transaction that breaks something, behind those that go before it.
    pub(super) fn one(predecessors: &[Transaction], transaction: &Transaction) -> Self {
        let own = fees_of(transaction);
        Self {
            own: Some(own),
            all: highest(predecessors.iter().map(fees_of).chain([own])),
            hashes: vec![transaction.hash()],
        }
    }

    /// These, too.
    pub(super) fn add(&mut self, others: &Self) {
        self.own = highest(self.own.into_iter().chain(others.own));
        self.all = highest(self.all.into_iter().chain(others.all));
        for hash in &others.hashes {
            if !self.hashes.contains(hash) {
                self.hashes.push(*hash);
            }
        }
        self.hashes.drain(..self.hashes.len().saturating_sub(RACED));
    }

    /// What a pause must offer more than; nothing where nothing is known of them.
    pub(super) fn offer(&self, ahead_of: AheadOf) -> Option<Fees> {
        match ahead_of {
            AheadOf::Attack => self.own,
            AheadOf::All => self.all,
        }
    }
}

/// What a transaction offers; before EIP-1559 both are its gas price.
fn fees_of(transaction: &Transaction) -> Fees {
    let max_fee = transaction.max_fee_per_gas();
    Fees {
        max_fee,
        priority_fee: transaction.max_priority_fee_per_gas().unwrap_or(max_fee),
    }
}

/// The higher of each fee.
fn highest(fees: impl IntoIterator<Item = Fees>) -> Option<Fees> {
    fees.into_iter().reduce(|a, b| Fees {
        max_fee: a.max_fee.max(b.max_fee),
        priority_fee: a.priority_fee.max(b.priority_fee),
    })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;

    use super::*;
    use crate::pause::simulate::tests::call;

    const fn fees(max_fee: u128, priority_fee: u128) -> Fees {
        Fees { max_fee, priority_fee }
    }

    fn suspect(before: &[&Transaction], tx: &Transaction) -> Suspect {
        Suspect {
            tx_hash: tx.hash(),
            sender: tx.sender(),
            target: tx.to(),
            selector: None,
            path: Vec::new(),
            value: tx.value(),
            raw: tx.raw().clone(),
            predecessors: before.iter().map(|tx| tx.raw().clone()).collect(),
            deltas: Vec::new(),
            more_deltas: 0,
            pre: String::new(),
            post: String::new(),
        }
    }

    #[test]
    fn each_transaction_stands_once_behind_those_that_go_before_it() {
        let [first, second, raid, again] = [call(0, 1), call(1, 2), call(2, 9), call(3, 9)];
        let unknown = Suspect {
            tx_hash: B256::ZERO,
            raw: Bytes::new(),
            ..suspect(&[], &first)
        };
        let suspects = [
            unknown,
            suspect(&[&first, &second], &raid),
            suspect(&[&first, &second, &raid], &again),
        ];
        let (attack, rivals) = Attack::of(&suspects);
        let hashes: Vec<B256> = attack.transactions.iter().map(Transaction::hash).collect();
        assert_eq!(hashes, [&first, &second, &raid, &again].map(Transaction::hash));
        assert_eq!(attack.leading, 2);
        assert_eq!(rivals.hashes, [B256::ZERO, raid.hash(), again.hash()]);
    }

    #[test]
    fn what_leads_up_to_an_attack_is_outbid_only_where_the_pause_must_be_ahead_of_it() {
        let mut rivals = Rivals {
            own: Some(fees(10, 2)),
            all: Some(fees(90, 2)),
            hashes: vec![B256::ZERO],
        };
        let dearer = Rivals {
            own: Some(fees(5, 3)),
            all: Some(fees(5, 80)),
            hashes: vec![B256::ZERO, B256::repeat_byte(1)],
        };
        rivals.add(&dearer);
        assert_eq!(rivals.offer(AheadOf::Attack), Some(fees(10, 3)), "the higher of each");
        assert_eq!(rivals.offer(AheadOf::All), Some(fees(90, 80)));
        assert_eq!(rivals.hashes, dearer.hashes);
    }

    #[test]
    fn only_the_newest_of_an_attacks_transactions_are_kept() {
        let hashes: Vec<B256> = (0..1_000_u64).map(|n| B256::from(U256::from(n))).collect();
        let all = Rivals {
            hashes: hashes.clone(),
            ..Rivals::default()
        };
        let mut rivals = Rivals::default();
        rivals.add(&all);
        assert_eq!(rivals.hashes, hashes[1_000 - RACED..]);
    }
}
