//! The pool as a story, and as a state machine against a slow and simple model.

use proptest::prelude::*;

use super::*;

const ALICE: Address = Address::repeat_byte(0xa1);
const BOB: Address = Address::repeat_byte(0xb0);
const LIMITS: Limits = Limits {
    waiting: 100,
    age: Duration::from_secs(60),
};

fn hash(n: u8) -> B256 {
    B256::repeat_byte(n)
}

fn ticket(n: u8, sender: Address, nonce: u64, fee: u128) -> Ticket {
    Ticket {
        hash: hash(n),
        sender,
        nonce,
        max_fee: fee,
        priority_fee: 1,
    }
}

fn block(n: u8, included: &[&Ticket]) -> Block {
    Block {
        hash: hash(n),
        included: included.iter().map(|t| (t.hash, t.sender, t.nonce)).collect(),
    }
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A pool in which these wait, delivered.
fn pool(tickets: &[&Ticket]) -> Pool<()> {
    let mut pool = Pool::new(LIMITS);
    for ticket in tickets {
        assert_eq!(pool.hear(**ticket, (), at(0)), [PoolEvent::Pending(ticket.hash)]);
        pool.delivered(&ticket.hash);
    }
    pool
}

#[test]
fn what_goes_before_is_what_waits_right_below_without_a_gap() {
    let (zero, one, two) = (
        ticket(1, ALICE, 0, 10),
        ticket(2, ALICE, 1, 10),
        ticket(3, ALICE, 2, 10),
    );
    let (four, other) = (ticket(5, ALICE, 4, 10), ticket(6, BOB, 3, 10));
    let mut pool = pool(&[&two, &four, &zero, &other]);
    let none: [B256; 0] = [];
    assert_eq!(pool.before(&two.hash, 16), none, "one is missing");
    pool.hear(one, (), at(1));
    assert_eq!(pool.before(&two.hash, 16), [zero.hash, one.hash]);
    assert_eq!(pool.before(&four.hash, 16), none);
    assert_eq!(pool.before(&two.hash, 1), none, "more than are taken");
    assert_eq!(pool.behind((ALICE, 0), 3), [one.hash, two.hash]);
    assert_eq!(pool.sent_by(ALICE), [zero.hash, one.hash, two.hash, four.hash]);
    // A rival that pays less waits too; the best is the one that goes before.
    let (poor, rich) = (ticket(7, ALICE, 1, 5), ticket(8, ALICE, 1, 20));
    pool.hear(poor, (), at(2));
    assert_eq!(pool.before(&two.hash, 16), [zero.hash, one.hash]);
    pool.take_changed();
    pool.hear(rich, (), at(3));
    assert_eq!(pool.before(&two.hash, 16), [zero.hash, rich.hash]);
    assert_eq!(pool.take_changed(), [(ALICE, 1)].into());
    assert_eq!(pool.take_changed(), [].into());
    pool.advance(&[], &[block(9, &[&zero])], at(4));
    assert_eq!(pool.before(&two.hash, 16), [rich.hash]);
}

#[test]
fn a_transaction_is_news_once() {
    let tx = ticket(1, ALICE, 0, 10);
    let mut pool = pool(&[&tx]);
    assert_eq!(pool.hear(tx, (), at(1)), []);
    assert_eq!(
        pool.advance(&[], &[block(9, &[&tx])], at(2)),
        [PoolEvent::Included {
            hash: tx.hash,
            block: hash(9)
        }]
    );
    assert_eq!(pool.hear(tx, (), at(3)), [], "a late copy of what a block has");
    assert!(pool.is_empty() && pool.knows(&tx.hash));
}

#[test]
fn a_higher_fee_replaces_and_a_late_copy_of_the_old_one_changes_nothing() {
    let (old, new) = (ticket(1, ALICE, 7, 10), ticket(2, ALICE, 7, 12));
    let mut pool = pool(&[&old]);
    assert_eq!(
        pool.hear(new, (), at(1)),
        [
            PoolEvent::Pending(new.hash),
            PoolEvent::Replaced {
                old: old.hash,
                new: new.hash
            }
        ]
    );
    assert_eq!(pool.hear(old, (), at(2)), []);
    assert_eq!(pool.len(), 1);
}

#[test]
fn a_rival_that_pays_less_waits_beside_it_until_one_is_included() {
    let (dear, cheap) = (ticket(1, ALICE, 7, 12), ticket(2, ALICE, 7, 10));
    let mut pool = pool(&[&dear, &cheap]);
    let events = pool.advance(&[], &[block(9, &[&cheap])], at(1));
    assert_eq!(
        events,
        [
            PoolEvent::Included {
                hash: cheap.hash,
                block: hash(9)
            },
            PoolEvent::Dropped {
                hash: dear.hash,
                reason: DropReason::NonceUsed { by: cheap.hash }
            }
        ]
    );
    assert_eq!(pool.hear(dear, (), at(2)), [], "its nonce is used");
}

#[test]
fn rivals_are_bounded() {
    let mut pool = Pool::new(LIMITS);
    for n in 0..10u8 {
        pool.hear(ticket(n, ALICE, 0, 100 - u128::from(n)), (), at(0));
    }
    assert_eq!(pool.len(), RIVALS);
    let best = ticket(50, ALICE, 0, 200);
    let events = pool.hear(best, (), at(1));
    assert_eq!((events.len(), pool.len()), (1 + RIVALS, 1), "{events:?}");
}

#[test]
fn a_transaction_that_no_one_showed_uses_nonces_too() {
    let (first, second, third) = (
        ticket(1, ALICE, 1, 10),
        ticket(2, ALICE, 2, 10),
        ticket(3, ALICE, 3, 10),
    );
    let mut pool = pool(&[&first, &second, &third]);
    let unseen = ticket(7, ALICE, 2, 10);
    let dropped = |ticket: &Ticket| PoolEvent::Dropped {
        hash: ticket.hash,
        reason: DropReason::NonceUsed { by: unseen.hash },
    };
    assert_eq!(
        pool.advance(&[], &[block(9, &[&unseen])], at(1)),
        [dropped(&first), dropped(&second)]
    );
    assert!(pool.is_waiting(&third.hash));
}

#[test]
fn a_reorg_puts_back_what_only_the_old_chain_had() {
    let (kept, returned, rival) = (ticket(1, ALICE, 0, 10), ticket(2, BOB, 0, 10), ticket(3, BOB, 0, 9));
    let mut pool = pool(&[&kept, &returned, &rival]);
    pool.advance(&[], &[block(0x10, &[&kept]), block(0x11, &[&returned])], at(1));
    assert!(pool.is_empty());
    let events = pool.advance(
        &[hash(0x11), hash(0x10)],
        &[block(0x20, &[&kept]), block(0x21, &[])],
        at(2),
    );
    assert_eq!(
        events,
        [
            PoolEvent::Pending(returned.hash),
            PoolEvent::Pending(rival.hash),
            PoolEvent::Included {
                hash: kept.hash,
                block: hash(0x20)
            }
        ]
    );
}

#[test]
fn age_and_number_are_bounded_but_nothing_undelivered_is_given_up() {
    let limits = Limits {
        waiting: 2,
        age: at(60),
    };
    let mut pool = Pool::new(limits);
    for n in 1..=4 {
        pool.hear(ticket(n, ALICE, n.into(), 10), (), at(n.into()));
    }
    assert_eq!(pool.evict(at(1_000)), [], "nothing was delivered");
    for n in [1, 3, 4] {
        pool.delivered(&hash(n));
    }
    let full = |n| PoolEvent::Dropped {
        hash: hash(n),
        reason: DropReason::Full(2),
    };
    assert_eq!(pool.evict(at(5)), [full(1), full(3)]);
    assert_eq!(
        pool.evict(at(65)),
        [PoolEvent::Dropped {
            hash: hash(4),
            reason: DropReason::Expired(at(60))
        }]
    );
    assert!(pool.is_waiting(&hash(2)));
}

#[test]
fn what_every_node_forgot_is_dropped_and_may_come_back() {
    let tx = ticket(1, ALICE, 0, 10);
    let mut pool = pool(&[&tx]);
    assert_eq!(pool.waiting_since(at(1)).collect::<Vec<_>>(), [tx.hash]);
    assert_eq!(
        pool.give_up(&[tx.hash, hash(99)], &DropReason::Forgotten),
        [PoolEvent::Dropped {
            hash: tx.hash,
            reason: DropReason::Forgotten
        }]
    );
    assert_eq!(pool.hear(tx, (), at(2)), [PoolEvent::Pending(tx.hash)]);
}

/// What may happen to a pool.
#[derive(Debug, Clone)]
enum Step {
    Hear(u8),
    /// A block with these, on the chain as it is.
    Mine(Vec<u8>),
    /// So many blocks leave, and as many come, with these in the first of them.
    Reorg(usize, Vec<u8>),
    Forget(u8),
    Deliver(u8),
    Evict(u64),
}

/// The transactions of the world: 3 senders, 4 nonces, 3 versions each.
fn of(n: u8) -> Ticket {
    let n = n % 36;
    ticket(
        n,
        Address::repeat_byte(n % 3),
        u64::from(n / 3 % 4),
        u128::from(n / 12) + 1,
    )
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(0u8..36, 0..4);
    prop_oneof![
        6 => (0u8..36).prop_map(Step::Hear),
        2 => some().prop_map(Step::Mine),
        1 => (1usize..4, some()).prop_map(|(depth, some)| Step::Reorg(depth, some)),
        1 => (0u8..36).prop_map(Step::Forget),
        4 => (0u8..36).prop_map(Step::Deliver),
        1 => (0u64..100).prop_map(Step::Evict),
    ]
}

/// A block that a chain could have: nonces of each sender rise, none is used twice, in the blocks before neither.
fn valid(chosen: &[u8], chain: &[Block]) -> Vec<(B256, Address, u64)> {
    let mut included: Vec<(B256, Address, u64)> = Vec::new();
    for n in chosen {
        let tx = of(*n);
        let before = chain.iter().flat_map(|block| &block.included).chain(&included);
        let used = before
            .filter(|(_, sender, _)| *sender == tx.sender)
            .map(|(.., nonce)| *nonce)
            .max();
        if used.is_none_or(|used| tx.nonce > used) {
            included.push((tx.hash, tx.sender, tx.nonce));
        }
    }
    included
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Following the events alone, one knows at each moment exactly what waits, and nothing waits that cannot be mined.
    #[test]
    fn the_events_tell_exactly_what_waits(steps in prop::collection::vec(step(), 1..60)) {
        let limits = Limits { waiting: 8, age: at(50) };
        let mut pool = Pool::new(limits);
        let mut told: BTreeSet<B256> = BTreeSet::new();
        let mut delivered: BTreeSet<B256> = BTreeSet::new();
        let mut chain: Vec<Block> = Vec::new();
        let (mut name, mut now) = (0u64, 0);
        let mut next = |included| {
            name += 1;
            Block { hash: B256::left_padding_from(&(name + 1_000).to_be_bytes()), included }
        };
        for step in steps {
            now += 1;
            let events = match step {
                Step::Hear(n) => pool.hear(of(n), (), at(now)),
                Step::Mine(chosen) => {
                    let block = next(valid(&chosen, &chain));
                    chain.push(block.clone());
                    pool.advance(&[], &[block], at(now))
                }
                Step::Reorg(depth, chosen) => {
                    let kept = chain.len().saturating_sub(depth);
                    let orphaned: Vec<B256> = chain.drain(kept..).rev().map(|block| block.hash).collect();
                    let mut adopted = vec![next(valid(&chosen, &chain))];
                    adopted.extend((1..orphaned.len()).map(|_| next(Vec::new())));
                    chain.extend(adopted.iter().cloned());
                    pool.advance(&orphaned, &adopted, at(now))
                }
                Step::Forget(n) => pool.give_up(&[of(n).hash], &DropReason::Forgotten),
                Step::Deliver(n) => {
                    pool.delivered(&of(n).hash);
                    if pool.is_waiting(&of(n).hash) {
                        delivered.insert(of(n).hash);
                    }
                    Vec::new()
                }
                Step::Evict(later) => pool.evict(at(now + later)),
            };
            for event in events {
                match event {
                    PoolEvent::Pending(hash) => prop_assert!(told.insert(hash), "told twice: {hash}"),
                    PoolEvent::Replaced { old, new } => {
                        prop_assert!(told.remove(&old) && told.contains(&new));
                    }
                    PoolEvent::Included { hash, .. } => {
                        // One that a reorg moves into another block is included again without having waited in between.
                        told.remove(&hash);
                        prop_assert!(chain.iter().any(|block| block.included.iter().any(|(h, ..)| *h == hash)));
                    }
                    PoolEvent::Dropped { hash, reason } => {
                        if !matches!(reason, DropReason::NonceUsed { .. }) {
                            prop_assert!(delivered.contains(&hash), "given up undelivered: {hash}");
                            prop_assert!(told.remove(&hash));
                        } else {
                            told.remove(&hash);
                        }
                    }
                }
            }
            let waiting: BTreeSet<B256> = pool.waiting().map(|(hash, _)| hash).collect();
            prop_assert_eq!(&waiting, &told);
            prop_assert_eq!(pool.waiting.len(), waiting.len());
            prop_assert_eq!(pool.places.values().map(Vec::len).sum::<usize>(), waiting.len());
            for entry in pool.waiting.values() {
                let ticket = entry.ticket;
                let used = chain.iter().flat_map(|block| &block.included);
                prop_assert!(
                    !used.into_iter().any(|(_, sender, nonce)| *sender == ticket.sender && *nonce >= ticket.nonce),
                    "waits though its nonce is used: {ticket:?}"
                );
            }
        }
    }
}
