//! Pending transactions that call a guard: what keepers act upon before it is in a block.
//!
//! A confirmation and the attack that it answers are pending together. A keeper that waits for the confirmation's block comes a block
//! too late; so the job's resolver is asked on what the pending confirmations would leave, and the execution is sent right behind
//! them. Pure. What always holds: of one sender's nonce only the dearest transaction is kept; of one guard only so many, the dearest;
//! whoever floods a guard with cheap ones displaces none that would be ahead of an attack.

use std::collections::HashMap;

use alloy::primitives::{Address, B256, Bytes, U256};
use sender::Fees;

/// Pending transactions kept of one guard.
const OF_ONE: usize = 16;
/// Guards of which pending transactions are kept.
const GUARDS: usize = 4_096;

/// A pending transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its hash.
    pub hash: B256,
    /// Who sends it.
    pub from: Address,
    /// Its nonce.
    pub nonce: u64,
    /// Whom it calls.
    pub to: Address,
    /// Wei.
    pub value: U256,
    /// With what.
    pub data: Bytes,
    /// Its gas limit.
    pub gas: u64,
    /// What it offers.
    pub fees: Fees,
}

/// Those of all guards.
#[derive(Debug, Clone, Default)]
pub struct Pool(HashMap<Address, Vec<Pending>>);

impl Pool {
    /// Takes one in; whether anything is another now.
    pub fn add(&mut self, pending: Pending) -> bool {
        if self.0.len() >= GUARDS && !self.0.contains_key(&pending.to) {
            return false;
        }
        let all = self.0.entry(pending.to).or_default();
        let same = |known: &&mut Pending| known.from == pending.from && known.nonce == pending.nonce;
        match all.iter_mut().find(same) {
            Some(known) if known.fees.max_fee >= pending.fees.max_fee => return false,
            Some(known) => *known = pending,
            None => all.push(pending),
        }
        // A block's order: the dearest first, and each sender's by its nonces.
        all.sort_by_key(|pending| (std::cmp::Reverse(pending.fees.max_fee), pending.nonce));
        all.truncate(OF_ONE);
        true
    }

    /// Those that call this guard, in the order of a block.
    #[must_use]
    pub fn of(&self, guard: &Address) -> &[Pending] {
        self.0.get(guard).map_or(&[], Vec::as_slice)
    }

    /// Forgets what is not wanted any more.
    pub fn retain(&mut self, wanted: impl Fn(&Pending) -> bool) {
        self.0.retain(|_, all| {
            all.retain(&wanted);
            !all.is_empty()
        });
    }
}

/// The least that any of these offers, in each of both fees: who stands behind that stands behind all. `None` when there are none.
#[must_use]
pub fn front<'a>(all: impl IntoIterator<Item = &'a Pending>) -> Option<Fees> {
    let fees = all.into_iter().map(|pending| pending.fees);
    fees.reduce(|a, b| Fees {
        max_fee: a.max_fee.min(b.max_fee),
        priority_fee: a.priority_fee.min(b.priority_fee),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(from: u8, nonce: u64, max_fee: u128) -> Pending {
        Pending {
            hash: B256::repeat_byte(from),
            from: Address::repeat_byte(from),
            nonce,
            to: Address::ZERO,
            value: U256::ZERO,
            data: Bytes::new(),
            gas: 100_000,
            fees: Fees {
                max_fee,
                priority_fee: max_fee / 2,
            },
        }
    }

    #[test]
    fn of_one_nonce_the_dearest_is_kept_and_all_stand_in_a_blocks_order() {
        let mut pool = Pool::default();
        assert!(pool.add(pending(1, 7, 10)));
        assert!(pool.add(pending(2, 0, 30)));
        assert!(!pool.add(pending(1, 7, 10)), "the same again");
        assert!(pool.add(pending(1, 7, 40)));
        let fees: Vec<u128> = pool
            .of(&Address::ZERO)
            .iter()
            .map(|pending| pending.fees.max_fee)
            .collect();
        assert_eq!(fees, [40, 30]);
        let front = front(pool.of(&Address::ZERO)).unwrap();
        assert_eq!((front.max_fee, front.priority_fee), (30, 15));
        pool.retain(|pending| pending.nonce > 0);
        assert_eq!(pool.of(&Address::ZERO).len(), 1);
        pool.retain(|_| false);
        assert_eq!(super::front(pool.of(&Address::ZERO)), None);
    }

    #[test]
    fn cheap_ones_in_any_number_displace_no_dear_one() {
        let mut pool = Pool::default();
        pool.add(pending(1, 0, 1_000));
        for nonce in 0..1_000 {
            pool.add(pending(2, nonce, 1 + u128::from(nonce % 7)));
        }
        assert_eq!(pool.of(&Address::ZERO).len(), OF_ONE);
        assert_eq!(pool.of(&Address::ZERO)[0].from, Address::repeat_byte(1));
    }
}
